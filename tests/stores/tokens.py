"""Tokens of the app's own identity, without a round to ask for them."""

from __future__ import annotations

import time
from typing import Any

from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential

from local.cloud import LocalCloud
from local.identity import KEY_VAULT_AUDIENCE, STORAGE_AUDIENCE


class GivenToken(AsyncTokenCredential):
    """A credential that has its token already."""

    def __init__(self, token: str) -> None:
        self._token = AccessToken(token, int(time.time()) + 3600)

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return self._token

    async def close(self) -> None:
        return None

    async def __aexit__(self, *exception: object) -> None:
        return None


def storage_token(parts: LocalCloud) -> GivenToken:
    return GivenToken(parts.identity.managed_token(STORAGE_AUDIENCE))


def key_vault_token(parts: LocalCloud) -> GivenToken:
    return GivenToken(parts.identity.managed_token(KEY_VAULT_AUDIENCE))
