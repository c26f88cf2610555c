"""Stores whose calls are measured and traced: under the name of the store, never of a row or a secret."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pydantic import SecretStr

from vault_core.stores import Change, Condition, Keys, Page, Partitions, Row, Secrets, Stores, Table
from vault_core.telemetry import STORE_CALL, span


def observed(stores: Stores) -> Stores:
    """Return the same stores, observed."""
    tables: dict[str, Any] = {
        store.name: ObservedTable(getattr(stores, store.name), store.name)
        for store in fields(stores)
        if store.name != "secrets"
    }
    return Stores(**tables, secrets=ObservedSecrets(stores.secrets))


class ObservedTable:
    """A `Table` that is known as `store`."""

    def __init__(self, table: Table, store: str) -> None:
        self._table = table
        self._store = store

    async def read(self, partition: str, key: str) -> Row:
        with span(STORE_CALL, store=self._store, operation="read"):
            return await self._table.read(partition, key)

    async def commit(self, *changes: Change) -> list[Row]:
        with span(STORE_CALL, store=self._store, operation="commit"):
            return await self._table.commit(*changes)

    async def query(self, span_: Keys | Partitions, *, where: Condition | None = None, limit: int = 1000) -> Page:
        with span(STORE_CALL, store=self._store, operation="query"):
            return await self._table.query(span_, where=where, limit=limit)


class ObservedSecrets:
    """`Secrets` that are known as `secrets`."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def new_name(self, tenant: str) -> str:
        return self._secrets.new_name(tenant)

    async def write(self, name: str, value: SecretStr) -> None:
        with span(STORE_CALL, store="secrets", operation="write"):
            await self._secrets.write(name, value)

    async def read(self, name: str) -> SecretStr:
        with span(STORE_CALL, store="secrets", operation="read"):
            return await self._secrets.read(name)

    async def disable(self, name: str) -> None:
        with span(STORE_CALL, store="secrets", operation="disable"):
            await self._secrets.disable(name)

    async def delete(self, name: str) -> None:
        with span(STORE_CALL, store="secrets", operation="delete"):
            await self._secrets.delete(name)

    async def ping(self) -> None:
        with span(STORE_CALL, store="secrets", operation="ping"):
            await self._secrets.ping()
