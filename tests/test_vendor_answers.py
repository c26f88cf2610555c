"""What a vendor's answers mean, and what of their text is shown."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from vault_core.outbound import Reply
from vault_core.vendor_answers import MAX_MESSAGE, WITHHELD, FieldFault, Outcome, Rules, can_be_a_verdict, outcome

BY_BODY = Rules(frozenset(), frozenset())
SECRET = "nw_live_8Zk3vQ0pL2"
CANARY = "canary-7f3e9b2c41"
FIELDS = ("apiKey", "account")

CONFIRMED = Outcome("valid", "confirmed")
REJECTED = Outcome("invalid", "rejected")
UNREACHABLE = Outcome("unknown", "unreachable")
INCONCLUSIVE = Outcome("unknown", "inconclusive")
UNREADABLE = Outcome("unknown", "unreadable")


def asked(reply: Reply | None, rules: Rules = BY_BODY, /, **values: str) -> Outcome:
    return outcome(reply, rules, {name: SecretStr(value) for name, value in values.items()}, FIELDS)


def answered(body: object, **values: str) -> Outcome:
    return asked(Reply(200, json.dumps(body).encode()), **values)


def told(*errors: Any, **values: str) -> tuple[FieldFault, ...]:
    return answered({"valid": False, "errors": list(errors)}, **values).field_errors


def message(text: str, **values: str) -> str:
    [fault] = told({"field": "apiKey", "message": text}, **values)
    return fault.message


def test_no_answer_is_unreachable_by_body_and_by_status() -> None:
    assert asked(None) == asked(None, Rules(frozenset({200}), frozenset({401}))) == UNREACHABLE


READABLE = {
    "true": (b'{"valid": true}', CONFIRMED),
    "false": (b'{"valid": false}', REJECTED),
    "no errors": (b'{"valid": false, "errors": []}', REJECTED),
    "errors of null": (b'{"valid": false, "errors": null}', REJECTED),
    "other members": (b'{"valid": true, "plan": {"name": "gold"}, "NaN": 1.5}', CONFIRMED),
    "a warning": (b'{"valid": true, "errors": [{"message": "ends soon"}]}', CONFIRMED),
}


@pytest.mark.parametrize(("body", "expected"), READABLE.values(), ids=READABLE)
def test_a_body_says_whether_the_values_are_valid(body: bytes, expected: Outcome) -> None:
    assert asked(Reply(200, body)) == expected


NOT_READABLE = {
    "nothing": b"",
    "text": f"OK {CANARY}".encode(),
    "a list": b'[{"valid": true}]',
    "no object": b"true",
    "no member": b"{}",
    "a number": b'{"valid": 1}',
    "a string": b'{"valid": "true"}',
    "null": b'{"valid": null}',
    "another name": b'{"Valid": true}',
    "a duplicate": b'{"valid": true, "valid": true}',
    "a duplicate deep inside": b'{"valid": true, "more": [{"a": 1, "a": 2}]}',
    "NaN": b'{"valid": true, "score": NaN}',
    "too deep": b'{"valid": true, "more": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "not UTF-8": b'{"valid": true, "plan": "\xff"}',
    "UTF-16": '{"valid": true}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"valid": true}',
    "half of a pair": b'{"valid": true, "plan": "\\ud800"}',
    "more after it": b'{"valid": true} {"valid": true}',
    "errors that are no list": b'{"valid": false, "errors": {"field": "apiKey"}}',
    "an error that is no object": b'{"valid": false, "errors": ["apiKey"]}',
    "a message that is no text": b'{"valid": false, "errors": [{"field": "apiKey", "message": {"en": "no"}}]}',
    "a field that is no text": b'{"valid": false, "errors": [{"field": 7, "message": "no"}]}',
}


@pytest.mark.parametrize("body", NOT_READABLE.values(), ids=NOT_READABLE)
def test_a_body_that_is_not_what_it_must_be_says_nothing(body: bytes) -> None:
    assert asked(Reply(200, body)) == UNREADABLE


@given(st.binary(max_size=300) | st.text('{}[]":,truefalsvid01', max_size=100).map(str.encode), st.integers(100, 599))
def test_whatever_a_vendor_sends_has_an_outcome(body: bytes, status: int) -> None:
    assert asked(Reply(status, body), apiKey=SECRET).status in {"valid", "invalid", "unknown"}


@given(st.integers(100, 999).filter(lambda status: status != 200), st.booleans())
def test_a_body_counts_with_status_200_alone(status: int, valid: bool) -> None:
    assert asked(Reply(status, json.dumps({"valid": valid}).encode())) == INCONCLUSIVE


BY_STATUS = Rules(frozenset({200, 204, 403}), frozenset({401, 404}))


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, CONFIRMED), (204, CONFIRMED), (403, CONFIRMED), (401, REJECTED), (404, REJECTED), (201, INCONCLUSIVE)],
)
def test_a_status_that_is_listed_is_the_verdict_whatever_the_body(status: int, expected: Outcome) -> None:
    for body in (b"", b'{"valid": true}', b'{"valid": false, "errors": [{"message": "no"}]}', b"\xff"):
        assert asked(Reply(status, body), BY_STATUS) == expected


def test_one_list_alone_makes_the_status_the_answer() -> None:
    assert asked(Reply(401, b""), Rules(frozenset(), frozenset({401}))) == REJECTED
    assert asked(Reply(200, b'{"valid": true}'), Rules(frozenset(), frozenset({401}))) == INCONCLUSIVE


NEVER = [*range(100, 200), *range(300, 400), 408, 429, *range(500, 1000)]


def test_redirects_delays_and_outages_are_no_verdict_even_if_they_are_listed() -> None:
    everything = frozenset(range(1000))
    for status in NEVER:
        assert asked(Reply(status, b""), Rules(everything, frozenset())) == INCONCLUSIVE
        assert asked(Reply(status, b""), Rules(frozenset(), everything)) == INCONCLUSIVE


def test_the_statuses_that_can_be_a_verdict_are_all_the_others() -> None:
    assert [status for status in range(100, 1000) if not can_be_a_verdict(status)] == NEVER


def test_a_status_that_is_listed_as_both_says_nothing() -> None:
    assert asked(Reply(200, b""), Rules(frozenset({200}), frozenset({200}))) == INCONCLUSIVE


def test_errors_are_told_with_their_fields() -> None:
    assert told({"field": "apiKey", "message": "is expired"}, {"field": "account", "message": "is closed"}) == (
        FieldFault(field="apiKey", message="is expired"),
        FieldFault(field="account", message="is closed"),
    )


@pytest.mark.parametrize("field", ["other", SECRET, "", "apikey", "apiKey "])
def test_an_error_of_what_is_no_field_names_none(field: str) -> None:
    assert told({"field": field, "message": "no"}) == (FieldFault(field="", message="no"),)


def test_an_error_may_leave_out_its_field_or_its_message() -> None:
    assert told({"message": "no"}, {"field": "apiKey", "code": 3}) == (
        FieldFault(field="", message="no"),
        FieldFault(field="apiKey", message=""),
    )


def test_twenty_errors_are_used() -> None:
    assert [fault.message for fault in told(*({"message": f"n{n}"} for n in range(50)))] == [f"n{n}" for n in range(20)]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_message_is_one_line_of_visible_characters(text: str) -> None:
    shown = message(text)
    assert shown.isprintable()
    assert len(shown) <= MAX_MESSAGE


def test_a_message_is_tidied_and_cut() -> None:
    assert message(" the\tkey\u202e is\r\n\u200bno  good\x00. ") == "the key is no good."
    assert message("x" * 199 + "  yz") == "x" * 199
    assert message("x" * 9000) == "x" * 200


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=3, max_size=30), st.integers(0, 260))
def test_a_message_that_repeats_a_value_is_withheld_wherever_it_does(value: str, place: int) -> None:
    assert message("." * place + f" {value} ", apiKey=value) == WITHHELD


def test_every_value_is_looked_for_in_every_message() -> None:
    faults = told({"message": f"not {SECRET}"}, {"message": "fine"}, {"message": "hunter22"}, a=SECRET, b="hunter22")
    assert [fault.message for fault in faults] == [WITHHELD, "fine", WITHHELD]


def test_a_value_that_is_split_by_what_is_not_seen_is_withheld() -> None:
    assert message("bad key " + "\u200b".join(SECRET), apiKey=SECRET) == WITHHELD


def test_a_value_that_begins_where_the_message_is_cut_is_withheld() -> None:
    assert message("x" * 190 + " hunter22pass", apiKey="hunter22pass") == WITHHELD


@pytest.mark.parametrize("body", NOT_READABLE.values(), ids=NOT_READABLE)
def test_no_log_line_tells_what_a_vendor_sent(body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        asked(Reply(200, body + CANARY.encode()), apiKey=SECRET)
    assert caplog.records == []


def test_an_outcome_repeats_nothing_of_body_or_values() -> None:
    told_of = answered({"valid": False, "errors": [{"field": CANARY, "message": SECRET}], CANARY: 1}, apiKey=SECRET)
    assert SECRET not in repr(told_of)
    assert CANARY not in repr(told_of)
    assert told_of.field_errors == (FieldFault(field="", message=WITHHELD),)
