"""Values that are easy to recognise, of every type, and the search for them in every form."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.serialization import PrivateFormat

from tests.credential_types.key_material import DAY, dns, ed25519_key, issue, pem

_ENDS = timedelta(days=60)
_SHORTEST_LINE = 24


@dataclass(frozen=True)
class Canary:
    """A value of one type: what is sent, and the texts in it that nobody may see."""

    type: str
    fields: dict[str, str]
    secrets: tuple[str, ...]


def canaries(mark: str) -> list[Canary]:
    """Return a canary of each type. Those of a later mark may replace those of an earlier one."""
    return [
        Canary("generic-secret", {"value": spoken(mark)}, (spoken(mark),)),
        Canary("api-key", {"value": f"sk_live_{mark}"}, (mark,)),
        _oauth_token(mark),
        _ssh_key(mark),
        _certificate(mark),
        _database_url(mark),
    ]


def spoken(mark: str) -> str:
    """A text whose forms differ: in JSON, in URLs, in bytes."""
    return f'Kanari "{mark}" \\grün/ +&=%41 <b>'


def _oauth_token(mark: str) -> Canary:
    access, refresh = f"at-{mark}-access", f"rt-{mark}-refresh"
    ends = datetime.now(UTC) + _ENDS
    fields = {"accessToken": access, "refreshToken": refresh, "expiresAt": ends.isoformat(timespec="milliseconds")}
    return Canary("oauth-token", fields, (access, refresh))


def _ssh_key(mark: str) -> Canary:
    passphrase = f"Losung {mark}"
    encryption = PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(1).build(passphrase.encode())
    key = pem(ed25519_key(), PrivateFormat.OpenSSH, encryption)
    return Canary("ssh-key", {"privateKey": key, "passphrase": passphrase}, (key, *_lines(key), passphrase))


def _certificate(mark: str) -> Canary:
    now = datetime.now(UTC).replace(microsecond=0)
    issued = issue("canary.example.com", dns("canary.example.com"), not_before=now - DAY, not_after=now + _ENDS)
    return Canary("tls-certificate", issued.fields, (issued.key_pem, *_lines(issued.key_pem)))


def _database_url(mark: str) -> Canary:
    password = f"p@ss/{mark}"
    encoded = urllib.parse.quote(password, safe="")
    return Canary(
        "database-url", {"url": f"postgresql://app:{encoded}@db.example.com:5432/orders"}, (password, encoded)
    )


def _lines(text: str) -> Iterator[str]:
    return (line for line in text.splitlines() if len(line) >= _SHORTEST_LINE and not line.startswith("-----"))


def forms(secret: str) -> set[bytes]:
    """Return the secret as it may have been written down: as it is, quoted, encoded, escaped once or twice."""
    plain = secret.encode()
    escaped = [json.dumps(secret, ensure_ascii=ascii_)[1:-1] for ascii_ in (True, False)]
    twice = [json.dumps(text)[1:-1] for text in escaped]
    quoted = [urllib.parse.quote(secret, safe=""), urllib.parse.quote(secret), urllib.parse.quote_plus(secret)]
    texts = [plain.hex(), plain.hex().upper(), repr(secret)[1:-1], *escaped, *twice, *quoted]
    return {plain, *(text.encode() for text in texts), *_base64_forms(plain)}


def _base64_forms(plain: bytes) -> Iterator[bytes]:
    """Base64 of whatever the secret is a part of, at each of its three places in a group of three bytes."""
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(bytes(before) + plain)[4 if before else 0 : -4]


class Search:
    """A search for secrets, in all their forms."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._forms = {form for secret in secrets for form in forms(secret)}

    def finds_in(self, text: bytes | str) -> bool:
        """Return whether one of the secrets is in the text."""
        where = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
        return any(form in where for form in self._forms)

    def places(self, texts: Iterable[tuple[str, Any]]) -> list[str]:
        """Return the names of those texts in which one of the secrets is."""
        return [name for name, text in texts if self.finds_in(text)]
