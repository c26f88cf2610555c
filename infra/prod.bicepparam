// This deploys resources only, and no code: azd is the way to deploy all, into an environment of the same name.
// For what must last: az deployment sub create --location westeurope --parameters infra/prod.bicepparam
using 'main.bicep'

param environmentName = 'prod'
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')
param audience = readEnvironmentVariable('VAULT_AUDIENCE', '')
param tenants = readEnvironmentVariable('VAULT_TENANTS', '')
param alertEmails = readEnvironmentVariable('VAULT_ALERT_EMAILS', '')
param privateNetworking = 'stores'
param keyVaultCount = 2
param storageRedundancy = 'Standard_GZRS'
param zoneRedundant = true
param lockTables = true
param alwaysReadyInstances = 2
param logRetentionDays = 365
