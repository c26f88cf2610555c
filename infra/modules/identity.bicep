@description('Required. Where the identity is kept.')
param location string

@description('Required. The tags of every resource.')
param tags object

@description('Required. The name of the identity.')
param name string

// User-assigned, so that its roles are in force before the app first starts, and outlive the app.
resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: name
  location: location
  tags: tags
}

@description('The identity\'s resource id.')
output id string = identity.id

@description('By which the app asks for tokens of this identity.')
output clientId string = identity.properties.clientId

@description('To which roles are given.')
output principalId string = identity.properties.principalId
