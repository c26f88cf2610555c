"""What a vendor may define, what values fit a definition, and that no refusal holds a piece of a value."""

from __future__ import annotations

import json
import re
import resource
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import SecretStr, TypeAdapter, ValidationError

from tests.credential_types.key_material import ed25519_key, issue, pem
from vault_core.configuration_fields import (
    FieldDefinition,
    FieldDefinitions,
    accept,
    check_definitions,
    wrong_values,
)
from vault_core.credential_requests import TypeName
from vault_core.credential_types import TYPES
from vault_core.credential_types.given import MAX_CHARACTERS, Fault
from vault_core.errors import InvalidInput, ValueRefused
from vault_core.field_kinds import KINDS, KindName
from vault_core.field_patterns import check_pattern, matches
from vault_core.wire import invalid_input

DEFINITIONS: TypeAdapter[tuple[FieldDefinition, ...]] = TypeAdapter(FieldDefinitions)
KEY = {"id": "apiKey", "label": "API key", "type": "text"}
HINT = "You find it under Settings, API keys"
PLAIN_KINDS: list[KindName] = [kind for kind in KINDS if kind != "choice"]
LENGTHS = [kind for kind in PLAIN_KINDS if KINDS[kind].has_lengths]

# Patterns that make an engine take exponential or quadratic time that tries one way after the other.
EXPLOSIVE = [
    *(r"(a+)+$", r"([a-zA-Z]+)*$", r"(a|aa)+$", r"(a|a?)+$", r"(.*a){20}", r"(a*)*b", r"((a+)+)+b"),
    *(r"^(([a-z])+.)+[A-Z]([a-z])+$", r"(x+x+)+y", r"a?a?a?a?a?a?a?a?a?a?aaaaaaaaaa", r"(?i)(a|A|aA)*z"),
    *(r"(\w+\d*)+!", r".*.*.*=.*", r"(?:(?:a?){20}){20}b"),
]


def field(**parts: Any) -> FieldDefinition:
    return FieldDefinition.model_validate(KEY | parts)


def definition_faults(*fields: FieldDefinition, on: TypeName | None = None) -> dict[str, str]:
    with pytest.raises(InvalidInput) as refused:
        check_definitions(fields, on)
    return {fault.field: fault.message for fault in refused.value.errors}


def accepted(definition: FieldDefinition, text: str) -> dict[str, str]:
    values = accept([definition], {definition.id: SecretStr(text)})
    return {name: value.get_secret_value() for name, value in values.items()}


def value_faults(fields: list[FieldDefinition], given: Mapping[str, str]) -> dict[str, str]:
    with pytest.raises(ValueRefused) as refused:
        accept(fields, {name: SecretStr(text) for name, text in given.items()})
    assert refused.value.__context__ is None, "a chained exception could hold the value"
    return {fault.field: fault.message for fault in refused.value.errors}


def fault_of(text: str, **parts: Any) -> str:
    return value_faults([field(**parts)], {"apiKey": text})["fields.apiKey"]


# What a definition may be


@pytest.mark.parametrize("wrong", ["", "1a", "-a", "_a", "a b", "a.b", "é", "a" * 51, "a\n", "fields.x"])
def test_an_id_is_made_of_plain_letters_digits_and_two_marks(wrong: str) -> None:
    with pytest.raises(ValidationError):
        field(id=wrong)


@pytest.mark.parametrize("part", ["label", "hint", "choices"])
@pytest.mark.parametrize(
    "mark",
    ["\n", "\t", "\x00", "\x1b", "\u202e", "\u2066", "\u200b", "\u00ad", "\ufeff", "\u2028", "\ue000"],
    ids=ascii,
)
def test_what_others_are_shown_holds_no_control_or_format_characters(part: str, mark: str) -> None:
    text = f"a{mark}b"
    with pytest.raises(ValidationError) as refused:
        field(**{part: (text,) if part == "choices" else text})
    [fault] = invalid_input(refused.value).errors
    assert fault.field.startswith(part)
    assert fault.message == "must be one line, without control or invisible characters and needless spaces"


