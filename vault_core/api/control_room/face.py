"""What the handlers of this face are given, and how they read what clients send."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import RootModel

from vault_core.api.authentication import TokenAuthenticator
from vault_core.api.control_room.login import TokenExchange
from vault_core.api.routing import Call
from vault_core.errors import FieldError, InvalidInput, NotFound
from vault_core.identities import can_be_proved
from vault_core.names import as_id
from vault_core.vault import Vault


@dataclass(frozen=True, slots=True)
class ControlRoom:
    """The vault, and what proves who its callers are."""

    vault: Vault
    exchange: TokenExchange
    tokens: TokenAuthenticator


class AnyObject(RootModel[dict[str, Any]]):
    """A request body that its handler reads."""


def id_of(call: Call[Any, Any], name: str) -> str:
    """Return the id that the path names here; `NotFound` for what can be none: names are for the list calls."""
    found = as_id(call.path[name])
    if found is None:
        raise NotFound("There is no such thing here that you may see.")
    return found


def user_of(call: Call[Any, Any]) -> str:
    """Return the user that the path names; `InvalidInput` for what can be none."""
    given = call.path["user"]
    if not can_be_proved(given):
        raise InvalidInput("Name a user by the id that a token shows.", (FieldError("userId", "is no user's id"),))
    return given


def version_of(given: str | None) -> int | None:
    """Return the version that the caller read, or None when it does not say; `InvalidInput` for what is none."""
    if given is None:
        return None
    if not re.fullmatch("[0-9]{1,9}", given, re.ASCII):
        raise InvalidInput("Send the version as you read it.", (FieldError("version", "is not a number of updates"),))
    return int(given)
