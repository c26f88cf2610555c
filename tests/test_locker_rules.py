"""The rules of lockers: who has which part, who may do what, and what a change leaves behind."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.records import a_credential
from tests.sharing import bearer
from tests.vaults import ALICE, BOB, NOON, person
from vault_core.admission import subject_in
from vault_core.errors import InvalidInput, LastOwner, LockerFull, StaleVersion
from vault_core.identities import Caller, Role
from vault_core.locker import (
    LEADING,
    MAX_CONSUMERS,
    MAX_MEMBERS,
    DefineLocker,
    Locker,
    LockerAction,
    Permission,
    check_role_name,
    check_unchanged,
    created,
    may_with_locker,
    redefined,
    with_consumers,
    with_credentials,
    with_member,
)
from vault_core.policies import NO_PART, REACHES_ALL_INSIDE, Part
from vault_core.tenants import TenantRules

OWN, MANAGE, PARTICIPATE = Permission.OWN, Permission.MANAGE, Permission.PARTICIPATE
PART_OF = {OWN: Part.OWNER, MANAGE: Part.MANAGER, PARTICIPATE: Part.PARTICIPANT}
LATER = NOON + timedelta(hours=1)


def a_locker(name: str = "finance") -> Locker:
    return created("01890a5d-ac96-774b-bcce-b302099a8057", DefineLocker(name=name), ALICE.identity, NOON)


def one_of_many_ids(*ids: str, roles: frozenset[str] = frozenset()) -> Caller:
    """A person whose token gives several ids, and roles to which the vault gives no meaning."""
    return Caller("contoso", BOB.identity, frozenset({Role.USER}), frozenset(ids), roles)


member_ids = st.sampled_from(["id-alice", "id-bob", "id-carl", "id-dora"])
permissions = st.lists(st.sampled_from(Permission), max_size=4).map(tuple)


class TestMembers:
    def test_the_creator_is_the_first_owner(self) -> None:
        locker = a_locker()
        assert (locker.members, locker.consumers, locker.credentials) == ({"id-alice": (OWN,)}, (), 0)
        assert (locker.created_by, locker.updated_by, locker.edition, locker.revision) == (
            ALICE.identity,
            ALICE.identity,
            0,
            0,
        )

    @given(changes=st.lists(st.tuples(member_ids, permissions), max_size=25))
    def test_a_locker_has_an_owner_and_what_its_members_were_given_whatever_the_changes(
        self, changes: list[tuple[str, tuple[Permission, ...]]]
    ) -> None:
        locker = a_locker()
        model: dict[str, set[Permission]] = {"id-alice": {OWN}}
        for member, given_now in changes:
            wanted = {**model, member: set(given_now)}
            if not any(OWN in held for held in wanted.values()):
                with pytest.raises(LastOwner):
                    with_member(locker, member, given_now)
                continue
            after = with_member(locker, member, given_now)
            assert after.revision == locker.revision + 1
            locker, model = after, {one: held for one, held in wanted.items() if held}
            assert {one: set(held) for one, held in locker.members.items()} == model
        assert any(OWN in held for held in locker.members.values())
        assert all(locker.is_member(one) == (one in model) for one in ("id-alice", "id-bob", "id-carl", "id-dora"))

    @given(held=permissions)
    def test_permissions_are_kept_once_each_the_highest_first(self, held: tuple[Permission, ...]) -> None:
        kept = with_member(a_locker(), "id-bob", held).members.get("id-bob", ())
        assert kept == tuple(one for one in (OWN, MANAGE, PARTICIPATE) if one in held)

    def test_owners_and_managers_lead(self) -> None:
        assert {OWN, MANAGE} == LEADING

    def test_a_locker_is_full_at_some_point_and_a_member_there_can_still_change(self) -> None:
        locker = a_locker().but(members={f"id-{n}": (OWN,) for n in range(MAX_MEMBERS)})
        with pytest.raises(LockerFull):
            with_member(locker, "id-one-more", (PARTICIPATE,))
        assert with_member(locker, "id-7", (PARTICIPATE,)).members["id-7"] == (PARTICIPATE,)

    def test_a_change_of_members_leaves_the_edition_alone(self) -> None:
        locker = redefined(a_locker(), DefineLocker(name="treasury"), BOB.identity, LATER)
        for after in (
            with_member(locker, "id-bob", (MANAGE,)),
            with_consumers(locker, ("bots",)),
            with_credentials(locker, 3),
        ):
            assert (after.edition, after.revision) == (1, 2)
            assert (after.updated_by, after.updated_at) == (BOB.identity, LATER)


class TestConsumers:
    @given(roles=st.lists(st.sampled_from("abcd")))
    def test_each_role_is_kept_once_in_the_order_in_which_it_came(self, roles: list[str]) -> None:
        locker = with_consumers(a_locker(), tuple(roles))
        assert list(locker.consumers) == sorted(set(roles), key=roles.index)

    def test_a_locker_is_full_at_some_point(self) -> None:
        roles = tuple(f"role-{n}" for n in range(MAX_CONSUMERS))
        locker = with_consumers(a_locker(), roles)
        assert with_consumers(locker, (*roles, "role-7")).consumers == roles
        with pytest.raises(LockerFull):
            with_consumers(locker, (*roles, "one-more"))

    @pytest.mark.parametrize("name", ["a", "Finance Bots", "x" * 128, "rôle", "a%b", "ns:role"])
    def test_what_a_token_can_call_a_role_may_be_named(self, name: str) -> None:
        assert check_role_name(name) == name

    @pytest.mark.parametrize(
        "name", ["", "x" * 129, "a\nb", "a\x00", "a\u200bb", "\ufb01nance", "\ud800", "a/b", "a%2fb"], ids=repr
    )
    def test_what_no_token_can_call_a_role_is_refused_without_repeating_it(self, name: str) -> None:
        with pytest.raises(InvalidInput) as refused:
            check_role_name(name)
        assert not name or name not in repr([refused.value, *refused.value.errors])


class TestParts:
    @given(
        members=st.dictionaries(member_ids, st.sets(st.sampled_from(Permission), min_size=1)),
        consumers=st.sets(st.sampled_from(["bots", "user", "locker-admin"])),
        ids=st.sets(member_ids),
        roles=st.sets(st.sampled_from(["bots", "cats"])),
    )
    def test_a_caller_has_the_parts_of_each_of_its_ids_and_of_each_of_its_roles(
        self, members: dict[str, set[Permission]], consumers: set[str], ids: set[str], roles: set[str]
    ) -> None:
        locker = a_locker().but(
            members={one: tuple(held) for one, held in members.items()}, consumers=tuple(sorted(consumers))
        )
        expected = {PART_OF[one] for own in {*ids, BOB.identity.id} for one in members.get(own, ())}
        if consumers & {*roles, "user"}:  # the vault's own roles are roles of the token, too
            expected.add(Part.CONSUMER)
        assert locker.parts_of(one_of_many_ids(*ids, roles=frozenset(roles))) == expected

    def test_a_role_that_another_implies_is_not_one_that_the_token_gives(self) -> None:
        locker = with_consumers(a_locker(), ("user",))
        assert locker.parts_of(person("mona", Role.MANAGER)) == frozenset()
        assert locker.parts_of(person("bob", Role.USER)) == {Part.CONSUMER}

    def test_an_id_is_no_role_and_a_role_no_id(self) -> None:
        locker = with_consumers(a_locker(), ("id-bob",))
        assert locker.parts_of(BOB) == frozenset()
        assert locker.parts_of(bearer("carl", of=("id-alice",))) == frozenset()

    def test_a_part_counts_only_in_the_locker_that_the_credential_is_in(self) -> None:
        locker = a_locker()
        elsewhere = locker.but(id="01890a5d-ac96-774b-bcce-b302099a8058")
        inside = a_credential(locker_id=locker.id)
        parts = [
            subject_in(ALICE, credential, TenantRules(), place).parts
            for credential, place in ((inside, locker), (inside, elsewhere), (inside, None), (a_credential(), locker))
        ]
        assert parts == [{Part.OWNER}, NO_PART, NO_PART, NO_PART]

    def test_all_but_participants_reach_all_that_is_inside(self) -> None:
        assert set(Part) - {Part.PARTICIPANT} == REACHES_ALL_INSIDE


# What a part allows: S see, E edit and delete, A appoint owners and managers, I invite participants and consumers,
# P put in, T take out; p and t with a credential of the caller's own alone.
RIGHTS = """
consumer      S.....
participant   S...pt
manager       SE.IpT
owner         SEAIpT
locker-admin  SEAIPT
nobody        ......
"""
LETTERS = dict(zip("SEAIPT", LockerAction, strict=True))


@pytest.mark.parametrize("own", [False, True], ids=["of another", "own"])
@pytest.mark.parametrize("line", RIGHTS.strip().splitlines(), ids=lambda line: line.split()[0])
def test_rights_are_as_the_table_says(line: str, own: bool) -> None:
    name, marks = line.split()
    admin = name == "locker-admin"
    parts = frozenset({Part(name)}) if name in set(Part) else frozenset()
    for letter, mark in zip("SEAIPT", marks, strict=True):
        allowed = mark == letter or (own and mark == letter.lower())
        caller = person("lola", Role.LOCKER_ADMIN) if admin else person("vic", Role.VIEWER)
        assert may_with_locker(caller, LETTERS[letter], parts, own=own) is allowed, letter


@pytest.mark.parametrize("roles", [(), (Role.VENDOR,), (Role.AUDITOR,)], ids=["none", "vendor", "auditor"])
def test_a_part_is_worth_nothing_without_a_role_that_may_look(roles: tuple[Role, ...]) -> None:
    for action in LockerAction:
        assert not may_with_locker(person("carl", *roles), action, frozenset(Part), own=True)


def test_a_manager_or_administrator_of_the_tenant_has_no_right_to_lockers() -> None:
    for role in (Role.MANAGER, Role.ADMIN):
        assert not any(may_with_locker(person("mona", role), action, frozenset(), own=True) for action in LockerAction)


class TestDefinitions:
    def test_name_and_description_are_replaced_and_nothing_else(self) -> None:
        locker = with_consumers(with_member(a_locker(), "id-bob", (MANAGE,)), ("bots",))
        after = redefined(locker, DefineLocker(name="treasury", description="new"), BOB.identity, LATER)
        assert after == locker.but(
            name="treasury",
            description="new",
            edition=1,
            revision=locker.revision + 1,
            updated_at=LATER,
            updated_by=BOB.identity,
        )

    @pytest.mark.parametrize("name", ["oauth_x", "OAuth_tokens", "oauth_", "\uff4fauth_x"])
    def test_a_name_that_the_control_room_keeps_for_itself_is_refused(self, name: str) -> None:
        with pytest.raises(ValidationError):
            DefineLocker(name=name)

    @pytest.mark.parametrize("name", ["oauth", "my oauth_x", "oauth-x"])
    def test_a_name_that_only_resembles_those_is_fine(self, name: str) -> None:
        assert DefineLocker(name=name).name == name

    @pytest.mark.parametrize("name", ["", "x" * 51, "a/b", "a:b"])
    def test_a_name_is_one_to_fifty_plain_characters(self, name: str) -> None:
        with pytest.raises(ValidationError):
            DefineLocker(name=name)

    def test_a_tag_names_an_edition_and_changes_of_members_do_not_count(self) -> None:
        locker = a_locker()
        check_unchanged(with_member(locker, "id-bob", (MANAGE,)), locker.tag)
        check_unchanged(locker, None)
        newer = redefined(locker, DefineLocker(name="treasury"), BOB.identity, LATER)
        another = locker.but(id="01890a5d-ac96-774b-bcce-b302099a8058")
        for present, tag in ((newer, locker.tag), (locker, newer.tag), (locker, another.tag), (locker, "")):
            with pytest.raises(StaleVersion):
                check_unchanged(present, tag)

    def test_a_tag_tells_every_change(self) -> None:
        locker = a_locker()
        changed = [
            with_member(locker, "id-bob", (MANAGE,)),
            redefined(locker, DefineLocker(name="treasury"), BOB.identity, LATER),
        ]
        assert len({locker.tag, *(one.tag for one in changed)}) == 3