@pytest.mark.parametrize(
    "parts",
    [
        {"label": ""},
        {"label": "a" * 101},
        {"label": " a"},
        {"hint": "a" * 256},
        {"pattern": ""},
        {"pattern": "a" * 257},
        {"type": "secret"},
        {"choices": []},
        {"choices": [""]},
        {"choices": ["a" * 201]},
        {"choices": [f"{number}" for number in range(101)]},
        {"minLength": 0},
        {"maxLength": MAX_CHARACTERS + 1},
        {"colour": "red"},
    ],
    ids=str,
)
def test_every_part_of_a_definition_is_bounded(parts: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        field(**parts)


@pytest.mark.parametrize("count", [0, 51])
def test_a_configuration_has_1_to_50_fields(count: int) -> None:
    with pytest.raises(ValidationError):
        DEFINITIONS.validate_python([KEY | {"id": f"a{number}"} for number in range(count)])


@pytest.mark.parametrize(
    ("parts", "at_fault"),
    [
        ({"type": "choice"}, "choices"),
        ({"choices": ["a"]}, "choices"),
        ({"type": "choice", "choices": ["a", "b", "a"]}, "choices"),
        ({"type": "choice", "choices": ["a"], "min_length": 1}, "minLength"),
        ({"type": "choice", "choices": ["a"], "pattern": "a"}, "pattern"),
        ({"type": "number", "max_length": 9}, "maxLength"),
        ({"type": "json", "pattern": "a"}, "pattern"),
        ({"type": "pem", "pattern": "a"}, "pattern"),
        ({"type": "password", "secret": False}, "secret"),
        ({"type": "pem", "secret": False}, "secret"),
        ({"min_length": 9, "max_length": 8}, "minLength"),
        ({"type": "email", "max_length": 255}, "maxLength"),
        ({"type": "email", "min_length": 255}, "minLength"),
        ({"type": "url", "max_length": 31}, "maxLength"),
        ({"type": "pem", "max_length": 127}, "maxLength"),
        ({"default": "a"}, "default"),
        ({"secret": False, "default": "a", "min_length": 2}, "default"),
        ({"secret": False, "default": "a", "pattern": "b"}, "default"),
        ({"secret": False, "default": "c", "type": "choice", "choices": ["a", "b"]}, "default"),
        ({"secret": False, "default": "a", "type": "number"}, "default"),
        ({"secret": False, "default": "https://u:p@example.com", "type": "url"}, "default"),
    ],
    ids=str,
)
def test_the_parts_of_a_definition_fit_together(parts: dict[str, Any], at_fault: str) -> None:
    assert list(definition_faults(field(id="first"), field(**parts))) == [f"fields.1.{at_fault}"]


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"type": "choice", "choices": ["a", "b"]},
        {"type": "choice", "choices": ["EU", "US"], "secret": False, "default": "EU"},
        {"type": "number", "pattern": "[0-9]{4}", "secret": False, "default": "8080"},
        {"type": "url", "max_length": 32, "pattern": r"https://.+\.example\.com"},
        {"type": "json", "secret": False, "default": '{\n"a": 1}'},
        {"type": "pem", "min_length": 200, "max_length": 200},
        {"required": False, "hint": HINT},
        {"pattern": "^sk_[A-Za-z0-9]{40}$"},
        {"pattern": r"\w{20}", "max_length": 40},
    ],
    ids=str,
)
def test_a_consistent_definition_is_accepted(parts: dict[str, Any]) -> None:
    check_definitions([field(**parts)], None)


def test_two_ids_that_differ_in_case_are_the_same() -> None:
    assert list(definition_faults(field(), field(id="other"), field(id="APIKEY"))) == ["fields.2.id"]


def test_a_flood_of_faults_in_definitions_is_cut() -> None:
    fields = [field(id=f"f{number}", min_length=9, max_length=8) for number in range(50)]
    assert len(definition_faults(*fields)) == 20


def test_patterns_at_fault_cost_no_more_than_one_of_them() -> None:
    fields = [field(id=f"f{number}", pattern="(") for number in range(50)]
    assert len(definition_faults(*fields)) == 1


@given(st.sampled_from(PLAIN_KINDS), st.booleans(), st.none() | st.text("abc", min_size=1, max_size=9))
def test_a_definition_survives_its_journey_through_json(kind: KindName, required: bool, hint: str | None) -> None:
    before = field(type=kind, required=required, hint=hint)
    choice = field(id="one", type="choice", choices=("a", "b"), secret=False, default="a", min_length=3)
    wire = json.dumps([one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in (before, choice)])
    assert DEFINITIONS.validate_json(wire, strict=True, by_alias=True, by_name=False) == (before, choice)


