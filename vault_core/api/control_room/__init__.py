"""The second face: the Credential Vault API of an Automation Anywhere Control Room, on the same services."""
