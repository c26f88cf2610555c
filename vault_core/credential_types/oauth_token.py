"""`oauth-token`: an access token with what is known of its end, its scopes and its refresh token."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from datetime import UTC, datetime, timedelta

import jwt

from vault_core.credential_types.given import (
    BULLETS,
    Fault,
    Faults,
    PrimaryValue,
    check_one_line,
    instant_text,
    read_fields,
    refused,
)
from vault_core.credential_types.shape import Accepted, CredentialType, Details, Field, Fields
from vault_core.errors import FieldError

AGREEMENT = timedelta(seconds=60)
"""How far a token's own `exp` and the given `expiresAt` may lie apart."""

_MAX_SCOPES = 4_096
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_SCOPES = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*")  # RFC 6749 section 3.3
_TOKEN_TYPE = re.compile(r"[A-Za-z0-9._-]{1,64}")  # RFC 6749 appendix A.13, without the URI form
_JWT_SHAPE = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_LATEST = datetime.max.replace(tzinfo=UTC).timestamp() - 1
_NOT_A_JWT = "looks like a JSON Web Token but cannot be read as one; check that it is whole"


class OAuthToken(PrimaryValue):
    """A token of RFC 6749; a JSON Web Token is recognised and its `exp` is heeded."""

    name = "oauth-token"
    fields: tuple[Field, ...] = (
        Field("accessToken", "The access token"),
        Field("refreshToken", "The token that gets a new access token", required=False),
        Field("expiresAt", "When the access token ends: ISO 8601 with a zone", required=False, secret=False),
        Field("scopes", "The granted scopes, separated by spaces", required=False, secret=False),
        Field("tokenType", "How the token is presented, such as Bearer", required=False, secret=False),
    )

    def accept(self, fields: Fields, now: datetime) -> Accepted:
        """Accept a token whose end, where it is known, lies after `now`.

        The end is `expiresAt`, or the `exp` of a JSON Web Token. When both are known they must agree to
        60 seconds, and the earlier one counts.
        """
        given = read_fields(self.name, self.fields, fields)
        faults = Faults(self.name)
        ends = [
            faults.attempt("accessToken", lambda: _end_of_token(given["accessToken"], now)),
            faults.attempt("expiresAt", lambda: _end_as_given(given.get("expiresAt"), now)),
        ]
        known = [end for end in ends if end is not None]
        if known and max(known) - min(known) > AGREEMENT:
            faults.add("expiresAt", "does not agree with the `exp` that the token itself carries")
        faults.attempt("refreshToken", lambda: check_one_line(given.get("refreshToken", "")))
        _check_what_is_shown(given, faults)
        faults.refuse_any()
        ends_at = min(known, default=None)
        return Accepted(fields, _details(given, ends_at), ends_at)

    def display(self, details: Details) -> str:
        """Return bullets and when the token ends, if that is known."""
        return f"{BULLETS}, expires {details['expiresAt']}" if "expiresAt" in details else BULLETS

    def check_replacement(self, old: Details, new: Details, *, allow_target_change: bool) -> None:
        """Accept a token that expires later.

        When nothing is known of the old one's end, any will do. When the old one has an end, the new one must
        have one too: a missing `expiresAt` is ignorance (RFC 6749 section 5.1), not a life without end.
        """
        if "expiresAt" not in old:
            return
        if "expiresAt" not in new:
            raise refused(self.name, FieldError("fields.expiresAt", _END_NEEDED))
        if datetime.fromisoformat(new["expiresAt"]) <= datetime.fromisoformat(old["expiresAt"]):
            raise refused(self.name, FieldError("fields.expiresAt", _END_NOT_LATER))


_END_NEEDED = "is missing; the token to be replaced has an end, so say when the new one ends"
_END_NOT_LATER = "is not later than the end of the token to be replaced; get a token that lasts longer"


def _details(given: dict[str, str], ends_at: datetime | None) -> dict[str, object]:
    details: dict[str, object] = {
        "scopes": given["scopes"].split(" ") if "scopes" in given else [],
        "hasRefreshToken": "refreshToken" in given,
    }
    if ends_at is not None:
        details["expiresAt"] = instant_text(ends_at)
    if "tokenType" in given:
        details["tokenType"] = given["tokenType"]
    return details


def _check_what_is_shown(given: dict[str, str], faults: Faults) -> None:
    """Scopes and token type are shown without a lease, so a token put there by mistake is refused."""
    secrets = {given["accessToken"], given.get("refreshToken", given["accessToken"])}
    scopes = given.get("scopes")
    if scopes is not None and (len(scopes) > _MAX_SCOPES or not _SCOPES.fullmatch(scopes)):
        faults.add("scopes", f"must be scopes separated by single spaces, {_MAX_SCOPES} characters at most")
    if scopes is not None and secrets & set(scopes.split(" ")):
        faults.add("scopes", "holds a token; scopes are shown to viewers")
    token_type = given.get("tokenType")
    if token_type is not None and (not _TOKEN_TYPE.fullmatch(token_type) or token_type in secrets):
        faults.add("tokenType", "must be a name such as Bearer")


def _end_as_given(text: str | None, now: datetime) -> datetime | None:
    if text is None:
        return None
    end = _instant(text) if _INSTANT.fullmatch(text) else None
    if end is None:
        raise Fault("must be an instant of ISO 8601 with a zone, such as 2031-01-31T12:00:00Z")
    return _in_the_future(end, now)


def _instant(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _end_of_token(token: str, now: datetime) -> datetime | None:
    """Return the `exp` of a JSON Web Token; None for any other token and for one without."""
    check_one_line(token)
    if not _is_shaped_like_a_jwt(token):
        return None
    end = _claims(token).get("exp")
    if end is None:
        return None
    if isinstance(end, bool) or not isinstance(end, int | float) or not 0 <= end <= _LATEST:
        raise Fault("is a JSON Web Token whose `exp` is not an instant")
    return _in_the_future(datetime.fromtimestamp(end, UTC), now)


def _in_the_future(end: datetime, now: datetime) -> datetime:
    if end <= now:
        raise Fault("has already expired; get a fresh token")
    return end


def _is_shaped_like_a_jwt(token: str) -> bool:
    shape = _JWT_SHAPE.fullmatch(token)
    if shape is None:
        return False
    header = shape[1]
    try:
        return urlsafe_b64decode(header + "=" * (-len(header) % 4)).lstrip().startswith(b"{")
    except ValueError:
        return False


def _claims(token: str) -> dict[str, object]:
    try:
        # The token is another issuer's: the vault has no key for it and trusts nothing but a shorter life.
        claims: dict[str, object] = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError:
        raise Fault(_NOT_A_JWT) from None
    return claims


TYPE: CredentialType = OAuthToken()