# Definitions that build on a credential type


def fields_of_type(name: str, **parts: Any) -> list[FieldDefinition]:
    kinds = {"privateKey": "pem", "certificate": "pem", "chain": "pem"}
    return [
        field(**({"id": one.name, "required": one.required, "type": kinds.get(one.name, "text")} | parts))
        for one in TYPES[name].fields
    ]


TYPE_NAMES: list[TypeName] = [
    *("api-key", "oauth-token", "ssh-key"),
    *("tls-certificate", "database-url", "generic-secret"),
]


@pytest.mark.parametrize("name", TYPE_NAMES)
def test_the_fields_of_a_type_and_some_more_build_on_it(name: TypeName) -> None:
    check_definitions([*fields_of_type(name), field(id="region")], name)


@pytest.mark.parametrize("name", TYPE_NAMES)
def test_every_field_that_a_type_requires_is_there(name: TypeName) -> None:
    required = [one.name for one in TYPES[name].fields if one.required]
    assert definition_faults(field(id="region"), on=name)["fields"].startswith("must have ")
    with pytest.raises(InvalidInput) as refused:
        check_definitions([field(id="region")], name)
    assert len(refused.value.errors) == len(required)


@pytest.mark.parametrize(
    ("name", "parts", "at_fault"),
    [
        ("generic-secret", {"required": False}, "fields.0.required"),
        ("generic-secret", {"secret": False}, "fields.0.secret"),
        ("generic-secret", {"id": "Value"}, "fields.0.id"),
        ("database-url", {"type": "url"}, "fields.0.type"),
    ],
)
def test_a_field_that_refines_one_of_the_type_does_not_weaken_it(
    name: TypeName, parts: dict[str, Any], at_fault: str
) -> None:
    assert list(definition_faults(*fields_of_type(name, **parts), on=name)) == [at_fault]


def test_a_private_key_is_not_asked_for_on_one_line() -> None:
    faults = definition_faults(field(id="privateKey", type="text"), on="ssh-key")
    assert faults == {"fields.0.type": "must be pem for the type ssh-key"}


# Patterns


@pytest.mark.parametrize(
    "pattern",
    [
        *("a)|(b", "a)(?:b", ")", "(", "[a", "a\\", "*", "a{2,1}", "(?x)a # c", "(?x)#", "(?", "(?i", "(?P<a"),
        *("(?=a)", "(?!a)", "(?<=a)b", r"(a)\1", r"\Qa", "(?-u:\\xff)", "(" * 256, r"\x4", r"\p{", "(?#a)"),
    ],
)
def test_what_does_not_compile_alone_and_as_a_whole_is_no_pattern(pattern: str) -> None:
    with pytest.raises(Fault, match="no regular expression"):
        check_pattern(pattern, 100)


@pytest.mark.parametrize(
    ("pattern", "right", "wrong"),
    [
        ("abc", ["abc"], ["abcd", "xabc", "abc\n"]),
        ("a|b", ["a", "b"], ["ab", "ax", "xb"]),
        ("^a$", ["a"], ["a\n", "ba"]),
        ("(?m)^a$", ["a"], ["a\nb", "b\na", "a\n"]),
        ("(?s).", ["\n"], ["a\n"]),
        ("(?i)key", ["KEY"], ["KEYS"]),
        ("(?x) a b", ["ab"], ["a b", "abc"]),
        ("a||b", ["a", "b", ""], ["c"]),
        (r"[^\s]+", ["ab"], ["a b"]),
        ("$^|a", ["", "a"], ["b"]),
    ],
)
def test_a_pattern_matches_whole_values_only(pattern: str, right: list[str], wrong: list[str]) -> None:
    check_pattern(pattern, 100)
    assert [text for text in right + wrong if matches(pattern, text)] == right


@pytest.mark.parametrize(
    "pattern",
    [
        *("(a{1000}){1000}", r"(?:a?){100000}b", "((a{100}){100}){100}", r"\w{500}", r"(\p{L}{90}){90}"),
        *("(?:a?){4294967295}", r"[ab]*a[ab]{100000}", "(?:.?){5000}"),
    ],
)
def test_a_pattern_that_compiles_to_very_much_is_refused(pattern: str) -> None:
    with pytest.raises(Fault):
        check_pattern(pattern, 100)


