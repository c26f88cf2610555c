"""The tenants' keys: which there are, which one seals, and how a tenant comes to its first and its next.

Data keys live in the secret store and are versioned. The row `keys` of a tenant says which secret holds which
version; it is not sealed, so what it says is believed only as far as the secrets confirm it. Every process knows of a
new version within ten minutes, and at once when it meets a row that is sealed under it.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from vault_core.concurrency import gathered
from vault_core.errors import (
    RowChanged,
    RowExists,
    RowMissing,
    SealBroken,
    SecretDisabled,
    SecretMissing,
    Unavailable,
)
from vault_core.stores import Insert, Keys, Replace, Row, Secrets, Table

KEYS_ROW = "keys"
KEYS_FRESH_FOR = timedelta(minutes=10)
_ATTEMPTS = 5
_LONGEST_WAIT_SECONDS = 1.6
_RING = "the row of a tenant's data keys"
_randomness = secrets.SystemRandom()


@dataclass(frozen=True, slots=True, repr=False)
class DataKey:
    """One version of a tenant's data key, the secret that holds it, and the key of fingerprints kept with it."""

    secret: str
    sealing: AESGCM
    fingerprinting: bytes


@dataclass(frozen=True, slots=True, repr=False)
class TenantKeys:
    """The keys of one tenant: data keys by version, the version to seal with and since when it is, if that is known."""

    current: int
    versions: Mapping[int, DataKey]
    since: datetime | None = None

    @property
    def older(self) -> Sequence[int]:
        """The versions that rows may still be under, though nothing is sealed with them any more."""
        return [version for version in self.versions if version != self.current]

    def fingerprint(self, text: SecretStr) -> str:
        """Return the keyed hash (HMAC-SHA-256, hex) by which equal values are recognised without the value."""
        return hmac.digest(self.versions[self.current].fingerprinting, text.get_secret_value().encode(), "sha256").hex()


