"""A credential and the rules of its life, as pure functions. No value, no store, no clock.

pending → active → expiring → expired        as time goes (validity dates, the value's own end)
          active ⇄ inactive                  suspended by hand; or compromised, until its values are others
          active → rotated                   a version, once it is replaced
          any    → revoked                   final
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from vault_core import attributes as attribute_rules
from vault_core.attributes import Attribute, OwnAttributes
from vault_core.configured_attributes import ConfiguredAttributes
from vault_core.credential_types import TYPES, Accepted, CredentialType
from vault_core.credential_types.given import BULLETS
from vault_core.durations import Duration
from vault_core.errors import (
    CredentialChanged,
    CredentialExpired,
    CredentialIncomplete,
    CredentialInLocker,
    CredentialNotUsable,
    CredentialRevoked,
    StaleVersion,
    VaultError,
    VersionLimitReached,
)
from vault_core.identities import Identity
from vault_core.policies import LeasePolicy
from vault_core.records import Record
from vault_core.validation import Validation, unchecked

MAX_KEPT_VERSIONS = 100  # each is named in the record, which must never outgrow its row
KEPT_GONE_VERSIONS = 50  # older ones leave the record; the audit keeps their story


class State(StrEnum):
    """The state of a version; the credential shows that of its newest."""

    ACTIVE = "active"
    ROTATED = "rotated"
    REVOKED = "revoked"


class Status(StrEnum):
    """What a credential is now; computed when read, never stored."""

    PENDING = "pending"
    ACTIVE = "active"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    INACTIVE = "inactive"
    ROTATED = "rotated"
    REVOKED = "revoked"


LEASABLE = frozenset({Status.ACTIVE, Status.EXPIRING})
Environment = Literal["production", "test", "preview"]


class Version(Record):
    """One value that the credential has or had. `secret` names the value; None once it is destroyed.

    A version of a credential none of whose attributes has a standard value holds nothing: it never had a secret.
    """

    number: int
    state: State
    secret: str | None = None
    fingerprint: str
    created_at: datetime
    created_by: Identity
    rotated_at: datetime | None = None
    revoked_at: datetime | None = None
    destroyed_at: datetime | None = None

    @property
    def holds_nothing(self) -> bool:
        """Whether there never was a value."""
        return not self.fingerprint


class Suspension(Record):
    """Who suspended the credential, when and why."""

    at: datetime
    by: Identity
    reason: str | None = None


class Compromise(Record):
    """Who reported that others may know the values up to this version, when and why.

    `revisions` are those of the standard values that must still become others, by the attributes' ids.
    """

    at: datetime
    by: Identity
    reason: str | None = None
    version: int
    revisions: dict[str, int] = {}


class PinnedConfiguration(Record):
    """The version of a vendor's configuration that the credential was made from.

    With what the credential's own life depends on: that version is frozen, so it is never stale. `digest` (SHA-256,
    hex) tells it from any other that may come to stand in its place. `products` is None when it holds for all. `host`
    is that of the validation endpoint, which is asked `check_every` so often.
    """

    vendor: str
    id: str
    version: int
    digest: str
    products: tuple[str, ...] | None = None
    host: str | None = None
    check_every: Duration | None = None
    rotate_every: Duration | None = None


class Credential(Record):
    """The aggregate root. `ends_at` is the value's own end.

    `revision` counts the changes that a caller can see; `edition` those of name, description and attributes alone.
    """

    id: str
    name: str
    description: str = ""
    type: str
    metadata: dict[str, str] = {}
    policy: LeasePolicy = LeasePolicy()
    owner_id: str
    locker_id: str | None = None
    configuration: PinnedConfiguration | None = None
    environment: Environment = "production"
    marketplaces: tuple[str, ...] = ()
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    versions: Annotated[tuple[Version, ...], Field(min_length=1)]
    attributes: Annotated[tuple[Attribute, ...], Field(min_length=1)]
    details: dict[str, Any] = {}
    ends_at: datetime | None = None
    validation: Validation
    suspended: Suspension | None = None
    compromised: Compromise | None = None
    revoked_reason: str | None = None
    deleted_at: datetime | None = None
    created_at: datetime
    created_by: Identity
    updated_at: datetime
    updated_by: Identity
    revision: int = 0
    edition: int = 0
    announced: tuple[str, ...] = ()
    rotation_look_at: datetime | None = None
    check_look_at: datetime | None = None
    uncounted_until: datetime | None = None

    @property
    def newest(self) -> Version:
        """The version that a lease is granted on, unless it is revoked."""
        return self.versions[-1]

    @property
    def kind(self) -> CredentialType:
        """What knows the rules of this credential's values: its type, its configuration, or its own attributes."""
        if self.configuration:
            return ConfiguredAttributes(self.type, self.attributes)
        return OwnAttributes(self.attributes) if self.has_own_attributes else TYPES[self.type]

    @property
    def question(self) -> tuple[PinnedConfiguration, str, tuple[str, ...]] | None:
        """What a vendor is asked with, beside the values: its answer holds for no other."""
        return (self.configuration, self.environment, self.marketplaces) if self.configuration else None

    @property
    def shape(self) -> tuple[tuple[Attribute, ...], object]:
        """What its values were checked against: they fit no other."""
        return self.attributes, self.question

    @property
    def has_own_attributes(self) -> bool:
        """Whether the attributes are the credential's own, not the fields of its type or of a configuration."""
        return self.configuration is None and attribute_rules.are_own(self.type, self.attributes)

    @property
    def may_be_rotated_in_part(self) -> bool:
        """Whether values that a rotation leaves out stay, because the attributes are not those of its type alone."""
        return self.configuration is not None or self.has_own_attributes

    @property
    def lacks(self) -> list[str]:
        """The names of the standard attributes that have no value yet and need one.

        A type, or a configuration, lets no value in that leaves out what it requires: it lacks all of it, or nothing.
        """
        if self.has_own_attributes:
            return [one.name for one in self.attributes if not (one.user_provided or one.value)]
        if not self.newest.holds_nothing:
            return []
        fields = self.kind.fields
        return [one.name for one in fields if one.required] or [one.name for one in fields]

    @property
    def display(self) -> str:
        """What tells the credential from others without showing its value."""
        return BULLETS if self.newest.holds_nothing else self.kind.display(self.details)

    @property
    def still_compromised(self) -> list[str]:
        """The names of the standard attributes that hold what they held when a compromise was reported."""
        known = self.compromised.revisions if self.compromised else {}
        return [one.name for one in self.attributes if one.value and one.value.revision == known.get(one.id)]

    @property
    def user_provided(self) -> list[Attribute]:
        """The attributes whose values each consumer gives for itself."""
        return [one for one in self.attributes if one.user_provided]

    @property
    def ends(self) -> datetime | None:
        """When the credential stops being usable: the earlier of `validUntil` and the value's own end."""
        return min((end for end in (self.valid_until, self.ends_at) if end), default=None)

    def version(self, number: int) -> Version | None:
        """The version of that number, or None when it left the record long ago."""
        return next((version for version in self.versions if version.number == number), None)

    def tag(self, shown_with: str) -> str:
        """The `ETag` of the credential as it is shown with what is not its own: status, verdict, tenant's rules."""
        return f"{self.id[-12:]}.{self.revision}.{shown_with}"


