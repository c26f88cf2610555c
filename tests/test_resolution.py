"""Resolving: which credential is meant for a product, an environment and a marketplace, or why none is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.sharing import BOTS, put_in, take_out
from tests.vaults import ADA, ALICE, BOB, CI_RUNNER, DEPLOY_AGENT, MALLORY, MONA, NOON, VIC, World
from tests.vendors import FIELDS, fill, leasing, publish, publish_anew, selecting, upgrade
from tests.workers import another_worker
from vault_core import resolution
from vault_core.api.leases import CreateLease
from vault_core.configuration import Configuration
from vault_core.credential import Credential
from vault_core.credential_requests import UpdateCredential
from vault_core.errors import CredentialAmbiguous, NotFound, SealBroken
from vault_core.identities import Caller, IdentityPattern
from vault_core.locker import DefineLocker, Permission
from vault_core.placement import MAX_POLICY
from vault_core.policies import Action, LeasePolicy
from vault_core.resolution import Selector
from vault_core.stores import Keys, Put
from vault_core.tenants import ReplaceTenantRules
from vault_core.vault import Vault

UNIVERSAL: dict[str, Any] = {"scope": "universal", "products": []}


@pytest.fixture
def world() -> World:
    return World()


async def offer(world: World, **changes: Any) -> Configuration:
    """A published configuration without an endpoint."""
    return await publish(world, **{"validation": None, "fields": FIELDS} | changes)


async def resolved(world: World, caller: Caller = ALICE, **wanted: str) -> str:
    """The name of the credential that is meant."""
    return (await world.vault.resolution.read(caller, selecting(**wanted), world.clock())).credential.name


async def to_lease(world: World, caller: Caller, **wanted: str) -> str:
    return await world.vault.resolution.id_to_lease(caller, selecting(**wanted), world.clock())


async def places(world: World) -> list[str]:
    rows = (await world.stores.vault.query(Keys("contoso", "place:", "place;"))).rows
    return [row.key.removeprefix("place:").rpartition("|")[0] for row in rows]


class TestPrecedence:
    """Of four credentials that fit, each without those before it: who is meant."""

    PLACES = {
        "product and marketplace": ("product", ["de", "at"]),
        "product": ("product", []),
        "universal and marketplace": ("universal", ["de"]),
        "universal": ("universal", []),
    }

    async def fill_all(self, world: World, names: Iterable[str]) -> None:
        configurations = {"product": await offer(world), "universal": await offer(world, **UNIVERSAL)}
        for name in names:
            scope, marketplaces = self.PLACES[name]
            await fill(world, configurations[scope], name=name, marketplaces=marketplaces)

    @pytest.mark.parametrize("first", range(4))
    async def test_the_best_of_those_that_are_there_is_meant(self, world: World, first: int) -> None:
        there = list(self.PLACES)[first:]
        await self.fill_all(world, reversed(there))
        assert await resolved(world, marketplace="de") == there[0]

    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            ({}, "product"),
            ({"marketplace": "fr"}, "product"),
            ({"marketplace": "at"}, "product and marketplace"),
            ({"product": "other"}, "universal"),
            ({"product": "other", "marketplace": "de"}, "universal and marketplace"),
            ({"product": "other", "marketplace": "at"}, "universal"),
        ],
        ids=[
            "no marketplace",
            "another marketplace",
            "one of two",
            "another product",
            "and marketplace",
            "and another",
        ],
    )
    async def test_what_does_not_fit_is_not_meant(self, world: World, wanted: dict[str, Any], expected: str) -> None:
        await self.fill_all(world, self.PLACES)
        assert await resolved(world, **wanted) == expected

    async def test_ids_of_products_and_marketplaces_match_exactly(self, world: World) -> None:
        await fill(world, await offer(world, products=["nw-mail", "nw-mail.eu"]), marketplaces=["de"])
        assert await resolved(world, product="nw-mail.eu", marketplace="de") == "northwind"
        others: list[dict[str, Any]] = [{"product": one} for one in ("NW-mail", "nw-mai", "nw-mail.e")]
        for wanted in (*others, {"marketplace": "DE"}):
            with pytest.raises(NotFound):
                await resolved(world, **{"marketplace": "de"} | wanted)

    @pytest.mark.parametrize("environment", ["production", "test", "preview"])
    async def test_an_environment_is_never_taken_for_another(self, world: World, environment: str) -> None:
        await fill(world, await offer(world), environment=environment)
        for other in ("production", "test", "preview"):
            if other == environment:
                assert await resolved(world, environment=other) == "northwind"
                continue
            with pytest.raises(NotFound):
                await resolved(world, environment=other)

    async def test_two_that_fit_equally_are_never_chosen_between(self, world: World) -> None:
        configuration, another = await offer(world), await offer(world)
        await fill(world, configuration, name="one")
        await fill(world, another, name="two")
        with pytest.raises(CredentialAmbiguous):
            await resolved(world)
        await fill(world, configuration, name="three", marketplaces=["de"])
        assert await resolved(world, marketplace="de") == "three"

    async def test_credentials_that_no_vendor_defined_are_never_meant(self, world: World) -> None:
        await world.create(environment="production")
        with pytest.raises(NotFound):
            await resolved(world)


@dataclass(frozen=True)
class Placed:
    """Where a credential of a property test is placed; `products` None stands for all."""

    products: frozenset[str] | None
    environment: str
    marketplaces: frozenset[str]
    suspended: bool
    access: str


FILLER = [{"type": "agent", "name": f"{number:04}" + "x" * 200} for number in range(20)]
"""Identities that are nobody, more of them than a row of the index holds."""
NOBODY, FOR_ALICE = FILLER[:1], [{"type": "human", "id": ALICE.identity.id}]
SHARED: dict[str, list[dict[str, str]] | None] = {
    "named": FOR_ALICE,
    "named at length": [*FILLER, *FOR_ALICE],
    "others named": NOBODY,
    "others named at length": FILLER,
    "nobody named": [],
    "consumed at length": FILLER,
}
"""Whom the policies of Bob's credentials name; all others say nothing."""
LOCKED = {
    "consumed": True,
    "consumed at length": True,
    "managed": True,
    "participated": False,
    "foreign": False,
}
"""Bob's lockers, and whether Alice reaches what is inside."""
ACCESS = tuple(dict.fromkeys(("own", "own in a locker", "left to the defaults", *SHARED, *LOCKED)))


