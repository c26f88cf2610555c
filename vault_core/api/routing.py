"""The shape of the route table: what a route says, what its handler gets, and what it gives back.

    Route("POST", "/api/v1/credentials", create_credential, Role.USER, {201: CredentialView},
          body=NewCredential, problems=(NameTaken, ValueRefused))

A handler is `async def create_credential(vault: Vault, call: Call[NewCredential]) -> Answer`. Its name,
behind the route's `prefix`, is the name of the function and the operation; the first line of its docstring is the
summary in the API document.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Generic

from pydantic import BaseModel
from typing_extensions import TypeVar

from vault_core.errors import PreconditionRequired, StaleVersion, VaultError
from vault_core.identities import Caller, Role
from vault_core.strict_json import MAX_PARTS

Body = TypeVar("Body", default=None)
Query = TypeVar("Query", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnonymousCall(Generic[Body, Query]):
    """A request that was decoded and checked against its route.

    `path` holds the parameters of the path, decoded. `if_match` is the entity tag without its quotes.
    `idempotency_key` and `body_bytes` say whether a `POST` is a repeat of an earlier one.
    """

    path: Mapping[str, str] = field(repr=False)
    query: Query = field(repr=False)
    body: Body = field(repr=False)
    if_match: str | None
    idempotency_key: str | None
    body_bytes: bytes = field(repr=False)
    request_id: str
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(AnonymousCall[Body, Query]):
    """A request of a caller who was identified and has a role that its route asks for."""

    caller: Caller


@dataclass(frozen=True, slots=True)
class Text:
    """An answer that is not a model: finished text and its media type, such as `text/html`."""

    content: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler gives back. `etag` is the entity tag without quotes."""

    status: int
    body: BaseModel | Text | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How large a body may be: bytes, and members and items in all."""

    size: int = 64 * 1024
    parts: int = MAX_PARTS


class Open(Enum):
    """Routes that ask for no role."""

    ANYONE = "no token is needed"
    ANY_CALLER = "any caller with a valid token"


Handler = Callable[[Any, Any], Awaitable[Answer]]
AnswerBody = type[BaseModel] | str | None


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of the API.

    `needs` is the least role, several of which one is enough, or `Open`. `answers` gives the body of each
    status that the handler answers with: a model, a media type for finished text, or None; with a 304 among
    them, `If-None-Match` is honoured. `problems` are the refusals beyond those that every route of its nature
    has: one that lists `StaleVersion` takes `If-Match`, one that lists `PreconditionRequired` needs it.
    `prefix` goes before the handler's name, so that no two routes of the app have the same name. `limits` hold before
    it is known who sent the body.
    """

    method: str
    path: str
    handler: Handler
    needs: Role | tuple[Role, ...] | Open
    answers: Mapping[int, AnswerBody]
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    problems: tuple[type[VaultError], ...] = ()
    prefix: str = ""
    limits: BodyLimits = BodyLimits()

    @property
    def name(self) -> str:
        return self.prefix + self.handler.__name__

    @property
    def summary(self) -> str:
        return (self.handler.__doc__ or "").strip().partition("\n")[0].rstrip(".")

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles of which the caller needs one; empty when none is asked for."""
        if isinstance(self.needs, Open):
            return ()
        return self.needs if isinstance(self.needs, tuple) else (self.needs,)

    @property
    def anonymous(self) -> bool:
        return self.needs is Open.ANYONE

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the path's parameters, in order."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))

    @property
    def needs_if_match(self) -> bool:
        return PreconditionRequired in self.problems

    @property
    def takes_if_match(self) -> bool:
        return self.needs_if_match or StaleVersion in self.problems
