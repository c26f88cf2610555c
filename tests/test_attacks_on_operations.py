"""Attacks on what operators and administrators do: compromises, other data keys, imports, timers that are measured."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from azure.data.tables import TableEntity
from azure.data.tables.aio import TableClient, TableServiceClient
from pydantic import SecretStr

from infra import backup
from tests.faults import Crash, Fault, Plan
from tests.infra.templates import INFRA, parsed
from tests.interleaving import Moment, at_every_moment
from tests.portable import CREDENTIAL_ID, LOCKER_ID, credential_item, exported, imported, locker_item
from tests.recording import recording
from tests.subscribers import subscribe
from tests.sweeping import contents_of, empty_world, faults_of, twin_of
from tests.vaults import ADA, ALICE, DEPLOY_AGENT, MONA, NOON, TENANTS, Clock, World, sealed_table
from tests.vendors import fill, publish
from tests.workers import another_worker
from vault_core import compromises
from vault_core.credential import Credential
from vault_core.credential_requests import UpdateCredential
from vault_core.errors import VaultError
from vault_core.key_ring import KEYS_ROW
from vault_core.lease import LeaseState
from vault_core.portable import TenantPage
from vault_core.repeats import Once
from vault_core.stores import Condition, Keys, Page, Partitions, Table
from vault_core.stores.tables import AzureTable
from vault_core.subscriptions import Issued
from vault_core.telemetry import TIMER_RUNS
from vault_core.vault import Vault

MINUTE = timedelta(minutes=1)
LATER = NOON + 15 * MINUTE  # what is under an older data key is sealed anew from now on
ONCE = Once("key-1", "once", b"{}")

Act = Callable[[Vault, datetime], Awaitable[object]]


@pytest.fixture
def world() -> World:
    return empty_world()


async def report(vault: Vault, now: datetime) -> object:
    return await vault.compromises.report(ALICE, "db-password", None, ONCE, now)


async def suspend(vault: Vault, now: datetime) -> object:
    return await vault.credentials.suspend(ALICE, "db-password", None, ONCE, now)


async def revoke(vault: Vault, now: datetime) -> object:
    return await vault.credentials.revoke(ALICE, "db-password", None, ONCE, now)


async def present(world: World, reference: str = "db-password") -> Credential:
    return (await world.vault.credentials.read(ALICE, reference, world.clock())).credential


async def cut_short(world: World, act: Act, at: Callable[[str], bool]) -> None:
    """Have the process die just after the first commit of which this is true."""
    twin = twin_of(world)
    await act(twin.vault, twin.clock())
    last = next(one.number for one in twin.ledger.calls if one.method == "commit" and at(one.subject))
    world.restart(Plan(crash_after=last))
    with pytest.raises(Crash):
        await act(world.vault, world.clock())
    world.restart()


async def rotated_key(world: World) -> World:
    """Replace the data key, and come to the moment from which rows are sealed anew."""
    await world.vault.data_keys.rotate(ADA, world.clock())
    world.clock.pass_by(minutes=15)
    return world


class TestWhileRowsAreSealedAnew:
    """A row that was sealed anew has changed, though nobody did anything."""

    @pytest.mark.parametrize(
        ("act", "holds"),
        [
            (report, lambda credential: bool(credential.compromised)),
            (suspend, lambda credential: bool(credential.suspended)),
            (revoke, lambda credential: credential.newest.revoked_at is not None),
        ],
        ids=["compromised", "suspended", "revoked"],
    )
    async def test_no_repeat_is_told_that_it_came_through_when_it_did_not(
        self, act: Act, holds: Callable[[Credential], bool]
    ) -> None:
        async def begin() -> World:
            world = empty_world()
            await world.create_for_agents()
            await cut_short(world, act, lambda subject: "request:" in subject)
            return await rotated_key(world)

        refused: list[Moment] = []
        async for moment in at_every_moment(
            begin, lambda vault: act(vault, LATER), lambda world: world.vault.reconcile()
        ):
            if moment.came_through:
                assert holds(await present(moment.world))
            else:
                refused.append(moment)
                await act(moment.worker, LATER)
                assert holds(await present(moment.world))
        assert all(isinstance(one.answer, VaultError) for one in refused)

    async def test_no_signing_secret_is_shown_again_as_if_it_were_another(self) -> None:
        shown: dict[str, str] = {}

        async def begin() -> World:
            world = empty_world()
            issued = await subscribe(world)
            shown.update(id=issued.subscription.id, secret=issued.secret.get_secret_value())
            await cut_short(world, rotate, lambda subject: "request:" in subject)
            return await rotated_key(world)

        async def rotate(vault: Vault, now: datetime) -> Issued:
            return await vault.subscriptions.rotate_secret(ADA, shown["id"], ONCE, now)

        async for moment in at_every_moment(
            begin, lambda vault: rotate(vault, LATER), lambda world: world.vault.reconcile()
        ):
            answer = moment.answer if isinstance(moment.answer, Issued) else await rotate(moment.worker, LATER)
            assert answer.secret.get_secret_value() != shown["secret"]

    @pytest.mark.parametrize("what", ["credential", "locker"])
    async def test_what_was_deleted_goes_all_the_same(self, what: str) -> None:
        async def begin() -> World:
            world = empty_world()
            await imported(world, locker_item(), credential_item())
            await cut_short(world, delete, lambda subject: "intent:" in subject)
            await world.vault.data_keys.rotate(ADA, world.clock())
            world.clock.pass_by(minutes=6)
            return world

        async def delete(vault: Vault, now: datetime) -> None:
            if what == "locker":
                await vault.lockers.delete(ALICE, LOCKER_ID, None, now)
            else:
                await vault.credentials.delete(ALICE, CREDENTIAL_ID, None, now)

        async def finish(vault: Vault) -> object:
            return await vault.reconcile()

        async for moment in at_every_moment(begin, finish, sealed_anew):
            moment.world.clock.pass_by(minutes=6)
            await moment.worker.reconcile()
            assert not (await contents_of(moment.world)).kept_under(f"{what}:")

    async def test_what_consumers_gave_goes_with_the_credential(self) -> None:
        async def begin() -> World:
            world = empty_world()
            await world.create_for_agents(value=None, attributes=[{"name": "pin", "userProvided": True}])
            await world.vault.values.set_own(DEPLOY_AGENT, "db-password", {"pin": SecretStr("4711")}, NOON)
            await world.vault.data_keys.rotate(ADA, world.clock())
            return world

        async def delete(vault: Vault) -> None:
            await vault.credentials.delete(ALICE, "db-password", None, NOON)

        async for moment in at_every_moment(begin, delete, sealed_anew):
            await moment.world.vault.reconcile()
            assert not (await contents_of(moment.world)).kept_under("own-")
            assert await faults_of(moment.world) == []


async def sealed_anew(world: World) -> None:
    """Seal all rows anew, whatever the hour: workers' clocks differ."""
    table = sealed_table(world.stores)
    after: str | None = ""
    while after is not None:
        after = await table.reseal("contoso", after)


