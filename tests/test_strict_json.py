"""What the reader of bodies accepts and refuses, and that it never quotes them."""

from __future__ import annotations

import json
from contextlib import suppress
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_core.errors import InvalidInput
from vault_core.strict_json import MAX_DEPTH, MAX_LENIENT_DEPTH, MAX_PARTS, parse, parse_object_or_list

CANARY = "canary-7f3e9b2c41"

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20) + 1, 10**20 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), values, max_size=5), st.booleans())
def test_every_modest_object_is_read_as_it_is(document: dict[str, object], ascii_only: bool) -> None:
    assert parse(json.dumps(document, ensure_ascii=ascii_only).encode()) == document


@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:\\u0d8 1e9-', max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(InvalidInput):
        assert isinstance(parse(body), dict)


@given(st.lists(values, max_size=5) | st.dictionaries(st.text(), values, max_size=5))
def test_a_list_is_read_where_one_may_stand(document: object) -> None:
    assert parse_object_or_list(json.dumps(document).encode()) == document


@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:\\u0d8 1e9-', max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused_where_a_list_may_stand(body: bytes) -> None:
    with suppress(InvalidInput):
        assert isinstance(parse_object_or_list(body), dict | list)


REFUSED = {
    "nothing": b"",
    "no JSON": f"{{{CANARY}}}".encode(),
    "text after the object": f'{{}} "{CANARY}"'.encode(),
    "an array": f'["{CANARY}"]'.encode(),
    "a string": f'"{CANARY}"'.encode(),
    "null": b"null",
    "a duplicate name": f'{{"{CANARY}": 1, "{CANARY}": 2}}'.encode(),
    "a duplicate name, escaped": b'{"a": 1, "\\u0061": 2}',
    "a duplicate name deep inside": b'{"a": [{"b": 1, "b": 2}]}',
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": -Infinity}',
    "an overflowing number": b'{"a": 1e999}',
    "a huge whole number": b'{"a": ' + b"9" * 5000 + b"}",
    "a number of 21 digits": b'{"a": ' + b"9" * 21 + b"}",
    "half of a surrogate pair": b'{"a": "\\ud800"}',
    "half of a surrogate pair in a name": b'{"\\udc00": 1}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "bytes that are no UTF-8": b'{"a": "\xff"}',
    "an overlong encoding": b'{"a": "\xc0\xaf"}',
    "a raw control character": b'{"a": "\x00"}',
    "a string without end": f'{{"a": "{CANARY}'.encode(),
    "a trailing comma": b'{"a": 1,}',
    "a comment": f"{{}} // {CANARY}".encode(),
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_it_refuses(body: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(body)
    assert CANARY not in f"{refused.value} {refused.value.detail} {refused.value.errors}"


@pytest.mark.parametrize(
    "body",
    [
        *(pytest.param(body, id=name) for name, body in REFUSED.items() if name != "an array"),
        pytest.param(b'[{"a": 1, "a": 2}]', id="a duplicate name in a list"),
        pytest.param(b"[NaN]", id="NaN in a list"),
        pytest.param(b'["\\ud800"]', id="half of a surrogate pair in a list"),
        pytest.param(b"[" * (MAX_LENIENT_DEPTH + 1) + b"]" * (MAX_LENIENT_DEPTH + 1), id="lists nested too deep"),
        pytest.param(json.dumps([0] * (MAX_PARTS + 1)).encode(), id="too many items"),
    ],
)
def test_it_refuses_the_same_where_a_list_may_stand(body: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_object_or_list(body)
    assert CANARY not in f"{refused.value} {refused.value.detail} {refused.value.errors}"


def nested(depth: int) -> bytes:
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


def test_depth_is_bounded() -> None:
    assert parse(nested(MAX_DEPTH))
    with pytest.raises(InvalidInput, match="nested"):
        parse(nested(MAX_DEPTH + 1))


def test_depth_counts_arrays_and_objects_alike() -> None:
    with pytest.raises(InvalidInput, match="nested"):
        parse(b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}")


def test_brackets_inside_strings_do_not_count() -> None:
    text = '[{,"\\' * 400
    assert parse(json.dumps({"a": text}).encode()) == {"a": text}


def test_the_number_of_members_and_items_is_bounded() -> None:
    within = {str(number): 0 for number in range(MAX_PARTS)}
    assert parse(json.dumps(within).encode()) == within
    with pytest.raises(InvalidInput, match="members"):
        parse(json.dumps(within | {"more": 0}).encode())
    with pytest.raises(InvalidInput, match="members"):
        parse(json.dumps({"a": [0] * MAX_PARTS}).encode())


@pytest.mark.parametrize(
    "bomb",
    [
        b"[" * 65536,
        b'{"a":' * 13107,
        b'{"a": "' + b'\\"' * 32000,
        b'"' * 65536,
        b"\\" * 65536,
        b'{"a":[' + b"[]," * 20000,
        b"}" * 65536,
    ],
    ids=["arrays", "objects", "escaped quotes", "quotes", "backslashes", "width", "closings"],
)
def test_a_bomb_of_the_largest_size_is_refused_at_once(bomb: bytes) -> None:
    started = perf_counter()
    with pytest.raises(InvalidInput):
        parse(bomb)
    assert perf_counter() - started < 1  # quadratic work would take minutes