def test_a_longer_value_permits_less_of_a_pattern() -> None:
    check_pattern(r"^\w{20}$", 40)
    with pytest.raises(Fault, match="maxLength"):
        check_pattern(r"^\w{20}$", MAX_CHARACTERS)
    assert "maxLength" in definition_faults(field(pattern=r"^\w{20}$"))["fields.0.pattern"]


def costly(shape: str, longest: int) -> str:
    """The largest pattern of the shape that may be matched with texts of that length."""
    passes, fails = 1, 1_000_000
    while fails - passes > 1:
        count = (passes + fails) // 2
        try:
            check_pattern(shape.format(count), longest)
            passes = count
        except Fault:
            fails = count
    return shape.format(passes)


@pytest.mark.slow
@pytest.mark.parametrize("longest", [500, 4_000, MAX_CHARACTERS])
@pytest.mark.parametrize("shape", ["(?:a?){{{}}}b", "[ab]*a[ab]{{{}}}", "(?:[ab]*a[ab]*){{{}}}c", ".*a.{{{}}}"])
def test_the_costliest_pattern_that_is_let_pass_takes_no_long_time(shape: str, longest: int) -> None:
    pattern = costly(shape, longest)
    for text in ("a" * longest, ("ab" * longest)[:longest], ("aab" * longest)[: longest - 1] + "é"):
        started = perf_counter()
        matches(pattern, text)
        assert perf_counter() - started < 2


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory in use is read as Linux tells it")
def test_patterns_that_compile_to_much_do_not_fill_the_memory() -> None:
    before = resident_bytes()
    for number in range(15):
        with pytest.raises(Fault):
            check_pattern(rf"\w{{190}}a{{{number + 1}}}", 100)  # nearly all that the engine compiles at all
    assert resident_bytes() - before < 120 * 1024 * 1024


@pytest.mark.parametrize("pattern", EXPLOSIVE)
@pytest.mark.parametrize("text", ["a" * 23_999 + "!", "x" * 23_999, "aA" * 11_999 + "="], ids=["a", "x", "aA"])
def test_a_pattern_that_others_hang_at_is_matched_or_refused_at_once(pattern: str, text: str) -> None:
    started = perf_counter()
    with suppress(Fault):
        check_pattern(pattern, len(text))
        matches(pattern, text)
    assert perf_counter() - started < 2


PIECES = st.sampled_from(
    [*"ab()[]{}|*+?.^$\\#-&, 09", "(?:", "(?i)", "(?x)", "(?s)", "(?P<n>", r"\w", r"\b", r"\pL", "{1,9}", "[^", "\\z"]
)
SHARED_PIECES = st.sampled_from(["a", "b", "ab", "(", ")", "(?:", "|", "*", "+", "?", "{1,2}", ".", "^", "$", "[ab]"])


@given(st.lists(PIECES, min_size=1, max_size=30).map("".join), st.text("ab09-# \n", max_size=200))
def test_any_pattern_is_refused_or_matched_at_once(pattern: str, text: str) -> None:
    started = perf_counter()
    with suppress(Fault):
        check_pattern(pattern, 500)
        matches(pattern, text)
    assert perf_counter() - started < 2


@given(st.lists(SHARED_PIECES, min_size=1, max_size=8).map("".join), st.text("ab", max_size=6))
def test_a_pattern_means_what_it_means_elsewhere(pattern: str, text: str) -> None:
    assume(not re.search(r"[*+?}]\+", pattern))  # elsewhere that means never to give back what was matched
    try:
        check_pattern(pattern, 500)
        elsewhere = re.compile(pattern)
    except (Fault, re.error):
        return
    assert matches(pattern, text) == bool(elsewhere.fullmatch(text))


# What values fit