def usable(access: str, *, by_default: bool) -> bool:
    """Evaluate whether Alice may see and lease it."""
    named = access.startswith("named") if access in SHARED else by_default
    return access.startswith("own") or named or LOCKED.get(access, False)


PRODUCTS, ENVIRONMENTS, MARKETPLACES = ("a", "b"), ("production", "test"), ("x", "y")
PLACED = st.builds(
    Placed,
    st.none() | st.sets(st.sampled_from(PRODUCTS), min_size=1).map(frozenset),
    st.sampled_from(ENVIRONMENTS),
    st.sets(st.sampled_from(MARKETPLACES)).map(frozenset),
    st.booleans(),
    st.sampled_from(ACCESS) | st.just("own"),
)


def expected(
    placed: list[Placed], product: str, environment: str, marketplace: str | None, *, by_default: bool
) -> int | str | None:
    """Evaluate the rules one by one: the number of what is meant, `ambiguous`, or None."""
    fitting = [
        number
        for number, one in enumerate(placed)
        if one.environment == environment
        and (one.products is None or product in one.products)
        and (not one.marketplaces or marketplace in one.marketplaces)
        and usable(one.access, by_default=by_default)
    ]
    pool = [number for number in fitting if not placed[number].suspended] or fitting
    if for_product := [number for number in pool if placed[number].products is not None]:
        pool = for_product
    if for_marketplace := [number for number in pool if placed[number].marketplaces]:
        pool = for_marketplace
    return None if not pool else pool[0] if len(pool) == 1 else "ambiguous"


