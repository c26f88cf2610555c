"""What a tenant's metadata is outside of the vault: the items of an export, which an import reads. Pure rules.

No item has a value, the name of a secret, a fingerprint, or anything that was worked out from a value. Items stand in
the order in which they can be imported.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from vault_core import attributes as attribute_rules
from vault_core import configuration as configuration_rules
from vault_core import credential as credential_rules
from vault_core import credential_changes
from vault_core.attributes import Attribute, KnownAttribute, KnownAttributes
from vault_core.configuration import Configuration, Definition
from vault_core.contracts import Contract
from vault_core.creations import type_in
from vault_core.credential import Credential, Suspension
from vault_core.credential_requests import (
    ConfigurationChoice,
    DescribedCredential,
    Reason,
    TypeName,
    check_own_attributes_fit,
)
from vault_core.credential_types import Accepted
from vault_core.cursors import Cursor
from vault_core.identities import Identity, IdentityId, can_be_proved
from vault_core.locker import MAX_CONSUMERS, MAX_MEMBERS, MAX_ROLE_NAME, DefineLocker, Locker, Permissions
from vault_core.new_values import NewValue
from vault_core.strict_json import parts_in
from vault_core.subscription import CreateSubscription, Subscription
from vault_core.tenants import ReplaceTenantRules, TenantRules
from vault_core.wire import WireModel

FORMAT = 1
MAX_ITEMS = 100
MAX_BYTES, MAX_PARTS = 512 * 1024, 10_000  # of a body to import; the largest single item has about 400 KB, 2,200 parts
_PAGE_BYTES, _PAGE_PARTS = MAX_BYTES // 2, MAX_PARTS // 2  # what is imported may be written less tightly


def _check_can_be_proved(identity_id: str) -> str:
    if not can_be_proved(identity_id):
        raise ValueError("is not an identity's id")
    return identity_id


ItemId = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
]
"""A UUID of version 7 in its canonical form, as the vault makes them."""

PersonId = Annotated[IdentityId, AfterValidator(_check_can_be_proved)]
RoleName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ROLE_NAME)]


class Kind(StrEnum):
    """What an item is, in the order of import."""

    SETTINGS = "settings"
    LOCKER = "locker"
    CREDENTIAL = "credential"
    CONFIGURATION = "configuration"
    SUBSCRIPTION = "subscription"


class SettingsItem(ReplaceTenantRules):
    """The tenant's settings, if it ever decided any."""

    kind: Literal[Kind.SETTINGS]
    id: Literal["settings"]


class LockerItem(DefineLocker):
    """A locker. `members` are permissions by the identity's id; what is inside says so itself."""

    kind: Literal[Kind.LOCKER]
    id: ItemId
    members: Annotated[dict[PersonId, Permissions], Field(min_length=1, max_length=MAX_MEMBERS)]
    consumers: Annotated[tuple[RoleName, ...], Field(max_length=MAX_CONSUMERS)] = ()


class SuspendedItem(WireModel):
    """That a credential is suspended, and why."""

    reason: Reason | None = None


class CredentialItem(DescribedCredential):
    """A credential without any value. `attributes` are there when they are its own."""

    kind: Literal[Kind.CREDENTIAL]
    id: ItemId
    type: TypeName
    state: Literal["active", "revoked"]
    owner_id: PersonId
    locker_id: ItemId | None = None
    configuration: ConfigurationChoice | None = None
    attributes: KnownAttributes | None = None
    suspended: SuspendedItem | None = None

    @model_validator(mode="after")
    def _own_attributes_fit(self) -> Self:
        if self.attributes is not None:
            check_own_attributes_fit(self.type, self.configuration)
        return self


class ConfigurationItem(WireModel):
    """A vendor's configuration: its draft, or without one its latest version."""

    kind: Literal[Kind.CONFIGURATION]
    id: ItemId
    state: configuration_rules.State
    definition: Definition


class SubscriptionItem(CreateSubscription):
    """A subscription, without what signs."""

    kind: Literal[Kind.SUBSCRIPTION]
    id: ItemId


Item = Annotated[
    SettingsItem | LockerItem | CredentialItem | ConfigurationItem | SubscriptionItem, Field(discriminator="kind")
]


