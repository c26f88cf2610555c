"""How a configuration is removed: only when no credential, of whichever tenant, lives on it. Repeatable, step by step.

Who makes a credential writes the pin first and then looks whether the configuration may be used; who removes one marks
it first and then looks at the pins. So one of the two sees the other. A pin whose credential is not there yet counts
for ten minutes, as long as its maker may still come through.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from vault_core.concurrency import batches, gathered
from vault_core.configuration import Configuration
from vault_core.configuration_rows import (
    ConfigurationRows,
    FoundConfiguration,
    Pin,
    audience_of,
    configuration_key,
    version_key,
)
from vault_core.credential import State
from vault_core.credential_rows import CredentialRows
from vault_core.errors import RowChanged, RowMissing, Unavailable
from vault_core.pending_values import ABANDONED_AFTER
from vault_core.stores import Discard, Replace, Row
from vault_core.stores.removals import discard_all
from vault_core.values import Values

_ATTEMPTS = 5
_AT_ONCE = 50


class ConfigurationRemoval:
    """Finishes, or takes back, the removal of a configuration that was marked."""

    def __init__(self, rows: ConfigurationRows, credentials: CredentialRows, values: Values) -> None:
        self._rows = rows
        self._credentials = credentials
        self._values = values

    async def finish(self, vendor: str, configuration_id: str, intent: Row, now: datetime) -> bool:
        """Remove the configuration and return True, or unmark it and return False when credentials live on it."""
        for _ in range(_ATTEMPTS):
            with suppress(RowChanged):  # a twin was faster with a step of it: look again
                is_gone = await self._is_gone(vendor, configuration_id, now)
                await self._rows.table.commit(Discard(intent.partition, intent.key))
                return is_gone
        raise Unavailable("The configuration keeps changing; its deletion is finished later.")

    async def _is_gone(self, vendor: str, configuration_id: str, now: datetime) -> bool:
        """Remove the configuration, or unmark it; return whether it is gone."""
        try:
            found = await self._rows.read(vendor, configuration_id)
        except RowMissing:
            return True
        if not found.configuration.deleting:  # a twin unmarked it
            return False
        if not found.configuration.removing and await self._is_in_use(vendor, configuration_id, now):
            await self._replace(found, found.configuration.but(deleting=False))
            return False
        await self._replace(found, found.configuration.but(removing=True))
        await self._remove(found)
        return True

    async def _replace(self, found: FoundConfiguration, after: Configuration) -> None:
        await self._rows.table.commit(Replace(found.row.with_document(after.document())))

    async def _is_in_use(self, vendor: str, configuration_id: str, now: datetime) -> bool:
        after = ""
        while pins := await self._rows.pins(vendor, configuration_id, after):
            for some in batches(pins, _AT_ONCE):
                if any(await gathered(self._lives(pin, configuration_id, now) for pin in some)):
                    return True
                await self._rows.drop(vendor, some)
            after = pins[-1].key
        return False

    async def _lives(self, pin: Pin, configuration_id: str, now: datetime) -> bool:
        if not self._rows.serves(pin.tenant):
            return False
        try:
            credential = (await self._credentials.read(pin.tenant, pin.credential_id)).credential
        except RowMissing:
            return abs(now - pin.at) < ABANDONED_AFTER  # clocks may differ; what lies far ahead was forged
        lives_on = credential.configuration.id if credential.configuration else None
        return lives_on == configuration_id and credential.newest.state is not State.REVOKED

    async def _remove(self, found: FoundConfiguration) -> None:
        configuration, tenant = found.configuration, found.row.partition
        await self._rows.withdraw(configuration, audience_of(configuration))
        await gathered(self._values.destroy(one.secret) for one in configuration.signing)
        latest = configuration.latest.number if configuration.latest else 0
        versions = [version_key(configuration.id, number) for number in range(1, latest + 1)]
        await discard_all(self._rows.table, tenant, versions)
        await self._rows.table.commit(Discard(tenant, configuration_key(configuration.id)))
