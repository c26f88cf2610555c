"""Handlers of logging in: the vault keeps no session, a token is the identity provider's."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vault_core.api.control_room.dialect import LenientModel
from vault_core.api.control_room.face import ControlRoom
from vault_core.api.control_room.login import LoginRequest
from vault_core.api.routing import AnonymousCall, Answer
from vault_core.errors import NotSupported, Unauthenticated
from vault_core.wire import WireModel

_MAX_TOKEN = 16 * 1024


class TokenQuery(LenientModel):
    """The token to check."""

    token: Annotated[str, Field(min_length=1, max_length=_MAX_TOKEN)]


class TokenValidity(WireModel):
    """Whether a token is good now."""

    valid: bool


async def log_in(room: ControlRoom, call: AnonymousCall[LoginRequest]) -> Answer:
    """Exchange a user name and its secret for a token."""
    return Answer(200, await room.exchange.log_in(call.body, call.now))


async def check_token(room: ControlRoom, call: AnonymousCall[None, TokenQuery]) -> Answer:
    """Tell whether a token is good now."""
    try:
        await room.tokens.verify(call.query.token, call.now)
    except Unauthenticated:
        return Answer(200, TokenValidity(valid=False))
    return Answer(200, TokenValidity(valid=True))


async def refresh_token(room: ControlRoom, call: AnonymousCall) -> Answer:
    """Refuse to renew a token: only its secret gets another one."""
    raise NotSupported("The identity provider renews no token without its secret; log in again.")


async def log_out(room: ControlRoom, call: AnonymousCall) -> Answer:
    """End nothing: a token is good until it expires, and clients forget it."""
    return Answer(204)
