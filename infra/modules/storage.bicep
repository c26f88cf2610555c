@description('Required. Where the account is kept.')
param location string

@description('Required. The tags of every resource.')
param tags object

@description('Required. The name of the account: lower-case letters and digits.')
@minLength(3)
@maxLength(24)
param name string

@description('Required. How its data are replicated, as the name of a SKU.')
param redundancy string

@description('Required. Whether it can be reached from outside the private network.')
@allowed(['Enabled', 'Disabled'])
param publicNetworkAccess string

@description('Required. Whether the account is locked against deletion.')
param locked bool

@description('Required. The Log Analytics workspace that is told of every read, write and deletion.')
param workspaceId string

@description('Optional. The tables it has.')
param tables array = []

@description('Optional. The blob containers it has.')
param containers array = []

resource account 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  // checkov:skip=CKV_AZURE_35: With no private network there is no address of the app to name: its role is the wall.
  // checkov:skip=CKV_AZURE_206: A parameter, over zones unless another is chosen.
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: redundancy
  }
  properties: {
    accessTier: 'Hot'
    // With no shared keys, every access has a name in the logs, and no one who may list keys may read rows.
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: publicNetworkAccess
    networkAcls: {
      bypass: 'None'
      defaultAction: publicNetworkAccess == 'Enabled' ? 'Allow' : 'Deny'
    }
  }
}

resource lock 'Microsoft.Authorization/locks@2020-05-01' = if (locked) {
  scope: account
  name: 'keep'
  properties: {
    level: 'CanNotDelete'
    notes: 'Deleted tables cannot be restored.'
  }
}

resource tableService 'Microsoft.Storage/storageAccounts/tableServices@2023-05-01' = {
  parent: account
  name: 'default'
}

resource table 'Microsoft.Storage/storageAccounts/tableServices/tables@2023-05-01' = [
  for each in tables: {
    parent: tableService
    name: each
  }
]

resource blobService 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: account
  name: 'default'
  properties: {
    deleteRetentionPolicy: {
      enabled: true
      days: 7
    }
  }
}

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = [
  for each in containers: {
    parent: blobService
    name: each
    properties: {
      publicAccess: 'None'
    }
  }
]

var accesses = [
  for category in ['StorageRead', 'StorageWrite', 'StorageDelete']: {
    category: category
    enabled: true
  }
]

resource tableAccesses 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: tableService
  name: 'accesses'
  properties: {
    workspaceId: workspaceId
    logs: accesses
  }
}

resource blobAccesses 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: blobService
  name: 'accesses'
  properties: {
    workspaceId: workspaceId
    logs: accesses
  }
}

@description('The account\'s resource id.')
output id string = account.id

@description('The account\'s name.')
output name string = account.name

@description('Where its tables are, without a slash at the end.')
output tablesUrl string = 'https://${account.name}.table.${environment().suffixes.storage}'

@description('Where its blobs are, without a slash at the end.')
output blobsUrl string = 'https://${account.name}.blob.${environment().suffixes.storage}'
