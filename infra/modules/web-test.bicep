metadata description = 'Asks for the health of the vault from outside, and alerts when it is not answered well.'

@description('Required. Region of the web test.')
param location string

@description('Required. Tags of every resource.')
param tags object

@description('Required. Start of the names of the resources.')
param namePrefix string

@description('Required. Resource id of the Application Insights that keeps the results.')
param applicationInsightsId string

@description('Required. Resource id of the action group that is told.')
param actionGroupId string

@description('Required. Address that answers 200 when the vault is well.')
param healthUrl string

var locations = ['emea-nl-ams-azr', 'emea-gb-db3-azr', 'us-va-ash-azr', 'us-il-ch1-azr', 'apac-sg-sin-azr']

resource webTest 'Microsoft.Insights/webtests@2022-06-15' = {
  name: '${namePrefix}-health'
  location: location
  tags: union(tags, { 'hidden-link:${applicationInsightsId}': 'Resource' })
  kind: 'standard'
  properties: {
    SyntheticMonitorId: '${namePrefix}-health'
    Name: 'Health of the vault'
    Kind: 'standard'
    Enabled: true
    Frequency: 300
    Timeout: 30
    RetryEnabled: true
    Locations: [for one in locations: { Id: one }]
    Request: {
      RequestUrl: healthUrl
      HttpVerb: 'GET'
      ParseDependentRequests: false
    }
    ValidationRules: {
      ExpectedHttpStatusCode: 200
      SSLCheck: true
      SSLCertRemainingLifetimeCheck: 14
    }
  }
}

resource unhealthy 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: '${namePrefix}-health-failing'
  location: 'global'
  tags: tags
  properties: {
    description: 'The health operation does not answer 200, seen from at least two places.'
    severity: 1
    enabled: true
    scopes: [webTest.id, applicationInsightsId]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT5M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria'
      webTestId: webTest.id
      componentId: applicationInsightsId
      failedLocationCount: 2
    }
    actions: [{ actionGroupId: actionGroupId }]
  }
}
