"""Resolving: which credential is to be used for a product, in an environment, for a marketplace.

Among the credentials that the caller may use and that can be used now, a configuration for the product beats one for
all products; among those, a credential for the marketplace beats one for all marketplaces. Two that fit equally are
refused, never chosen between.

What the caller may use is decided on the index and on lockers. Only that is read, so what others fill in for themselves
costs no call.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Annotated

from pydantic import Field

from vault_core.admission import subject_in
from vault_core.concurrency import gathered, together
from vault_core.configuration import ProductId
from vault_core.credential import LEASABLE, Environment, status
from vault_core.credential_requests import ConfigurationId, Marketplace
from vault_core.credential_rows import CredentialRows, Found
from vault_core.credentials import Shown
from vault_core.errors import CredentialAmbiguous, NotFound, RowMissing
from vault_core.identities import Caller, IdentityId, IdentityPattern
from vault_core.locker import Locker
from vault_core.locker_rows import LockerRows
from vault_core.placement import ANY_PRODUCT, Place, candidates
from vault_core.policies import NO_PART, Action, Decision, Guard, LeasePolicy, Part, Subject, decide
from vault_core.stores import Keys, Table
from vault_core.tenants import TenantRules, Tenants
from vault_core.wire import WireModel

_NONE_FITS = "No credential that you may use fits what you look for."
_PAGE = 1000
_READ_AT_ONCE = 32
_FEW_LOCKERS = 8  # more are read by one call per thousand
_ANYONE = LeasePolicy(allowed_identities=(IdentityPattern(type="any"),))


class Selector(WireModel):
    """What a credential is wanted for. Without a marketplace, only credentials for all marketplaces fit.

    `configuration` and `owner` say whom the caller trusts to have filled it in; nothing else fits then.
    """

    product: ProductId
    environment: Annotated[Environment, Field(description="Must match exactly")]
    marketplace: Marketplace | None = None
    configuration: Annotated[
        ConfigurationId | None, Field(description="Id of the configuration that it must be made from")
    ] = None
    owner: Annotated[IdentityId | None, Field(description="Owner's identity id, or `me`")] = None

    def meets(self, caller: Caller, place: Place) -> bool:
        """Return whether what is in this place, which is one for the product and environment, is what is wanted."""
        return (
            (not place.marketplaces or self.marketplace in place.marketplaces)
            and (self.configuration is None or self.configuration.lower() == place.configuration)
            and (self.owner is None or (caller.is_me(place.owner) if self.owner == "me" else self.owner == place.owner))
        )


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One way in which a credential fits. `rank` orders them, the best first."""

    place: Place
    universal: bool

    @property
    def rank(self) -> tuple[bool, bool]:
        return self.universal, not self.place.marketplaces


@dataclass(frozen=True, slots=True)
class _Asker:
    """Who wants to do what, under which rules of the tenant."""

    caller: Caller
    action: Action
    rules: TenantRules

    def may(self, place: Place, locker: Locker | None) -> bool:
        """Return whether the caller may use what is in this place, as far as the place and the locker tell."""
        return self._allowed(place, locker.parts_of(self.caller) if locker else NO_PART)

    def could(self, place: Place) -> bool:
        """Return whether the caller may use what is in this place, if its locker is not against it."""
        return self._allowed(place, frozenset(Part) if place.locker else NO_PART)

    def depends_on_locker(self, place: Place) -> bool:
        """Return whether it is the locker that says if the caller may use what is in this place."""
        return place.locker is not None and (place.policy_too_long or not self.may(place, None))

    def may_use(self, found: Found, locker: Locker | None) -> bool:
        """Return whether the caller may use what was found; its own word, which counts."""
        about = subject_in(self.caller, found.credential, self.rules, locker)
        return decide(self.caller, self.action, about) is Decision.ALLOWED

    def _allowed(self, place: Place, parts: frozenset[Part]) -> bool:
        own = _ANYONE if place.policy_too_long else LeasePolicy(allowed_identities=place.allowed_identities)
        about = Subject(place.credential, "", place.owner, self.rules.policy_of(own), parts)
        return decide(self.caller, self.action, about) is Decision.ALLOWED