class TestClocksThatDiffer:
    async def describe(self, vault: Vault, clock: Clock, text: str) -> None:
        patch = UpdateCredential.model_validate({"description": text})
        await vault.credentials.update(ALICE, "db-password", patch, None, clock())

    @pytest.mark.parametrize("minutes", [2, 5, 10])
    async def test_nothing_is_lost_when_that_of_who_replaces_the_data_key_is_behind(
        self, world: World, minutes: int
    ) -> None:
        await world.create_for_agents()
        stale, behind = World(world.stores, world.clock), Clock(NOON - minutes * MINUTE)
        stale.vault = another_worker(world)
        await self.describe(stale.vault, world.clock, "known")
        await another_worker(world, behind).data_keys.rotate(ADA, behind())
        for minute in range(45):
            world.clock.pass_by(minutes=1)
            if minute < 10:  # as long as it may not know of the new key, and meets no row that is sealed under it
                await stale.create(name=f"credential-{minute}")
            await world.vault.reconcile()
        assert len((await contents_of(world)).live) == 11
        assert list((await world.stores.vault.read("contoso", KEYS_ROW)).document["keys"]) == ["2"]

    async def test_keys_do_not_last_because_a_clock_was_set_back(self, world: World) -> None:
        await world.create_for_agents()
        ahead = Clock(NOON + 60 * MINUTE)
        stale = another_worker(world, ahead)
        await self.describe(stale, ahead, "known")
        ahead.now = NOON
        await world.vault.data_keys.rotate(ADA, NOON)
        await self.describe(stale, ahead, "with the clock set right")
        [row] = (await contents_of(world)).kept_under("credential:")
        raw = await world.stores.vault.read("contoso", row.key)
        assert raw.document["key"] == 2


