"""A backup of the tables is all of their rows as they are, and comes back as it was."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.data.tables import EdmType, EntityProperty
from azure.data.tables.aio import TableServiceClient

from infra import backup
from infra.backup import TABLES, NotDone, restore, save
from local import cloud
from local.azurite import start_azurite, tables_url
from local.cloud import LocalCloud
from local.ports import Ports
from tests.conftest import AUTHORITY, background_loop
from tests.end_to_end.canaries import Search, canaries
from tests.stores.tokens import key_vault_token, storage_token
from tests.vaults import ALICE, NOON, World
from vault_core.stores import Stores
from vault_core.stores.key_vault import open_key_vaults
from vault_core.stores.outages import open_transport
from vault_core.stores.tables import AzureTable, table_client

pytestmark = pytest.mark.slow

Said = list[str]


@pytest.fixture(scope="module")
def accounts() -> Iterator[tuple[str, str]]:
    """Two storage accounts of their own: one that is saved, and one that is restored to."""
    with background_loop() as loop:
        urls, children = [], []
        for _ in range(2):
            port = Ports.any_free().claimed().tables
            started = start_azurite(port, AUTHORITY, None)
            children.append(asyncio.run_coroutine_threadsafe(started, loop).result())
            urls.append(tables_url(port))
        yield urls[0], urls[1]
        for child in children:
            asyncio.run_coroutine_threadsafe(child.stop(), loop).result()


async def opened(url: str, parts: LocalCloud, until: AsyncExitStack) -> TableServiceClient:
    """A client of the account, whose tables are there and empty."""
    service = TableServiceClient(url, credential=storage_token(parts))
    await until.enter_async_context(service)
    for name in TABLES:
        await service.delete_table(name)
        await service.create_table(name)
    return service


@pytest.fixture
async def until() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def source(accounts: tuple[str, str], local_parts: LocalCloud, until: AsyncExitStack) -> TableServiceClient:
    return await opened(accounts[0], local_parts, until)


@pytest.fixture
async def target(accounts: tuple[str, str], local_parts: LocalCloud, until: AsyncExitStack) -> TableServiceClient:
    return await opened(accounts[1], local_parts, until)


def silently(_: str) -> None:
    """For who wants to hear of no progress."""


def at_noon() -> datetime:
    return NOON


async def insert(service: TableServiceClient, table: str, *entities: dict[str, Any]) -> None:
    async with service.get_table_client(table) as client:
        for start in range(0, len(entities), 50):
            await client.submit_transaction([("create", entity) for entity in entities[start : start + 50]])


def plain_rows(number: int, partition: str = "contoso") -> list[dict[str, Any]]:
    return [{"PartitionKey": partition, "RowKey": f"{n:06}", "document": f'{{"n":{n}}}'} for n in range(number)]


async def wire_rows(service: TableServiceClient, table: str, parts: LocalCloud) -> list[dict[str, Any]]:
    """Return the rows as the service writes them, with all their types, but for what it notes of a write itself."""
    token = (await storage_token(parts).get_token()).token
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": "application/json;odata=fullmetadata",
        "x-ms-version": "2020-12-06",
    }
    rows: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    async with aiohttp.ClientSession(headers=headers) as session:
        while True:
            async with session.get(f"{service.url}/{table}()", params=more) as answer:
                rows += (await answer.json())["value"]
                found = {name: answer.headers.get(f"x-ms-continuation-{name}") for name in BEHIND}
            more = {name: key for name, key in found.items() if key}
            if not more:
                return [{name: row[name] for name in sorted(row) if not name.startswith(NOTED)} for row in rows]


BEHIND = ("NextPartitionKey", "NextRowKey")
NOTED = ("odata.", "Timestamp")


async def everything(service: TableServiceClient, parts: LocalCloud) -> dict[str, list[dict[str, Any]]]:
    return {table: await wire_rows(service, table, parts) for table in TABLES}


async def saved(service: TableServiceClient, folder: Path) -> Said:
    told: Said = []
    await save(service, folder, at_noon, told.append)
    return told


def contents(folder: Path) -> dict[str, bytes]:
    """All that the folder holds, unpacked."""
    read = {".gz": lambda file: gzip.decompress(file.read_bytes()), ".json": Path.read_bytes}
    return {file.name: read[file.suffix](file) for file in folder.iterdir()}


def test_it_is_of_the_tables_that_the_vault_has() -> None:
    assert sorted(TABLES) == sorted(cloud.TABLES)


async def test_every_type_comes_back_as_it_was(
    source: TableServiceClient, target: TableServiceClient, local_parts: LocalCloud, tmp_path: Path
) -> None:
    entity = {
        "PartitionKey": "O'Neil|ä-漢字",
        "RowKey": "🔑 100%25",
        "text": "\"'\r\n\u2028 {}",
        "empty": "",
        "lookalike": "2026-11-21T12:00:00Z",
        "small": 7,
        "large": EntityProperty(2**60 + 1, EdmType.INT64),
        "little": EntityProperty(7, EdmType.INT64),
        "real": 0.1,
        "whole": 2.0,
        "yes": True,
        "at": datetime(2026, 11, 21, 12, 0, 0, 123456, UTC),
        "to_the_digit": EntityProperty("2026-11-21T12:00:00.1234567Z", EdmType.DATETIME),
        "id": UUID(int=1),
        "bytes": b"\x00\xff",
    }
    await insert(source, "vault", entity)
    await saved(source, tmp_path)
    await restore(tmp_path, target, silently, into_used=False)
    [back] = await wire_rows(target, "vault", local_parts)
    assert [back] == await wire_rows(source, "vault", local_parts)
    assert back["large"] == str(2**60 + 1)
    assert back["to_the_digit"] == "2026-11-21T12:00:00.1234567Z"
    assert back["little@odata.type"] == "Edm.Int64"


async def test_rows_of_a_megabyte_come_back(
    source: TableServiceClient, target: TableServiceClient, local_parts: LocalCloud, tmp_path: Path
) -> None:
    long = {f"document{n or ''}": "x" * 32_000 for n in range(16)}
    for key in range(9):
        await insert(source, "audit", {"PartitionKey": "contoso", "RowKey": str(key), **long})
    await saved(source, tmp_path)
    await restore(tmp_path, target, silently, into_used=False)
    assert await everything(target, local_parts) == await everything(source, local_parts)


async def test_thousands_of_rows_in_many_partitions_come_back(
    source: TableServiceClient, target: TableServiceClient, local_parts: LocalCloud, tmp_path: Path
) -> None:
    await insert(source, "vault", *plain_rows(2_345))
    for tenant in range(30):
        await insert(source, "leases", *plain_rows(tenant, f"tenant-{tenant:02}"))
    told = await saved(source, tmp_path)
    assert told == ["vault: 2,345 rows", "leases: 435 rows", "due: 0 rows", "audit: 0 rows", "catalog: 0 rows"]
    await restore(tmp_path, target, silently, into_used=False)
    assert await everything(target, local_parts) == await everything(source, local_parts)


async def test_progress_is_told_on_the_way(
    source: TableServiceClient, target: TableServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "_TOLD_EVERY", 1_000)
    await insert(source, "vault", *plain_rows(1_500))
    assert (await saved(source, tmp_path))[:2] == ["vault: 1,000 rows", "vault: 1,500 rows"]
    told: Said = []
    await restore(tmp_path, target, told.append, into_used=False)
    assert told[:2] == ["vault: 1,000 of 1,500 rows", "vault: 1,500 rows"]


@pytest.mark.parametrize("step", range(1, 4))
async def test_a_save_that_was_cut_short_goes_on_where_it_was(
    step: int,
    source: TableServiceClient,
    target: TableServiceClient,
    local_parts: LocalCloud,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await insert(source, "vault", *plain_rows(2_100))
    await insert(source, "audit", *plain_rows(10))

    steps, write = iter(range(step)), backup.Progress.write

    def write_or_stop(progress: backup.Progress, to: Path) -> None:
        if next(steps, None) is None:
            raise KeyboardInterrupt  # after rows were written, and before it is noted that they were
        write(progress, to)

    with monkeypatch.context() as patched:
        patched.setattr(backup.Progress, "write", write_or_stop)
        with pytest.raises(KeyboardInterrupt):
            await saved(source, tmp_path)
    with pytest.raises(NotDone, match="repeat the save with the same folder first"):
        await restore(tmp_path, target, silently, into_used=False)
    await saved(source, tmp_path)
    await restore(tmp_path, target, silently, into_used=False)
    assert await everything(target, local_parts) == await everything(source, local_parts)
    assert contents(tmp_path)["vault.jsonl.gz"].count(b"\n") == 2_100


async def test_a_folder_is_for_one_backup_of_one_account(
    source: TableServiceClient, target: TableServiceClient, tmp_path: Path
) -> None:
    await source.delete_table("catalog")
    with pytest.raises(ResourceNotFoundError):
        await saved(source, tmp_path)
    with pytest.raises(NotDone, match="a part of"):
        await saved(target, tmp_path)
    await source.create_table("catalog")
    await saved(source, tmp_path)
    with pytest.raises(NotDone, match="a whole backup"):
        await saved(source, tmp_path)


async def test_a_folder_without_a_backup_is_not_restored(target: TableServiceClient, tmp_path: Path) -> None:
    with pytest.raises(NotDone, match=r"^There is no folder .*absent\.$"):
        await restore(tmp_path / "absent", target, silently, into_used=False)
    with pytest.raises(NotDone, match="holds no backup"):
        await restore(tmp_path, target, silently, into_used=False)


async def test_a_file_is_no_folder(source: TableServiceClient, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotDone, match="is a file"):
        await saved(source, tmp_path / "file")


async def test_a_folder_is_for_its_owner_alone(source: TableServiceClient, tmp_path: Path) -> None:
    await saved(source, tmp_path / "backups" / "today")
    assert (tmp_path / "backups" / "today").stat().st_mode & 0o077 == 0


async def test_tables_with_rows_are_left_alone_unless_asked(
    source: TableServiceClient, target: TableServiceClient, local_parts: LocalCloud, tmp_path: Path
) -> None:
    await insert(source, "vault", *plain_rows(120))
    await saved(source, tmp_path)
    mine: list[dict[str, Any]] = [
        {"PartitionKey": "contoso", "RowKey": "000001", "other": 1},
        {"PartitionKey": "z", "RowKey": "mine"},
    ]
    for entity in mine:
        await insert(target, "vault", entity)
    with pytest.raises(NotDone, match="has rows"):
        await restore(tmp_path, target, silently, into_used=False)
    assert len(await wire_rows(target, "vault", local_parts)) == 2
    for _ in range(2):
        await restore(tmp_path, target, silently, into_used=True)
    *back, stayed = await wire_rows(target, "vault", local_parts)
    assert back == await wire_rows(source, "vault", local_parts)
    assert stayed["RowKey"] == "mine"


def changed_in_the_middle(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda content: b"",
    "cut": lambda content: content[:-100],
    "changed": changed_in_the_middle,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
async def test_a_damaged_file_is_found_out(
    damage: Callable[[bytes], bytes], source: TableServiceClient, target: TableServiceClient, tmp_path: Path
) -> None:
    await insert(source, "vault", *plain_rows(1_100))
    await saved(source, tmp_path)
    file = tmp_path / "vault.jsonl.gz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(NotDone, match="damaged"):
        await restore(tmp_path, target, silently, into_used=False)


async def test_a_file_that_is_shorter_than_noted_is_not_gone_on_with(
    source: TableServiceClient, tmp_path: Path
) -> None:
    await insert(source, "vault", *plain_rows(10))
    await saved(source, tmp_path)
    noted = json.loads((tmp_path / "backup.json").read_text())
    noted["finished_at"], noted["tables"]["vault"]["whole"] = None, False
    (tmp_path / "backup.json").write_text(json.dumps(noted))
    (tmp_path / "vault.jsonl.gz").write_bytes(b"")
    with pytest.raises(NotDone, match="damaged"):
        await saved(source, tmp_path)


async def test_a_folder_of_another_format_is_not_touched(source: TableServiceClient, tmp_path: Path) -> None:
    (tmp_path / "backup.json").write_text('{"format": 2}')
    with pytest.raises(NotDone, match="format 2"):
        await saved(source, tmp_path)


async def test_it_holds_no_value_and_a_vault_over_it_hands_them_out(
    source: TableServiceClient,
    target: TableServiceClient,
    local_parts: LocalCloud,
    tmp_path: Path,
    until: AsyncExitStack,
) -> None:
    transport = await until.enter_async_context(open_transport())
    key_vault = open_key_vaults(
        [local_parts.key_vault.url], key_vault_token(local_parts), transport, verify_domain=False
    )

    def stores(account: str) -> Stores:
        def table(name: str) -> AzureTable:
            return AzureTable(table_client(account, name, storage_token(local_parts), transport))

        return Stores(table("vault"), table("leases"), table("due"), table("audit"), table("catalog"), key_vault)

    hidden = canaries("backup-canary")
    world = World(stores(source.url))
    world.clock.now = datetime.now(UTC)
    for one in hidden:
        await world.create(name=one.type, type=one.type, fields=one.fields)
        await world.lease(ALICE, one.type)
    await saved(source, tmp_path)
    assert Search(secret for one in hidden for secret in one.secrets).places(contents(tmp_path).items()) == []
    assert b"generic-secret" in contents(tmp_path)["audit.jsonl.gz"]

    await restore(tmp_path, target, silently, into_used=False)
    restored = replace(world, stores=stores(target.url))
    for one in hidden:
        granted = await restored.lease(ALICE, one.type)
        assert {name: value.get_secret_value() for name, value in granted.fields.items()} == one.fields


def run(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["backup.py", *map(str, words)])
    return backup.main()


def prepared(accounts: tuple[str, str], parts: LocalCloud, rows: int) -> None:
    async def prepare() -> None:
        async with AsyncExitStack() as until:
            source = await opened(accounts[0], parts, until)
            await opened(accounts[1], parts, until)
            await insert(source, "vault", *plain_rows(rows))

    asyncio.run(prepare())


def test_the_commands_copy_there_and_back(
    accounts: tuple[str, str],
    local_parts: LocalCloud,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prepared(accounts, local_parts, 20)
    folder = tmp_path / "copy"
    there = ["--account", accounts[1], "--managed-identity"]
    assert run(monkeypatch, "save", "--account", accounts[0], "--managed-identity", "--to", folder) == 0
    assert run(monkeypatch, "restore", "--from", folder, *there) == 0
    assert capsys.readouterr().out.count("vault: 20 rows\n") == 2
    assert run(monkeypatch, "restore", "--from", folder, *there) == 1
    assert capsys.readouterr().err.startswith("The table vault has rows.")
    assert run(monkeypatch, "restore", "--from", folder, *there, "--into-used") == 0


def test_what_azure_refuses_is_told_in_a_line(
    accounts: tuple[str, str],
    local_parts: LocalCloud,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prepared(accounts, local_parts, 1)
    monkeypatch.setattr(backup, "TABLES", ("absent",))
    assert run(monkeypatch, "save", "--account", accounts[0], "--managed-identity", "--to", tmp_path) == 1
    assert capsys.readouterr().err == "A table is not there. The templates make them: azd provision.\n"


AZ = """#!/bin/sh
printf '{"accessToken": "%s", "expires_on": 4102444800}' "$TOKEN_OF_THE_PERSON"
"""


@pytest.fixture
def az(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An `az` of which somebody is logged in whose token is in the environment."""
    command = tmp_path / "bin" / "az"
    command.parent.mkdir()
    command.write_text(AZ)
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    return command


