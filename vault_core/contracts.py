"""Contracts: the version of a vendor's configuration that a credential is made from, holds to, and moves on from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from vault_core.configuration import Configuration, Definition, Published, State, pinned
from vault_core.configuration_rows import ConfigurationRows
from vault_core.credential import PinnedConfiguration
from vault_core.credential_requests import ConfigurationChoice
from vault_core.errors import ConfigurationNotUsable, NotFound, RowMissing
from vault_core.outbound import DestinationRefused, Outbound

_ABSENT = "There is no such configuration, or it is not published to you; list those that are."
_ABSENT_VERSION = "The configuration has no such version; list its versions."
_GONE = "The vendor's configuration of this credential is gone; create the credential anew from another one."


@dataclass(frozen=True, slots=True)
class Contract:
    """One version of a configuration, and the configuration as it is now, whose secrets sign."""

    configuration: Configuration
    version: int
    definition: Definition
    pinned: PinnedConfiguration


class Contracts:
    """Finds contracts, and pins credentials to them."""

    def __init__(self, rows: ConfigurationRows, outbound: Outbound) -> None:
        self._rows = rows
        self._outbound = outbound

    async def chosen(self, tenant: str, choice: ConfigurationChoice) -> Contract:
        """Return what a new credential of the tenant is to be made from.

        Raises `NotFound`, and `ConfigurationNotUsable` when the configuration is deprecated.
        """
        try:
            found = await self._rows.find(tenant, choice.id)
        except RowMissing:
            raise NotFound(_ABSENT) from None
        configuration = found.configuration
        _check_usable(configuration, tenant)
        contract = await self._contract(configuration, choice.version)
        if not contract.definition.reaches(tenant) and configuration.vendor != tenant:
            raise NotFound(_ABSENT_VERSION)  # the tenant was not in the audience of that version
        return contract

    async def newer(self, tenant: str, present: PinnedConfiguration, version: int | None) -> Contract:
        """Return what a credential that pins `present` can move on to: that version, or the latest one.

        Raises as `chosen`, and `ConfigurationNotUsable` for an older version.
        """
        contract = await self.chosen(tenant, ConfigurationChoice(id=present.id, version=version))
        if contract.version < present.version:
            raise ConfigurationNotUsable("A credential moves on to a newer version only.")
        return contract

    async def of(self, present: PinnedConfiguration) -> Contract:
        """Return the contract that a credential holds to; `ConfigurationNotUsable` when it is gone."""
        try:
            if not self._rows.serves(present.vendor):
                raise RowMissing("configuration")
            found = await self._rows.read(present.vendor, present.id)
            contract = await self._contract(found.configuration, present.version)
        except (RowMissing, NotFound):
            raise ConfigurationNotUsable(_GONE) from None
        if contract.pinned.digest != present.digest:  # rows were rolled back, and the number was given anew
            raise ConfigurationNotUsable(_GONE)
        return contract

    async def pin(self, tenant: str, credential_id: str, contract: Contract, now: datetime) -> None:
        """Note that the credential is about to live on the configuration, then make sure that it may.

        Raises `NotFound` and `ConfigurationNotUsable`: the configuration may be on its way out.
        """
        await self._rows.pin(tenant, credential_id, contract.pinned, now)
        try:
            found = await self._rows.read(contract.configuration.vendor, contract.configuration.id)
        except RowMissing:
            raise NotFound(_ABSENT) from None
        _check_usable(found.configuration, tenant)

    async def unpin(self, tenant: str, credential_id: str, contract: Contract) -> None:
        """Note that the credential did not come to be. Repeatable."""
        await self._rows.unpin(tenant, credential_id, contract.pinned)

    async def _contract(self, configuration: Configuration, number: int | None) -> Contract:
        version = await self._version(configuration, number)
        host = self._host_of(version.definition)
        kept = pinned(configuration.vendor, configuration.id, version, host)
        return Contract(configuration, version.number, version.definition, kept)

    async def _version(self, configuration: Configuration, number: int | None) -> Published:
        latest = configuration.latest
        if latest is None or (number is not None and number > latest.number):
            raise NotFound(_ABSENT_VERSION)
        if number in (None, latest.number):
            return latest
        try:
            return await self._rows.version(configuration.vendor, configuration.id, number or latest.number)
        except RowMissing:
            raise NotFound(_ABSENT_VERSION) from None

    def _host_of(self, definition: Definition) -> str | None:
        try:
            return self._outbound.check(definition.validation.url) if definition.validation else None
        except DestinationRefused:
            return None  # the operator's networks changed since: every call will be refused


def _check_usable(configuration: Configuration, tenant: str) -> None:
    if not configuration.is_offered_to(tenant):  # to the vendor's own people too, it must be published
        raise NotFound(_ABSENT)
    if configuration.state is State.DEPRECATED:
        raise ConfigurationNotUsable("This configuration is deprecated: nothing new is made from it; choose another.")
