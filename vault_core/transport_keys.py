"""The key to which a tenant's callers encrypt the values that they send.

One RSA key a tenant, made at its first use and kept in the secret store; the sealed row `transport-key` says under
which name. It is written as values are: an intent to discard it, then the secret, then one transaction that inserts
the row and removes the intent. So the key of whoever lost a race, or was cut short, is found and deleted.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from vault_core import agenda
from vault_core.endings import Endings
from vault_core.errors import (
    RowChanged,
    RowExists,
    RowMissing,
    SealBroken,
    SecretDisabled,
    SecretMissing,
    Unavailable,
)
from vault_core.pending_values import ABANDONED_AFTER
from vault_core.sealing import SealedTable
from vault_core.stores import Delete, Insert, Row, Secrets
from vault_core.transport import public_key_text

TRANSPORT_KEY_ROW = "transport-key"
_BITS = 3072
_EXPONENT = 65537


@dataclass(frozen=True, slots=True, repr=False)
class TransportKey:
    """A tenant's key, and its public half as callers read it."""

    private_key: rsa.RSAPrivateKey
    public_text: str


class TransportKeys:
    """Finds a tenant's transport key, and makes it at its first use."""

    def __init__(self, table: SealedTable, secrets: Secrets, endings: Endings) -> None:
        self._table = table
        self._secrets = secrets
        self._endings = endings
        self._known: dict[str, TransportKey] = {}
        self._finding: dict[str, asyncio.Task[TransportKey]] = {}

    async def of(self, tenant: str, now: datetime) -> TransportKey:
        """Return the tenant's key, from memory after the first time.

        Raises `Unavailable` and, when what is stored is not a key that the vault made for this tenant, `SealBroken`.
        """
        if tenant not in self._known:
            # Whoever gives up waiting must not end it for the others.
            self._known[tenant] = await asyncio.shield(self._search(tenant, now))
        return self._known[tenant]

    def _search(self, tenant: str, now: datetime) -> asyncio.Task[TransportKey]:
        task = self._finding.get(tenant)
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            task = self._finding[tenant] = asyncio.create_task(self._find_or_make(tenant, now))
        return task

    async def _find_or_make(self, tenant: str, now: datetime) -> TransportKey:
        key = await self._find(tenant) or await self._make(tenant, now) or await self._find(tenant)
        if key is None:
            raise Unavailable("The vault is preparing your tenant's transport key; try again in a few seconds.")
        return key

    async def _find(self, tenant: str) -> TransportKey | None:
        try:
            row = await self._table.read(tenant, TRANSPORT_KEY_ROW)
        except RowMissing:
            return None
        try:
            envelope = await self._secrets.read(row.document["secret"])
        except (SecretMissing, SecretDisabled):
            raise SealBroken("the secret of a transport key is gone") from None
        private_key = _read_envelope(envelope, tenant)
        if private_key is None:
            raise SealBroken("transport key")
        return _shown(private_key)

    async def _make(self, tenant: str, now: datetime) -> TransportKey | None:
        """Make a key and keep it; None when it did not become the tenant's."""
        private_key, pem = await asyncio.to_thread(_new_key)  # it takes up to a second, and others wait in this one
        name = self._secrets.new_name(tenant)
        intent = agenda.discarding(tenant, now + ABANDONED_AFTER, name, TRANSPORT_KEY_ROW)
        [intent] = await self._table.commit(Insert(intent))
        await self._secrets.write(name, _envelope(tenant, pem))
        try:
            await self._table.commit(Insert(Row(tenant, TRANSPORT_KEY_ROW, {"secret": name})), Delete(intent))
        except (RowExists, RowChanged):  # another worker was faster; or this one so slow that its key was discarded
            with suppress(Unavailable, RowChanged):  # then the reconciler does it
                await self._endings.discard_value(intent)
            return None
        return _shown(private_key)


def _shown(private_key: rsa.RSAPrivateKey) -> TransportKey:
    return TransportKey(private_key, public_key_text(private_key.public_key()))


def _new_key() -> tuple[rsa.RSAPrivateKey, str]:
    key = rsa.generate_private_key(_EXPONENT, _BITS)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key, pem.decode()


def _envelope(tenant: str, pem: str) -> SecretStr:
    return SecretStr(json.dumps({"for": "transport-key", "tenant": tenant, "pem": pem}))


def _read_envelope(envelope: SecretStr, tenant: str) -> rsa.RSAPrivateKey | None:
    """Return the key, or None when this is not the tenant's: an error from here could quote what was read."""
    try:
        opened = json.loads(envelope.get_secret_value())
        # A caller's own value is never taken for a key: the vault writes this marker, callers cannot.
        if (opened["for"], opened["tenant"]) != ("transport-key", tenant):
            return None
        # Testing its primes anew would hold up everyone for a sixth of a second; who could bend them reads values.
        key = serialization.load_pem_private_key(
            opened["pem"].encode(), password=None, unsafe_skip_rsa_key_validation=True
        )
    except (ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, rsa.RSAPrivateKey) else None
