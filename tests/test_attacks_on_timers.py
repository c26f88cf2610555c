"""Attacks on the timers that once succeeded: with rows edited by hand, sheer numbers, and tenants that hog a run."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.faults import Crash
from tests.test_attacks import Interrupted, worker_with
from tests.vaults import ALICE, DEPLOY_AGENT, MALLORY, NOON, TENANTS, World, sealed_table
from vault_core.errors import SecretDisabled
from vault_core.key_ring import KEYS_ROW
from vault_core.repeats import REMEMBERED_FOR, Once, Repeats
from vault_core.stores import Change, Keys, Partitions, Put, Replace, Row
from vault_core.upkeep.runs import RUN_FOR, Report, Run

CREDENTIAL_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
LEASE_ID = f"{CREDENTIAL_ID.replace('-', '')}.n.{'0' * 32}"


@pytest.fixture
def world() -> World:
    return World()


async def run_all_timers(world: World) -> None:
    for timer in (
        world.vault.expire_leases,
        world.vault.check_credentials,
        world.vault.check_rotations,
        world.vault.reconcile,
    ):
        await timer()


async def die_after_the_revocation(changes: tuple[Change, ...]) -> None:
    if any(isinstance(one, Put) and "|revoke|" in one.row.key for one in changes):
        raise Crash


async def test_thousands_of_forgotten_keys_do_not_hold_up_a_revocation_that_was_cut_short(world: World) -> None:
    credential = await world.create()
    repeats = Repeats(sealed_table(world.stores))
    for number in range(1200):
        await repeats.reserve(DEPLOY_AGENT, Once(f"key {number}", "lease", b"{}"), {}, NOON)
    world.clock.now = NOON + REMEMBERED_FOR + timedelta(minutes=1)
    vault = worker_with(world, vault=Interrupted(world.stores.vault, after=die_after_the_revocation))
    with pytest.raises(Crash):
        await vault.credentials.revoke(ALICE, "db-password", None, None, world.clock())
    assert await world.stores.secrets.read(credential.newest.secret or "")
    world.clock.pass_by(minutes=3)
    await world.vault.reconcile()
    with pytest.raises(SecretDisabled):
        await world.stores.secrets.read(credential.newest.secret or "")
    assert (await world.stores.vault.query(Keys("contoso", "request:", "request;"))).rows == []


async def test_secrets_that_someone_writes_into_the_row_of_the_keys_are_not_deleted(world: World) -> None:
    ours, theirs = await world.create(), await world.create(MALLORY)
    row = await world.stores.vault.read("contoso", KEYS_ROW)
    named = [ours.newest.secret or "", theirs.newest.secret or "", *row.document["keys"].values()]
    await world.stores.vault.commit(Replace(row.with_document({**row.document, "candidates": named})))
    world.clock.pass_by(minutes=15)
    world.restart()
    await run_all_timers(world)
    for name in named:
        assert await world.stores.secrets.read(name)


async def first_to_work(world: World) -> str:
    """Run a timer whose time is used up by whichever tenant comes first; return that tenant."""
    run, served = Run("test", world.clock(), world.clock), list[str]()

    async def hog(tenant: str) -> Report:
        if run.over:
            return Report(left_some=True)
        served.append(tenant)
        world.clock.now += RUN_FOR * 2
        return Report(done=1)

    assert (await run.each_tenant(TENANTS, hog)).left_some
    [first] = served
    return first


@pytest.mark.parametrize("minutes", [1, 15, 60])
async def test_who_uses_up_the_time_of_a_run_is_not_the_first_in_every_run(world: World, minutes: int) -> None:
    firsts = set()
    for number in range(12):
        world.clock.now = NOON + number * timedelta(minutes=minutes)
        firsts.add(await first_to_work(world))
    assert firsts == set(TENANTS)


@pytest.mark.parametrize(
    "edited",
    [
        {"tenant": "bogus"},
        {"lease": "not a lease id"},
        {"lease": LEASE_ID.replace("0", "1", 1)},
        {"credential": CREDENTIAL_ID.replace("0", "1", 1)},
    ],
    ids=["unknown tenant", "no lease id", "lease of another credential", "another credential"],
)
async def test_a_due_row_that_the_vault_never_wrote_is_dropped_and_makes_no_secret(
    world: World, edited: dict[str, str]
) -> None:
    document = {"tenant": "contoso", "credential": CREDENTIAL_ID, "lease": LEASE_ID}
    row = Row("lease|202611211100|0", f"{CREDENTIAL_ID}|{'0' * 32}", document)
    await world.stores.due.commit(Put(replace(row, document={**document, **edited})))
    assert (await world.vault.expire_leases()).failed == 1
    assert (await world.stores.due.query(Partitions("lease|", "lease}"))).rows == []
    assert world.ledger.count("secrets", "write") == 0