@pytest.mark.parametrize(
    ("kind", "right"),
    [
        ("text", ["a", "two words", "ключ", "💥"]),
        ("password", ["a", "p w", "\\'\""]),
        (
            "url",
            ["http://a", "https://www.example.com/a?b=c#d", "HTTPS://A:8080", "http://[::1]/", "https://é.example"],
        ),
        ("url", ["https://user:pass@example.com"]),
        ("email", ["a@b.co", "first.last+tag@sub.example.com", "a" * 64 + "@example.com"]),
        ("number", ["0", "-1", "1.5", "2e10", "-0.0E-7", "9" * 100]),
        ("json", ["{}", "[]", '{"a": [1, null, "x"]}', ' {\n\t"a": 1\n}\n']),
        ("pem", [pem(ed25519_key()), issue("A").pem * 2]),
    ],
)
def test_a_value_of_its_kind_is_accepted_as_it_is(kind: KindName, right: list[str]) -> None:
    for text in right:
        assert accepted(field(type=kind), text) == {"apiKey": text}


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        ("text", ["a\nb", "a\x00", "a\x7fb"], "holds control characters"),
        ("password", [" a", "a ", "a\n"], "begins or ends with white space; give it without"),
        ("text", ["\ud800"], "holds half of a surrogate pair, which is not Unicode text"),
        (
            "url",
            [
                *("a", "example.com", "ftp://a", "http:a", "http:///a", "http://", "https://?a", "http://a b"),
                *("http:\\\\a", "http://a\\b", "javascript://a", "//a", "http://:80", "http://u@", "http://a:99999"),
                *("http://a\u200bb", "http://a:b", "http://[::1", "http://a<b"),
            ],
            "must be a URL with a host and without spaces, such as https://www.example.com/path",
        ),
        (
            "email",
            [
                *("a", "a@b", "@b.co", "a@", "a@b.co@c.de", "a b@c.de", ".a@b.co", "a.@b.co", "a..b@c.de", "a@-b.co"),
                *("a@b-.co", "a@b..co", "a@.co", "a@b.co.", "é@b.co", '"a"@b.co', "a" * 65 + "@b.co", "a@[1.2.3.4]"),
            ],
            "must be an e-mail address, such as name@example.com",
        ),
        (
            "number",
            [*("a", "01", "+1", "1.", ".5", "1e", "0x1", "NaN", "Infinity", "1_0", "1,5", "-", "\u0661", "--1")],
            "must be a number, such as 42, -1.5 or 2e10",
        ),
        ("number", ["1e999", "-1e400"], "is too large for a number"),
        (
            "json",
            [
                *("a", "{", "1", '"a"', "null", "{'a':1}", '{"a":1}x', '{"a":1,"a":2}', "[NaN]", "[1e999]", "[1,]"),
                *("[" * 25 + "]" * 25, "[" * 20_000, '["\\ud800"]', "\ufeff{}", '{"a":01}'),
            ],
            "must be a JSON object or list, nested at most 24 deep, with no name twice in an object",
        ),
        (
            "pem",
            ["a", "-----BEGIN X-----", f"x{pem(ed25519_key())}", f"{pem(ed25519_key())}x"],
            "is not PEM: give it from -----BEGIN to -----END with nothing else around it",
        ),
        ("pem", ["-----BEGIN X-----\n-----END X-----"], "holds an empty PEM block"),
        (
            "pem",
            ["-----BEGIN X-----\n!\n-----END X-----"],
            "is damaged: between the PEM marks there must be base64 and nothing else",
        ),
        ("pem", ["-----BEGIN X-----\nAAAA\n-----END X-----\n" * 21], "holds more than 20 PEM blocks"),
    ],
    ids=lambda part: part if isinstance(part, str) and len(part) < 9 else "",
)
def test_a_value_of_another_kind_is_refused_with_what_is_right(kind: KindName, wrong: list[str], message: str) -> None:
    for text in wrong:
        assert fault_of(text, type=kind) == message, ascii(text)


@pytest.mark.parametrize(
    ("parts", "text", "message"),
    [
        ({"min_length": 20}, "a" * 19, "must have at least 20 characters"),
        ({"max_length": 20}, "a" * 21, "must have at most 20 characters"),
        ({"max_length": 1}, "💥💥", "must have at most 1 character"),
        ({}, "a" * 24_001, "is longer than 24000 characters"),
        ({"type": "email"}, "a@" + "b" * 250 + ".co", "must have at most 254 characters"),
        ({"type": "number"}, "1" * 101, "must have at most 100 characters"),
        ({"type": "choice", "choices": ["EU", "US"]}, "eu", "must be one of EU, US"),
        (
            {"type": "choice", "choices": [f"{number}" for number in range(40)]},
            "x",
            "must be one of the 40 choices of the configuration",
        ),
        ({"pattern": "^sk_[0-9]+$"}, "pk_1", "must match the pattern ^sk_[0-9]+$"),
        (
            {"type": "url", "secret": False},
            "https://u@a",
            "must not hold a user name or password: this field is not secret",
        ),
        ({}, "", "is required: API key"),
        ({"required": False}, "", "is empty: leave it out, or give it a value"),
    ],
    ids=lambda part: str(part)[:40],
)
def test_a_message_says_what_is_right_and_ends_with_the_vendors_hint(
    parts: dict[str, Any], text: str, message: str
) -> None:
    assert fault_of(text, **parts) == message
    assert fault_of(text, **parts, hint=HINT) == f"{message} ({HINT})"