async def make_lockers(world: World) -> None:
    """Bob's lockers, in which Alice is what their names say, and one of hers."""
    lockers, now = world.vault.lockers, world.clock()
    for name in LOCKED:
        await lockers.create(BOB, DefineLocker(name=name), None, now)
    await lockers.create(ALICE, DefineLocker(name="own in a locker"), None, now)
    for name in ("consumed", "consumed at length"):
        await lockers.add_consumers(BOB, name, ("user",), now)
    await lockers.set_member(BOB, "managed", ALICE.identity.id, (Permission.MANAGE,), now)
    await lockers.set_member(BOB, "participated", ALICE.identity.id, (Permission.PARTICIPATE,), now)


async def place(world: World, configuration: Configuration, name: str, one: Placed) -> None:
    """Make a credential, which Alice may use or not, as is said there."""
    owner = ALICE if one.access.startswith("own") else BOB
    about: dict[str, Any] = {"environment": one.environment, "marketplaces": sorted(one.marketplaces)}
    if one.access in SHARED:
        about["policy"] = {"allowedIdentities": SHARED[one.access]}
    await fill(world, configuration, owner, name=name, **about)
    if one.access in LOCKED or one.access == "own in a locker":
        await put_in(world, name, owner, locker=one.access)
    if one.suspended:
        await world.vault.credentials.suspend(owner, name, None, None, NOON)


async def meant(world: World, action: Action, wanted: Selector) -> int | str | None:
    """The number of what is meant, `ambiguous`, or None."""
    try:
        if action is Action.READ:
            return int((await world.vault.resolution.read(ALICE, wanted, NOON)).credential.name)
        credential_id = await world.vault.resolution.id_to_lease(ALICE, wanted, NOON)
        return int((await world.vault.credentials.read(ALICE, credential_id, NOON)).credential.name)
    except NotFound:
        return None
    except CredentialAmbiguous:
        return "ambiguous"


@settings(max_examples=40)
@given(
    placed=st.lists(PLACED, max_size=7),
    by_default=st.booleans(),
    few=st.sampled_from([0, 8]),
    warm=st.booleans(),
)
def test_any_placements_resolve_as_the_rules_say(placed: list[Placed], by_default: bool, few: int, warm: bool) -> None:
    async def check() -> None:
        world, by_scope = World(), dict[frozenset[str] | None, Configuration]()
        everyone = (IdentityPattern(type="human"),) if by_default else ()
        rules = ReplaceTenantRules(defaults=LeasePolicy(allowed_identities=everyone))
        await world.vault.tenants.replace(ADA, rules, None, NOON)
        await make_lockers(world)
        for number, one in enumerate(placed):
            if one.products not in by_scope:
                scope = UNIVERSAL if one.products is None else {"products": sorted(one.products)}
                by_scope[one.products] = await offer(world, **scope)
            await place(world, by_scope[one.products], f"{number}", one)
        if not warm:
            world.restart()
        for product in PRODUCTS:
            for environment in ENVIRONMENTS:
                for marketplace in (None, *MARKETPLACES):
                    wanted = Selector.model_validate(
                        {"product": product, "environment": environment, "marketplace": marketplace}
                    )
                    right = expected(placed, product, environment, marketplace, by_default=by_default)
                    assert await meant(world, Action.LEASE, wanted) == right
                    assert await meant(world, Action.READ, wanted) == right

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(resolution, "_FEW_LOCKERS", few)
        patched.setattr(resolution, "_READ_AT_ONCE", 2)
        asyncio.run(check())


