"""A place where an app runs: several workers over real stores, with a tenant of their own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

from azure.keyvault.secrets.aio import SecretClient

from local.cloud import TABLES, LocalCloud
from tests.contents import Contents, read_contents
from tests.invariants import broken_rules, unfinished
from tests.outbound import FakeOutbound
from tests.stores.tokens import key_vault_token, storage_token
from tests.vaults import Clock, agent, person
from vault_core.credential import Credential
from vault_core.credential_requests import CreateCredential, RotateCredential
from vault_core.grants import Granted
from vault_core.identities import Caller, Role
from vault_core.locker import DefineLocker, Locker
from vault_core.outbound import Outbound
from vault_core.repeats import Once
from vault_core.stores import Stores
from vault_core.stores.key_vault import open_key_vaults
from vault_core.stores.outages import open_transport
from vault_core.stores.tables import AzureTable, table_client
from vault_core.vault import Vault

ANYONE = [{"type": "any"}]


@dataclass
class Site:
    """Three workers of one app, over the same stores, a tenant of their own, and one that is a vendor to it."""

    tenant: str
    stores: Stores
    listing: SecretClient
    clock: Clock = field(default_factory=Clock)
    outbound: Outbound = field(default_factory=FakeOutbound)
    workers: list[Vault] = field(init=False)
    alice: Caller = field(init=False)
    nora: Caller = field(init=False)

    def __post_init__(self) -> None:
        tenants = (self.tenant, f"{self.tenant}-vendor")
        self.workers = [Vault(self.stores, tenants, self.clock, self.outbound) for _ in range(3)]
        self.alice = person("alice", Role.USER, tenant=self.tenant)
        self.nora = agent("nora", Role.VENDOR, tenant=tenants[1])

    def agent(self, number: int) -> Caller:
        return agent(f"agent-{number}", Role.USER, tenant=self.tenant)

    async def create(self, name: str, worker: int = 0, once: Once | None = None, **policy: object) -> Credential:
        body = {
            "name": name,
            "type": "generic-secret",
            "value": "value of version 1",
            "policy": {"allowedIdentities": ANYONE} | policy,
        }
        wanted = CreateCredential.model_validate(body)
        return (await self.workers[worker].creations.create(self.alice, wanted, once, self.clock())).credential

    def bot(self, number: int) -> Caller:
        """An agent whose token bears the role `bots`, by which it may be a consumer of lockers."""
        return replace(self.agent(number), other_roles=frozenset({"bots"}))

    async def create_with_parts(self, name: str, *standard: str) -> Credential:
        """Create a credential of Alice's: these attributes, without a value yet, and a `pin` that consumers give."""
        attributes = [*({"name": one} for one in standard), {"name": "pin", "userProvided": True}]
        wanted = CreateCredential.model_validate({"name": name, "type": "generic-secret", "attributes": attributes})
        return (await self.workers[0].creations.create(self.alice, wanted, None, self.clock())).credential

    async def create_locker(self, name: str) -> Locker:
        """Create a locker of Alice's that bots consume."""
        lockers, now = self.workers[0].lockers, self.clock()
        locker = await lockers.create(self.alice, DefineLocker(name=name), None, now)
        return await lockers.add_consumers(self.alice, locker.id, ("bots",), now)

    async def lease(self, name: str, number: int, ttl: timedelta | None = None, once: Once | None = None) -> Granted:
        """Lease as the agent of this number, through the worker whose turn it is."""
        worker = self.workers[number % 3]
        return await worker.grants.grant(self.agent(number if once is None else 0), name, ttl, once, self.clock())

    async def rotate(self, name: str, value: str, worker: int = 0, once: Once | None = None) -> Credential:
        wanted = RotateCredential.model_validate({"value": value})
        credentials = self.workers[worker].credentials
        return (await credentials.rotate(self.alice, name, wanted, None, once, self.clock())).credential

    async def contents(self) -> Contents:
        prefix = self.stores.secrets.new_name(self.tenant).rpartition("-")[0]
        vault = prefix.partition("/")[0]
        names = {f"{vault}/{one.name}" async for one in self.listing.list_properties_of_secrets()}
        own = {name for name in names if name.startswith(prefix)}
        return await read_contents(self.stores, self.tenant, own, self.clock())

    async def tend(self) -> None:
        """Run the timers on two workers at once; then once more, for what these put off because of each other."""
        self.clock.pass_by(minutes=31)
        for name in ("expire_leases", "reconcile", "check_credentials", "check_rotations"):
            await asyncio.gather(*(getattr(worker, name)() for worker in self.workers[:2]))
        self.clock.pass_by(minutes=16)
        reports = [await self.workers[2].expire_leases(), await self.workers[2].reconcile()]
        assert not any(report.failed for report in reports)

    async def faults_at_rest(self) -> list[str]:
        """Which rules do not hold now, and which do not once the timers have run."""
        faults = broken_rules(await self.contents())
        await self.tend()
        contents = await self.contents()
        return faults + broken_rules(contents) + unfinished(contents)


@asynccontextmanager
async def open_site(local_parts: LocalCloud, outbound: Outbound | None = None) -> AsyncIterator[Site]:
    """Tables of the test's own, in Azurite; the Key Vault is shared, by tenants that nobody else has."""
    async with AsyncExitStack() as stack:
        transport = await stack.enter_async_context(open_transport())
        own = uuid.uuid4().hex
        tables = {}
        for name in TABLES:
            client = table_client(local_parts.tables_url, f"{name}{own}", storage_token(local_parts), transport)
            await client.create_table()
            stack.push_async_callback(client.delete_table)
            tables[name] = AzureTable(client)
        token, url = key_vault_token(local_parts), local_parts.key_vault.url
        secrets = open_key_vaults([url], token, transport, verify_domain=False)
        listing = SecretClient(url, token, transport=transport, verify_challenge_resource=False)
        stores = Stores(**tables, secrets=secrets)
        yield Site(f"tenant-{own}", stores, listing, outbound=outbound or FakeOutbound())
