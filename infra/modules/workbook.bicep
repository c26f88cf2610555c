metadata description = 'The workbook of the operators: what the vault does, how fast, and what it refuses.'

@description('Required. Region of the workbook.')
param location string

@description('Required. Tags of the workbook.')
param tags object

@description('Required. Start of the name that is shown.')
param namePrefix string

@description('Required. Resource id of the Log Analytics workspace that the queries run on.')
param workspaceId string

@description('Required. Resource id of the Application Insights that shows the workbook.')
param applicationInsightsId string

var displayName = '${namePrefix} operations'

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, namePrefix, 'operations')
  location: location
  tags: union(tags, { 'hidden-title': displayName })
  kind: 'shared'
  properties: {
    displayName: displayName
    category: 'workbook'
    sourceId: applicationInsightsId
    serializedData: replace(loadTextContent('../workbook.json'), '{workspaceId}', workspaceId)
  }
}
