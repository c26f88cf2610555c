"""Who acts: identities, the roles they hold, and the patterns by which a policy names them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from vault_core.wire import WireModel

SYSTEM_ID_PREFIX = "system:"
IDENTITY_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._@:|-]{0,127}$"

IdentityId = Annotated[str, StringConstraints(pattern=IDENTITY_ID_PATTERN)]
"""An id that fits a URL and a table's key: 1 to 128 ASCII letters, digits and `. _ @ : | -`."""

Purpose = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""What a caller says a lease is for; the only part of an identity that the caller may claim."""

_OptionalText = Annotated[str, StringConstraints(min_length=1, max_length=256)] | None


def is_identity_id(text: str) -> bool:
    """Return whether the text can be an identity's id."""
    return re.fullmatch(IDENTITY_ID_PATTERN, text) is not None


def can_be_proved(identity_id: str) -> bool:
    """Return whether a token can prove the id: it has the form of one, and is not a timer's."""
    return is_identity_id(identity_id) and not identity_id.lower().startswith(SYSTEM_ID_PREFIX)


class Role(StrEnum):
    """What a token lets its bearer do. Viewer to admin are a ladder; the others stand apart."""

    VIEWER = "viewer"
    USER = "user"
    MANAGER = "manager"
    ADMIN = "admin"
    LOCKER_ADMIN = "locker-admin"
    VENDOR = "vendor"
    AUDITOR = "auditor"

    def implies(self, other: Role) -> bool:
        """Return whether who holds this role may do all that `other` allows."""
        on_the_ladder = self in _LADDER and other in _LADDER
        return _LADDER.index(self) >= _LADDER.index(other) if on_the_ladder else self is other


_LADDER = (Role.VIEWER, Role.USER, Role.MANAGER, Role.ADMIN)


def _absent(value: object) -> bool:
    return value is None


class Identity(WireModel):
    """One who acts, as the token proved it: a person with an email address, or an agent with a name.

    A person whose token holds no usable email address has none; an agent always has a name.
    """

    kind: Annotated[Literal["human", "agent"], Field(alias="type")]
    id: IdentityId
    email: Annotated[_OptionalText, Field(exclude_if=_absent)] = None
    name: Annotated[_OptionalText, Field(exclude_if=_absent)] = None
    session_id: Annotated[_OptionalText, Field(exclude_if=_absent)] = None
    purpose: Annotated[Purpose | None, Field(exclude_if=_absent)] = None

    @model_validator(mode="after")
    def _has_what_its_kind_has(self) -> Self:
        if self.kind == "human" and self.name is not None:
            raise PydanticCustomError("identity", "a human has no name")
        if self.kind == "agent" and (self.name is None or self.email is not None):
            raise PydanticCustomError("identity", "an agent has a name and no email address")
        return self

    @classmethod
    def system(cls, timer: str) -> Identity:
        """Return the identity under which a timer acts; no token can prove it."""
        return cls(kind="agent", id=SYSTEM_ID_PREFIX + timer, name=timer)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Identity:
        """Return the identity that `document` was made of."""
        return cls.model_validate(document)

    def document(self) -> dict[str, Any]:
        """Return the identity as it is stored and shown: camelCase JSON without nulls."""
        return self.model_dump(mode="json", by_alias=True)

    def with_purpose(self, purpose: str | None) -> Identity:
        """Return the same identity, acting for this purpose (at most 256 characters)."""
        return Identity.model_validate(self.document() | {"purpose": purpose})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request, for which tenant, with which roles; `aliases` are all ids the token gives.

    `other_roles` are the names of roles in the token to which the vault gives no meaning of its own.
    """

    tenant: str
    identity: Identity
    roles: frozenset[Role]
    aliases: frozenset[str]
    other_roles: frozenset[str] = frozenset()

    @property
    def role_names(self) -> frozenset[str]:
        """The names of all roles that the token gives, as the token writes them: a locker's consumers are such."""
        return self.other_roles.union(role.value for role in self.roles)

    @property
    def ids(self) -> frozenset[str]:
        """All ids that mean the caller."""
        return self.aliases | {self.identity.id}

    def has(self, role: Role) -> bool:
        """Return whether the caller holds the role or one that implies it."""
        return any(held.implies(role) for held in self.roles)

    def is_me(self, identity_id: str) -> bool:
        """Return whether the id is one of the caller's own."""
        return identity_id in self.ids


_REFUSED_FIELDS = {"human": ("name",), "agent": ("email",), "any": ("id", "email", "name")}
_AT_MOST_8_WILDCARDS = r"^[^*]*(\*[^*]*){0,8}$"
_PatternText = Annotated[
    str | None,
    Field(min_length=1, max_length=256, pattern=_AT_MOST_8_WILDCARDS, exclude_if=_absent),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 256, "pattern": _AT_MOST_8_WILDCARDS}),
]


def _say_which_fields_fit(schema: dict[str, Any]) -> None:
    for field in ("id", "email", "name"):
        schema["properties"][field].pop("default", None)
    schema["oneOf"] = [
        {"properties": {"type": {"const": kind}, **dict.fromkeys(refused, False)}}
        for kind, refused in _REFUSED_FIELDS.items()
    ]


class IdentityPattern(WireModel):
    """Names identities: every given field must match. `*` stands for any text; case does not matter.

    `{"type": "human"}` is every person of the tenant, `{"type": "agent"}` every agent, and `{"type": "any"}`
    everyone who may lease at all. A field that the identity lacks never matches, not even `*`. Each field
    holds 1 to 256 characters with at most 8 wildcards.
    """

    model_config = {"json_schema_extra": _say_which_fields_fit}

    type: Literal["human", "agent", "any"]
    id: _PatternText = None
    email: _PatternText = None
    name: _PatternText = None

    @field_validator("id", "email", "name", mode="before")
    @classmethod
    def _is_given_and_fits(cls, value: object, info: ValidationInfo) -> object:
        # An explicit null is refused: left to mean "any", it would widen the pattern unseen.
        if value is None:
            raise PydanticCustomError("null", "must be a string; leave the field out if it does not matter")
        if info.field_name in _REFUSED_FIELDS.get(info.data.get("type", ""), ()):
            raise PydanticCustomError("pattern_field", "does not belong to a pattern of this type")
        return value

    def matches(self, identity: Identity) -> bool:
        """Return whether the identity is one that this pattern names."""
        wanted = {"id": self.id, "email": self.email, "name": self.name}
        return self.type in ("any", identity.kind) and all(
            matches(pattern, getattr(identity, field)) for field, pattern in wanted.items() if pattern is not None
        )


def matches(pattern: str, text: str | None) -> bool:
    """Return whether the text, without regard to case, is the pattern with each `*` replaced by some text.

    Each piece between wildcards is sought once, from the left, so a pattern cannot make this slow.
    """
    if text is None:
        return False
    text = text.casefold()
    first, *rest = pattern.casefold().split("*")
    if not rest:
        return text == first
    *between, last = rest
    at, end = len(first), len(text) - len(last)
    if at > end or not (text.startswith(first) and text.endswith(last)):
        return False
    for piece in between:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True
