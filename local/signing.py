"""The keys that sign the identity provider's tokens."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import RSAAlgorithm

from local.state import write_private

ALGORITHM = "RS256"


class SigningKeys:
    """The key that signs now, kept in `file` unless that is `None`, and the published public keys."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._published: dict[str, rsa.RSAPublicKey] = {}
        self._use(_load(file) if file and file.exists() else _new_key())

    @property
    def private_key(self) -> rsa.RSAPrivateKey:
        """The key that signs now, for tests that forge tokens."""
        return self._private_key

    def sign(self, claims: Mapping[str, Any]) -> str:
        return jwt.encode(dict(claims), self._private_key, ALGORITHM, headers={"kid": self._key_id})

    def check(self, token: str, audience: str) -> None:
        """Raise `InvalidTokenError` unless a published key signed the token, for the audience and for now."""
        key = self._published.get(jwt.get_unverified_header(token).get("kid", ""))
        if key is None:
            raise jwt.InvalidTokenError("unknown key")
        required = ["exp", "iat", "nbf", "aud", "iss"]
        jwt.decode(token, key, [ALGORITHM], audience=audience, options={"require": required})

    def document(self) -> dict[str, Any]:
        """Return the published keys as a JSON Web Key Set (RFC 7517)."""
        return {
            "keys": [
                {**_public_parts(key), "kid": key_id, "use": "sig", "alg": ALGORITHM}
                for key_id, key in self._published.items()
            ]
        }

    def rotate(self) -> None:
        """Sign with a new key from now on; the old ones stay published."""
        self._use(_new_key())

    def withdraw_old(self) -> None:
        """Publish only the key that signs now."""
        self._published = {self._key_id: self._published[self._key_id]}

    def _use(self, key: rsa.RSAPrivateKey) -> None:
        self._private_key = key
        self._key_id = _thumbprint(key.public_key())
        self._published[self._key_id] = key.public_key()
        if self._file:
            write_private(self._file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _load(file: Path) -> rsa.RSAPrivateKey:
    key = load_pem_private_key(file.read_bytes(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def _public_parts(key: rsa.RSAPublicKey) -> dict[str, Any]:
    parts = RSAAlgorithm.to_jwk(key, as_dict=True)
    return {name: parts[name] for name in ("kty", "n", "e")}


def _thumbprint(key: rsa.RSAPublicKey) -> str:
    """Return the key's SHA-256 thumbprint (RFC 7638)."""
    canonical = json.dumps(_public_parts(key), sort_keys=True, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()).rstrip(b"=").decode()
