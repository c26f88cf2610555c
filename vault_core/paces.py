"""How often the vault calls out at the word of a caller: without bounds it would be a tool for guessing credentials.

Kept per tenant, so that what one does neither slows down nor tells anything to another.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256

from vault_core.errors import RowChanged, RowExists, RowMissing, TooSoon
from vault_core.stores import Discard, Insert, Replace, Row, Table

INTERVAL = timedelta(minutes=1)
CALLS_PER_HOST = 30  # in a minute, for one tenant
_ATTEMPTS = 5


class Paces:
    """Grants calls at a bounded pace."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def claim(self, tenant: str, subject: str, now: datetime) -> None:
        """Claim the subject's one call of this minute; `TooSoon` when somebody has it."""

        def claimed(known: dict[str, str]) -> dict[str, str]:
            last = datetime.fromisoformat(known["at"]) if known else None
            if last and now - last < INTERVAL:
                raise TooSoon(
                    f"This was checked less than a minute ago; it can be checked again at {_clock(last + INTERVAL)}.",
                    last + INTERVAL - now,
                )
            return {"at": now.isoformat()}

        try:
            await self._change(tenant, _claim_key(subject), claimed, attempts=1)
        except (RowChanged, RowExists):
            raise TooSoon("Somebody else is just checking this; ask again in a minute.", INTERVAL) from None

    async def forget(self, tenant: str, subject: str) -> None:
        """Forget the claims of a subject that is gone. Repeatable."""
        await self._table.commit(Discard(tenant, _claim_key(subject)))

    async def take(self, tenant: str, host: str, now: datetime) -> None:
        """Take one of the tenant's 30 calls to the host in this minute; `TooSoon` when all are taken."""
        present = now.replace(second=0, microsecond=0)

        def taken(known: dict[str, str]) -> dict[str, str]:
            last = datetime.fromisoformat(known["minute"]) if known else present
            minute = max(present, last)  # requests around a full minute, and clocks that differ, go back to none
            count = int(known["count"]) if known and minute == last else 0
            if count >= CALLS_PER_HOST:
                raise TooSoon(
                    f"One host takes {CALLS_PER_HOST} checks a minute; ask again at {_clock(minute + INTERVAL)}.",
                    minute + INTERVAL - now,
                )
            return {"minute": minute.isoformat(), "count": str(count + 1)}

        try:
            await self._change(tenant, f"pace:{sha256(host.encode()).hexdigest()}", taken, attempts=_ATTEMPTS)
        except (RowChanged, RowExists):
            raise TooSoon("Many checks are asked of this host at once; ask again in a moment.", INTERVAL) from None

    async def _change(
        self, tenant: str, key: str, rule: Callable[[dict[str, str]], dict[str, str]], *, attempts: int
    ) -> None:
        for left in reversed(range(attempts)):
            try:
                row = await self._table.read(tenant, key)
            except RowMissing:
                row = None
            new = Row(tenant, key, rule(dict(row.document) if row else {}), etag=row.etag if row else "")
            try:
                await self._table.commit(Replace(new) if row else Insert(new))
                return
            except (RowChanged, RowExists):
                if not left:
                    raise


def _claim_key(subject: str) -> str:
    return f"checking:{subject}"


def _clock(at: datetime) -> str:
    return at.strftime("%H:%M:%SZ")
