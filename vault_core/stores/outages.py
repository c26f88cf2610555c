"""How long the vault waits for an Azure store, when it counts the store as unavailable, and how often it repeats."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Literal

from aiohttp import ClientError
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    IncompleteReadError,
)
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import AsyncRetryPolicy
from azure.core.pipeline.transport import AioHttpTransport

from vault_core.errors import Unavailable
from vault_core.telemetry import STORE_RETRIES, STORE_THROTTLES

Service = Literal["tables", "key-vault"]

PATIENCE = timedelta(seconds=20)
LONGEST_PAUSE = timedelta(seconds=2)
_UNKNOWN_PAUSE = timedelta(seconds=5)
_OUTAGES = frozenset({408, 429, 500, 502, 503, 504})
_THROTTLES = frozenset({429, 503})
_REFUSED = frozenset({401, 403})
_SENT = "sent_before"

_log = logging.getLogger(__name__)
_retry = AsyncRetryPolicy[Any, Any]()


def refuse_long_pause(response: PipelineResponse[Any, Any]) -> None:
    """Raise `Unavailable` when the store asks for a pause too long to sit out while a caller waits."""
    pause = _asked_pause(response.http_response.headers)
    if response.http_response.status_code in _OUTAGES and pause and pause > LONGEST_PAUSE:
        raise _unavailable(pause)


def client_options(service: Service) -> Mapping[str, Any]:
    """Return how clients of the service wait and repeat. Each request that they send, and each answer, is counted."""

    def count_retry(request: PipelineRequest[Any]) -> None:
        # Key Vault's clients number their tries, which leaves out what is sent again because of a challenge.
        if request.context.get("retry_count", request.context.get(_SENT)):
            STORE_RETRIES.add(service=service)
        request.context[_SENT] = True

    def look_at(response: PipelineResponse[Any, Any]) -> None:
        if response.http_response.status_code in _THROTTLES:
            STORE_THROTTLES.add(service=service)
        refuse_long_pause(response)

    return {
        "retry_total": 3,
        "retry_backoff_factor": 0.2,
        "retry_backoff_max": LONGEST_PAUSE.total_seconds(),
        "connection_timeout": 5,
        "read_timeout": 10,
        "raw_request_hook": count_retry,
        "raw_response_hook": look_at,
    }


def open_transport() -> AioHttpTransport:
    """Return the pool of connections that all clients share; closing it ends them.

    It heeds no proxy and no `.netrc` of the environment: tokens go straight to the stores, and a call costs a third
    less processor time, because looking these up takes a thread each time.
    """
    return AioHttpTransport(use_env_settings=False)


@asynccontextmanager
async def answering(service: Service) -> AsyncIterator[None]:
    """Give the service 20 seconds for what is done inside, and turn its outages into `Unavailable`.

    Throttling, faults of the server, lost connections and lost answers are outages. So is a refusal of the
    app's own identity, which is also logged as an error: only an operator can grant what it lacks.
    """
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            yield
    except ClientAuthenticationError as error:
        raise _refused(service, error) from error
    except IncompleteReadError as error:
        raise _unavailable(None) from error
    except HttpResponseError as error:
        if error.status_code in _REFUSED:
            raise _refused(service, error) from error
        if error.status_code not in _OUTAGES:
            raise
        raise _unavailable(_asked_pause(getattr(error.response, "headers", {}))) from error
    except (AzureError, ClientError, TimeoutError) as error:
        raise _unavailable(None) from error


def _refused(service: Service, error: HttpResponseError) -> Unavailable:
    code = getattr(error, "error_code", None)
    _log.error("service=%s refused=identity status=%s code=%s", service, error.status_code, code)
    return Unavailable("The vault has no access to its own store. Tell the operator.")


def _unavailable(pause: timedelta | None) -> Unavailable:
    return Unavailable("A store of the vault does not answer. Try again later.", pause or _UNKNOWN_PAUSE)


def _asked_pause(headers: Mapping[str, str]) -> timedelta | None:
    asked = headers.get("Retry-After")
    if not asked:
        return None
    try:
        return timedelta(seconds=_retry.parse_retry_after(asked))
    except (ValueError, OverflowError):
        return _UNKNOWN_PAUSE
