"""What a refusal looks like over HTTP: one table of statuses, one document (RFC 9457)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from vault_core import errors
from vault_core.wire import WireModel

MEDIA_TYPE = "application/problem+json"

STATUSES: dict[type[errors.VaultError], int] = {
    errors.InvalidInput: 400,
    errors.Unauthenticated: 401,
    errors.AccessDenied: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.StaleVersion: 412,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.ValueRefused: 422,
    errors.PreconditionRequired: 428,
    errors.TooSoon: 429,
    errors.VaultError: 500,
    errors.NotSupported: 501,
    errors.Unavailable: 503,
}


class InternalError(errors.VaultError):
    """A fault of the vault itself. What it was is in the log under the trace id, never in an answer."""

    code = "internal-error"
    title = "Something went wrong inside the vault"

    def __init__(self) -> None:
        super().__init__("Try again; if it happens again, give the operator the trace id in `instance`.")


class FieldProblem(WireModel):
    """One field of the input and what is wrong with it."""

    field: Annotated[str, Field(description="Its path, such as `policy.maxLeases`; empty for the whole")]
    message: str


class Problem(WireModel):
    """A refusal or failure (RFC 9457)."""

    type: Annotated[str, Field(description="`urn:credentials-vault:problem:` and the code")]
    title: str
    status: int
    detail: Annotated[str, Field(description="What to do about it")]
    code: str
    instance: Annotated[str, Field(description="Trace id of the request; the vault's log has the same")]
    errors: Annotated[tuple[FieldProblem, ...] | None, Field(description="Each field at fault")] = None


def status_of(kind: type[errors.VaultError], statuses: Mapping[type[errors.VaultError], int] = STATUSES) -> int:
    """Return the HTTP status of a refusal: its own in the table, else that of its nearest ancestor."""
    return next(statuses[ancestor] for ancestor in kind.__mro__ if ancestor in statuses)


def describe(refusal: errors.VaultError, trace_id: str) -> Problem:
    """Return the document that tells a caller of the refusal."""
    return Problem(
        type=f"urn:credentials-vault:problem:{refusal.code}",
        title=refusal.title,
        status=status_of(type(refusal)),
        detail=refusal.detail,
        code=refusal.code,
        instance=trace_id,
        errors=_fields(refusal),
    )


def headers_of(refusal: errors.VaultError) -> dict[str, str]:
    """Return the headers that belong to the refusal: how to authenticate, when to try again."""
    if isinstance(refusal, errors.Unauthenticated):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(refusal, errors.LeaseLimitReached | errors.TooSoon | errors.Unavailable):
        return {"Retry-After": _whole_seconds(refusal.retry_after)}
    return {}


def _fields(refusal: errors.VaultError) -> tuple[FieldProblem, ...] | None:
    if not isinstance(refusal, errors.InvalidInput | errors.ValueRefused):
        return None
    faults = tuple(FieldProblem(field=fault.field, message=fault.message) for fault in refusal.errors)
    return faults or None


def _whole_seconds(duration: timedelta) -> str:
    return str(max(1, math.ceil(duration.total_seconds())))
