"""What holds for the fields of every type."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from tests.credential_types.key_material import ed25519_key, issue, pem
from tests.credential_types.refusals import NOW, accept, faults_of, fields_of, refusal_of
from vault_core.credential_types import TYPES
from vault_core.credential_types.given import MAX_CHARACTERS

USABLE = {
    "api-key": {"value": "k" * 20},
    "oauth-token": {"accessToken": "t" * 20},
    "ssh-key": {"privateKey": pem(ed25519_key())},
    "tls-certificate": issue().fields,
    "database-url": {"url": "postgresql://app:hidden@db.example.com/orders"},
    "generic-secret": {"value": "s" * 20},
}
ALL = pytest.mark.parametrize("type_name", sorted(TYPES))


def test_there_are_the_six_types() -> None:
    assert set(TYPES) == set(USABLE)


def test_the_fields_are_those_of_the_design_with_the_primary_first() -> None:
    named = {
        name: [field.name + ("" if field.required else "?") for field in kind.fields] for name, kind in TYPES.items()
    }
    assert named == {
        "api-key": ["value"],
        "oauth-token": ["accessToken", "refreshToken?", "expiresAt?", "scopes?", "tokenType?"],
        "ssh-key": ["privateKey", "passphrase?"],
        "tls-certificate": ["certificate", "privateKey", "chain?"],
        "database-url": ["url"],
        "generic-secret": ["value"],
    }


def test_what_is_secret_is_marked_so() -> None:
    shown = {field.name for kind in TYPES.values() for field in kind.fields if not field.secret}
    assert shown == {"expiresAt", "scopes", "tokenType", "certificate", "chain"}


@ALL
def test_the_stored_fields_are_the_given_ones(type_name: str) -> None:
    given = USABLE[type_name]
    kept = accept(type_name, **given).fields
    assert {name: text.get_secret_value() for name, text in kept.items()} == given


@ALL
def test_what_is_rendered_is_parsed_back(type_name: str) -> None:
    fields = fields_of(USABLE[type_name])
    assert TYPES[type_name].parse(TYPES[type_name].render(fields)) == fields


@ALL
def test_a_missing_required_field_is_named(type_name: str) -> None:
    required = {f"fields.{field.name}": "is missing" for field in TYPES[type_name].fields if field.required}
    assert refusal_of(type_name) == required


@ALL
def test_an_empty_field_is_refused(type_name: str) -> None:
    for field in TYPES[type_name].fields:
        assert refusal_of(type_name, **{**USABLE[type_name], field.name: ""})[f"fields.{field.name}"] == "is empty"


@ALL
def test_an_unknown_field_is_named(type_name: str) -> None:
    faults = refusal_of(type_name, **USABLE[type_name], colour="blue")
    assert faults["fields.colour"].startswith("is not a field of this type")


@ALL
@pytest.mark.parametrize("name", ["pass word", "x" * 65, "", "<b>", "naïve", "s3cr-et"])
def test_an_unknown_field_whose_name_is_no_name_is_not_repeated(type_name: str, name: str) -> None:
    faults = refusal_of(type_name, **USABLE[type_name], **{name: "text"})
    assert list(faults) == ["fields.*"]
    assert not name or name not in faults["fields.*"]


def test_a_flood_of_unknown_fields_is_answered_briefly() -> None:
    flood = {f"name{number}": "text" for number in range(1000)}
    assert len(refusal_of("api-key", value="k" * 20, **flood)) == 10


@ALL
def test_a_field_over_the_limit_is_refused_before_it_is_looked_at(type_name: str) -> None:
    primary = TYPES[type_name].fields[0].name
    faults = refusal_of(type_name, **{**USABLE[type_name], primary: "x" * (MAX_CHARACTERS + 1)})
    assert faults == {f"fields.{primary}": f"is longer than {MAX_CHARACTERS} characters"}


@ALL
def test_half_a_surrogate_pair_is_refused(type_name: str) -> None:
    primary = TYPES[type_name].fields[0].name
    faults = refusal_of(type_name, **{**USABLE[type_name], primary: "\ud83d"})
    assert faults == {f"fields.{primary}": "holds half of a surrogate pair, which is not Unicode text"}


def test_every_field_at_fault_is_named_at_once() -> None:
    faults = refusal_of("oauth-token", accessToken="a\nb", expiresAt="soon", tokenType="a b")
    assert set(faults) == {"fields.accessToken", "fields.expiresAt", "fields.tokenType"}


@ALL
def test_a_refusal_names_the_type_and_the_reason(type_name: str) -> None:
    kind = TYPES[type_name]
    with pytest.raises(Exception, match=rf"type {type_name}\. .*`fields\.{kind.fields[0].name}` is missing"):
        kind.accept({}, NOW)


def test_a_generic_secret_may_be_any_text() -> None:
    text = " many\r\nlines\x00 \N{SNOWMAN} "
    accepted = accept("generic-secret", value=text)
    assert accepted.fields["value"] == SecretStr(text)
    assert accepted.details == {}
    assert accepted.ends_at is None
    assert TYPES["generic-secret"].display(accepted.details) == "••••"


def test_a_generic_secret_and_an_api_key_may_be_replaced_by_any_other() -> None:
    for type_name in ("generic-secret", "api-key"):
        old, new = accept(type_name, value="first-of-two"), accept(type_name, value="second-of-two")
        TYPES[type_name].check_replacement(old.details, new.details, allow_target_change=False)


@pytest.mark.parametrize("value", ["", "{", "[]", '"text"', "null", '{"certificate": 1}', '{"certificate": null}'])
def test_a_certificate_value_that_is_no_json_object_of_strings_is_refused(value: str) -> None:
    faults = faults_of(lambda: TYPES["tls-certificate"].parse(SecretStr(value)))
    assert list(faults) == ["value"]


@pytest.mark.parametrize(
    "value", ['{"chain": "a", "chain": "b"}', "[" * 40_000, '{"a":' * 9_000, '{"chain": "' + "x" * 50_000 + '"}']
)
def test_a_certificate_value_that_repeats_a_name_or_is_a_bomb_is_refused(value: str) -> None:
    faults = faults_of(lambda: TYPES["tls-certificate"].parse(SecretStr(value)))
    assert list(faults) == ["value"]
