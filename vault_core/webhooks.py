"""Signs what the vault sends out, so that its receiver can tell that the vault sent it (Standard Webhooks 1.0)."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime
from secrets import token_bytes

from pydantic import SecretStr

_PREFIX = "whsec_"
_KEY_BYTES = 32
_USER_AGENT = "credentials-vault"


def new_secret() -> SecretStr:
    """Return a new signing secret: `whsec_` and 32 random bytes in base64."""
    return SecretStr(_PREFIX + b64encode(token_bytes(_KEY_BYTES)).decode())


def signed_headers(secrets: Sequence[SecretStr], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the headers with which the JSON body is sent, signed with each of the secrets.

    A receiver needs one of the signatures to match, so that two secrets are good while one takes the other's place.
    Raises `ValueError` when there is no secret: nothing leaves unsigned.
    """
    if not secrets:
        raise ValueError("a message needs a secret to be signed with")
    timestamp = str(int(at.timestamp()))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return {
        "content-type": "application/json",
        "user-agent": _USER_AGENT,
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_signature(secret, signed) for secret in secrets),
    }


def _signature(secret: SecretStr, signed: bytes) -> str:
    key = b64decode(secret.get_secret_value().removeprefix(_PREFIX), validate=True)
    return "v1," + b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
