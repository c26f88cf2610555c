"""The limits of the stores, held by every adapter alike: what breaks one is a fault in the program.

Source: the service limits of Azure Table storage (entity 1 MiB, property 64 KiB, key 1 KiB, transaction of
100 changes and 4 MiB, page of 1,000 rows, filter of 15 comparisons; strings count as UTF-16) and of Key Vault
(value 25 KB). Whatever refuses here raises `ValueError`, and none repeats a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

from vault_core.stores import (
    Change,
    Column,
    Compare,
    Condition,
    Delete,
    Discard,
    Document,
    Insert,
    Put,
    Replace,
    Row,
)

KEY_LENGTH = 512
DOCUMENT_LENGTH = 500_000
COLUMN_LENGTH = 1_024
COLUMNS = 16
CHANGES = 100
COMPARISONS = 11  # in a condition; the span takes up to four
TRANSACTION_LENGTH = 3_500_000
PAGE_LENGTH = 1_000
SECRET_LENGTH = 25_000

_REFUSED_IN_KEYS = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f]")
_COLUMN_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.IGNORECASE)
_RESERVED_NAME = re.compile(r"document\d*|write|etag|timestamp|partitionkey|rowkey", re.IGNORECASE)
_SECRET_NAME = re.compile(r"[0-9a-z-]{1,63}/t[0-9a-f]{12}-[0-9a-f]{32}")


def code_units(text: str) -> bytes:
    """Return what orders the text as the table service does: by UTF-16 code unit."""
    return text.encode("utf-16-be", "surrogatepass")


def check_key(*parts: str) -> None:
    """Refuse a partition or row key that Azure Tables cannot hold."""
    for part in parts:
        if not 0 < _length(part) <= KEY_LENGTH or _REFUSED_IN_KEYS.search(part):
            raise ValueError("a key is 1 to 512 characters without / \\ # ? and control characters")


def check_limit(limit: int) -> None:
    """Refuse a page length outside 1 to 1,000."""
    if not 1 <= limit <= PAGE_LENGTH:
        raise ValueError("a page holds 1 to 1,000 rows")


def check_changes(changes: Sequence[Change]) -> None:
    """Refuse changes that cannot be one transaction, or that lack the etag their condition needs."""
    keys = [position(change) for change in changes]
    for partition, key in keys:
        check_key(partition, key)
    if len(keys) > CHANGES or len({partition for partition, _ in keys}) > 1:
        raise ValueError("a commit is at most 100 changes of one partition")
    if len(set(keys)) < len(keys):
        raise ValueError("a commit changes a row once")
    if any(isinstance(change, Replace | Delete) and change.row.etag in ("", "*") for change in changes):
        raise ValueError("a row is replaced or deleted by the etag it was read with")


def position(change: Change) -> tuple[str, str]:
    """Return the partition and key of the row that a change is about."""
    at = change if isinstance(change, Discard) else change.row
    return at.partition, at.key


def written_row(change: Change) -> Row | None:
    """Return the row that a change leaves behind; none when it removes one."""
    return change.row if isinstance(change, Insert | Replace | Put) else None


def document_texts(rows: Sequence[Row]) -> list[str]:
    """Return the documents of the rows of one commit as ASCII JSON; refuse what is too long or no JSON."""
    texts = [_document_text(row.document) for row in rows]
    escaped = sum(len(text) + text.count('"') + text.count("\\") for text in texts)
    if escaped > TRANSACTION_LENGTH:
        raise ValueError("the documents of a commit are together at most 3.5 MB")
    return texts


def plain_columns(columns: Mapping[str, Column]) -> dict[str, Column]:
    """Return the columns as the table will give them back; refuse what it cannot hold.

    A row has at most 16 columns, named by letters, digits and `_`, and none named like the adapter's own.
    """
    if len(columns) > COLUMNS or not all(is_column_name(name) for name in columns):
        raise ValueError("a row has at most 16 columns, named by letters, digits and _")
    return {name: plain_column(value) for name, value in columns.items()}


def is_column_name(name: str) -> bool:
    """Tell whether a column may have this name; the others are the adapter's own."""
    return bool(_COLUMN_NAME.fullmatch(name)) and not _RESERVED_NAME.fullmatch(name)


def plain_column(value: Column) -> Column:
    """Return the value without its enumeration or time zone; refuse what is too long, too large or naive."""
    if isinstance(value, str) and _length(value) <= COLUMN_LENGTH:
        return str.__str__(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return int(value)
    if isinstance(value, datetime) and value.utcoffset() is not None:
        return value.astimezone(UTC)
    raise ValueError("a column is a short string, a 64-bit integer, a boolean or an aware instant")


def check_condition(condition: Condition | None) -> None:
    """Refuse a condition on a name or a value that no column has, one that joins nothing, and one of over 11 parts."""
    if condition and _comparisons(condition) > COMPARISONS:
        raise ValueError("a condition holds at most 11 comparisons")


def _comparisons(condition: Condition) -> int:
    """Return how many comparisons the table service is asked for; refuse those of what no column has."""
    if isinstance(condition, Compare):
        plain_columns({condition.column: condition.value})
        return 2 if condition.operator == "ne" else 1  # it is asked as `lt` or `gt`
    if not condition.conditions:
        raise ValueError("a condition joins at least one other")
    return sum(map(_comparisons, condition.conditions))


def check_secret_name(name: str) -> None:
    """Refuse a name that `new_name` could not have made."""
    if not _SECRET_NAME.fullmatch(name):
        raise ValueError("no secret has a name of this form")


def check_secret_value(value: str) -> None:
    """Refuse an empty value, and one of more than 25,000 bytes of UTF-8."""
    try:
        length = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError("a secret value is not well-formed Unicode") from None
    if not 0 < length <= SECRET_LENGTH:
        raise ValueError("a secret value is 1 to 25,000 bytes")


def _document_text(document: Document) -> str:
    try:
        text = json.dumps(document, allow_nan=False, separators=(",", ":"), default=_refuse)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("a document is JSON all through") from None
    if not text.startswith("{") or len(text) > DOCUMENT_LENGTH:
        raise ValueError("a document is one JSON object of at most 500,000 characters")
    return text


def _refuse(value: Any) -> NoReturn:
    raise TypeError(type(value).__name__)


def _length(text: str) -> int:
    try:
        return len(text.encode("utf-16-le")) // 2
    except UnicodeEncodeError:
        raise ValueError("a key or column is not well-formed Unicode") from None
