@description('Required. Where logs and metrics are kept.')
param location string

@description('Required. The tags of every resource.')
param tags object

@description('Required. How the names begin.')
param namePrefix string

@description('Required. How many days logs are kept, the audit logs of the Key Vaults among them.')
param retentionDays int

resource workspace 'Microsoft.OperationalInsights/workspaces@2023-09-01' = {
  name: 'log-${namePrefix}'
  location: location
  tags: tags
  properties: {
    sku: {
      name: 'PerGB2018'
    }
    retentionInDays: retentionDays
    features: {
      disableLocalAuth: true
      // Who may read a resource may read its logs; nobody needs the whole workspace for that.
      enableLogAccessUsingOnlyResourcePermissions: true
    }
  }
}

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'appi-${namePrefix}'
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    IngestionMode: 'LogAnalytics'
    // The connection string alone lets nobody send anything: it takes a role.
    DisableLocalAuth: true
  }
}

@description('The resource id of the Log Analytics workspace.')
output workspaceId string = workspace.id

@description('The name of the Log Analytics workspace.')
output workspaceName string = workspace.name

@description('The resource id of Application Insights.')
output applicationInsightsId string = applicationInsights.id

@description('Where the app sends its telemetry. No secret, since local authentication is off.')
output connectionString string = applicationInsights.properties.ConnectionString
