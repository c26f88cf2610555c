"""No secret shows in details, in the display form, in a `repr` or in a refusal, whatever is done to the value."""

from __future__ import annotations

import traceback
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.credential_types.key_material import ed25519_key, issue, pem
from tests.credential_types.refusals import NOW, accepted_or_refused, fields_of
from vault_core.credential_types import TYPES
from vault_core.errors import ValueRefused

LATER = NOW + timedelta(days=1)
AUTHORITY = issue("Authority", authority=True)
TOKEN = jwt.encode({"exp": int(LATER.timestamp())}, "a signing key that is long enough for it", algorithm="HS256")
PASSPHRASE = "canary-passphrase"
ENCRYPTION = PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(1).build(PASSPHRASE.encode())

VALUES: list[tuple[str, dict[str, str]]] = [
    ("api-key", {"value": "sk_live_canary0123456789"}),
    ("oauth-token", {"accessToken": "canary-access-token", "refreshToken": "canary-refresh-token"}),
    ("oauth-token", {"accessToken": TOKEN, "expiresAt": LATER.isoformat(), "scopes": "a b", "tokenType": "Bearer"}),
    ("ssh-key", {"privateKey": pem(ed25519_key())}),
    (
        "ssh-key",
        {"privateKey": pem(ed25519_key(), PrivateFormat.OpenSSH, ENCRYPTION), "passphrase": PASSPHRASE},
    ),
    ("tls-certificate", {**issue(by=AUTHORITY).fields, "chain": AUTHORITY.pem}),
    ("database-url", {"url": "postgresql://user:canary-password@host:5432/db"}),
    ("database-url", {"url": "redis://canary-password@host?password=canary-password"}),
    ("generic-secret", {"value": "canary-of-any-shape"}),
]
WINDOW = 12


def pieces(type_name: str, given: dict[str, str]) -> set[str]:
    """Return every run of `WINDOW` characters of the secret fields, as far as it is not public."""
    secrets = {field.name for field in TYPES[type_name].fields if field.secret}
    texts = [line for name in secrets & set(given) for line in given[name].splitlines() if "-----" not in line]
    if type_name == "database-url":
        texts = ["canary-password"]
    return {text[at : at + WINDOW] for text in texts for at in range(max(1, len(text) - WINDOW + 1))}


def public_pieces(given: dict[str, str]) -> set[str]:
    """Return what details may show although a secret field holds it too: a private key's file has the public key."""
    accepted = next(TYPES[name].accept(fields_of(fields), NOW) for name, fields in VALUES if fields == given)
    public = str(accepted.details.get("publicKey", ""))
    return {public[at : at + WINDOW] for at in range(len(public))}


CASES = [(name, fields, pieces(name, fields) - public_pieces(fields)) for name, fields in VALUES]


@pytest.mark.parametrize(("type_name", "fields", "secret"), CASES)
def test_what_was_accepted_shows_nothing_secret(type_name: str, fields: dict[str, str], secret: set[str]) -> None:
    assert secret
    accepted = TYPES[type_name].accept(fields_of(fields), NOW)
    shown = f"{accepted!r} {accepted} {dict(accepted.details)} {TYPES[type_name].display(accepted.details)}"
    assert not [piece for piece in secret if piece in shown]


@st.composite
def mutated(draw: st.DrawFn, text: str) -> str:
    places = st.integers(0, len(text))
    start, end = sorted((draw(places), draw(places)))
    noise = ["", "\n", "\x00", " ", "é", "=", "-----BEGIN ", "%", "@", "/", ".", text[start:end]]
    inserted = draw(st.sampled_from(noise))
    return draw(
        st.sampled_from([text[:start] + inserted + text[end:], text[:start] + inserted + text[start:], inserted])
    )


@given(st.sampled_from(CASES), st.data())
def test_a_refusal_shows_nothing_secret(case: tuple[str, dict[str, str], set[str]], data: st.DataObject) -> None:
    type_name, fields, secret = case
    name = data.draw(st.sampled_from(sorted(fields)))
    changed = {**fields, name: data.draw(mutated(fields[name]))}
    if data.draw(st.booleans()):
        changed[data.draw(st.sampled_from(["passphrase", "scopes", fields[name][:40], "colour"]))] = fields[name]
    check_that_nothing_shows(type_name, changed, secret)


def check_that_nothing_shows(type_name: str, fields: dict[str, str], secret: set[str]) -> None:
    outcome = accepted_or_refused(lambda: TYPES[type_name].accept(fields_of(fields), NOW))
    if isinstance(outcome, ValueRefused):
        told = f"{outcome!r} {outcome.errors} {''.join(traceback.format_exception(outcome))}"
        assert not [piece for piece in secret if piece in told]


CERTIFICATE = next(fields for name, fields in VALUES if name == "tls-certificate")
CERTIFICATE_TEXT = TYPES["tls-certificate"].render(fields_of(CERTIFICATE)).get_secret_value()


@given(mutated(CERTIFICATE_TEXT))
def test_a_certificate_value_that_cannot_be_read_shows_nothing_secret(text: str) -> None:
    kind = TYPES["tls-certificate"]
    outcome = accepted_or_refused(lambda: kind.accept(kind.parse(SecretStr(text)), NOW))
    if isinstance(outcome, ValueRefused):
        told = f"{outcome!r} {outcome.errors} {''.join(traceback.format_exception(outcome))}"
        assert not [piece for piece in pieces("tls-certificate", CERTIFICATE) if piece in told]
