metadata description = 'Tells the operators when the vault does not work, is late, or is touched by somebody else.'

@description('Required. Region of the alert rules.')
param location string

@description('Required. Tags of every resource.')
param tags object

@description('Required. Start of the names of the resources.')
param namePrefix string

@description('Required. Resource id of the Log Analytics workspace that the queries run on.')
param workspaceId string

@description('Required. Resource id of the Application Insights that keeps the results of the web test.')
param applicationInsightsId string

@description('Required. Resource ids of the Key Vaults.')
param keyVaultIds array

@description('Required. Object id of the identity of the app: nobody else has business with the data of the vaults.')
param identityObjectId string

@description('Required. Address of the health operation.')
param healthUrl string

@description('Required. Whether the app can be reached from outside; without it there is no web test.')
param publicAccess bool

@description('Optional. Who is told of alerts. With nobody, alerts only show in the portal.')
param emails array = []

// How long a timer may be silent, and its work be overdue, before somebody should look. They follow the schedules.
var timers = [
  { name: 'expire_leases', silent: '10m', late: '10m' }
  { name: 'check_credentials', silent: '20m', late: '30m' }
  { name: 'check_rotations', silent: '150m', late: '120m' }
  { name: 'deliver_events', silent: '10m', late: '15m' }
  { name: 'reconcile', silent: '45m', late: '60m' }
]
var timerTable = join(map(timers, timer => '"${timer.name}", ${timer.silent}, ${timer.late}'), ', ')

// A query returns a row for each thing that is wrong, and names it in the column `subject`.
var rules = [
  {
    name: 'stores-unavailable'
    description: 'Tables or Key Vault did not answer the app. Seen from inside: it works without public access.'
    severity: 1
    window: 'PT10M'
    frequency: 'PT5M'
    query: '''
AppMetrics
| where Name == "vault.store.calls"
| summarize calls = sum(ItemCount), failed = sumif(ItemCount, tostring(Properties.outcome) == "unavailable")
    by subject = tostring(Properties.store)
| where failed >= 10 and 100.0 * failed / calls > 5
'''
  }
  {
    name: 'requests-failing'
    description: 'More than one in twenty requests was answered with an error of the server.'
    severity: 1
    window: 'PT15M'
    frequency: 'PT5M'
    query: '''
AppMetrics
| where Name == "vault.requests"
| summarize requests = sum(ItemCount), failed = sumif(ItemCount, toint(Properties.status) >= 500)
| where failed >= 5 and 100.0 * failed / requests > 5
| extend subject = "requests"
'''
  }
  {
    name: 'denied-access'
    description: 'Far more requests were denied or came without a valid token than in the rest of the day.'
    severity: 2
    window: 'P1D'
    frequency: 'PT5M'
    query: '''
AppMetrics
| where Name == "vault.requests" and tostring(Properties.outcome) in ("access-denied", "unauthenticated")
| summarize
    recent = sumif(ItemCount, TimeGenerated > ago(15m)),
    usual = sumif(ItemCount, TimeGenerated <= ago(15m)) / 95.0
    by subject = tostring(Properties.outcome)
| where recent >= 30 and recent > 5 * usual
'''
  }
  {
    name: 'vault-touched-by-others'
    description: 'An identity other than that of the app asked a Key Vault for secrets, whether or not it was allowed.'
    severity: 0
    window: 'PT30M'
    frequency: 'PT5M'
    query: replace('''
AZKVAuditLogs
| where OperationName startswith "Secret" or OperationName startswith "Key" or OperationName startswith "Certificate"
| where HttpStatusCode != 401 // every client asks without a token first, to be told where to get one
| extend subject = coalesce(
    tostring(Identity.claim.oid),
    tostring(Identity.claim["http://schemas.microsoft.com/identity/claims/objectidentifier"]),
    "unknown")
| where subject !~ "{identity}"
''', '{identity}', identityObjectId)
  }
  {
    name: 'timer-silent'
    description: 'A timer did not run, not even in recovery mode. Before the first deployment of the app, all are silent.'
    severity: 1
    window: 'PT6H'
    frequency: 'PT15M'
    query: replace('''
let timers = datatable (subject: string, silent: timespan, late: timespan) [{timers}];
let runs = AppMetrics
    | where Name == "vault.timer.runs"
    | project TimeGenerated, subject = tostring(Properties.timer);
let first_run = toscalar(runs | summarize min(TimeGenerated));
timers
| join kind = leftouter (runs | summarize last_run = max(TimeGenerated) by subject) on subject
| where coalesce(last_run, first_run, datetime(2000-01-01)) < ago(silent)
| project subject
''', '{timers}', timerTable)
  }
  {
    name: 'timer-late'
    description: 'What a timer has to do has been due for long, though the timer is not paused by recovery mode.'
    severity: 2
    window: 'PT3H'
    frequency: 'PT5M'
    query: replace('''
let timers = datatable (subject: string, silent: timespan, late: timespan) [{timers}];
let paused = AppMetrics
    | where Name == "vault.timer.runs"
    | summarize arg_max(TimeGenerated, Properties) by subject = tostring(Properties.timer)
    | where tostring(Properties.outcome) == "paused"
    | project subject;
AppMetrics
| where Name == "vault.timer.lag"
| summarize arg_max(TimeGenerated, Sum) by subject = tostring(Properties.timer)
| join kind = inner timers on subject
| where Sum * 1s > late and subject !in (paused)
| project subject
''', '{timers}', timerTable)
  }
  {
    name: 'timer-failing'
    description: 'The runs of a timer crashed, or every one of them had failures.'
    severity: 2
    window: 'PT3H'
    frequency: 'PT15M'
    query: '''
AppMetrics
| where Name == "vault.timer.runs"
| summarize
    runs = sum(ItemCount),
    crashed = sumif(ItemCount, tostring(Properties.outcome) == "crashed"),
    failing = sumif(ItemCount, tostring(Properties.outcome) in ("crashed", "failures"))
    by subject = tostring(Properties.timer)
| where crashed >= 3 or (runs >= 2 and failing == runs)
'''
  }
  {
    name: 'recovery-mode-left-on'
    description: 'Recovery mode has paused the timers for six hours: leases do not end, nothing is cleaned up.'
    severity: 3
    window: 'PT6H'
    frequency: 'PT1H'
    query: '''
AppMetrics
| where Name == "vault.timer.runs" and tostring(Properties.timer) == "expire_leases"
| summarize
    since = min(TimeGenerated),
    active = countif(tostring(Properties.outcome) != "paused"),
    paused = countif(tostring(Properties.outcome) == "paused")
| where active == 0 and paused > 0 and since < ago(5h)
| extend subject = "recovery mode"
'''
  }
]

