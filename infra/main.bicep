// The vault's resources. `azd up` deploys them and the code; files such as dev.bicepparam deploy them alone, without azd.
targetScope = 'subscription'

// ---- where -----------------------------------------------------------------------------------------------------------

@description('Required. The name of the environment. Names of resources follow from it, the location and the subscription.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Required. The region that everything is in. It must offer Flex Consumption and zone-redundant storage.')
@minLength(1)
param location string

// ---- whom it serves --------------------------------------------------------------------------------------------------

@description('Optional. The tenants that are served, separated by commas. When empty: the tenant of this subscription.')
param tenants string = ''

@description('Optional. The issuer of tokens, with {tenant} in place of the tenant. When empty: Microsoft Entra ID.')
param issuer string = ''

@description('Optional. What a token must name in `aud`: the client id that register-app.sh prints. When empty, nobody gets in.')
param audience string = ''

@description('Optional. The tenant of those who log in without naming one. Needed only when several are served.')
param loginTenant string = ''

@description('Optional. The claim that holds the tenant.')
param claimTenant string = 'tid'

@description('Optional. The claim that holds the list of roles.')
param claimRoles string = 'roles'

@description('Optional. The claim that holds a person\'s email address.')
param claimEmail string = 'email'

@description('Optional. The claim that holds a person\'s user name, for those without an email address.')
param claimUsername string = 'preferred_username'

@description('Optional. The claim that names an agent. Policies match it, so it must not be one that its owner can choose.')
param claimAgent string = 'azp'

// ---- whom it calls, and when -----------------------------------------------------------------------------------------

@description('Optional. Networks that may be called though they are not public, as CIDRs separated by commas.')
param outboundNetworks string = ''

@description('Optional. Ports at which vendors and subscribers may be called, separated by commas.')
param outboundPorts string = '443'

@description('Optional. Whether the timers are paused, and only report what they would do: for the time after a restore.')
param recoveryMode bool = false

@description('Optional. When leases that have ended are tidied, as NCRONTAB. When empty: every minute.')
param scheduleExpireLeases string = ''

@description('Optional. When credentials are checked with their vendors, as NCRONTAB. When empty: every five minutes.')
param scheduleCheckCredentials string = ''

@description('Optional. When due rotations are looked for, as NCRONTAB. When empty: every hour.')
param scheduleCheckRotations string = ''

@description('Optional. When events are brought to subscribers, as NCRONTAB. When empty: every minute.')
param scheduleDeliverEvents string = ''

@description('Optional. When what was left half done is finished, as NCRONTAB. When empty: every fifteen minutes.')
param scheduleReconcile string = ''

// ---- what it runs on -------------------------------------------------------------------------------------------------

@description('Optional. How many Key Vaults hold the values. It can grow, which moves nothing. Never lower it: values would be out of reach.')
@minValue(1)
@maxValue(99)
param keyVaultCount int = 1

@description('Optional. What is reached only through a private network: nothing; the stores; or everything, the app and its deployments included.')
@allowed(['none', 'stores', 'everything'])
param privateNetworking string = 'none'

@description('Optional. The addresses of the app in the private network, as a CIDR of /27 or wider.')
param appAddresses string = '10.90.0.0/25'

@description('Optional. The addresses of private endpoints in the private network, as a CIDR that holds one for each.')
param endpointAddresses string = '10.90.0.128/25'

@description('Optional. How the tables are replicated. After a failover to the other region, set what Azure made of it: Standard_LRS.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS', 'Standard_RAGRS', 'Standard_RAGZRS'])
param storageRedundancy string = 'Standard_ZRS'

@description('Optional. How the account of the functions host is replicated: a deployment makes anew what is in it.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS', 'Standard_RAGRS', 'Standard_RAGZRS'])
param hostRedundancy string = 'Standard_ZRS'

@description('Optional. Whether the app\'s instances are spread over availability zones.')
param zoneRedundant bool = false

// The lock is on the account, and Azure keeps it from whoever deletes through Azure Resource Manager: the account, but
// also role assignments on it, which cannot be taken back until the lock is lifted. Data roles do not ask it.
@description('Optional. Whether the storage account of the tables is locked against deletion. Whoever has a data role on the tables can still delete them. Key Vaults are protected in any case.')
param lockTables bool = false

