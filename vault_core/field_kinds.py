"""The kinds of fields that a vendor can define: what each accepts, and random values of each."""

from __future__ import annotations

import re
import secrets
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from pydantic_core import Url

from vault_core.credential_types.given import MAX_CHARACTERS, Fault
from vault_core.credential_types.pem import read_blocks
from vault_core.errors import InvalidInput
from vault_core.outbound import MAX_URL
from vault_core.strict_json import MAX_LENIENT_DEPTH, parse_object_or_list

KindName = Literal["text", "password", "url", "email", "number", "choice", "json", "pem"]

MAX_PEM_BLOCKS = 20
_MAX_EMAIL = 254  # RFC 5321 section 4.5.3.1, as erratum 1690 of RFC 3696 reads it
_MAX_LOCAL_PART = 64
_MAX_NUMBER = 100

_URL = re.compile(r"https?://[^\s/?#\\][^\s\\]*", re.IGNORECASE)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")  # RFC 8259 section 6
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@(?:{_LABEL}\.)+{_LABEL}")
_NOT_A_URL = "must be a URL with a host and without spaces, such as https://www.example.com/path"
_NOT_AN_EMAIL = "must be an e-mail address, such as name@example.com"
_NOT_A_NUMBER = "must be a number, such as 42, -1.5 or 2e10"
_NOT_JSON = f"must be a JSON object or list, nested at most {MAX_LENIENT_DEPTH} deep, with no name twice in an object"

_BEGIN, _END = ("-----BEGIN PRIVATE KEY-----\n", "-----END PRIVATE KEY-----")
_PEM_LINE = 64


def _nothing_more(text: str) -> None:
    """Accept any text that the rules for all kinds accept."""


def _check_url(text: str) -> None:
    if not _URL.fullmatch(text) or not text.isprintable():
        raise Fault(_NOT_A_URL)
    try:
        Url(text)
    except ValueError:
        raise Fault(_NOT_A_URL) from None


def check_no_sign_in(url: str) -> None:
    """Return when a URL that was accepted holds neither a user name nor a password; `Fault` otherwise."""
    parts = Url(url)
    if parts.username or parts.password:
        raise Fault("must not hold a user name or password: this field is not secret")


def _check_email(text: str) -> None:
    parts = _EMAIL.fullmatch(text)
    if parts is None or len(parts[1]) > _MAX_LOCAL_PART:
        raise Fault(_NOT_AN_EMAIL)


def _check_number(text: str) -> None:
    if not _NUMBER.fullmatch(text):
        raise Fault(_NOT_A_NUMBER)
    if not isfinite(float(text)):
        raise Fault("is too large for a number")


def _check_json(text: str) -> None:
    try:
        parse_object_or_list(text.encode())
    except InvalidInput:
        raise Fault(_NOT_JSON) from None


def _check_pem(text: str) -> None:
    for block in read_blocks(text, most=MAX_PEM_BLOCKS):
        if not block.body.strip():
            raise Fault("holds an empty PEM block")
        if ":" not in block.body:  # the headers of an encrypted key (RFC 1421) are no base64
            block.content()


def _wrong_text(length: int) -> str:
    return secrets.token_hex(length)[:length]


def _wrong_host(length: int) -> str:
    """Return a host name of labels that are not too long, under a domain that is nobody's (RFC 2606)."""
    name = list(_wrong_text(length - len(".example")))
    for place in range(60, len(name) - 1, 61):
        name[place] = "."
    return "".join(name) + ".example"


def _wrong_url(length: int) -> str:
    site = f"https://{_wrong_host(24)}"
    return f"{site}/{_wrong_text(length)}"[:length]


def _wrong_email(length: int) -> str:
    return f"{_wrong_text(16)}@{_wrong_host(length - 17)}"


def _wrong_number(length: int) -> str:
    return str(secrets.randbelow(9 * 10 ** (length - 1)) + 10 ** (length - 1))


def _wrong_json(length: int) -> str:
    before, after = '{"wrong":"', '"}'
    return before + _wrong_text(length - len(before) - len(after)) + after


def _wrong_pem(length: int) -> str:
    lines, rest = divmod(length - len(_BEGIN) - len(_END), _PEM_LINE + 1)
    characters = lines * _PEM_LINE + max(0, rest - 1) // 4 * 4
    body = b64encode(secrets.token_bytes(characters // 4 * 3)).decode()
    wrapped = (body[at : at + _PEM_LINE] + "\n" for at in range(0, characters, _PEM_LINE))
    return f"{_BEGIN}{''.join(wrapped)}{_END}".ljust(length, "\n")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of field accepts. Lengths are in characters.

    `check` raises `Fault` for a text that is not of the kind. `wrong` returns a random one of the given length, which
    is `usual` unless the field has limits; `least_room` is the smallest upper limit that a field of the kind can have.
    """

    check: Callable[[str], None] = _nothing_more
    wrong: Callable[[int], str] = _wrong_text
    usual: int = 32
    longest: int = MAX_CHARACTERS
    least_room: int = 1
    one_line: bool = True
    has_lengths: bool = True
    has_pattern: bool = True
    always_secret: bool = False


KINDS: dict[KindName, Kind] = {
    "text": Kind(),
    "password": Kind(always_secret=True),
    "url": Kind(_check_url, _wrong_url, usual=48, longest=MAX_URL, least_room=32),
    "email": Kind(_check_email, _wrong_email, usual=40, longest=_MAX_EMAIL, least_room=32),
    "number": Kind(_check_number, _wrong_number, usual=12, longest=_MAX_NUMBER, has_lengths=False),
    "choice": Kind(has_lengths=False, has_pattern=False),
    "json": Kind(_check_json, _wrong_json, usual=48, least_room=32, one_line=False, has_pattern=False),
    "pem": Kind(
        _check_pem, _wrong_pem, usual=1024, least_room=128, one_line=False, has_pattern=False, always_secret=True
    ),
}
