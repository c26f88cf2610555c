"""Brings messages to subscribers: signed, once, within ten seconds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from vault_core.errors import SecretDisabled, SecretMissing
from vault_core.outbound import Outbound, Unreachable
from vault_core.signing_secrets import read_signing
from vault_core.subscription import Subscription, subject_of
from vault_core.values import Values
from vault_core.webhooks import signed_headers

ANSWER_WITHIN = timedelta(seconds=10)


class Courier:
    """Signs messages and posts them."""

    def __init__(self, values: Values, outbound: Outbound, clock: Callable[[], datetime]) -> None:
        self._values = values
        self._outbound = outbound
        self._clock = clock

    async def bring(self, tenant: str, subscription: Subscription, message_id: str, body: str) -> bool:
        """Return whether the subscriber took the message: it did when it answers with a status of 200 to 299.

        The receiver knows a repeat by the id. Raises `Unavailable` when the signing secret cannot be read now.
        """
        now, content = self._clock(), body.encode()
        try:
            secrets = await read_signing(self._values, tenant, subject_of(subscription.id), subscription.signing, now)
            headers = signed_headers(secrets, message_id, now, content)
            reply = await self._outbound.post(subscription.url, headers, content, ANSWER_WITHIN)
        except (SecretMissing, SecretDisabled, Unreachable):  # the secrets of a subscription that is just deleted
            return False
        return 200 <= reply.status < 300
