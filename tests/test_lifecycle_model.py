"""The whole life of credentials and their leases, against a model that knows nothing but the rules.

Every step is done by one of two workers over the same stores, so that each often remembers what the other changed;
now and then a worker starts anew. The model holds what must be true of a credential and of every lease ever handed
out; after every step the vault is asked whether it agrees.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.faults import watch
from tests.outbound import FakeOutbound
from tests.vaults import ADA, ALICE, CI_RUNNER, DEPLOY_AGENT, MONA, TENANTS, Clock, memory_stores
from vault_core.credential import State
from vault_core.credential_requests import CreateCredential, RotateCredential, UpdateCredential
from vault_core.errors import (
    CredentialExpired,
    CredentialNotUsable,
    CredentialRevoked,
    LeaseEnded,
    LeaseLimitReached,
    NameTaken,
    NotFound,
    StaleVersion,
    VaultError,
    VersionRotated,
)
from vault_core.grants import Granted
from vault_core.identities import Caller
from vault_core.lease import LeaseState
from vault_core.leases import Seen
from vault_core.policies import OVERLAP
from vault_core.tenants import FRESH_FOR, ReplaceTenantRules
from vault_core.vault import Vault

NAMES = ("alpha", "beta")
AGENTS = {"deploy": DEPLOY_AGENT, "ci": CI_RUNNER}
DAY = timedelta(days=1)
T = TypeVar("T")

names = st.sampled_from(NAMES)
agents = st.sampled_from(sorted(AGENTS))
workers = st.integers(0, 1)
ttls = st.none() | st.sampled_from([timedelta(seconds=1), timedelta(minutes=5), timedelta(hours=2), DAY * 3])
limits = st.none() | st.integers(1, 4)
maxima = st.none() | st.sampled_from([timedelta(minutes=10), timedelta(hours=3), DAY])


@dataclass
class Out:
    """A lease that was handed out."""

    id: str
    holder: Caller
    version: int
    expires_at: datetime
    latest: datetime
    ended: LeaseState | None = None
    ended_at: datetime | None = None

    def state(self, now: datetime) -> LeaseState:
        return self.ended or (LeaseState.EXPIRED if now >= self.expires_at else LeaseState.ACTIVE)

    def end(self, how: LeaseState, now: datetime) -> None:
        if self.state(now) is LeaseState.ACTIVE:
            self.ended, self.ended_at = how, now


@dataclass
class Model:
    """What must be true of one credential."""

    id: str
    value: str
    agents: set[str]
    limit: int | None
    longest: timedelta | None
    valid_until: datetime | None
    version: int = 1
    revision: int = 0
    suspended: bool = False
    revoked: bool = False
    out: list[Out] = field(default_factory=list)

    def running(self, now: datetime) -> int:
        return sum(one.state(now) is LeaseState.ACTIVE for one in self.out)

    def lately_over(self, now: datetime) -> int:
        return sum(one.ended is None and one.expires_at <= now < one.expires_at + OVERLAP for one in self.out)

    def refusal(self, now: datetime) -> type[VaultError] | None:
        if self.revoked:
            return CredentialRevoked
        if self.valid_until and now >= self.valid_until:
            return CredentialExpired
        return CredentialNotUsable if self.suspended else None


class Lifecycle(RuleBasedStateMachine):
    """Credentials of Alice, leased by two agents."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = Clock()
        self.stores = memory_stores()
        self.observer = Vault(self.stores, TENANTS, self.clock, FakeOutbound())
        self.workers = [self.new_worker(), self.new_worker()]
        self.credentials: dict[str, Model] = {}
        self.deleted: list[Model] = []
        self.values = 0
        self.tenant_limit: int | None = None
        self.tenant_longest = DAY

    def teardown(self) -> None:
        self.runner.close()

    def new_worker(self) -> Vault:
        slow_stores, _ = watch(self.stores)  # whose calls overlap
        return Vault(slow_stores, TENANTS, self.clock, FakeOutbound())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def attempt(self, work: Coroutine[Any, Any, T]) -> T | VaultError:
        try:
            return self.runner.run(work)
        except VaultError as refusal:
            return refusal

    def new_value(self) -> str:
        self.values += 1
        return f"value number {self.values}"

    def limit_of(self, model: Model) -> int | None:
        return model.limit or self.tenant_limit

    @property
    def now(self) -> datetime:
        return self.clock()

    # What people do

    @initialize()
    def begin(self) -> None:
        self.create("alpha", 0, None, None, None)

    @rule(name=names, worker=workers, limit=limits, longest=maxima, valid_for=st.none() | st.just(timedelta(hours=5)))
    def create(
        self, name: str, worker: int, limit: int | None, longest: timedelta | None, valid_for: timedelta | None
    ) -> None:
        value = self.new_value()
        wanted = CreateCredential.model_validate(
            {
                "name": name.upper() if self.values % 2 else name,
                "type": "generic-secret",
                "value": value,
                "policy": {
                    "allowedIdentities": [{"type": "agent"}],
                    "maxLeases": limit,
                    "maxLeaseTTL": longest,
                    "defaultLeaseTTL": "5m",
                },
                "validUntil": self.now + valid_for if valid_for else None,
            }
        )
        made = self.attempt(self.workers[worker].creations.create(ALICE, wanted, None, self.now))
        if name in self.credentials:
            assert isinstance(made, NameTaken)
            return
        assert not isinstance(made, VaultError)
        until = self.now + valid_for if valid_for else None
        self.credentials[name] = Model(made.credential.id, value, set(AGENTS), limit, longest, until)

    @rule(name=names, worker=workers, agent=agents, ttl=ttls)
    def lease(self, name: str, worker: int, agent: str, ttl: timedelta | None) -> None:
        self.check_grant(name, agent, self.attempt(self.grant(name, worker, agent, ttl)))

    @rule(name=names, agent=agents, ttl=ttls, count=st.integers(2, 8))
    def lease_many_at_once(self, name: str, agent: str, ttl: timedelta | None, count: int) -> None:
        async def storm() -> list[Granted | BaseException]:
            attempts = (self.grant(name, number % 2, agent, ttl) for number in range(count))
            return await asyncio.gather(*attempts, return_exceptions=True)

        for answer in sorted(self.run(storm()), key=lambda one: not isinstance(one, Granted)):
            assert isinstance(answer, Granted | VaultError)
            self.check_grant(name, agent, answer)

    async def grant(self, name: str, worker: int, agent: str, ttl: timedelta | None) -> Granted:
        return await self.workers[worker].grants.grant(AGENTS[agent], name, ttl, None, self.now)

    def check_grant(self, name: str, agent: str, answer: Granted | VaultError) -> None:
        model = self.credentials.get(name)
        if model is None or agent not in model.agents:
            assert isinstance(answer, NotFound)
            return
        if refusal := model.refusal(self.now):
            assert isinstance(answer, refusal)
            return
        limit = self.limit_of(model)
        if isinstance(answer, LeaseLimitReached):
            assert limit is not None
            assert model.running(self.now) + model.lately_over(self.now) >= limit
            assert answer.frees_at > self.now
            return
        assert isinstance(answer, Granted)
        assert limit is None or model.running(self.now) < limit
        lease = answer.lease
        assert (lease.credential_id, lease.version) == (model.id, model.version)
        assert answer.value.get_secret_value() == model.value
        bounds = [self.now + self.tenant_longest, self.now + (model.longest or self.tenant_longest)]
        latest = min([*bounds, *([model.valid_until] if model.valid_until else [])])
        assert self.now < lease.expires_at <= lease.max_expires_at == latest
        model.out.append(Out(lease.id, AGENTS[agent], model.version, lease.expires_at, latest))

    @precondition(lambda self: any(model.out for model in self.credentials.values()))
    @rule(data=st.data(), worker=workers, ttl=ttls)
    def renew(self, data: st.DataObject, worker: int, ttl: timedelta | None) -> None:
        model = data.draw(st.sampled_from([one for one in self.credentials.values() if one.out]))
        out = data.draw(st.sampled_from(model.out))
        answer = self.attempt(self.workers[worker].leases.renew(out.holder, out.id, ttl, None, self.now))
        agent = next(name for name, holder in AGENTS.items() if holder is out.holder)
        if agent not in model.agents:
            assert isinstance(answer, NotFound)
        elif out.state(self.now) is not LeaseState.ACTIVE:
            assert isinstance(answer, LeaseEnded | NotFound)
        elif refusal := model.refusal(self.now):
            assert isinstance(answer, refusal)
        elif out.version != model.version:
            assert isinstance(answer, VersionRotated)
        else:
            assert isinstance(answer, Seen)
            assert out.expires_at <= answer.lease.expires_at <= out.latest
            out.expires_at = answer.lease.expires_at

    @precondition(lambda self: any(model.out for model in self.credentials.values()))
    @rule(data=st.data(), worker=workers, caller=st.sampled_from([ALICE, MONA]))
    def end_lease(self, data: st.DataObject, worker: int, caller: Caller) -> None:
        model = data.draw(st.sampled_from([one for one in self.credentials.values() if one.out]))
        out = data.draw(st.sampled_from(model.out))
        answer = self.attempt(self.workers[worker].leases.revoke(caller, out.id, self.now))
        assert answer is None or (isinstance(answer, NotFound) and out.state(self.now) is not LeaseState.ACTIVE)
        out.end(LeaseState.REVOKED, self.now)

    @rule(name=names, worker=workers, same=st.booleans())
    def rotate(self, name: str, worker: int, same: bool) -> None:
        model = self.credentials.get(name)
        value = model.value if same and model else self.new_value()
        body = RotateCredential.model_validate({"value": value})
        answer = self.attempt(self.workers[worker].credentials.rotate(ALICE, name, body, None, None, self.now))
        if model is None:
            assert isinstance(answer, NotFound)
        elif model.revoked or same:
            assert isinstance(answer, VaultError)
        else:
            assert not isinstance(answer, VaultError)
            model.value, model.version, model.revision = value, model.version + 1, model.revision + 1

    @rule(name=names, worker=workers, limit=limits, longest=maxima, who=st.sets(agents), stale=st.booleans())
    def update(
        self, name: str, worker: int, limit: int | None, longest: timedelta | None, who: set[str], stale: bool
    ) -> None:
        model = self.credentials.get(name)
        patterns = [{"type": "agent", "name": AGENTS[one].identity.name} for one in sorted(who)]
        patch = UpdateCredential.model_validate(
            {"policy": {"maxLeases": limit, "maxLeaseTTL": longest, "allowedIdentities": patterns}}
        )
        revision = (model.revision if model else 0) + (-1 if stale else 0)
        tag = f"{model.id[-12:] if model else ''}.{revision}.active"
        answer = self.attempt(self.workers[worker].credentials.update(ALICE, name, patch, tag, self.now))
        if model is None:
            assert isinstance(answer, NotFound)
        elif stale:
            assert isinstance(answer, StaleVersion)
        elif model.revoked:
            assert isinstance(answer, CredentialRevoked)
        else:
            assert not isinstance(answer, VaultError)
            model.limit, model.longest, model.agents = limit, longest, set(who)
            model.revision += 1

    @rule(name=names, worker=workers, asleep=st.booleans())
    def suspend_or_resume(self, name: str, worker: int, asleep: bool) -> None:
        model = self.credentials.get(name)
        credentials = self.workers[worker].credentials
        operation = credentials.suspend if asleep else credentials.resume
        answer = self.attempt(operation(ALICE, name, None, None, self.now))
        if model is None:
            assert isinstance(answer, NotFound)
        elif model.revoked:
            assert isinstance(answer, CredentialRevoked)
        else:
            assert not isinstance(answer, VaultError)
            model.revision += model.suspended != asleep
            model.suspended = asleep

    @rule(name=names, worker=workers)
    def revoke(self, name: str, worker: int) -> None:
        model = self.credentials.get(name)
        answer = self.attempt(self.workers[worker].credentials.revoke(MONA, name, None, None, self.now))
        if model is None:
            assert isinstance(answer, NotFound)
            return
        assert not isinstance(answer, VaultError)
        model.revision += not model.revoked
        model.revoked = True
        for out in model.out:
            out.end(LeaseState.REVOKED, self.now)

    @rule(name=names, worker=workers)
    def delete(self, name: str, worker: int) -> None:
        model = self.credentials.pop(name, None)
        answer = self.attempt(self.workers[worker].credentials.delete(ALICE, name, None, self.now))
        assert (answer is None) == (model is not None)
        if model:
            self.deleted.append(model)

    @rule(limit=limits, longest=maxima)
    def change_the_tenants_defaults(self, limit: int | None, longest: timedelta | None) -> None:
        defaults = {"maxLeases": limit, "maxLeaseTTL": longest, "defaultLeaseTTL": "1m"}
        rules = ReplaceTenantRules.model_validate({"defaults": defaults})
        self.run(self.workers[0].tenants.replace(ADA, rules, None, self.now))
        self.tenant_limit, self.tenant_longest = limit, longest or DAY
        self.clock.now += FRESH_FOR + timedelta(milliseconds=1)

    # What happens by itself

    @rule(passing=st.sampled_from([1, 59, 60, 301, 3_600, 7_200, 86_401, 700_001]))
    def time_passes(self, passing: int) -> None:
        self.clock.now += timedelta(seconds=passing, microseconds=passing % 7)

    @rule(worker=workers, twice=st.booleans())
    def timers_run(self, worker: int, twice: bool) -> None:
        async def run() -> None:
            vaults = [self.workers[worker], *([self.new_worker()] if twice else [])]
            await asyncio.gather(*(vault.expire_leases() for vault in vaults))
            await asyncio.gather(*(vault.reconcile() for vault in vaults))
            await asyncio.gather(*(vault.check_rotations() for vault in vaults))

        self.run(run())

    @rule(worker=workers)
    def a_worker_starts_anew(self, worker: int) -> None:
        self.workers[worker] = self.new_worker()

    # What must hold: told by an observer, so that the workers go on remembering what they saw last

    @invariant()
    def credentials_are_what_they_should_be(self) -> None:
        for name in NAMES:
            self.run(self.check_credential(name))

    async def check_credential(self, name: str) -> None:
        model = self.credentials.get(name)
        if model is None:
            assert await self.is_missing(name)
            return
        credential = (await self.observer.credentials.read(ALICE, name, self.now)).credential
        assert (credential.id, credential.revision) == (model.id, model.revision)
        states = [version.state for version in credential.versions]
        assert credential.newest.number == model.version
        if model.revoked:
            assert set(states) == {State.REVOKED}
            return
        assert states.count(State.ACTIVE) == 1
        assert credential.newest.state is State.ACTIVE
        assert await self.stores.secrets.read(credential.newest.secret or "")
        for out in model.out:
            version = credential.version(out.version)
            if out.state(self.now) is LeaseState.ACTIVE:
                assert version is not None
                assert version.secret is not None
                assert await self.stores.secrets.read(version.secret)

    async def is_missing(self, reference: str) -> bool:
        try:
            await self.observer.credentials.read(ALICE, reference, self.now)
        except NotFound:
            return True
        return False

    @invariant()
    def leases_are_what_they_should_be(self) -> None:
        self.run(self.check_leases())

    async def check_leases(self) -> None:
        for model in self.credentials.values():
            for out in model.out[-12:]:
                try:
                    seen = await self.observer.leases.read(out.holder, out.id, self.now)
                except NotFound:  # forgotten, long after its end
                    assert out.state(self.now) is not LeaseState.ACTIVE
                    assert self.now - (out.ended_at or out.expires_at) > timedelta(days=7)
                    continue
                assert seen.state is out.state(self.now)
                assert seen.lease.version == out.version

    @invariant()
    def limits_are_kept(self) -> None:
        for model in self.credentials.values():
            counted = self.run(self.observer.leases.outstanding("contoso", model.id, self.now)).total()
            assert counted == model.running(self.now)

    @invariant()
    def nothing_is_left_of_what_was_deleted(self) -> None:
        self.run(self.check_deleted())

    async def check_deleted(self) -> None:
        for model in self.deleted[-3:]:
            assert await self.is_missing(model.id)
            for out in model.out[-3:]:
                try:
                    await self.observer.leases.read(out.holder, out.id, self.now)
                except NotFound:
                    continue
                raise AssertionError("a lease of a deleted credential can be looked up")


Lifecycle.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestLifecycle = Lifecycle.TestCase
