"""Repeated requests: what an `Idempotency-Key` promises of every operation that takes one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.vaults import ALICE, BOB, CI_RUNNER, DEPLOY_AGENT, MONA, TENANTS, World
from tests.workers import another_worker
from vault_core.credential import Credential
from vault_core.credential_requests import CreateCredential, RotateCredential
from vault_core.credentials import Shown
from vault_core.errors import (
    CredentialNotUsable,
    IdempotencyKeyReused,
    LeaseEnded,
    LeaseLimitReached,
    NotFound,
    VersionRotated,
)
from vault_core.grants import Granted
from vault_core.identities import Caller
from vault_core.leases import Seen
from vault_core.repeats import Once
from vault_core.stores import Change, Row, Table
from vault_core.vault import Vault

NEW = CreateCredential.model_validate({"name": "made-once", "type": "generic-secret", "value": "once"})
NEXT = RotateCredential.model_validate({"value": "next value"})
Operation = Callable[[World, Vault, Once], Awaitable[Any]]


async def create(world: World, vault: Vault, once: Once) -> Shown:
    return await vault.creations.create(ALICE, NEW, once, world.clock())


async def rotate(world: World, vault: Vault, once: Once) -> Shown:
    return await vault.credentials.rotate(ALICE, "db-password", NEXT, None, once, world.clock())


async def revoke(world: World, vault: Vault, once: Once) -> Shown:
    return await vault.credentials.revoke(ALICE, "db-password", "leaked", once, world.clock())


async def suspend(world: World, vault: Vault, once: Once) -> Shown:
    return await vault.credentials.suspend(ALICE, "db-password", "leaked", once, world.clock())


async def resume(world: World, vault: Vault, once: Once) -> Shown:
    return await vault.credentials.resume(ALICE, "asleep", None, once, world.clock())


async def lease(world: World, vault: Vault, once: Once) -> Granted:
    return await vault.grants.grant(DEPLOY_AGENT, "db-password", None, once, world.clock())


async def renew(world: World, vault: Vault, once: Once) -> Seen:
    page = await vault.leases.list_own(CI_RUNNER, 1, None, world.clock())
    return await vault.leases.renew(CI_RUNNER, page.leases[0].lease.id, None, once, world.clock())


OPERATIONS: list[Operation] = [create, rotate, revoke, suspend, resume, lease, renew]
every_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)


@pytest.fixture
async def world() -> World:
    """A vault with a credential that agents lease, one that is suspended, and a lease of the CI runner."""
    world = World()
    await world.create(policy={"allowedIdentities": [{"type": "agent"}], "maxLeases": 5})
    await world.create(name="asleep")
    await world.vault.credentials.suspend(ALICE, "asleep", None, None, world.clock())
    await world.lease(CI_RUNNER)
    return world


def essence(answer: Any) -> object:
    """What a client would compare of two answers."""
    if isinstance(answer, Granted):
        return answer.lease, answer.value.get_secret_value()
    if isinstance(answer, Seen):
        return answer
    credential: Credential = answer.credential
    return credential


@every_operation
async def test_a_repeat_gives_the_same_result_and_has_no_effect_of_its_own(world: World, operation: Operation) -> None:
    once = Once("key", operation.__name__, b"{}")
    first = await operation(world, world.vault, once)
    told = [event.event for event in await world.audit()]
    world.clock.pass_by(minutes=2)
    assert essence(await operation(world, world.vault, once)) == essence(first)
    told_again = Counter(event.event for event in await world.audit()) - Counter(told)
    assert told_again == ({"value.read": 1} if operation is lease else {})


@every_operation
async def test_another_worker_recognises_a_repeat(world: World, operation: Operation) -> None:
    once = Once("key", operation.__name__, b"{}")
    first = await operation(world, world.vault, once)
    other = another_worker(world)
    assert essence(await operation(world, other, once)) == essence(first)


@every_operation
async def test_a_request_that_is_sent_twice_at_once_has_one_effect(world: World, operation: Operation) -> None:
    once = Once("key", operation.__name__, b"{}")
    answers = await asyncio.gather(*(operation(world, world.vault, once) for _ in range(2)))
    assert essence(answers[0]) == essence(answers[1])


@every_operation
async def test_two_workers_that_get_the_same_request_at_once_do_it_once(world: World, operation: Operation) -> None:
    """One of them is cold, so that the one that began first is not the one that ends first."""
    once = Once("key", operation.__name__, b"{}")
    other = another_worker(world)
    answers = await asyncio.gather(operation(world, other, once), operation(world, world.vault, once))
    assert essence(answers[0]) == essence(answers[1])
    credential = await world.vault.credentials.read(ALICE, "db-password", world.clock())
    assert credential.credential.newest.number == (2 if operation is rotate else 1)
    running = await world.vault.leases.outstanding("contoso", credential.credential.id, world.clock())
    assert running.total() == (2 if operation is lease else 0 if operation is revoke else 1)


@every_operation
async def test_a_key_that_comes_with_another_body_is_refused(world: World, operation: Operation) -> None:
    await operation(world, world.vault, Once("key", operation.__name__, b'{"a":1}'))
    with pytest.raises(IdempotencyKeyReused):
        await operation(world, world.vault, Once("key", operation.__name__, b'{"a":2}'))


@every_operation
async def test_a_key_that_was_used_for_another_operation_is_refused(world: World, operation: Operation) -> None:
    await operation(world, world.vault, Once("key", operation.__name__, b"{}"))
    with pytest.raises(IdempotencyKeyReused):
        await operation(world, world.vault, Once("key", "another operation", b"{}"))


class Gate:
    """A table whose first commit waits until it is let through."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.reached, self.opened = asyncio.Event(), asyncio.Event()
        self.read, self.query = table.read, table.query

    async def commit(self, *changes: Change) -> list[Row]:
        self.reached.set()
        await self.opened.wait()
        return await self._table.commit(*changes)


