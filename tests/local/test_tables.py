"""The genuine Tables client, with a token, against Azurite as the local cloud starts it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import aiohttp
import pytest
from azure.core.exceptions import HttpResponseError
from azure.data.tables.aio import TableServiceClient
from azure.identity.aio import ManagedIdentityCredential

from local.cloud import TABLES, LocalCloud

pytestmark = pytest.mark.slow


@pytest.fixture
async def service(local_parts: LocalCloud) -> AsyncIterator[TableServiceClient]:
    async with (
        ManagedIdentityCredential() as credential,
        TableServiceClient(local_parts.tables_url, credential=credential) as service,
    ):
        yield service


async def test_the_tables_are_there(service: TableServiceClient) -> None:
    assert {table.name async for table in service.list_tables()} >= set(TABLES)


async def test_a_row_that_was_written_is_read(service: TableServiceClient) -> None:
    key = uuid.uuid4().hex
    table = service.get_table_client("vault")
    await table.create_entity({"PartitionKey": "test", "RowKey": key, "document": "{}"})
    assert (await table.get_entity("test", key))["document"] == "{}"


async def test_a_token_for_something_else_is_refused(local_parts: LocalCloud) -> None:
    token = local_parts.identity.managed_token("https://vault.azure.net")
    headers = {"Authorization": f"Bearer {token}", "x-ms-version": "2020-12-06"}
    url = f"{local_parts.tables_url}/Tables"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        assert answer.status == 403


async def test_a_batch_that_does_not_fit_leaves_nothing_behind(service: TableServiceClient) -> None:
    key = uuid.uuid4().hex
    table = service.get_table_client("vault")
    with pytest.raises(HttpResponseError):
        await table.submit_transaction(
            [
                ("create", {"PartitionKey": key, "RowKey": "1"}),
                ("create", {"PartitionKey": key, "RowKey": "2"}),
                ("delete", {"PartitionKey": key, "RowKey": "absent"}),
            ]
        )
    assert [row async for row in table.query_entities("PartitionKey eq @key", parameters={"key": key})] == []
