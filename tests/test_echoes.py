"""No value survives in a text that is shown, however it was written into it."""

from __future__ import annotations

import html
import json
import string
import urllib.parse
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from vault_core.echoes import Echoes, visible

SECRET = "nw_live_Zq8/w+3é&x=1"
ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "URL-encoded": lambda value: urllib.parse.quote(value, safe=""),
    "URL-encoded but for slashes": urllib.parse.quote,
    "URL-encoded in small letters": lambda value: urllib.parse.quote(value, safe="").swapcase(),
    "form-encoded": urllib.parse.quote_plus,
    "every byte URL-encoded": lambda value: "".join(f"%{byte:02x}" for byte in value.encode()),
    "JSON": lambda value: json.dumps(value)[1:-1],
    "JSON in Unicode": lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
    "HTML": html.escape,
    "base64": lambda value: b64encode(value.encode()).decode(),
    "base64 without padding": lambda value: b64encode(value.encode()).decode().rstrip("="),
    "URL-safe base64": lambda value: urlsafe_b64encode(value.encode()).decode(),
    "hexadecimal": lambda value: value.encode().hex(),
    "hexadecimal in capitals, with colons": lambda value: value.encode().hex(":").upper(),
}
ENCODED = pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS.keys())
# What stands around an echo does not run into it: it neither begins nor ends an escape.
AROUND = st.text("abc XYZ 019 .:'\"(){}[]é", max_size=40)
# Neither control characters, of which HTML knows nothing, nor surrogates, which no JSON holds.
VALUES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=3, max_size=40)
LONG_VALUES = st.text(string.ascii_letters + string.digits + string.punctuation, min_size=12, max_size=60)


def echoes(*values: str) -> Echoes:
    return Echoes([SecretStr(value) for value in values])


@ENCODED
@given(VALUES, AROUND, AROUND)
def test_no_value_of_three_characters_or_more_survives(
    encode: Callable[[str], str], value: str, before: str, after: str
) -> None:
    assert echoes("another", value).are_in(f"{before} {encode(value)} {after}")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=3), AROUND, AROUND)
def test_no_value_of_any_characters_survives_as_it_is(value: str, before: str, after: str) -> None:
    assert echoes(value).are_in(before + value + after)


@ENCODED
@given(LONG_VALUES, st.integers(0), st.integers(8, 20), AROUND, AROUND)
def test_no_eight_characters_of_a_long_value_survive(
    encode: Callable[[str], str], value: str, place: int, length: int, before: str, after: str
) -> None:
    start = place % (len(value) - 7)
    assert echoes(value).are_in(f"{before} {encode(value[start : start + length])} {after}")


@given(VALUES, st.binary(max_size=8), st.binary(max_size=8), st.sampled_from([b64encode, urlsafe_b64encode]))
def test_a_value_inside_of_something_that_is_base64_is_found(
    value: str, before: bytes, after: bytes, encode: Callable[[bytes], bytes]
) -> None:
    assert echoes(value).are_in(f"Basic {encode(before + value.encode() + after).decode()}")


@given(
    st.text(string.ascii_letters + string.digits, min_size=3, max_size=40), st.sampled_from([" ", "-", " . ", "\u200b"])
)
def test_a_value_with_something_between_its_characters_is_found(value: str, between: str) -> None:
    assert echoes(value).are_in(f"key: {between.join(value)}!")


@given(st.text(string.ascii_letters + string.punctuation, min_size=3, max_size=40))
def test_a_value_in_letters_of_another_case_is_found(value: str) -> None:
    assert echoes(value).are_in(f"unknown key {value.swapcase()}")


@pytest.mark.parametrize(
    ("value", "text"), [("7", "7"), ("7", "no. 7, sorry"), ("EU", "not in (eu)."), ("a!", "is a!"), ("--", "is -- !")]
)
def test_a_very_short_value_is_found_as_a_word(value: str, text: str) -> None:
    assert echoes(value).are_in(text)


@pytest.mark.parametrize(("value", "text"), [("7", "no. 17"), ("eu", "the queue is full"), ("", ""), ("", "is empty")])
def test_a_very_short_value_inside_of_a_word_is_none(value: str, text: str) -> None:
    assert not echoes(value).are_in(text)


@pytest.mark.parametrize(("value", "text"), [("+&+", "key=+%26+"), ("& &", "key=%26+%26"), ("& &", "key=%26%20%26")])
def test_a_plus_may_stand_for_itself_or_for_a_space(value: str, text: str) -> None:
    assert echoes(value).are_in(text)


def test_seven_characters_of_a_long_value_are_none() -> None:
    assert not echoes(SECRET).are_in(f"it begins with {SECRET[:7]}")
    assert echoes(SECRET).are_in(f"it begins with {SECRET[:8]}")


def test_a_part_of_a_value_that_is_not_long_is_none() -> None:
    assert not echoes("0123456789a").are_in("0123456789")
    assert echoes("0123456789ab").are_in("0123456789")


TEXTS = (
    "The key is not known.",
    "Expected a key that begins with nw_live_ for production, or nw_test_ for tests; see https://vendor.example/keys.",
    "Der Schlüssel ist abgelaufen. (E-4711)",
    "",
)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_a_text_that_repeats_nothing_is_left_alone(text: str) -> None:
    assert not echoes("sk_prod_8Zk3vQ0pL2", "alice", "4712", "-----", "x").are_in(text)


@given(st.text())
def test_any_text_is_searched(text: str) -> None:
    assert not Echoes([]).are_in(text)


@given(st.text())
def test_what_is_visible_has_neither_controls_nor_turns_of_direction(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    assert visible(shown) == shown
    assert [mark for mark in shown if not mark.isspace()] == [
        mark for mark in text if mark.isprintable() and mark != " "
    ]


def test_white_space_and_what_is_not_seen_are_tidied() -> None:
    assert visible("  a\tb\r\n\n c\u202e \u200b d\u200be\x00\u2028f ") == "a b c de f"


def test_the_longest_value_and_message_are_searched_in_moments() -> None:
    value = "".join(f"{number:06d}" for number in range(4_000))
    started = process_time()
    assert not echoes(value).are_in("%41&amp;\\u0041" + "x-y " * 250)
    assert process_time() - started < 2