def status(credential: Credential, now: datetime, notice: timedelta) -> Status:
    """Return what the credential is at `now`; it is `expiring` within `notice` of its end."""
    if credential.newest.state is State.REVOKED:
        return Status.REVOKED
    if credential.ends and now >= credential.ends:
        return Status.EXPIRED
    if credential.suspended or credential.compromised:
        return Status.INACTIVE
    if credential.valid_from and now < credential.valid_from:
        return Status.PENDING
    if credential.ends and now >= credential.ends - notice:
        return Status.EXPIRING
    return Status.ACTIVE


def refusal_to_lease(credential: Credential, now: datetime) -> VaultError | None:
    """Return why no lease can be granted or renewed at `now`, or None when one can."""
    if refusal := refusal_to_use(credential, now):
        return refusal
    if credential.lacks:
        return CredentialIncomplete(f"Not every attribute has a value yet; first set: {', '.join(credential.lacks)}.")
    return None


def refusal_to_use(credential: Credential, now: datetime) -> VaultError | None:
    """Return why no value of the credential may be handed out at `now`, or None when one may."""
    match status(credential, now, timedelta(0)):
        case Status.REVOKED:
            return CredentialRevoked("This credential was revoked, which is final; ask its owner for another one.")
        case Status.EXPIRED:
            return CredentialExpired("This credential has expired; its owner can rotate it or extend its validity.")
        case Status.INACTIVE if credential.compromised:
            return CredentialNotUsable("This credential was reported as compromised; its owner must rotate it first.")
        case Status.INACTIVE:
            return CredentialNotUsable("This credential is suspended; its owner can resume it.")
        case Status.PENDING:
            starts = credential.valid_from.isoformat(timespec="seconds") if credential.valid_from else ""
            return CredentialNotUsable(f"This credential is not valid yet; it can be leased from {starts}.")
        case _:
            return None


