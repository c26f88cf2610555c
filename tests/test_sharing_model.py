"""Lockers, their people, and what consumers give for themselves, against a model that knows nothing but the rules.

Every step is done by one of two workers over the same stores, so that each often remembers what the other changed.
After every step everyone is asked what they see and what they get.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pydantic import SecretStr

from tests.faults import watch
from tests.sharing import CARA, as_defined, attribute, bearer, new_world, plain
from tests.sweeping import faults_of
from tests.vaults import ALICE, BOB, LOLA, TENANTS
from vault_core.credential import Credential
from vault_core.credential_requests import CreateCredential, RedefineCredential
from vault_core.errors import (
    AccessDenied,
    CredentialIncomplete,
    CredentialInLocker,
    LastOwner,
    NotAMember,
    NotFound,
    VaultError,
)
from vault_core.grants import Granted
from vault_core.identities import Caller
from vault_core.leases import Seen
from vault_core.locker import DefineLocker, Permission
from vault_core.vault import Vault

pytestmark = pytest.mark.slow

ROLES = ("finance-bots", "cats")
CAT = bearer("cat", of=("cats",))
PEOPLE = {one.identity.id: one for one in (ALICE, BOB, CARA, CAT)}
LOCKERS = ("finance", "treasury")
LOGINS = ("sap", "portal")
T = TypeVar("T")

people = st.sampled_from(sorted(PEOPLE))
lockers = st.sampled_from(LOCKERS)
logins = st.sampled_from(LOGINS)
workers = st.integers(0, 1)
permissions = st.sets(st.sampled_from(Permission))


@dataclass
class Place:
    """What must be true of one locker."""

    members: dict[str, set[Permission]]
    consumers: set[str] = field(default_factory=set)

    def reaches_all(self, person: str) -> bool:
        leads = self.members.get(person, set()) & {Permission.OWN, Permission.MANAGE}
        return bool(leads or PEOPLE[person].other_roles & self.consumers)


@dataclass
class Login:
    """What must be true of one credential: whose it is, where, what it asks its consumers for, and what they gave."""

    id: str
    owner: str
    password: str
    locker: str | None = None
    asks: bool = True
    given: dict[str, str] = field(default_factory=dict)


class Sharing(RuleBasedStateMachine):
    """Two credentials and up to two lockers, administered by Lola, used by four."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.world = new_world()
        self.workers = [self.new_worker(), self.new_worker()]
        self.places: dict[str, Place] = {}
        self.logins: dict[str, Login] = {}
        self.out: dict[tuple[str, str], str] = {}
        self.values = 0

    def teardown(self) -> None:
        try:
            self.world.clock.pass_by(hours=2)
            for timer in (self.world.vault.expire_leases, self.world.vault.reconcile, self.world.vault.check_rotations):
                self.run(timer())
            assert self.run(faults_of(self.world, settled=True)) == []
        finally:
            self.runner.close()

    def new_worker(self) -> Vault:
        slow_stores, _ = watch(self.world.stores)
        return Vault(slow_stores, TENANTS, self.world.clock, self.world.outbound)

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

    def reaches(self, login: Login, person: str) -> bool:
        place = self.places.get(login.locker or "")
        return person == login.owner or (place is not None and place.reaches_all(person))

    @property
    def now(self) -> Any:
        return self.world.clock()

    @initialize()
    def begin(self) -> None:
        for name in LOGINS:
            password = self.new_value()
            body = {
                "name": name,
                "type": "generic-secret",
                "attributes": [{"name": "password"}, {"name": "pin", "userProvided": True}],
                "fields": {"password": password},
            }
            wanted = CreateCredential.model_validate(body)
            made = self.run(self.workers[0].creations.create(ALICE, wanted, None, self.now))
            self.logins[name] = Login(made.credential.id, "id-alice", password)
        self.make_locker("finance", 0, "id-alice")

    # What happens to lockers

    @rule(name=lockers, worker=workers, owner=people)
    def make_locker(self, name: str, worker: int, owner: str) -> None:
        wanted = DefineLocker(name=name)
        made = self.attempt(self.workers[worker].lockers.create(PEOPLE[owner], wanted, None, self.now))
        assert isinstance(made, VaultError) is (name in self.places)
        self.places.setdefault(name, Place({owner: {Permission.OWN}}))

    @rule(name=lockers, worker=workers)
    def delete_locker(self, name: str, worker: int) -> None:
        answer = self.attempt(self.workers[worker].lockers.delete(LOLA, name, None, self.now))
        assert isinstance(answer, NotFound) is (name not in self.places)
        self.places.pop(name, None)
        for login in self.logins.values():
            login.locker = None if login.locker == name else login.locker

    @rule(name=lockers, worker=workers, member=people, held=permissions, by=people)
    def set_member(self, name: str, worker: int, member: str, held: set[Permission], by: str) -> None:
        place = self.places.get(name)
        caller = LOLA if by == "id-cat" else PEOPLE[by]
        answer = self.attempt(
            self.workers[worker].lockers.set_member(caller, name, member, tuple(sorted(held)), self.now)
        )
        mine = place.members.get(by, set()) if place else set()
        if place is None or not (caller is LOLA or mine or caller.other_roles & place.consumers):
            assert isinstance(answer, NotFound)
            return
        touched = place.members.get(member, set()) | held
        leading = {Permission.OWN, Permission.MANAGE}
        if caller is not LOLA and not mine & ({Permission.OWN} if touched & leading else leading):
            assert isinstance(answer, AccessDenied)
            return
        after = {one: own for one, own in {**place.members, member: held}.items() if own}
        if not any(Permission.OWN in own for own in after.values()):
            assert isinstance(answer, LastOwner)
            return
        assert not isinstance(answer, VaultError)
        place.members = after

    @rule(name=lockers, worker=workers, role=st.sampled_from(ROLES), add=st.booleans())
    def change_consumers(self, name: str, worker: int, role: str, add: bool) -> None:
        place, vault = self.places.get(name), self.workers[worker].lockers
        change = vault.add_consumers(LOLA, name, (role,), self.now) if add else None
        answer = self.attempt(change or vault.remove_consumer(LOLA, name, role, self.now))
        assert isinstance(answer, VaultError) is (place is None)
        if place:
            place.consumers = place.consumers | {role} if add else place.consumers - {role}

    @rule(name=lockers, login=logins, worker=workers)
    def put_in(self, name: str, login: str, worker: int) -> None:
        model = self.logins[login]
        answer = self.attempt(self.workers[worker].lockers.assign(LOLA, name, login, self.now))
        if name not in self.places:
            assert isinstance(answer, NotFound)
        elif model.locker not in (None, name):
            assert isinstance(answer, CredentialInLocker)
        else:
            assert not isinstance(answer, VaultError)
            model.locker = name

    @rule(login=logins, worker=workers)
    def take_out(self, login: str, worker: int) -> None:
        model = self.logins[login]
        if model.locker:
            self.run(self.workers[worker].lockers.take_out(LOLA, model.locker, login, self.now))
            model.locker = None

    @rule(login=logins, worker=workers, owner=people)
    def transfer(self, login: str, worker: int, owner: str) -> None:
        model = self.logins[login]
        answer = self.attempt(self.workers[worker].credentials.transfer(LOLA, login, owner, self.now))
        stranger = model.locker is not None and owner not in self.places[model.locker].members
        assert isinstance(answer, NotAMember) is (stranger and owner != model.owner)
        if not isinstance(answer, VaultError):
            model.owner = owner

    # What happens to values

    @rule(login=logins, worker=workers)
    def ask_for_pins_or_not(self, login: str, worker: int) -> None:
        model, vault = self.logins[login], self.workers[worker]
        owner = PEOPLE[model.owner]
        credential = self.run(vault.credentials.read(owner, login, self.now)).credential
        kept = as_defined(credential, "password")
        wanted = RedefineCredential.model_validate(
            {"name": login, "attributes": kept if model.asks else [*kept, {"name": "pin", "userProvided": True}]}
        )
        answer = self.attempt(vault.redefinitions.redefine(owner, login, wanted, None, self.now))
        assert isinstance(answer, CredentialInLocker) is (model.locker is not None)
        if model.locker is None:
            model.asks, model.given = not model.asks, {}

    @rule(login=logins, worker=workers)
    def rotate(self, login: str, worker: int) -> None:
        model, password = self.logins[login], self.new_value()
        credential = self.run(self.read(login))
        given = {attribute(credential, "password").id: SecretStr(password)}
        self.run(self.workers[worker].values.write(LOLA, login, given, None, self.now))
        model.password = password
        self.out = {key: lease for key, lease in self.out.items() if key[0] != login}

    @rule(login=logins, worker=workers, person=people)
    def give_a_pin(self, login: str, worker: int, person: str) -> None:
        model, pin = self.logins[login], self.new_value()
        work = self.workers[worker].values.set_own(PEOPLE[person], login, {"pin": SecretStr(pin)}, self.now)
        answer = self.attempt(work)
        if not self.reaches(model, person):
            assert isinstance(answer, NotFound)
        elif isinstance(answer, VaultError):
            assert not model.asks
        else:
            model.given[person] = pin

    @rule(login=logins, worker=workers, person=people)
    def forget_the_pin(self, login: str, worker: int, person: str) -> None:
        model = self.logins[login]
        answer = self.attempt(self.workers[worker].values.forget_own(PEOPLE[person], login, self.now))
        assert isinstance(answer, NotFound) is not self.reaches(model, person)
        if self.reaches(model, person):
            model.given.pop(person, None)

    @rule(worker=workers)
    def a_worker_starts_anew(self, worker: int) -> None:
        self.workers[worker] = self.new_worker()

    @rule()
    def timers_run(self) -> None:
        self.world.clock.pass_by(seconds=1)
        self.run(self.world.vault.reconcile())

    # What people get

    async def read(self, login: str) -> Credential:
        return (await self.world.vault.credentials.read(LOLA, login, self.now)).credential

    @rule(login=logins, worker=workers, person=people)
    def lease(self, login: str, worker: int, person: str) -> None:
        model = self.logins[login]
        answer = self.attempt(self.workers[worker].grants.grant(PEOPLE[person], login, None, None, self.now))
        if not self.reaches(model, person):
            assert isinstance(answer, NotFound)
        elif model.asks and person not in model.given:
            assert isinstance(answer, CredentialIncomplete)
        else:
            assert isinstance(answer, Granted)
            own = {"pin": model.given[person]} if model.asks else {}
            assert plain(answer.fields) == {"password": model.password, **own}
            self.out[login, person] = answer.lease.id

    @rule(login=logins, worker=workers, person=people)
    def renew(self, login: str, worker: int, person: str) -> None:
        if lease_id := self.out.get((login, person)):
            answer = self.attempt(self.workers[worker].leases.renew(PEOPLE[person], lease_id, None, None, self.now))
            assert isinstance(answer, Seen) is self.reaches(self.logins[login], person)

    # What must hold

    @invariant()
    def everyone_sees_what_they_reach(self) -> None:
        for vault in (self.world.vault, *self.workers):
            for person, caller in PEOPLE.items():
                seen = self.run(self.seen(vault, caller))
                assert seen == [
                    name for name in LOGINS if name in self.logins and self.reaches(self.logins[name], person)
                ]

    async def seen(self, vault: Vault, caller: Caller) -> list[str]:
        shown = [one.credential.name async for one in vault.listing.visible(caller, self.now)]
        return sorted(shown, key=LOGINS.index)

    @invariant()
    def lockers_are_what_they_should_be(self) -> None:
        self.run(self.check_lockers())

    async def check_lockers(self) -> None:
        found = {one.name: one async for one in self.world.vault.lockers.seen_by(LOLA)}
        assert set(found) == set(self.places)
        for name, place in self.places.items():
            assert {one: set(held) for one, held in found[name].members.items()} == place.members
            assert set(found[name].consumers) == place.consumers
            assert found[name].credentials == sum(login.locker == name for login in self.logins.values())

    @invariant()
    def what_was_given_is_kept_and_nothing_else(self) -> None:
        for person, caller in PEOPLE.items():
            given = self.run(self.world.vault.values.given_by(caller))
            assert set(given) == {login.id for login in self.logins.values() if person in login.given}


Sharing.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestSharing = Sharing.TestCase
