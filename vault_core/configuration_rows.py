"""Where configurations are kept, and how another tenant finds one.

A configuration is kept in its vendor's own partition of the table `vault`, so that one transaction covers it, sealed
under the vendor's key. The table `catalog` holds pointers across tenants, which are never trusted: whoever follows one
reads what it points to and decides on that.

    audience:{tenant}, audience:*    {configuration}                        who may find it
    vendor:{vendor}                  {configuration}|{tenant}|{credential}  which credentials may live on it
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from vault_core.concurrency import gathered, together
from vault_core.configuration import Configuration, Published
from vault_core.credential import PinnedConfiguration
from vault_core.errors import RowMissing
from vault_core.names import as_id
from vault_core.stores import Discard, Keys, Put, Row, Table
from vault_core.stores.removals import discard_all

_EVERYONE = "audience:*"
_REMEMBERED = 500
_PAGE = 1000
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class FoundConfiguration:
    """A configuration and the row it was read from."""

    configuration: Configuration
    row: Row


@dataclass(frozen=True, slots=True)
class Pin:
    """A credential that may live on a configuration, since `at`."""

    tenant: str
    credential_id: str
    at: datetime
    key: str


class ConfigurationRows:
    """Reads configurations, keeps the catalog, and remembers versions, which never change."""

    def __init__(self, table: Table, catalog: Table, tenant_names: Iterable[str]) -> None:
        self.table = table
        self._catalog = catalog
        self._tenant_names = frozenset(tenant_names)
        self._versions: OrderedDict[tuple[str, str, int], Published] = OrderedDict()

    async def read(self, vendor: str, configuration_id: str) -> FoundConfiguration:
        """Return the vendor's configuration with this id, as it is now; `RowMissing` when there is none."""
        row = await self.table.read(vendor, configuration_key(configuration_id))
        return FoundConfiguration(Configuration.from_document(row.document), row)

    async def find(self, tenant: str, reference: str) -> FoundConfiguration:
        """Return the configuration with this id if the tenant made it or may see it; `RowMissing` otherwise."""
        configuration_id = as_id(reference)
        if configuration_id is None:
            raise RowMissing("configuration")
        own, for_tenant, for_all = await together(
            self._own(tenant, configuration_id),
            self._pointer(_audience(tenant), configuration_id),
            self._pointer(_EVERYONE, configuration_id),
        )
        if own:
            return own
        vendor = for_tenant or for_all
        if vendor is None:
            raise RowMissing("configuration")
        found = await self.read(vendor, configuration_id)
        if not found.configuration.is_offered_to(tenant):
            raise RowMissing("configuration")
        return found

    async def version(self, vendor: str, configuration_id: str, number: int) -> Published:
        """Return a frozen version; `RowMissing` when there is none."""
        known = self._versions.get((vendor, configuration_id, number))
        if known is None:
            row = await self.table.read(vendor, version_key(configuration_id, number))
            known = self._versions[vendor, configuration_id, number] = Published.from_document(row.document)
            if len(self._versions) > _REMEMBERED:
                self._versions.popitem(last=False)
        return known

    async def versions(self, vendor: str, configuration_id: str) -> list[Published]:
        """Return all versions that were published, the newest first."""
        page = await self.table.query(Keys(vendor, *_version_span(configuration_id)), limit=_PAGE)
        return [Published.from_document(row.document) for row in reversed(page.rows)]

    async def made_by(self, vendor: str, after: str, limit: int) -> list[Configuration]:
        """Return up to `limit` configurations of the vendor behind the id `after`, in the order of creation."""
        start = configuration_key(after) if after else ""
        page = await self.table.query(Keys(vendor, "configuration:", "configuration;", after=start), limit=limit)
        return [Configuration.from_document(row.document) for row in page.rows]

    async def pointers(self, tenant: str, after: str, limit: int) -> list[tuple[str, str]]:
        """Return up to `limit` ids, with their vendors, of what may be published to the tenant, behind `after`."""
        queries = (
            self._catalog.query(Keys(partition, "", "~", after=after), limit=limit)
            for partition in (_audience(tenant), _EVERYONE)
        )
        found = {row.key: str(row.document.get("vendor")) for page in await gathered(queries) for row in page.rows}
        return sorted(found.items())[:limit]

    async def offered(self, tenant: str, pointers: Sequence[tuple[str, str]]) -> list[Configuration]:
        """Return what of this the tenant may really see."""
        found = await gathered(self._offered(tenant, *pointer) for pointer in pointers)
        return [one for one in found if one]

    async def offer(self, configuration: Configuration, tenants: Iterable[str]) -> None:
        """Let these tenants, or `*`, find the configuration."""
        about = {"vendor": configuration.vendor}
        await gathered(
            self._catalog.commit(Put(Row(_audience(one), configuration.id, about))) for one in sorted(tenants)
        )

    async def withdraw(self, configuration: Configuration, tenants: Iterable[str]) -> None:
        """Let these tenants, or `*`, no longer find the configuration. Repeatable."""
        await gathered(self._catalog.commit(Discard(_audience(one), configuration.id)) for one in sorted(tenants))

    async def pin(self, tenant: str, credential_id: str, to: PinnedConfiguration, now: datetime) -> None:
        """Note that the credential is about to live on the configuration, before it is looked whether it may."""
        about = {"at": now.isoformat()}
        await self._catalog.commit(Put(Row(_pins(to.vendor), _pin_key(to.id, tenant, credential_id), about)))

    async def unpin(self, tenant: str, credential_id: str, to: PinnedConfiguration) -> None:
        """Note that the credential lives no longer. Repeatable."""
        await self._catalog.commit(Discard(_pins(to.vendor), _pin_key(to.id, tenant, credential_id)))

    async def drop(self, vendor: str, pins: Sequence[Pin]) -> None:
        """Forget pins whose credentials are gone. Repeatable."""
        await discard_all(self._catalog, _pins(vendor), [pin.key for pin in pins])

    async def pins(self, vendor: str, configuration_id: str, after: str = "") -> list[Pin]:
        """Return up to 1,000 credentials that may live on the configuration, behind the pin `after`."""
        span = Keys(_pins(vendor), f"{configuration_id}|", f"{configuration_id}|~", after=after)
        page = await self._catalog.query(span, limit=_PAGE)
        return [_pin(row) for row in page.rows]

    def serves(self, tenant: str) -> bool:
        """Return whether the vault serves the tenant; a pointer may name anything."""
        return tenant in self._tenant_names

    async def _own(self, tenant: str, configuration_id: str) -> FoundConfiguration | None:
        try:
            return await self.read(tenant, configuration_id)
        except RowMissing:
            return None

    async def _pointer(self, partition: str, configuration_id: str) -> str | None:
        try:
            vendor = str((await self._catalog.read(partition, configuration_id)).document.get("vendor"))
        except RowMissing:
            return None
        return vendor if vendor in self._tenant_names else None

    async def _offered(self, tenant: str, configuration_id: str, vendor: str) -> Configuration | None:
        found = await self._own(vendor, configuration_id) if vendor in self._tenant_names else None
        return found.configuration if found and found.configuration.is_offered_to(tenant) else None