@pytest.mark.parametrize("access", ACCESS)
@pytest.mark.parametrize("few", [0, 8], ids=["all lockers are read", "its locker is read"])
async def test_each_way_of_having_access_counts(
    world: World, monkeypatch: pytest.MonkeyPatch, access: str, few: int
) -> None:
    monkeypatch.setattr(resolution, "_FEW_LOCKERS", few)
    await make_lockers(world)
    await place(
        world, await offer(world), "0", Placed(frozenset({"nw-mail"}), "production", frozenset(), False, access)
    )
    world.restart()
    for action in (Action.LEASE, Action.READ):
        assert await meant(world, action, selecting()) == (0 if usable(access, by_default=False) else None)


def test_identities_at_length_are_more_than_a_row_of_the_index_holds() -> None:
    policy = LeasePolicy.model_validate({"allowedIdentities": FILLER})
    assert len(policy.model_dump_json(include={"allowed_identities"})) > MAX_POLICY


class TestWhoAsks:
    FOR_AGENTS = {"allowedIdentities": [{"type": "agent", "name": "deploy-*"}]}

    async def test_what_the_caller_may_not_see_is_not_there(self, world: World) -> None:
        await fill(world, await offer(world))
        for caller in (BOB, VIC, MALLORY):
            with pytest.raises(NotFound):
                await resolved(world, caller)

    async def test_an_invisible_one_makes_no_other_ambiguous_and_takes_no_precedence(self, world: World) -> None:
        configuration = await offer(world)
        await fill(world, configuration, MONA, name="hidden")
        await fill(world, configuration, MONA, name="hidden too", marketplaces=["de"])
        await fill(world, configuration, name="mine")
        assert await resolved(world, ALICE, marketplace="de") == "mine"

    async def test_to_lease_only_what_the_caller_may_lease_counts(self, world: World) -> None:
        configuration = await offer(world)
        mine = await fill(world, configuration, name="for agents", policy=self.FOR_AGENTS)
        await fill(world, configuration, name="for nobody else")
        assert await to_lease(world, DEPLOY_AGENT) == mine.id
        with pytest.raises(CredentialAmbiguous):
            await to_lease(world, ALICE)
        for caller in (CI_RUNNER, MONA):  # a manager sees both, and may lease neither
            with pytest.raises(NotFound):
                await to_lease(world, caller)
        with pytest.raises(CredentialAmbiguous):
            await resolved(world, MONA)

    async def test_a_lease_is_of_what_is_meant_and_under_its_own_policy(self, world: World) -> None:
        await fill(world, await offer(world), policy=self.FOR_AGENTS)
        granted = await world.lease(DEPLOY_AGENT, await to_lease(world, DEPLOY_AGENT))
        assert granted.lease.credential_name == "northwind"

    async def test_another_tenants_credentials_are_never_meant(self, world: World) -> None:
        configuration = await offer(world, audience="everyone")
        await fill(world, configuration, MALLORY)
        with pytest.raises(NotFound):
            await resolved(world)
        assert await resolved(world, MALLORY) == "northwind"

    async def test_a_selector_that_means_nothing_is_told_to_the_audit(self, world: World) -> None:
        with pytest.raises(NotFound):
            await resolved(world, BOB, marketplace="de")
        [event] = await world.audit()
        assert (event.event, event.identity.id, event.outcome.value) == ("access.denied", BOB.identity.id, "denied")
        about = {"product": "nw-mail", "environment": "production", "marketplace": "de"}
        assert event.details == {"action": "read"} | about


