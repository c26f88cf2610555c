"""What callers may ask to be done with credentials: the bodies of requests, checked as far as they can be alone."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, field_validator, model_validator

from vault_core import durations
from vault_core.attributes import OWN_TYPE, ChangedAttributes, Definitions
from vault_core.credential import Environment
from vault_core.names import Name
from vault_core.policies import LeasePolicy
from vault_core.rotation import METADATA_ROTATE_EVERY
from vault_core.wire import Instant, WireModel

TypeName = Literal["api-key", "oauth-token", "ssh-key", "tls-certificate", "database-url", "generic-secret"]
Description = Annotated[str, StringConstraints(max_length=1024)]
Reason = Annotated[str, StringConstraints(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]
Marketplace = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Marketplaces = Annotated[tuple[Marketplace, ...], Field(max_length=100)]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=128)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]
ConfigurationId = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F-]{36}$")]
FieldValues = Annotated[dict[Annotated[str, StringConstraints(max_length=64)], SecretStr], Field(max_length=50)]

MAX_METADATA = 64
_SECRET_KEYS = frozenset({"password", "passphrase", "refreshtoken", "privatekey", "secret"})


def _check_metadata_keys(keys: object) -> None:
    for key in keys if isinstance(keys, dict) else ():
        if "".join(mark for mark in key.casefold() if mark.isalnum()) in _SECRET_KEYS:
            raise ValueError("a key names secret material, which every viewer could read here; put it into `fields`")


def _check_metadata(metadata: dict[str, str]) -> dict[str, str]:
    _check_metadata_keys(metadata)
    if METADATA_ROTATE_EVERY in metadata:
        durations.parse(metadata[METADATA_ROTATE_EVERY])
    return metadata


def _check_metadata_changes(changes: dict[str, str | None]) -> dict[str, str | None]:
    _check_metadata({key: value for key, value in changes.items() if value is not None})
    return changes


Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=MAX_METADATA), AfterValidator(_check_metadata)]
MetadataChanges = Annotated[
    dict[MetadataKey, MetadataValue | None],
    Field(max_length=2 * MAX_METADATA),
    AfterValidator(_check_metadata_changes),
]


class _WithValue(WireModel):
    """A value, given as one string (the type's primary field) or as named fields."""

    value: Annotated[SecretStr | None, Field(description="The value as one string: the type's primary field")] = None
    fields_: Annotated[FieldValues | None, Field(alias="fields", description="The value as named fields")] = None

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        if self.value is not None and self.fields_ is not None:
            raise ValueError("give either `value` or `fields`")
        if self.value is None and self.fields_ is None and not self._may_lack_a_value():
            raise ValueError("give either `value` or `fields`")
        return self

    def _may_lack_a_value(self) -> bool:
        return False


class ConfigurationChoice(WireModel):
    """The vendor's configuration that a credential is made from; without `version` its latest one."""

    id: ConfigurationId
    version: Annotated[int | None, Field(ge=1, le=1_000_000)] = None


class DescribedCredential(WireModel):
    """What is said of a credential whatever its value is."""

    name: Name
    description: Description = ""
    metadata: Metadata = {}
    policy: LeasePolicy = LeasePolicy()
    environment: Environment = "production"
    marketplaces: Marketplaces = ()
    valid_from: Instant | None = None
    valid_until: Instant | None = None


class CreateCredential(DescribedCredential, _WithValue):
    """A credential to create; the caller becomes its owner.

    With `attributes`, which only a generic-secret may bring, `fields` holds values by their names; what it leaves out
    is set later. With `configuration`, the fields and the type are those that the vendor defined.
    """

    type: TypeName | None = None
    configuration: ConfigurationChoice | None = None
    attributes: Annotated[Definitions | None, Field(description="The named parts, in place of one `value`")] = None

    @model_validator(mode="after")
    def _own_attributes_fit(self) -> Self:
        if self.attributes is not None:
            check_own_attributes_fit(self.type, self.configuration)
        if self.type is None and self.configuration is None:
            raise ValueError("give a `type`, or the `configuration` to make the credential from")
        return self

    def _may_lack_a_value(self) -> bool:
        return self.attributes is not None


def check_own_attributes_fit(type_name: TypeName | None, configuration: ConfigurationChoice | None) -> None:
    """Return when a credential of this type, made from this, may bring attributes of its own; else `ValueError`."""
    if type_name != OWN_TYPE:
        raise ValueError(f"only a credential of the type {OWN_TYPE} brings attributes of its own")
    if configuration is not None:
        raise ValueError("the attributes are those of the configuration; leave `attributes` out")


class PolicyChanges(LeasePolicy):
    """Changes to a policy: a rule given as null returns to the tenant's default."""


class UpdateCredential(WireModel):
    """A JSON merge patch (RFC 7396): what is left out stays, null returns to the default; a name has none."""

    name: Name | None = None
    description: Description | None = None
    metadata: MetadataChanges | None = None
    policy: PolicyChanges | None = None
    environment: Environment | None = None
    marketplaces: Marketplaces | None = None
    valid_from: Instant | None = None
    valid_until: Instant | None = None

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str | None) -> str:
        if name is None:
            raise ValueError("must be a name; leave it out to keep the present one")
        return name


class UpgradeCredential(WireModel):
    """The version to move on to, the latest without one, and values for what is new in it; others stay."""

    version: Annotated[int | None, Field(ge=1, le=1_000_000)] = None
    fields_: Annotated[FieldValues, Field(alias="fields")] = {}


class RedefineCredential(WireModel):
    """Name, description and attributes as they are to be; without description or attributes these stay as they are."""

    name: Name
    description: Description | None = None
    attributes: ChangedAttributes | None = None


class RotateCredential(_WithValue):
    """The new value. `allowTargetChange` says that another driver or host of a database URL is meant.

    Of a credential with attributes of its own, values that are left out stay as they are.
    """

    allow_target_change: bool = False


class ValidateQuery(WireModel):
    """Whether the vendor is asked before a new value is accepted; one that it calls invalid is refused then."""

    validate_: Annotated[bool, Field(alias="validate")] = False


class SetOwnValues(WireModel):
    """The caller's own values of user-provided attributes, by their names; what is left out stays."""

    fields_: Annotated[FieldValues, Field(alias="fields", min_length=1)]


class WithReason(WireModel):
    """Why it is done; shown with the credential and in the audit."""

    reason: Reason | None = None
