#!/usr/bin/env bash
# Registers the vault with Microsoft Entra ID: what tokens for it name as their audience, and the roles they can carry.
# The templates cannot: Bicep reaches Entra ID only through an extension, and who deploys is often not who registers.
# Needs `az login` as somebody who may register applications. Before or after `azd up`; a second run changes nothing.
#
#   infra/register-app.sh [NAME [WHO]]
#
#   NAME   of the registration; credentials-vault unless given
#   WHO    can sign in: AzureADMyOrg (one organisation, the default) or AzureADMultipleOrgs (when several are served)
set -euo pipefail

name=${1:-credentials-vault}
who=${2:-AzureADMyOrg}
roles=$(cat "$(dirname "$0")/app-roles.json")

if [[ ! $name =~ ^[A-Za-z0-9][A-Za-z0-9\ ._-]*$ ]]; then
  echo "A name has letters, digits, spaces, dots, dashes and underscores." >&2
  exit 2
fi

found=$(az ad app list --filter "displayName eq '$name'" --query '[].appId' --output tsv)
if [[ $(wc -w <<<"$found") -gt 1 ]]; then
  echo "Several registrations are called $name: give another name." >&2
  exit 1
fi
client_id=${found:-$(az ad app create --display-name "$name" --sign-in-audience "$who" --query appId --output tsv)}

# Roles that somebody added, such as those that consume lockers, stay.
all_roles=$(az ad app show --id "$client_id" --output json \
  --query "[appRoles[?!contains(\`$roles\`[].value, value)], \`$roles\`][]")
object_id=$(az ad app show --id "$client_id" --query id --output tsv)
graph=$(az cloud show --query endpoints.microsoftGraphResourceId --output tsv)

# Version 2 tokens, since their issuer is the one that the vault expects. The claims tell people from agents, and
# whether an email address is proved.
body=$(mktemp)
trap 'rm -f "$body"' EXIT
cat >"$body" <<JSON
{
  "signInAudience": "$who",
  "identifierUris": ["api://$client_id"],
  "appRoles": $all_roles,
  "api": {
    "requestedAccessTokenVersion": 2,
    "oauth2PermissionScopes": [
      {
        "id": "a82f9208-1096-4fed-bc17-3152a288b27c",
        "value": "access",
        "type": "User",
        "isEnabled": true,
        "adminConsentDisplayName": "Use the vault",
        "adminConsentDescription": "Lets a program use the vault as the person who is signed in.",
        "userConsentDisplayName": "Use the vault",
        "userConsentDescription": "Lets a program use the vault as you."
      }
    ]
  },
  "optionalClaims": {
    "accessToken": [
      { "name": "email" },
      { "name": "idtyp" },
      { "name": "preferred_username" },
      { "name": "xms_edov" }
    ]
  }
}
JSON
az rest --method PATCH --url "${graph%/}/v1.0/applications/$object_id" \
  --headers Content-Type=application/json --body "@$body" --output none

# Roles are given to people, groups and agents on the service principal.
az ad sp show --id "$client_id" --output none 2>/dev/null || az ad sp create --id "$client_id" --output none

cat <<TEXT
Registered as $client_id. Tell the vault, and deploy what follows:

  azd env set VAULT_AUDIENCE $client_id
  azd provision

Give roles in the portal: Microsoft Entra ID, Enterprise applications, $name, Users and groups.
TEXT