def test_lengths_count_characters() -> None:
    definition = field(min_length=2, max_length=2)
    assert accepted(definition, "💥é") == {"apiKey": "💥é"}


def test_a_required_field_that_is_left_out_is_named_by_its_label() -> None:
    assert value_faults([field(hint=HINT)], {}) == {"fields.apiKey": f"is required: API key ({HINT})"}


def test_what_is_left_out_has_its_default_or_no_value() -> None:
    fields = [
        field(),
        field(id="note", required=False),
        field(id="region", type="choice", choices=["EU", "US"], secret=False, default="EU"),
    ]
    check_definitions(fields, None)
    values = accept(fields, {"apiKey": SecretStr("k")})
    assert {name: value.get_secret_value() for name, value in values.items()} == {"apiKey": "k", "region": "EU"}
    assert accept(fields, {"apiKey": SecretStr("k"), "region": SecretStr("US")})["region"] == SecretStr("US")


def test_one_refusal_names_every_field_at_fault() -> None:
    fields = [field(), field(id="port", type="number"), field(id="site", type="url"), field(id="good")]
    faults = value_faults(fields, {"port": "x", "site": "x", "good": "x", "goood": "x"})
    assert list(faults) == ["fields.goood", "fields.apiKey", "fields.port", "fields.site"]
    assert faults["fields.goood"] == "is not a field of this configuration; it has apiKey, port, site, good"


@pytest.mark.parametrize("pasted", ["sk_live_4242", "a b", "", "é", "x" * 33, "hunter2"])
def test_an_unknown_field_whose_name_may_be_a_value_is_not_named(pasted: str) -> None:
    assert list(value_faults([field()], {"apiKey": "a", pasted: "b"})) == ["fields.?"]


def test_a_flood_of_unknown_fields_is_cut() -> None:
    unknown = {"x" * length: "a" for length in range(1, 33)}
    assert len(value_faults([field()], {"apiKey": "a", **unknown})) == 10


# What is accepted always satisfies the definition

FITS: dict[KindName, Callable[[str], object]] = {
    "text": lambda text: text.isprintable() or not re.search(r"[\x00-\x1f\x7f-\x9f]", text),
    "password": lambda text: text == text.strip(),
    "url": lambda text: urlsplit(text).hostname and urlsplit(text).scheme in {"http", "https"},
    "email": lambda text: text.count("@") == 1 and "." in text.split("@")[1] and " " not in text,
    "number": lambda text: isinstance(json.loads(text), int | float) and isfinite(json.loads(text)),
    "json": lambda text: isinstance(json.loads(text), dict | list),
    "pem": lambda text: text.startswith("-----BEGIN ") and text.rstrip().endswith("-----"),
}
NEARLY: dict[KindName, st.SearchStrategy[str]] = {
    "text": st.text(),
    "password": st.text(),
    "url": st.from_regex(r"https?:/?/?[a-z:@.\[\]0-9 \\/?#-]{0,20}", fullmatch=True),
    "email": st.from_regex(r"[a-z.\"]{1,5}@?[a-z.-]{1,9}", fullmatch=True) | st.emails(),
    "number": st.from_regex(r"-?[0-9.eE+-]{1,9}", fullmatch=True),
    "json": st.text('{}[]",:0 truefalsn\\', max_size=20),
    "pem": st.text("-BEGIN X\n=A", max_size=40),
}


