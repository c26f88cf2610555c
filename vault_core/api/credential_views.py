"""What callers see of credentials. None of these models has a field for a value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from vault_core import rotation
from vault_core.attributes import Attribute
from vault_core.credential import Credential, Environment, State, Status, Version, status
from vault_core.credentials import Shown
from vault_core.identities import Identity
from vault_core.policies import LeasePolicy
from vault_core.validation import Check, Trigger, Validation
from vault_core.vendor_answers import FieldFault, Verdict
from vault_core.wire import Instant, WireModel


class SuspensionView(WireModel):
    """Since when, by whom and why a credential is suspended."""

    at: Instant
    by: Identity
    reason: str | None = None


class CompromiseView(WireModel):
    """Since when, by whom and why a credential is frozen, and the last version that others may know."""

    at: Instant
    by: Identity
    reason: str | None = None
    version: int


class FieldFaultView(WireModel):
    """What a vendor finds wrong with a field; an empty `field` stands for the whole."""

    field: str
    message: str


class ValidationView(WireModel):
    """What is known of whether the value works: the verdict that stands. `unknown` answers do not change it."""

    status: Verdict
    checked_at: Instant
    verdict_at: Instant
    reason: Annotated[str | None, Field(description="Short code of the verdict")] = None
    field_errors: tuple[FieldFaultView, ...]
    next_check_at: Annotated[Instant | None, Field(description="When the vendor is asked again")] = None
    consecutive_unknown: Annotated[int, Field(description="Answers in a row that said nothing")]


class CheckView(WireModel):
    """One check of the value."""

    at: Instant
    version: int
    trigger: Trigger
    by: Identity
    status: Verdict
    reason: str
    field_errors: tuple[FieldFaultView, ...]


class CheckedView(WireModel):
    """What a check found, and what is known since."""

    check: CheckView
    validation: ValidationView


class CheckList(WireModel):
    """The last checks of a credential, up to 100, newest first."""

    items: tuple[CheckView, ...]


class PinnedConfigurationView(WireModel):
    """The version of a vendor's configuration that a credential was made from."""

    id: str
    version: int
    vendor: str


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
    configuration: PinnedConfigurationView | None = None
    environment: Environment
    marketplaces: tuple[str, ...]
    valid_from: Instant | None = None
    valid_until: Instant | None = None
    ends_at: Annotated[Instant | None, Field(description="The value's own end, where it has one")] = None
    rotation_due_at: Instant | None = None
    details: Annotated[dict[str, Any], Field(description="What the vault worked out from the value")]
    validation: ValidationView
    suspended: SuspensionView | None = None
    compromised: CompromiseView | None = None
    revoked_reason: str | None = None
    created_at: Instant
    created_by: Identity
    updated_at: Instant
    updated_by: Identity


class CredentialList(WireModel):
    """A page of credentials; `next` is the cursor of the next page, absent at the end."""

    items: tuple[CredentialView, ...]
    next: str | None = None


class HolderView(WireModel):
    """Somebody who was given the values of a version. The identity is as it was proven the last time."""

    identity: Identity
    version: int | None = None
    since: Instant
    last_at: Instant
    leases: int
    reads: Annotated[int, Field(description="Times that values were handed out otherwise than by a new lease")]


class CompromiseReport(WireModel):
    """What became of a report: the frozen credential, and who was given its values, the latest first."""

    credential: CredentialView
    holders: tuple[HolderView, ...]
    complete_since: Annotated[Instant, Field(description="Of earlier times, the audit tells")]


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
    suspended, compromised = credential.suspended, credential.compromised
    return CredentialView(
        **{name: getattr(credential, name) for name in _COPIED},
        status=current_status(shown, now),
        state=credential.newest.state,
        display=credential.display,
        version=credential.newest.number,
        attributes=tuple(map(_attribute_view, credential.attributes)),
        effective_policy=rules.policy_of(credential.policy),
        rotation_due_at=rotation.rotation_due_at(credential, rules),
        configuration=_pinned_view(credential),
        validation=validation_view(credential.validation),
        suspended=SuspensionView(**dict(suspended)) if suspended else None,
        compromised=CompromiseView(**{name: getattr(compromised, name) for name in _COPIED_OF_COMPROMISE})
        if compromised
        else None,
    )


def validation_view(validation: Validation) -> ValidationView:
    """Return what callers see of what is known of a value."""
    copied = {name: getattr(validation, name) for name in _COPIED_OF_VALIDATION}
    return ValidationView(**copied, field_errors=faults_view(validation.field_errors))


def check_view(check: Check) -> CheckView:
    """Return what callers see of a check."""
    copied = {name: getattr(check, name) for name in _COPIED_OF_CHECK}
    return CheckView(**copied, field_errors=faults_view(check.field_errors))


def faults_view(faults: Iterable[FieldFault]) -> tuple[FieldFaultView, ...]:
    """Return what callers see of what a vendor found wrong."""
    return tuple(FieldFaultView(field=one.field, message=one.message) for one in faults)


def _pinned_view(credential: Credential) -> PinnedConfigurationView | None:
    pinned = credential.configuration
    return PinnedConfigurationView(id=pinned.id, version=pinned.version, vendor=pinned.vendor) if pinned else None


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
    "compromised",
    "attributes",
    "configuration",
}
_COPIED_OF_COMPROMISE = CompromiseView.model_fields.keys()
_COPIED_OF_VALIDATION = ValidationView.model_fields.keys() - {"field_errors"}
_COPIED_OF_CHECK = CheckView.model_fields.keys() - {"field_errors"}
_COPIED_OF_ATTRIBUTE = AttributeView.model_fields.keys() & Attribute.model_fields.keys()
_COPIED_OF_VERSION = VersionView.model_fields.keys() & Version.model_fields.keys()
