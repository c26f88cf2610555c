"""The secrets with which the vault signs what it sends out: kept as values, shown once, rotated with an overlap."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import SecretStr

from vault_core.concurrency import gathered
from vault_core.records import Record
from vault_core.values import Values

OVERLAP = timedelta(hours=24)
_MOST = 4
_FIELD = "secret"


class SigningSecret(Record):
    """A secret that signs. `secret` names it in the store; `until` is when it stops, once there is another."""

    secret: str
    created_at: datetime
    until: datetime | None = None


def signing_at(kept: Sequence[SigningSecret], now: datetime) -> tuple[SigningSecret, ...]:
    """Return those that sign at `now`, the newest first."""
    return tuple(one for one in reversed(kept) if one.until is None or now < one.until)


def succeeded(kept: Sequence[SigningSecret], name: str, now: datetime) -> tuple[SigningSecret, ...]:
    """Return the secrets with a new one, beside which the one before it signs for 24 hours.

    Those whose time is over go, and the oldest when there would be more than four.
    """
    still = [one for one in kept[:-1] if one.until and now < one.until]
    return (*still, kept[-1].but(until=now + OVERLAP), SigningSecret(secret=name, created_at=now))[-_MOST:]


def fields_of(secret: SecretStr) -> dict[str, SecretStr]:
    """Return the secret as it is kept."""
    return {_FIELD: secret}


async def read_signing(
    values: Values, tenant: str, subject: str, kept: Sequence[SigningSecret], now: datetime
) -> list[SecretStr]:
    """Return the secrets that sign at `now`, the newest first. Raises `SecretMissing` when one is gone."""
    names = [one.secret for one in signing_at(kept, now)]
    return [read[_FIELD] for read in await gathered(values.read(name, tenant, subject) for name in names)]