@description('Optional. The memory of an instance, in MB.')
@allowed([512, 2048, 4096])
param instanceMemory int = 2048

@description('Optional. The most instances that run at once.')
@minValue(40)
@maxValue(1000)
param maximumInstances int = 100

@description('Optional. How many instances stay warm for HTTP calls.')
@minValue(0)
@maxValue(20)
param alwaysReadyInstances int = 0

// ---- who watches it --------------------------------------------------------------------------------------------------

@description('Optional. Email addresses that are told of alerts, separated by commas.')
param alertEmails string = ''

@description('Optional. How many days logs are kept, the audit logs of the Key Vaults among them.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 90

// ---- what follows ----------------------------------------------------------------------------------------------------

var token = uniqueString(subscription().id, environmentName, location)
var namePrefix = 'vault-${token}'
var tags = { 'azd-env-name': environmentName }

var storesArePublic = privateNetworking == 'none'
var appIsPublic = privateNetworking != 'everything'
var networkName = storesArePublic ? '' : 'vnet-${namePrefix}'
var storeZones = {
  blob: 'privatelink.blob.${environment().suffixes.storage}'
  table: 'privatelink.table.${environment().suffixes.storage}'
  vault: replace(environment().suffixes.keyvaultDns, '.vault.', 'privatelink.vaultcore.')
}
var appZone = 'privatelink.azurewebsites.net'

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    location: location
    tags: tags
    name: 'id-${namePrefix}'
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    location: location
    tags: tags
    namePrefix: namePrefix
    retentionDays: logRetentionDays
  }
}

module keyVaults 'modules/key-vaults.bicep' = {
  name: 'key-vaults'
  scope: group
  params: {
    location: location
    tags: tags
    namePrefix: 'kv-${token}'
    count: keyVaultCount
    publicNetworkAccess: storesArePublic ? 'Enabled' : 'Disabled'
    workspaceId: monitoring.outputs.workspaceId
  }
}

module data 'modules/storage.bicep' = {
  name: 'data'
  scope: group
  params: {
    location: location
    tags: tags
    name: 'stdata${token}'
    redundancy: storageRedundancy
    publicNetworkAccess: storesArePublic ? 'Enabled' : 'Disabled'
    locked: lockTables
    workspaceId: monitoring.outputs.workspaceId
    tables: ['vault', 'leases', 'due', 'audit', 'catalog']
  }
}

// Apart from the tables: who is let at the package, such as a pipeline, is not let at the data with it.
module host 'modules/storage.bicep' = {
  name: 'host'
  scope: group
  params: {
    location: location
    tags: tags
    name: 'sthost${token}'
    redundancy: hostRedundancy
    publicNetworkAccess: storesArePublic ? 'Enabled' : 'Disabled'
    locked: false
    workspaceId: monitoring.outputs.workspaceId
    containers: ['package']
  }
}

var stores = {
  blob: [host.outputs.id]
  table: [data.outputs.id]
  vault: keyVaults.outputs.ids
}

module roles 'modules/roles.bicep' = {
  name: 'roles'
  scope: group
  params: {
    principalId: identity.outputs.principalId
    keyVaultIds: keyVaults.outputs.ids
    dataStorageId: data.outputs.id
    hostStorageId: host.outputs.id
    applicationInsightsId: monitoring.outputs.applicationInsightsId
  }
}

module network 'modules/network.bicep' = if (!storesArePublic) {
  name: 'network'
  scope: group
  params: {
    location: location
    tags: tags
    name: networkName
    appAddresses: appAddresses
    endpointAddresses: endpointAddresses
    zones: concat([storeZones.blob, storeZones.table, storeZones.vault], appIsPublic ? [] : [appZone])
  }
}

module storeEndpoints 'modules/private-endpoints.bicep' = [
  for kind in (storesArePublic ? [] : ['blob', 'table', 'vault']): {
    name: '${kind}-endpoints'
    scope: group
    params: {
      location: location
      tags: tags
      networkName: networkName
      kind: kind
      zone: storeZones[kind]
      targets: stores[kind]
    }
    dependsOn: [network]
  }
]