class KeyRing:
    """Finds a tenant's keys, makes them when the tenant is new, and knows of changes within ten minutes."""

    def __init__(self, table: Table, values: Secrets, clock: Callable[[], datetime]) -> None:
        self._table = table
        self._secrets = values
        self._clock = clock
        self._known: dict[str, tuple[datetime, TenantKeys]] = {}
        self._renewals: dict[str, asyncio.Task[TenantKeys]] = {}

    async def of(self, tenant: str) -> TenantKeys:
        """Return the keys of the tenant, at most ten minutes old.

        Raises `Unavailable` or, when a stored key is not ours, `SealBroken`.
        """
        read_at, known = self._known.get(tenant, (None, None))
        # A clock that was set back must not make them last: they are no younger than nothing.
        fresh = read_at is not None and timedelta(0) <= self._clock() - read_at <= KEYS_FRESH_FOR
        return known if known and fresh else await self._renewed_once(tenant)

    async def renewed(self, tenant: str) -> TenantKeys:
        """Return the keys of the tenant as they are now; raises as `of`."""
        _, known = self._known.get(tenant, (None, None))
        read_at = self._clock()
        keys = await self._load_or_make(tenant)
        if known and keys.current < known.current:  # who can write to the table must not bring one back
            raise SealBroken(_RING)
        self._known[tenant] = read_at, keys
        return keys

    async def _renewed_once(self, tenant: str) -> TenantKeys:
        """Return what a renewal finds that is under way already, or begin one: many may ask at the same instant."""
        task = self._renewals.get(tenant)
        if task is None or task.get_loop() is not asyncio.get_running_loop():
            task = self._renewals[tenant] = asyncio.create_task(self.renewed(tenant))
            task.add_done_callback(lambda done: self._ended(tenant, done))
        return await asyncio.shield(task)  # whoever gives up waiting must not end it for the others

    def _ended(self, tenant: str, done: asyncio.Task[TenantKeys]) -> None:
        self._renewals.pop(tenant, None)
        if not done.cancelled():
            done.exception()  # seen, though whoever asked may have gone away

    async def add(self, tenant: str, version: int, now: datetime) -> TenantKeys:
        """Make the key of this version and seal with it from now on. `RowChanged` when another was faster."""
        row = await self._table.read(tenant, KEYS_ROW)
        if row.document["current"] != version - 1:
            raise RowChanged(KEYS_ROW)
        fingerprinting = (await self._load(tenant, row)).versions[version - 1].fingerprinting
        await self._make(tenant, row, version, fingerprinting, now)
        return await self.renewed(tenant)

    async def drop(self, tenant: str, version: int) -> None:
        """Take a version that no row is sealed under out of the ring. Repeatable; `SealBroken` for the current one."""
        row = await self._table.read(tenant, KEYS_ROW)
        if version >= _ring(row).current:
            raise SealBroken(f"data key {version} is to be dropped and is the current one")
        left = {number: name for number, name in row.document["keys"].items() if number != str(version)}
        if left != row.document["keys"]:
            await self._table.commit(Replace(row.with_document({**row.document, "keys": left})))
        await self.renewed(tenant)

    async def _load_or_make(self, tenant: str) -> TenantKeys:
        lost = False
        for attempt in range(_ATTEMPTS):
            try:
                row = await self._table.read(tenant, KEYS_ROW)
            except RowMissing:
                row = None
            if row is not None and row.document.get("current"):
                return await self._load(tenant, row)
            if lost := await self._has_rows(tenant):
                continue  # another worker was faster; or else the keys are lost, and new ones would hide it
            try:
                await self._make(tenant, row, 1, secrets.token_bytes(32), self._clock())
            except (RowExists, RowChanged):  # another worker makes them at the same time: let one of us win
                await asyncio.sleep(_randomness.uniform(0, _LONGEST_WAIT_SECONDS / 2 ** (_ATTEMPTS - attempt)))
        if lost:
            raise SealBroken(f"{_RING} is gone")
        raise Unavailable("The vault is preparing your tenant's keys; try again in a few seconds.")

    async def _has_rows(self, tenant: str) -> bool:
        rows = (await self._table.query(Keys(tenant, "", "~"), limit=2)).rows
        return any(row.key != KEYS_ROW for row in rows)

    async def _load(self, tenant: str, row: Row) -> TenantKeys:
        ring = _ring(row)
        keys = await gathered(self._data_key(tenant, version, name) for version, name in ring.names.items())
        return TenantKeys(ring.current, dict(zip(ring.names, keys, strict=True)), ring.since)

    async def _data_key(self, tenant: str, version: int, name: str) -> DataKey:
        _, known = self._known.get(tenant, (None, None))
        if known and version in known.versions and known.versions[version].secret == name:
            return known.versions[version]  # what a secret's name names never changes
        key = await self._read_key(tenant, version, name)
        return DataKey(name, AESGCM(base64.b64decode(key["sealing"])), base64.b64decode(key["fingerprinting"]))

    async def _read_key(self, tenant: str, version: int, name: str) -> dict[str, Any]:
        try:
            key: dict[str, Any] = json.loads((await self._secrets.read(name)).get_secret_value())
        except (SecretMissing, SecretDisabled, ValueError):  # or what the row names is no secret at all
            raise SealBroken(f"the secret of data key {version}") from None
        # A caller's own value is never taken for a key: the vault writes this marker, callers cannot.
        if (key.get("for"), key.get("tenant"), key.get("version")) != ("tenant-key", tenant, version):
            raise SealBroken(f"data key {version}")
        return key

    async def _make(self, tenant: str, row: Row | None, version: int, fingerprinting: bytes, now: datetime) -> None:
        """Name the secret in the row first, then write it, then make it current: a crash leaves no unknown secret.

        What lost a race or was cut short stays named under `candidates`: a random key that sealed nothing. No timer
        deletes it, because this row is not sealed, and who can write to it could have any secret deleted.
        """
        name = self._secrets.new_name(tenant)
        present = row.document if row else {}
        candidates = [*present.get("candidates", ()), name]
        announced = Row(tenant, KEYS_ROW, {**present, "candidates": candidates}, etag=row.etag if row else "")
        [announced] = await self._table.commit(Replace(announced) if row else Insert(announced))
        await self._secrets.write(name, _new_key(tenant, version, fingerprinting))
        chosen = {
            "current": version,
            "since": now.isoformat(),
            "keys": {**present.get("keys", {}), str(version): name},
            "candidates": [other for other in candidates if other != name],
        }
        try:
            await self._table.commit(Replace(announced.with_document(chosen)))
        except RowChanged:
            await self._secrets.delete(name)
            raise


@dataclass(frozen=True, slots=True)
class _Ring:
    """What the row of a tenant's data keys says: which secret holds which version."""

    current: int
    names: Mapping[int, str]
    since: datetime | None


def _ring(row: Row) -> _Ring:
    """Return what the row says; `SealBroken` when it names no newest version to seal with, or was edited otherwise."""
    kept = row.document
    try:
        names = {int(version): str(name) for version, name in kept["keys"].items()}
        since = datetime.fromisoformat(kept["since"]) if kept.get("since") else None
    except (AttributeError, KeyError, TypeError, ValueError):
        raise SealBroken(_RING) from None
    newest = max(names, default=None)
    # Who can write to the table must not bring an older key back.
    if newest is None or type(kept["current"]) is not int or kept["current"] != newest or (since and not since.tzinfo):
        raise SealBroken(_RING)
    return _Ring(newest, names, since)


def _new_key(tenant: str, version: int, fingerprinting: bytes) -> SecretStr:
    return SecretStr(
        json.dumps(
            {
                "for": "tenant-key",
                "tenant": tenant,
                "version": version,
                "sealing": base64.b64encode(secrets.token_bytes(32)).decode(),
                "fingerprinting": base64.b64encode(fingerprinting).decode(),
            }
        )
    )
