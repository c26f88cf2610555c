"""What is particular to the operations on lockers. Who may do what is in `test_permissions.py`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.api.app import App, Reply
from tests.vaults import ALICE, BOB, DEPLOY_AGENT, LOLA, OTTO
from vault_core.identities import Caller
from vault_core.locker import MAX_CONSUMERS, MAX_MEMBERS

SHOP = "/lockers/shop"
INSIDE = f"{SHOP}/credentials/db-password"
KEY = {"Idempotency-Key": "k-1"}
BOT = replace(DEPLOY_AGENT, other_roles=frozenset({"finance-bots"}))


@pytest.fixture
def app() -> App:
    return App()


async def create(app: App, caller: Caller = ALICE, **wanted: Any) -> Reply:
    reply = await app.send("POST", "/lockers", caller, {"name": "shop"} | wanted)
    assert reply.status == 201, reply.body
    return reply


async def read(app: App, caller: Caller = ALICE) -> Reply:
    return await app.send("GET", SHOP, caller)


async def put(app: App, path: str, body: Any = None, caller: Caller = ALICE) -> Reply:
    reply = await app.send("PUT", path, caller, body)
    assert reply.status == 200, reply.body
    return reply


async def told(app: App, event: str) -> list[Any]:
    items = (await app.send("GET", f"/audit?event={event}", OTTO))["items"]
    return [one["details"] for one in items]


class TestCreating:
    async def test_makes_the_caller_the_only_member_and_owner(self, app: App) -> None:
        created = await create(app, BOB, name="Übersee shop_1.x", description="of the office")
        assert (created["name"], created["description"]) == ("Übersee shop_1.x", "of the office")
        assert created["members"] == [{"id": "id-bob", "permissions": ["own"]}]
        assert (created["consumers"], created["credentials"]) == ([], 0)
        assert created["createdBy"] == created["updatedBy"] == BOB.identity.document()

    async def test_tells_where_the_locker_is_and_which_state_it_has(self, app: App) -> None:
        created = await create(app)
        there = await app.send("GET", created.headers["Location"].removeprefix("/api/v1"), ALICE)
        assert (there.body, there.etag) == (created.body, created.etag)

    @pytest.mark.parametrize("name", ["shop", "SHOP", "\uff53\uff48\uff4f\uff50"])
    async def test_of_a_taken_name_is_refused_in_whatever_form(self, app: App, name: str) -> None:
        await create(app)
        assert (await app.send("POST", "/lockers", BOB, {"name": name})).code == (409, "name-taken")

    async def test_takes_no_name_from_credentials(self, app: App) -> None:
        await app.create(name="shop")
        assert (await create(app))["name"] == "shop"

    @pytest.mark.parametrize(
        ("given", "field"),
        [
            ({"name": ""}, "name"),
            ({"name": "x" * 51}, "name"),
            ({"name": "a/b"}, "name"),
            ({"name": " shop"}, "name"),
            ({"name": None}, "name"),
            ({}, "name"),
            ({"name": "oauth_bots"}, "name"),
            ({"name": "OAuth_bots"}, "name"),
            ({"name": "shop", "description": "x" * 256}, "description"),
            ({"name": "shop", "members": []}, "members"),
        ],
        ids=[
            "empty",
            "too long",
            "with a slash",
            "with a space before",
            "null",
            "missing",
            "reserved",
            "reserved, in capitals",
            "long description",
            "with members",
        ],
    )
    async def test_of_what_a_locker_cannot_be_names_the_field(
        self, app: App, given: dict[str, Any], field: str
    ) -> None:
        reply = await app.send("POST", "/lockers", ALICE, given)
        assert (reply.code, reply.fields) == ((400, "invalid-input"), [field])

    async def test_of_the_longest_name_and_description_works(self, app: App) -> None:
        created = await create(app, name="x" * 50, description="y" * 255)
        assert (created["name"], created["description"]) == ("x" * 50, "y" * 255)

    async def test_again_with_the_same_key_gives_the_same_locker(self, app: App) -> None:
        first, again = [await app.send("POST", "/lockers", ALICE, {"name": "shop"}, KEY) for _ in range(2)]
        assert (first.status, first.body, first.headers["Location"]) == (
            again.status,
            again.body,
            again.headers["Location"],
        )
        assert len((await app.send("GET", "/lockers", ALICE))["items"]) == 1
        assert len(await told(app, "locker.created")) == 1

    async def test_of_another_with_the_same_key_is_refused(self, app: App) -> None:
        await app.send("POST", "/lockers", ALICE, {"name": "shop"}, KEY)
        reply = await app.send("POST", "/lockers", ALICE, {"name": "office"}, KEY)
        assert reply.code == (409, "idempotency-key-reused")

    async def test_is_not_repeated_by_a_key_once_the_locker_was_deleted(self, app: App) -> None:
        await app.send("POST", "/lockers", ALICE, {"name": "shop"}, KEY)
        await app.send("DELETE", SHOP, ALICE)
        assert (await app.send("POST", "/lockers", ALICE, {"name": "shop"}, KEY)).code == (404, "not-found")


class TestReading:
    @pytest.mark.parametrize("reference", ["shop", "SHOP"])
    async def test_by_name_or_id_is_the_same(self, app: App, reference: str) -> None:
        created = await create(app)
        assert (await app.send("GET", f"/lockers/{reference}", ALICE)).body == created.body
        assert (await app.send("GET", f"/lockers/{created['id'].upper()}", ALICE)).body == created.body

    async def test_what_has_not_changed_is_not_sent_again(self, app: App) -> None:
        tag = (await create(app)).etag
        reply = await app.send("GET", SHOP, ALICE, headers={"If-None-Match": tag})
        assert (reply.status, reply.content) == (304, b"")

    @pytest.mark.parametrize("path", [f"{SHOP}/members/id-bob", f"{SHOP}/consumers/finance-bots", INSIDE])
    async def test_tells_of_every_change(self, app: App, path: str) -> None:
        tag = (await create(app)).etag
        await app.create()
        await put(app, path, {"permissions": ["manage"]} if "members" in path else None)
        reply = await app.send("GET", SHOP, ALICE, headers={"If-None-Match": tag})
        assert reply.status == 200
        assert reply.etag != tag


class TestListing:
    async def test_goes_page_by_page_in_the_order_of_creation(self, app: App) -> None:
        names = [f"locker {number}" for number in range(5)]
        for name in names:
            await create(app, name=name)
            app.world.clock.pass_by(seconds=1)
        await create(app, BOB, name="of bob")
        seen, pages, query = [], 0, "?limit=2"
        while query:
            page = (await app.send("GET", f"/lockers{query}", ALICE)).body
            seen += [one["name"] for one in page["items"]]
            pages += 1
            query = f"?limit=2&cursor={page['next']}" if "next" in page else ""
        assert (seen, pages) == (names, 3)

    async def test_a_last_page_that_is_full_has_no_next(self, app: App) -> None:
        for name in ("a", "b"):
            await create(app, name=name)
        assert (await app.send("GET", "/lockers?limit=2", ALICE)).body.keys() == {"items"}

    async def test_shows_a_locker_admin_all_of_the_tenant(self, app: App) -> None:
        for owner, name in ((ALICE, "a"), (BOB, "b")):
            await create(app, owner, name=name)
        assert {one["name"] for one in (await app.send("GET", "/lockers", LOLA))["items"]} == {"a", "b"}


class TestReplacing:
    async def replace(self, app: App, tag: str, **wanted: Any) -> Reply:
        return await app.send("PUT", SHOP, ALICE, {"name": "shop"} | wanted, {"If-Match": tag})

    async def test_changes_name_and_description_and_frees_the_name(self, app: App) -> None:
        created = await create(app, description="old")
        app.world.clock.pass_by(minutes=1)
        reply = await self.replace(app, created.etag, name="office")
        assert (reply.status, reply["id"]) == (200, created["id"])
        assert (reply["name"], reply["description"]) == ("office", "")
        assert reply["updatedAt"] > created["updatedAt"]
        assert (await read(app)).code == (404, "not-found")
        assert (await app.send("GET", "/lockers/office", ALICE)).etag == reply.etag
        assert (await create(app, BOB))["name"] == "shop"

    async def test_may_change_the_form_of_its_own_name(self, app: App) -> None:
        created = await create(app)
        assert (await self.replace(app, created.etag, name="Shop"))["name"] == "Shop"
        assert (await read(app))["name"] == "Shop"

    async def test_by_a_name_that_is_taken_is_refused_and_changes_nothing(self, app: App) -> None:
        created = await create(app)
        await create(app, BOB, name="office")
        assert (await self.replace(app, created.etag, name="Office")).code == (409, "name-taken")
        assert (await read(app)).body == created.body

    async def test_needs_the_tag_of_what_was_read(self, app: App) -> None:
        created = await create(app)
        reply = await app.send("PUT", SHOP, ALICE, {"name": "office"})
        assert reply.code == (428, "precondition-required")
        await self.replace(app, created.etag, description="second")
        assert (await self.replace(app, created.etag, description="third")).code == (412, "stale-version")
        assert (await read(app))["description"] == "second"

    async def test_undoes_nothing_when_members_changed_meanwhile(self, app: App) -> None:
        created = await create(app)
        await put(app, f"{SHOP}/members/id-bob", {"permissions": ["manage"]})
        replaced = await self.replace(app, created.etag, description="second")
        assert replaced["description"] == "second"
        assert {one["id"] for one in replaced["members"]} == {"id-alice", "id-bob"}

    @pytest.mark.parametrize("name", ["oauth_x", "x" * 51], ids=["reserved", "too long"])
    async def test_by_what_a_locker_cannot_be_called_is_refused(self, app: App, name: str) -> None:
        tag = (await create(app)).etag
        assert (await self.replace(app, tag, name=name)).code == (400, "invalid-input")


class TestMembers:
    async def test_have_the_permissions_that_were_given_last(self, app: App) -> None:
        await create(app)
        for given, kept in ((["participate", "own", "own"], ["own", "participate"]), (["manage"], ["manage"])):
            locker = await put(app, f"{SHOP}/members/id-bob", {"permissions": given})
            assert locker["members"] == [
                {"id": "id-alice", "permissions": ["own"]},
                {"id": "id-bob", "permissions": kept},
            ]

    async def test_see_the_locker_until_they_are_removed(self, app: App) -> None:
        await create(app)
        await put(app, f"{SHOP}/members/id-bob", {"permissions": ["participate"]})
        assert (await read(app, BOB)).status == 200
        assert (await app.send("DELETE", f"{SHOP}/members/id-bob", ALICE)).status == 204
        assert (await read(app, BOB)).code == (404, "not-found")

    async def test_set_or_removed_again_change_nothing_and_are_told_once(self, app: App) -> None:
        await create(app)
        first = await put(app, f"{SHOP}/members/id-bob", {"permissions": ["manage"]})
        again = await put(app, f"{SHOP}/members/id-bob", {"permissions": ["manage"]})
        assert (first.body, first.etag) == (again.body, again.etag)
        for _ in range(2):
            assert (await app.send("DELETE", f"{SHOP}/members/id-bob", ALICE)).status == 204
        changes = [(one["member"], one["permissions"]) for one in await told(app, "locker.member_changed")]
        assert changes == [("id-bob", []), ("id-bob", ["manage"])]

    @pytest.mark.parametrize("by", [ALICE, LOLA], ids=["itself", "a locker admin"])
    async def test_the_last_owner_can_neither_go_nor_become_less(self, app: App, by: Caller) -> None:
        await create(app)
        path = f"{SHOP}/members/id-alice"
        assert (await app.send("DELETE", path, by)).code == (409, "last-owner")
        assert (await app.send("PUT", path, by, {"permissions": ["manage"]})).code == (409, "last-owner")
        assert (await read(app))["members"] == [{"id": "id-alice", "permissions": ["own"]}]

    async def test_an_owner_may_go_once_there_is_another(self, app: App) -> None:
        await create(app)
        await put(app, f"{SHOP}/members/id-bob", {"permissions": ["own"]})
        assert (await app.send("DELETE", f"{SHOP}/members/id-alice", ALICE)).status == 204
        assert (await read(app)).status == 404
        assert (await read(app, BOB))["members"] == [{"id": "id-bob", "permissions": ["own"]}]

    @pytest.mark.parametrize("permissions", [[], ["consume"], ["OWN"], "own", None, ["own"] * 4])
    async def test_of_no_such_permissions_are_refused(self, app: App, permissions: Any) -> None:
        await create(app)
        reply = await app.send("PUT", f"{SHOP}/members/id-bob", ALICE, {"permissions": permissions})
        assert reply.code == (400, "invalid-input")
        assert reply.fields[0].partition(".")[0] == "permissions"

    @pytest.mark.parametrize("member", ["system:reconcile", "-x", "x" * 129, "a%20b"])
    async def test_of_an_id_that_no_token_can_have_are_refused(self, app: App, member: str) -> None:
        await create(app)
        reply = await app.send("PUT", f"{SHOP}/members/{member}", ALICE, {"permissions": ["own"]})
        assert (reply.code, reply.fields) == ((400, "invalid-input"), ["member"])

    async def test_are_at_most_five_hundred(self, app: App) -> None:
        await create(app)
        for number in range(MAX_MEMBERS - 1):
            await put(app, f"{SHOP}/members/m{number}", {"permissions": ["participate"]})
        reply = await app.send("PUT", f"{SHOP}/members/one-more", ALICE, {"permissions": ["own"]})
        assert reply.code == (409, "locker-full")
        assert len((await read(app))["members"]) == MAX_MEMBERS == 500
        await put(app, f"{SHOP}/members/m0", {"permissions": ["manage"]})  # one of them may still change


class TestConsumers:
    async def test_see_and_lease_what_is_inside_while_their_role_is_one(self, app: App) -> None:
        await create(app)
        await app.create()
        await put(app, INSIDE)
        assert (await put(app, f"{SHOP}/consumers/finance-bots"))["consumers"] == ["finance-bots"]
        lease = await app.send("POST", "/leases", BOT, {"credential": "db-password"})
        assert (lease.status, lease["value"]) == (201, "correct horse")

        assert (await app.send("DELETE", f"{SHOP}/consumers/finance-bots", ALICE)).status == 204
        refused = await app.send("POST", "/leases", BOT, {"credential": "db-password"})
        assert refused.code == (404, "not-found")
        assert (await read(app, BOT)).code == (404, "not-found")

    async def test_added_or_removed_again_change_nothing_and_are_told_once(self, app: App) -> None:
        await create(app)
        for _ in range(2):
            assert (await put(app, f"{SHOP}/consumers/Finance%20Bots"))["consumers"] == ["Finance Bots"]
        for _ in range(2):
            assert (await app.send("DELETE", f"{SHOP}/consumers/Finance%20Bots", ALICE)).status == 204
        assert [one["consumers"] for one in await told(app, "locker.consumer_changed")] == [[], ["Finance Bots"]]

    @pytest.mark.parametrize("role", ["x" * 129, "a%2Fb", "a%252fb", "\ufb01nance", "%E2%80%8B"])
    async def test_of_a_role_that_could_not_be_named_again_are_refused(self, app: App, role: str) -> None:
        await create(app)
        reply = await app.send("PUT", f"{SHOP}/consumers/{role}", ALICE)
        assert (reply.code, reply.fields) == ((400, "invalid-input"), ["role"])

    async def test_are_at_most_a_hundred(self, app: App) -> None:
        await create(app)
        for number in range(MAX_CONSUMERS):
            await put(app, f"{SHOP}/consumers/role-{number}")
        assert (await app.send("PUT", f"{SHOP}/consumers/one-more", ALICE)).code == (409, "locker-full")
        assert len((await read(app))["consumers"]) == MAX_CONSUMERS == 100


class TestPuttingIn:
    async def test_shows_the_locker_with_the_credential_and_counts_it(self, app: App) -> None:
        locker = await create(app)
        created = await app.create()
        reply = await put(app, INSIDE)
        assert reply.body == created.body | {"lockerId": locker["id"]}
        assert reply.etag == (await app.send("GET", "/credentials/db-password", ALICE)).etag != created.etag
        assert (await read(app))["credentials"] == 1
        assert (await app.send("GET", "/credentials?locker=shop", ALICE))["items"] == [reply.body]
        assert (await app.send("GET", f"{SHOP}/credentials", ALICE))["items"] == [reply.body]

    async def test_again_changes_nothing(self, app: App) -> None:
        await create(app)
        await app.create()
        first, again = [await put(app, INSIDE) for _ in range(2)]
        assert (first.body, first.etag) == (again.body, again.etag)
        assert (await read(app))["credentials"] == 1
        assert len(await told(app, "locker.credential_assigned")) == 1

    async def test_what_is_in_another_locker_is_refused(self, app: App) -> None:
        await create(app)
        await create(app, name="office")
        await app.create()
        await put(app, INSIDE)
        reply = await app.send("PUT", "/lockers/office/credentials/db-password", ALICE)
        assert reply.code == (409, "credential-in-locker")
        assert (await app.send("GET", "/lockers/office", ALICE))["credentials"] == 0

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("DELETE", "/credentials/db-password", None),
            ("PATCH", "/credentials/db-password", {"name": "another"}),
            ("PUT", "/credentials/db-password/owner/id-bob", None),
        ],
        ids=["delete", "rename", "to an outsider"],
    )
    async def test_forbids_what_would_part_it_from_its_locker(
        self, app: App, method: str, path: str, body: Any
    ) -> None:
        await create(app)
        await app.create()
        inside = await put(app, INSIDE)
        headers = {"If-Match": inside.etag} if method == "PATCH" else {}
        reply = await app.send(method, path, ALICE, body, headers)
        assert reply.code == (409, "not-a-member" if method == "PUT" else "credential-in-locker")
        assert (await app.send("GET", "/credentials/db-password", ALICE)).body == inside.body


class TestTakingOut:
    async def test_frees_the_credential_for_its_owner_alone(self, app: App) -> None:
        await create(app)
        created = await app.create()
        await put(app, INSIDE)
        await put(app, f"{SHOP}/members/id-bob", {"permissions": ["manage"]})
        assert (await app.send("DELETE", INSIDE, BOB)).status == 204
        assert (await app.send("GET", "/credentials/db-password", ALICE)).body == created.body
        assert (await app.send("GET", "/credentials/db-password", BOB)).code == (404, "not-found")
        assert (await read(app))["credentials"] == 0
        assert (await app.send("GET", f"{SHOP}/credentials", ALICE))["items"] == []

    async def test_what_is_not_inside_changes_nothing(self, app: App) -> None:
        await create(app)
        await create(app, name="office")
        await app.create()
        inside = await put(app, INSIDE)
        assert (await app.send("DELETE", "/lockers/office/credentials/db-password", ALICE)).status == 204
        assert (await app.send("GET", "/credentials/db-password", ALICE)).body == inside.body
        assert await told(app, "locker.credential_removed") == []


class TestWhatIsInside:
    async def test_is_to_a_participant_its_own_and_to_others_everything(self, app: App) -> None:
        await create(app)
        await put(app, f"{SHOP}/members/id-bob", {"permissions": ["participate"]})
        for owner, name in ((ALICE, "of alice"), (BOB, "of bob")):
            await app.create(owner, name=name)
            await put(app, f"{SHOP}/credentials/{name.replace(' ', '%20')}", caller=owner)

        async def names(caller: Caller) -> set[str]:
            return {one["name"] for one in (await app.send("GET", f"{SHOP}/credentials", caller))["items"]}

        assert await names(ALICE) == {"of alice", "of bob"}
        assert await names(BOB) == {"of bob"}


class TestDeleting:
    async def test_frees_its_credentials_and_its_name(self, app: App) -> None:
        await create(app)
        created = [await app.create(name=name) for name in ("a", "b")]
        for name in ("a", "b"):
            await put(app, f"{SHOP}/credentials/{name}")
        await put(app, f"{SHOP}/members/id-bob", {"permissions": ["own"]})
        assert (await app.send("DELETE", SHOP, BOB)).status == 204

        assert [(await app.send("GET", f"/credentials/{name}", ALICE)).body for name in ("a", "b")] == [
            one.body for one in created
        ]
        assert (await app.send("GET", "/credentials/a", BOB)).code == (404, "not-found")
        assert (await read(app)).code == (404, "not-found")
        assert (await app.send("GET", "/lockers", LOLA))["items"] == []
        assert (await app.send("DELETE", "/credentials/a", ALICE)).status == 204
        assert (await create(app, BOB))["credentials"] == 0

    async def test_of_another_edition_than_was_read_is_refused(self, app: App) -> None:
        tag = (await create(app)).etag
        await app.send("PUT", SHOP, ALICE, {"name": "shop", "description": "second"}, {"If-Match": tag})
        reply = await app.send("DELETE", SHOP, ALICE, headers={"If-Match": tag})
        assert reply.code == (412, "stale-version")
        assert (await read(app)).status == 200
        assert (await app.send("DELETE", SHOP, ALICE, headers={"If-Match": (await read(app)).etag})).status == 204