def check_unchanged(credential: Credential, if_match: str | None) -> None:
    """Return when the caller's `If-Match` names the present revision, or is absent; else `StaleVersion`."""
    # The status in a tag tells readers of a change that time brought; it is no change that a writer could undo.
    present = credential.tag("").rpartition(".")[0]
    if if_match is not None and if_match.rpartition(".")[0] != present:
        raise StaleVersion("The credential changed since you read it; read it again and repeat your change.")


def check_not_revoked(credential: Credential) -> None:
    """Return unless the credential was revoked, which is final; `CredentialRevoked` then."""
    if credential.newest.state is State.REVOKED:
        raise CredentialRevoked("This credential was revoked, which is final; create a new one.")


def check_not_in_locker(credential: Credential, what: str) -> None:
    """Return unless the credential is in a locker, whose people rely on it as it is; `CredentialInLocker` then."""
    if credential.locker_id:
        raise CredentialInLocker(f"Take the credential out of its locker before you {what}.")


def check_same_place(credential: Credential, before: Credential) -> None:
    """Return when name and locker are still as they were; for changes that also write the rows of either."""
    if (credential.name, credential.locker_id) != (before.name, before.locker_id):
        raise CredentialChanged("The credential has another name or locker now; read it and repeat the request.")


def changed(credential: Credential, by: Identity, now: datetime, **changes: Any) -> Credential:
    """Return the credential with a change that callers can see."""
    return credential.but(updated_at=now, updated_by=by, revision=credential.revision + 1, **changes)


def rotated(
    credential: Credential,
    accepted: Accepted,
    given: Collection[str],
    secret: str | None,
    fingerprint: str,
    by: Identity,
    now: datetime,
) -> Credential:
    """Return the credential with a new active version; the one before it is `rotated`.

    `given` names the attributes whose values were set; the rest of `accepted` stays as it was. Without a `secret` the
    version holds nothing. Raises `VersionLimitReached` when 100 values are kept, because leases on them still run.
    """
    check_room_for_a_version(credential)
    old = credential.newest.but(state=State.ROTATED, rotated_at=now)
    new = Version(
        number=old.number + 1,
        state=State.ACTIVE,
        secret=secret,
        fingerprint=fingerprint,
        created_at=now,
        created_by=by,
    )
    after = changed(
        credential,
        by,
        now,
        versions=_without_the_long_gone((*credential.versions[:-1], old, new)),
        attributes=attribute_rules.marked(credential.attributes, accepted.fields, given, by.id, now),
        details=dict(accepted.details),
        ends_at=accepted.ends_at,
        validation=first_verdict(credential.configuration, secret, now).but(checks=credential.validation.checks),
    )
    return _released(after)


