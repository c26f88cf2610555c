@description('Required. Where the app runs.')
param location string

@description('Required. The tags of every resource.')
param tags object

@description('Required. How the names begin.')
param namePrefix string

@description('Required. The resource id of the identity that the app has.')
param identityId string

@description('Required. The client id of that identity.')
param identityClientId string

@description('Required. The storage account of the functions host.')
param hostStorageName string

@description('Required. The blob container that holds the deployed package.')
param packageUrl string

@description('Required. Where telemetry is sent: the connection string of Application Insights.')
param telemetryConnectionString string

@description('Required. The network whose subnet `app` all calls go out through; empty for none.')
param networkName string

@description('Required. Whether the app answers calls, and takes deployments, from outside the private network.')
@allowed(['Enabled', 'Disabled'])
param publicNetworkAccess string

@description('Required. Whether instances are spread over availability zones.')
param zoneRedundant bool

@description('Required. The memory of an instance, in MB.')
param instanceMemory int

@description('Required. The most instances that run at once.')
param maximumInstances int

@description('Required. How many instances stay warm for HTTP calls.')
param alwaysReadyInstances int

@description('Required. The Log Analytics workspace that keeps the host\'s logs.')
param workspaceId string

@description('Required. The settings of the product: VAULT_… and their values.')
param productSettings object

var pythonVersion = trim(loadTextContent('../python-version.txt'))
var subnet = empty(networkName) ? null : resourceId('Microsoft.Network/virtualNetworks/subnets', networkName, 'app')
var settings = union(productSettings, {
  AzureWebJobsStorage__accountName: hostStorageName
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  APPLICATIONINSIGHTS_CONNECTION_STRING: telemetryConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
})

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  // checkov:skip=CKV_AZURE_225: A parameter: not every region has zones.
  name: 'plan-${namePrefix}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
  }
}

resource app 'Microsoft.Web/sites@2024-04-01' = {
  // checkov:skip=CKV_AZURE_17: Callers prove who they are by a token of their tenant's issuer.
  // checkov:skip=CKV_AZURE_212: Flex Consumption scales by itself; a parameter keeps instances warm.
  // checkov:skip=CKV_AZURE_213: Flex Consumption has no health check of its own; an alert asks the health operation.
  // checkov:skip=CKV_AZURE_222: A parameter: callers may be anywhere.
  name: 'func-${namePrefix}'
  location: location
  // By this tag azd knows where the service `vault` is deployed to.
  tags: union(tags, { 'azd-service-name': 'vault' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    publicNetworkAccess: publicNetworkAccess
    virtualNetworkSubnetId: subnet
    siteConfig: {
      ftpsState: 'Disabled'
      http20Enabled: true
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      appSettings: [
        for setting in items(settings): {
          name: setting.key
          value: setting.value
        }
      ]
    }
    functionAppConfig: {
      runtime: {
        name: 'python'
        version: pythonVersion
      }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packageUrl
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemory
        maximumInstanceCount: maximumInstances
        alwaysReady: alwaysReadyInstances == 0 ? [] : [{ name: 'http', instanceCount: alwaysReadyInstances }]
      }
    }
  }
}

// Deployments come with a token of Entra ID; the passwords of the publishing profile are off.
resource passwordsForFtp 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: app
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource passwordsForDeployment 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
}

resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: app
  name: 'logs'
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'FunctionAppLogs'
        enabled: true
      }
    ]
  }
}

@description('The app\'s resource id.')
output id string = app.id

@description('The app\'s name.')
output name string = app.name

@description('Where the app answers.')
output url string = 'https://${app.properties.defaultHostName}'