module functionApp 'modules/function-app.bicep' = {
  name: 'function-app'
  scope: group
  params: {
    location: location
    tags: tags
    namePrefix: namePrefix
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    hostStorageName: host.outputs.name
    packageUrl: '${host.outputs.blobsUrl}/package'
    telemetryConnectionString: monitoring.outputs.connectionString
    networkName: networkName
    publicNetworkAccess: appIsPublic ? 'Enabled' : 'Disabled'
    zoneRedundant: zoneRedundant
    instanceMemory: instanceMemory
    maximumInstances: maximumInstances
    alwaysReadyInstances: alwaysReadyInstances
    workspaceId: monitoring.outputs.workspaceId
    productSettings: {
      VAULT_TABLES_URL: data.outputs.tablesUrl
      VAULT_KEY_VAULT_URLS: join(keyVaults.outputs.urls, ',')
      VAULT_KEY_VAULT_VERIFY_DOMAIN: 'true'
      VAULT_ISSUER: empty(issuer) ? '${environment().authentication.loginEndpoint}{tenant}/v2.0' : issuer
      VAULT_AUDIENCE: empty(audience) ? 'api://credentials-vault' : audience
      VAULT_TENANTS: empty(tenants) ? tenant().tenantId : tenants
      VAULT_LOGIN_TENANT: loginTenant
      VAULT_CLAIM_TENANT: claimTenant
      VAULT_CLAIM_ROLES: claimRoles
      VAULT_CLAIM_EMAIL: claimEmail
      VAULT_CLAIM_USERNAME: claimUsername
      VAULT_CLAIM_AGENT: claimAgent
      VAULT_MANAGED_IDENTITY_CLIENT_ID: identity.outputs.clientId
      VAULT_OUTBOUND_NETWORKS: outboundNetworks
      VAULT_OUTBOUND_PORTS: outboundPorts
      VAULT_RECOVERY_MODE: recoveryMode ? 'true' : 'false'
      VAULT_SCHEDULE_EXPIRE_LEASES: empty(scheduleExpireLeases) ? '0 * * * * *' : scheduleExpireLeases
      VAULT_SCHEDULE_CHECK_CREDENTIALS: empty(scheduleCheckCredentials) ? '0 */5 * * * *' : scheduleCheckCredentials
      VAULT_SCHEDULE_CHECK_ROTATIONS: empty(scheduleCheckRotations) ? '0 0 * * * *' : scheduleCheckRotations
      VAULT_SCHEDULE_DELIVER_EVENTS: empty(scheduleDeliverEvents) ? '0 * * * * *' : scheduleDeliverEvents
      VAULT_SCHEDULE_RECONCILE: empty(scheduleReconcile) ? '0 */15 * * * *' : scheduleReconcile
    }
  }
  // When the host starts, it must find its storage and be let in.
  dependsOn: [roles, storeEndpoints]
}

module appEndpoint 'modules/private-endpoints.bicep' = if (!appIsPublic) {
  name: 'sites-endpoints'
  scope: group
  params: {
    location: location
    tags: tags
    networkName: networkName
    kind: 'sites'
    zone: appZone
    targets: [functionApp.outputs.id]
  }
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    location: location
    tags: tags
    namePrefix: namePrefix
    workspaceId: monitoring.outputs.workspaceId
    applicationInsightsId: monitoring.outputs.applicationInsightsId
    identityObjectId: identity.outputs.principalId
    keyVaultIds: keyVaults.outputs.ids
    healthUrl: '${functionApp.outputs.url}/api/v1/health'
    publicAccess: appIsPublic
    emails: empty(alertEmails) ? [] : split(alertEmails, ',')
  }
}

module workbook 'modules/workbook.bicep' = {
  name: 'workbook'
  scope: group
  params: {
    location: location
    tags: tags
    namePrefix: namePrefix
    workspaceId: monitoring.outputs.workspaceId
    applicationInsightsId: monitoring.outputs.applicationInsightsId
  }
}

@description('Where the vault answers.')
output VAULT_URL string = functionApp.outputs.url

@description('The resource group that everything is in.')
output AZURE_RESOURCE_GROUP string = group.name

@description('The function app.')
output VAULT_FUNCTION_APP string = functionApp.outputs.name

