from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from tests.credential_types.refusals import NOW, accept, refusal_of, refusal_to_replace, replace
from vault_core.credential_types import TYPES

LATER = NOW + timedelta(days=1)


def at(instant: datetime) -> str:
    return instant.isoformat()


def json_web_token(**claims: object) -> str:
    return jwt.encode(claims, "a signing key that is long enough for it", algorithm="HS256")


def segment(content: object) -> str:
    return urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def test_a_plain_token_is_accepted_with_nothing_known_of_its_end() -> None:
    accepted = accept("oauth-token", accessToken="opaque-token")
    assert accepted.details == {"scopes": [], "hasRefreshToken": False}
    assert accepted.ends_at is None
    assert TYPES["oauth-token"].display(accepted.details) == "••••"


def test_everything_that_is_given_is_told_but_the_tokens() -> None:
    accepted = accept(
        "oauth-token",
        accessToken="opaque-token",
        refreshToken="refreshing",
        expiresAt="2026-03-02T14:00:00+02:00",
        scopes="repo read:user",
        tokenType="Bearer",
    )
    assert accepted.details == {
        "expiresAt": "2026-03-02T12:00:00Z",
        "scopes": ["repo", "read:user"],
        "hasRefreshToken": True,
        "tokenType": "Bearer",
    }
    assert accepted.ends_at == datetime(2026, 3, 2, 12, tzinfo=UTC)
    assert TYPES["oauth-token"].display(accepted.details) == "••••, expires 2026-03-02T12:00:00Z"


@pytest.mark.parametrize("text", ["2026-03-01T12:00:01Z", "2031-01-31T12:00Z", "2031-01-31T12:00:00.123456789-11:30"])
def test_an_instant_with_a_zone_is_read(text: str) -> None:
    assert accept("oauth-token", accessToken="token", expiresAt=text).ends_at == datetime.fromisoformat(text)


