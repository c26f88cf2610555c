"""What models read and show, and that no refusal holds a piece of what was refused."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AnyUrl, Field, SecretStr, StringConstraints, ValidationError

from vault_core.errors import InvalidInput
from vault_core.wire import (
    INSTANT_PATTERN,
    Instant,
    RevealedSecret,
    WireModel,
    invalid_input,
    shown_name,
    wire_name,
)

CANARY = "canary-7f3e9b2c41"


class Colour(StrEnum):
    RED = "red"


class Cat(WireModel):
    kind: Literal["cat"]


class Dog(WireModel):
    kind: Literal["dog"]


class EveryKind(WireModel):
    text: Annotated[str, StringConstraints(max_length=5)] | None = None
    form: Annotated[str, StringConstraints(pattern="^[0-9]+$")] | None = None
    secret: Annotated[SecretStr, Field(max_length=5)] | None = None
    number: int | None = None
    fraction: float | None = None
    truth: bool | None = None
    at: Instant | None = None
    stock_at: datetime | None = None
    wait: timedelta | None = None
    id: UUID | None = None
    url: AnyUrl | None = None
    colour: Colour | None = None
    choice: Literal["a", "b"] | None = None
    items: tuple[int, ...] | None = None
    keyed: dict[Annotated[str, StringConstraints(max_length=3)], int] | None = None
    animal: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    either: int | Cat | None = None


class Timed(WireModel):
    issued_at: Instant


def read(model: type[WireModel], document: Any) -> WireModel:
    return model.model_validate_json(json.dumps(document), strict=True, by_alias=True, by_name=False)


def refusal_of(model: type[WireModel], document: Any) -> InvalidInput:
    with pytest.raises(ValidationError) as refused:
        read(model, document)
    return invalid_input(refused.value)


def test_names_are_camel_case_on_the_wire() -> None:
    assert wire_name("created_at") == "createdAt"
    assert wire_name("max_lease_ttl") == "maxLeaseTTL"


def test_the_python_name_of_a_field_is_unknown_on_the_wire() -> None:
    refusal = refusal_of(Timed, {"issued_at": "2026-01-27T19:07:12Z"})
    assert {fault.field for fault in refusal.errors} == {"issuedAt", "issued_at"}


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-27T19:07:12Z", datetime(2026, 1, 27, 19, 7, 12, tzinfo=UTC)),
        ("2026-01-27T19:07:12.363Z", datetime(2026, 1, 27, 19, 7, 12, 363000, tzinfo=UTC)),
        ("2026-01-27T21:07:12+02:00", datetime(2026, 1, 27, 19, 7, 12, tzinfo=UTC)),
        ("2026-01-27T19:07:12.123456789Z", datetime(2026, 1, 27, 19, 7, 12, 123456, tzinfo=UTC)),
    ],
)
def test_an_instant_is_read_as_utc(text: str, instant: datetime) -> None:
    read_at = Timed.model_validate(read(Timed, {"issuedAt": text})).issued_at
    assert read_at == instant
    assert read_at.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-27T19:07:12",
        "2026-01-27",
        "1700000000",
        "2026-02-30T19:07:12Z",
        "2026-01-27T24:00:00Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "2026-01-27 19:07:12Z",
        "٢٠٢٦-01-27T19:07:12Z",
        1700000000,
        None,
    ],
)
def test_what_is_no_instant_is_refused(text: object) -> None:
    refusal = refusal_of(Timed, {"issuedAt": text})
    assert [fault.field for fault in refusal.errors] == ["issuedAt"]


def test_a_naive_instant_is_refused_inside_too() -> None:
    with pytest.raises(ValidationError):
        Timed(issued_at=datetime(2026, 1, 27))  # noqa: DTZ001 - naive on purpose


def test_an_instant_is_shown_in_utc_with_milliseconds() -> None:
    at = datetime(2026, 1, 27, 21, 7, 12, 363999, tzinfo=timezone(timedelta(hours=2)))
    assert Timed(issued_at=at).model_dump_json(by_alias=True) == '{"issuedAt":"2026-01-27T19:07:12.363Z"}'


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis takes naive bounds
def test_an_instant_that_was_shown_is_read_as_the_same(at: datetime) -> None:
    shown = Timed(issued_at=at).model_dump_json(by_alias=True)
    again = Timed.model_validate_json(shown, strict=True, by_alias=True, by_name=False)
    assert again.issued_at == at.replace(microsecond=at.microsecond // 1000 * 1000)


@given(st.from_regex(INSTANT_PATTERN, fullmatch=True))
def test_every_text_of_the_documented_form_is_read_or_refused(text: str) -> None:
    with suppress(ValidationError):
        assert Timed.model_validate(read(Timed, {"issuedAt": text})).issued_at.year >= 1970


def test_a_revealed_secret_is_shown_in_json_and_nowhere_else() -> None:
    class Handed(WireModel):
        value: RevealedSecret

    handed = Handed(value=SecretStr(CANARY))
    assert CANARY in handed.model_dump_json()
    assert CANARY not in f"{handed!r} {handed} {handed.model_dump()}"


@pytest.mark.parametrize("field", list(EveryKind.model_fields))
@pytest.mark.parametrize(
    "wrong",
    [
        CANARY,
        [CANARY],
        {CANARY: CANARY},
        {"kind": CANARY},
        {"kind": "cat", CANARY: CANARY},
        {"kind": [CANARY]},
    ],
)
def test_no_refusal_holds_a_piece_of_the_input(field: str, wrong: object) -> None:
    refusal = refusal_of(EveryKind, {wire_name(field): wrong})
    assert refusal.errors
    assert "canary" not in f"{refusal} {refusal.detail} {refusal.errors}"
    assert all(fault.message != "" for fault in refusal.errors)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("id", "z" * 36),
        ("stockAt", "2026-13-01T00:00:00q"),
        ("wait", "1q"),
        ("number", 1.5),
        ("url", "q"),
    ],
)
def test_messages_are_the_vaults_own(field: str, wrong: object) -> None:
    with pytest.raises(ValidationError) as refused:
        read(EveryKind, {field: wrong})
    stock = {fault["msg"] for fault in refused.value.errors(include_input=False, include_url=False)}
    assert stock.isdisjoint(fault.message for fault in invalid_input(refused.value).errors)


def test_an_unknown_field_is_named_if_it_looks_like_a_typo() -> None:
    refusal = refusal_of(EveryKind, {"colur": "red"})
    assert [(fault.field, fault.message) for fault in refusal.errors] == [("colur", "is not a known field")]


@pytest.mark.parametrize("pasted", [CANARY, "hunter2", "a" * 33, "é", "", "a b", "ghp_16C7e42F292c6912E7"])
def test_an_unknown_field_that_may_be_a_value_is_not_named(pasted: str) -> None:
    assert shown_name(pasted) == "?"
    assert [fault.field for fault in refusal_of(EveryKind, {pasted: 1}).errors] == ["?"]


def test_the_path_of_a_nested_field_is_as_on_the_wire() -> None:
    class Inner(WireModel):
        max_leases: Annotated[int, Field(ge=1)]

    class Outer(WireModel):
        lease_policies: tuple[Inner, ...]

    refusal = refusal_of(Outer, {"leasePolicies": [{"maxLeases": 1}, {"maxLeases": 0}]})
    assert [(fault.field, fault.message) for fault in refusal.errors] == [
        ("leasePolicies.1.maxLeases", "must be at least 1")
    ]


def test_json_types_are_not_bent_into_others() -> None:
    refusal = refusal_of(EveryKind, {"number": "5", "truth": 1, "text": 5})
    assert {fault.field for fault in refusal.errors} == {"number", "truth", "text"}


def test_a_flood_of_faults_is_cut() -> None:
    assert len(refusal_of(EveryKind, {f"x{number}": 1 for number in range(500)}).errors) == 20


class Litter(WireModel):
    names: Annotated[tuple[Annotated[str, StringConstraints(max_length=3)], ...], Field(min_length=1)]


@pytest.mark.parametrize(
    ("given", "at_fault"), [(["Tiddles"], ["names.0"]), ([], ["names"])], ids=["a bad item", "no item"]
)
def test_a_list_is_too_short_only_when_it_is_not_when_its_items_are_at_fault(
    given: object, at_fault: list[str]
) -> None:
    with pytest.raises(ValidationError) as refused:
        Litter.model_validate({"names": given})
    assert [fault.field for fault in invalid_input(refused.value).errors] == at_fault
