"""How things stand: counts over all credentials that a caller may see."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from vault_core.credential import Status, status
from vault_core.credential_listing import CredentialListing
from vault_core.identities import Caller
from vault_core.rotation import is_rotation_due
from vault_core.vendor_answers import Verdict


@dataclass(slots=True)
class Summary:
    """How many credentials there are, in which status, with which verdict; how many are due to be rotated."""

    total: int = 0
    status: Counter[Status] = field(default_factory=Counter)
    validation: Counter[Verdict] = field(default_factory=Counter)
    type: Counter[str] = field(default_factory=Counter)
    rotation_due: int = 0


class Summaries:
    """Counts credentials. One call to the store per thousand of them."""

    def __init__(self, listing: CredentialListing) -> None:
        self._listing = listing

    async def of(self, caller: Caller, now: datetime) -> Summary:
        """Return the counts over all credentials that the caller may see."""
        summary = Summary()
        async for shown in self._listing.visible(caller, now):
            credential, rules = shown.credential, shown.rules
            summary.total += 1
            summary.status[status(credential, now, rules.notice_period)] += 1
            summary.validation[credential.validation.status] += 1
            summary.type[credential.type] += 1
            summary.rotation_due += is_rotation_due(credential, rules, now)
        return summary