@pytest.mark.parametrize("policy", [{"maxLeases": 5}, {"maxLeases": None}], ids=["places", "no limit"])
async def test_a_request_that_its_own_repeat_overtakes_answers_with_the_same_lease(
    world: World, policy: dict[str, Any]
) -> None:
    await world.update(policy=policy)
    gate, once = Gate(world.stores.leases), Once("key", "lease", b"{}")
    slow = Vault(replace(world.stores, leases=gate), TENANTS, world.clock, world.outbound)
    first = asyncio.create_task(lease(world, slow, once))
    await gate.reached.wait()
    repeat = await lease(world, world.vault, once)
    gate.opened.set()
    assert essence(await first) == essence(repeat)


async def test_the_keys_of_two_identities_never_meet(world: World) -> None:
    once = Once("key", "lease", b"{}")
    ours = await world.vault.grants.grant(DEPLOY_AGENT, "db-password", None, once, world.clock())
    theirs = await world.vault.grants.grant(CI_RUNNER, "db-password", None, once, world.clock())
    assert ours.lease.id != theirs.lease.id
    assert theirs.lease.identity == CI_RUNNER.identity


async def test_a_repeated_lease_is_told_to_the_audit_as_a_value_read(world: World) -> None:
    once = Once("key", "lease", b"{}")
    first = await lease(world, world.vault, once)
    await lease(world, world.vault, once)
    told = [event.event for event in await world.audit() if event.lease_id == first.lease.id]
    assert sorted(told) == ["lease.created", "value.read"]


async def test_a_repeat_after_the_lease_was_ended_hands_nothing_over(world: World) -> None:
    once = Once("key", "lease", b"{}")
    first = await lease(world, world.vault, once)
    await world.vault.leases.revoke(DEPLOY_AGENT, first.lease.id, world.clock())
    with pytest.raises(LeaseEnded):
        await lease(world, world.vault, once)


