"""Many at once, through several workers, on the real adapters: single values, consumers' own ones, and lockers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from functools import partial

import pytest
from pydantic import SecretStr

from local.cloud import LocalCloud
from tests.end_to_end.sites import Site, open_site
from tests.end_to_end.storms import Storm, all_of
from vault_core.attribute_values import ShownValue
from vault_core.credential import Credential
from vault_core.errors import CredentialChanged, CredentialInLocker, NotFound, StaleVersion
from vault_core.grants import Granted
from vault_core.identities import Caller
from vault_core.locker import Permission

pytestmark = pytest.mark.slow


@pytest.fixture
async def site(local_parts: LocalCloud) -> AsyncIterator[Site]:
    async with open_site(local_parts) as opened:
        yield opened


def ids(credential: Credential) -> dict[str, str]:
    """The ids of the attributes by their names."""
    return {one.name: one.id for one in credential.attributes}


async def write(
    site: Site, credential: Credential, name: str, text: str, revision: int | None = None, worker: int = 0
) -> list[ShownValue]:
    values = {ids(credential)[name]: SecretStr(text)}
    return await site.workers[worker].values.write(site.alice, credential.id, values, revision, site.clock())


async def give(site: Site, credential: Credential, number: int, text: str) -> None:
    """Give a bot's own value, again as long as the refusal says that others changed the credential at the same time."""
    values = {"pin": SecretStr(text)}
    for _ in range(20):
        with suppress(CredentialChanged):
            await site.workers[number % 3].values.set_own(site.bot(number), credential.id, values, site.clock())
            return
    raise AssertionError("the vault keeps asking for a repeat")


async def read(site: Site, credential: Credential, name: str, by: Caller, worker: int = 0) -> str | None:
    """The value of the attribute as the caller reads it, or None when it has none."""
    shown = await site.workers[worker].values.read_one(by, credential.id, ids(credential)[name], site.clock())
    return shown[0].value.get_secret_value() if shown and shown[0].value else None


async def kept(site: Site, credential: Credential, worker: int = 2) -> Credential:
    return (await site.workers[worker].credentials.read(site.alice, credential.id, site.clock())).credential


async def counts(site: Site, lockers: Sequence[str]) -> list[int]:
    """How many credentials each locker says that it holds; it holds as many."""
    found = [await site.workers[2].lockers.read(site.alice, one, site.clock()) for one in lockers]
    for locker in found:
        inside = await site.workers[2].lockers.credentials_of(site.alice, locker.id, site.clock())
        assert len(inside) == locker.credentials
    return [locker.credentials for locker in found]


async def test_of_two_who_replace_the_same_value_one_does_and_the_other_learns_that_it_changed(site: Site) -> None:
    contested = await site.create_with_parts("contested", "host")
    await write(site, contested, "host", "value 0")
    for round_ in range(5):
        texts = [f"value {round_} of {worker}" for worker in range(2)]
        results = await asyncio.gather(
            *(write(site, contested, "host", text, round_, worker) for worker, text in enumerate(texts)),
            return_exceptions=True,
        )
        assert Counter(type(one) for one in results) == {list: 1, StaleVersion: 1}
        [(winner, [shown])] = [(texts[place], one) for place, one in enumerate(results) if isinstance(one, list)]
        assert shown.mark.revision == round_ + 1
        assert await read(site, contested, "host", site.alice, worker=2) == winner
    assert (await kept(site, contested)).newest.number == 6
    assert await site.faults_at_rest() == []


async def test_two_who_write_different_values_at_once_both_have_their_way(site: Site) -> None:
    both = await site.create_with_parts("both", "host", "port")
    for round_ in range(5):
        await asyncio.gather(
            *(
                write(site, both, name, f"{name} {round_}", round_ - 1 if round_ else None, worker)
                for worker, name in enumerate(("host", "port"))
            )
        )
        seen = [await read(site, both, name, site.alice, worker=2) for name in ("host", "port")]
        assert seen == [f"host {round_}", f"port {round_}"]
    assert await site.faults_at_rest() == []


async def test_sixteen_consumers_give_their_own_values_while_the_owner_rotates_and_each_reads_its_own(
    site: Site,
) -> None:
    ledger = await site.create_with_parts("ledger", "host")
    await write(site, ledger, "host", "host 0")
    locker = await site.create_locker("shared")
    await site.workers[0].lockers.assign(site.alice, locker.id, ledger.id, site.clock())

    async def rotate() -> None:
        for number in range(1, 4):
            await write(site, ledger, "host", f"host {number}", worker=number % 3)

    for one in range(4):  # these will replace what they gave
        await give(site, ledger, one, "before")
    await asyncio.gather(rotate(), *(give(site, ledger, one, f"of bot {one}") for one in range(16)))
    for one in range(16):
        assert await read(site, ledger, "pin", site.bot(one), worker=one % 3) == f"of bot {one}"
    granted = await asyncio.gather(*(lease(site, ledger, one) for one in range(16)))
    assert [{name: text.get_secret_value() for name, text in one.fields.items()} for one in granted] == [
        {"host": "host 3", "pin": f"of bot {one}"} for one in range(16)
    ]
    assert await read(site, ledger, "pin", site.alice) is None
    assert await site.faults_at_rest() == []


async def lease(site: Site, credential: Credential, number: int) -> Granted:
    return await site.workers[number % 3].grants.grant(site.bot(number), credential.id, None, None, site.clock())


