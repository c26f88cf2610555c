"""Copies the tables of a vault into a folder and back, since Azure has no backup of Table storage.

    python infra/backup.py save --account https://NAME.table.core.windows.net --to FOLDER
    python infra/backup.py restore --from FOLDER --account https://NAME.table.core.windows.net

Rows are copied as they are, with the types of their properties. What is sealed stays sealed: it opens with the data
keys in Key Vault, which are not copied, and neither is any value. One row is copied after the other, so what a vault
writes meanwhile may be in the copy or not. A restore wants a vault in recovery mode, and so does what comes after it.

It runs as whoever is logged in (`az login`), who needs a role on the account that nobody has by the templates: Storage
Table Data Reader to save, Storage Table Data Contributor to restore. Give it for an hour: that leaves a trace. With
`--managed-identity`, for a schedule on a machine inside the network, it runs as that machine: as the identity that
`AZURE_CLIENT_ID` names where there are several.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gzip
import json
import logging
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self
from uuid import UUID

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.data.tables import EdmType, EntityProperty, UpdateMode
from azure.data.tables.aio import TableClient, TableServiceClient
from azure.identity.aio import AzureCliCredential, ManagedIdentityCredential

# Leases before the minutes at which they end, credentials before their pins: of two that are copied at different times,
# the vault drops what it finds too much, and would miss what is not there.
TABLES = ("vault", "leases", "due", "audit", "catalog")

FORMAT = 1
_PAGE = 1000
_TOLD_EVERY = 10_000
_BATCH = 100  # entities in one transaction of Azure Tables
_BATCH_LENGTH = 900_000  # of the four MiB that it may take: aiohttp minds bodies of more than one
_TYPE = "@odata.type"
# Tokens go there: readable on the way only where there is no way.
_ACCOUNT = re.compile(r"(https://[\w.-]+|http://127\.0\.0\.1)(:\d+)?(/\w*)?", re.ASCII)

Say = Callable[[str], None]
Clock = Callable[[], datetime]
Entity = dict[str, Any]


class NotDone(Exception):
    """What was asked for was not done, or not to its end; says what to do."""


@dataclass
class TableCopy:
    """How far the copy of a table got: its rows, the bytes of its file that hold them, and where the next page is."""

    rows: int = 0
    size: int = 0
    after: dict[str, str] | None = None
    whole: bool = False


@dataclass
class Progress:
    """What a folder holds: of which account, since when, until when if it is whole, and how far each table got."""

    account: str
    begun_at: str
    finished_at: str | None = None
    format: int = FORMAT
    tables: dict[str, TableCopy] = field(default_factory=lambda: {name: TableCopy() for name in TABLES})

    @classmethod
    def begin(cls, account: str, now: datetime) -> Self:
        """Return what an empty folder holds."""
        return cls(account, now.isoformat())

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return what the folder holds; nothing when it holds no backup."""
        try:
            kept = json.loads(_progress_file(folder).read_text())
        except FileNotFoundError:
            return None
        if kept["format"] != FORMAT:
            raise NotDone(f"{folder} was made by another edition of this tool, in the format {kept['format']}.")
        return cls(**{**kept, "tables": {name: TableCopy(**copy) for name, copy in kept["tables"].items()}})

    def write(self, folder: Path) -> None:
        """Keep it in the folder, in one step."""
        beside = _progress_file(folder).with_suffix(".new")
        beside.write_text(json.dumps(asdict(self), indent=2))
        beside.replace(_progress_file(folder))


async def save(service: TableServiceClient, folder: Path, clock: Clock, say: Say) -> None:
    """Copy the tables into the folder, going on where an earlier try was cut short; `NotDone` for a folder in use."""
    _make_private(folder)
    progress = Progress.read(folder) or Progress.begin(service.url, clock())
    if progress.finished_at:
        raise NotDone(f"{folder} holds a whole backup already. Name another folder.")
    if progress.account != service.url:
        raise NotDone(f"{folder} holds a part of {progress.account}. Name another folder.")
    progress.write(folder)
    for name, copy in progress.tables.items():
        async with service.get_table_client(name) as table:
            while not copy.whole:
                before = copy.rows
                await _save_page(table, _rows_file(folder, name), copy)
                progress.write(folder)
                if copy.whole or _is_worth_telling(before, copy.rows):
                    say(f"{name}: {copy.rows:,} rows")
    progress.finished_at = clock().isoformat()
    progress.write(folder)