def test_it_runs_as_whoever_is_logged_in_though_the_machine_has_an_identity(
    accounts: tuple[str, str], local_parts: LocalCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, az: Path
) -> None:
    prepared(accounts, local_parts, 1)
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1/nobody-listens")
    monkeypatch.setenv("TOKEN_OF_THE_PERSON", asyncio.run(storage_token(local_parts).get_token()).token)
    assert run(monkeypatch, "save", "--account", accounts[0], "--to", tmp_path / "copy") == 0


def test_whoever_is_not_logged_in_reads_one_message_and_no_noise(
    accounts: tuple[str, str], tmp_path: Path, az: Path
) -> None:
    az.write_text("#!/bin/sh\necho 'Please run az login' >&2\nexit 1\n")
    command = [sys.executable, backup.__file__, "save", "--account", accounts[0], "--to", str(tmp_path / "copy")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - of this test
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr == f"{backup._NOT_ALLOWED}\n"
    assert "az account show" in ran.stderr


@pytest.mark.parametrize(
    "account",
    ["stdata", "http://stdata.table.core.windows.net", "http://127.0.0.1@elsewhere.example", "https://a@b", "https://"],
)
def test_a_token_goes_nowhere_that_others_could_read_it(
    account: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "save", "--account", account, "--to", tmp_path / "copy") == 1
    assert capsys.readouterr().err.startswith("--account must be a URL that begins with https://")
    assert not (tmp_path / "copy").exists()


def answered(status: int) -> HttpResponseError:
    error = HttpResponseError("what was sent, and what came back")
    error.status_code = status
    return error


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (ClientAuthenticationError("what was sent"), "You may not do this."),
        (answered(403), "You may not do this."),
        (answered(404), "A table is not there."),
        (answered(500), "Azure does not answer as it should (HttpResponseError)."),
        (ServiceRequestError("what was sent"), "Azure does not answer as it should (ServiceRequestError)."),
    ],
    ids=["no login", "no role", "no table", "fault", "no connection"],
)
def test_an_error_of_azure_is_told_by_what_to_do_and_not_by_its_text(error: AzureError, advice: str) -> None:
    told = backup._advice(error)
    assert told.startswith(advice)
    assert "what was sent" not in told
