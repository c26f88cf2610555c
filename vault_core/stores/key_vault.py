"""Values in Azure Key Vault, spread over one vault or several.

A name is `LABEL/tTENANT-RANDOM`: the label of the vault that holds it, twelve hexadecimal digits of a hash of
the tenant, and a random UUID. Because the name says where the value
is, adding a vault moves nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.transport import AioHttpTransport
from azure.core.rest import HttpRequest
from azure.keyvault.secrets.aio import SecretClient
from pydantic import SecretStr

from vault_core.errors import SecretDisabled, SecretMissing, StoreConflict, Unavailable
from vault_core.stores.limits import check_secret_name, check_secret_value
from vault_core.stores.outages import Service, answering, client_options

_SERVICE: Service = "key-vault"
_NAME_OF_NOTHING = "no-secret-has-this-name"
_STATES: Mapping[tuple[int | None, str], type[StoreConflict]] = {
    (404, "SecretNotFound"): SecretMissing,
    (409, "ObjectIsDeletedButRecoverable"): SecretMissing,
    (409, "ObjectIsBeingDeleted"): SecretMissing,
    (403, "SecretDisabled"): SecretDisabled,
}

_log = logging.getLogger(__name__)


def open_key_vaults(
    urls: Sequence[str], credential: AsyncTokenCredential, transport: AioHttpTransport, *, verify_domain: bool
) -> KeyVaultSecrets:
    """Return the secrets in the vaults at these URLs; `ValueError` when two of them have the same label.

    With `verify_domain`, tokens go only to vaults under the public Key Vault domains.
    """
    clients = {
        vault_label(url): SecretClient(
            url, credential, transport=transport, verify_challenge_resource=verify_domain, **client_options(_SERVICE)
        )
        for url in urls
    }
    if not clients or len(clients) < len(urls):
        raise ValueError("every Key Vault needs a name of its own")
    return KeyVaultSecrets(clients)


def vault_label(url: str) -> str:
    """Return what stands for a vault in names: the first label of its host, or its address and port."""
    place = urlsplit(url)
    host = place.hostname or ""
    if not host.replace(".", "").isdecimal():
        return host.partition(".")[0]
    return f"{host.replace('.', '-')}-{place.port or 443}"


class KeyVaultSecrets:
    """`Secrets` in Key Vaults, by label."""

    def __init__(self, clients: Mapping[str, SecretClient]) -> None:
        self._clients = clients

    def new_name(self, tenant: str) -> str:
        label = max(self._clients, key=lambda each: hashlib.sha256(f"{each}/{tenant}".encode()).digest())
        return f"{label}/t{hashlib.sha256(tenant.encode()).hexdigest()[:12]}-{uuid.uuid4().hex}"

    async def write(self, name: str, value: SecretStr) -> None:
        """Keep the value. `SecretMissing` when the name was deleted: Key Vault holds on to deleted names."""
        check_secret_value(value.get_secret_value())
        client, secret = self._find(name)
        async with _asking(name):
            await client.set_secret(secret, value.get_secret_value())

    async def read(self, name: str) -> SecretStr:
        client, secret = self._find(name)
        async with _asking(name):
            found = await client.get_secret(secret)
        assert found.value is not None
        return SecretStr(found.value)

    async def disable(self, name: str) -> None:
        client, secret = self._find(name)
        async with _asking(name):
            await client.update_secret_properties(secret, enabled=False)

    async def delete(self, name: str) -> None:
        client, secret = self._find(name)
        with suppress(SecretMissing):
            async with _asking(name):
                # `SecretClient.delete_secret` would go on to poll until the deletion is complete.
                answer = await client.send_request(HttpRequest("DELETE", f"/secrets/{secret}"))
                answer.raise_for_status()

    async def ping(self) -> None:
        await asyncio.gather(*map(_ping, self._clients.values()))

    def _find(self, name: str) -> tuple[SecretClient, str]:
        check_secret_name(name)
        label, _, secret = name.partition("/")
        if label not in self._clients:
            _log.error("service=%s vault=%s error=not-in-the-settings", _SERVICE, label)
            raise Unavailable("A Key Vault is missing from the vault's settings. Tell the operator.")
        return self._clients[label], secret


async def _ping(client: SecretClient) -> None:
    with suppress(SecretMissing):
        async with _asking(_NAME_OF_NOTHING):
            await client.get_secret(_NAME_OF_NOTHING)


@asynccontextmanager
async def _asking(name: str) -> AsyncIterator[None]:
    """Turn what Key Vault says of the secret into the errors of the port."""
    async with answering(_SERVICE):
        try:
            yield
        except HttpResponseError as error:
            if state := _STATES.get((error.status_code, _code(error))):
                raise state(name) from None
            if error.status_code == 409:
                raise Unavailable("Another change of the value is under way. Try again.") from None
            raise


def _code(error: HttpResponseError) -> str:
    """Return the most precise code that Key Vault gives."""
    said = error.error
    return str((said and ((said.innererror or {}).get("code") or said.code)) or "")
