"""A vendor's configuration: what credentials for its products look like and where they can be checked.

draft → published (version n, frozen) → deprecated        editing a published one makes the draft of version n + 1

A credential pins the version that it was made from. Pure rules: no store, no clock, no value.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from vault_core.attributes import Attribute
from vault_core.configuration_fields import FieldDefinition, FieldDefinitions, check_definitions
from vault_core.credential import PinnedConfiguration
from vault_core.credential_requests import Description, TypeName
from vault_core.durations import Duration
from vault_core.errors import ConfigurationNotUsable, FieldError, InvalidInput, StaleVersion
from vault_core.identities import Identity
from vault_core.names import Name
from vault_core.outbound import LONGEST_CALL, MAX_URL
from vault_core.records import Record
from vault_core.settings import Tenant
from vault_core.signing_secrets import SigningSecret
from vault_core.vendor_answers import Rules, can_be_a_verdict
from vault_core.wire import WireModel

MAX_DEFINITION = 60_000  # characters of JSON; a row holds two of them
MAX_PRODUCTS = 40  # each is a row of the index by which a credential is resolved
MAX_AUDIENCE = 90  # each is a row of the index by which a configuration is found
MAX_VERSIONS = 500
MAX_PATTERNS = 10  # each takes time to be checked

ProductId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Status = Annotated[int, Field(ge=200, le=499)]
Everyone = Literal["everyone"]


class Endpoint(WireModel):
    """Where a vendor says whether values work, and how its answers are read."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL)]
    timeout_seconds: Annotated[int, Field(ge=1, le=int(LONGEST_CALL.total_seconds()))] = 10
    valid_statuses: Annotated[
        tuple[Status, ...], Field(max_length=20, description="With these, the status alone is the answer")
    ] = ()
    invalid_statuses: Annotated[tuple[Status, ...], Field(max_length=20)] = ()
    every_hours: Annotated[int, Field(ge=1, le=720, description="How often each value is checked")] = 24
    required: Annotated[bool, Field(description="No new value is accepted that this endpoint calls invalid")] = False

    @field_validator("valid_statuses", "invalid_statuses")
    @classmethod
    def _can_be_verdicts(cls, statuses: tuple[int, ...]) -> tuple[int, ...]:
        if not all(map(can_be_a_verdict, statuses)):
            raise ValueError("may not hold 408, 429 or a redirect, which say nothing of the value")
        return statuses

    @model_validator(mode="after")
    def _says_both(self) -> Self:
        if bool(self.valid_statuses) != bool(self.invalid_statuses):
            raise ValueError("give both validStatuses and invalidStatuses, or neither")
        if set(self.valid_statuses) & set(self.invalid_statuses):
            raise ValueError("a status cannot be both valid and invalid")
        return self

    @property
    def every(self) -> timedelta:
        return timedelta(hours=self.every_hours)

    @property
    def within(self) -> timedelta:
        return timedelta(seconds=self.timeout_seconds)

    @property
    def rules(self) -> Rules:
        return Rules(frozenset(self.valid_statuses), frozenset(self.invalid_statuses))


class RotationAdvice(WireModel):
    """What the vendor advises. `zeroDowntime` says that the value before goes on working for a while."""

    every: Duration | None = None
    zero_downtime: bool = True


class Definition(WireModel):
    """All that a vendor says of a configuration. Frozen in each version that is published."""

    name: Name
    description: Description = ""
    audience: Annotated[
        Everyone | tuple[Tenant, ...],
        Field(description="The tenants to whom it is published, or `everyone`"),
    ] = ()
    scope: Literal["universal", "products"] = "universal"
    products: Annotated[tuple[ProductId, ...], Field(max_length=MAX_PRODUCTS)] = ()
    credential_type: TypeName | None = None
    fields_: Annotated[FieldDefinitions, Field(alias="fields")]
    validation: Endpoint | None = None
    rotation: RotationAdvice = RotationAdvice()

    @field_validator("audience")
    @classmethod
    def _is_not_too_wide(cls, audience: Everyone | tuple[Tenant, ...]) -> Everyone | tuple[Tenant, ...]:
        if audience != "everyone" and len(audience) > MAX_AUDIENCE:
            raise ValueError(f"may name {MAX_AUDIENCE} tenants; for more, say everyone")
        return audience

    @model_validator(mode="after")
    def _scope_fits(self) -> Self:
        if (self.scope == "products") != bool(self.products):
            raise ValueError("name products exactly for the scope `products`")
        return self

    def reaches(self, tenant: str) -> bool:
        """Return whether it is published to the tenant."""
        return self.audience == "everyone" or tenant in self.audience


class State(StrEnum):
    """The state of a configuration."""

    DRAFT = "draft"
    PUBLISHED = "published"
    DEPRECATED = "deprecated"


class Published(Record):
    """One frozen version."""

    number: int
    definition: Definition
    published_at: datetime
    published_by: Identity


class Configuration(Record):
    """A configuration. `draft` is what is edited; `latest` the newest version that was published.

    `signing` names the secrets that sign calls to the endpoint. `deleting` stands while it is found out whether
    credentials still live on it, `removing` from when none does: that is never taken back.
    """

    id: str
    vendor: str
    state: State
    draft: Definition | None = None
    latest: Published | None = None
    signing: tuple[SigningSecret, ...]
    created_at: datetime
    created_by: Identity
    updated_at: datetime
    updated_by: Identity
    revision: int = 0
    deleting: bool = False
    removing: bool = False

    @property
    def tag(self) -> str:
        """The `ETag` of the configuration."""
        return f"{self.id[-12:]}.{self.revision}"

    def is_offered_to(self, tenant: str) -> bool:
        """Return whether people of the tenant other than its vendors may see and use it."""
        return self.latest is not None and not self.deleting and self.latest.definition.reaches(tenant)