@description('The Key Vaults that hold the values.')
output VAULT_KEY_VAULTS string = join(keyVaults.outputs.names, ',')

@description('The storage account that holds the tables.')
output VAULT_STORAGE_ACCOUNT string = data.outputs.name

@description('The client id of the app\'s identity.')
output VAULT_IDENTITY_CLIENT_ID string = identity.outputs.clientId

@description('The Log Analytics workspace.')
output VAULT_WORKSPACE string = monitoring.outputs.workspaceName

// ---- what was chosen -------------------------------------------------------------------------------------------------

// azd keeps what is set in a folder on the machine where it was set. It writes outputs there after each deployment, and
// `azd env refresh` fetches them on another machine: without these, a deployment from there would set the defaults.

@description('The parameter location.')
output AZURE_LOCATION string = location

@description('The parameter tenants.')
output VAULT_TENANTS string = tenants

@description('The parameter issuer.')
output VAULT_ISSUER string = issuer

@description('The parameter audience.')
output VAULT_AUDIENCE string = audience

@description('The parameter loginTenant.')
output VAULT_LOGIN_TENANT string = loginTenant

@description('The parameter claimTenant.')
output VAULT_CLAIM_TENANT string = claimTenant

@description('The parameter claimRoles.')
output VAULT_CLAIM_ROLES string = claimRoles

@description('The parameter claimEmail.')
output VAULT_CLAIM_EMAIL string = claimEmail

@description('The parameter claimUsername.')
output VAULT_CLAIM_USERNAME string = claimUsername

@description('The parameter claimAgent.')
output VAULT_CLAIM_AGENT string = claimAgent

@description('The parameter outboundNetworks.')
output VAULT_OUTBOUND_NETWORKS string = outboundNetworks

@description('The parameter outboundPorts.')
output VAULT_OUTBOUND_PORTS string = outboundPorts

@description('The parameter recoveryMode.')
output VAULT_RECOVERY_MODE bool = recoveryMode

@description('The parameter scheduleExpireLeases.')
output VAULT_SCHEDULE_EXPIRE_LEASES string = scheduleExpireLeases

@description('The parameter scheduleCheckCredentials.')
output VAULT_SCHEDULE_CHECK_CREDENTIALS string = scheduleCheckCredentials

@description('The parameter scheduleCheckRotations.')
output VAULT_SCHEDULE_CHECK_ROTATIONS string = scheduleCheckRotations

@description('The parameter scheduleDeliverEvents.')
output VAULT_SCHEDULE_DELIVER_EVENTS string = scheduleDeliverEvents

@description('The parameter scheduleReconcile.')
output VAULT_SCHEDULE_RECONCILE string = scheduleReconcile

@description('The parameter keyVaultCount.')
output VAULT_KEY_VAULT_COUNT int = keyVaultCount

@description('The parameter privateNetworking.')
output VAULT_PRIVATE_NETWORKING string = privateNetworking

@description('The parameter appAddresses.')
output VAULT_APP_ADDRESSES string = appAddresses

@description('The parameter endpointAddresses.')
output VAULT_ENDPOINT_ADDRESSES string = endpointAddresses

@description('The parameter storageRedundancy.')
output VAULT_STORAGE_REDUNDANCY string = storageRedundancy

@description('The parameter hostRedundancy.')
output VAULT_HOST_REDUNDANCY string = hostRedundancy

@description('The parameter zoneRedundant.')
output VAULT_ZONE_REDUNDANT bool = zoneRedundant

@description('The parameter lockTables.')
output VAULT_LOCK_TABLES bool = lockTables

@description('The parameter instanceMemory.')
output VAULT_INSTANCE_MEMORY int = instanceMemory

@description('The parameter maximumInstances.')
output VAULT_MAXIMUM_INSTANCES int = maximumInstances

@description('The parameter alwaysReadyInstances.')
output VAULT_ALWAYS_READY_INSTANCES int = alwaysReadyInstances

@description('The parameter alertEmails.')
output VAULT_ALERT_EMAILS string = alertEmails

@description('The parameter logRetentionDays.')
output VAULT_LOG_RETENTION_DAYS int = logRetentionDays
