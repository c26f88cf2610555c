"""What a request to the Key Vault and a secret it keeps look like."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

LONGEST_VALUE_BYTES = 25_600
RETENTION_DAYS = 90

Tag = Annotated[str, StringConstraints(max_length=256)]
Tags = Annotated[dict[Tag, Tag], Field(max_length=15)]
ContentType = Annotated[str, StringConstraints(max_length=255)]


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, hide_input_in_errors=True)


class Attributes(_Body):
    """What a caller may say of a version; instants are seconds since 1970, and a Key Vault enforces none."""

    enabled: bool | None = None
    exp: int | None = None
    nbf: int | None = None


class UpdateBody(_Body):
    """A change of a version's properties. What is absent stays."""

    content_type: ContentType | None = None
    attributes: Attributes = Attributes()
    tags: Tags | None = None


class SetBody(UpdateBody):
    """A new version of a secret."""

    value: str = Field(repr=False)


class SecretVersion(_Body):
    """One version: its value never changes, its properties may."""

    id: str
    value: str = Field(repr=False)
    created: int
    updated: int
    enabled: bool = True
    exp: int | None = None
    nbf: int | None = None
    content_type: str | None = None
    tags: dict[str, str] | None = None

    def updated_with(self, body: UpdateBody, now: datetime) -> SecretVersion:
        said = body.attributes.model_dump(exclude_none=True) | body.model_dump(
            include={"content_type", "tags"}, exclude_none=True
        )
        return self.model_copy(update={**said, "updated": int(now.timestamp())})


class Secret(_Body):
    """All versions of a name, the latest last; `deleted_at` (seconds since 1970) marks a soft-deleted one."""

    name: str
    versions: tuple[SecretVersion, ...]
    deleted_at: int | None = None

    @property
    def latest(self) -> SecretVersion:
        return self.versions[-1]


def item(vault: str, secret: Secret, version: SecretVersion, *, path: str | None = None) -> dict[str, Any]:
    """Return what a listing shows of a version, never its value; its id ends in `path`, if given."""
    attributes = {
        "enabled": version.enabled,
        "exp": version.exp,
        "nbf": version.nbf,
        "created": version.created,
        "updated": version.updated,
        "recoveryLevel": "Recoverable+Purgeable",
        "recoverableDays": RETENTION_DAYS,
    }
    shown = {
        "id": f"{vault}/secrets/{path or f'{secret.name}/{version.id}'}",
        "attributes": {name: value for name, value in attributes.items() if value is not None},
        "contentType": version.content_type,
        "tags": version.tags,
    }
    return {name: value for name, value in shown.items() if value is not None}


def deletion(vault: str, secret: Secret) -> dict[str, Any]:
    """Return what is said of a soft-deleted secret beside its properties."""
    assert secret.deleted_at is not None
    return {
        "recoveryId": f"{vault}/deletedsecrets/{secret.name}",
        "deletedDate": secret.deleted_at,
        "scheduledPurgeDate": purged_at(secret.deleted_at),
    }


def purged_at(deleted_at: int) -> int:
    """Return when a secret deleted then is gone for good, in seconds since 1970."""
    return deleted_at + RETENTION_DAYS * 24 * 3600