class TestWhomTheCallerTrusts:
    """Whoever fills in the same configuration and shares it makes others' selectors mean more than they did."""

    ANYONE = {"allowedIdentities": [{"type": "any"}]}

    async def two(self, world: World) -> tuple[Configuration, Configuration]:
        """Alice's credential, and one that fits better, which Bob made from another configuration for everyone."""
        configuration, another = await offer(world, **UNIVERSAL), await offer(world)
        await fill(world, configuration, name="official", policy=TestWhoAsks.FOR_AGENTS)
        await fill(world, another, BOB, name="bait", policy=self.ANYONE)
        return configuration, another

    async def test_what_another_user_shares_is_meant_when_it_fits_better(self, world: World) -> None:
        await self.two(world)
        assert await resolved(world, DEPLOY_AGENT) == "bait"

    @pytest.mark.parametrize("action", ["read", "lease"])
    async def test_only_what_is_of_the_owner_that_is_named_fits(self, world: World, action: str) -> None:
        await self.two(world)
        for owner, name in ((ALICE, "official"), (BOB, "bait")):
            wanted = {"owner": owner.identity.id}
            if action == "read":
                assert await resolved(world, DEPLOY_AGENT, **wanted) == name
            else:
                granted = await world.lease(DEPLOY_AGENT, await to_lease(world, DEPLOY_AGENT, **wanted))
                assert granted.lease.credential_name == name
        with pytest.raises(NotFound):
            await resolved(world, DEPLOY_AGENT, owner=MONA.identity.id)

    async def test_me_is_whoever_asks_by_any_of_its_ids(self, world: World) -> None:
        await self.two(world)
        assert await resolved(world, owner="me") == "official"
        renamed = replace(ALICE, identity=MONA.identity, aliases=frozenset({ALICE.identity.id}))
        assert await resolved(world, renamed, owner="me") == "official"
        with pytest.raises(NotFound):
            await resolved(world, DEPLOY_AGENT, owner="me")

    async def test_only_what_was_made_from_the_configuration_that_is_named_fits(self, world: World) -> None:
        configuration, another = await self.two(world)
        assert await resolved(world, DEPLOY_AGENT, configuration=configuration.id.upper()) == "official"
        assert await resolved(world, DEPLOY_AGENT, configuration=another.id) == "bait"
        with pytest.raises(NotFound):
            await resolved(world, DEPLOY_AGENT, configuration="0" * 36)

    async def test_an_owner_makes_one_of_two_that_fit_equally_the_one(self, world: World) -> None:
        configuration = await offer(world)
        await fill(world, configuration, name="official", policy=self.ANYONE)
        await fill(world, configuration, BOB, name="bait", policy=self.ANYONE)
        with pytest.raises(CredentialAmbiguous):
            await to_lease(world, DEPLOY_AGENT)
        assert await resolved(world, DEPLOY_AGENT, owner=ALICE.identity.id) == "official"

    def test_a_lease_asks_for_what_a_selector_does(self) -> None:
        wanted = {"marketplace": "de", "configuration": "0" * 36, "owner": "me"}
        assert leasing(**wanted).selector == selecting(**wanted)
        assert CreateLease(credential="northwind").selector is None

    @pytest.mark.parametrize(
        "narrowing", [{"owner": "me"}, {"configuration": "0" * 36}], ids=["owner", "configuration"]
    )
    def test_what_narrows_a_selector_neither_names_a_credential_nor_goes_with_a_name(
        self, narrowing: dict[str, str]
    ) -> None:
        for named in ({}, {"credential": "northwind"}):
            with pytest.raises(ValidationError):
                CreateLease.model_validate(named | narrowing)

    async def test_one_that_was_given_away_is_its_new_owners(self, world: World) -> None:
        await self.two(world)
        await world.vault.credentials.transfer(ALICE, "official", MONA.identity.id, NOON)
        assert await resolved(world, DEPLOY_AGENT, owner=MONA.identity.id) == "official"
        with pytest.raises(NotFound):
            await resolved(world, DEPLOY_AGENT, owner=ALICE.identity.id)


