// All roles that there are, and all that the app needs. People get none: who runs the platform cannot read a value.

@description('Required. The object id of the app\'s identity.')
param principalId string

@description('Required. The resource ids of the Key Vaults.')
param keyVaultIds array

@description('Required. The resource id of the storage account that holds the tables.')
param dataStorageId string

@description('Required. The resource id of the storage account of the functions host.')
param hostStorageId string

@description('Required. The resource id of Application Insights.')
param applicationInsightsId string

// https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
var roleIds = {
  'Key Vault Secrets Officer': 'b86a8fe4-44ce-4948-aee5-eccb2c155cd7'
  'Monitoring Metrics Publisher': '3913510d-42f4-4e42-8a64-420c390055eb'
  'Storage Blob Data Owner': 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
  'Storage Table Data Contributor': '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
}

var grantsOnKeyVaults = [for id in keyVaultIds: { role: 'Key Vault Secrets Officer', scope: id }]
var grants = concat(grantsOnKeyVaults, [
  { role: 'Storage Table Data Contributor', scope: dataStorageId }
  // The package, the host's keys and the locks of its timers are blobs. It uses no queue, as nothing is triggered by
  // blobs, and keeps what it says in the logs rather than in a table.
  { role: 'Storage Blob Data Owner', scope: hostStorageId }
  { role: 'Monitoring Metrics Publisher', scope: applicationInsightsId }
])

// Bicep wants the scope of a role assignment as a symbol, which would take a block for each kind of resource. JSON
// takes its id.
module assignments 'role-assignment.json' = [
  for grant in grants: {
    name: 'role-${uniqueString(grant.scope, grant.role)}'
    params: {
      scope: grant.scope
      principalId: principalId
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleIds[grant.role])
    }
  }
]
