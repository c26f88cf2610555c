"""Identities, roles, and the patterns that name identities."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from vault_core.identities import Caller, Identity, IdentityPattern, Purpose, Role

ALICE = Identity(kind="human", id="a-1", email="Alice@Example.com", session_id="s-1")
DEPLOYER = Identity(kind="agent", id="d-1", name="deploy-prod")

# Few letters, so that patterns match often; also the specials of other grammars, and letters that fold oddly.
LETTERS = st.text(alphabet="ab*", min_size=1, max_size=12) | st.text(alphabet="aAbB*?[].\\ßSs", min_size=1, max_size=12)


def matches(pattern: str, text: str) -> bool:
    identity = Identity(kind="agent", id="x", name=text)
    return IdentityPattern(type="agent", name=pattern).matches(identity)


def reference_match(pattern: str, text: str) -> bool:
    """Decide by trying every division of the text: slow, and plainly right."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(reference_match(pattern[1:], text[start:]) for start in range(len(text) + 1))
    return text[:1] == pattern[0] and reference_match(pattern[1:], text[1:])


@given(LETTERS.filter(lambda pattern: pattern.count("*") <= 8), LETTERS)
def test_a_pattern_matches_as_the_plain_definition_says(pattern: str, text: str) -> None:
    assert matches(pattern, text) == reference_match(pattern.casefold(), text.casefold())


@given(LETTERS.filter(lambda pattern: pattern.count("*") <= 4), st.lists(st.text("ab*?", max_size=3), min_size=4))
def test_a_pattern_matches_what_its_wildcards_were_replaced_with(pattern: str, replacements: list[str]) -> None:
    given_pieces = iter(replacements)
    text = re.sub(r"\*", lambda _: next(given_pieces), pattern)
    assert not text or matches(pattern, text)


@given(st.text(min_size=1, max_size=100).filter(lambda text: text.count("*") <= 8))
def test_a_text_matches_itself_in_either_case(text: str) -> None:
    assert matches(text, text)
    assert matches(text, text.casefold())


@given(
    st.text(alphabet=st.characters(exclude_characters="*", exclude_categories=["Cs"]), min_size=1, max_size=20),
    st.text(alphabet=st.characters(exclude_characters="*", exclude_categories=["Cs"]), min_size=1, max_size=20),
)
def test_without_a_wildcard_only_the_same_text_matches(pattern: str, text: str) -> None:
    assert matches(pattern, text) == (pattern.casefold() == text.casefold())


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("deploy-?", "deploy-a"),
        ("deploy-[ab]", "deploy-a"),
        (".*", "anything"),
        ("a\\*", "a*"),
        ("dep%", "deploy"),
    ],
)
def test_no_character_but_the_star_is_special(pattern: str, text: str) -> None:
    assert not matches(pattern, text)


@pytest.mark.parametrize("pattern", ["ab*ba", "*ab*ba", "ab*ba*", "*ab*ba*"])
def test_two_pieces_of_a_pattern_do_not_share_a_letter(pattern: str) -> None:
    assert not matches(pattern, "aba")
    assert matches(pattern, "abba")


def test_the_worst_pattern_is_decided_in_an_instant() -> None:
    started = time.perf_counter()
    for _ in range(100):
        assert not matches("*".join(["a" * 27] * 9), "a" * 26 + "b" + "a" * 229)
    assert time.perf_counter() - started < 1


def test_a_domain_pattern_names_every_person_of_the_domain() -> None:
    assert IdentityPattern(type="human", email="*@example.com").matches(ALICE)
    assert not IdentityPattern(type="human", email="*@example.org").matches(ALICE)


def test_every_given_field_must_match() -> None:
    assert IdentityPattern(type="agent", id="d-1", name="deploy-*").matches(DEPLOYER)
    assert not IdentityPattern(type="agent", id="d-2", name="deploy-*").matches(DEPLOYER)
    assert not IdentityPattern(type="agent", id="d-1", name="test-*").matches(DEPLOYER)


def test_a_pattern_of_one_kind_never_names_the_other() -> None:
    assert not IdentityPattern(type="agent", id="*").matches(ALICE)
    assert not IdentityPattern(type="human", id="*").matches(DEPLOYER)


def test_a_kind_alone_names_all_of_that_kind() -> None:
    assert IdentityPattern(type="human").matches(ALICE)
    assert IdentityPattern(type="agent").matches(DEPLOYER)


@pytest.mark.parametrize("identity", [ALICE, DEPLOYER])
def test_any_names_everyone(identity: Identity) -> None:
    assert IdentityPattern(type="any").matches(identity)


def test_a_person_without_an_email_matches_no_email_pattern() -> None:
    nameless = Identity(kind="human", id="n-1")
    assert not IdentityPattern(type="human", email="*").matches(nameless)


REFUSED_PATTERNS: list[tuple[dict[str, Any], str]] = [
    ({}, "type"),
    ({"type": "robot"}, "type"),
    ({"type": ["human"], "email": "a"}, "type"),
    ({"type": "human", "name": "a"}, "name"),
    ({"type": "agent", "email": "a"}, "email"),
    ({"type": "any", "id": "a"}, "id"),
    ({"type": "any", "email": "a"}, "email"),
    ({"type": "human", "mail": "a"}, "mail"),
    ({"type": "human", "email": None}, "email"),
    ({"type": "human", "email": ""}, "email"),
    ({"type": "human", "email": 1}, "email"),
    ({"type": "human", "email": "x" * 257}, "email"),
    ({"type": "agent", "name": "*a" * 9}, "name"),
    ({"type": "agent", "id": "*" * 9}, "id"),
]