class TestWhatCannotBeUsedNow:
    async def suspend(self, world: World, name: str) -> None:
        await world.vault.credentials.suspend(ALICE, name, None, None, world.clock())

    async def two(self, world: World, **of_the_better: Any) -> None:
        """Two that fit, one of them better."""
        await fill(world, await offer(world), name="better", **of_the_better)
        await fill(world, await offer(world, **UNIVERSAL), name="other")

    async def test_a_suspended_one_stands_back_and_comes_back(self, world: World) -> None:
        await self.two(world)
        assert await resolved(world) == "better"
        await self.suspend(world, "better")
        assert await resolved(world) == "other"
        await world.vault.credentials.resume(ALICE, "better", None, None, world.clock())
        assert await resolved(world) == "better"

    async def test_one_that_is_not_valid_yet_or_no_longer_stands_back(self, world: World) -> None:
        await self.two(world, validFrom="2026-11-22T12:00:00Z", validUntil="2026-11-24T12:00:00Z")
        for days, meant in ((0, "other"), (1, "better"), (3, "other")):
            world.clock.now = NOON + timedelta(days=days)
            assert await resolved(world) == meant

    async def test_an_unusable_one_makes_no_other_ambiguous(self, world: World) -> None:
        configuration = await offer(world)
        await fill(world, configuration, name="one")
        await fill(world, configuration, name="two")
        await self.suspend(world, "one")
        assert await resolved(world) == "two"

    async def test_when_none_can_be_used_the_best_is_named_so_that_one_learns_why(self, world: World) -> None:
        await self.two(world)
        for name in ("better", "other"):
            await self.suspend(world, name)
        assert await resolved(world) == "better"

    async def test_an_invalid_verdict_does_not_move_a_credential(self, world: World) -> None:
        configuration = await publish(world)
        await fill(world, configuration, fields={"apiKey": "of no use any more"})
        await fill(world, await offer(world, **UNIVERSAL), name="other")
        world.clock.pass_by(minutes=5)
        await world.vault.check_credentials()
        assert await resolved(world) == "northwind"


class TestPlaces:
    async def one(self, world: World, **wanted: Any) -> Credential:
        return await fill(world, await offer(world, products=["nw-mail", "nw-drive"]), **wanted)

    async def test_a_change_moves_it_at_once(self, world: World) -> None:
        await self.one(world)
        assert await places(world) == ["production|nw-drive", "production|nw-mail"]
        await world.update(reference="northwind", environment="test", marketplaces=["de"])
        assert await places(world) == ["test|nw-drive", "test|nw-mail"]
        with pytest.raises(NotFound):
            await resolved(world)
        with pytest.raises(NotFound):
            await resolved(world, environment="test")
        assert await resolved(world, environment="test", marketplace="de") == "northwind"
        await world.update(reference="northwind", environment=None, marketplaces=None)
        assert await resolved(world) == "northwind"

    async def test_a_change_of_something_else_moves_nothing(self, world: World) -> None:
        await self.one(world)
        before = (await world.stores.vault.query(Keys("contoso", "place:", "place;"))).rows
        await world.update(reference="northwind", description="ours")
        await world.vault.credentials.suspend(ALICE, "northwind", None, None, NOON)
        assert (await world.stores.vault.query(Keys("contoso", "place:", "place;"))).rows == before

    async def test_a_change_of_rights_counts_at_once(self, world: World) -> None:
        """The index tells what rights depend on, and another worker reads nothing else of what it leaves out."""
        another = another_worker(world)

        async def sees_it(caller: Caller) -> bool:
            try:
                await another.resolution.read(caller, selecting(), NOON)
            except NotFound:
                return False
            return True

        await self.one(world)
        consumer = replace(CI_RUNNER, other_roles=frozenset({BOTS}))
        await world.vault.lockers.create(ALICE, DefineLocker(name="finance"), None, NOON)
        await world.vault.lockers.add_consumers(ALICE, "finance", (BOTS,), NOON)
        assert not await sees_it(consumer)
        await put_in(world, "northwind")
        assert await sees_it(consumer)
        await take_out(world, "northwind")
        assert not await sees_it(consumer)
        for allowed, seen in (([{"type": "agent"}], True), ([*FILLER, {"type": "agent"}], True), ([], False)):
            await world.update(reference="northwind", policy={"allowedIdentities": allowed})
            assert await sees_it(consumer) is seen
        await world.vault.credentials.transfer(ALICE, "northwind", BOB.identity.id, NOON)
        assert (await sees_it(ALICE), await sees_it(BOB)) == (False, True)

    async def test_what_is_revoked_or_deleted_leaves_no_place(self, world: World) -> None:
        await self.one(world)
        await self.one(world, name="another")
        await world.revoke(reference="northwind")
        await world.vault.credentials.delete(ALICE, "another", None, NOON)
        assert await places(world) == []
        with pytest.raises(NotFound):
            await resolved(world)

    async def test_another_version_of_its_configuration_moves_it_when_the_owner_says_so(self, world: World) -> None:
        configuration = await offer(world)
        await fill(world, configuration)
        await publish_anew(world, configuration, validation=None, products=["nw-drive"])
        assert await resolved(world) == "northwind"
        await upgrade(world)
        assert await places(world) == ["production|nw-drive"]
        assert await resolved(world, product="nw-drive") == "northwind"

    async def test_a_place_that_somebody_copied_opens_nothing(self, world: World) -> None:
        hidden = await self.one(world, environment="test")
        row = await world.stores.vault.read("contoso", f"place:test|nw-mail|{hidden.id}")
        await world.stores.vault.commit(Put(replace(row, key=row.key.replace("test", "production"))))
        with pytest.raises(SealBroken):
            await resolved(world)


