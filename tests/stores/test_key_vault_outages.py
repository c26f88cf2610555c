"""What `KeyVaultSecrets` makes of a vault that fails: an outage is `Unavailable`, never an absence."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest
from azure.core.exceptions import HttpResponseError
from azure.keyvault.secrets.aio import SecretClient
from pydantic import SecretStr

from local.cloud import LocalCloud
from local.key_vault import Fault
from tests.stores.tokens import key_vault_token
from tests.stores.unreliable_network import Mishap, UnreliableNetwork, unreliable_network
from vault_core.errors import SecretMissing, Unavailable
from vault_core.stores.key_vault import KeyVaultSecrets, open_key_vaults
from vault_core.stores.outages import client_options, open_transport

pytestmark = pytest.mark.slow

VALUE = SecretStr("canary-5up3r")
Operation = Callable[[KeyVaultSecrets, str], Awaitable[object]]
OPERATIONS: dict[str, Operation] = {
    "write": lambda secrets, name: secrets.write(name, VALUE),
    "read": lambda secrets, name: secrets.read(name),
    "disable": lambda secrets, name: secrets.disable(name),
    "delete": lambda secrets, name: secrets.delete(name),
    "ping": lambda secrets, name: secrets.ping(),
}
LABEL = "there"


@pytest.fixture
async def network(local_parts: LocalCloud) -> AsyncIterator[UnreliableNetwork]:
    async with unreliable_network(local_parts.key_vault.url, local_parts.authority) as network:
        yield network


@pytest.fixture
async def secrets(network: UnreliableNetwork, local_parts: LocalCloud) -> AsyncIterator[KeyVaultSecrets]:
    """Secrets over the unreliable network, with an impatient client that has met the challenge already."""
    options = {**client_options("key-vault"), "retry_backoff_factor": 0, "read_timeout": 0.3}
    token = key_vault_token(local_parts)
    async with SecretClient(network.url, token, verify_challenge_resource=False, **options) as client:
        secrets = KeyVaultSecrets({LABEL: client})
        await secrets.ping()
        network.requests = 0
        yield secrets


async def kept(secrets: KeyVaultSecrets, network: UnreliableNetwork) -> str:
    name = secrets.new_name("contoso")
    await secrets.write(name, VALUE)
    network.requests = 0
    return name


MISHAPS = {
    "503": Mishap("status", status=503),
    "500": Mishap("status", status=500),
    "429": Mishap("status", status=429),
    "reset": Mishap("reset"),
    "silence": Mishap("silence"),
}


@pytest.mark.parametrize("mishap", MISHAPS)
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_lasting_outage_is_unavailable(
    secrets: KeyVaultSecrets, network: UnreliableNetwork, operation: str, mishap: str
) -> None:
    name = await kept(secrets, network)
    network.mishaps.extend([MISHAPS[mishap]] * 20)
    with pytest.raises(Unavailable) as unavailable:
        await OPERATIONS[operation](secrets, name)
    assert VALUE.get_secret_value() not in repr(unavailable.value) + str(unavailable.value.__cause__)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_long_pause_is_not_sat_out_but_handed_on(
    secrets: KeyVaultSecrets, network: UnreliableNetwork, local_parts: LocalCloud, operation: str
) -> None:
    name = await kept(secrets, network)
    local_parts.key_vault.faults.add(Fault(status=429, retry_after=20))
    with pytest.raises(Unavailable) as unavailable:
        await OPERATIONS[operation](secrets, name)
    assert unavailable.value.retry_after == timedelta(seconds=20)
    assert network.requests == 1


@pytest.mark.parametrize("kind", ["status", "reset", "lost"])
@pytest.mark.parametrize("operation", sorted(OPERATIONS.keys() - {"disable"}))
async def test_a_short_outage_is_sat_out_even_when_only_the_answer_was_lost(
    secrets: KeyVaultSecrets, network: UnreliableNetwork, operation: str, kind: str
) -> None:
    name = await kept(secrets, network)
    mishaps = {"status": Mishap("status"), "reset": Mishap("reset"), "lost": Mishap("reset", applied=True)}
    network.mishaps.append(mishaps[kind])
    await OPERATIONS[operation](secrets, name)
    assert network.requests == 2


async def test_a_disabling_without_an_answer_is_unavailable_and_may_be_repeated(
    secrets: KeyVaultSecrets, network: UnreliableNetwork
) -> None:
    name = await kept(secrets, network)
    network.mishaps.append(Mishap("reset", applied=True))
    with pytest.raises(Unavailable):
        await secrets.disable(name)
    await secrets.disable(name)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_refusal_of_the_apps_identity_is_unavailable_and_logged(
    secrets: KeyVaultSecrets,
    network: UnreliableNetwork,
    operation: str,
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    name = await kept(secrets, network)
    network.mishaps.extend([Mishap("status", status=status)] * 5)
    with caplog.at_level(logging.WARNING), pytest.raises(Unavailable):
        await OPERATIONS[operation](secrets, name)
    assert str(status) in caplog.text
    assert VALUE.get_secret_value() not in caplog.text


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_404_that_is_not_key_vaults_own_is_a_fault_and_no_absence(
    secrets: KeyVaultSecrets, network: UnreliableNetwork, operation: str
) -> None:
    name = await kept(secrets, network)
    network.mishaps.append(Mishap("status", status=404))
    with pytest.raises(HttpResponseError):
        await OPERATIONS[operation](secrets, name)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_conflict_with_another_change_is_unavailable(
    secrets: KeyVaultSecrets, network: UnreliableNetwork, operation: str
) -> None:
    name = await kept(secrets, network)
    network.mishaps.append(Mishap("status", status=409))
    with pytest.raises(Unavailable):
        await OPERATIONS[operation](secrets, name)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_an_operation_is_one_request(
    secrets: KeyVaultSecrets, network: UnreliableNetwork, operation: str
) -> None:
    name = await kept(secrets, network)
    await OPERATIONS[operation](secrets, name)
    assert network.requests == 1


async def test_a_ping_fails_when_one_vault_of_several_is_down(
    local_parts: LocalCloud, network: UnreliableNetwork
) -> None:
    network.mishaps.extend([Mishap("reset")] * 20)
    urls = [local_parts.key_vault.url, network.url]
    async with open_transport() as transport:
        both = open_key_vaults(urls, key_vault_token(local_parts), transport, verify_domain=False)
        with pytest.raises(Unavailable):
            await both.ping()


async def test_the_token_is_not_sent_to_a_vault_outside_the_public_domains_when_that_is_verified(
    local_parts: LocalCloud,
) -> None:
    async with open_transport() as transport:
        strict = open_key_vaults(
            [local_parts.key_vault.url], key_vault_token(local_parts), transport, verify_domain=True
        )
        with pytest.raises(ValueError, match="does not match"):
            await strict.read(strict.new_name("contoso"))
    assert local_parts.key_vault.faults.calls.total() == 0


async def test_a_name_that_is_being_deleted_is_missing(secrets: KeyVaultSecrets, network: UnreliableNetwork) -> None:
    name = await kept(secrets, network)
    await secrets.delete(name)
    with pytest.raises(SecretMissing) as missing:
        await secrets.write(name, VALUE)
    assert VALUE.get_secret_value() not in str(missing.value)