class TestMeasuring:
    async def test_what_cannot_be_counted_keeps_no_timer_from_its_work(self, world: World) -> None:
        await world.create_for_agents()
        lease = (await world.lease(DEPLOY_AGENT, ttl=MINUTE)).lease
        world.clock.pass_by(minutes=5)
        with recording() as recorded:
            vault = Vault(replace(world.stores, due=NotCounted(world.stores.due)), TENANTS, world.clock, world.outbound)
            await vault.expire_leases()
            assert recorded.measured(TIMER_RUNS) == {("expire_leases", "ok"): 1}
        assert (await world.vault.leases.read(MONA, lease.id, world.clock())).state is LeaseState.EXPIRED


class NotCounted:
    """A table that does not answer as it should, the first time that much is asked of it."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._asked = 0
        self.read, self.commit = table.read, table.commit

    async def query(self, span: Keys | Partitions, *, where: Condition | None = None, limit: int = 1000) -> Page:
        self._asked += 1
        if self._asked == 1:
            raise ValueError("no JSON")
        return await self._table.query(span, where=where, limit=limit)


class TestWhatWasLeftOfAnEarlierOne:
    """An administrator imports an id that was there before, at the worst moment."""

    async def test_a_purge_that_was_planned_for_it_spares_one_that_was_revoked_since(self, world: World) -> None:
        await imported(world, credential_item())
        await world.rotate(ALICE, CREDENTIAL_ID, "the old secret")
        await world.revoke(ALICE, CREDENTIAL_ID)
        await world.vault.credentials.delete(ALICE, CREDENTIAL_ID, None, world.clock())
        world.clock.pass_by(days=80)
        await imported(world, credential_item())
        await world.rotate(ALICE, CREDENTIAL_ID, "the new secret")
        await world.revoke(ALICE, CREDENTIAL_ID)
        world.clock.pass_by(days=20)
        assert (await world.vault.reconcile()).failed == 0
        assert (await present(world, CREDENTIAL_ID)).newest.secret is not None
        world.clock.pass_by(days=71)
        assert (await world.vault.reconcile()).failed == 0
        assert (await present(world, CREDENTIAL_ID)).newest.secret is None

    async def test_its_deletion_takes_no_pin_from_the_new_one(self) -> None:
        items: list[dict[str, Any]] = []

        async def begin() -> World:
            world = empty_world()
            configuration = await publish(world)
            made = await fill(world, configuration, marketplaces=["de"])
            items[:] = [item for item in await exported(world) if item["kind"] == "credential"]
            await cut_short(world, partial(delete, made.id), lambda subject: "intent:" in subject)
            return world

        async def delete(credential_id: str, vault: Vault, now: datetime) -> None:
            await vault.credentials.delete(ALICE, credential_id, None, now)

        async def run(vault: Vault) -> object:
            page = TenantPage.model_validate({"format": 1, "items": items})
            return await vault.imports.run(ADA, page.items, LATER)

        async def finish(world: World) -> None:
            world.clock.pass_by(minutes=15)
            await world.vault.reconcile()

        async for moment in at_every_moment(begin, run, finish):
            assert await faults_of(moment.world) == []


class TestDisclosures:
    async def test_what_was_found_is_told_though_the_rest_of_the_day_takes_too_long(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever reads a value and then fills the audit hides what happened before, and nothing else."""
        monkeypatch.setattr(compromises, "_PAGE", 2)
        credential = await world.create_for_agents()
        [attribute] = credential.attributes
        for _ in range(5):
            world.clock.pass_by(minutes=1)
            await world.vault.values.read_one(DEPLOY_AGENT, credential.id, attribute.id, world.clock())
        twin = twin_of(world)
        await twin.vault.compromises.report(ALICE, credential.id, None, ONCE, twin.clock())
        pages = [call.number for call in twin.ledger.calls if (call.store, call.method) == ("audit", "query")]
        world.restart(Plan(faults={pages[1]: Fault()}))
        _, disclosure = await world.vault.compromises.report(ALICE, credential.id, None, ONCE, world.clock())
        assert [one.reads for one in disclosure.holders] == [2]
        assert disclosure.complete_since == world.clock()

    async def test_no_more_readings_are_kept_in_memory_than_are_told(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(compromises, "_PAGE", 2)
        monkeypatch.setattr(compromises, "_READS", 4)
        credential = await world.create_for_agents()
        [attribute] = credential.attributes
        for _ in range(9):
            await world.vault.values.read_one(DEPLOY_AGENT, credential.id, attribute.id, world.clock())
        world.clock.pass_by(minutes=1)
        _, disclosure = await world.vault.compromises.report(ALICE, credential.id, None, ONCE, world.clock())
        assert [one.reads for one in disclosure.holders] == [4]
        assert disclosure.complete_since == world.clock()


class TestAnEditedRow:
    @pytest.mark.parametrize(
        "document", ["no JSON", "[]", "null", "7", "[" * 20_000, 7, ""], ids=lambda text: str(text)[:8]
    )
    async def test_of_no_document_at_all_is_read_as_an_empty_one(self, document: object) -> None:
        """So it is dropped, or does not open; and spoils no query that others depend on."""
        entity = TableEntity({"PartitionKey": "lease|202611211200|0", "RowKey": "x", "document": document})
        entity._metadata = {"etag": "1", "timestamp": None}
        row = await AzureTable(cast(TableClient, OneEntity(entity))).read("lease|202611211200|0", "x")
        assert row.document == {}


class OneEntity:
    """As much of a table as it takes to read one row."""

    def __init__(self, entity: TableEntity) -> None:
        self._entity = entity

    async def get_entity(self, *_: object, **__: object) -> TableEntity:
        return self._entity


class TestABackup:
    def test_takes_a_folder_that_others_could_look_into_for_its_owner_alone(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o755)
        with pytest.raises(AttributeError):
            asyncio.run(backup.save(cast(TableServiceClient, object()), tmp_path, Clock(), print))
        assert tmp_path.stat().st_mode & 0o077 == 0

    def test_is_not_put_into_a_folder_of_somebody_else(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise PermissionError

        monkeypatch.setattr(Path, "chmod", refuse)
        with pytest.raises(backup.NotDone, match="somebody else's"):
            asyncio.run(backup.save(cast(TableServiceClient, object()), tmp_path, Clock(), print))
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "operation",
    [
        "Microsoft.Authorization/roleAssignments/write",
        "Microsoft.Authorization/roleDefinitions/write",
        "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action",
        "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write",
        "Microsoft.Insights/diagnosticSettings/delete",
    ],
)
def test_every_way_to_the_data_that_is_no_deployment_gives_an_alert(operation: str) -> None:
    deeds = parsed(INFRA / "modules" / "alerts.bicep")["variables"]["deeds"]["value"]
    assert operation in {deed["operation"] for deed in deeds}


class TestAReadingInTheMidstOfAReport:
    async def test_is_refused_or_among_those_who_are_told_of(self) -> None:
        credential: dict[str, str] = {}
        reports: list[compromises.Disclosure] = []

        async def begin() -> World:
            world = empty_world()
            credential["id"] = (await world.create_for_agents(type="api-key", value="sk_live_1234")).id
            return world

        async def read(vault: Vault) -> object:
            return await vault.values.read_one(DEPLOY_AGENT, credential["id"], "value", NOON)

        async def report(world: World) -> None:
            _, disclosure = await world.vault.compromises.report(ALICE, credential["id"], None, None, NOON)
            reports.append(disclosure)

        answers: list[bool] = []
        async for moment in at_every_moment(begin, read, report):
            told_of = {holder.identity.id for holder in reports[-1].holders}
            assert not moment.came_through or DEPLOY_AGENT.identity.id in told_of
            answers.append(moment.came_through)
        assert False in answers
