#!/usr/bin/env bash
# Registers the vault with Microsoft Entra ID: what tokens for it name as their audience, and the roles they can carry.
# The templates cannot: Bicep reaches Entra ID only through an extension, and who deploys is often not who registers.
# Needs Python, and `az login` as somebody who may register applications. Before or after `azd up`. A second run adds
# what is missing, and changes nothing that is there but what it is asked to.
#
#   infra/register-app.sh [NAME [WHO]]
#
#   NAME   of the registration; credentials-vault-ENVIRONMENT unless given, for the environment of AZURE_ENV_NAME or the
#          one that azd has chosen; credentials-vault where there is none
#   WHO    can sign in: AzureADMyOrg (one organisation) or AzureADMultipleOrgs (when several are served); unless given,
#          what is registered already, and for a new registration one organisation
set -euo pipefail

environment=${AZURE_ENV_NAME:-}
if [[ -z $environment ]] && ! environment=$(azd env get-value AZURE_ENV_NAME --no-prompt 2>/dev/null); then
  environment=
fi
name=${1:-credentials-vault${environment:+-$environment}}
who=${2:-}

if [[ ! $name =~ ^[A-Za-z0-9][A-Za-z0-9\ ._-]*$ ]]; then
  echo "A name has letters, digits, spaces, dots, dashes and underscores." >&2
  exit 2
fi
if [[ ! $who =~ ^(AzureADMyOrg|AzureADMultipleOrgs)?$ ]]; then
  echo "Who can sign in is AzureADMyOrg or AzureADMultipleOrgs." >&2
  exit 2
fi

found=$(az ad app list --filter "displayName eq '$name'" --query '[].appId' --output tsv)
if [[ $(wc -w <<<"$found") -gt 1 ]]; then
  echo "Several registrations are called $name: give another name." >&2
  exit 1
fi
client_id=${found:-$(az ad app create --display-name "$name" --sign-in-audience "${who:-AzureADMyOrg}" \
  --query appId --output tsv)}

body=$(mktemp)
trap 'rm -f "$body"' EXIT
az ad app show --id "$client_id" --output json |
  python3 "$(dirname "$0")/registration.py" ${who:+"$who"} >"$body"
if [[ $(<"$body") != '{}' ]]; then
  object_id=$(az ad app show --id "$client_id" --query id --output tsv)
  graph=$(az cloud show --query endpoints.microsoftGraphResourceId --output tsv)
  az rest --method PATCH --url "${graph%/}/v1.0/applications/$object_id" \
    --headers Content-Type=application/json --body "@$body" --output none
fi

# Roles are given to people, groups and agents on the service principal.
az ad sp show --id "$client_id" --output none 2>/dev/null || az ad sp create --id "$client_id" --output none

cat <<TEXT
Registered as $name, $client_id. Tell the vault, and deploy what follows:

  azd env set VAULT_AUDIENCE $client_id
  azd provision

Give roles in the portal: Microsoft Entra ID, Enterprise applications, $name, Users and groups.
TEXT

if [[ $(az ad app show --id "$client_id" --query signInAudience --output tsv) != AzureADMyOrg ]]; then
  login=$(az cloud show --query endpoints.activeDirectory --output tsv)
  cat <<TEXT

In each other organisation an administrator consents once, and then gives roles there in the same way:

  ${login%/}/ORGANISATION/adminconsent?client_id=$client_id

with its tenant id, or a domain of it, in place of ORGANISATION.
TEXT
fi