@pytest.mark.parametrize(("document", "field"), REFUSED_PATTERNS)
def test_a_pattern_that_is_not_one_is_refused_at_the_field_at_fault(document: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        IdentityPattern.model_validate(document)
    assert [fault["loc"] for fault in refused.value.errors()] == [(field,)]


@pytest.mark.parametrize(
    "document",
    [
        {"type": "any"},
        {"type": "human", "email": "*@example.com"},
        {"type": "agent", "name": "d-*", "id": "1"},
    ],
)
def test_a_pattern_is_shown_as_it_was_given(document: dict[str, Any]) -> None:
    assert IdentityPattern.model_validate(document).model_dump(mode="json", by_alias=True) == document


def test_a_pattern_may_hold_eight_wildcards() -> None:
    assert matches("*a" * 8, "b" + "a" * 8)


def test_a_refused_pattern_does_not_repeat_its_input() -> None:
    for document in (
        {"type": "secret-input"},
        {"type": "human", "name": "secret-input"},
        {"type": "secret-input", "id": 1},
    ):
        with pytest.raises(ValidationError) as refused:
            IdentityPattern.model_validate(document)
        assert "secret-input" not in str(refused.value)


def test_the_schema_of_a_pattern_says_which_fields_fit_which_type() -> None:
    schema = IdentityPattern.model_json_schema()
    shapes = {
        shape["properties"]["type"]["const"]: {
            field for field in ("id", "email", "name") if shape["properties"].get(field) is not False
        }
        for shape in schema["oneOf"]
    }
    assert shapes == {"human": {"id", "email"}, "agent": {"id", "name"}, "any": set()}
    assert schema["additionalProperties"] is False
    assert all("default" not in field for field in schema["properties"].values())


@pytest.mark.parametrize("identity", [ALICE, DEPLOYER, Identity.system("reconcile"), ALICE.with_purpose("a release")])
def test_an_identity_survives_storage(identity: Identity) -> None:
    assert Identity.from_document(identity.document()) == identity


def test_an_identity_is_stored_in_camel_case_and_without_nulls() -> None:
    assert ALICE.document() == {
        "type": "human",
        "id": "a-1",
        "email": "Alice@Example.com",
        "sessionId": "s-1",
    }


def test_a_timer_acts_as_an_agent_of_the_system() -> None:
    assert Identity.system("expire_leases").document() == {
        "type": "agent",
        "id": "system:expire_leases",
        "name": "expire_leases",
    }


def test_a_purpose_is_added_to_a_copy_and_can_be_left_out() -> None:
    assert ALICE.with_purpose("a release").purpose == "a release"
    assert ALICE.with_purpose("a release").with_purpose(None) == ALICE
    assert ALICE.purpose is None


@pytest.mark.parametrize("purpose", ["", "x" * 257, "two\nlines", "nul\x00"])
def test_a_purpose_that_is_empty_too_long_or_holds_control_characters_is_refused(purpose: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter[str](Purpose).validate_python(purpose)


@pytest.mark.parametrize(
    "document",
    [
        {"type": "human", "id": "1", "name": "deploy-prod"},
        {"type": "agent", "id": "1", "name": "a", "email": "a@example.com"},
        {"type": "agent", "id": "1"},
        {"type": "human", "id": "a/b"},
        {"type": "human", "id": ".."},
        {"type": "human", "id": ""},
        {"type": "human", "id": "a\n"},
        {"type": "human", "id": "x" * 129},
        {"type": "robot", "id": "1"},
        {"type": "human", "id": "1", "roles": ["admin"]},
    ],
)
def test_an_identity_that_is_not_one_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Identity.from_document(document)


def test_an_identity_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        ALICE.email = "mallory@example.com"  # type: ignore[misc]


def caller(*roles: Role) -> Caller:
    return Caller("contoso", ALICE, frozenset(roles), frozenset({"a-1", "sub-of-alice"}))


LADDER = [Role.VIEWER, Role.USER, Role.MANAGER, Role.ADMIN]
APART = [Role.LOCKER_ADMIN, Role.VENDOR, Role.AUDITOR]


@pytest.mark.parametrize("rung", range(4))
def test_a_role_of_the_ladder_implies_those_below_it_and_no_other(rung: int) -> None:
    assert {role for role in Role if caller(LADDER[rung]).has(role)} == set(LADDER[: rung + 1])


@pytest.mark.parametrize("role", APART)
def test_a_role_apart_implies_only_itself(role: Role) -> None:
    assert {other for other in Role if caller(role).has(other)} == {role}


def test_roles_add_up() -> None:
    held = caller(Role.LOCKER_ADMIN, Role.USER)
    assert {role for role in Role if held.has(role)} == {Role.LOCKER_ADMIN, Role.USER, Role.VIEWER}


def test_a_caller_without_roles_has_none() -> None:
    assert not any(caller().has(role) for role in Role)


def test_the_names_of_a_callers_roles_are_those_that_the_vault_knows_and_the_others() -> None:
    held = Caller("contoso", ALICE, frozenset({Role.LOCKER_ADMIN}), frozenset(), frozenset({"finance-bots"}))
    assert held.role_names == {"locker-admin", "finance-bots"}
    assert {type(name) for name in held.role_names} == {str}
    assert caller(Role.USER).role_names == {"user"}


def test_every_id_of_the_token_means_me_and_nothing_else_does() -> None:
    me = caller(Role.USER)
    assert me.is_me("a-1")
    assert me.is_me("sub-of-alice")
    assert not me.is_me("A-1")
    assert not me.is_me("")
