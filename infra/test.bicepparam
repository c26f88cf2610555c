// This deploys resources only, and no code: azd is the way to deploy all, into an environment of the same name.
// As production, without what makes it lasting: az deployment sub create --location westeurope --parameters infra/test.bicepparam
using 'main.bicep'

param environmentName = 'test'
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')
param audience = readEnvironmentVariable('VAULT_AUDIENCE', '')
param tenants = readEnvironmentVariable('VAULT_TENANTS', '')
param alertEmails = readEnvironmentVariable('VAULT_ALERT_EMAILS', '')
param privateNetworking = 'stores'
param keyVaultCount = 2
param logRetentionDays = 30