async def test_a_repeat_after_the_lease_is_over_hands_nothing_over(world: World) -> None:
    once = Once("key", "lease", b"{}")
    await lease(world, world.vault, once)
    world.clock.pass_by(hours=1)
    with pytest.raises(LeaseEnded):
        await lease(world, world.vault, once)


async def test_a_repeat_after_a_rotation_gives_the_lease_and_value_that_were_given_first(world: World) -> None:
    once = Once("key", "lease", b"{}")
    first = await lease(world, world.vault, once)
    await world.rotate()
    again = await lease(world, world.vault, once)
    assert essence(again) == essence(first)


async def test_a_repeat_takes_no_second_place(world: World) -> None:
    await world.update(policy={"maxLeases": 2})
    once = Once("key", "lease", b"{}")
    await lease(world, world.vault, once)
    assert await lease(world, world.vault, once)
    with pytest.raises(LeaseLimitReached):
        await lease(world, world.vault, Once("another", "lease", b"{}"))


async def test_a_repeat_of_what_was_refused_is_decided_afresh(world: World) -> None:
    once = Once("key", "lease", b"{}")
    await world.vault.credentials.suspend(ALICE, "db-password", None, None, world.clock())
    with pytest.raises(CredentialNotUsable):
        await lease(world, world.vault, once)
    await world.vault.credentials.resume(ALICE, "db-password", None, None, world.clock())
    assert await lease(world, world.vault, once)


async def test_a_repeated_suspension_does_not_undo_a_later_resumption(world: World) -> None:
    once = Once("key", "suspend", b"{}")
    await suspend(world, world.vault, once)
    await world.vault.credentials.resume(ALICE, "db-password", None, None, world.clock())
    assert (await suspend(world, world.vault, once)).credential.suspended is None


async def test_a_repeated_renewal_after_a_rotation_is_told_so(world: World) -> None:
    once = Once("key", "renew", b"{}")
    await renew(world, world.vault, once)
    await world.rotate()
    with pytest.raises(VersionRotated):
        await renew(world, world.vault, once)


async def test_a_key_is_forgotten_after_a_day(world: World) -> None:
    once = Once("key", "rotate", b"{}")
    await rotate(world, world.vault, once)
    world.clock.pass_by(hours=24, seconds=1)
    await world.vault.reconcile()
    await rotate_to(world, "yet another value", Once("key", "rotate", b'{"other":1}'))
    assert (await world.vault.credentials.read(ALICE, "db-password", world.clock())).credential.newest.number == 3


async def rotate_to(world: World, value: str, once: Once) -> None:
    body = RotateCredential.model_validate({"value": value})
    await world.vault.credentials.rotate(ALICE, "db-password", body, None, once, world.clock())


@pytest.mark.parametrize("caller", [BOB, MONA], ids=lambda caller: caller.identity.id)
async def test_a_key_opens_no_door(world: World, caller: Caller) -> None:
    once = Once("key", "revoke", b"{}")
    await revoke(world, world.vault, once)
    if caller is BOB:
        with pytest.raises(NotFound):
            await world.vault.credentials.revoke(caller, "db-password", None, once, world.clock())
    else:
        assert await world.vault.credentials.revoke(caller, "db-password", None, once, world.clock())


async def test_a_key_is_not_kept_in_clear(world: World) -> None:
    await rotate(world, world.vault, Once("my-very-own-key", "rotate", b"{}"))
    table: Any = world.stores.vault
    assert "my-very-own-key" not in repr(vars(table))


async def test_a_renewal_long_after_the_first_answer_was_lost_extends_nothing(world: World) -> None:
    once = Once("key", "renew", b"{}")
    world.clock.pass_by(minutes=10)
    first = await renew(world, world.vault, once)
    world.clock.pass_by(minutes=30)
    assert (await renew(world, world.vault, once)).lease.expires_at == first.lease.expires_at
    later = await renew(world, world.vault, Once("another", "renew", b"{}"))
    assert later.lease.expires_at == first.lease.expires_at + timedelta(minutes=30)
