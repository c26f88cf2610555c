"""Listing credentials: what a caller may see, narrowed by filters, in order, a page at a time.

In order of creation, a page costs one call to the store, more only where filters pass over what was read. Any other
order has to look at everything the caller may see first: one call per thousand rows.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from datetime import datetime
from heapq import nlargest, nsmallest
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from vault_core.credential import Credential, Environment, State, Status, status
from vault_core.credential_requests import TypeName
from vault_core.credential_rows import CredentialRows
from vault_core.credentials import Shown, subject
from vault_core.cursors import Cursor, decoded, encoded
from vault_core.identities import Caller, Role, matches
from vault_core.names import fold
from vault_core.policies import sees
from vault_core.stores import AnyOf, Compare, Condition, Keys, Page
from vault_core.tenants import TenantRules, Tenants
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

    def __init__(self, rows: CredentialRows, tenants: Tenants) -> None:
        self._rows = rows
        self._tenants = tenants

    async def page(self, caller: Caller, query: CredentialQuery, now: datetime) -> CredentialPage:
        """Return the next page that the query asks for; `InvalidInput` when its cursor is not one of ours."""
        rules = await self._tenants.rules(caller.tenant)
        wanted = _Filter(caller, query, rules, now)
        position = decoded(query.cursor)
        if query.sort == "createdAt":
            return await self._as_created(wanted, position[1] if position else "")
        return await self._sorted(wanted, position)

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
        return await self._rows.table.query(span, where=wanted.condition, limit=limit)


@dataclass(frozen=True, slots=True)
class _Filter:
    """What a listing shows of what it reads."""

    caller: Caller
    query: CredentialQuery
    rules: TenantRules
    now: datetime

    @property
    def condition(self) -> Condition | None:
        """What the store itself can leave out: credentials that the caller has no way to see."""
        if self.caller.has(Role.MANAGER):
            return None
        owned = (Compare("owner", "eq", alias) for alias in sorted(self.caller.aliases | {self.caller.identity.id}))
        by_default = (Compare("ownPolicy", "eq", False),) if self.rules.defaults.allowed_identities else ()
        return AnyOf((*owned, Compare("shared", "eq", True), *by_default))

    @property
    def passes_over(self) -> bool:
        """Whether some of what the store returns may not be shown, so that more must be read than is shown."""
        narrowing = self.query.model_fields_set - {"sort", "limit", "cursor"}
        return bool(narrowing) or not self.caller.has(Role.MANAGER)

    def meets(self, credential: Credential) -> bool:
        """Return whether the caller sees the credential and every given filter matches."""
        query = self.query
        owner = query.owner
        return (
            credential.deleted_at is None
            and sees(self.caller, subject(credential, self.rules))
            and query.type in (None, credential.type)
            and query.state in (None, credential.newest.state)
            and query.status in (None, status(credential, self.now, self.rules.notice_period))
            and query.environment in (None, credential.environment)
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
