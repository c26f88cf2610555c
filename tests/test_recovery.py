"""After tables were brought back: timers only tell what they would do, and destroy no value that somebody holds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import timedelta

import pytest

from tests.acting import ONE, SECOND, Operation, Reply, called, create, half, request, send
from tests.attribute_operations import FULL, LEASED, PIN, give
from tests.contents import ListedSecrets, all_of
from tests.faults import Crash, Plan, watch
from tests.operations import REQUESTS, TIMERS
from tests.recording import recording
from tests.subscription_operations import ROTATE_SECRET as ROTATE_SUBSCRIPTION
from tests.subscription_operations import subscribe
from tests.sweeping import empty_world, faults_of, observe, settle, ways_of, world_before
from tests.vaults import ADA, ALICE, DEPLOY_AGENT, MALLORY, MONA, NOON, TENANTS, World, sealed_table
from tests.vendor_operations import DEFINE, DRAFTED, ROTATE_SECRET
from vault_core import agenda
from vault_core.agenda import Task
from vault_core.api.routes import ROUTES
from vault_core.errors import CredentialExpired, LeaseEnded
from vault_core.lease import LeaseState
from vault_core.settings import Settings, SettingsInvalid
from vault_core.stores import Insert, Keys, Partitions, Put, Row, Stores
from vault_core.telemetry import TIMER_BACKLOG
from vault_core.tenants import SUBSCRIPTIONS_ROW
from vault_core.upkeep import outlook
from vault_core.upkeep.outlook import TIMERS as NAMES
from vault_core.upkeep.outlook import UNREADABLE, Waiting
from vault_core.vault import Vault

HOUR = timedelta(hours=1)
WRITING = [one for one in REQUESTS if not one.by_steps]


@pytest.fixture
def world() -> World:
    return empty_world()


def recover(world: World) -> None:
    """Start the vault anew in recovery mode."""
    stores, world.ledger = watch(world.stores)
    world.vault = Vault(stores, TENANTS, world.clock, world.outbound, recovering=True)


async def run_all(world: World) -> None:
    for name in NAMES:
        assert await getattr(world.vault, name)()


async def waiting_in(world: World) -> list[Waiting]:
    return [one for name in NAMES for one in await world.vault.outlook.of_timer(name, world.clock())]


async def told_of(world: World, timer: str) -> dict[str, tuple[int, tuple[str, ...]]]:
    """What is told of the timer in Contoso, by task: how many things, and what about."""
    waiting = await world.vault.outlook.of_timer(timer, world.clock())
    return {one.task: (one.due, one.subjects) for one in waiting if one.tenant == "contoso"}


async def everything(world: World) -> tuple[dict[str, list[Row]], set[str], tuple[int, ...], int]:
    """Every row but the heartbeats, every value, and how many calls went out."""
    assert isinstance(world.stores.secrets, ListedSecrets)
    tables = {one.name: getattr(world.stores, one.name) for one in fields(Stores) if one.name != "secrets"}
    rows = {
        name: [row async for row in all_of(table, Partitions("!", "~")) if row.partition != "timer"]
        for name, table in tables.items()
    }
    outbound = world.outbound
    return rows, set(world.stores.secrets.names), world.stores.secrets.writes, len(outbound.received)


@pytest.mark.slow
@pytest.mark.parametrize("operation", TIMERS, ids=str)
async def test_no_timer_does_anything_and_later_it_is_as_if_nothing_was(
    operation: Operation, caplog: pytest.LogCaptureFixture
) -> None:
    ways, world = await ways_of(operation), await world_before(operation)
    before = await everything(world)
    recover(world)
    with caplog.at_level(logging.INFO):
        await run_all(world)
        await run_all(world)
    assert await everything(world) == before
    commits = {call.subject for call in world.ledger.calls if call.method not in ("read", "query")}
    assert commits == {f"Put timer {name}" for name in NAMES}
    waiting = await waiting_in(world)
    assert all(one.oldest_at <= world.clock() for one in waiting)
    assert not [name for name in before[1] if name in f"{waiting} {caplog.text}"]
    assert caplog.text.count("recovery=would-do") == 2 * len(waiting)
    world.restart()
    await operation.act(world)
    if not operation.by_steps:
        assert await observe(world) == ways.through
    await settle(world)
    assert await observe(world) == ways.through_settled
    assert await faults_of(world, settled=True) == []


@pytest.mark.slow
@pytest.mark.parametrize("operation", TIMERS, ids=str)
async def test_whatever_a_timer_does_was_told_before(operation: Operation) -> None:
    world = await world_before(operation)
    world.clock.pass_by(seconds=1)
    for name in NAMES:
        waiting = await world.vault.outlook.of_timer(name, world.clock())
        report = await getattr(world.vault, name)()
        assert waiting or not report.done


@pytest.mark.slow
@pytest.mark.parametrize("operation", WRITING, ids=str)
async def test_requests_still_work(operation: Operation) -> None:
    ways, world = await ways_of(operation), await world_before(operation)
    recover(world)
    answer = await operation.act(world)
    assert isinstance(answer, Reply)
    assert answer.status < 400
    assert await observe(world) == ways.through


REQUIRED = {
    "VAULT_TABLES_URL": "https://tables.example",
    "VAULT_KEY_VAULT_URLS": "https://one.vault.azure.net",
    "VAULT_ISSUER": "https://issuer.example/{tenant}",
    "VAULT_AUDIENCE": "api://vault",
    "VAULT_TENANTS": "contoso",
}


@pytest.mark.parametrize(
    ("setting", "recovering"),
    [({}, False), ({"VAULT_RECOVERY_MODE": "true"}, True), ({"VAULT_RECOVERY_MODE": "false"}, False)],
    ids=str,
)
def test_an_operator_decides_on_it(setting: dict[str, str], recovering: bool) -> None:
    assert Settings.read(REQUIRED | setting).recovery_mode is recovering


def test_an_operator_who_decides_unclearly_is_told_how_to() -> None:
    with pytest.raises(SettingsInvalid, match="VAULT_RECOVERY_MODE: must be true or false"):
        Settings.read(REQUIRED | {"VAULT_RECOVERY_MODE": "perhaps"})


class TestWhatIsTold:
    async def test_how_many_things_since_when_and_what_about(self, world: World) -> None:
        first = await world.create_for_agents()
        await world.create_for_agents(name="other", validUntil="2026-11-21T15:00:00Z")
        for _ in range(3):
            await world.lease(ttl=HOUR)
        await world.rotate()
        world.clock.pass_by(days=3)
        recover(world)
        [leases] = await world.vault.outlook.of_timer("expire_leases", world.clock())
        assert (leases.tenant, leases.task, leases.due, leases.subjects) == ("contoso", "lease", 3, (first.id,))
        assert leases.oldest_at == NOON + HOUR + timedelta(minutes=1)
        assert (await told_of(world, "check_rotations"))["rotation"][0] == 1
        assert (await told_of(world, "reconcile"))["retire"] == (1, (f"{first.id}|1",))

    async def test_no_name_of_a_value(self, world: World) -> None:
        await half(Operation("create", (create("other"),), create()), "secrets.write")(world)
        world.clock.pass_by(hours=1)
        recover(world)
        assert await told_of(world, "reconcile") == {"discard-value": (1, ())}

    async def test_a_few_of_many(self, world: World) -> None:
        for number in range(25):
            await world.create(name=f"credential-{number}", policy={"rotateEvery": "1d"})
        world.clock.pass_by(days=2)
        due, subjects = (await told_of(world, "check_rotations"))["rotation"]
        assert (due, len(subjects)) == (25, 20)

    async def test_no_more_than_are_counted_of_a_tenant_and_yet_something_of_the_others(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(outlook, "COUNTED", 3)
        await world.create_for_agents()
        for _ in range(7):
            await world.lease(ttl=HOUR)
        world.clock.pass_by(minutes=1)
        await world.create(MALLORY)
        await world.lease(MALLORY, ttl=HOUR)
        world.clock.pass_by(days=1)
        waiting = await world.vault.outlook.of_timer("expire_leases", world.clock())
        assert {one.tenant: one.due for one in waiting} == {"contoso": 3, "fabrikam": 1}

    async def test_thousands_of_one_tenant_hide_nothing_of_another(self, world: World) -> None:
        rows = [
            Row("lease|202611211300|0", f"row-{number:05}", {"tenant": "contoso", "credential": "none", "lease": "x"})
            for number in range(2500)
        ]
        for row in rows:
            await world.stores.due.commit(Insert(row))
        theirs = Row("lease|202611211301|0", "row", {"tenant": "fabrikam", "credential": "none", "lease": "x"})
        await world.stores.due.commit(Insert(theirs))
        world.clock.pass_by(days=1)
        [told] = await world.vault.outlook.of_tenant("fabrikam", world.clock())
        assert told.due == 1
        [ours] = await world.vault.outlook.of_tenant("contoso", world.clock())
        assert ours.due == 1000

    async def test_it_is_asked_over_http_for_ones_own_tenant(self, world: World) -> None:
        await world.create_for_agents()
        await world.create(MALLORY)
        await world.lease(ttl=HOUR)
        await world.lease(MALLORY, ttl=HOUR)
        world.clock.pass_by(hours=2)
        route = next(one for one in ROUTES if one.path == "/api/v1/upkeep")
        assert (await send(world, ADA, "GET", "/upkeep")).body["recoveryMode"] is False
        recover(world)
        answer = await send(world, ADA, "GET", "/upkeep")
        assert (route.method, answer.body["recoveryMode"]) == ("GET", True)
        [item] = answer.body["items"]
        assert (item["timer"], item["task"], item["due"]) == ("expire_leases", "lease", 1)
        assert item["oldestAt"] == "2026-11-21T13:01:00.000Z"

    async def test_the_health_tells_that_timers_are_paused_and_with_how_much(self, world: World) -> None:
        await world.create_for_agents()
        await world.lease(ttl=HOUR)
        world.clock.pass_by(hours=2)
        recover(world)
        await run_all(world)
        health = (await send(world, ADA, "GET", "/health")).body
        assert health["recoveryMode"] is True
        assert {one["name"]: one["pausedWith"] for one in health["timers"]} == dict.fromkeys(NAMES, 0) | {
            "expire_leases": 1
        }
        world.restart()
        await world.vault.expire_leases()
        world.clock.pass_by(seconds=6)
        [lately] = [one for one in (await world.vault.health.read()).beats if one.timer == "expire_leases"]
        assert (lately.paused_with, lately.report.done) == (None, 1)


async def test_what_is_over_is_over_when_it_is_read(world: World) -> None:
    await world.create_for_agents(validUntil="2026-11-21T15:00:00Z")
    held = (await world.lease(ttl=HOUR)).lease
    world.clock.pass_by(hours=2)
    recover(world)
    await run_all(world)
    assert (await world.vault.leases.read(MONA, held.id, world.clock())).state is LeaseState.EXPIRED
    with pytest.raises(LeaseEnded):
        await world.vault.leases.renew(DEPLOY_AGENT, held.id, None, None, world.clock())
    world.clock.pass_by(hours=2)
    with pytest.raises(CredentialExpired):
        await world.lease()


class TestEditedRows:
    """Who can write to the tables can break rows: of what is left it is still told, and timers go on."""

    BROKEN = (
        Row("lease|garbage|0", "one", {"tenant": "contoso", "credential": "x", "lease": "y"}),
        Row("lease|2026|0|1", "two", {"tenant": "contoso", "credential": "x", "lease": "y"}),
        Row("lease|202611210000|0", "three", {"tenant": ["contoso"], "credential": "x", "lease": "y"}),
        Row("lease|202611210000|0", "four", {"tenant": {}, "credential": {}, "lease": 1}),
        Row("lease|202611210000|0", "five", {}),
        Row("forget|0", "six", {"tenant": "contoso", "credential": "x"}),
        Row("forget|x|0", "seven", {"tenant": "contoso", "credential": 7}),
    )

    @pytest.fixture
    async def broken(self, world: World) -> World:
        """A lease of each of two tenants is due, an entry of one tenant does not open, and `due` holds nonsense."""
        await world.create_for_agents(policy={"rotateEvery": "1d"})
        await world.create(MALLORY, policy={"rotateEvery": "1d"})
        await world.lease(ttl=HOUR)
        await world.lease(MALLORY, ttl=HOUR)
        for row in self.BROKEN:
            await world.stores.due.commit(Insert(row))
        [entry] = (await world.stores.vault.query(Keys("contoso", "rotation:", "rotation;"))).rows
        await world.stores.vault.commit(Put(entry.with_document({"key": 1, "sealed": "bm90aGluZw=="})))
        world.clock.pass_by(days=2)
        return world

    async def test_do_not_break_the_report(self, broken: World) -> None:
        recover(broken)
        await run_all(broken)
        waiting = {(one.timer, one.tenant, one.task): one.due for one in await waiting_in(broken)}
        assert waiting[("check_rotations", "contoso", UNREADABLE)] == 1
        assert waiting[("check_rotations", "fabrikam", "rotation")] == 1
        assert waiting[("expire_leases", "contoso", "lease")] == 1
        assert waiting[("expire_leases", "fabrikam", "lease")] == 1
        assert (await send(broken, ADA, "GET", "/upkeep")).status == 200

    async def test_do_not_keep_a_timer_that_is_measured_from_its_work(self, broken: World) -> None:
        with recording() as kept:
            assert (await broken.vault.check_rotations()).done == 1  # of the other tenant
            assert (await broken.vault.expire_leases()).done == 2
            assert kept.measured(TIMER_BACKLOG)[("check_rotations",)] == 2

    async def test_of_a_tenant_whose_decisions_do_not_open_that_is_told(self, world: World) -> None:
        await subscribe("*")(world)
        row = await world.stores.vault.read("contoso", SUBSCRIPTIONS_ROW)
        await world.stores.vault.commit(Put(row.with_document({"key": 1, "sealed": "bm90aGluZw=="})))
        world.clock.pass_by(minutes=1)
        recover(world)
        assert (await told_of(world, "deliver_events"))[UNREADABLE] == (1, ("",))


async def rows_of(world: World, *, discarding: bool) -> Sequence[Row]:
    rows = [row async for row in all_of(world.stores.vault, Partitions("!", "~"))]
    return [row for row in rows if ("|discard-value|" in row.key) is discarding]


async def names(world: World) -> set[str]:
    assert isinstance(world.stores.secrets, ListedSecrets)
    return set(world.stores.secrets.names)


async def torn(operation: Operation) -> tuple[World, set[str]]:
    """The world after the operation with all intents to discard that there ever were, and the values they are about."""
    copied: dict[str, Row] = {}

    async def copy() -> None:
        copied.update({row.key: row for row in await rows_of(restored, discarding=True)})

    restored = await world_before(operation, Plan(meanwhile=dict.fromkeys(range(1, 60), copy)))
    await operation.act(restored)
    for row in copied.values():
        await restored.stores.vault.commit(Put(replace(row, etag="")))
    held = {row.key.rpartition("|")[2].replace("~", "/") for row in copied.values()} & await names(restored)
    assert held
    return restored, held


TRANSPORT_KEY = called(lambda world: world.vault.transport_keys.of("contoso", world.clock()))
_ROTATE = request(ALICE, "POST", f"{ONE}/rotate", {"value": SECOND})
HOLDING = (
    Operation("a credential", (create("other"),), create()),
    Operation("a rotated credential", (create(),), _ROTATE),
    Operation("a consumer's own values", (FULL,), give(DEPLOY_AGENT, pin=PIN)),
    Operation("a consumer's next values", LEASED, give(DEPLOY_AGENT, pin=f"new-{PIN}")),
    Operation("a configuration", (), DEFINE),
    Operation("a configuration with another secret", DRAFTED, ROTATE_SECRET),
    Operation("a subscription", (), subscribe("*")),
    Operation("a subscription with another secret", (subscribe("*"),), ROTATE_SUBSCRIPTION),
    Operation("a transport key", (create(),), TRANSPORT_KEY),
)


class TestATornBackup:
    """Rows are copied one after the other: an intent may come back beside what came to hold the value since."""

    @pytest.mark.parametrize("operation", HOLDING, ids=str)
    async def test_no_value_is_destroyed_that_its_subject_holds(
        self, operation: Operation, caplog: pytest.LogCaptureFixture
    ) -> None:
        world, held = await torn(operation)
        before = await names(world)
        world.restart()
        world.clock.pass_by(minutes=11)
        assert (await world.vault.reconcile()).failed == 0
        assert await names(world) >= held
        assert not await rows_of(world, discarding=True)
        assert "event=discard tenant=" in caplog.text
        assert "value=kept" in caplog.text
        assert not [name for name in before if name in caplog.text]
        assert await faults_of(world) == []

    async def test_nor_one_that_was_replaced_after_its_holder_was_copied(self) -> None:
        replacing = Operation("replace", LEASED, give(DEPLOY_AGENT, pin=f"new-{PIN}"))
        world = await world_before(replacing)
        [own] = [row for row in await rows_of(world, discarding=False) if "own-values:id-deploy-agent" in row.key]
        calls = World()
        await replacing.prepare(calls)
        calls.restart()
        await replacing.act(calls)
        commit = next(one.number for one in calls.ledger.calls if one.subject.startswith("Replace contoso own-values:"))
        world.restart(Plan(crash_after=commit))
        with pytest.raises(Crash):
            await replacing.act(world)
        await world.stores.vault.commit(Put(replace(own, etag="")))
        world.restart()
        world.clock.pass_by(minutes=11)
        await world.vault.reconcile()
        granted = await world.lease()
        assert granted.fields["pin"].get_secret_value() == PIN

    async def test_one_that_nobody_holds_is_destroyed(self, world: World) -> None:
        await half(Operation("create", (create("other"),), create()), "secrets.write")(world)
        before = await names(world)
        world.clock.pass_by(minutes=11)
        await world.vault.reconcile()
        assert len(before - await names(world)) == 1
        assert await faults_of(world, settled=True) == []

    async def test_one_whose_holder_does_not_open_is_kept(self, world: World) -> None:
        credential = await world.create()
        intent = agenda.discarding("contoso", NOON, str(credential.newest.secret), f"credential:{credential.id}")
        await sealed_table(world.stores).commit(Insert(intent))
        row = await world.stores.vault.read("contoso", f"credential:{credential.id}")
        await world.stores.vault.commit(Put(row.with_document({"key": 1, "sealed": "bm90aGluZw=="})))
        world.clock.pass_by(minutes=1)
        assert (await world.vault.reconcile()).failed == 1
        assert await world.stores.secrets.read(str(credential.newest.secret))

    async def test_an_intent_from_before_holders_were_noted_is_done_as_it_was(self, world: World) -> None:
        await world.create()
        secrets = world.stores.secrets
        name = secrets.new_name("contoso")
        await secrets.write(name, (await secrets.read(next(iter(await names(world))))))
        await sealed_table(world.stores).commit(Insert(agenda.intent("contoso", Task.DISCARD_VALUE, NOON, name)))
        world.clock.pass_by(minutes=1)
        await world.vault.reconcile()
        assert name not in await names(world)
