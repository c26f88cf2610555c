"""The stores under contract: every test of a port runs on each of its adapters."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
from azure.identity.aio import DefaultAzureCredential

from local.cloud import LocalCloud
from tests.recording import recording
from tests.stores.tokens import key_vault_token, storage_token
from vault_core.stores import Secrets, Table
from vault_core.stores.key_vault import KeyVaultSecrets, open_key_vaults
from vault_core.stores.memory import MemorySecrets, MemoryTable
from vault_core.stores.observed import ObservedSecrets, ObservedTable
from vault_core.stores.outages import open_transport
from vault_core.stores.tables import AzureTable, table_client

REAL_KEY_VAULT = "VAULT_TEST_KEY_VAULT_URL"
KEY_VAULTS = ["key_vault", "real_key_vault"] if REAL_KEY_VAULT in os.environ else ["key_vault"]


@pytest.fixture
async def azure_table(local_parts: LocalCloud) -> AsyncIterator[AzureTable]:
    """A table of its own for the test, in Azurite."""
    name = f"test{uuid.uuid4().hex}"
    credential = storage_token(local_parts)
    async with table_client(local_parts.tables_url, name, credential, open_transport()) as client:
        await client.create_table()
        yield AzureTable(client)
        await client.delete_table()


@pytest.fixture
def memory_table() -> MemoryTable:
    return MemoryTable()


@pytest.fixture
def observed_table(memory_table: MemoryTable) -> Iterator[ObservedTable]:
    with recording():
        yield ObservedTable(memory_table, "vault")


@pytest.fixture(params=["memory_table", "observed_table", pytest.param("azure_table", marks=pytest.mark.slow)])
def table(request: pytest.FixtureRequest) -> Table:
    adapter: Table = request.getfixturevalue(request.param)
    return adapter


@pytest.fixture
def memory_secrets() -> MemorySecrets:
    return MemorySecrets()


@pytest.fixture
async def key_vault(local_parts: LocalCloud) -> AsyncIterator[KeyVaultSecrets]:
    async with open_transport() as transport:
        token = key_vault_token(local_parts)
        yield open_key_vaults([local_parts.key_vault.url], token, transport, verify_domain=False)


@pytest.fixture
async def real_key_vault() -> AsyncIterator[KeyVaultSecrets]:
    async with open_transport() as transport, DefaultAzureCredential() as credential:
        yield open_key_vaults([os.environ[REAL_KEY_VAULT]], credential, transport, verify_domain=True)


@pytest.fixture
def observed_secrets(memory_secrets: MemorySecrets) -> Iterator[ObservedSecrets]:
    with recording():
        yield ObservedSecrets(memory_secrets)


@pytest.fixture(
    params=["memory_secrets", "observed_secrets", *(pytest.param(each, marks=pytest.mark.slow) for each in KEY_VAULTS)]
)
def secrets(request: pytest.FixtureRequest) -> Secrets:
    adapter: Secrets = request.getfixturevalue(request.param)
    return adapter