async def test_a_credential_that_is_put_into_two_lockers_at_once_is_in_one(site: Site) -> None:
    lockers = [(await site.create_locker(name)).id for name in ("left", "right")]
    for round_ in range(4):
        one = await site.create_with_parts(f"moved {round_}", "host")
        moves = (
            site.workers[number].lockers.assign(site.alice, locker, one.id, site.clock())
            for number, locker in enumerate(lockers)
        )
        won, lost = await all_of(moves)
        assert (len(won), lost) == (1, {CredentialInLocker: 1})
        assert (await kept(site, one)).locker_id == won[0].credential.locker_id
        assert sum(await counts(site, lockers)) == round_ + 1
    assert await site.faults_at_rest() == []


async def test_many_credentials_that_are_put_into_one_locker_at_once_are_all_counted(site: Site) -> None:
    locker = (await site.create_locker("full")).id
    created = [await site.create_with_parts(f"one of many {number}", "host") for number in range(4)]
    for move, expected in (("assign", 4), ("take_out", 0)):
        await asyncio.gather(
            *(
                getattr(site.workers[number % 3].lockers, move)(site.alice, locker, one.id, site.clock())
                for number, one in enumerate(created)
            )
        )
        assert await counts(site, [locker]) == [expected]
    assert await site.faults_at_rest() == []


async def test_no_credential_stays_in_a_locker_that_is_deleted_while_it_is_put_in(site: Site) -> None:
    for round_ in range(4):
        locker = (await site.create_locker(f"short-lived {round_}")).id
        created = [await site.create_with_parts(f"homeless {round_} {number}", "host") for number in range(8)]

        async def assign(number: int, one: Credential, locker: str = locker) -> None:
            await asyncio.sleep(0.004 * number)  # so that some meet the deletion at each of its steps
            await site.workers[number % 3].lockers.assign(site.alice, locker, one.id, site.clock())

        delete = site.workers[0].lockers.delete(site.alice, locker, None, site.clock())
        _, refused = await all_of((delete, *(assign(number, one) for number, one in enumerate(created))))
        assert set(refused) <= {NotFound, CredentialChanged}
        with pytest.raises(NotFound):
            await site.workers[1].lockers.read(site.alice, locker, site.clock())
        assert {(await kept(site, one)).locker_id for one in created} == {None}
    assert await site.faults_at_rest() == []


async def shared_ledger(site: Site) -> tuple[Credential, str]:
    """A credential with its value in a locker that bots consume, nine of whom gave their own; and the locker's id."""
    ledger, locker = await site.create_with_parts("ledger", "host"), (await site.create_locker("shared")).id
    await write(site, ledger, "host", "ledger.example.com")
    await site.workers[0].lockers.assign(site.alice, locker, ledger.id, site.clock())
    for number in range(9):
        await give(site, ledger, number, f"of bot {number}")
    return ledger, locker


async def test_a_worker_does_not_rely_on_a_part_in_a_locker_that_it_remembers(site: Site) -> None:
    ledger, locker = await shared_ledger(site)
    for number in range(3):  # each worker remembers now that bots consume
        await lease(site, ledger, number)
    await site.workers[0].lockers.remove_consumer(site.alice, locker, "bots", site.clock())
    _, refused = await all_of(lease(site, ledger, number) for number in range(3))
    assert refused == {NotFound: 3}
    assert await site.faults_at_rest() == []


async def test_no_lease_is_granted_to_a_consumer_once_the_removal_of_its_role_was_acknowledged(site: Site) -> None:
    ledger, locker = await shared_ledger(site)
    for worker in site.workers:
        await worker.lockers.add_consumers(site.alice, locker, ("bots",), site.clock())
        storm = Storm(partial(lease, site, ledger))
        await storm.lasts_until(worker.lockers.remove_consumer(site.alice, locker, "bots", site.clock()))
        assert storm.granted
        assert storm.refused_afterwards == {NotFound}
    assert await site.faults_at_rest() == []


async def test_no_lease_is_granted_to_a_member_once_its_removal_was_acknowledged(site: Site) -> None:
    ledger, locker = await shared_ledger(site)
    member = site.agent(0)

    async def lease_as_member(number: int) -> Granted:
        return await site.workers[number % 3].grants.grant(member, ledger.id, None, None, site.clock())

    for worker in site.workers:
        await worker.lockers.set_member(site.alice, locker, member.identity.id, (Permission.MANAGE,), site.clock())
        storm = Storm(lease_as_member)
        await storm.lasts_until(worker.lockers.set_member(site.alice, locker, member.identity.id, (), site.clock()))
        assert storm.granted
        assert storm.refused_afterwards == {NotFound}
    assert await site.faults_at_rest() == []


async def test_no_lease_is_granted_to_a_consumer_once_it_was_acknowledged_that_the_credential_left_the_locker(
    site: Site,
) -> None:
    ledger, locker = await shared_ledger(site)
    for worker in site.workers:
        await worker.lockers.assign(site.alice, locker, ledger.id, site.clock())
        storm = Storm(partial(lease, site, ledger))
        await storm.lasts_until(worker.lockers.take_out(site.alice, locker, ledger.id, site.clock()))
        assert storm.granted
        assert storm.refused_afterwards == {NotFound}
    assert await site.faults_at_rest() == []
