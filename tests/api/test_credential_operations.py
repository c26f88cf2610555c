"""What is particular to the operations on credentials."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any

import pytest

from tests.api.app import FOR_AGENTS, SECRET, App, Reply
from tests.vaults import ALICE, BOB, DEPLOY_AGENT, LOLA, MONA, NOON, VIC
from vault_core.audit import Event
from vault_core.identities import Caller

ONE = "/credentials/db-password"


@pytest.fixture
def app() -> App:
    return App()


async def patch(app: App, change: Any, caller: Caller = ALICE, media_type: str = "application/json") -> Reply:
    tag = (await app.send("GET", ONE, caller)).etag
    return await app.send("PATCH", ONE, caller, change, {"If-Match": tag, "Content-Type": media_type})


def instant(**from_now: float) -> str:
    return (NOON + timedelta(**from_now)).astimezone(UTC).isoformat().replace("+00:00", "Z")


class TestCreating:
    async def test_tells_where_the_credential_is_and_which_state_it_has(self, app: App) -> None:
        created = await app.create()
        read = await app.send("GET", created.headers["Location"].removeprefix("/api/v1"), ALICE)
        assert (read.body, read.etag) == (created.body, created.etag)

    async def test_makes_the_caller_the_owner(self, app: App) -> None:
        created = await app.create(BOB)
        assert (created["ownerId"], created["createdBy"]["email"]) == ("id-bob", "bob@contoso.example")

    async def test_echoes_what_was_given_except_the_value(self, app: App) -> None:
        given: dict[str, Any] = {
            "name": "Übersee API.key_1-x",
            "description": "of the shop",
            "metadata": {"team": "shop", "rotateEvery": "90d"},
            "environment": "test",
            "marketplaces": ["emea", "apac"],
            "validFrom": "2026-11-21T12:00:00.000Z",
            "validUntil": "2027-11-21T12:00:00.000Z",
        }
        created = (await app.create(**given)).body
        assert {name: created[name] for name in given} == given
        assert not {"value", "fields"} & set(created)

    async def test_of_a_taken_name_is_refused_whatever_its_case(self, app: App) -> None:
        await app.create()
        reply = await app.send("POST", "/credentials", BOB, SECRET | {"name": "DB-Password"})
        assert reply.code == (409, "name-taken")

    @pytest.mark.parametrize(
        ("wanted", "fields"),
        [
            ({"type": "api-key", "value": ""}, ["fields.value"]),
            ({"type": "ssh-key", "value": "no key"}, ["fields.privateKey"]),
            ({"type": "database-url", "value": "gopher://host/db"}, ["fields.url"]),
            ({"value": "x" * 25_001}, ["fields.value"]),
        ],
    )
    async def test_with_a_value_that_its_type_refuses_names_the_field(
        self, app: App, wanted: dict[str, str], fields: list[str]
    ) -> None:
        reply = await app.send("POST", "/credentials", ALICE, SECRET | wanted)
        assert reply.code == (422, "value-refused")
        assert reply.fields == fields
        assert not wanted["value"] or wanted["value"].encode() not in reply.content

    @pytest.mark.parametrize(
        ("wanted", "field"),
        [
            ({"name": ""}, "name"),
            ({"name": "a/b"}, "name"),
            ({"name": "x" * 129}, "name"),
            ({"type": "password"}, "type"),
            ({"environment": "staging"}, "environment"),
            ({"metadata": {"Refresh-Token": "x"}}, "metadata"),
            ({"metadata": {"rotateEvery": "soon"}}, "metadata"),
            ({"metadata": {f"key-{number}": "" for number in range(65)}}, "metadata"),
            ({"policy": {"maxLeases": 0}}, "policy.maxLeases"),
            ({"policy": {"maxLeaseTTL": "1h", "defaultLeaseTTL": "2h"}}, "policy.defaultLeaseTTL"),
            ({"policy": {"allowedIdentities": [{"type": "any", "name": "x"}]}}, "policy.allowedIdentities.0.name"),
            ({"validFrom": instant(hours=1), "validUntil": instant()}, "validUntil"),
            ({"validFrom": "2026-11-21"}, "validFrom"),
            ({"fields": {"value": "x"}}, ""),
        ],
    )
    async def test_with_a_wrong_field_names_it(self, app: App, wanted: Any, field: str) -> None:
        reply = await app.send("POST", "/credentials", ALICE, SECRET | wanted)
        assert reply.code == (400, "invalid-input")
        assert reply.fields == [field]

    async def test_may_be_repeated_with_its_key(self, app: App) -> None:
        key = {"Idempotency-Key": "k-1"}
        first, again = [await app.send("POST", "/credentials", ALICE, SECRET, key) for _ in range(2)]
        assert (again.status, again.body, again.headers["Location"]) == (201, first.body, first.headers["Location"])
        other = await app.send("POST", "/credentials", ALICE, SECRET | {"value": "other"}, key)
        assert other.code == (409, "idempotency-key-reused")

    async def test_with_a_key_that_cannot_be_kept_is_refused(self, app: App) -> None:
        reply = await app.send("POST", "/credentials", ALICE, SECRET, {"Idempotency-Key": "a b"})
        assert (reply.code, reply.fields) == ((400, "invalid-input"), ["Idempotency-Key"])

    async def test_needs_more_than_a_viewer(self, app: App) -> None:
        assert (await app.send("POST", "/credentials", VIC, SECRET)).code == (403, "access-denied")


class TestPatching:
    async def test_changes_what_is_given_and_leaves_the_rest(self, app: App) -> None:
        await app.create(description="old", metadata={"team": "shop", "tier": "1"}, marketplaces=["emea"])
        changed = await patch(app, {"description": "new", "metadata": {"tier": None, "city": "Berlin"}})
        assert changed.status == 200
        assert changed["description"] == "new"
        assert changed["metadata"] == {"team": "shop", "city": "Berlin"}
        assert changed["marketplaces"] == ["emea"]

    async def test_with_null_returns_to_the_default(self, app: App) -> None:
        policy = {"maxLeases": 3, "maxLeaseTTL": "2h", "rotateEvery": "90d"}
        await app.create(
            description="d",
            metadata={"a": "b"},
            environment="test",
            marketplaces=["emea"],
            validFrom=instant(),
            validUntil=instant(days=1),
            policy=policy,
        )
        part = await patch(app, {"policy": {"maxLeases": None}})
        assert part["policy"] == {"maxLeaseTTL": "2h", "rotateEvery": "90d"}
        names = ("description", "metadata", "environment", "marketplaces", "validFrom", "validUntil", "policy")
        whole = (await patch(app, dict.fromkeys(names))).body
        assert {name: whole.get(name) for name in names} == {
            "description": "",
            "metadata": {},
            "environment": "production",
            "marketplaces": [],
            "validFrom": None,
            "validUntil": None,
            "policy": {},
        }

    async def test_of_the_metadata_alone_keeps_policy_and_value(self, app: App) -> None:
        before = (await app.create(**FOR_AGENTS)).body
        after = (await patch(app, {"metadata": {"team": "shop"}})).body
        changed = {name for name in before if before[name] != after[name]}
        assert changed <= {"metadata", "updatedAt"}
        assert after["version"] == 1
        lease = await app.send("POST", "/leases", DEPLOY_AGENT, {"credential": "db-password"})
        assert lease["value"] == "correct horse"

    async def test_takes_a_merge_patch_or_json(self, app: App) -> None:
        await app.create()
        for media_type in ("application/merge-patch+json", "application/json"):
            assert (await patch(app, {"description": "new"}, media_type=media_type)).status == 200

    async def test_on_a_tag_that_was_overtaken_is_refused(self, app: App) -> None:
        tag = (await app.create()).etag
        first = await app.send("PATCH", ONE, ALICE, {"description": "1"}, {"If-Match": f"W/{tag}"})
        second = await app.send("PATCH", ONE, ALICE, {"description": "2"}, {"If-Match": tag})
        assert (first.status, second.code) == (200, (412, "stale-version"))
        assert first.etag != tag

    async def test_that_would_leave_no_time_to_be_valid_is_refused(self, app: App) -> None:
        await app.create(validFrom=instant(days=2))
        reply = await patch(app, {"validUntil": instant(days=1)})
        assert (reply.code, reply.fields) == ((400, "invalid-input"), ["validUntil"])

    @pytest.mark.parametrize("field", ["type", "value", "fields", "ownerId", "id", "state"])
    async def test_of_what_cannot_be_patched_is_refused(self, app: App, field: str) -> None:
        await app.create()
        assert (await patch(app, {field: "x"})).fields == [field]

    async def test_of_the_name_to_none_is_refused(self, app: App) -> None:
        await app.create()
        assert (await patch(app, {"name": None})).fields == ["name"]

    async def test_is_for_the_owner_and_managers(self, app: App) -> None:
        await app.create(**FOR_AGENTS)
        assert (await patch(app, {"description": "m"}, MONA)).status == 200
        assert (await patch(app, {"description": "a"}, DEPLOY_AGENT)).code == (403, "access-denied")
        reply = await app.send("PATCH", ONE, BOB, {"description": "b"}, {"If-Match": '"x.0"'})
        assert reply.code == (404, "not-found")


class TestRotating:
    async def test_makes_a_new_version_under_a_new_tag(self, app: App) -> None:
        before = await app.create()
        after = await app.send("POST", f"{ONE}/rotate", ALICE, {"value": "new"}, {"If-Match": before.etag})
        assert (after.status, after["version"], after["state"]) == (200, 2, "active")
        assert after.etag != before.etag
        versions = (await app.send("GET", f"{ONE}/versions", ALICE))["items"]
        assert [(one["number"], one["state"]) for one in versions] == [(2, "active"), (1, "rotated")]

    async def test_to_the_same_value_is_refused(self, app: App) -> None:
        await app.create()
        reply = await app.send("POST", f"{ONE}/rotate", ALICE, {"value": "correct horse"})
        assert (reply.code, reply.fields) == ((422, "value-refused"), ["fields.value"])

    async def test_of_a_database_url_to_another_host_must_be_meant(self, app: App) -> None:
        await app.create(type="database-url", value="postgresql://u:p@one/db")
        elsewhere = {"value": "postgresql://u:p@two/db"}
        refused = await app.send("POST", f"{ONE}/rotate", ALICE, elsewhere)
        assert refused.code == (422, "value-refused")
        meant = await app.send("POST", f"{ONE}/rotate", ALICE, elsewhere | {"allowTargetChange": True})
        assert (meant.status, meant["details"]["host"]) == (200, "two")

    async def test_may_be_repeated_with_its_key(self, app: App) -> None:
        await app.create()
        replies = [
            await app.send("POST", f"{ONE}/rotate", ALICE, {"value": "new"}, {"Idempotency-Key": "k"}) for _ in "ab"
        ]
        assert [(reply.status, reply["version"]) for reply in replies] == [(200, 2), (200, 2)]
        other = await app.send("POST", f"{ONE}/rotate", ALICE, {"value": "newer"}, {"Idempotency-Key": "k"})
        assert other.code == (409, "idempotency-key-reused")

    async def test_is_refused_on_a_tag_that_was_overtaken(self, app: App) -> None:
        tag = (await app.create()).etag
        await patch(app, {"description": "x"})
        reply = await app.send("POST", f"{ONE}/rotate", ALICE, {"value": "new"}, {"If-Match": tag})
        assert reply.code == (412, "stale-version")


class TestRevoking:
    async def test_is_final(self, app: App) -> None:
        await app.create()
        revoked = await app.send("POST", f"{ONE}/revoke", MONA, {"reason": "it leaked"})
        assert (revoked.status, revoked["state"], revoked["revokedReason"]) == (200, "revoked", "it leaked")
        after = [
            await app.send("POST", f"{ONE}/rotate", ALICE, {"value": "new"}),
            await app.send("POST", f"{ONE}/suspend", ALICE),
            await patch(app, {"description": "x"}),
        ]
        assert {reply.code for reply in after} == {(409, "credential-revoked")}
        assert (await app.send("GET", ONE, ALICE)).body == revoked.body

    async def test_may_be_repeated(self, app: App) -> None:
        await app.create()
        replies = [await app.send("POST", f"{ONE}/revoke", ALICE) for _ in range(3)]
        assert len({(reply.status, reply.etag) for reply in replies}) == 1
        assert [event.event for event in await app.world.audit()].count(Event.CREDENTIAL_REVOKED) == 1


class TestSuspending:
    async def test_and_resuming_show_in_the_status(self, app: App) -> None:
        await app.create()
        suspended = await app.send("POST", f"{ONE}/suspend", ALICE, {"reason": "a pause"})
        assert (suspended["status"], suspended["suspended"]["reason"]) == ("inactive", "a pause")
        resumed = await app.send("POST", f"{ONE}/resume", ALICE)
        assert (resumed["status"], "suspended" in resumed.body) == ("active", False)

    @pytest.mark.parametrize("reason", ["x" * 257, "a\nb", 7])
    async def test_with_a_reason_that_cannot_be_shown_is_refused(self, app: App, reason: object) -> None:
        await app.create()
        assert (await app.send("POST", f"{ONE}/suspend", ALICE, {"reason": reason})).fields == ["reason"]


class TestDeleting:
    async def test_frees_the_name_and_leaves_nothing_to_find(self, app: App) -> None:
        created = await app.create()
        deleted = await app.send("DELETE", ONE, ALICE, headers={"If-Match": created.etag})
        assert (deleted.status, deleted.content) == (204, b"")
        for reference in (created["id"], "db-password"):
            assert (await app.send("GET", f"/credentials/{reference}", ALICE)).code == (404, "not-found")
        assert (await app.send("GET", "/credentials", ALICE))["items"] == []
        assert (await app.create(BOB))["id"] != created["id"]


class TestTransferring:
    async def test_makes_another_the_owner(self, app: App) -> None:
        await app.create()
        assert (await app.send("PUT", f"{ONE}/owner/id-bob", ALICE))["ownerId"] == "id-bob"
        assert (await app.send("GET", ONE, ALICE)).status == 404
        assert (await app.send("GET", ONE, BOB)).status == 200

    async def test_is_for_the_owner_and_locker_admins_but_not_for_managers(self, app: App) -> None:
        await app.create()
        assert (await app.send("PUT", f"{ONE}/owner/id-bob", MONA)).code == (403, "access-denied")
        assert (await app.send("PUT", f"{ONE}/owner/id-bob", LOLA)).status == 200

    @pytest.mark.parametrize("owner", ["a%20b", "%2e%2e%27", "x" * 129, "%C3%A9"])
    async def test_to_what_is_no_identity_is_refused(self, app: App, owner: str) -> None:
        await app.create()
        reply = await app.send("PUT", f"{ONE}/owner/{owner}", ALICE)
        assert (reply.code, reply.fields) == ((400, "invalid-input"), ["owner"])


async def test_versions_count_their_active_leases(app: App) -> None:
    await app.create(**FOR_AGENTS)
    for _ in range(2):
        await app.send("POST", "/leases", DEPLOY_AGENT, {"credential": "db-password", "ttl": "10m"})
    await app.send("POST", f"{ONE}/rotate", ALICE, {"value": "new"})
    versions = (await app.send("GET", f"{ONE}/versions", ALICE))["items"]
    assert [(one["number"], one["activeLeases"], one["kept"]) for one in versions] == [(2, 0, True), (1, 2, True)]
