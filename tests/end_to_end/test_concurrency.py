"""Many at once, through several workers, on the real adapters: what holds for one request holds for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import cycle

import pytest

from local.cloud import LocalCloud
from tests.end_to_end.sites import Site, open_site
from tests.end_to_end.storms import Storm, all_of
from tests.invariants import broken_rules
from vault_core.errors import (
    CredentialChanged,
    CredentialRevoked,
    LeaseEnded,
    LeaseLimitReached,
    NameTaken,
    NotFound,
)
from vault_core.grants import Granted
from vault_core.lease import LeaseState
from vault_core.repeats import Once

pytestmark = pytest.mark.slow


@pytest.fixture
async def site(local_parts: LocalCloud) -> AsyncIterator[Site]:
    async with open_site(local_parts) as opened:
        yield opened


async def test_of_64_requests_for_5_places_exactly_5_are_granted_and_so_it_is_again_once_they_expired(
    site: Site,
) -> None:
    await site.create("limited", maxLeases=5)
    for _ in range(2):
        granted, refused = await all_of(site.lease("limited", number) for number in range(64))
        assert (len(granted), refused) == (5, {LeaseLimitReached: 59})
        assert len({one.lease.reference.slot for one in granted}) == 5
        assert broken_rules(await site.contents()) == []
        site.clock.pass_by(hours=2)
    assert await site.faults_at_rest() == []


async def test_of_two_rotations_at_once_one_wins_and_nothing_remains_of_the_other(site: Site) -> None:
    await site.create("rotating")
    await asyncio.gather(*(site.lease("rotating", number) for number in range(3)))
    for round_ in range(5):
        rotations = (site.rotate("rotating", f"value {round_} of {worker}", worker) for worker in range(2))
        won, lost = await all_of(rotations)
        assert lost == {CredentialChanged: 1}
        assert won[0].newest.number == round_ + 2
        contents = await site.contents()
        pointed_to = {version.secret for version in won[0].versions} | set(contents.keys["keys"].values())
        assert contents.secrets.keys() == pointed_to
    assert await site.faults_at_rest() == []


async def test_no_request_that_starts_after_a_revocation_was_acknowledged_gets_the_value(site: Site) -> None:
    for round_ in range(3):
        name = f"stormy {round_}"
        await site.create(name)
        storm = Storm(partial(site.lease, name))
        await storm.lasts_until(site.workers[0].credentials.revoke(site.alice, name, None, None, site.clock()))
        assert storm.granted
        assert storm.refused_afterwards == {CredentialRevoked}
        seen = await asyncio.gather(
            *(site.workers[2].leases.read(site.alice, one, site.clock()) for one in storm.granted)
        )
        assert {one.state for one in seen} == {LeaseState.REVOKED}
    contents = await site.contents()
    assert not any(contents.is_active(lease) for lease in contents.leases)
    assert await site.faults_at_rest() == []


async def test_no_request_that_starts_after_a_deletion_was_acknowledged_finds_anything(site: Site) -> None:
    for round_ in range(3):
        name = f"Short-lived {round_}"
        await site.create(name, maxLeases=1000) if round_ == 1 else await site.create(name)
        storm = Storm(partial(site.lease, name))
        await storm.lasts_until(site.workers[0].credentials.delete(site.alice, name, None, site.clock()))
        assert storm.granted
        assert storm.refused_afterwards == {NotFound}
        assert (await site.contents()).leases == ()
        again = await site.create(name.upper(), worker=1)
        page = await site.workers[2].leases.list_of(site.alice, again.id, 100, None, site.clock())
        assert (again.versions[0].number, page.leases) == (1, [])
    assert await site.faults_at_rest() == []


async def test_a_lease_is_renewed_or_expired_but_never_both(site: Site) -> None:
    await site.create("renewed")
    await site.create("renewed in place", maxLeases=20)
    renewed = 0
    for _ in range(3):
        began = site.clock()
        names = cycle(("renewed", "renewed in place"))
        granted = await asyncio.gather(*(site.lease(next(names), number, timedelta(minutes=1)) for number in range(12)))
        just_in_time = began + timedelta(seconds=59)
        site.clock.pass_by(minutes=3)
        sweeps = [asyncio.create_task(worker.expire_leases()) for worker in site.workers[:2]]
        renewals = (
            site.workers[number % 3].leases.renew(
                site.agent(number), one.lease.id, timedelta(hours=1), None, just_in_time
            )
            for number, one in enumerate(granted)
        )
        kept, refused = await all_of(renewals)
        await asyncio.gather(*sweeps)
        assert set(refused) <= {LeaseEnded}
        contents = await site.contents()
        active = {lease.id for lease in contents.leases if contents.is_active(lease)}
        assert active == {one.lease.id for one in kept}
        renewed += len(kept)
        site.clock.pass_by(hours=2)
    assert renewed
    assert await site.faults_at_rest() == []


async def test_of_many_who_create_one_name_at_once_one_does_whatever_the_case(site: Site) -> None:
    for round_ in range(4):
        names = (f"Prod Key {round_}", f"PROD KEY {round_}", f"prod key {round_}")
        created, refused = await all_of(site.create(names[number % 3], worker=number % 3) for number in range(6))
        assert (len(created), refused) == (1, {NameTaken: 5})
        found = await site.workers[1].credentials.read(site.alice, names[2], site.clock())
        assert found.credential.id == created[0].id
    assert len((await site.contents()).secrets) == 4 + 1
    assert await site.faults_at_rest() == []


async def test_the_first_requests_of_a_tenant_agree_on_its_keys(site: Site) -> None:
    for round_ in range(4):
        new = replace(site, tenant=f"{site.tenant}-{round_}")
        created, refused = await all_of(new.create(f"first {number}", worker=number % 3) for number in range(6))
        assert (len(created), refused) == (6, {})
        granted = await asyncio.gather(*(new.lease(f"first {number}", number + 1) for number in range(6)))
        assert {one.value.get_secret_value() for one in granted} == {"value of version 1"}
        assert await new.faults_at_rest() == []


async def test_a_request_that_is_sent_many_times_at_once_with_one_key_has_one_effect(site: Site) -> None:
    await asyncio.gather(*(site.create(f"before {worker}", worker) for worker in range(3)))
    for round_ in range(3):
        name = f"once {round_}"
        body = name.encode()
        key = Once(f"create-{round_}", "create", body)
        created, refused = await all_of(site.create(name, number % 3, key) for number in range(6))
        assert ({one.id for one in created}, refused) == ({created[0].id}, {})
        key = Once(f"lease-{round_}", "lease", body)
        granted, refused = await all_of(site.lease(name, number, None, key) for number in range(6))
        assert ({one.lease.id for one in granted}, refused) == ({granted[0].lease.id}, {})
        key = Once(f"rotate-{round_}", "rotate", body)
        rotated, refused = await all_of(site.rotate(name, "value of version 2", number % 3, key) for number in range(6))
        assert ({one.newest.number for one in rotated}, refused) == ({2}, {})
    contents = await site.contents()
    assert len(contents.leases) == 3
    assert {len(one.versions) for one in contents.live if one.name.startswith("once")} == {2}
    assert await site.faults_at_rest() == []


async def test_a_lease_holds_the_value_of_its_version_while_the_credential_is_rotated(site: Site) -> None:
    await site.create("turning")
    leases: list[Granted] = []

    async def ask(number: int) -> None:
        for _ in range(8):
            leases.append(await site.lease("turning", number))

    agents = [asyncio.create_task(ask(number)) for number in range(6)]
    for version in range(2, 6):
        await site.rotate("turning", f"value of version {version}", version % 3)
    await asyncio.gather(*agents)
    values = {(one.lease.version, one.value.get_secret_value()) for one in leases}
    assert values <= {(version, f"value of version {version}") for version in range(1, 6)}
    assert len(values) > 1
    assert await site.faults_at_rest() == []
