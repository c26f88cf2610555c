"""Stores on the local cloud's parts, for a process that `processes.run` started in one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from azure.identity.aio import ManagedIdentityCredential

from vault_core.settings import Settings
from vault_core.stores import Stores
from vault_core.stores.key_vault import open_key_vaults
from vault_core.stores.outages import open_transport
from vault_core.stores.tables import AzureTable, table_client

TABLES = ("vault", "leases", "due", "audit", "catalog")


@asynccontextmanager
async def azurite_stores() -> AsyncIterator[Stores]:
    """Rows in Azurite and values in the local Key Vault, reached as the app reaches them."""
    settings = Settings.read(os.environ)
    async with ManagedIdentityCredential() as identity, open_transport() as transport:
        tables = {name: AzureTable(table_client(settings.tables_url, name, identity, transport)) for name in TABLES}
        yield Stores(
            **tables, secrets=open_key_vaults(settings.key_vault_urls, identity, transport, verify_domain=False)
        )
