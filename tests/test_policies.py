"""Who may do what, row by row, and what a policy says of leases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.faults import Fault, Plan
from tests.vaults import ALICE, BOB, DEPLOY_AGENT, MALLORY, NOON, World, agent, person
from vault_core.errors import AccessDenied, NotFound, Unavailable
from vault_core.identities import Caller, Role
from vault_core.policies import (
    BUILT_IN_DEFAULTS,
    NO_PART,
    Action,
    Decision,
    LeasePolicy,
    Part,
    Subject,
    decide,
    sees,
)

OWNER_ID = "id-olivia"
ALLOWS_EVERYONE = LeasePolicy.model_validate({"allowedIdentities": [{"type": "any"}]})
CHANGES = (
    Action.UPDATE,
    Action.REVOKE,
    Action.SUSPEND,
    Action.RESUME,
    Action.COMPROMISE,
    Action.DELETE,
    Action.VALIDATE,
)


def caller(roles: str, name: str = "carl") -> Caller:
    return person(name, *(Role(role) for role in roles.split()))


def subject(*, shared: bool, parts: frozenset[Part] = NO_PART) -> Subject:
    return Subject("id", "db-password", OWNER_ID, ALLOWS_EVERYONE if shared else BUILT_IN_DEFAULTS, parts)


# What a caller may do: R read, C change (update, revoke, suspend, resume, report compromised, delete), V rotate,
# T transfer, L lease. A dot is a denial, a dash a credential that the caller may not know of. The caller owns the
# credential, is allowed by its policy, is a stranger to it, or has a part in the locker that it is in.
TABLE = """
roles                 owner  allowed  stranger  in-consumer  in-participant  in-manager  in-owner
-                     .CVT.  -        -         -            -               ..V..       ..VT.
viewer                RCVT.  R....    -         R....        -               R.V..       R.VT.
user                  RCVTL  R...L    -         R...L        -               R.V.L       R.VTL
manager               RCVTL  RCV.L    RCV..     RCV.L        RCV..           RCV.L       RCVTL
admin                 RCVTL  RCV.L    RCV..     RCV.L        RCV..           RCV.L       RCVTL
auditor               .CVT.  -        -         -            -               ..V..       ..VT.
vendor                .CVT.  -        -         -            -               ..V..       ..VT.
locker-admin          RCVT.  R.VT.    R.VT.     R.VT.        R.VT.           R.VT.       R.VT.
viewer+locker-admin   RCVT.  R.VT.    R.VT.     R.VT.        R.VT.           R.VT.       R.VT.
manager+locker-admin  RCVTL  RCVTL    RCVT.     RCVTL        RCVT.           RCVTL       RCVTL
"""


def rows() -> list[tuple[str, str, str]]:
    head, *lines = [line.split() for line in TABLE.strip().splitlines()]
    return [(line[0], relation, rights) for line in lines for relation, rights in zip(head[1:], line[1:], strict=True)]


def expected(mark: str, letter: str) -> Decision:
    if mark == letter:
        return Decision.ALLOWED
    return Decision.HIDDEN if mark == "-" else Decision.DENIED


@pytest.mark.parametrize(("roles", "relation", "rights"), rows())
def test_rights_are_as_the_table_says(roles: str, relation: str, rights: str) -> None:
    who = caller(roles.replace("+", " ").strip("-"), "olivia" if relation == "owner" else "carl")
    part = relation.partition("in-")[2]
    about = subject(shared=relation == "allowed", parts=frozenset({Part(part)}) if part else NO_PART)
    marks = rights * 5 if rights == "-" else rights
    actions = {
        "R": (Action.READ,),
        "C": CHANGES,
        "V": (Action.ROTATE,),
        "T": (Action.TRANSFER,),
        "L": (Action.LEASE,),
    }
    for letter, mark in zip("RCVTL", marks, strict=True):
        for action in actions[letter]:
            decision = decide(who, action, about)
            if mark == "." and not sees(who, about):
                assert decision is Decision.HIDDEN
            else:
                assert decision is expected(mark, letter), f"{roles} {relation} {action}"


def test_the_table_has_every_action() -> None:
    assert {Action.READ, Action.ROTATE, Action.TRANSFER, Action.LEASE, Action.UPGRADE, *CHANGES} == set(Action)


@pytest.mark.parametrize(("roles", "relation", "_"), rows())
def test_only_the_owner_moves_a_credential_on_to_a_newer_configuration(roles: str, relation: str, _: str) -> None:
    who = caller(roles.replace("+", " ").strip("-"), "olivia" if relation == "owner" else "carl")
    part = relation.partition("in-")[2]
    about = subject(shared=relation == "allowed", parts=frozenset({Part(part)}) if part else NO_PART)
    assert (decide(who, Action.UPGRADE, about) is Decision.ALLOWED) is (relation == "owner")


def test_an_owner_is_known_by_any_id_of_the_token() -> None:
    renamed = Caller("contoso", ALICE.identity, ALICE.roles, frozenset({"id-alice", OWNER_ID}))
    assert decide(renamed, Action.ROTATE, subject(shared=False)) is Decision.ALLOWED


@pytest.mark.parametrize(
    ("pattern", "who", "matches"),
    [
        ({"type": "agent", "name": "deploy-*"}, agent("Deploy-7"), True),
        ({"type": "agent", "name": "deploy-*"}, agent("redeploy-7"), False),
        ({"type": "human", "email": "*@contoso.example"}, person("carl"), True),
        ({"type": "human", "email": "*@contoso.example"}, agent("carl"), False),
        ({"type": "human", "email": "carl@contoso.example", "id": "id-carla"}, person("carl"), False),
        ({"type": "any"}, agent("anyone"), True),
        ({"type": "any"}, person("anyone"), True),
    ],
)
def test_a_policy_names_identities_by_patterns(pattern: dict[str, str], who: Caller, matches: bool) -> None:
    policy = LeasePolicy.model_validate({"allowedIdentities": [pattern]})
    assert policy.allows(who.identity) is matches


def test_a_policy_without_patterns_allows_nobody() -> None:
    assert not LeasePolicy().allows(BOB.identity)
    assert not BUILT_IN_DEFAULTS.allows(BOB.identity)


@pytest.mark.parametrize(
    "policy",
    [
        {"maxLeases": 0},
        {"maxLeases": -1},
        {"maxLeases": 1001},
        {"maxLeases": 1.5},
        {"maxLeaseTTL": "0s"},
        {"maxLeaseTTL": 60},
        {"maxLeaseTTL": "1 hour"},
        {"rotateEvery": "soon"},
        {"allowedIdentities": [{"type": "agent", "nmae": "deploy-*"}]},
        {"allowedIdentities": [{"type": "robot"}]},
        {"maxLeaseTtl": "1h"},
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(policy: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LeasePolicy.model_validate(policy)


TTLS = st.none() | st.timedeltas(timedelta(seconds=1), timedelta(days=3)).map(
    lambda given: timedelta(seconds=int(given.total_seconds()))
)
POLICIES = st.builds(
    LeasePolicy,
    max_lease_ttl=TTLS,
    default_lease_ttl=TTLS,
    max_leases=st.none() | st.integers(1, 9),
    allowed_identities=st.none() | st.just(()),
    rotate_every=TTLS,
)


@given(own=POLICIES, defaults=POLICIES)
def test_what_a_policy_leaves_out_comes_from_the_defaults(own: LeasePolicy, defaults: LeasePolicy) -> None:
    both = own.completed_by(defaults)
    for name in LeasePolicy.model_fields:
        given_here = getattr(own, name)
        assert getattr(both, name) == (getattr(defaults, name) if given_here is None else given_here)


class TestRefusals:
    async def test_someone_who_sees_but_may_not_is_denied_and_it_is_told(self) -> None:
        world = World()
        credential = await world.create_for_agents()
        with pytest.raises(AccessDenied):
            await world.vault.credentials.delete(DEPLOY_AGENT, "db-password", None, NOON)
        [denied] = [event for event in await world.audit() if event.event == "access.denied"]
        assert (denied.identity, denied.outcome) == (DEPLOY_AGENT.identity, "denied")
        assert (denied.credential_id, denied.details) == (credential.id, {"action": "delete"})

    @pytest.mark.parametrize("by", ["id", "name"])
    async def test_what_is_hidden_and_what_is_absent_look_and_cost_the_same(self, by: str) -> None:
        world = World()
        credential = await world.create()
        hidden, absent = (
            (credential.id, "01890a5d-ac96-774b-bcce-b302099a8057") if by == "id" else ("db-password", "no-such-name")
        )
        seen = []
        for reference in (hidden, absent):
            world.ledger.calls.clear()
            with pytest.raises(NotFound) as refused:
                await world.vault.credentials.read(BOB, reference, NOON)
            calls = [(call.store, call.method) for call in world.ledger.calls]
            seen.append((str(refused.value), sorted(calls), world.ledger.rounds))
        assert seen[0] == seen[1]

    async def test_a_hidden_lease_and_an_absent_one_look_and_cost_the_same(self) -> None:
        world = World()
        await world.create_for_agents()
        lease_id = (await world.lease()).lease.id
        absent = lease_id[:-1] + ("0" if lease_id[-1] != "0" else "1")
        seen = []
        for reference in (lease_id, absent):
            world.ledger.calls.clear()
            with pytest.raises(NotFound) as refused:
                await world.vault.leases.read(BOB, reference, NOON)
            seen.append((str(refused.value), [(call.store, call.method) for call in world.ledger.calls]))
        assert seen[0] == seen[1]

    async def test_every_refusal_is_told_to_the_audit_of_the_callers_own_tenant(self) -> None:
        world = World()
        credential = await world.create()
        for who in (BOB, MALLORY):
            for reference in (credential.id, "db-password", "no-such-name"):
                with pytest.raises(NotFound):
                    await world.vault.credentials.read(who, reference, NOON)
        for tenant, who in (("contoso", BOB), ("fabrikam", MALLORY)):
            denied = [event for event in await world.audit(tenant) if event.event == "access.denied"]
            assert [event.identity for event in denied] == [who.identity] * 3

    async def test_a_refusal_that_cannot_be_told_is_no_admission(self) -> None:
        world = World()
        await world.create()
        world.restart()
        with pytest.raises(NotFound):
            await world.vault.credentials.delete(BOB, "db-password", None, NOON)
        [number] = [call.number for call in world.ledger.calls if call.store == "audit"]
        world.restart(Plan(faults={number: Fault()}))
        with pytest.raises(Unavailable):
            await world.vault.credentials.delete(BOB, "db-password", None, NOON)
        assert await world.vault.credentials.read(ALICE, "db-password", NOON)
