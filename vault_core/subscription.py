"""A subscription: where a tenant wants to be told of events, of which, and the rules of its life.

All subscriptions of a tenant are one record. They are few, they are looked at whenever anything is told to the audit,
and so they come with one read, together with the tenant's settings.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, StringConstraints, field_validator

from vault_core.audit import Event
from vault_core.errors import NotFound, StaleVersion
from vault_core.identities import Identity
from vault_core.outbound import MAX_URL
from vault_core.records import Record
from vault_core.signing_secrets import SigningSecret
from vault_core.wire import WireModel

MAX_SUBSCRIPTIONS = 20  # of one tenant
EVERYTHING = "*"
_ALL_OF_A_KIND = ".*"

Given = TypeVar("Given")


def covers(pattern: str, event: str) -> bool:
    """Return whether the pattern stands for the event: its name, `credential.*` for all of a kind, `*` for all."""
    if pattern.endswith(_ALL_OF_A_KIND):
        return event.startswith(pattern[:-1])
    return pattern in (EVERYTHING, event)


def _check_pattern(pattern: str) -> str:
    if not any(covers(pattern, event) for event in Event):
        raise ValueError("is no event, nor `credential.*` or the like, nor `*`")
    return pattern


def _once_each(patterns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(patterns))


Url = Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL)]
Description = Annotated[str, StringConstraints(max_length=255)]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_check_pattern)]
Patterns = Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=50), AfterValidator(_once_each)]


class CreateSubscription(WireModel):
    """Where to send which events."""

    url: Url
    events: Annotated[Patterns, Field(description="Names of events, `credential.*` and the like, or `*`")]
    description: Description = ""
    enabled: bool = True


class UpdateSubscription(WireModel):
    """A JSON merge patch (RFC 7396): what is left out stays, null returns to the default, where there is one."""

    url: Url | None = None
    events: Patterns | None = None
    description: Description | None = None
    enabled: bool | None = None

    @field_validator("url", "events")
    @classmethod
    def _is_given(cls, given: Given) -> Given:
        if given is None:
            raise ValueError("has no default; leave it out to keep the present one")
        return given


class Subscription(Record):
    """A subscription as it is kept. `signing` names its secrets, the newest last."""

    id: str
    url: str
    events: tuple[str, ...]
    description: str
    enabled: bool
    signing: tuple[SigningSecret, ...]
    created_at: datetime
    created_by: Identity
    updated_at: datetime
    updated_by: Identity
    revision: int = 0

    @property
    def tag(self) -> str:
        """The `ETag` of the subscription."""
        return f"{self.id[-12:]}.{self.revision}"

    def wants(self, event: str) -> bool:
        """Return whether the event is to be sent."""
        return self.enabled and any(covers(pattern, event) for pattern in self.events)


class SubscriptionList(Record):
    """All subscriptions of a tenant, in the order of their creation."""

    subscriptions: tuple[Subscription, ...] = ()

    @property
    def secrets(self) -> frozenset[str]:
        """The names of all signing secrets."""
        return frozenset(signing.secret for one in self.subscriptions for signing in one.signing)

    def find(self, subscription_id: str) -> Subscription | None:
        """Return the subscription with this id, None when there is none."""
        return next((one for one in self.subscriptions if one.id == subscription_id), None)

    def get(self, subscription_id: str) -> Subscription:
        """Return the subscription with this id; `NotFound` when there is none."""
        found = self.find(subscription_id)
        if found is None:
            raise NotFound("There is no such subscription; list them to see those there are.")
        return found

    def plus(self, new: Subscription) -> SubscriptionList:
        """Return the list with one more."""
        return SubscriptionList(subscriptions=(*self.subscriptions, new))

    def replacing(self, new: Subscription) -> SubscriptionList:
        """Return the list with this subscription in place of the one with its id."""
        return SubscriptionList(subscriptions=tuple(new if one.id == new.id else one for one in self.subscriptions))

    def minus(self, subscription_id: str) -> SubscriptionList:
        """Return the list without that one."""
        return SubscriptionList(subscriptions=tuple(one for one in self.subscriptions if one.id != subscription_id))


def subject_of(subscription_id: str) -> str:
    """Return what the signing secrets of a subscription are kept for."""
    return f"subscription:{subscription_id}"


def created(
    subscription_id: str, wanted: CreateSubscription, signing: SigningSecret, by: Identity, now: datetime
) -> Subscription:
    """Return the new subscription."""
    return Subscription(
        id=subscription_id,
        url=wanted.url,
        events=wanted.events,
        description=wanted.description,
        enabled=wanted.enabled,
        signing=(signing,),
        created_at=now,
        created_by=by,
        updated_at=now,
        updated_by=by,
    )


def updated(subscription: Subscription, wanted: UpdateSubscription, by: Identity, now: datetime) -> Subscription:
    """Return the subscription with the changes of the patch."""
    given = {name: getattr(wanted, name) for name in wanted.model_fields_set}
    defaults = {"description": "", "enabled": True}
    return changed(
        subscription, by, now, **{name: defaults[name] if value is None else value for name, value in given.items()}
    )


def changed(subscription: Subscription, by: Identity, now: datetime, **changes: object) -> Subscription:
    """Return the subscription with these fields changed by somebody."""
    return subscription.but(**changes, updated_at=now, updated_by=by, revision=subscription.revision + 1)


def check_unchanged(subscription: Subscription, if_match: str | None) -> None:
    """Return when the tag is the subscription's, or none was given; `StaleVersion` otherwise."""
    if if_match not in (None, subscription.tag):
        raise StaleVersion("The subscription changed since you read it; read it again and repeat your change.")
