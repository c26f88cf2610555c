"""Handlers of leases."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from vault_core.api.repeated import once
from vault_core.api.routing import Answer, Call
from vault_core.configuration import ProductId
from vault_core.credential import Environment
from vault_core.credential_requests import ConfigurationId, Marketplace
from vault_core.cursors import Cursor, decoded, encoded
from vault_core.durations import Duration
from vault_core.grants import refusals_counted
from vault_core.identities import Identity, IdentityId, Purpose
from vault_core.lease import Cap, Lease, LeaseState
from vault_core.leases import LeasePage, Seen
from vault_core.resolution import Selector
from vault_core.vault import Vault
from vault_core.wire import Instant, RevealedSecret, WireModel


class CreateLease(WireModel):
    """Which credential to lease, for how long at most, and what for.

    It is named by its name or id, or by what it is wanted for: `product`, `environment`, `marketplace`,
    `configuration` and `owner`, as when it is resolved.
    """

    credential: Annotated[str | None, StringConstraints(min_length=1, max_length=128)] = None
    product: ProductId | None = None
    environment: Environment | None = None
    marketplace: Marketplace | None = None
    configuration: ConfigurationId | None = None
    owner: IdentityId | None = None
    ttl: Duration | None = None
    purpose: Purpose | None = None

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        selecting = bool(self._selecting)
        if (self.credential is None) is not selecting:
            raise ValueError("give either `credential`, or `product` and `environment` with or without what narrows")
        if selecting and (self.product is None or self.environment is None):
            raise ValueError("a selector needs both `product` and `environment`")
        return self

    @property
    def selector(self) -> Selector | None:
        """What the credential is wanted for, unless it is named."""
        if self.credential is not None:
            return None
        return Selector.model_validate(self._selecting)

    @property
    def _selecting(self) -> dict[str, str]:
        return self.model_dump(include=set(Selector.model_fields), exclude_none=True)


class RenewLease(WireModel):
    """For how long from now the lease should last; the credential's default if left out."""

    ttl: Duration | None = None


class LeaseView(WireModel):
    """A lease. It never shows the value."""

    id: str
    credential_id: str
    credential_name: str
    version: int
    state: LeaseState
    identity: Identity
    ttl: Duration
    requested_ttl: Duration | None = None
    capped_by: Annotated[Cap | None, Field(description="What made it shorter than was asked")] = None
    issued_at: Instant
    expires_at: Instant
    max_expires_at: Annotated[Instant, Field(description="How far it can be renewed")]
    refresh_at: Annotated[Instant, Field(description="When to renew: jittered, before the end")]
    renewed_at: Instant | None = None
    ended_at: Instant | None = None


class GrantedLease(LeaseView):
    """A new lease, with the value in the only answer that hands it over."""

    value: RevealedSecret
    fields_: Annotated[dict[str, RevealedSecret], Field(alias="fields")]


class LeaseList(WireModel):
    """A page of leases; `next` is the cursor of the next page, absent at the end."""

    items: tuple[LeaseView, ...]
    next: str | None = None


class LeaseQuery(WireModel):
    """Whose leases: the caller's own, or those of a credential."""

    credential: Annotated[str | None, StringConstraints(min_length=1, max_length=128)] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Cursor | None = None


async def create_lease(vault: Vault, call: Call[CreateLease]) -> Answer:
    """Lease a credential: the answer holds its value."""
    wanted = call.body
    caller = replace(call.caller, identity=call.caller.identity.with_purpose(wanted.purpose))
    repeat, reference = once(call, "lease"), wanted.credential
    with refusals_counted(caller):
        if wanted.selector:
            reference = await vault.grants.named_before(caller, repeat)
            reference = reference or await vault.resolution.id_to_lease(caller, wanted.selector, call.now)
        granted = await vault.grants.grant(caller, reference or "", wanted.ttl, repeat, call.now)
    view = GrantedLease(**_copied(granted.lease), state=LeaseState.ACTIVE, value=granted.value, fields_=granted.fields)
    return Answer(201, view, {"Location": f"/api/v1/leases/{granted.lease.id}"})


async def list_leases(vault: Vault, call: Call[None, LeaseQuery]) -> Answer:
    """List the caller's leases, or those of a credential for its owner or a manager."""
    query, after = call.query, decoded(call.query.cursor)
    if query.credential is None:
        return _listed(await vault.leases.list_own(call.caller, query.limit, after, call.now))
    return _listed(await vault.leases.list_of(call.caller, query.credential, query.limit, after, call.now))


async def read_lease(vault: Vault, call: Call) -> Answer:
    """Look a lease up; never its value."""
    return Answer(200, _view(await vault.leases.read(call.caller, call.path["lease"], call.now)))


async def renew_lease(vault: Vault, call: Call[RenewLease]) -> Answer:
    """Extend a lease that the caller holds."""
    lease_id = call.path["lease"]
    repeat = once(call, f"renew {lease_id}")
    return Answer(200, _view(await vault.leases.renew(call.caller, lease_id, call.body.ttl, repeat, call.now)))


async def revoke_lease(vault: Vault, call: Call) -> Answer:
    """End a lease at once."""
    await vault.leases.revoke(call.caller, call.path["lease"], call.now)
    return Answer(204)


def _listed(page: LeasePage) -> Answer:
    return Answer(200, LeaseList(items=tuple(_view(seen) for seen in page.leases), next=encoded(page.after)))


def _view(seen: Seen) -> LeaseView:
    return LeaseView(**_copied(seen.lease), state=seen.state)


def _copied(lease: Lease) -> dict[str, object]:
    return {name: getattr(lease, name) for name in _COPIED}


_COPIED = LeaseView.model_fields.keys() & Lease.model_fields.keys()
