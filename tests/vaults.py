"""A vault over memory stores, a clock that tests set, and the people who use it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.faults import Ledger, Plan, watch
from tests.outbound import FakeOutbound
from vault_core.audit import AuditEvent, AuditQuery
from vault_core.credential import Credential
from vault_core.credential_requests import CreateCredential, RotateCredential, UpdateCredential
from vault_core.grants import Granted
from vault_core.identities import Caller, Identity, Role
from vault_core.key_ring import KeyRing
from vault_core.sealing import SealedTable
from vault_core.stores import Stores
from vault_core.stores.memory import MemorySecrets, MemoryTable
from vault_core.vault import Vault

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
TENANTS = ("contoso", "northwind", "fabrikam")


def person(name: str, *roles: Role, tenant: str = "contoso") -> Caller:
    """A person of the tenant with these roles."""
    identity = Identity(kind="human", id=f"id-{name}", email=f"{name}@{tenant}.example")
    return Caller(tenant, identity, frozenset(roles), frozenset({identity.id}))


def agent(name: str, *roles: Role, tenant: str = "contoso") -> Caller:
    """An agent of the tenant with these roles."""
    identity = Identity(kind="agent", id=f"id-{name}", name=name)
    return Caller(tenant, identity, frozenset(roles), frozenset({identity.id}))


ALICE = person("alice", Role.USER)
BOB = person("bob", Role.USER)
VIC = person("vic", Role.VIEWER)
MONA = person("mona", Role.MANAGER)
ADA = person("ada", Role.ADMIN)
OTTO = person("otto", Role.AUDITOR)
LOLA = person("lola", Role.LOCKER_ADMIN, Role.USER)
DEPLOY_AGENT = agent("deploy-agent", Role.USER)
CI_RUNNER = agent("ci-runner", Role.USER)
MALLORY = person("mallory", Role.ADMIN, Role.MANAGER, Role.USER, tenant="fabrikam")


def memory_stores() -> Stores:
    """Empty stores in memory."""
    return Stores(MemoryTable(), MemoryTable(), MemoryTable(), MemoryTable(), MemoryTable(), MemorySecrets())


@dataclass
class Clock:
    """A clock that stands still until it is set."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **duration: float) -> datetime:
        """Let time pass; return the new instant."""
        self.now += timedelta(**duration)
        return self.now


def key_ring(stores: Stores) -> KeyRing:
    """The keys of the tenants, as another process at noon finds them."""
    return KeyRing(stores.vault, stores.secrets, Clock())


def sealed_table(stores: Stores) -> SealedTable:
    """The sealed rows, as another process at noon opens them."""
    return SealedTable(stores.vault, "vault", key_ring(stores))


@dataclass
class World:
    """A vault with its stores, its clock, and a ledger of the calls it makes to its stores."""

    stores: Stores = field(default_factory=memory_stores)
    clock: Clock = field(default_factory=Clock)
    plan: Plan = field(default_factory=Plan)
    outbound: FakeOutbound = field(default_factory=FakeOutbound)
    vault: Vault = field(init=False)
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.restart(self.plan)

    def restart(self, plan: Plan | None = None) -> None:
        """Start the vault anew over the same stores, as another process would."""
        watched, self.ledger = watch(self.stores, plan)
        self.vault = Vault(watched, TENANTS, self.clock, self.outbound)

    async def create(self, caller: Caller = ALICE, **wanted: Any) -> Credential:
        """Create a credential: a generic secret called `db-password` unless told otherwise."""
        body = {"name": "db-password", "type": "generic-secret", "value": "correct horse"} | wanted
        if "fields" in body:
            body.pop("value")
        shown = await self.vault.creations.create(caller, CreateCredential.model_validate(body), None, self.clock())
        return shown.credential

    async def create_for_agents(self, **wanted: Any) -> Credential:
        """Create a credential of Alice that agents called `deploy-*` may lease."""
        policy = {"allowedIdentities": [{"type": "agent", "name": "deploy-*"}]} | wanted.pop("policy", {})
        return await self.create(policy=policy, **wanted)

    async def lease(
        self, caller: Caller = DEPLOY_AGENT, reference: str = "db-password", ttl: timedelta | None = None
    ) -> Granted:
        """Lease the credential."""
        return await self.vault.grants.grant(caller, reference, ttl, None, self.clock())

    async def rotate(
        self, caller: Caller = ALICE, reference: str = "db-password", value: str = "new value"
    ) -> Credential:
        """Rotate the credential to the value."""
        body = RotateCredential.model_validate({"value": value})
        shown = await self.vault.credentials.rotate(caller, reference, body, None, None, self.clock())
        return shown.credential

    async def update(self, caller: Caller = ALICE, reference: str = "db-password", **patch: Any) -> Credential:
        """Change the credential with a merge patch."""
        body = UpdateCredential.model_validate(patch)
        shown = await self.vault.credentials.update(caller, reference, body, None, self.clock())
        return shown.credential

    async def revoke(self, caller: Caller = ALICE, reference: str = "db-password") -> Credential:
        """Revoke the credential."""
        shown = await self.vault.credentials.revoke(caller, reference, None, None, self.clock())
        return shown.credential

    async def audit(self, tenant: str = "contoso") -> list[AuditEvent]:
        """All audit events of the tenant, newest first; at most 1,000."""
        query = AuditQuery(since=NOON - timedelta(days=400), until=NOON + timedelta(days=4000))
        return list((await self.vault.audit.query(tenant, query, limit=1000)).events)
