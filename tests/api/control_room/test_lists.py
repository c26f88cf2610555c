"""The list grammar: filters against a plain reading of the same rules, sorting, pages, and hostile requests."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_core.api.control_room.lists import (
    CREDENTIAL_FIELDS,
    LOCKER_FIELDS,
    MAX_FILTERS,
    MAX_NESTING,
    MAX_ROWS,
    MAX_SORT_KEYS,
    FieldKind,
    FieldValue,
    Listed,
    Listing,
    ListRequest,
)
from vault_core.errors import InvalidInput
from vault_core.names import fold

CANARY = "canary-7f3e9b2c41"
BEGIN = datetime(2026, 1, 27, 19, 7, 12, 363_000, tzinfo=UTC)
NAMES = ["alpha", "ALPHA", "Straße", "STRASSE", "beta", "al", ""]
IDS = ["a", "A", "ab", "b1", "10", "9"]

Fields = dict[str, FieldValue]

instants = st.integers(-2_500, 2_500).map(lambda microseconds: BEGIN + timedelta(microseconds=microseconds))
rows = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from(IDS),
            "name": st.sampled_from(NAMES),
            "description": st.sampled_from(NAMES),
            "ownerId": st.sampled_from(IDS),
            "lockerId": st.none() | st.sampled_from(IDS),
            "createdBy": st.sampled_from(IDS),
            "createdOn": instants,
            "updatedBy": st.sampled_from(IDS),
            "updatedOn": instants,
        }
    ),
    max_size=12,
)


def either_case(word: str) -> st.SearchStrategy[str]:
    return st.sampled_from([word, word.upper(), word.title()])


def operators(*words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(words).flatmap(either_case)


def written(instant: datetime) -> st.SearchStrategy[str]:
    """The same instant as clients of several kinds write it."""
    offsets = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=8))])
    texts = offsets.map(lambda offset: instant.astimezone(offset).isoformat(timespec="microseconds"))
    return texts | st.just(instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "0Z")


def comparisons_of(field: str) -> st.SearchStrategy[dict[str, Any]]:
    ordering = ("eq", "ne", "lt", "le", "gt", "ge")
    kind = CREDENTIAL_FIELDS[field]
    values = {
        FieldKind.TEXT: st.sampled_from(NAMES),
        FieldKind.ID: st.sampled_from(IDS),
        FieldKind.INSTANT: instants.flatmap(written),
    }[kind]
    words = ordering if kind is FieldKind.INSTANT else (*ordering, "substring")
    return st.fixed_dictionaries({"operator": operators(*words), "field": st.just(field), "value": values})


def filters(nesting: int) -> st.SearchStrategy[Any]:
    nothing = st.sampled_from([None, {}, {"operator": None}, {"more": 1}]) | st.fixed_dictionaries(
        {"operator": either_case("none"), "field": st.just("elsewhere")}
    )
    plain = nothing | st.sampled_from(sorted(CREDENTIAL_FIELDS)).flatmap(comparisons_of)
    if nesting == 0:
        return plain
    inner = filters(nesting - 1)
    many = st.fixed_dictionaries({"operator": operators("and", "or"), "operands": st.lists(inner, max_size=3)})
    one = st.fixed_dictionaries({"operator": operators("not"), "operands": inner.map(lambda part: [part])})
    return plain | many | one


def as_shown(value: FieldValue) -> FieldValue:
    if not isinstance(value, datetime):
        return value
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03}Z"


def compares(word: str, kind: FieldKind, own: FieldValue, value: str) -> bool:
    """Instants are compared as the text that clients see of them."""
    if own is None:
        return word == "ne"
    left, right = str(as_shown(own)), value
    if kind is FieldKind.TEXT:
        left, right = fold(left), fold(right)
    elif kind is FieldKind.INSTANT:
        right = str(as_shown(datetime.fromisoformat(right)))
    if word == "substring":
        return right in left
    return {"eq": 0, "le": 0, "ge": 0}.get(word) == (left > right) - (left < right) or (
        (word in ("lt", "le", "ne") and left < right) or (word in ("gt", "ge", "ne") and left > right)
    )


def plainly_passes(part: Any, row: Fields) -> bool:
    match part:
        case {"operator": str(word), "operands": [only]} if word.lower() == "not":
            return not plainly_passes(only, row)
        case {"operator": str(word), "operands": [*operands]} if operands:
            verdicts = {plainly_passes(operand, row) for operand in operands}
            return verdicts == {True} if word.lower() == "and" else True in verdicts
        case {"operator": str(word), "field": str(field), "value": str(value)}:
            return compares(word.lower(), CREDENTIAL_FIELDS[field], row[field], value)
        case _:
            return True


def ask(found: Sequence[Fields], document: Mapping[str, Any]) -> Listed[Fields]:
    listing = Listing[Fields](ListRequest.read(document), CREDENTIAL_FIELDS, lambda row: row)
    for row in found:
        listing.add(row)
    return listing.page()


def names(document: Mapping[str, Any], *found: Fields) -> list[FieldValue]:
    return [row["name"] for row in ask(found, document).items]


def refusal(document: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        ask([], document)
    return refused.value


def faults(document: Any) -> dict[str, str]:
    return {fault.field: fault.message for fault in refusal(document).errors}


def comparison(word: str, field: str, value: Any) -> dict[str, Any]:
    return {"filter": {"operator": word, "field": field, "value": value}}


@given(rows, filters(3))
def test_a_filter_lets_the_same_rows_pass_as_its_plain_reading(found: list[Fields], part: Any) -> None:
    answer = ask(found, {"filter": part})
    assert list(answer.items) == [row for row in found if plainly_passes(part, row)]
    assert (answer.total, answer.total_filter) == (len(found), len(answer.items))


@given(
    rows,
    st.lists(
        st.fixed_dictionaries(
            {"field": st.sampled_from(sorted(CREDENTIAL_FIELDS))},
            optional={"direction": st.sampled_from(["asc", "ASC", "desc", "Desc"]) | st.none()},
        ),
        max_size=4,
    ),
)
def test_rows_are_in_the_order_asked_for_and_otherwise_in_that_of_their_creation(
    found: list[Fields], sort: list[dict[str, Any]]
) -> None:
    def rank(value: FieldValue, kind: FieldKind) -> str:
        return "" if value is None else "+" + (fold(str(value)) if kind is FieldKind.TEXT else str(as_shown(value)))

    def before(one: int, other: int) -> int:
        for key in sort:
            kind = CREDENTIAL_FIELDS[key["field"]]
            left, right = (rank(found[place][key["field"]], kind) for place in (one, other))
            if left != right:
                return ((left > right) - (left < right)) * (-1 if (key.get("direction") or "").lower() == "desc" else 1)
        return one - other

    expected = [found[place] for place in sorted(range(len(found)), key=functools.cmp_to_key(before))]
    assert list(ask(found, {"sort": sort}).items) == expected


@pytest.mark.slow
@given(rows, filters(1), st.integers(1, 5), st.booleans())
def test_pages_hand_over_every_row_once(found: list[Fields], part: Any, length: int, in_order: bool) -> None:
    sort = [{"field": "name"}] if in_order else []
    whole = ask(found, {"filter": part, "sort": sort})
    gathered: list[Fields] = []
    while len(gathered) < whole.total_filter:
        page = ask(found, {"filter": part, "sort": sort, "page": {"offset": len(gathered), "length": length}})
        assert (page.offset, page.total, page.total_filter) == (len(gathered), len(found), whole.total_filter)
        assert len(page.items) == min(length, whole.total_filter - len(gathered))
        gathered += page.items
    assert gathered == list(whole.items)


@given(rows, st.integers(0, 20), st.integers(0, 20))
def test_a_page_is_that_stretch_of_the_whole(found: list[Fields], offset: int, length: int) -> None:
    page = ask(found, {"page": {"offset": offset, "length": length}})
    assert list(page.items) == [row for place, row in enumerate(found) if offset <= place < offset + (length or 99)]
    assert (page.offset, page.total, page.total_filter) == (offset, len(found), len(found))


@pytest.mark.slow
@given(rows, st.lists(rows, max_size=4), st.integers(1, 4))
def test_rows_that_appear_between_pages_are_handed_over_too_and_none_twice(
    found: list[Fields], arrivals: list[list[Fields]], length: int
) -> None:
    there, later, gathered = list(found), list(arrivals), list[Fields]()
    while True:
        page = ask(there, {"page": {"offset": len(gathered), "length": length}})
        gathered += page.items
        if len(gathered) >= page.total:
            break
        there += later.pop() if later else []
    assert gathered == there


def test_a_page_holds_at_most_ten_thousand_rows() -> None:
    found: list[Fields] = [{"id": str(number)} for number in range(MAX_ROWS + 1)]
    for page in ({}, {"length": 0}, {"length": MAX_ROWS + 1}, {"length": 2**31 - 1}):
        answer = ask(found, {"page": page})
        assert (len(answer.items), answer.total) == (MAX_ROWS, MAX_ROWS + 1)
    assert ask(found, {"page": {"offset": MAX_ROWS}}).items == (found[-1],)


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("offset", [0, 7, 2490])
def test_a_page_of_many_rows_in_order_is_that_stretch_of_all_in_order(direction: str, offset: int) -> None:
    found: list[Fields] = [{"id": str(number), "name": f"{number * 7919 % 2500 // 3:04d}"} for number in range(2500)]
    page = ask(found, {"sort": [{"field": "name", "direction": direction}], "page": {"offset": offset, "length": 5}})
    whole = sorted(found, key=lambda row: str(row["name"]), reverse=direction == "desc")
    assert list(page.items) == whole[offset : offset + 5]
    assert (page.total, page.total_filter) == (2500, 2500)


def test_numbers_may_be_text() -> None:
    answer = ask([{"name": "a"}, {"name": "b"}, {"name": "c"}], {"page": {"offset": "1", "length": "1"}})
    assert (answer.items, answer.offset) == (({"name": "b"},), 1)
    assert names(comparison("eq", "id", 7), {"id": "7", "name": "seven"}, {"id": "8", "name": "eight"}) == ["seven"]


def test_nulls_and_unknown_keys_say_nothing() -> None:
    document: dict[str, Any] = {
        "fields": None,
        "filter": {"operator": "eq", "field": "name", "value": "a", "operands": None, "more": [CANARY]},
        "sort": [{"field": "name", "direction": None, "more": 1}],
        "page": {"offset": None, "length": None, "more": {}},
        "more": CANARY,
    }
    assert names(document, {"name": "a"}, {"name": "b"}) == ["a"]
    assert names({"fields": [], "filter": None, "sort": None, "page": None}, {"name": "a"}) == ["a"]


def test_a_row_without_a_value_matches_only_the_inequality() -> None:
    free, held = Fields(name="free", lockerId=None), Fields(name="held", lockerId="1")
    for word in ("eq", "lt", "le", "gt", "ge", "substring"):
        assert "free" not in names(comparison(word, "lockerId", ""), free, held)
    assert names(comparison("ne", "lockerId", "1"), free, held) == ["free"]
    negated = {"filter": {"operator": "not", "operands": [comparison("eq", "lockerId", "1")["filter"]]}}
    assert names(negated, free, held) == ["free"]


def test_rows_without_a_value_come_first_and_in_reverse_last() -> None:
    found = [Fields(name="b", lockerId="2"), Fields(name="free", lockerId=None), Fields(name="a", lockerId="1")]
    assert names({"sort": [{"field": "lockerId"}]}, *found) == ["free", "a", "b"]
    assert names({"sort": [{"field": "lockerId", "direction": "desc"}]}, *found) == ["b", "a", "free"]


def test_text_is_compared_without_regard_to_case_and_ids_exactly() -> None:
    found = [Fields(name="Straße", id="A"), Fields(name="other", id="a")]
    assert names(comparison("substring", "name", "TRASS"), *found) == ["Straße"]
    assert names(comparison("eq", "id", "a"), *found) == ["other"]


def test_an_instant_equals_what_was_shown_of_it() -> None:
    row = Fields(name="a", createdOn=BEGIN + timedelta(microseconds=999))
    assert names(comparison("eq", "createdOn", "2026-01-27T19:07:12.363Z"), row) == ["a"]
    assert names(comparison("gt", "createdOn", "2026-01-27T19:07:12.363Z"), row) == []
    assert names(comparison("lt", "createdOn", "2026-01-27T11:07:12.364-08:00"), row) == ["a"]
    assert names(comparison("gt", "createdOn", "0001-01-01T00:00:00.0000000+14:00"), row) == ["a"]


def test_filters_may_be_nested_ten_deep_and_no_deeper() -> None:
    part = comparison("eq", "name", "a")["filter"]
    for _ in range(MAX_NESTING):
        part = {"operator": "not", "operands": [part]}
    assert names({"filter": part}, {"name": "a"}, {"name": "b"}) == ["a"]
    assert faults({"filter": {"operator": "not", "operands": [part]}}) == {
        "filter": "must not be nested deeper than 10"
    }


def test_depth_without_end_is_refused_and_not_followed() -> None:
    part: Any = {}
    for _ in range(100_000):
        part = {"operator": "and", "operands": [part]}
    assert "nested" in faults({"filter": part})["filter"]


def test_filters_and_sort_keys_are_bounded() -> None:
    operands = [comparison("ne", "name", CANARY)["filter"]] * (MAX_FILTERS - 1)
    assert names({"filter": {"operator": "and", "operands": operands}}, {"name": "a"}) == ["a"]
    assert "filter" in faults({"filter": {"operator": "and", "operands": [*operands, {}]}})
    assert "sort" in faults({"sort": [{"field": "name"}] * (MAX_SORT_KEYS + 1)})


def test_a_number_that_is_no_id_is_not_made_text() -> None:
    assert faults(comparison("eq", "id", 10**5000)) == {"filter.value": "must be a string"}


def test_lockers_have_no_owner_and_no_locker() -> None:
    assert set(CREDENTIAL_FIELDS) - set(LOCKER_FIELDS) == {"ownerId", "lockerId"}
    request = ListRequest.read(comparison("eq", "ownerId", CANARY))
    with pytest.raises(InvalidInput):
        Listing[Fields](request, LOCKER_FIELDS, lambda row: row)


def test_a_refusal_names_the_place_at_fault() -> None:
    nested = {"operator": "or", "operands": [None, comparison("eq", CANARY, "a")["filter"]]}
    assert list(faults({"filter": nested})) == ["filter.operands.1.field"]
    assert list(faults({"sort": [{"field": "name"}, {"field": CANARY}]})) == ["sort.1.field"]


REFUSED: dict[str, Any] = {
    "a-list-for-a-request": [CANARY],
    "a-text-for-a-request": CANARY,
    "a-text-for-a-filter": {"filter": CANARY},
    "a-list-for-a-filter": {"filter": [CANARY]},
    "an-unknown-operator": comparison(CANARY, "name", "a"),
    "an-operator-that-is-a-list": {"filter": {"operator": [CANARY]}},
    "an-operator-that-is-an-object": {"filter": {"operator": {CANARY: CANARY}}},
    "a-comparison-without-operator": {"filter": {"field": "name", "value": CANARY}},
    "operands-without-operator": {"filter": {"operands": []}},
    "an-unknown-field": comparison("eq", CANARY, "a"),
    "a-field-of-other-case": comparison("eq", "Name", CANARY),
    "a-field-that-is-a-number": {"filter": {"operator": "eq", "field": 7, "value": CANARY}},
    "no-field": {"filter": {"operator": "eq", "value": CANARY}},
    "no-value": {"filter": {"operator": "eq", "field": "name"}},
    "a-null-value": comparison("eq", "lockerId", None),
    "a-value-that-is-true": comparison("eq", "name", True),
    "a-value-that-is-a-fraction": comparison("eq", "id", 1.5),
    "a-value-that-is-a-list": comparison("eq", "name", [CANARY]),
    "a-value-that-is-an-object": comparison("eq", "name", {CANARY: CANARY}),
    "a-value-of-many-digits": comparison("eq", "id", 10**5000),
    "a-value-that-is-too-long": comparison("eq", "name", CANARY * 100),
    "a-value-of-half-a-surrogate-pair": comparison("eq", "name", CANARY + "\ud800"),
    "an-instant-that-is-none": comparison("eq", "createdOn", CANARY),
    "an-instant-without-offset": comparison("eq", "createdOn", "2026-01-27T19:07:12.363"),
    "a-day-for-an-instant": comparison("eq", "createdOn", "2026-01-27"),
    "a-day-that-no-month-has": comparison("eq", "createdOn", "2026-02-31T19:07:12Z"),
    "an-empty-instant": comparison("eq", "createdOn", ""),
    "a-number-for-an-instant": comparison("eq", "createdOn", 1769540832363),
    "substring-of-an-instant": comparison("substring", "createdOn", "2026-01-27T19:07:12.363Z"),
    "not-without-operand": {"filter": {"operator": "not"}},
    "not-of-two": {"filter": {"operator": "not", "operands": [None, None]}},
    "operands-that-are-an-object": {"filter": {"operator": "and", "operands": {CANARY: CANARY}}},
    "an-operand-that-is-text": {"filter": {"operator": "and", "operands": [CANARY]}},
    "fields-that-are-text": {"fields": CANARY},
    "too-many-fields": {"fields": [CANARY] * 101},
    "a-sort-that-is-an-object": {"sort": {"field": CANARY}},
    "a-sort-key-that-is-text": {"sort": [CANARY]},
    "a-sort-key-without-field": {"sort": [{"direction": "asc"}]},
    "a-sort-by-an-unknown-field": {"sort": [{"field": CANARY}]},
    "an-unknown-direction": {"sort": [{"field": "name", "direction": CANARY}]},
    "a-page-that-is-a-list": {"page": [CANARY]},
    "a-negative-offset": {"page": {"offset": -1}},
    "a-negative-length": {"page": {"length": "-1"}},
    "an-offset-that-is-true": {"page": {"offset": True}},
    "an-offset-that-is-a-fraction": {"page": {"offset": 1.5}},
    "an-offset-without-bounds": {"page": {"offset": 10**400}},
    "an-offset-of-too-many-digits": {"page": {"offset": "9" * 5000}},
    "a-length-over-the-bound": {"page": {"length": 2**31}},
    "a-length-that-is-text": {"page": {"length": CANARY}},
}


@pytest.mark.parametrize("document", REFUSED.values(), ids=REFUSED)
def test_a_hostile_request_is_refused_without_a_word_of_it(document: Any) -> None:
    assert_says_nothing_of_it(refusal(document))


def assert_says_nothing_of_it(refused: InvalidInput) -> None:
    told = [refused.detail, *map(repr, refused.errors), *traceback.format_exception(refused)]
    assert CANARY not in "".join(told)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([CANARY, *CREDENTIAL_FIELDS, "eq", "ne", "AND", "or", "not", "substring", "NONE", "asc", "1"])
)
keys = st.sampled_from(
    ["fields", "filter", "sort", "page", "operator", "operands", "field", "value", "direction", "offset", "length"]
)
hostile = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | st.just(CANARY), inner), max_leaves=20
)


@pytest.mark.slow
@given(
    st.dictionaries(keys, hostile)
    | st.fixed_dictionaries({"filter": st.dictionaries(keys, hostile)})
    | st.fixed_dictionaries({"sort": st.lists(st.dictionaries(keys, hostile)), "page": st.dictionaries(keys, hostile)}),
    rows,
)
def test_any_request_is_answered_or_refused_without_a_word_of_it(document: dict[str, Any], found: list[Fields]) -> None:
    try:
        answer = ask(found, document)
    except InvalidInput as refused:
        assert_says_nothing_of_it(refused)
    else:
        assert answer.total == len(found) >= answer.total_filter >= len(answer.items)
