"""Credentials as callers meet them: created, read, changed, handed to another owner, deleted."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.records import a_credential
from tests.vaults import ALICE, BOB, DEPLOY_AGENT, LOLA, MONA, NOON, TENANTS, World
from tests.workers import another_worker
from vault_core.credential import Credential, Status, status
from vault_core.credential_requests import CreateCredential, UpdateCredential
from vault_core.errors import (
    AccessDenied,
    CredentialChanged,
    CredentialRevoked,
    InvalidInput,
    NameTaken,
    NotFound,
    SecretMissing,
    StaleVersion,
    ValueRefused,
)
from vault_core.grants import Granted
from vault_core.policies import LeasePolicy
from vault_core.stores import Condition, Discard, Keys, Page, Partitions, Table
from vault_core.vault import Vault

HOUR = timedelta(hours=1)


@pytest.fixture
def world() -> World:
    return World()


async def tag(world: World, reference: str = "db-password") -> str:
    shown = await world.vault.credentials.read(ALICE, reference, world.clock())
    return shown.credential.tag(status(shown.credential, world.clock(), shown.rules.notice_period))


async def update(world: World, if_match: str | None, **patch: object) -> Credential:
    body = UpdateCredential.model_validate(patch)
    return (await world.vault.credentials.update(ALICE, "db-password", body, if_match, world.clock())).credential


async def intents(world: World, task: str) -> int:
    rows = (await world.stores.vault.query(Keys("contoso", "intent:", "intent;"))).rows
    return sum(f"|{task}|" in row.key for row in rows)


class Vanishing:
    """A table in which a row goes as soon as it was listed among all of its partition."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.read, self.commit = table.read, table.commit

    async def query(self, span: Keys | Partitions, *, where: Condition | None = None, limit: int = 1000) -> Page:
        page = await self._table.query(span, where=where, limit=limit)
        if isinstance(span, Keys) and span.start == "" and page.rows:
            await self._table.commit(Discard(page.rows[0].partition, page.rows[0].key))
        return page


