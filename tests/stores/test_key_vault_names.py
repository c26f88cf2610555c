"""How names spread over several Key Vaults."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import pytest
from azure.keyvault.secrets.aio import SecretClient
from pydantic import SecretStr

from tests.stores.tokens import GivenToken
from vault_core.errors import Unavailable
from vault_core.stores.key_vault import KeyVaultSecrets, open_key_vaults, vault_label
from vault_core.stores.outages import open_transport

TENANTS = [f"tenant-{n}" for n in range(300)]


def vaults(*labels: str) -> KeyVaultSecrets:
    """Secrets in vaults that are named but never called."""
    return KeyVaultSecrets(dict.fromkeys(labels, cast(SecretClient, None)))


def label_of(secrets: KeyVaultSecrets, tenant: str) -> str:
    return secrets.new_name(tenant).partition("/")[0]


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("https://kv-one.vault.azure.net", "kv-one"),
        ("https://KV-One.vault.azure.net/", "kv-one"),
        ("https://127.0.0.1:7443", "127-0-0-1-7443"),
        ("https://127.0.0.1", "127-0-0-1-443"),
        ("https://localhost:7443", "localhost"),
    ],
)
def test_a_vault_is_named_by_its_host(url: str, label: str) -> None:
    assert vault_label(url) == label


def test_a_tenant_stays_in_its_vault_whatever_the_order_of_the_vaults() -> None:
    one, two = vaults("a", "b", "c"), vaults("c", "a", "b")
    assert all(label_of(one, tenant) == label_of(two, tenant) for tenant in TENANTS)


def test_tenants_spread_over_the_vaults() -> None:
    found = Counter(label_of(vaults("a", "b", "c"), tenant) for tenant in TENANTS)
    assert set(found) == {"a", "b", "c"}
    assert min(found.values()) > 60


def test_a_vault_that_is_added_takes_tenants_only_for_itself() -> None:
    before, after = vaults("a", "b"), vaults("a", "b", "c")
    moved = [tenant for tenant in TENANTS if label_of(before, tenant) != label_of(after, tenant)]
    assert moved
    assert {label_of(after, tenant) for tenant in moved} == {"c"}


async def test_a_value_in_a_vault_that_the_settings_lack_is_unavailable_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    name = vaults("gone").new_name("contoso")
    secrets: Any = vaults("here")
    for ask in (secrets.read(name), secrets.delete(name), secrets.write(name, SecretStr("x"))):
        with pytest.raises(Unavailable):
            await ask
    assert "gone" in caplog.text
    assert name.partition("/")[2] not in caplog.text


@pytest.mark.parametrize("urls", [[], ["https://kv.vault.azure.net", "https://KV.vault.usgovcloudapi.net"]])
async def test_vaults_without_names_of_their_own_are_refused(urls: list[str]) -> None:
    async with open_transport() as transport:
        with pytest.raises(ValueError):
            open_key_vaults(urls, GivenToken("x"), transport, verify_domain=True)
