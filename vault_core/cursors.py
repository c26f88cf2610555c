"""Cursors of listings: where the next page begins, in a form that callers send back as it is."""

from __future__ import annotations

import base64
import json
from typing import Annotated

from pydantic import StringConstraints

from vault_core.errors import FieldError, InvalidInput

_LONGEST_KEY = 1024  # bytes of UTF-16, as the table service counts
Cursor = Annotated[str, StringConstraints(min_length=1, max_length=2048)]


def encoded(position: tuple[str, str] | None) -> str | None:
    """Return the cursor of a position, None at the end."""
    return base64.urlsafe_b64encode(json.dumps(position, ensure_ascii=False).encode()).decode() if position else None


def decoded(cursor: str | None) -> tuple[str, str] | None:
    """Return the position of a cursor; `InvalidInput` when it is not one of ours."""
    if cursor is None:
        return None
    try:
        first, second = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
    except (ValueError, TypeError, RecursionError):
        first = second = None
    if not (_is_key(first) and _is_key(second)):
        raise foreign()
    return first, second


def foreign() -> InvalidInput:
    """Return the refusal of a cursor that is not one of the listing's."""
    fault = FieldError("cursor", "is not one of this listing; leave it out to begin anew")
    return InvalidInput("Send the cursor as it was received.", (fault,))


def _is_key(part: object) -> bool:
    return isinstance(part, str) and part.isprintable() and len(part.encode("utf-16-le")) <= _LONGEST_KEY