class TestCreating:
    async def test_the_creator_is_the_owner(self, world: World) -> None:
        credential = await world.create()
        assert (credential.owner_id, credential.created_by, credential.created_at) == ("id-alice", ALICE.identity, NOON)

    async def test_what_was_asked_for_is_what_is_read(self, world: World) -> None:
        created = await world.create(
            description="the database",
            metadata={"team": "blue"},
            environment="test",
            marketplaces=["azure"],
            validFrom="2026-11-21T12:00:00Z",
            validUntil="2027-01-01T00:00:00+02:00",
            policy={"maxLeases": 3},
        )
        shown = await world.vault.credentials.read(ALICE, created.id, NOON)
        assert shown.credential.but(rotation_look_at=None) == created.but(rotation_look_at=None)
        assert (created.description, created.metadata, created.marketplaces) == (
            "the database",
            {"team": "blue"},
            ("azure",),
        )
        assert created.valid_until is not None
        assert created.valid_until.isoformat() == "2026-12-31T22:00:00+00:00"

    async def test_ids_are_in_order_of_creation(self, world: World) -> None:
        ids = []
        for number in range(5):
            ids.append((await world.create(name=f"credential-{number}")).id)
            world.clock.pass_by(milliseconds=1)
        assert ids == sorted(ids)

    async def test_of_two_creations_of_one_name_at_once_one_wins(self, world: World) -> None:
        attempts = (world.create(BOB if number % 2 else ALICE, value=f"value-{number}") for number in range(6))
        answers = await asyncio.gather(*attempts, return_exceptions=True)
        assert Counter(type(answer) for answer in answers) == {Credential: 1, NameTaken: 5}

    async def test_a_creation_that_loses_leaves_no_value_behind(self, world: World) -> None:
        await world.create()
        world.ledger.calls.clear()
        with pytest.raises(NameTaken):
            await world.create(BOB)
        [name] = [call.subject for call in world.ledger.calls if (call.store, call.method) == ("secrets", "write")]
        with pytest.raises(SecretMissing):
            await world.stores.secrets.read(name)
        assert await intents(world, "discard-value") == 0
        outcomes = [event.outcome for event in await world.audit() if event.identity == BOB.identity]
        assert sorted(outcomes) == ["allowed", "failed"]

    async def test_a_value_that_its_type_refuses_is_not_kept(self, world: World) -> None:
        with pytest.raises(ValueRefused):
            await world.create(type="ssh-key", value="no key at all")
        assert world.ledger.total == 0

    @pytest.mark.parametrize("given_twice", [{"value": "a", "fields": {"value": "a"}}, {}])
    def test_a_value_is_given_in_one_way(self, given_twice: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            CreateCredential.model_validate({"name": "x", "type": "generic-secret"} | given_twice)

    async def test_a_credential_that_would_never_be_valid_is_refused(self, world: World) -> None:
        with pytest.raises(InvalidInput) as refused:
            await world.create(validFrom="2027-01-02T00:00:00Z", validUntil="2027-01-01T00:00:00Z")
        assert [fault.field for fault in refused.value.errors] == ["validUntil"]

    async def test_a_default_ttl_over_the_maximum_is_refused(self, world: World) -> None:
        with pytest.raises(InvalidInput) as refused:
            await world.create(policy={"defaultLeaseTTL": "2h", "maxLeaseTTL": "1h"})
        assert [fault.field for fault in refused.value.errors] == ["policy.defaultLeaseTTL"]

    async def test_an_own_value_can_be_recognised_again_without_being_shown(self, world: World) -> None:
        one = await world.create(name="one", value="same")
        two = await world.create(name="two", value="same")
        other = await world.create(name="other", value="other")
        assert one.newest.fingerprint == two.newest.fingerprint != other.newest.fingerprint


class TestMetadata:
    @pytest.mark.parametrize("key", ["password", "PASSWORD", "pass_phrase", "refresh-token", "privateKey", "Secret"])
    def test_a_key_that_names_secret_material_is_refused(self, key: str) -> None:
        for model, more in (
            (CreateCredential, {"name": "x", "type": "api-key", "value": "v"}),
            (UpdateCredential, {}),
        ):
            with pytest.raises(ValidationError, match="put it into `fields`"):
                model.model_validate({**more, "metadata": {key: "hunter2"}})

    @pytest.mark.parametrize(
        "metadata",
        [
            {str(number): "x" for number in range(65)},
            {"k" * 129: "x"},
            {"": "x"},
            {"k": "v" * 513},
            {"k": 1},
            {"rotateEvery": "whenever"},
        ],
    )
    def test_metadata_is_bounded(self, metadata: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            CreateCredential.model_validate({"name": "x", "type": "api-key", "value": "v", "metadata": metadata})

    def test_the_bounds_themselves_are_allowed(self) -> None:
        metadata = {f"{number:0128}": "v" * 512 for number in range(64)}
        assert CreateCredential.model_validate({"name": "x", "type": "api-key", "value": "v", "metadata": metadata})

    async def test_metadata_grows_no_larger_by_changes(self, world: World) -> None:
        await world.create(metadata={f"a{number}": "x" for number in range(40)})
        with pytest.raises(InvalidInput):
            await world.update(metadata={f"b{number}": "x" for number in range(25)})

    async def test_a_metadata_only_update_keeps_the_value_and_the_rest(self, world: World) -> None:
        before = await world.create_for_agents(description="kept", metadata={"a": "1", "b": "2"})
        after = await world.update(metadata={"b": None, "c": "3"})
        assert after.metadata == {"a": "1", "c": "3"}
        assert after.but(metadata=before.metadata, revision=0) == before
        assert (await world.lease()).value.get_secret_value() == "correct horse"


class TestUpdating:
    async def test_what_a_patch_leaves_out_stays_and_null_returns_to_the_default(self, world: World) -> None:
        await world.create(
            description="old", environment="test", validUntil="2027-01-01T00:00:00Z", metadata={"a": "1"}
        )
        after = await world.update(description=None, environment=None, validUntil=None)
        assert (after.description, after.environment, after.valid_until) == ("", "production", None)
        assert after.metadata == {"a": "1"}

    async def test_a_policy_is_merged_rule_by_rule(self, world: World) -> None:
        await world.create(policy={"maxLeases": 3, "maxLeaseTTL": "2h"})
        after = await world.update(policy={"maxLeases": None, "defaultLeaseTTL": "1h"})
        assert after.policy == LeasePolicy(max_lease_ttl=2 * HOUR, default_lease_ttl=HOUR)
        assert (await world.update(policy=None)).policy == LeasePolicy()

    async def test_a_change_of_policy_is_told_as_such(self, world: World) -> None:
        await world.create()
        await world.update(policy={"maxLeases": 3}, description="new")
        told = {event.event: event.details for event in await world.audit() if event.event != "credential.created"}
        assert told == {
            "credential.updated": {"fields": ["description", "policy"]},
            "policy.updated": {"policy": {"maxLeases": 3}},
        }

    async def test_a_change_tells_who_and_when(self, world: World) -> None:
        await world.create()
        world.clock.pass_by(hours=1)
        after = await world.update(MONA, description="new")
        assert (after.updated_by, after.updated_at, after.created_by) == (MONA.identity, NOON + HOUR, ALICE.identity)

    async def test_a_change_that_was_decided_on_an_older_state_is_refused(self, world: World) -> None:
        await world.create()
        seen = await tag(world)
        await update(world, seen, description="first")
        with pytest.raises(StaleVersion):
            await update(world, seen, description="second")
        assert (await update(world, await tag(world), description="third")).description == "third"

    async def test_that_time_passed_is_no_change_that_a_writer_could_undo(self, world: World) -> None:
        await world.create(validUntil="2026-11-22T12:00:00Z", validFrom="2026-11-21T13:00:00Z")
        seen = await tag(world)
        world.clock.pass_by(hours=2)
        assert await tag(world) != seen
        assert await update(world, seen, description="new")

    async def test_what_a_timer_noted_is_no_change_that_a_writer_could_undo(self, world: World) -> None:
        await world.create(validUntil="2026-11-22T12:00:00Z")
        seen = await tag(world)
        world.clock.pass_by(minutes=1)
        assert (await world.vault.check_rotations()).done == 1
        assert await update(world, seen, description="new")

    async def test_the_tag_of_another_credential_does_not_match(self, world: World) -> None:
        await world.create()
        await world.create(name="another")
        with pytest.raises(StaleVersion):
            await update(world, await tag(world, "another"), description="new")

    async def test_changes_at_once_lose_nothing(self, world: World) -> None:
        await world.create()
        patches = [UpdateCredential.model_validate({"metadata": {f"key{number}": "x"}}) for number in range(4)]
        await asyncio.gather(
            *(world.vault.credentials.update(ALICE, "db-password", patch, None, NOON) for patch in patches)
        )
        shown = await world.vault.credentials.read(ALICE, "db-password", NOON)
        assert len(shown.credential.metadata) == 4

    async def test_of_changes_at_once_on_the_same_state_one_wins(self, world: World) -> None:
        await world.create()
        seen = await tag(world)
        answers = await asyncio.gather(
            *(update(world, seen, description=f"text-{number}") for number in range(5)), return_exceptions=True
        )
        assert Counter(type(answer) for answer in answers) == {Credential: 1, StaleVersion: 4}
        failed = [event for event in await world.audit() if event.outcome == "failed"]
        assert {event.details["code"] for event in failed} == {"stale-version"}

    async def test_a_revoked_credential_is_changed_no_more(self, world: World) -> None:
        await world.create()
        await world.revoke()
        with pytest.raises(CredentialRevoked):
            await world.update(description="new")

    @pytest.mark.parametrize("patch", [{"name": None}, {"ownerId": "id-bob"}, {"type": "api-key"}, {"value": "x"}])
    def test_what_is_fixed_cannot_be_patched(self, patch: dict[str, str | None]) -> None:
        with pytest.raises(ValidationError):
            UpdateCredential.model_validate(patch)


class TestTransferring:
    async def test_the_new_owner_has_the_rights_and_the_old_one_has_not(self, world: World) -> None:
        await world.create()
        await world.vault.credentials.transfer(ALICE, "db-password", "id-bob", NOON)
        assert await world.lease(BOB)
        assert await world.update(BOB, description="mine")
        with pytest.raises(NotFound):
            await world.vault.credentials.read(ALICE, "db-password", NOON)

    async def test_a_locker_admin_may_transfer_anything_and_reads_nothing(self, world: World) -> None:
        await world.create()
        assert await world.vault.credentials.transfer(LOLA, "db-password", "id-bob", NOON)
        with pytest.raises(AccessDenied):
            await world.lease(LOLA)

    async def test_a_manager_may_not_give_away_what_is_anothers(self, world: World) -> None:
        await world.create()
        with pytest.raises(AccessDenied):
            await world.vault.credentials.transfer(MONA, "db-password", "id-mona", NOON)

    async def test_a_transfer_to_the_owner_changes_nothing(self, world: World) -> None:
        before = await world.create()
        shown = await world.vault.credentials.transfer(ALICE, "db-password", "id-alice", NOON)
        assert shown.credential.revision == before.revision
        assert "credential.owner_changed" not in {event.event for event in await world.audit()}


class TestDeleting:
    async def test_nothing_of_it_is_left(self, world: World) -> None:
        credential = await world.create_for_agents(policy={"maxLeases": 3})
        await world.lease()
        await world.rotate()
        versions = (await world.vault.credentials.read(ALICE, "db-password", NOON)).credential.versions
        await world.vault.credentials.delete(ALICE, "db-password", None, NOON)
        rows = (await world.stores.vault.query(Keys("contoso", " ", "~"))).rows
        assert not [row.key for row in rows if credential.id in row.key and not row.key.startswith("intent:")]
        assert not [row.key for row in rows if row.key.startswith("name:")]
        assert not (await world.stores.leases.query(Keys(f"contoso|{credential.id}", " ", "~"))).rows
        for version in versions:
            with pytest.raises(SecretMissing):
                await world.stores.secrets.read(version.secret or "")

    async def test_its_leases_end_and_are_told(self, world: World) -> None:
        await world.create_for_agents()
        lease_id = (await world.lease()).lease.id
        await world.vault.credentials.delete(ALICE, "db-password", None, NOON)
        with pytest.raises(NotFound):
            await world.vault.leases.read(DEPLOY_AGENT, lease_id, NOON)
        events = [event.event for event in await world.audit() if event.lease_id == lease_id]
        assert sorted(events)[:3] == ["access.denied", "lease.created", "lease.revoked"]

    async def test_deleting_what_changed_since_it_was_read_is_refused(self, world: World) -> None:
        await world.create()
        seen = await tag(world)
        await world.update(description="new")
        with pytest.raises(StaleVersion):
            await world.vault.credentials.delete(ALICE, "db-password", seen, NOON)

    async def test_of_two_deletions_at_once_both_end_well_or_find_nothing(self, world: World) -> None:
        await world.create_for_agents()
        for _ in range(3):
            await world.lease()
        deletions = (world.vault.credentials.delete(ALICE, "db-password", None, NOON) for _ in range(3))
        answers = await asyncio.gather(*deletions, return_exceptions=True)
        assert {type(answer) for answer in answers} <= {type(None), NotFound}
        with pytest.raises(NotFound):
            await world.vault.credentials.read(ALICE, "db-password", NOON)

    async def test_a_deletion_among_leases_that_come_and_go_succeeds(self, world: World) -> None:
        await world.create_for_agents()
        other = another_worker(world)
        await other.grants.grant(DEPLOY_AGENT, "db-password", None, None, NOON)

        async def lease_later(turns: int) -> Granted:
            for _ in range(turns):
                await asyncio.sleep(0)
            return await other.grants.grant(DEPLOY_AGENT, "db-password", None, None, NOON)

        deleted, *answers = await asyncio.gather(
            world.vault.credentials.delete(ALICE, "db-password", None, NOON),
            *map(lease_later, range(100)),
            return_exceptions=True,
        )
        assert deleted is None
        assert {type(answer) for answer in answers} == {NotFound, Granted}
        assert (await world.stores.leases.query(Partitions("contoso|", "contoso}"))).rows == []

    async def test_a_lease_that_is_withdrawn_while_leases_are_removed_does_not_stop_the_deletion(
        self, world: World
    ) -> None:
        await world.create_for_agents()
        for _ in range(3):
            await world.lease()
        worker = Vault(
            replace(world.stores, leases=Vanishing(world.stores.leases)), TENANTS, world.clock, world.outbound
        )
        await worker.credentials.delete(ALICE, "db-password", None, NOON)
        assert (await world.stores.leases.query(Partitions("contoso|", "contoso}"))).rows == []

    async def test_a_rotation_that_meets_the_deletion_leaves_no_value(self, world: World) -> None:
        await world.create()
        world.ledger.calls.clear()
        answers = await asyncio.gather(
            world.vault.credentials.delete(ALICE, "db-password", None, NOON), world.rotate(), return_exceptions=True
        )
        assert {type(answer) for answer in answers} <= {type(None), NotFound, CredentialChanged, Credential}
        world.clock.pass_by(minutes=11)
        await world.vault.reconcile()
        written = [call.subject for call in world.ledger.calls if (call.store, call.method) == ("secrets", "write")]
        for name in written:
            with pytest.raises(SecretMissing):
                await world.stores.secrets.read(name)


class TestStatus:
    @given(
        starts=st.none() | st.integers(-5, 5),
        lasts=st.none() | st.integers(1, 5),
        ends_in=st.none() | st.integers(-5, 5),
        notice=st.integers(0, 5),
    )
    def test_a_credential_can_be_leased_within_its_bounds_only(
        self, starts: int | None, lasts: int | None, ends_in: int | None, notice: int
    ) -> None:
        valid_from = None if starts is None else NOON + starts * HOUR
        until = None if lasts is None else (valid_from or NOON - HOUR) + lasts * HOUR
        own_end = None if ends_in is None else NOON + ends_in * HOUR
        credential = a_credential(valid_from=valid_from, valid_until=until, ends_at=own_end)
        ends = [end for end in (until, own_end) if end]
        now = status(credential, NOON, notice * HOUR)
        if any(end <= NOON for end in ends):
            assert now is Status.EXPIRED
        elif valid_from and valid_from > NOON:
            assert now is Status.PENDING
        elif any(end - notice * HOUR <= NOON for end in ends):
            assert now is Status.EXPIRING
        else:
            assert now is Status.ACTIVE
