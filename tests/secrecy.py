"""What must be seen nowhere: every text that was ever written as a secret, looked for in tables and in calls out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import SecretStr

from tests.contents import Contents, all_of
from tests.outbound import Received
from vault_core.credential_types import TYPES
from vault_core.stores import Partitions, Stores

_VALUES_OF_NOTE = 8  # characters; shorter texts occur by chance


async def revealed(stores: Stores, contents: Contents, values: list[SecretStr]) -> list[str]:
    """Where a value, or the field of one, lies in clear in a table."""
    tables = [stores.vault, stores.leases, stores.due, stores.audit, stores.catalog]
    raw = [row for table in tables async for row in all_of(table, Partitions("!", "~"))]
    shown = {f"{row.partition} {row.key}": f"{row.document}{row.columns}" for row in (*raw, *contents.rows)}
    return [f"a value in {where}" for where, what in shown.items() for text in texts_of(values) if text in what]


def texts_of(values: Iterable[SecretStr]) -> set[str]:
    """All that must be seen nowhere, of what was ever written as a secret."""
    return {text for value in values for text in _texts(json.loads(value.get_secret_value()))}


def _texts(envelope: Mapping[str, Any]) -> list[str]:
    match envelope["for"]:
        case "tenant-key":
            return [envelope["sealing"], envelope["fingerprinting"]]
        case "transport-key":
            return [line for line in envelope["pem"].splitlines() if not line.startswith("-----")]
    fields = [field for kind in TYPES.values() for field in kind.fields]
    shown = {field.name for field in fields} - {field.name for field in fields if field.secret}
    return [text for name, text in envelope["fields"].items() if name not in shown and len(text) >= _VALUES_OF_NOTE]


def sent(received: Sequence[Received], texts: set[str]) -> Iterator[str]:
    """Where a value was sent that is nobody's business: in a header, or to anybody but a validation endpoint."""
    for call in received:
        open_to_see = json.dumps(dict(call.headers))
        if call.json["type"] != "credential.validation":
            open_to_see += call.body.decode()
        yield from (f"a value was sent to {call.url}" for text in texts if text in open_to_see)
