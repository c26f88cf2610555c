// This deploys resources only, and no code: azd is the way to deploy all, into an environment of the same name.
// To try it: az deployment sub create --location westeurope --parameters infra/dev.bicepparam
using 'main.bicep'

param environmentName = 'dev'
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')
param audience = readEnvironmentVariable('VAULT_AUDIENCE', '')
param tenants = readEnvironmentVariable('VAULT_TENANTS', '')
param storageRedundancy = 'Standard_LRS'
param hostRedundancy = 'Standard_LRS'
param logRetentionDays = 30
