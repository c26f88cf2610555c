"""Handlers of the tenant's settings and of the caller's own identity."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from pydantic import Field

from vault_core.api.routing import Answer, Call
from vault_core.durations import Duration
from vault_core.identities import Identity, Role
from vault_core.policies import LeasePolicy
from vault_core.tenants import ReplaceTenantRules, TenantRules
from vault_core.vault import Vault
from vault_core.wire import Instant, WireModel


class TenantView(WireModel):
    """The settings of a tenant. A change holds everywhere within ten seconds."""

    defaults: LeasePolicy
    notice_period: Duration
    retention: Duration


class DataKeyView(WireModel):
    """The key that seals what the tables hold of the tenant."""

    version: int
    since: Annotated[Instant | None, Field(description="Absent for a key from before this was noted")] = None
    resealing: Annotated[bool, Field(description="Rows may still be under an older key, which is destroyed after that")]


class MeView(WireModel):
    """Who the token says the caller is."""

    tenant: str
    identity: Identity
    roles: tuple[Role, ...]
    other_roles: Annotated[
        tuple[str, ...], Field(description="Roles that the vault gives no meaning of its own: for consumers of lockers")
    ]


async def read_tenant(vault: Vault, call: Call) -> Answer:
    """Read the tenant's defaults for policies, its notice period and its retention."""
    return _shown(await vault.tenants.current(call.caller.tenant))


async def replace_tenant(vault: Vault, call: Call[ReplaceTenantRules]) -> Answer:
    """Replace the tenant's settings."""
    return _shown(await vault.tenants.replace(call.caller, call.body, call.if_match, call.now))


async def read_data_key(vault: Vault, call: Call) -> Answer:
    """Tell which version of the tenant's data key is current, and whether a rotation is under way."""
    return Answer(200, DataKeyView(**asdict(await vault.data_keys.read(call.caller.tenant))))


async def rotate_data_key(vault: Vault, call: Call) -> Answer:
    """Seal what the tables hold of the tenant under a new key, and destroy the old one when that is done."""
    return Answer(200, DataKeyView(**asdict(await vault.data_keys.rotate(call.caller, call.now))))


async def read_me(vault: Vault, call: Call) -> Answer:
    """Tell who the caller's token says they are."""
    caller = call.caller
    view = MeView(
        tenant=caller.tenant,
        identity=caller.identity,
        roles=tuple(sorted(caller.roles)),
        other_roles=tuple(sorted(caller.other_roles)),
    )
    return Answer(200, view)


def _shown(rules: TenantRules) -> Answer:
    view = TenantView(defaults=rules.defaults, notice_period=rules.notice_period, retention=rules.retention)
    return Answer(200, view, etag=rules.tag)
