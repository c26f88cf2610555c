"""How often the stores had to be asked again, and said that it was too much: counted by real clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from azure.data.tables.aio import TableClient
from azure.keyvault.secrets.aio import SecretClient

from local.cloud import LocalCloud
from tests.recording import Recording, recording
from tests.stores.tokens import key_vault_token, storage_token
from tests.stores.unreliable_network import Mishap, UnreliableNetwork, unreliable_network
from vault_core.errors import RowMissing, Unavailable
from vault_core.stores.key_vault import KeyVaultSecrets
from vault_core.stores.outages import client_options
from vault_core.stores.tables import AzureTable
from vault_core.telemetry import STORE_RETRIES, STORE_THROTTLES

pytestmark = pytest.mark.slow

IMPATIENT = {"retry_backoff_factor": 0, "read_timeout": 0.3}


@pytest.fixture
def kept() -> Iterator[Recording]:
    with recording() as kept:
        yield kept


@pytest.fixture
async def to_tables(local_parts: LocalCloud) -> AsyncIterator[UnreliableNetwork]:
    async with unreliable_network(local_parts.tables_url, local_parts.authority) as network:
        yield network


@pytest.fixture
async def table(to_tables: UnreliableNetwork, local_parts: LocalCloud) -> AsyncIterator[AzureTable]:
    options = {**client_options("tables"), **IMPATIENT}
    async with TableClient(to_tables.url, "vault", credential=storage_token(local_parts), **options) as client:
        yield AzureTable(client)


@pytest.fixture
async def to_key_vault(local_parts: LocalCloud) -> AsyncIterator[UnreliableNetwork]:
    async with unreliable_network(local_parts.key_vault.url, local_parts.authority) as network:
        yield network


@pytest.fixture
async def secrets(to_key_vault: UnreliableNetwork, local_parts: LocalCloud) -> AsyncIterator[KeyVaultSecrets]:
    options = {**client_options("key-vault"), **IMPATIENT}
    token = key_vault_token(local_parts)
    async with SecretClient(to_key_vault.url, token, verify_challenge_resource=False, **options) as client:
        yield KeyVaultSecrets({"there": client})


# Each, how often a reading is sent again after two of them, and how many of these are throttles. The transport itself
# sends a reading again, once, that was cut short.
MISHAPS = {
    "429": (Mishap("status", status=429), 2, 2),
    "503": (Mishap("status", status=503), 2, 2),
    "500": (Mishap("status", status=500), 2, 0),
    "reset": (Mishap("reset"), 1, 0),
    "silence": (Mishap("silence"), 2, 0),
}


@pytest.mark.parametrize("name", MISHAPS)
async def test_requests_that_had_to_be_sent_to_tables_again_are_counted(
    kept: Recording, to_tables: UnreliableNetwork, table: AzureTable, name: str
) -> None:
    mishap, retries, throttles = MISHAPS[name]
    to_tables.mishaps.extend([mishap] * 2)
    with pytest.raises(RowMissing):
        await table.read("no-such-partition", "k")
    assert kept.measured(STORE_RETRIES) == {("tables",): retries}
    assert kept.measured(STORE_THROTTLES) == ({("tables",): throttles} if throttles else {})


@pytest.mark.parametrize("name", MISHAPS)
async def test_requests_that_had_to_be_sent_to_key_vault_again_are_counted(
    kept: Recording, to_key_vault: UnreliableNetwork, secrets: KeyVaultSecrets, name: str
) -> None:
    await secrets.ping()
    assert kept.measured(STORE_RETRIES) == {}
    mishap, retries, throttles = MISHAPS[name]
    to_key_vault.mishaps.extend([mishap] * 2)
    await secrets.ping()
    assert kept.measured(STORE_RETRIES) == {("key-vault",): retries}
    assert kept.measured(STORE_THROTTLES) == ({("key-vault",): throttles} if throttles else {})


async def test_an_answer_that_is_not_sat_out_is_a_throttle_and_no_retry(
    kept: Recording, to_tables: UnreliableNetwork, table: AzureTable
) -> None:
    to_tables.mishaps.append(Mishap("status", status=429, headers={"Retry-After": "30"}))
    with pytest.raises(Unavailable):
        await table.read("no-such-partition", "k")
    assert kept.measured(STORE_THROTTLES) == {("tables",): 1}
    assert kept.measured(STORE_RETRIES) == {}