class Resolution:
    """Finds the credential that a selector means."""

    def __init__(
        self,
        table: Table,
        rows: CredentialRows,
        lockers: LockerRows,
        tenants: Tenants,
        guard: Guard,
    ) -> None:
        self._table = table
        self._rows = rows
        self._lockers = lockers
        self._tenants = tenants
        self._guard = guard

    async def read(self, caller: Caller, selector: Selector, now: datetime) -> Shown:
        """Return the credential that the selector means, of those that the caller may see.

        Raises `NotFound` when none fits, and `CredentialAmbiguous` when several fit equally.
        """
        found, rules = await self._resolve(caller, selector, Action.READ, now)
        return Shown(found.credential, rules)

    async def id_to_lease(self, caller: Caller, selector: Selector, now: datetime) -> str:
        """Return the id of the credential that the selector means, of those that the caller may lease; as `read`."""
        found, _ = await self._resolve(caller, selector, Action.LEASE, now)
        return found.credential.id

    async def _resolve(
        self, caller: Caller, selector: Selector, action: Action, now: datetime
    ) -> tuple[Found, TenantRules]:
        rules, fitting = await together(self._tenants.rules(caller.tenant), self._fitting(caller, selector))
        asker = _Asker(caller, action, rules)
        possible = sorted((one for one in fitting if asker.could(one.place)), key=_rank)
        groups = [[one.place for one in group] for _, group in groupby(possible, key=_rank)]
        if action is Action.LEASE and (remembered := self._remembered(asker, groups, now)):
            return remembered, rules
        unusable: list[Found] = []
        for group in groups:
            found = await self._admitted(asker, group, now)
            usable = [one for one in found if _is_usable(one, now)]
            if usable:
                return _only(usable), rules
            unusable = unusable or found
        if unusable:  # it fits, and whoever asks for it is told why it cannot be used
            return _only(unusable), rules
        await self._guard.record(caller, now, action, **selector.model_dump(exclude_none=True))
        raise NotFound(_NONE_FITS)

    async def _fitting(self, caller: Caller, selector: Selector) -> list[_Candidate]:
        for_product, for_all = await together(
            self._places(candidates(caller.tenant, selector.environment, selector.product)),
            self._places(candidates(caller.tenant, selector.environment, ANY_PRODUCT)),
        )
        fitting = (*(_Candidate(one, False) for one in for_product), *(_Candidate(one, True) for one in for_all))
        return [one for one in fitting if selector.meets(caller, one.place)]

    async def _places(self, span: Keys) -> list[Place]:
        page = await self._table.query(span, limit=_PAGE)
        rows = [*page.rows]
        while page.more:
            page = await self._table.query(replace(span, after=rows[-1].key), limit=_PAGE)
            rows += page.rows
        return [Place.from_document(row.document) for row in rows]

    def _remembered(self, asker: _Asker, groups: Sequence[Sequence[Place]], now: datetime) -> Found | None:
        """Return the only one that fits best, if by what is remembered the caller may lease it: a lease verifies that.

        What is remembered may not exclude anything: nobody would ever verify it.
        """
        if not groups or len(groups[0]) > 1:
            return None
        tenant = asker.caller.tenant
        found = self._rows.remembered(tenant, groups[0][0].credential)
        if found is None or not _is_usable(found, now):
            return None
        locker = self._lockers.remembered(tenant, found.credential.locker_id)
        return found if asker.may_use(found, locker) else None

    async def _admitted(self, asker: _Asker, group: Sequence[Place], now: datetime) -> list[Found]:
        """Return what of these the caller may use; not all of it when more than one can be used now."""
        tenant = asker.caller.tenant
        lockers = await self._lockers_of(tenant, {one.locker for one in group if asker.depends_on_locker(one)})
        places = [one for one in group if asker.may(one, lockers.get(one.locker))]
        admitted: list[Found] = []
        for first in range(0, len(places), _READ_AT_ONCE):
            batch = places[first : first + _READ_AT_ONCE]
            found = await gathered(self._read_if_there(tenant, one.credential) for one in batch)
            admitted += (one for one in found if one and asker.may_use(one, lockers.get(one.credential.locker_id)))
            if sum(_is_usable(one, now) for one in admitted) > 1:
                break
        return admitted

    async def _lockers_of(self, tenant: str, ids: Collection[str | None]) -> Mapping[str | None, Locker]:
        if len(ids) > _FEW_LOCKERS:
            return {one.locker.id: one.locker async for one in self._lockers.all(tenant)}
        found = await gathered(self._lockers.read_if_there(tenant, one) for one in ids)
        return {one.locker.id: one.locker for one in found if one}

    async def _read_if_there(self, tenant: str, credential_id: str) -> Found | None:
        try:
            return await self._rows.read(tenant, credential_id)
        except RowMissing:
            return None


def _rank(candidate: _Candidate) -> tuple[bool, bool]:
    return candidate.rank


def _is_usable(found: Found, now: datetime) -> bool:
    return status(found.credential, now, timedelta(0)) in LEASABLE


def _only(found: list[Found]) -> Found:
    if len(found) > 1:
        raise CredentialAmbiguous(
            "Several credentials fit equally well; name one by its id, say whose or from which configuration you want, "
            "or place them apart."
        )
    return found[0]