def compromised(credential: Credential, by: Identity, now: datetime, reason: str | None) -> Credential:
    """Return the credential frozen until its masked values are others; as it is when that was done, or it is revoked.

    Values that are not masked, such as user names, may stay. Values that came after another report are meant as well.
    """
    known = credential.compromised
    if credential.newest.state is State.REVOKED or (known and known.version == credential.newest.number):
        return credential
    revisions = {one.id: one.value.revision for one in credential.attributes if one.masked and one.value}
    report = Compromise(at=now, by=by, reason=reason, version=credential.newest.number, revisions=revisions)
    return changed(credential, by, now, compromised=report)


def _released(credential: Credential) -> Credential:
    """Return the credential knowing which of the values are left that were reported; released when none is."""
    if credential.compromised is None:
        return credential
    known = credential.compromised.revisions
    left = {one.id: known[one.id] for one in credential.attributes if one.name in credential.still_compromised}
    return credential.but(compromised=credential.compromised.but(revisions=left) if left else None)


def check_not_still_compromised(credential: Credential) -> None:
    """Return when no value is left that was reported as compromised; `CredentialNotUsable` otherwise."""
    if names := credential.still_compromised:
        raise CredentialNotUsable(f"Rotate it first; these values were reported as compromised: {', '.join(names)}.")


def check_room_for_a_version(credential: Credential) -> None:
    """Return when another value can be kept; `VersionLimitReached` when 100 are, because leases on them still run."""
    if sum(version.secret is not None for version in credential.versions) >= MAX_KEPT_VERSIONS:
        raise VersionLimitReached(
            f"Leases still run on {MAX_KEPT_VERSIONS} replaced values; let some end, or lower maxLeaseTTL, then rotate."
        )


def first_verdict(configuration: PinnedConfiguration | None, secret: str | None, now: datetime) -> Validation:
    """Return what is known of a value that was just accepted, or of a version that holds none."""
    asked = configuration is not None and configuration.check_every is not None
    return unchecked(secret is not None, now, by_vendor=asked)


def in_locker(credential: Credential, locker_id: str) -> Credential:
    """Return the credential in this locker; `CredentialInLocker` when it is in another."""
    if credential.locker_id not in (None, locker_id):
        raise CredentialInLocker("The credential is in another locker; take it out of there first.")
    return credential.but(locker_id=locker_id, revision=credential.revision + 1)


def out_of_locker(credential: Credential, locker_id: str) -> Credential:
    """Return the credential out of this locker; as it is when it is not in there."""
    if credential.locker_id != locker_id:
        return credential
    return credential.but(locker_id=None, revision=credential.revision + 1)


def revoked(credential: Credential, by: Identity, now: datetime, reason: str | None) -> Credential:
    """Return the credential with all its versions revoked; as it is when that was done already. Final."""
    if credential.newest.state is State.REVOKED:
        return credential
    versions = tuple(
        version if version.state is State.REVOKED else version.but(state=State.REVOKED, revoked_at=now)
        for version in credential.versions
    )
    return changed(credential, by, now, versions=versions, revoked_reason=reason)


def destroyed(credential: Credential, number: int, now: datetime) -> Credential:
    """Return the credential knowing that the value of this version is gone."""
    versions = tuple(
        version.but(secret=None, destroyed_at=now) if version.number == number else version
        for version in credential.versions
    )
    return credential.but(versions=_without_the_long_gone(versions))


def _without_the_long_gone(versions: tuple[Version, ...]) -> tuple[Version, ...]:
    gone = [version for version in versions if version.secret is None]
    dropped = {version.number for version in gone[: max(0, len(gone) - KEPT_GONE_VERSIONS)]}
    return tuple(version for version in versions if version.number not in dropped)
