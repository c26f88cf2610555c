"""What callers see of credentials. None of these models has a field for a value."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from vault_core import rotation
from vault_core.attributes import Attribute
from vault_core.credential import Credential, Environment, State, Status, Version, status
from vault_core.credentials import Shown
from vault_core.identities import Identity
from vault_core.policies import LeasePolicy
from vault_core.wire import Instant, WireModel


class SuspensionView(WireModel):
    """Since when, by whom and why a credential is suspended."""

    at: Instant
    by: Identity
    reason: str | None = None


class ValidationView(WireModel):
    """What is known of whether the value works."""

    status: str
    checked_at: Instant
    verdict_at: Instant
    reason: str | None = None


class AttributeView(WireModel):
    """A named part of a credential; never its value. `set` tells whether it has its standard value."""

    id: str
    name: str
    description: str
    user_provided: Annotated[bool, Field(description="Each consumer gives a value of its own")]
    masked: Annotated[bool, Field(description="Left out where all values are read at once")]
    password_flag: Annotated[bool, Field(description="For password fields only")]
    set: bool


class OwnValuesView(WireModel):
    """The names of the attributes for which the caller has given values of its own."""

    given: tuple[str, ...]


class CredentialView(WireModel):
    """A credential as its viewers see it: everything but the value."""

    id: str
    name: str
    description: str
    type: str
    status: Status
    state: State
    display: Annotated[str, Field(description="Tells one credential from another without showing the value")]
    version: int
    owner_id: str
    locker_id: str | None = None
    attributes: tuple[AttributeView, ...]
    metadata: dict[str, str]
    policy: Annotated[LeasePolicy, Field(description="The credential's own rules")]
    effective_policy: Annotated[LeasePolicy, Field(description="The rules that hold, with the tenant's defaults")]
    environment: Environment
    marketplaces: tuple[str, ...]
    valid_from: Instant | None = None
    valid_until: Instant | None = None
    ends_at: Annotated[Instant | None, Field(description="The value's own end, where it has one")] = None
    rotation_due_at: Instant | None = None
    details: Annotated[dict[str, Any], Field(description="What the vault worked out from the value")]
    validation: ValidationView
    suspended: SuspensionView | None = None
    revoked_reason: str | None = None
    created_at: Instant
    created_by: Identity
    updated_at: Instant
    updated_by: Identity


class CredentialList(WireModel):
    """A page of credentials; `next` is the cursor of the next page, absent at the end."""

    items: tuple[CredentialView, ...]
    next: str | None = None


class VersionView(WireModel):
    """One version of a credential; `value` says whether the vault still keeps it."""

    number: int
    state: State
    kept: Annotated[bool, Field(description="Whether the vault still keeps the value of this version")]
    active_leases: int
    created_at: Instant
    created_by: Identity
    rotated_at: Instant | None = None
    revoked_at: Instant | None = None
    destroyed_at: Instant | None = None


class VersionList(WireModel):
    """The versions of a credential, newest first."""

    items: tuple[VersionView, ...]


def credential_view(shown: Shown, now: datetime) -> CredentialView:
    """Return what callers see of the credential at `now`."""
    credential, rules = shown.credential, shown.rules
    suspended = credential.suspended
    return CredentialView(
        **{name: getattr(credential, name) for name in _COPIED},
        status=current_status(shown, now),
        state=credential.newest.state,
        display=credential.kind.display(credential.details),
        version=credential.newest.number,
        attributes=tuple(map(_attribute_view, credential.attributes)),
        effective_policy=rules.policy_of(credential.policy),
        rotation_due_at=rotation.rotation_due_at(credential, rules),
        validation=ValidationView(**dict(credential.validation)),
        suspended=SuspensionView(**dict(suspended)) if suspended else None,
    )


def _attribute_view(attribute: Attribute) -> AttributeView:
    copied = {name: getattr(attribute, name) for name in _COPIED_OF_ATTRIBUTE}
    return AttributeView(**copied, set=attribute.value is not None)


def current_status(shown: Shown, now: datetime) -> Status:
    """Return the credential's status at `now`, with the tenant's notice period."""
    return status(shown.credential, now, shown.rules.notice_period)


def version_list(credential: Credential, outstanding: Counter[int]) -> VersionList:
    """Return the versions with the number of their active leases, newest first."""
    return VersionList(
        items=tuple(_version_view(one, outstanding[one.number]) for one in reversed(credential.versions))
    )


def _version_view(version: Version, active_leases: int) -> VersionView:
    copied = {name: getattr(version, name) for name in _COPIED_OF_VERSION}
    return VersionView(**copied, kept=version.secret is not None, active_leases=active_leases)


_COPIED = CredentialView.model_fields.keys() & Credential.model_fields.keys() - {
    "validation",
    "suspended",
    "attributes",
}
_COPIED_OF_ATTRIBUTE = AttributeView.model_fields.keys() & Attribute.model_fields.keys()
_COPIED_OF_VERSION = VersionView.model_fields.keys() & Version.model_fields.keys()
