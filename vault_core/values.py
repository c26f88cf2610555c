"""Values on their way between the secret store and the one answer that hands them over.

What is stored is an envelope that names whose value it is, so a pointer that was bent to another's secret opens
nothing. Values read lately are kept in memory, encrypted under a key that lives only in this process; the name of a
secret is never reused and its content never changes, so what is kept is never stale.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from vault_core.errors import FieldError, SealBroken, ValueRefused
from vault_core.stores import Secrets

MAX_VALUE_BYTES = 25_000  # Key Vault holds 25 KB a secret
_CACHED = 500
_CACHED_FOR = timedelta(seconds=60)
_NONCE = 12


class Values:
    """Writes and reads values: those of credential versions, and those that consumers gave."""

    def __init__(self, secrets: Secrets, clock: Callable[[], datetime]) -> None:
        self._secrets = secrets
        self._clock = clock
        self._key = AESGCM(AESGCM.generate_key(256))
        self._cache: OrderedDict[str, tuple[datetime, bytes]] = OrderedDict()

    def new_name(self, tenant: str) -> str:
        """Return a name that was never used, for a value to come."""
        return self._secrets.new_name(tenant)

    async def write(self, name: str, tenant: str, subject: str, fields: Mapping[str, SecretStr]) -> None:
        """Keep the fields under the name. `ValueRefused` when they are over 25,000 bytes in all.

        `subject` is whose value it is: a credential's id, or what `subject_of` makes of it and a consumer.
        """
        await self._secrets.write(name, _envelope(tenant, subject, fields))

    async def read(self, name: str, tenant: str, subject: str) -> dict[str, SecretStr]:
        """Return the fields kept under the name.

        Raises `SecretMissing` or `SecretDisabled`, and `SealBroken` when the value is another subject's.
        """
        envelope = self._cached(name)
        if envelope is None:
            envelope = (await self._secrets.read(name)).get_secret_value().encode()
            self._keep(name, envelope)
        opened = json.loads(envelope)
        if (opened.get("for"), opened.get("tenant"), opened.get("credential")) != (
            "value",
            tenant,
            subject,
        ):
            raise SealBroken("value of a credential")
        return {field: SecretStr(text) for field, text in opened["fields"].items()}

    async def disable(self, name: str) -> None:
        """Make the value unreadable in the store; `SecretMissing` when it is gone."""
        self._cache.pop(name, None)
        await self._secrets.disable(name)

    async def destroy(self, name: str) -> None:
        """Delete the value. Repeatable."""
        self._cache.pop(name, None)
        await self._secrets.delete(name)

    def _keep(self, name: str, envelope: bytes) -> None:
        nonce = os.urandom(_NONCE)
        self._cache[name] = (self._clock(), nonce + self._key.encrypt(nonce, envelope, name.encode()))
        while len(self._cache) > _CACHED:
            self._cache.popitem(last=False)

    def _cached(self, name: str) -> bytes | None:
        kept_at, box = self._cache.get(name, (None, b""))
        if kept_at is None:
            return None
        if self._clock() - kept_at > _CACHED_FOR:
            del self._cache[name]
            return None
        return self._key.decrypt(box[:_NONCE], box[_NONCE:], name.encode())


def subject_of(credential_id: str, consumer_id: str) -> str:
    """Return whose values those are that a consumer gave for a credential."""
    return f"{credential_id}|{consumer_id}"


def check_size(fields: Mapping[str, SecretStr]) -> None:
    """Return when the fields fit into one secret; `ValueRefused` otherwise."""
    _envelope("t" * 64, "c" * (36 + 1 + 128), fields)


def _envelope(tenant: str, subject: str, fields: Mapping[str, SecretStr]) -> SecretStr:
    plain = {field: text.get_secret_value() for field, text in fields.items()}
    envelope = json.dumps(
        {"for": "value", "tenant": tenant, "credential": subject, "fields": plain},
        separators=(",", ":"),
        ensure_ascii=False,
    )
    if len(envelope.encode()) > MAX_VALUE_BYTES:
        fault = FieldError("fields", f"all fields together may take {MAX_VALUE_BYTES} bytes")
        raise ValueRefused("The value is too large for one credential; split it over several.", (fault,))
    return SecretStr(envelope)
