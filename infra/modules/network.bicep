@description('Required. Where the network is.')
param location string

@description('Required. The tags of every resource.')
param tags object

@description('Required. The name of the network. Its subnets are `app` and `endpoints`.')
param name string

@description('Required. The addresses of the subnet `app`, as a CIDR.')
param appAddresses string

@description('Required. The addresses of the subnet `endpoints`, as a CIDR.')
param endpointAddresses string

@description('Required. The private DNS zones by which names lead to private endpoints.')
param zones array

// Its default rules let nothing in from outside the network.
resource guard 'Microsoft.Network/networkSecurityGroups@2024-05-01' = {
  name: 'nsg-${name}'
  location: location
  tags: tags
}

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [
        appAddresses
        endpointAddresses
      ]
    }
    // Inline: subnets as resources of their own would be taken away and put back by each deployment.
    subnets: [
      {
        name: 'app'
        properties: {
          addressPrefix: appAddresses
          networkSecurityGroup: {
            id: guard.id
          }
          delegations: [
            {
              name: 'flex-consumption'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: endpointAddresses
          defaultOutboundAccess: false
          networkSecurityGroup: {
            id: guard.id
          }
        }
      }
    ]
  }
}

resource privateZones 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for zone in zones: {
    name: zone
    location: 'global'
    tags: tags
  }
]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for (zone, i) in zones: {
    parent: privateZones[i]
    name: name
    location: 'global'
    tags: tags
    properties: {
      registrationEnabled: false
      // Other people's hosts of the same kind, such as a vendor's, are looked up in public.
      resolutionPolicy: 'NxDomainRedirect'
      virtualNetwork: {
        id: network.id
      }
    }
  }
]