// What somebody does first who wants to read what only the app may read. Role assignments above the group count too.
var deeds = [
  {
    name: 'role-assigned'
    description: 'Somebody was given a role in this subscription: it may reach the data of the vault.'
    scope: subscription().id
    operation: 'Microsoft.Authorization/roleAssignments/write'
  }
  {
    name: 'role-changed'
    description: 'A role of our own making was made or changed in this subscription: whoever has it already may reach more.'
    scope: subscription().id
    operation: 'Microsoft.Authorization/roleDefinitions/write'
  }
  {
    name: 'identity-assigned'
    description: 'An identity was given to a machine or app in this group. Deployments do that; if it is none, read the activity log.'
    scope: resourceGroup().id
    operation: 'Microsoft.ManagedIdentity/userAssignedIdentities/assign/action'
  }
  {
    name: 'identity-federated'
    description: 'An identity of this group trusts tokens of somebody else from now on, who can act as it from anywhere.'
    scope: resourceGroup().id
    operation: 'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write'
  }
  {
    name: 'logs-switched-off'
    description: 'A diagnostic setting of this resource group was deleted: what happens from now on may leave no trace.'
    scope: resourceGroup().id
    operation: 'Microsoft.Insights/diagnosticSettings/delete'
  }
]

resource actionGroup 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: '${namePrefix}-operators'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'vault'
    enabled: true
    emailReceivers: [
      for (email, number) in emails: {
        name: 'operator-${number}'
        emailAddress: email
        useCommonAlertSchema: true
      }
    ]
  }
}

resource logAlerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for rule in rules: {
    name: '${namePrefix}-${rule.name}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: '${namePrefix}-${rule.name}'
      description: rule.description
      severity: rule.severity
      enabled: true
      scopes: [workspaceId]
      evaluationFrequency: rule.frequency
      windowSize: rule.window
      autoMitigate: true
      // The tables of a new workspace appear with their first row: until then no query would be valid.
      skipQueryValidation: true
      criteria: {
        allOf: [
          {
            query: rule.query
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: 0
            dimensions: [{ name: 'subject', operator: 'Include', values: ['*'] }]
            failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
          }
        ]
      }
      actions: { actionGroups: [actionGroup.id] }
    }
  }
]

resource throttling 'Microsoft.Insights/metricAlerts@2018-03-01' = [
  for id in keyVaultIds: {
    name: '${namePrefix}-throttling-${last(split(id, '/'))}'
    location: 'global'
    tags: tags
    properties: {
      description: 'Key Vault refuses calls because there are too many. Spread the tenants over more vaults.'
      severity: 2
      enabled: true
      scopes: [id]
      evaluationFrequency: 'PT1M'
      windowSize: 'PT5M'
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
        allOf: [
          {
            name: 'throttled'
            criterionType: 'StaticThresholdCriterion'
            metricNamespace: 'Microsoft.KeyVault/vaults'
            metricName: 'ServiceApiResult'
            dimensions: [{ name: 'StatusCode', operator: 'Include', values: ['429'] }]
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: 10
          }
        ]
      }
      actions: [{ actionGroupId: actionGroup.id }]
    }
  }
]

resource activityAlerts 'Microsoft.Insights/activityLogAlerts@2020-10-01' = [
  for deed in deeds: {
    name: '${namePrefix}-${deed.name}'
    location: 'global'
    tags: tags
    properties: {
      description: deed.description
      enabled: true
      scopes: [deed.scope]
      condition: {
        allOf: [
          { field: 'category', equals: 'Administrative' }
          { field: 'operationName', equals: deed.operation }
          { field: 'status', equals: 'Succeeded' }
        ]
      }
      actions: { actionGroups: [{ actionGroupId: actionGroup.id }] }
    }
  }
]

module webTest 'web-test.bicep' = if (publicAccess) {
  name: 'web-test'
  params: {
    location: location
    tags: tags
    namePrefix: namePrefix
    applicationInsightsId: applicationInsightsId
    actionGroupId: actionGroup.id
    healthUrl: healthUrl
  }
}