def audience_of(configuration: Configuration) -> frozenset[str]:
    """Return the tenants, or `*`, who can find the configuration."""
    if configuration.latest is None:
        return frozenset()
    audience = configuration.latest.definition.audience
    return frozenset({"*"} if audience == "everyone" else audience)


def configuration_key(configuration_id: str) -> str:
    """Return the key of a configuration's row."""
    return f"configuration:{configuration_id}"


def version_key(configuration_id: str, number: int) -> str:
    """Return the key of a frozen version's row."""
    return f"configuration-version:{configuration_id}|{number:06}"


def _version_span(configuration_id: str) -> tuple[str, str]:
    return f"configuration-version:{configuration_id}|", f"configuration-version:{configuration_id}|~"


def _audience(tenant: str) -> str:
    return f"audience:{tenant}"


def _pins(vendor: str) -> str:
    return f"vendor:{vendor}"


def _pin(row: Row) -> Pin:
    _, tenant, credential_id = (*row.key.split("|"), "", "")[:3]
    try:
        at = datetime.fromisoformat(row.document["at"])
    except (KeyError, TypeError, ValueError):
        at = _LONG_AGO  # the vault did not write it
    return Pin(tenant, credential_id, at if at.tzinfo else _LONG_AGO, row.key)


def _pin_key(configuration_id: str, tenant: str, credential_id: str) -> str:
    return f"{configuration_id}|{tenant}|{credential_id}"
