"""Trials: what a vendor defines is tried before anything is made from it: its rules, its URL, and its endpoint."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from datetime import datetime

from pydantic import SecretStr

from vault_core import configuration as rules_of
from vault_core.configuration import Configuration, Definition
from vault_core.configuration_fields import accept, wrong_values
from vault_core.credential import Environment
from vault_core.errors import EndpointUnfit, FieldError, InvalidInput
from vault_core.identities import Caller
from vault_core.outbound import DestinationRefused, Outbound
from vault_core.paces import Paces
from vault_core.vendor_answers import Outcome
from vault_core.vendor_calls import Question, VendorCalls

_PATTERNS = "patterns of configurations"
_TRIALS = "trials of configurations"


class Trials:
    """Tries definitions, each tenant's at a bounded pace: `TooSoon` may be raised by all but `host_of`."""

    def __init__(self, calls: VendorCalls, paces: Paces, outbound: Outbound) -> None:
        self._calls = calls
        self._paces = paces
        self._outbound = outbound
        self._checking = asyncio.Lock()

    def host_of(self, definition: Definition) -> str | None:
        """Return the host of the endpoint, if there is one; `InvalidInput` when the vault calls no such URL."""
        try:
            return self._outbound.check(definition.validation.url) if definition.validation else None
        except DestinationRefused as refused:
            fault = FieldError("validation.url", refused.reason)
            raise InvalidInput("The vault does not call such a URL; give another.", (fault,)) from None

    async def check(self, caller: Caller, wanted: Definition, now: datetime) -> None:
        """Return when the definition can be used; `InvalidInput` names what is at fault."""
        self.host_of(wanted)
        if any(one.pattern for one in wanted.fields_):
            await self._paces.take(caller.tenant, _PATTERNS, now)
        async with self._checking:  # patterns take their time: one definition after the other, and others in between
            await asyncio.to_thread(rules_of.check, wanted)

    async def check_endpoint(
        self, caller: Caller, configuration: Configuration, draft: Definition, now: datetime
    ) -> None:
        """Return when the endpoint, if there is one, calls random values invalid; `EndpointUnfit` otherwise."""
        self.host_of(draft)
        if draft.validation is None:
            return
        version = rules_of.next_number(configuration)
        said = await self._ask(caller, configuration, version, draft, wrong_values(draft.fields_), "test", (), now)
        if said.status != "invalid":
            raise EndpointUnfit(
                "The endpoint was sent random values and had to call them invalid; its answer was "
                f"`{said.status}` ({said.reason}). Correct it and publish again."
            )

    async def ask(
        self,
        caller: Caller,
        configuration: Configuration,
        given: Mapping[str, SecretStr],
        environment: Environment,
        marketplaces: tuple[str, ...],
        now: datetime,
    ) -> Outcome:
        """Return what the endpoint says of these values. Raises `ValueRefused` when they do not fit the fields."""
        version, definition = rules_of.tried(configuration)
        values = await asyncio.to_thread(accept, definition.fields_, given)
        return await self._ask(caller, configuration, version, definition, values, environment, marketplaces, now)

    async def _ask(
        self,
        caller: Caller,
        configuration: Configuration,
        version: int,
        definition: Definition,
        values: Mapping[str, SecretStr],
        environment: Environment,
        marketplaces: tuple[str, ...],
        now: datetime,
    ) -> Outcome:
        await self._paces.take(caller.tenant, _TRIALS, now)  # however many hosts a vendor names
        asked = secrets.token_hex(16)
        question = Question(f"test_{asked}", version, asked, "test", environment, marketplaces, values)
        return await self._calls.ask(configuration, definition, question, now)