class TenantPage(WireModel):
    """A part of a tenant's metadata. `next` is the cursor of the next page; an import does not heed it."""

    format: Literal[1]
    items: Annotated[tuple[Item, ...], Field(max_length=MAX_ITEMS)]
    next: Cursor | None = None


def settings_item(rules: TenantRules) -> SettingsItem:
    """Return the tenant's settings as an item."""
    return SettingsItem(
        kind=Kind.SETTINGS,
        id="settings",
        defaults=rules.defaults,
        notice_period=rules.notice_period,
        retention=rules.retention,
    )


def locker_item(locker: Locker) -> LockerItem | None:
    """Return the locker as an item; None for one that is just being deleted."""
    if locker.deleted_at:
        return None
    return LockerItem(
        kind=Kind.LOCKER,
        id=locker.id,
        name=locker.name,
        description=locker.description,
        members=locker.members,
        consumers=locker.consumers,
    )


def credential_item(credential: Credential) -> CredentialItem | None:
    """Return the credential as an item; None for one that is just being deleted."""
    if credential.deleted_at:
        return None
    pinned, suspended = credential.configuration, credential.suspended
    described = {name: getattr(credential, name) for name in DescribedCredential.model_fields}
    return CredentialItem.model_validate(
        {
            **described,
            "kind": Kind.CREDENTIAL,
            "id": credential.id,
            "type": credential.type,
            "state": "revoked" if credential.newest.state is credential_rules.State.REVOKED else "active",
            "owner_id": credential.owner_id,
            "locker_id": credential.locker_id,
            "configuration": ConfigurationChoice(id=pinned.id, version=pinned.version) if pinned else None,
            "attributes": _own_attributes(credential),
            "suspended": SuspendedItem(reason=suspended.reason) if suspended else None,
        }
    )


def configuration_item(configuration: Configuration) -> ConfigurationItem | None:
    """Return the configuration as an item; None for one that is just being deleted."""
    definition = configuration.draft or (configuration.latest.definition if configuration.latest else None)
    if configuration.deleting or definition is None:
        return None
    return ConfigurationItem(
        kind=Kind.CONFIGURATION, id=configuration.id, state=configuration.state, definition=definition
    )


def subscription_item(subscription: Subscription) -> SubscriptionItem:
    """Return the subscription as an item."""
    wanted = {name: getattr(subscription, name) for name in CreateSubscription.model_fields}
    return SubscriptionItem(kind=Kind.SUBSCRIPTION, id=subscription.id, **wanted)


def that_fit(items: Iterable[Item | None]) -> int:
    """Return how many of the items, from the first on, make a page that can be imported as it is; at least one."""
    size = parts = count = 0
    for item in items:
        text = item.model_dump_json(by_alias=True, exclude_none=True) if item else ""
        size, parts = size + len(text.encode()), parts + parts_in(text)
        if count and (size > _PAGE_BYTES or parts > _PAGE_PARTS):
            break
        count += 1
    return count


def restored(item: CredentialItem, contract: Contract | None, by: Identity, now: datetime) -> Credential:
    """Return the credential that the item tells of, with no value yet; made `by` whoever imports it.

    Raises `InvalidInput` when its parts contradict each other, or the contract.
    """
    if contract:
        type_in(contract, item.type)
    attributes, pinned = _attributes(item, contract, by, now), contract.pinned if contract else None
    nothing = NewValue(Accepted({}, {}), frozenset(), "", None)
    made = credential_changes.created(item.id, item, item.type, pinned, attributes, nothing, by, now)
    suspended = Suspension(at=now, by=by, reason=item.suspended.reason) if item.suspended else None
    return made.but(owner_id=item.owner_id, locker_id=item.locker_id, suspended=suspended)


def _attributes(item: CredentialItem, contract: Contract | None, by: Identity, now: datetime) -> tuple[Attribute, ...]:
    if contract:
        return configuration_rules.as_attributes(contract.definition.fields_, by.id, now)
    if item.attributes is not None:
        return attribute_rules.restored(item.attributes, by.id, now)
    return attribute_rules.of_type(item.type, by.id, now)


def _own_attributes(credential: Credential) -> tuple[KnownAttribute, ...] | None:
    if not credential.has_own_attributes:
        return None
    names = KnownAttribute.model_fields
    return tuple(KnownAttribute(**{name: getattr(one, name) for name in names}) for one in credential.attributes)
