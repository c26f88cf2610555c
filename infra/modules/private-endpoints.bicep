@description('Required. Where the endpoints are.')
param location string

@description('Required. The tags of every resource.')
param tags object

@description('Required. The name of the network whose subnet `endpoints` they are in.')
param networkName string

@description('Required. What of a resource is reached through them, such as `vault` or `table`.')
param kind string

@description('Required. The private DNS zone that their names go into.')
param zone string

@description('Required. The resource ids of what is reached through them.')
param targets array

resource privateEndpoints 'Microsoft.Network/privateEndpoints@2024-05-01' = [
  for target in targets: {
    name: 'pe-${last(split(target, '/'))}'
    location: location
    tags: tags
    properties: {
      subnet: {
        id: resourceId('Microsoft.Network/virtualNetworks/subnets', networkName, 'endpoints')
      }
      privateLinkServiceConnections: [
        {
          name: kind
          properties: {
            privateLinkServiceId: target
            groupIds: [kind]
          }
        }
      ]
    }
  }
]

resource names 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01' = [
  for (target, i) in targets: {
    parent: privateEndpoints[i]
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        {
          name: kind
          properties: {
            privateDnsZoneId: resourceId('Microsoft.Network/privateDnsZones', zone)
          }
        }
      ]
    }
  }
]