@pytest.mark.parametrize(
    "text",
    [
        *("soon", "2031-01-31", "2031-01-31T12:00:00", "2031-01-31 12:00:00Z", "2031-02-30T12:00:00Z", "1893456000"),
        *("2031-01-31T12:00:00Z ", "2031-W05-1T12:00:00Z", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"),
        *("\uff12031-01-31T12:00:00Z", "2031-01-31T12:00:00+25:00"),
    ],
)
def test_an_end_that_is_no_instant_with_a_zone_is_refused(text: str) -> None:
    faults = refusal_of("oauth-token", accessToken="token", expiresAt=text)
    assert faults["fields.expiresAt"].startswith("must be an instant of ISO 8601 with a zone")


@pytest.mark.parametrize("end", [NOW, NOW - timedelta(seconds=1)])
def test_an_end_that_is_not_in_the_future_is_refused(end: datetime) -> None:
    expected = "has already expired; get a fresh token"
    assert refusal_of("oauth-token", accessToken="token", expiresAt=at(end)) == {"fields.expiresAt": expected}
    token = json_web_token(exp=int(end.timestamp()))
    assert refusal_of("oauth-token", accessToken=token) == {"fields.accessToken": expected}


def test_the_end_of_a_json_web_token_is_its_own() -> None:
    accepted = accept("oauth-token", accessToken=json_web_token(exp=int(LATER.timestamp())))
    assert accepted.ends_at == LATER
    assert accepted.details["expiresAt"] == "2026-03-02T12:00:00Z"


@pytest.mark.parametrize("difference", [-60, 0, 60])
def test_the_earlier_of_two_ends_that_agree_counts(difference: int) -> None:
    other = LATER + timedelta(seconds=difference)
    token = json_web_token(exp=int(LATER.timestamp()))
    assert accept("oauth-token", accessToken=token, expiresAt=at(other)).ends_at == min(LATER, other)


@pytest.mark.parametrize("difference", [-61, 61])
def test_two_ends_that_disagree_are_refused(difference: int) -> None:
    token = json_web_token(exp=int(LATER.timestamp()))
    other = LATER + timedelta(seconds=difference)
    assert refusal_of("oauth-token", accessToken=token, expiresAt=at(other)) == {
        "fields.expiresAt": "does not agree with the `exp` that the token itself carries"
    }


def test_a_json_web_token_without_an_end_takes_the_given_one() -> None:
    assert accept("oauth-token", accessToken=json_web_token(sub="x"), expiresAt=at(LATER)).ends_at == LATER


@pytest.mark.parametrize(
    "token",
    [
        f"{segment({'alg': 'RS256'})}.bm90IGpzb24.c2ln",
        f"{segment({'alg': 'RS256'})}.{segment(['a', 'list'])}.c2ln",
        f"{segment({'alg': 'RS256'})}.{segment({})[:-1]}.c2ln",
        f"{urlsafe_b64encode(b'{broken12').decode()}.{segment({})}.c2ln",
        f"{segment({'alg': 'RS256'})}.{urlsafe_b64encode(b'[' * 15_000).decode().rstrip('=')}.c2ln",
    ],
)
def test_what_is_shaped_like_a_json_web_token_must_be_one(token: str) -> None:
    assert refusal_of("oauth-token", accessToken=token) == {
        "fields.accessToken": "looks like a JSON Web Token but cannot be read as one; check that it is whole"
    }


@pytest.mark.parametrize("exp", ["tomorrow", True, [], -1, 1e300, 253_402_300_800, float("nan")])
def test_an_exp_that_is_no_instant_is_refused(exp: object) -> None:
    token = f"{segment({'alg': 'RS256'})}.{segment({'exp': exp})}.c2ln"
    assert refusal_of("oauth-token", accessToken=token) == {
        "fields.accessToken": "is a JSON Web Token whose `exp` is not an instant"
    }


@pytest.mark.parametrize("token", ["a.b.c", "ya29.a0Af.xyz", "one.two", "eyJhbGciOiJSUzI1NiJ9..", "a.b.c.d.e"])
def test_a_token_with_points_that_is_no_json_web_token_is_opaque(token: str) -> None:
    assert accept("oauth-token", accessToken=token).ends_at is None


@pytest.mark.parametrize("field", ["accessToken", "refreshToken"])
@pytest.mark.parametrize("text", ["two\nlines", " padded", "padded\n"])
def test_a_token_is_one_line(field: str, text: str) -> None:
    assert f"fields.{field}" in refusal_of("oauth-token", **{"accessToken": "token", field: text})


@pytest.mark.parametrize("scopes", [" a", "a ", "a  b", 'a"b', "a\\b", "a,b\n", "é", "x" * 4_097])
def test_scopes_that_are_none_are_refused(scopes: str) -> None:
    assert "fields.scopes" in refusal_of("oauth-token", accessToken="token", scopes=scopes)


@pytest.mark.parametrize("token_type", ["a b", "Bearer\n", "x" * 65, "Bärer"])
def test_a_token_type_that_is_no_name_is_refused(token_type: str) -> None:
    assert "fields.tokenType" in refusal_of("oauth-token", accessToken="token", tokenType=token_type)


@pytest.mark.parametrize("secret", ["accessToken", "refreshToken"])
def test_a_token_put_where_viewers_see_it_is_refused(secret: str) -> None:
    given = {"accessToken": "first-token", "refreshToken": "second-token"}
    faults = refusal_of("oauth-token", **given, scopes=f"repo {given[secret]}", tokenType=given[secret])
    assert set(faults) == {"fields.scopes", "fields.tokenType"}


def test_a_token_may_be_replaced_by_one_that_expires_later() -> None:
    old = accept("oauth-token", accessToken="old", expiresAt=at(LATER))
    new = accept("oauth-token", accessToken="new", expiresAt=at(LATER + timedelta(microseconds=1)))
    replace("oauth-token", old, new)


@pytest.mark.parametrize("earlier", [timedelta(0), timedelta(seconds=1)])
def test_a_token_is_not_replaced_by_one_that_does_not_expire_later(earlier: timedelta) -> None:
    old = accept("oauth-token", accessToken="old", expiresAt=at(LATER))
    new = accept("oauth-token", accessToken="new", expiresAt=at(LATER - earlier))
    faults = refusal_to_replace("oauth-token", old, new)
    assert faults["fields.expiresAt"].startswith("is not later than")


def test_a_token_with_an_end_is_not_replaced_by_one_of_unknown_end() -> None:
    old = accept("oauth-token", accessToken="old", expiresAt=at(LATER))
    faults = refusal_to_replace("oauth-token", old, accept("oauth-token", accessToken="new"))
    assert faults["fields.expiresAt"].startswith("is missing")


def test_a_token_of_unknown_end_may_be_replaced_by_any() -> None:
    old = accept("oauth-token", accessToken="old")
    replace("oauth-token", old, accept("oauth-token", accessToken="new"))
    replace("oauth-token", old, accept("oauth-token", accessToken="new", expiresAt=at(LATER)))
