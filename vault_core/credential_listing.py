"""Listing credentials: what a caller may see, narrowed by filters, in order, a page at a time.

In order of creation, a page costs one call to the store, more only where filters pass over what was read. Any other
order has to look at everything the caller may see first: one call per thousand rows. Before either, one call per
thousand lockers tells what the caller sees through those, unless the caller sees everything. Who sees through more
lockers than one query can name makes several at once, whose answers are merged.
"""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import nlargest, nsmallest
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from vault_core.admission import subject_in
from vault_core.credential import Credential, Environment, State, Status, status
from vault_core.credential_requests import TypeName
from vault_core.credential_rows import CredentialRows
from vault_core.credentials import Shown
from vault_core.cursors import Cursor, decoded, encoded
from vault_core.errors import RowMissing
from vault_core.identities import Caller, Role, matches
from vault_core.locker import Locker
from vault_core.locker_rows import NOWHERE, LockerRows
from vault_core.names import fold
from vault_core.policies import REACHES_ALL_INSIDE, Subject, sees
from vault_core.rotation import is_rotation_due
from vault_core.stores import AnyOf, Compare, Condition, Keys, Page
from vault_core.stores.limits import COMPARISONS
from vault_core.tenants import TenantRules, Tenants
from vault_core.vendor_answers import Verdict
from vault_core.wire import Instant, WireModel

_FIRST, _LAST = "credential:", "credential;"
_CALLS = 20  # a page that filters leave empty is handed back with a cursor rather than searched for without end
_ROWS = 1000

Sort = Literal["createdAt", "-createdAt", "name", "-name", "updatedAt", "-updatedAt", "type", "-type", "ends", "-ends"]
Text = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class CredentialQuery(WireModel):
    """Which credentials to list, in which order. Every filter that is given must match."""

    type: TypeName | None = None
    state: State | None = None
    status: Status | None = None
    environment: Environment | None = None
    marketplace: Annotated[Text | None, Field(description="Holds for this marketplace, or for all")] = None
    owner: Annotated[Text | None, Field(description="Owner's identity id, or `me`")] = None
    locker: Annotated[Text | None, Field(description="Name or id of the locker that the credential is in")] = None
    configuration: Annotated[Text | None, Field(description="Id of the configuration that it was made from")] = None
    validation: Verdict | None = None
    rotation: Annotated[Literal["due"] | None, Field(description="`due`: the value is to be replaced by now")] = None
    name: Annotated[Text | None, Field(description="Name without regard to case; `*` stands for any text")] = None
    metadata: Annotated[dict[Text, str], Field(max_length=10, description="metadata.KEY=text, `*` as in name")] = {}
    expires_before: Instant | None = None
    sort: Sort = "createdAt"
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class CredentialPage:
    """Credentials of one page, and the cursor of the next, None at the end."""

    shown: list[Shown]
    next: str | None


class CredentialListing:
    """Lists the credentials that a caller may see."""

    def __init__(self, rows: CredentialRows, lockers: LockerRows, tenants: Tenants) -> None:
        self._rows = rows
        self._lockers = lockers
        self._tenants = tenants

    async def page(self, caller: Caller, query: CredentialQuery, now: datetime) -> CredentialPage:
        """Return the next page that the query asks for; `InvalidInput` when its cursor is not one of ours."""
        position = decoded(query.cursor)
        wanted = await self._wanted(caller, query, now)
        if query.sort == "createdAt":
            return await self._as_created(wanted, position[1] if position else "")
        return await self._sorted(wanted, position)

    async def visible(self, caller: Caller, now: datetime) -> AsyncIterator[Shown]:
        """Yield all credentials that the caller may see, in the order of their creation."""
        wanted = await self._wanted(caller, CredentialQuery(), now)
        after, more = "", True
        while more:
            page = await self._read(wanted, after, _ROWS)
            for row in page.rows:
                after = row.key
                credential = Credential.from_document(row.document)
                if wanted.meets(credential):
                    yield Shown(credential, wanted.rules, wanted.subject_of(credential).parts)
                await asyncio.sleep(0)  # a long list is no reason for others to wait
            more = page.more

    async def _wanted(self, caller: Caller, query: CredentialQuery, now: datetime) -> _Filter:
        """Return what to look for."""
        rules = await self._tenants.rules(caller.tenant)
        inside = None
        if query.locker is not None:
            try:
                inside = (await self._lockers.find(caller.tenant, query.locker)).locker.id
            except RowMissing:
                inside = NOWHERE  # looked for all the same: the answer to a hidden locker's name takes as long
        return _Filter(caller, query, rules, now, await self._lockers_of(caller), inside)

    async def _lockers_of(self, caller: Caller) -> dict[str, Locker]:
        """Return the lockers through which the caller sees credentials of others."""
        if _sees_all(caller):
            return {}
        return {
            one.locker.id: one.locker
            async for one in self._lockers.all(caller.tenant)
            if one.locker.parts_of(caller) & REACHES_ALL_INSIDE
        }

    async def _as_created(self, wanted: _Filter, after: str) -> CredentialPage:
        shown: list[Shown] = []
        limit = wanted.query.limit
        for _ in range(_CALLS):
            page = await self._read(wanted, after, _ROWS if wanted.passes_over else limit)
            for place, row in enumerate(page.rows):
                after = row.key
                credential = Credential.from_document(row.document)
                if wanted.meets(credential):
                    shown.append(Shown(credential, wanted.rules))
                if len(shown) == limit:
                    more = page.more or place + 1 < len(page.rows)
                    return CredentialPage(shown, encoded(("", after)) if more else None)
            if not page.more:
                return CredentialPage(shown, None)
        return CredentialPage(shown, encoded(("", after)))

    async def _sorted(self, wanted: _Filter, position: tuple[str, str] | None) -> CredentialPage:
        order, limit = wanted.query.sort, wanted.query.limit
        first, is_behind = (nlargest, operator.lt) if order.startswith("-") else (nsmallest, operator.gt)
        best: list[tuple[tuple[str, str], Credential]] = []
        after, more = "", True
        while more:
            page = await self._read(wanted, after, _ROWS)
            after, more = page.rows[-1].key if page.rows else after, page.more
            met = filter(wanted.meets, (Credential.from_document(row.document) for row in page.rows))
            keyed = ((_sort_key(order, one), one) for one in met)
            behind = (one for one in keyed if position is None or is_behind(one[0], position))
            # No more is held than can be shown, however many there are.
            best = first(limit + 1, (*best, *behind), key=lambda one: one[0])
        after_last = encoded(best[limit - 1][0]) if len(best) > limit else None
        return CredentialPage([Shown(credential, wanted.rules) for _, credential in best[:limit]], after_last)

    async def _read(self, wanted: _Filter, after: str, limit: int) -> Page:
        span = Keys(wanted.caller.tenant, _FIRST, _LAST, after=after)
        queries = (self._rows.table.query(span, where=one, limit=limit) for one in wanted.conditions)
        return _merged(await asyncio.gather(*queries))