def created(
    configuration_id: str, vendor: str, wanted: Definition, signing: SigningSecret, by: Identity, now: datetime
) -> Configuration:
    """Return a draft of what was checked."""
    return Configuration(
        id=configuration_id,
        vendor=vendor,
        state=State.DRAFT,
        draft=wanted,
        signing=(signing,),
        created_at=now,
        created_by=by,
        updated_at=now,
        updated_by=by,
    )


def edited(configuration: Configuration, wanted: Definition, by: Identity, now: datetime) -> Configuration:
    """Return the configuration with another draft, which was checked; what is published stays as it is."""
    return changed(configuration, by, now, draft=wanted)


def published(configuration: Configuration, by: Identity, now: datetime) -> tuple[Published, Configuration]:
    """Return the draft as the next version, frozen, and the configuration with it.

    Raises `ConfigurationNotUsable` when there is no draft.
    """
    number = next_number(configuration)
    if number > MAX_VERSIONS:
        raise ConfigurationNotUsable(f"A configuration has {MAX_VERSIONS} versions at most; create a new one.")
    latest = Published(number=number, definition=draft_of(configuration), published_at=now, published_by=by)
    return latest, changed(configuration, by, now, state=State.PUBLISHED, draft=None, latest=latest)


def next_number(configuration: Configuration) -> int:
    """Return the number that the next published version has."""
    return configuration.latest.number + 1 if configuration.latest else 1


def tried(configuration: Configuration) -> tuple[int, Definition]:
    """Return what a trial asks about, and its number: the draft, or the latest version when there is none.

    Raises `ConfigurationNotUsable` when that names no endpoint.
    """
    latest, draft = configuration.latest, configuration.draft
    definition = draft or (latest.definition if latest else None)
    if definition is None or definition.validation is None:
        raise ConfigurationNotUsable("This configuration has no validation endpoint; give it one first.")
    return (latest.number if latest and not draft else next_number(configuration)), definition


def draft_of(configuration: Configuration) -> Definition:
    """Return what is to be published; `ConfigurationNotUsable` when nothing is."""
    if configuration.draft is None:
        raise ConfigurationNotUsable("There is no draft to publish; edit the configuration first.")
    return configuration.draft


def deprecated(configuration: Configuration, by: Identity, now: datetime) -> Configuration:
    """Return the configuration deprecated: nothing new is made from it, what exists works on."""
    if configuration.latest is None:
        raise ConfigurationNotUsable("Only a published configuration can be deprecated; delete the draft instead.")
    if configuration.state is State.DEPRECATED:
        return configuration
    return changed(configuration, by, now, state=State.DEPRECATED)


def changed(configuration: Configuration, by: Identity, now: datetime, **changes: object) -> Configuration:
    """Return the configuration with a change that its vendor can see."""
    return configuration.but(updated_at=now, updated_by=by, revision=configuration.revision + 1, **changes)


def check_unchanged(configuration: Configuration, if_match: str | None) -> None:
    """Return when `If-Match` names the present revision, or is absent; else `StaleVersion`."""
    if if_match not in (None, configuration.tag):
        raise StaleVersion("The configuration changed since you read it; read it again and repeat your change.")


def check(definition: Definition) -> None:
    """Return when the parts of the definition fit together; `InvalidInput` names those that do not.

    Takes up to 0.3 seconds of CPU for each of its patterns.
    """
    if sum(one.pattern is not None for one in definition.fields_) > MAX_PATTERNS:
        fault = FieldError("fields", f"may hold {MAX_PATTERNS} patterns")
        raise InvalidInput("The configuration has too many patterns; remove some.", (fault,))
    if definition.validation and all(one.choices or one.default for one in definition.fields_):
        fault = FieldError("fields", "need one without choices and default, for a value that can be wrong")
        raise InvalidInput("A validation endpoint needs a field whose value can be wrong.", (fault,))
    check_definitions(definition.fields_, definition.credential_type)
    if len(definition.model_dump_json()) > MAX_DEFINITION:
        fault = FieldError("fields", "are too large, together with the rest")
        raise InvalidInput(f"A configuration takes up to {MAX_DEFINITION} characters; shorten its texts.", (fault,))


def pinned(vendor: str, configuration_id: str, version: Published, host: str | None) -> PinnedConfiguration:
    """Return what a credential keeps of the version that it is made from."""
    definition = version.definition
    return PinnedConfiguration(
        vendor=vendor,
        id=configuration_id,
        version=version.number,
        digest=sha256(definition.model_dump_json(by_alias=True).encode()).hexdigest(),
        products=definition.products if definition.scope == "products" else None,
        host=host,
        check_every=definition.validation.every if definition.validation else None,
        rotate_every=definition.rotation.every,
    )


def as_attributes(
    fields: Sequence[FieldDefinition], by: str, now: datetime, before: Sequence[Attribute] = ()
) -> tuple[Attribute, ...]:
    """Return the fields as the attributes of a credential; those it had `before` keep their history."""
    known = {one.id: one for one in before}
    return tuple(_as_attribute(field, known.get(field.id), by, now) for field in fields)


def _as_attribute(field: FieldDefinition, before: Attribute | None, by: str, now: datetime) -> Attribute:
    given = {"description": field.label, "masked": field.secret, "password_flag": field.type == "password"}
    if before is None:
        return Attribute(
            id=field.id, name=field.id, **given, created_at=now, created_by=by, updated_at=now, updated_by=by
        )
    if given == {name: getattr(before, name) for name in given}:
        return before
    return before.but(**given, revision=before.revision + 1, updated_at=now, updated_by=by)