class TestWhatAWorkerRemembers:
    """A lease verifies what is remembered, so what was remembered may only say yes, and only if nothing is in doubt."""

    async def two_and_another_worker(self, world: World) -> tuple[dict[str, str], Vault]:
        """Two credentials, one better than the other, which the world's own worker remembers."""
        universal = await offer(world, **UNIVERSAL)
        ids = {
            "better": (await fill(world, await offer(world), name="better")).id,
            "other": (await fill(world, universal, name="other")).id,
        }
        for name in ids:
            await world.lease(ALICE, name)
        return ids, another_worker(world)

    async def test_what_another_worker_resumed_is_meant_again(self, world: World) -> None:
        ids, another = await self.two_and_another_worker(world)
        await world.vault.credentials.suspend(ALICE, "better", None, None, NOON)
        assert await to_lease(world, ALICE) == ids["other"]
        await another.credentials.resume(ALICE, "better", None, None, NOON)
        assert await to_lease(world, ALICE) == ids["better"]

    async def test_what_another_worker_shared_is_found(self, world: World) -> None:
        ids, another = await self.two_and_another_worker(world)
        with pytest.raises(NotFound):
            await to_lease(world, DEPLOY_AGENT)
        patch = UpdateCredential.model_validate({"policy": TestWhoAsks.FOR_AGENTS})
        await another.credentials.update(ALICE, "better", patch, None, NOON)
        assert await to_lease(world, DEPLOY_AGENT) == ids["better"]

    async def test_what_another_worker_suspended_makes_nothing_ambiguous(self, world: World) -> None:
        configuration = await offer(world)
        ids = [(await fill(world, configuration, name=name)).id for name in ("one", "two")]
        another = another_worker(world)
        with pytest.raises(CredentialAmbiguous):
            await to_lease(world, ALICE)
        await another.credentials.suspend(ALICE, "one", None, None, NOON)
        assert await to_lease(world, ALICE) == ids[1]


async def test_however_many_fit_that_the_caller_may_not_use_its_own_is_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolution, "_PAGE", 3)
    configuration = await offer(world)
    for number in range(10):
        await fill(world, configuration, MONA, name=f"hidden-{number}")
        await fill(world, configuration, MONA, name=f"hidden-too-{number}")
    await fill(world, configuration, name="mine")
    assert await resolved(world) == "mine"
