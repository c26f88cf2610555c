"""Another data key: nothing is unreadable at any moment, to any worker; in the end the old key is gone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.acting import send
from tests.faults import Fault, Plan, watch
from tests.sweeping import contents_of, empty_world, faults_of
from tests.vaults import ADA, ALICE, DEPLOY_AGENT, MALLORY, NOON, Clock, World, key_ring, memory_stores, sealed_table
from tests.workers import another_worker
from vault_core import agenda, data_keys
from vault_core.agenda import Task
from vault_core.credential_requests import UpdateCredential
from vault_core.errors import SealBroken, Unavailable, ValueRefused
from vault_core.key_ring import KEYS_ROW, KeyRing
from vault_core.sealing import SealedTable
from vault_core.stores import Column, Delete, Insert, Keys, Put, Replace, Row, Stores
from vault_core.vault import Vault

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def world() -> World:
    """A tenant with a credential, a lease on it and some history."""
    world = empty_world()
    await world.create_for_agents()
    await world.lease()
    await world.rotate()
    return world


async def rotate_key(world: World, vault: Vault | None = None) -> int:
    return (await (vault or world.vault).data_keys.rotate(ADA, world.clock())).version


async def ring(stores: Stores, tenant: str = "contoso") -> Row:
    return await stores.vault.read(tenant, KEYS_ROW)


async def edit_ring(world: World, **changes: Any) -> None:
    """Edit the row of the keys, as someone who can write to the tables; None takes a field out."""
    row = await ring(world.stores)
    document = {name: value for name, value in {**row.document, **changes}.items() if value is not None}
    await world.stores.vault.commit(Put(row.with_document(document)))


async def sealed_under(stores: Stores, tenant: str = "contoso") -> set[object]:
    rows = (await stores.vault.query(Keys(tenant, "", "~"))).rows
    return {row.document.get("key") for row in rows if row.key != KEYS_ROW}


async def go_through(world: World, minutes: int = 45) -> None:
    """Let this time pass, with the reconciler at its hours."""
    for _ in range(minutes // 15):
        world.clock.pass_by(minutes=15)
        await world.vault.expire_leases()
        assert (await world.vault.reconcile()).failed == 0


async def describe(vault: Vault, clock: Clock, text: str) -> None:
    patch = UpdateCredential.model_validate({"description": text})
    await vault.credentials.update(ALICE, "db-password", patch, None, clock())


class TestARotation:
    async def test_seals_with_the_new_key_from_then_on_and_in_the_end_with_it_alone(self, world: World) -> None:
        before = await ring(world.stores)
        old = before.document["keys"]["1"]
        assert await rotate_key(world) == 2
        await world.update(description="under the new key")
        assert await sealed_under(world.stores) == {1, 2}
        await go_through(world)
        after = (await ring(world.stores)).document
        assert (after["current"], list(after["keys"]), after["candidates"]) == (2, ["2"], [])
        assert await sealed_under(world.stores) == {2}
        names = world.stores.secrets.names  # type: ignore[attr-defined]
        assert old not in names
        assert after["keys"]["2"] in names
        assert await faults_of(world, settled=True) == []

    async def test_tells_how_it_stands(self, world: World) -> None:
        path = "/tenant/data-key"
        state = (await send(world, ADA, "GET", path)).body
        assert state == {"version": 1, "since": "2026-11-21T12:00:00.000Z", "resealing": False}
        world.clock.pass_by(hours=1)
        answer = await send(world, ADA, "POST", "/tenant/rotate-data-key")
        assert answer.body == {"version": 2, "since": "2026-11-21T13:00:00.000Z", "resealing": True}
        assert (await send(world, ADA, "GET", path)).body == answer.body
        await go_through(world)
        assert (await send(world, ADA, "GET", path)).body == answer.body | {"resealing": False}

    async def test_is_told_to_the_audit(self, world: World) -> None:
        await rotate_key(world)
        [event] = [one for one in await world.audit() if one.event == "tenant.data_key_rotated"]
        assert (event.identity, event.details) == (ADA.identity, {"version": 2})

    async def test_leaves_equal_values_recognisable(self, world: World) -> None:
        before = (await key_ring(world.stores).of("contoso")).fingerprint(SecretStr("same"))
        await rotate_key(world)
        await go_through(world)
        assert (await key_ring(world.stores).of("contoso")).fingerprint(SecretStr("same")) == before
        with pytest.raises(ValueRefused, match="different value"):
            await world.rotate(value="new value")

    async def test_concerns_no_other_tenant(self, world: World) -> None:
        await world.create(MALLORY)
        before = await ring(world.stores, "fabrikam")
        await rotate_key(world)
        await go_through(world)
        assert await ring(world.stores, "fabrikam") == before
        assert await sealed_under(world.stores, "fabrikam") == {1}

    async def test_can_follow_another(self, world: World) -> None:
        for version in range(2, 13):
            assert await rotate_key(world) == version
            await go_through(world)
        assert list((await ring(world.stores)).document["keys"]) == ["12"]
        assert (await world.lease()).value.get_secret_value() == "new value"

    async def test_begins_nothing_while_another_is_under_way(self, world: World) -> None:
        await rotate_key(world)
        world.clock.pass_by(minutes=5)
        assert await rotate_key(world) == 2
        assert [one.event for one in await world.audit()].count("tenant.data_key_rotated") == 1
        await go_through(world)
        assert await rotate_key(world) == 3

    async def test_is_one_though_many_ask_at_once(self, world: World) -> None:
        versions = await asyncio.gather(*(rotate_key(world, another_worker(world)) for _ in range(5)))
        assert set(versions) <= {1, 2}
        assert (await ring(world.stores)).document["current"] == 2
        await go_through(world)
        assert await faults_of(world, settled=True) == []

    async def test_of_a_tenant_that_is_new(self) -> None:
        world = empty_world()
        assert await rotate_key(world) == 2
        await go_through(world)
        assert list((await ring(world.stores)).document["keys"]) == ["2"]

    async def test_that_was_never_begun_in_earnest_is_dropped(self, world: World) -> None:
        rows = sealed_table(world.stores)
        await rows.commit(Insert(agenda.intent("contoso", Task.RESEAL, NOON, "2")))
        await go_through(world, 15)
        assert (await contents_of(world)).intents(Task.RESEAL) == []
        assert (await ring(world.stores)).document["current"] == 1

    async def test_whose_key_came_after_its_intent_was_dropped_is_finished_when_it_is_repeated(
        self, world: World
    ) -> None:
        await key_ring(world.stores).add("contoso", 2, NOON)
        await go_through(world)
        assert len((await ring(world.stores)).document["keys"]) == 2
        assert await rotate_key(world) == 2
        await go_through(world)
        assert list((await ring(world.stores)).document["keys"]) == ["2"]


class TestStaleWorkers:
    """Whoever knew the old key may seal with it for ten minutes more."""

    async def test_what_one_seals_at_the_last_moment_is_sealed_anew(self, world: World) -> None:
        stale = another_worker(world)
        await describe(stale, world.clock, "known")
        await rotate_key(world)
        world.clock.pass_by(minutes=10)
        await describe(stale, world.clock, "at the last moment")
        row = (await world.stores.vault.query(Keys("contoso", "credential:", "credential;"))).rows[0]
        assert row.document["key"] == 1
        await go_through(world)
        for vault in (stale, world.vault, another_worker(world)):
            shown = await vault.credentials.read(ALICE, "db-password", world.clock())
            assert shown.credential.description == "at the last moment"

    async def test_one_seals_with_the_new_key_after_ten_minutes(self, world: World) -> None:
        stale = another_worker(world)
        await describe(stale, world.clock, "known")
        await rotate_key(world)
        world.clock.pass_by(minutes=10, seconds=1)
        await describe(stale, world.clock, "later")
        row = (await world.stores.vault.query(Keys("contoso", "credential:", "credential;"))).rows[0]
        assert row.document["key"] == 2

    async def test_one_reads_at_once_what_another_sealed_with_the_new_key(self, world: World) -> None:
        stale = another_worker(world)
        await describe(stale, world.clock, "known")
        await rotate_key(world)
        await describe(world.vault, world.clock, "new")
        assert (await stale.credentials.read(ALICE, "db-password", world.clock())).credential.description == "new"
        assert (await stale.grants.grant(DEPLOY_AGENT, "db-password", None, None, world.clock())).value

    async def test_the_old_key_is_not_destroyed_before_all_must_know(self, world: World) -> None:
        await rotate_key(world)
        for _ in range(10):
            world.clock.pass_by(minutes=1)
            await world.vault.reconcile()
            assert list((await ring(world.stores)).document["keys"]) == ["1", "2"]
            assert 1 in await sealed_under(world.stores)

    async def test_nor_because_an_earlier_try_that_made_no_key_was_long_ago(self, world: World) -> None:
        await sealed_table(world.stores).commit(Insert(agenda.intent("contoso", Task.RESEAL, NOON, "2")))
        world.clock.pass_by(minutes=5)
        stale = another_worker(world)
        await describe(stale, world.clock, "known")
        await rotate_key(world)
        for _ in range(9):
            world.clock.pass_by(minutes=1)
            await world.vault.reconcile()
        await World.create(_through(world, stale), name="made-with-the-old-key")
        await go_through(world)
        assert await another_worker(world).credentials.read(ALICE, "made-with-the-old-key", world.clock())

    async def test_many_that_find_their_keys_too_old_read_them_once(self, world: World) -> None:
        world.clock.pass_by(minutes=11)
        world.ledger.calls.clear()
        reads = (world.vault.credentials.read(ALICE, "db-password", world.clock()) for _ in range(20))
        await asyncio.gather(*reads)
        assert sum(call.subject == f"contoso {KEYS_ROW}" for call in world.ledger.calls) == 1

    async def test_what_one_finds_out_in_vain_the_next_tries_again(self, world: World) -> None:
        world.clock.pass_by(minutes=11)
        table = watch(world.stores, Plan(faults={1: Fault()}))[0].vault
        ring_of_one = KeyRing(table, world.stores.secrets, world.clock)
        with pytest.raises(Unavailable):
            await ring_of_one.of("contoso")
        assert (await ring_of_one.of("contoso")).current == 1

    @given(
        steps=st.lists(
            st.tuples(
                st.integers(0, 2),
                st.sampled_from(["read", "write", "write", "create", "rotate the key", "reconcile"]),
                st.integers(0, 700),
            ),
            max_size=40,
        )
    )
    @settings(max_examples=60, deadline=None)
    async def test_nothing_is_ever_unreadable_whatever_each_knows(self, steps: list[tuple[int, str, int]]) -> None:
        fleet = Fleet()
        await fleet.world.create_for_agents()
        for number, (worker, step, seconds) in enumerate(steps):
            fleet.world.clock.pass_by(seconds=seconds)
            await fleet.act(worker, step, number)
            await fleet.look()
        await go_through(fleet.world, 60)
        await fleet.look()
        assert await faults_of(fleet.world, settled=True) == []


@dataclass
class Fleet:
    """Three workers, each with what it remembers, and the names and descriptions that they wrote."""

    world: World = field(default_factory=empty_world)
    workers: list[Vault] = field(init=False)
    written: dict[str, str] = field(default_factory=lambda: {"db-password": ""})

    def __post_init__(self) -> None:
        self.workers = [another_worker(self.world) for _ in range(3)]

    async def act(self, worker: int, step: str, number: int) -> None:
        vault, clock = self.workers[worker], self.world.clock
        match step:
            case "read":
                await vault.credentials.read(ALICE, "db-password", clock())
            case "write":
                self.written["db-password"] = f"step {number}"
                await describe(vault, clock, f"step {number}")
            case "create":
                self.written[f"credential-{number}"] = ""
                await World.create(_through(self.world, vault), name=f"credential-{number}")
            case "rotate the key":
                await rotate_key(self.world, vault)
            case "reconcile":
                assert (await vault.reconcile()).failed == 0

    async def look(self) -> None:
        """Let a worker that has just started open everything, and see that it is as it was written."""
        contents = await contents_of(self.world)
        assert {one.name: one.description for one in contents.live} == self.written


def _through(world: World, vault: Vault) -> World:
    """The world as another worker serves it."""
    twin = World(stores=world.stores, clock=world.clock, outbound=world.outbound)
    twin.vault = vault
    return twin


async def rows_under_the_old_key(number: int, size: int = 10) -> tuple[Stores, Clock]:
    """Stores of a tenant with so many rows of this size, whose key has just been replaced."""
    stores, clock = memory_stores(), Clock()
    table = SealedTable(stores.vault, "vault", KeyRing(stores.vault, stores.secrets, clock))
    for start in range(0, number, 50):
        rows = [Row("contoso", f"row:{one:05}", {"text": "x" * size, "number": one}) for one in range(start, number)]
        for row in rows[:50]:
            await table.commit(Insert(row))
    await KeyRing(stores.vault, stores.secrets, clock).add("contoso", 2, clock())
    return stores, clock


async def reseal_all(stores: Stores, table: SealedTable | None = None) -> int:
    """Seal everything anew; return in how many steps."""
    table = table or sealed_table(stores)
    after: str | None = ""
    steps = 0
    while after is not None:
        after, steps = await table.reseal("contoso", after), steps + 1
    return steps


class TestSealingAnew:
    async def test_of_hundreds_of_rows_goes_step_by_step(self) -> None:
        stores, _ = await rows_under_the_old_key(450)
        watched, ledger = watch(stores)
        assert await reseal_all(stores, sealed_table(watched)) == 3
        assert await sealed_under(stores) == {2}
        assert ledger.count("vault", "commit") == 5
        rows = (await sealed_table(stores).query(Keys("contoso", "row:", "row;"))).rows
        assert [row.document["number"] for row in rows] == list(range(450))

    @pytest.mark.parametrize("size", [300_000, 369_000])
    async def test_of_large_rows_keeps_to_what_a_transaction_takes(self, size: int) -> None:
        stores, _ = await rows_under_the_old_key(25, size)
        await reseal_all(stores)  # stores refuse what is too much for Azure Tables
        assert await sealed_under(stores) == {2}

    async def test_keeps_the_columns(self) -> None:
        stores, _ = await rows_under_the_old_key(1)
        table = sealed_table(stores)
        row = await stores.vault.read("contoso", "row:00000")
        columns: dict[str, Column] = {"owner": "id-alice", "shared": True, "number": 7, "at": NOON}
        await stores.vault.commit(Put(Row(row.partition, row.key, row.document, columns)))
        await reseal_all(stores)
        kept = await table.read("contoso", "row:00000")
        assert (kept.columns, kept.document["number"]) == (columns, 0)

    @pytest.mark.parametrize("how", ["replaced", "removed"])
    async def test_leaves_rows_that_change_meanwhile_to_who_changes_them(self, how: str) -> None:
        stores, _ = await rows_under_the_old_key(120)
        others = sealed_table(stores)

        async def change() -> None:
            for number in (3, 50, 99, 110):
                row = await others.read("contoso", f"row:{number:05}")
                changed = Replace(row.with_document({"number": -number}))
                await others.commit(changed if how == "replaced" else Delete(row))

        watched, _ = watch(stores, Plan(meanwhile={3: change}))
        await reseal_all(stores, sealed_table(watched))
        assert await sealed_under(stores) == {2}
        rows = (await sealed_table(stores).query(Keys("contoso", "row:", "row;"))).rows
        assert len(rows) == (120 if how == "replaced" else 116)
        assert sum(row.document["number"] < 0 for row in rows) == (4 if how == "replaced" else 0)

    @pytest.mark.parametrize(
        "edit", [{"sealed": "bm90aGluZw=="}, {"sealed": 7}, {"sealed": None}], ids=["other text", "number", "nothing"]
    )
    async def test_goes_on_behind_a_row_that_does_not_open(
        self, world: World, edit: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        row = (await world.stores.vault.query(Keys("contoso", "name:", "name;"))).rows[0]
        table = sealed_table(world.stores)
        await table.commit(Insert(Row("contoso", "aaa", {"text": "broken"})))
        broken = await world.stores.vault.read("contoso", "aaa")
        await world.stores.vault.commit(Put(broken.with_document({**broken.document, **edit})))
        await rotate_key(world)
        await go_through(world)
        assert list((await ring(world.stores)).document["keys"]) == ["2"]
        assert "event=reseal tenant=contoso error=SealBroken" in caplog.text
        assert await table.read("contoso", row.key)
        assert (await world.stores.vault.read("contoso", "aaa")).document["key"] == 1

    async def test_goes_on_in_the_next_run_where_it_was(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(data_keys, "_STEPS", 1)
        for start in range(3):
            rows = [Row("contoso", f"row:{start}{number:03}", {"number": number}) for number in range(150)]
            for row in rows:
                await sealed_table(world.stores).commit(Insert(row))
        await rotate_key(world)
        left = []
        for _ in range(8):
            world.clock.pass_by(minutes=15)
            await world.vault.expire_leases()
            assert (await world.vault.reconcile()).failed == 0
            rows_left = (await world.stores.vault.query(Keys("contoso", "", "~"))).rows
            left.append(sum(row.document.get("key") == 1 for row in rows_left))
        assert left[0] > left[1] > left[2] == 0
        assert list((await ring(world.stores)).document["keys"]) == ["2"]
        assert await faults_of(world, settled=True) == []


class TestAnEditedRing:
    """Who can write to the tables can edit the row of the keys: nothing is sealed under an older key then."""

    @pytest.fixture
    async def rotated(self, world: World) -> World:
        """A tenant with two keys, of which the second is current."""
        await rotate_key(world)
        return world

    async def assert_refused(self, world: World) -> None:
        world.restart()
        with pytest.raises(SealBroken):
            await world.vault.credentials.read(ALICE, "db-password", world.clock())
        with pytest.raises(SealBroken):
            await world.create(name="another")
        with pytest.raises(SealBroken):
            await rotate_key(world)

    async def test_the_older_key_made_current(self, rotated: World) -> None:
        await edit_ring(rotated, current=1)
        await self.assert_refused(rotated)

    @pytest.mark.parametrize(
        "edit",
        [
            {"current": "2"},
            {"current": True},
            {"current": 3},
            {"current": -1},
            {"keys": {}},
            {"keys": None},
            {"keys": []},
            {"keys": {"x": "name"}},
            {"keys": {"2": None}},
            {"since": "soon"},
            {"since": "2026-11-21T12:00:00"},
            {"since": 7},
        ],
        ids=str,
    )
    async def test_nonsense(self, rotated: World, edit: dict[str, Any]) -> None:
        row = await ring(rotated.stores)
        document = {**row.document, **edit}
        await rotated.stores.vault.commit(Put(row.with_document(document)))
        await self.assert_refused(rotated)

    @pytest.mark.parametrize("edit", [{"current": 0}, {"current": None}, {"current": None, "keys": None}], ids=str)
    async def test_as_if_there_had_never_been_a_key(self, rotated: World, edit: dict[str, Any]) -> None:
        await edit_ring(rotated, **edit)
        before = await ring(rotated.stores)
        await self.assert_refused(rotated)
        assert await ring(rotated.stores) == before

    async def test_the_newest_key_forgotten_by_all_but_who_knows_it(self, rotated: World) -> None:
        row = await ring(rotated.stores)
        await edit_ring(rotated, current=1, keys={"1": row.document["keys"]["1"]})
        rotated.clock.pass_by(minutes=11)
        with pytest.raises(SealBroken):  # this worker knows the second
            await rotated.create(name="another")

    async def test_an_older_key_named_again(self, world: World) -> None:
        old = (await ring(world.stores)).document["keys"]["1"]
        await rotate_key(world)
        await go_through(world)
        keys = (await ring(world.stores)).document["keys"]
        await edit_ring(world, keys={"1": old, **keys})
        await self.assert_refused(world)

    @pytest.mark.parametrize("of", ["a credential", "another tenant", "the other version"])
    async def test_a_foreign_secret_named_as_a_key_is_not_deleted(self, rotated: World, of: str) -> None:
        credential = await rotated.create(name="another")
        await rotated.create(MALLORY)
        keys = (await ring(rotated.stores)).document["keys"]
        foreign = {
            "a credential": str(credential.newest.secret),
            "another tenant": (await ring(rotated.stores, "fabrikam")).document["keys"]["1"],
            "the other version": keys["2"],
        }[of]
        await edit_ring(rotated, keys={**keys, "1": foreign})
        rotated.restart()
        for _ in range(4):
            rotated.clock.pass_by(minutes=15)
            assert (await rotated.vault.reconcile()).failed > 0
        assert await rotated.stores.secrets.read(foreign)
        assert await rotated.stores.secrets.read(keys["1"])
        await self.assert_refused(rotated)
        await edit_ring(rotated, keys=keys)
        rotated.restart()
        assert await rotated.vault.credentials.read(ALICE, "another", rotated.clock())

    async def test_a_foreign_secret_named_among_the_candidates_is_not_deleted(self, rotated: World) -> None:
        credential = await rotated.create(name="another")
        await edit_ring(rotated, candidates=[str(credential.newest.secret)])
        await go_through(rotated)
        assert (await rotated.lease(ALICE, "another")).value

    async def test_another_secret_named_after_the_old_key_was_to_go(self, rotated: World) -> None:
        """What is deleted is what was the key when it was last used, not what the row names by then."""
        credential = await rotated.create(name="another")
        rotated.clock.pass_by(minutes=15)
        await rotated.vault.reconcile()
        keys = (await ring(rotated.stores)).document["keys"]
        await edit_ring(rotated, keys={**keys, "1": str(credential.newest.secret)})
        rotated.restart()
        rotated.clock.pass_by(minutes=15)
        assert (await rotated.vault.reconcile()).failed > 0
        assert await rotated.stores.secrets.read(str(credential.newest.secret))

    async def test_the_current_key_cannot_be_dropped(self, rotated: World) -> None:
        with pytest.raises(SealBroken):
            await key_ring(rotated.stores).drop("contoso", 2)

    async def test_a_row_that_names_a_key_in_a_strange_way_does_not_open(self, rotated: World) -> None:
        [row] = (await rotated.stores.vault.query(Keys("contoso", "credential:", "credential;"))).rows
        for strange in ([2], {"2": 2}, "2", 1.5, None):
            await rotated.stores.vault.commit(Put(row.with_document({**row.document, "key": strange})))
            with pytest.raises(SealBroken):
                await rotated.vault.credentials.read(ALICE, "db-password", rotated.clock())


async def test_a_secret_of_a_key_that_is_gone_is_a_broken_seal(world: World) -> None:
    await world.stores.secrets.delete((await ring(world.stores)).document["keys"]["1"])
    world.restart()
    with pytest.raises(SealBroken):
        await world.vault.credentials.read(ALICE, "db-password", NOON)


async def test_a_rotation_costs_what_it_must(world: World) -> None:
    world.restart()
    await world.vault.data_keys.read("contoso")
    world.ledger.calls.clear()
    await rotate_key(world)
    assert world.ledger.count("secrets", "write") == 1
    assert world.ledger.total <= 13, str(world.ledger)
