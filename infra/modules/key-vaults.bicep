@description('Required. Where the vaults are kept.')
param location string

@description('Required. The tags of every resource.')
param tags object

@description('Required. How the names begin. A vault keeps its name and its place in the list when the count grows.')
@minLength(3)
@maxLength(21)
param namePrefix string

@description('Required. How many there are.')
@minValue(1)
@maxValue(99)
param count int

@description('Required. Whether they can be reached from outside the private network.')
@allowed(['Enabled', 'Disabled'])
param publicNetworkAccess string

@description('Required. The Log Analytics workspace that keeps their audit logs.')
param workspaceId string

var names = [for number in range(1, count): '${namePrefix}-${padLeft(number, 2, '0')}']

resource vaults 'Microsoft.KeyVault/vaults@2023-07-01' = [
  for name in names: {
    // checkov:skip=CKV_AZURE_109: With no private network there is no address of the app to name: its role is the wall.
    // checkov:skip=CKV_AZURE_189: Off as soon as there is a private network.
    name: name
    location: location
    tags: tags
    properties: {
      tenantId: tenant().tenantId
      sku: {
        family: 'A'
        name: 'standard'
      }
      enableRbacAuthorization: true
      enablePurgeProtection: true
      enableSoftDelete: true
      softDeleteRetentionInDays: 90
      enabledForDeployment: false
      enabledForDiskEncryption: false
      // A template that could read secrets would be a way to a value.
      enabledForTemplateDeployment: false
      publicNetworkAccess: publicNetworkAccess
      networkAcls: {
        bypass: 'None'
        defaultAction: publicNetworkAccess == 'Enabled' ? 'Allow' : 'Deny'
      }
    }
  }
]

resource audits 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = [
  for (name, i) in names: {
    scope: vaults[i]
    name: 'audit'
    properties: {
      workspaceId: workspaceId
      // Into a table of their own, AZKVAuditLogs, which the alerts ask.
      logAnalyticsDestinationType: 'Dedicated'
      logs: [
        {
          category: 'AuditEvent'
          enabled: true
        }
      ]
      metrics: [
        {
          category: 'AllMetrics'
          enabled: true
        }
      ]
    }
  }
]

@description('The resource ids of the vaults, in stable order.')
output ids array = [for (name, i) in names: vaults[i].id]

@description('The names of the vaults, in stable order.')
output names array = names

@description('Where the vaults are, in stable order.')
output urls array = [for name in names: 'https://${name}${environment().suffixes.keyvaultDns}']
