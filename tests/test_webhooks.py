"""The signatures of what is sent out, verified with the library that receivers use."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from vault_core.webhooks import new_secret, signed_headers

# The receiver's library compares with the clock of the machine; it takes five minutes either way.
AGES = st.integers(-240, 240).map(lambda seconds: timedelta(seconds=seconds))
IDS = st.from_regex(r"msg_[A-Za-z0-9-]{1,40}", fullmatch=True)
BODIES = st.dictionaries(st.text(), st.text() | st.integers()).map(lambda body: json.dumps(body, ensure_ascii=False))


def verifies(secret: SecretStr, body: str, headers: dict[str, str]) -> bool:
    try:
        Webhook(secret.get_secret_value()).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


def headers_of(secrets: list[SecretStr], body: str, *, message_id: str = "msg_1") -> dict[str, str]:
    return signed_headers(secrets, message_id, datetime.now(UTC), body.encode())


@given(IDS, AGES, BODIES)
def test_a_receiver_verifies_what_was_signed(message_id: str, age: timedelta, body: str) -> None:
    secret = new_secret()
    headers = signed_headers([secret], message_id, datetime.now(UTC) - age, body.encode())
    assert verifies(secret, body, headers)


@given(BODIES)
def test_each_secret_verifies_while_one_takes_the_others_place(body: str) -> None:
    new, old, other = new_secret(), new_secret(), new_secret()
    headers = headers_of([new, old], body)
    assert [verifies(secret, body, headers) for secret in (new, old, other)] == [True, True, False]


@given(BODIES, BODIES)
def test_another_body_is_refused(body: str, other: str) -> None:
    assume(body != other)
    secret = new_secret()
    assert not verifies(secret, other, headers_of([secret], body))


@given(BODIES, IDS, IDS)
def test_another_id_is_refused(body: str, message_id: str, other: str) -> None:
    assume(message_id != other)
    secret = new_secret()
    headers = headers_of([secret], body, message_id=message_id)
    assert not verifies(secret, body, headers | {"webhook-id": other})


@given(BODIES, st.integers(-240, 240).filter(bool))
def test_another_timestamp_is_refused(body: str, shift: int) -> None:
    secret = new_secret()
    headers = headers_of([secret], body)
    assert not verifies(secret, body, headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) + shift)})


def test_a_signature_is_that_of_the_standards_own_example() -> None:
    secret = SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    at = datetime(2021, 2, 25, 15, 2, 10, 900_000, tzinfo=UTC)
    headers = signed_headers([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", at, b'{"test": 2432232314}')
    assert headers == {
        "content-type": "application/json",
        "user-agent": "credentials-vault",
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_nothing_is_sent_unsigned() -> None:
    with pytest.raises(ValueError, match="needs a secret"):
        headers_of([], "{}")


def test_a_secret_is_32_random_bytes_that_no_text_shows() -> None:
    secrets = [new_secret() for _ in range(20)]
    shown = [secret.get_secret_value() for secret in secrets]
    assert len(set(shown)) == 20
    assert all(one.startswith("whsec_") and len(b64decode(one[6:], validate=True)) == 32 for one in shown)
    assert shown[0] not in f"{secrets[0]!r} {secrets[0]}"