def _make_private(folder: Path) -> None:
    """Make the folder, or take one that is there, for its owner alone: rows tell who has which credentials."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except FileExistsError:
        raise NotDone(f"{folder} is a file. Name a folder.") from None
    except PermissionError:
        raise NotDone(f"{folder} is somebody else's. Name another folder.") from None


async def restore(folder: Path, service: TableServiceClient, say: Say, *, into_used: bool) -> None:
    """Write what the folder holds into the tables. Repeatable: each row replaces the one with its keys, if any.

    `NotDone` when the folder holds no whole backup, and for tables with rows unless `into_used`: rows that are not in
    the backup stay.
    """
    progress = _read_whole(folder)
    for name, copy in progress.tables.items():
        _check_undamaged(_rows_file(folder, name), copy.rows)
    if not into_used:
        await _check_empty(service)
    for name, copy in progress.tables.items():
        rows = 0
        async with service.get_table_client(name) as table:
            for batch in _batches(_rows_file(folder, name)):
                await _write(table, batch)
                rows += len(batch)
                if _is_worth_telling(rows - len(batch), rows):
                    say(f"{name}: {rows:,} of {copy.rows:,} rows")
        say(f"{name}: {rows:,} rows")


def _read_whole(folder: Path) -> Progress:
    if not folder.is_dir():
        raise NotDone(f"There is no folder {folder}.")
    progress = Progress.read(folder)
    if not progress:
        raise NotDone(f"{folder} holds no backup.")
    if not progress.finished_at:
        raise NotDone(f"{folder} holds a part of a backup: repeat the save with the same folder first.")
    return progress


def _is_worth_telling(before: int, rows: int) -> bool:
    return rows // _TOLD_EVERY > before // _TOLD_EVERY


async def _save_page(table: TableClient, file: Path, copy: TableCopy) -> None:
    rows: Any = table.list_entities(results_per_page=_PAGE)
    pages = rows.by_page(continuation_token=copy.after)
    lines = [line_of(entity) async for entity in await anext(pages)]
    copy.size = _append(file, copy.size, "".join(lines))
    copy.rows += len(lines)
    copy.after = pages.continuation_token
    copy.whole = not copy.after


def _append(file: Path, size: int, text: str) -> int:
    """Write the text behind the first `size` bytes, in place of what an earlier try left there; return the new size."""
    with file.open("ab") as opened:
        if opened.tell() < size:
            raise _damaged(file)
        opened.truncate(size)
        opened.write(gzip.compress(text.encode()) if text else b"")
        return opened.tell()


async def _check_empty(service: TableServiceClient) -> None:
    for name in TABLES:
        async with service.get_table_client(name) as table:
            async for _ in table.list_entities(results_per_page=1, select="PartitionKey"):
                raise NotDone(f"The table {name} has rows. To replace those that are in the backup, add --into-used.")


def _batches(file: Path) -> Iterator[list[Entity]]:
    """Yield the rows of a file in transactions that a table takes."""
    batch: list[Entity] = []
    length = 0
    for line in _lines(file):
        entity = entity_of(line)
        full = len(batch) == _BATCH or length + len(line) > _BATCH_LENGTH
        if batch and (full or entity["PartitionKey"] != batch[0]["PartitionKey"]):
            yield batch
            batch, length = [], 0
        batch.append(entity)
        length += len(line)
    if batch:
        yield batch


def _lines(file: Path) -> Iterator[str]:
    with gzip.open(file, "rt") as lines:
        yield from lines


def _check_undamaged(file: Path, rows: int) -> None:
    """Return when the file holds so many rows, by its checksums as they were; `NotDone` otherwise."""
    try:
        found = sum(1 for _ in _lines(file))
    except (FileNotFoundError, EOFError, UnicodeDecodeError, gzip.BadGzipFile, zlib.error):
        raise _damaged(file) from None
    if found != rows:
        raise _damaged(file)


def _damaged(file: Path) -> NotDone:
    return NotDone(f"{file} is damaged. Take another backup.")


async def _write(table: TableClient, batch: list[Entity]) -> None:
    replacing = {"mode": UpdateMode.REPLACE}
    # Whatever is repeated here does the same again, so a lost connection is a reason to.
    await table.submit_transaction(
        [("upsert", entity, replacing) for entity in batch], retry_on_methods=frozenset({"POST"})
    )


def line_of(entity: Mapping[str, Any]) -> str:
    """Return a row as a line of JSON, as the table service itself writes it: with types that do not show."""
    said: Entity = {}
    for name, value in entity.items():
        kind, plain = _typed(value)
        said[name] = plain
        if kind:
            said[name + _TYPE] = kind.value
    return json.dumps(said, separators=(",", ":")) + "\n"


def entity_of(line: str) -> Entity:
    """Return the row that a line tells of, as the SDK takes it."""
    said: Entity = json.loads(line)
    names = [name for name in said if not name.endswith(_TYPE)]
    return {name: _with_type(said[name], said.get(name + _TYPE)) for name in names}


def _typed(value: Any) -> tuple[EdmType | None, Any]:
    match value:
        case EntityProperty():
            return EdmType(value.edm_type), str(value.value)
        case datetime():  # the SDK's own, which knows of the seventh digit that Python's does not have
            return EdmType.DATETIME, value.tables_service_value  # type: ignore[attr-defined]
        case bytes():
            return EdmType.BINARY, base64.b64encode(value).decode()
        case UUID():
            return EdmType.GUID, str(value)
        case float():
            return EdmType.DOUBLE, value
        case _:
            return None, value


def _with_type(value: Any, kind: str | None) -> Any:
    if kind is None:
        return value
    return EntityProperty(base64.b64decode(value) if kind == EdmType.BINARY else value, EdmType(kind))


def _progress_file(folder: Path) -> Path:
    return folder / "backup.json"


def _rows_file(folder: Path, table: str) -> Path:
    return folder / f"{table}.jsonl.gz"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Copies the tables of a vault into a folder, and back.")
    commands = parser.add_subparsers(dest="command", required=True)
    saving = commands.add_parser("save", help="copy the tables into a folder")
    saving.add_argument("--to", dest="folder", type=Path, required=True, help="a new folder, or one of a cut-short try")
    restoring = commands.add_parser("restore", help="copy a folder into the tables")
    restoring.add_argument("--from", dest="folder", type=Path, required=True, help="the folder of a whole backup")
    restoring.add_argument("--into-used", action="store_true", help="replace rows in tables that are not empty")
    for command in (saving, restoring):
        command.add_argument("--account", required=True, help="such as https://NAME.table.core.windows.net")
        command.add_argument(
            "--managed-identity", action="store_true", help="run as this machine, not as whoever ran `az login`"
        )
    return parser


def _identity(arguments: argparse.Namespace) -> AsyncTokenCredential:
    if arguments.managed_identity:
        return ManagedIdentityCredential(client_id=os.environ.get("AZURE_CLIENT_ID"))
    return AzureCliCredential()


def _check_account(account: str) -> None:
    """Return for the address of tables that a token may be sent to; `NotDone` otherwise."""
    if not _ACCOUNT.fullmatch(account):
        said = "--account must be a URL that begins with https://, such as https://NAME.table.core.windows.net."
        raise NotDone(f"{said} Only that of a local cloud, at 127.0.0.1, may begin with http://.")


async def _run(arguments: argparse.Namespace, say: Say) -> None:
    _check_account(arguments.account)
    async with (
        _identity(arguments) as identity,
        TableServiceClient(arguments.account, credential=identity) as service,
    ):
        if arguments.command == "save":
            await save(service, arguments.folder, partial(datetime.now, UTC), say)
        else:
            await restore(arguments.folder, service, say, into_used=arguments.into_used)


_NOT_ALLOWED = (
    "You may not do this. `az account show` tells who you are, and `az login` makes you somebody. On the account you"
    " need Storage Table Data Reader to save, Storage Table Data Contributor to restore; a new role takes some minutes."
    " Where the account has no public access, run this inside its network."
)


def _advice(error: AzureError) -> str:
    """Return what an error of Azure means to whoever runs this; nothing of what was sent or received."""
    if isinstance(error, ClientAuthenticationError) or getattr(error, "status_code", None) in (401, 403):
        return _NOT_ALLOWED
    if isinstance(error, HttpResponseError) and error.status_code == 404:
        return "A table is not there. The templates make them: azd provision."
    again = "Try again: a save goes on where it was, a restore wants --into-used."
    return f"Azure does not answer as it should ({type(error).__name__}). {again}"


def main() -> int:
    """Do what the command line says; return the status of the process."""
    logging.getLogger("azure").setLevel(logging.CRITICAL)  # what went wrong is told once, and by what to do
    try:
        asyncio.run(_run(_parser().parse_args(), print))
    except NotDone as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except AzureError as error:
        print(_advice(error), file=sys.stderr)
        return 1
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
