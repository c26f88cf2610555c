"""Sealing: what the tables hold of a tenant is readable, and changeable, only through the vault.

A document is encrypted with AES-256-GCM under the tenant's data key. The associated data names tenant, table, row
and field, so a sealed document that is moved elsewhere, or was edited, does not open: someone who can write to
the tables cannot make himself the owner of a credential. Data keys live in the secret store, are versioned, and are
cached in memory for the life of the process.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import secrets
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from vault_core.errors import RowChanged, RowExists, RowMissing, SealBroken, Unavailable
from vault_core.stores import (
    Change,
    Condition,
    Delete,
    Discard,
    Insert,
    Keys,
    Page,
    Partitions,
    Replace,
    Row,
    Secrets,
    Table,
)

_NONCE = 12
_FIELD = "document"
_ATTEMPTS = 5
_LONGEST_WAIT_SECONDS = 1.6
_randomness = secrets.SystemRandom()
KEYS_ROW = "keys"


@dataclass(frozen=True, slots=True, repr=False)
class TenantKeys:
    """The keys of one tenant: data keys by version, the version to seal with, and the key of fingerprints."""

    current: int
    sealing: dict[int, AESGCM]
    fingerprinting: bytes

    def fingerprint(self, text: SecretStr) -> str:
        """Return the keyed hash (HMAC-SHA-256, hex) by which equal values are recognised without the value."""
        return hmac.digest(self.fingerprinting, text.get_secret_value().encode(), "sha256").hex()


class KeyRing:
    """Finds a tenant's keys, and makes them when the tenant is new."""

    def __init__(self, table: Table, values: Secrets) -> None:
        self._table = table
        self._secrets = values
        self._known: dict[str, TenantKeys] = {}

    async def of(self, tenant: str) -> TenantKeys:
        """Return the keys of the tenant. Raises `Unavailable` or, when a stored key is not ours, `SealBroken`."""
        if tenant not in self._known:
            self._known[tenant] = await self._load_or_make(tenant)
        return self._known[tenant]

    async def _load_or_make(self, tenant: str) -> TenantKeys:
        for attempt in range(_ATTEMPTS):
            try:
                row = await self._table.read(tenant, KEYS_ROW)
            except RowMissing:
                row = None
            if row is not None and row.document.get("current"):
                return await self._load(tenant, row)
            if row is None and await self._has_rows(tenant):
                continue  # another worker was faster; or else the keys are lost, and new ones would hide it
            try:
                await self._make(tenant, row)
            except (RowExists, RowChanged):  # another worker makes them at the same time: let one of us win
                await asyncio.sleep(_randomness.uniform(0, _LONGEST_WAIT_SECONDS / 2 ** (_ATTEMPTS - attempt)))
        if row is None:
            raise SealBroken("the row of a tenant's data keys is gone")
        raise Unavailable("The vault is preparing your tenant's keys; try again in a few seconds.")

    async def _has_rows(self, tenant: str) -> bool:
        return bool((await self._table.query(Keys(tenant, "", "~"), limit=1)).rows)

    async def _load(self, tenant: str, row: Row) -> TenantKeys:
        opened = {int(v): await self._read_key(tenant, int(v), name) for v, name in row.document["keys"].items()}
        current = row.document["current"]
        return TenantKeys(
            current=current,
            sealing={version: AESGCM(base64.b64decode(key["sealing"])) for version, key in opened.items()},
            fingerprinting=base64.b64decode(opened[current]["fingerprinting"]),
        )

    async def _read_key(self, tenant: str, version: int, name: str) -> dict[str, Any]:
        key: dict[str, Any] = json.loads((await self._secrets.read(name)).get_secret_value())
        # A caller's own value is never taken for a key: the vault writes this marker, callers cannot.
        if (key.get("for"), key.get("tenant"), key.get("version")) != ("tenant-key", tenant, version):
            raise SealBroken(f"data key {version}")
        return key

    async def _make(self, tenant: str, row: Row | None) -> None:
        """Name the secret in the row first, then write it, then make it current: a crash leaves no unknown secret.

        What lost a race or was cut short stays named under `candidates`: a random key that sealed nothing. No timer
        deletes it, because this row is not sealed, and who can write to it could have any secret deleted.
        """
        name = self._secrets.new_name(tenant)
        candidates = [*(row.document["candidates"] if row else ()), name]
        announced = Row(tenant, KEYS_ROW, {"candidates": candidates}, etag=row.etag if row else "")
        [announced] = await self._table.commit(Replace(announced) if row else Insert(announced))
        await self._secrets.write(name, _new_key(tenant))
        chosen = {
            "current": 1,
            "keys": {"1": name},
            "candidates": [other for other in candidates if other != name],
        }
        try:
            await self._table.commit(Replace(announced.with_document(chosen)))
        except RowChanged:
            await self._secrets.delete(name)
            raise


class SealedTable:
    """A table whose documents are sealed on the way in and opened on the way out. Partitions are tenants."""

    def __init__(self, table: Table, name: str, keys: KeyRing) -> None:
        self._table = table
        self._name = name
        self._keys = keys

    async def read(self, partition: str, key: str) -> Row:
        """As `Table.read`; `SealBroken` when the row is not what the vault wrote there."""
        return self._opened(await self._keys.of(partition), await self._table.read(partition, key))

    async def commit(self, *changes: Change) -> list[Row]:
        """As `Table.commit`."""
        written = [change.row for change in changes if not isinstance(change, Delete | Discard)]
        keys = await self._keys.of(written[0].partition) if written else None
        sealed = [self._sealed(keys, change) for change in changes]
        done = await self._table.commit(*sealed)
        return [row.with_document(plain.document) for plain, row in zip(written, done, strict=True)]

    async def query(self, span: Keys | Partitions, *, where: Condition | None = None, limit: int = 1000) -> Page:
        """As `Table.query`, within one tenant."""
        if isinstance(span, Partitions):
            raise ValueError("sealed rows are read one tenant at a time")
        page = await self._table.query(span, where=where, limit=limit)
        if not page.rows:
            return page
        keys = await self._keys.of(span.partition)
        return Page([self._opened(keys, row) for row in page.rows], page.more)

    def _sealed(self, keys: TenantKeys | None, change: Change) -> Change:
        if keys is None or isinstance(change, Delete | Discard):
            return change
        row = change.row
        nonce = secrets.token_bytes(_NONCE)
        plain = json.dumps(row.document, separators=(",", ":"), ensure_ascii=False).encode()
        box = nonce + keys.sealing[keys.current].encrypt(nonce, plain, self._place(row))
        return type(change)(row.with_document({"key": keys.current, "sealed": base64.b64encode(box).decode()}))

    def _opened(self, keys: TenantKeys, row: Row) -> Row:
        try:
            box = base64.b64decode(row.document["sealed"], validate=True)
            plain = keys.sealing[row.document["key"]].decrypt(box[:_NONCE], box[_NONCE:], self._place(row))
        except (KeyError, TypeError, ValueError, InvalidTag):
            raise SealBroken(f"{self._name} {row.key.partition(':')[0]}") from None
        return row.with_document(json.loads(plain))

    def _place(self, row: Row) -> bytes:
        return "\n".join((row.partition, self._name, row.key, _FIELD)).encode()


def _new_key(tenant: str) -> SecretStr:
    return SecretStr(
        json.dumps(
            {
                "for": "tenant-key",
                "tenant": tenant,
                "version": 1,
                "sealing": base64.b64encode(secrets.token_bytes(32)).decode(),
                "fingerprinting": base64.b64encode(secrets.token_bytes(32)).decode(),
            }
        )
    )