@given(st.data(), st.sampled_from(PLAIN_KINDS), st.integers(1, 20), st.integers(0, 20))
def test_what_is_accepted_satisfies_the_definition(data: st.DataObject, kind: KindName, low: int, span: int) -> None:
    limits = {"min_length": low, "max_length": low + span} if KINDS[kind].has_lengths else {}
    definition = field(type=kind, **limits)
    text = data.draw(NEARLY[kind])
    try:
        values = accepted(definition, text)
    except ValueRefused:
        return
    assert values == {"apiKey": text}
    assert FITS[kind](text)
    assert not limits or low <= len(text) <= low + span


@given(st.sampled_from([r"[a-c]{2,4}", r"(?i)key-\d", r"^(a|b)+c?$"]), st.text("abcKEYkey-1", max_size=6))
def test_a_pattern_is_heeded(pattern: str, text: str) -> None:
    assume(text)
    try:
        accepted(field(pattern=pattern), text)
        fits = True
    except ValueRefused:
        fits = False
    assert fits == bool(re.fullmatch(pattern, text, re.ASCII))


# Nothing of a value shows in a refusal


def pieces(text: str) -> Iterator[str]:
    return (text[at : at + 8] for at in range(max(1, len(text) - 7)))


@given(
    st.sampled_from(list(KINDS)),
    st.text("QZXJ", min_size=8, max_size=40),
    st.sampled_from(
        ["{}", "{}\n", "https://{}", "a@{}", '{{"{}":1,"{}":2}}', "-----BEGIN {}-----\n{}\n-----END {}-----"]
    ),
    st.booleans(),
)
def test_no_refusal_holds_a_piece_of_a_value(kind: KindName, canary: str, shape: str, as_a_name: bool) -> None:
    parts: dict[str, Any] = {"choices": ["EU", "US"]} if kind == "choice" else {}
    if KINDS[kind].has_pattern:
        parts["pattern"] = "sk_[a-z]+"
    given = {"apiKey": SecretStr(shape.replace("{}", canary))}
    if as_a_name:
        given |= {f"{canary}42": SecretStr(canary)}
    with pytest.raises(ValueRefused) as refused:
        accept([field(type=kind, hint=HINT, **parts), field(id="more")], given)
    error = refused.value
    told = f"{error!r} {error} {error.detail} {error.errors} {''.join(traceback.format_exception(error))}"
    assert not [piece for piece in pieces(canary) if piece in told]


@pytest.mark.parametrize("wrong", ["canary-7f3e9b2c41", "canary-7f3e9b2c41\n", " canary-7f3e9b2c41"], ids=ascii)
def test_no_refusal_of_a_definition_holds_a_piece_of_its_default(wrong: str) -> None:
    for parts in ({"type": "number", "secret": False}, {"secret": True}, {"max_length": 3, "secret": False}):
        faults = definition_faults(field(**parts, default=wrong))
        assert "canary" not in str(faults)


# Values that no system can know


@pytest.mark.parametrize("kind", PLAIN_KINDS)
def test_wrong_values_fit_their_fields_and_are_never_the_same(kind: KindName) -> None:
    definition = field(type=kind)
    runs = [wrong_values([definition]) for _ in range(20)]
    assert all(accept([definition], run) == run for run in runs)
    assert len({run["apiKey"].get_secret_value() for run in runs}) == 20


@given(st.sampled_from(LENGTHS), st.data())
def test_wrong_values_keep_to_the_limits_of_every_field(kind: KindName, data: st.DataObject) -> None:
    rules = KINDS[kind]
    most = data.draw(st.none() | st.integers(rules.least_room, rules.longest))
    least = data.draw(st.none() | st.integers(1, most or rules.longest))
    definition = field(type=kind, min_length=least, max_length=most)
    check_definitions([definition], None)
    values = wrong_values([definition])
    assert accept([definition], values) == values


def test_a_wrong_value_is_a_choice_where_there_are_choices_and_a_default_where_there_is_one() -> None:
    fields = [
        field(),
        field(id="region", type="choice", choices=["EU", "US"]),
        field(id="port", type="number", secret=False, default="443"),
        field(id="note", required=False),
    ]
    values = {name: value.get_secret_value() for name, value in wrong_values(fields).items()}
    assert list(values) == ["apiKey", "region", "port", "note"]
    assert values["region"] in {"EU", "US"}
    assert values["port"] == "443"


def test_a_wrong_url_leads_nowhere() -> None:
    host = urlsplit(wrong_values([field(type="url")])["apiKey"].get_secret_value()).hostname
    assert str(host).endswith(".example")
