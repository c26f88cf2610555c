"""The call by which a vendor is asked whether a value works.

POST {validation.url}    {"type": "credential.validation", "timestamp", "data": {credential, configuration,
                          environment, marketplaces, values}}, signed as Standard Webhooks 1.0
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import SecretStr

from vault_core.configuration import Configuration, Definition, Endpoint
from vault_core.contracts import Contracts
from vault_core.credential import Credential
from vault_core.errors import ConfigurationNotUsable, SecretDisabled, SecretMissing
from vault_core.outbound import Outbound, Reply, Unreachable
from vault_core.signing_secrets import read_signing
from vault_core.values import Values
from vault_core.vendor_answers import Outcome, outcome
from vault_core.webhooks import signed_headers
from vault_core.wire import iso_text

GONE = Outcome("unknown", "configuration-gone")


@dataclass(frozen=True, slots=True)
class Question:
    """What a vendor is asked. `id` is the same when the same question is put again after a crash."""

    id: str
    version: int
    credential_id: str
    credential_name: str
    environment: str
    marketplaces: tuple[str, ...]
    values: Mapping[str, SecretStr] = field(repr=False)


class VendorCalls:
    """Asks vendors. Whoever calls this has made sure that the pace allows it."""

    def __init__(self, contracts: Contracts, values: Values, outbound: Outbound) -> None:
        self._contracts = contracts
        self._values = values
        self._outbound = outbound

    async def ask_about(
        self, credential: Credential, values: Mapping[str, SecretStr], question_id: str, now: datetime
    ) -> Outcome:
        """Ask the vendor of the credential's configuration about these values of it."""
        if credential.configuration is None:
            return GONE
        try:
            contract = await self._contracts.of(credential.configuration)
        except ConfigurationNotUsable:
            return GONE
        question = Question(
            question_id,
            contract.version,
            credential.id,
            credential.name,
            credential.environment,
            credential.marketplaces,
            values,
        )
        return await self.ask(contract.configuration, contract.definition, question, now)

    async def ask(
        self, configuration: Configuration, definition: Definition, question: Question, now: datetime
    ) -> Outcome:
        """Return what the vendor says; `unknown` whenever that is not to be had."""
        endpoint = definition.validation
        if endpoint is None:
            return GONE
        try:
            secrets = await read_signing(
                self._values, configuration.vendor, subject_of(configuration.id), configuration.signing, now
            )
        except (SecretMissing, SecretDisabled):
            return GONE
        body = _body(configuration.id, question, now)
        reply = await self._reply(endpoint, signed_headers(secrets, question.id, now, body), body)
        ids = [one.id for one in definition.fields_]
        # In a thread: looking for echoes of many values in long messages takes a while, and others wait in this one.
        return await asyncio.to_thread(outcome, reply, endpoint.rules, question.values, ids)

    async def _reply(self, endpoint: Endpoint, headers: Mapping[str, str], body: bytes) -> Reply | None:
        try:
            return await self._outbound.post(endpoint.url, headers, body, endpoint.within)
        except Unreachable:
            return None


def subject_of(configuration_id: str) -> str:
    """Return what the signing secrets of a configuration are kept for."""
    return f"configuration:{configuration_id}"


def _body(configuration_id: str, question: Question, now: datetime) -> bytes:
    message = {
        "type": "credential.validation",
        "timestamp": iso_text(now),
        "data": {
            "credential": {"id": question.credential_id, "name": question.credential_name},
            "configuration": {"id": configuration_id, "version": question.version},
            "environment": question.environment,
            "marketplaces": question.marketplaces,
            "values": {key: text.get_secret_value() for key, text in question.values.items()},
        },
    }
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()
