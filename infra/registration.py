"""Works out what the vault's registration with Microsoft Entra ID lacks; `register-app.sh` asks, and brings it about.

    az ad app show --id CLIENT_ID | python3 infra/registration.py [AUDIENCE]

Reads the registration, and prints what is to be changed of it as the body of a PATCH: `{}` when that is nothing. What
is there stays, also where it differs: somebody chose it. It needs nothing but Python itself.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

Fields = dict[str, Any]

SCOPE: Fields = {
    "id": "a82f9208-1096-4fed-bc17-3152a288b27c",
    "value": "access",
    "type": "User",
    "isEnabled": True,
    "adminConsentDisplayName": "Use the vault",
    "adminConsentDescription": "Lets a program use the vault as the person who is signed in.",
    "userConsentDisplayName": "Use the vault",
    "userConsentDescription": "Lets a program use the vault as you.",
}
# They tell people from agents, and whether an email address is proved.
CLAIMS: list[Fields] = [{"name": name} for name in ("email", "idtyp", "preferred_username", "xms_edov")]
# The issuer of tokens of version 2 is the one that the vault expects.
TOKEN_VERSION = 2


def changes(registered: Fields, roles: list[Fields], audience: str | None) -> Fields:
    """Return the properties that are to be set, each whole; the audience stays as it is when none is asked for."""
    api = registered.get("api") or {}
    claims = registered.get("optionalClaims") or {}
    wanted: Fields = {
        "signInAudience": audience or registered["signInAudience"],
        "identifierUris": _with(registered["identifierUris"], f"api://{registered['appId']}"),
        "appRoles": _with_each(registered["appRoles"], roles, "value"),
        "api": api
        | {
            "requestedAccessTokenVersion": TOKEN_VERSION,
            "oauth2PermissionScopes": _with_each(api.get("oauth2PermissionScopes") or [], [SCOPE], "value"),
        },
        "optionalClaims": claims | {"accessToken": _with_each(claims.get("accessToken") or [], CLAIMS, "name")},
    }
    return {name: value for name, value in wanted.items() if value != registered.get(name)}


def _with(there: list[str], wanted: str) -> list[str]:
    return there if wanted in there else [*there, wanted]


def _with_each(there: list[Fields], wanted: list[Fields], key: str) -> list[Fields]:
    """Return what is there, and of what is wanted that whose key is not."""
    keys = {one[key] for one in there}
    return there + [one for one in wanted if one[key] not in keys]


if __name__ == "__main__":
    app_roles = json.loads(Path(__file__).with_name("app-roles.json").read_text())
    asked_for = sys.argv[1] if len(sys.argv) > 1 else None
    print(json.dumps(changes(json.load(sys.stdin), app_roles, asked_for)))
