"""Names: what they may look like, and when two of them are the same."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tests.vaults import ALICE, BOB, MALLORY, NOON, World
from vault_core import names
from vault_core.credential_rows import name_key
from vault_core.errors import NameTaken, NotFound, RowMissing

NAME = TypeAdapter(names.Name)
UUID = "01890a5d-ac96-774b-bcce-b302099a8057"


def _may_be_given(name: str) -> bool:
    try:
        return bool(NAME.validate_python(name))
    except ValidationError:
        return False


@pytest.mark.parametrize("name", ["a", "7", "db-password", "Stripe key_2.prod", "Ключ", "密钥", "naïve", "x" * 128])
def test_letters_digits_spaces_and_a_few_marks_may_be_in_a_name(name: str) -> None:
    assert NAME.validate_python(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            " x",
            "x ",
            "-x",
            "_x",
            ".x",
            "x" * 129,
            "a/b",
            "a\\b",
            "a#b",
            "a?b",
            "a'b",
            "a\nb",
            "a\tb",
            "a\x00b",
            "a*b",
        ),
        *("a\u200bb", "a\u202eb", "💥", UUID, UUID.upper(), "\u0301x", "x\u00a0y"),
    ],
)
def test_anything_else_may_not(name: str) -> None:
    with pytest.raises(ValidationError):
        NAME.validate_python(name)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("db-password", "DB-Password"),
        ("Straße", "STRASSE"),
        ("café", "cafe\u0301"),
        ("ﬁle", "file"),
        ("Ⅳ", "iv"),
        ("\uff24\uff22", "db"),
        ("Ὀδυσσεύς", "ὈΔΥΣΣΕΎΣ"),
    ],
)
def test_names_that_differ_in_case_or_form_are_the_same(one: str, two: str) -> None:
    assert names.fold(one) == names.fold(two)


@pytest.mark.parametrize(("one", "two"), [("a b", "ab"), ("a-b", "a_b"), ("a.b", "ab"), ("db", "дб"), ("a", "\u0430")])
def test_names_that_differ_in_more_are_not(one: str, two: str) -> None:
    assert names.fold(one) != names.fold(two)


@given(st.text(max_size=40))
def test_folding_twice_is_folding_once(name: str) -> None:
    assert names.fold(names.fold(name)) == names.fold(name)


@given(st.text(max_size=40))
def test_every_form_of_a_name_folds_alike(name: str) -> None:
    forms = {names.fold(unicodedata.normalize(form, name)) for form in ("NFC", "NFD", "NFKC", "NFKD")}
    assert forms == {names.fold(name)}


@given(st.text(st.characters(categories=("L", "N", "M")), min_size=1, max_size=128).filter(_may_be_given))
def test_every_name_that_may_be_given_has_a_key(name: str) -> None:
    assert name_key(name).startswith("name:")


@pytest.mark.parametrize("reference", ["", "a/b", "a\\b", "a#b", "a?b", "a\x00b", "x" * 600, "ﷺ" * 128, "\ud800"])
def test_a_reference_that_is_no_name_is_missing(reference: str) -> None:
    with pytest.raises(RowMissing):
        name_key(reference)


def test_an_id_is_known_in_any_case() -> None:
    assert names.as_id(UUID.upper()) == UUID
    assert names.as_id(UUID.replace("-", "")) is None
    assert names.as_id(f"{{{UUID}}}") is None


class TestTakenNames:
    @pytest.mark.parametrize("again", ["db-password", "DB-PASSWORD", "\uff44\uff42-password"])
    async def test_a_name_that_counts_as_equal_is_taken(self, again: str) -> None:
        world = World()
        await world.create()
        with pytest.raises(NameTaken):
            await world.create(BOB, name=again)

    async def test_a_name_is_shown_as_it_was_given(self) -> None:
        world = World()
        await world.create(name="DB-Password")
        shown = await world.vault.credentials.read(ALICE, "db-password", NOON)
        assert shown.credential.name == "DB-Password"

    async def test_a_name_of_another_tenant_is_free(self) -> None:
        world = World()
        ours, theirs = await world.create(), await world.create(MALLORY)
        assert ours.id != theirs.id
        assert (await world.vault.credentials.read(MALLORY, "db-password", NOON)).credential.id == theirs.id

    @pytest.mark.parametrize(
        "reference", ["a/b", "' or '1' eq '1", "x" * 600, "..", "%2e%2e", "\ud800", "no-such-name"]
    )
    async def test_a_strange_reference_is_simply_not_found(self, reference: str) -> None:
        world = World()
        await world.create()
        with pytest.raises(NotFound):
            await world.vault.credentials.read(ALICE, reference, NOON)
