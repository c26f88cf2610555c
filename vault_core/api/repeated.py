"""From a call to what makes it the repeat of another."""

from __future__ import annotations

from typing import Any

from vault_core.api.routing import Call
from vault_core.repeats import Once


def once(call: Call[Any, Any], operation: str) -> Once | None:
    """Return what a repeat of this call is recognised by, or None when the caller gave no `Idempotency-Key`."""
    return Once(call.idempotency_key, operation, call.body_bytes) if call.idempotency_key else None
