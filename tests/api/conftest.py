"""An API over each kind of stores."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from local.cloud import TABLES, LocalCloud
from tests.api.app import App
from tests.stores.tokens import key_vault_token, storage_token
from tests.vaults import World
from vault_core.stores import Stores
from vault_core.stores.key_vault import open_key_vaults
from vault_core.stores.outages import open_transport
from vault_core.stores.tables import AzureTable, table_client


@pytest.fixture
def memory_app() -> App:
    return App()


@pytest.fixture
async def azure_app(local_parts: LocalCloud) -> AsyncIterator[App]:
    """An API over tables of its own in Azurite, and the local Key Vault."""
    async with open_transport() as transport:
        token = storage_token(local_parts)
        clients = [
            table_client(local_parts.tables_url, f"{name}{uuid4().hex}", token, transport) for name in sorted(TABLES)
        ]
        for client in clients:
            await client.create_table()
        secrets = open_key_vaults(
            [local_parts.key_vault.url], key_vault_token(local_parts), transport, verify_domain=False
        )
        tables = dict(zip(sorted(TABLES), map(AzureTable, clients), strict=True))
        yield App(World(Stores(**tables, secrets=secrets)))
        for client in clients:
            await client.delete_table()


@pytest.fixture(params=["memory_app", pytest.param("azure_app", marks=pytest.mark.slow)])
def any_app(request: pytest.FixtureRequest) -> App:
    app: App = request.getfixturevalue(request.param)
    return app