_MOST_NAMED = 80  # lockers; who sees through more reads what is in any: each query searches the whole tenant


def _merged(pages: Sequence[Page]) -> Page:
    """Return the rows of answers to queries of one span, each row once, in order, as far as every answer reaches."""
    reach = min((page.rows[-1].key for page in pages if page.more), default=_LAST)
    rows = {row.key: row for page in pages for row in page.rows if row.key <= reach}
    return Page([rows[key] for key in sorted(rows)], any(page.more for page in pages))


def _sees_all(caller: Caller) -> bool:
    return caller.has(Role.MANAGER) or caller.has(Role.LOCKER_ADMIN)


@dataclass(frozen=True, slots=True)
class _Filter:
    """What a listing shows of what it reads. `lockers` are those whose inside the caller sees; `inside` is wanted."""

    caller: Caller
    query: CredentialQuery
    rules: TenantRules
    now: datetime
    lockers: Mapping[str, Locker]
    inside: str | None

    @property
    def conditions(self) -> tuple[Condition | None, ...]:
        """What the store itself can leave out: credentials that the caller has no way to see, or does not want.

        Each is for a query of its own; what meets any of them is looked at.
        """
        if self.inside is not None:
            return (Compare("locker", "eq", self.inside),)
        if _sees_all(self.caller):
            return (None,)
        owned = (Compare("owner", "eq", alias) for alias in sorted(self.caller.ids))
        by_default = (Compare("ownPolicy", "eq", False),) if self.rules.defaults.allowed_identities else ()
        ways = (*owned, Compare("shared", "eq", True), *by_default, *self._in_lockers)
        return tuple(AnyOf(ways[first : first + COMPARISONS]) for first in range(0, len(ways), COMPARISONS))

    @property
    def _in_lockers(self) -> tuple[Compare, ...]:
        if len(self.lockers) > _MOST_NAMED:
            return (Compare("inLocker", "eq", True),)
        return tuple(Compare("locker", "eq", one) for one in self.lockers)

    @property
    def passes_over(self) -> bool:
        """Whether some of what the store returns may not be shown, so that more must be read than is shown."""
        narrowing = self.query.model_fields_set - {"sort", "limit", "cursor"}
        return bool(narrowing) or not _sees_all(self.caller)

    def meets(self, credential: Credential) -> bool:
        """Return whether the caller sees the credential and every given filter matches."""
        query = self.query
        owner = query.owner
        return (
            credential.deleted_at is None
            and sees(self.caller, self.subject_of(credential))
            and self.inside in (None, credential.locker_id)
            and query.type in (None, credential.type)
            and query.state in (None, credential.newest.state)
            and query.status in (None, status(credential, self.now, self.rules.notice_period))
            and query.environment in (None, credential.environment)
            and query.configuration in (None, credential.configuration.id if credential.configuration else "")
            and query.validation in (None, credential.validation.status)
            and (query.rotation is None or is_rotation_due(credential, self.rules, self.now))
            and (not query.marketplace or not credential.marketplaces or query.marketplace in credential.marketplaces)
            and (
                owner is None
                or (self.caller.is_me(credential.owner_id) if owner == "me" else owner == credential.owner_id)
            )
            and (query.name is None or matches(query.name, credential.name))
            and all(matches(text, credential.metadata.get(key)) for key, text in query.metadata.items())
            and (
                query.expires_before is None or (credential.ends is not None and credential.ends < query.expires_before)
            )
        )

    def subject_of(self, credential: Credential) -> Subject:
        """Return what decides whether the caller sees the credential."""
        locker = self.lockers.get(credential.locker_id or "")
        return subject_in(self.caller, credential, self.rules, locker)


def _sort_key(order: str, credential: Credential) -> tuple[str, str]:
    match order.lstrip("-"):
        case "name":
            return fold(credential.name), credential.id
        case "updatedAt":
            return credential.updated_at.isoformat(), credential.id
        case "type":
            return credential.type, credential.id
        case "ends":
            return credential.ends.isoformat() if credential.ends else "~", credential.id
        case _:
            return credential.created_at.isoformat(), credential.id
