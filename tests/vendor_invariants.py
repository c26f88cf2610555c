"""What always holds of configurations, of the credentials made from them, and of what is told to those outside."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from pydantic import SecretStr

from tests.contents import Contents
from tests.outbound import FakeOutbound, Received
from tests.vaults import sealed_table
from vault_core import agenda, rotation
from vault_core.agenda import Queue, Task
from vault_core.audit import Event
from vault_core.configuration import Configuration, Published
from vault_core.configuration_fields import accept
from vault_core.configuration_rows import audience_of, configuration_key, version_key
from vault_core.credential import Credential, State
from vault_core.credential_rows import credential_key
from vault_core.errors import RowMissing, ValueRefused
from vault_core.outbound import Reply
from vault_core.signing_secrets import SigningSecret
from vault_core.stores import Row, Stores
from vault_core.validation import KEPT_CHECKS, Check, Trigger

WITNESS = "is told of everything, from the first thing on"
_DELIVERED_WITHIN = timedelta(minutes=61)

Rule = Callable[[Contents], Iterator[str]]


def signing_secrets(contents: Contents, *, or_going: bool = False) -> list[str]:
    """The names of the secrets that sign; also those of configurations that are just being removed, if `or_going`."""
    signing: list[SigningSecret] = [key for one in contents.subscriptions for key in one.signing]
    for configuration in contents.configurations.values():
        if or_going or not configuration.deleting:
            signing += configuration.signing
    return [one.secret for one in signing]


def configurations(contents: Contents) -> Iterator[str]:
    """Published versions are all there, and who removes a configuration comes to an end."""
    for one in contents.configurations.values():
        numbers = range(1, one.latest.number + 1) if one.latest else range(0)
        expected = {version_key(one.id, number) for number in numbers}
        kept = {key: version for key, version in contents.frozen.items() if version_key(one.id, 0)[:-6] in key}
        if not one.deleting and kept.keys() != expected:
            yield f"the configuration {one.id} was published {len(expected)} times, {len(kept)} versions are kept"
        if one.latest and kept.get(version_key(one.id, one.latest.number), one.latest) != one.latest:
            yield f"the newest version of the configuration {one.id} is not the one that was frozen"
        if one.deleting and one.id not in contents.subjects(Task.REMOVE):
            yield f"the configuration {one.id} is being deleted and nothing will finish it"
    for key in contents.frozen:
        if key.partition(":")[2].partition("|")[0] not in contents.configurations:
            yield f"{key} is a version of a configuration that is gone"


def places(contents: Contents) -> Iterator[str]:
    """Every credential is found exactly where it can be used, and is looked at when it must be."""
    expected = {
        f"place:{one.environment}|{product}|{one.id}": list(one.marketplaces)
        for one in contents.live
        if one.configuration and one.newest.state is not State.REVOKED
        for product in (("*",) if one.configuration.products is None else one.configuration.products)
    }
    kept = {row.key: row.document["marketplaces"] for row in contents.kept_under("place:")}
    if kept != expected:
        yield f"what is placed: {kept}; what should be: {expected}"
    for one in contents.live:
        if one.check_look_at != rotation.next_check(one):
            yield f"{one.name} is not checked when it must be"
    for row in contents.kept_under("check:"):
        known = contents.credentials.get(row.document["subject"])
        current = known and known.check_look_at and row.key == agenda.key(Queue.CHECK, known.check_look_at, known.id)
        pinned = known.configuration if known else None
        lane = f"{pinned.vendor}|{pinned.host}" if pinned and pinned.host else None
        if known and current and row.document.get("lane") != lane:
            yield f"the check of {known.name} waits for somebody else"


def _history(contents: Contents, credential: Credential) -> list[Check]:
    rows = contents.kept_under(f"check-of:{credential.id}|")
    return sorted((Check.from_document(row.document) for row in rows), key=lambda one: one.at)


def verdicts(contents: Contents) -> Iterator[str]:
    """The verdict that stands is the last that was given on this value, whatever was answered since."""
    for one in contents.live:
        history = _history(contents, one)
        if len(history) != min(one.validation.checks, KEPT_CHECKS):
            yield f"{one.name} was checked {one.validation.checks} times, {len(history)} checks are kept"
        of_value = [check for check in history if check.version == one.newest.number]
        given = [check for check in of_value if check.status != "unknown"]
        vain = len(of_value) if not given else of_value[::-1].index(given[-1])
        by_vendor = one.configuration is not None and one.configuration.check_every is not None
        first = "unknown" if by_vendor or one.newest.holds_nothing else "valid"
        standing = given[-1].status if given else first
        if one.validation.status != standing:
            yield f"{one.name} is {one.validation.status}, the last that said anything of it said {standing}"
        if one.validation.consecutive_unknown != vain:
            yield f"{one.name} was checked in vain {vain} times, it says {one.validation.consecutive_unknown}"


def proofs(contents: Contents) -> Iterator[str]:
    """No value was let in that its vendor called invalid when it was asked before; every such question was told."""
    for one in contents.live:
        asked = [check for check in _history(contents, one) if check.trigger is not Trigger.SCHEDULED]
        if any(check.status == "invalid" for check in asked if check.trigger is not Trigger.ASKED):
            yield f"{one.name} holds, or held, a value that its vendor refused"
        for trigger in {check.trigger for check in asked}:
            count = sum(check.trigger is trigger for check in asked)
            if contents.told(Event.CREDENTIAL_VALIDATED, credential_id=one.id, trigger=trigger.value) < count:
                yield f"a check of {one.name} was not told"


_CHANGES = (
    Event.CONFIGURATION_UPDATED,
    Event.CONFIGURATION_PUBLISHED,
    Event.CONFIGURATION_DEPRECATED,
    Event.CONFIGURATION_SECRET_ROTATED,
)


def told_of_vendors(contents: Contents) -> Iterator[str]:
    """Every effect has its event."""
    for one in contents.configurations.values():
        if not contents.told(Event.CONFIGURATION_CREATED, configuration=one.id):
            yield f"the creation of the configuration {one.id} was not told"
        if contents.told(*_CHANGES, configuration=one.id) < one.revision:
            yield f"a change of the configuration {one.id} was not told"
        for number in range(1, one.latest.number + 1) if one.latest else ():
            if not contents.told(Event.CONFIGURATION_PUBLISHED, configuration=one.id, version=number):
                yield f"that version {number} of the configuration {one.id} was published was not told"
        if one.deleting and not contents.told(Event.CONFIGURATION_DELETED, configuration=one.id):
            yield f"the deletion of the configuration {one.id} was not told"
    for subscription in contents.subscriptions:
        changes = (Event.SUBSCRIPTION_UPDATED, Event.SUBSCRIPTION_SECRET_ROTATED)
        if not contents.told(Event.SUBSCRIPTION_CREATED, subscription=subscription.id):
            yield "a subscription was not told"
        if contents.told(*changes, subscription=subscription.id) < subscription.revision:
            yield "a change of a subscription was not told"


def deliveries(contents: Contents) -> Iterator[str]:
    """What is on its way is on its way once, and what was given up will be forgotten."""
    waiting = [(one.subscription_id, one.id, one.happened_at) for one in contents.waiting]
    if len(waiting) != len(set(waiting)):
        yield "an event waits twice for one subscriber"
    for row in contents.kept_under("dead-letter:"):
        if row.key not in contents.requests_to_forget():
            yield f"nothing will forget {row.key}"


def leftovers(contents: Contents) -> Iterator[str]:
    """What the timers must have tended to."""
    yield from (f"deleted in part: {one.id}" for one in contents.configurations.values() if one.deleting)
    subscribed = {one.id for one in contents.subscriptions}
    for delivery in (*contents.waiting, *contents.dead):
        if delivery.subscription_id not in subscribed:
            yield f"{delivery.event} waits for nobody"
    for delivery in contents.waiting:
        if delivery.at < contents.now - _DELIVERED_WITHIN:
            yield f"{delivery.event} is not delivered"
    owners = {"", *contents.credentials, *(f"subscription:{one}" for one in subscribed)}
    for row in (*contents.kept_under("check-of:"), *contents.kept_under("checking:")):
        if row.key.partition(":")[2].partition("|")[0] not in owners:
            yield f"{row.key} is left over"


@dataclass(frozen=True)
class Estate:
    """Everything that is kept for all tenants, by tenant, and the pointers between them."""

    tenants: Mapping[str, Contents]
    catalog: Sequence[Row]

    def configuration(self, vendor: str, configuration_id: str) -> Configuration | None:
        """The configuration with this id, unless it is being removed."""
        kept = self.tenants[vendor].configurations.get(configuration_id) if vendor in self.tenants else None
        return None if kept is None or kept.deleting else kept

    def lives_on(self, vendor: str, configuration_id: str) -> list[Credential]:
        """The credentials, of all tenants, that live on the configuration."""
        return [
            credential
            for contents in self.tenants.values()
            for credential in contents.live
            if credential.newest.state is not State.REVOKED
            and credential.configuration
            and (credential.configuration.vendor, credential.configuration.id) == (vendor, configuration_id)
        ]


def between_tenants(estate: Estate) -> Iterator[str]:
    """Whoever lives on a configuration has a pin there; who may see one can find it."""
    there = {(row.partition, row.key) for row in estate.catalog}
    for tenant, contents in estate.tenants.items():
        for one in contents.live:
            pinned = one.configuration
            if pinned is None or one.newest.state is State.REVOKED:
                continue
            if (f"vendor:{pinned.vendor}", f"{pinned.id}|{tenant}|{one.id}") not in there:
                yield f"{one.name} lives on a configuration that does not know of it"
            if version_key(pinned.id, pinned.version) not in estate.tenants[pinned.vendor].frozen:
                yield f"{one.name} lives on a version that is gone"
            elif fault := _unfit(
                one, contents, estate.tenants[pinned.vendor].frozen[version_key(pinned.id, pinned.version)]
            ):
                yield fault
            if configuration_key(pinned.id) not in {row.key for row in estate.tenants[pinned.vendor].rows}:
                yield f"{one.name} lives on a configuration that is gone"
        for configuration in contents.configurations.values():
            for who in audience_of(configuration) if not configuration.deleting else ():
                if (f"audience:{who}", configuration.id) not in there:
                    yield f"{who} cannot find the configuration {configuration.id}"


def _unfit(credential: Credential, contents: Contents, version: Published) -> str:
    envelope = contents.secrets.get(str(credential.newest.secret))
    if envelope is None:
        return ""
    try:
        accept(version.definition.fields_, {key: SecretStr(text) for key, text in envelope["fields"].items()})
    except ValueRefused:
        return f"{credential.name} holds what version {version.number} of its configuration does not accept"
    return ""


def lost(contents: Contents, received: Sequence[Received], rules: Iterable[Rule]) -> Iterator[str]:
    """What a subscriber to everything neither got, nor waits for, nor was given up: only of what really happened."""
    for one in contents.subscriptions:
        if one.description == WITNESS:
            got = {call.headers["webhook-id"] for call in received if call.url == one.url}
            on_their_way = {each.id for each in (*contents.waiting, *contents.dead) if each.subscription_id == one.id}
            heard = tuple(event for event in contents.events if event.id in got | on_their_way)
            known = replace(contents, events=heard)
            yield from (f"for the subscriber: {fault}" for rule in rules for fault in rule(known))


@dataclass(kw_only=True)
class VendorWatch(FakeOutbound):
    """The outside world, with an eye on which version of a configuration is asked about which value.

    With `may_lag`, who read a credential before it moved on may still ask the version that it lived on.
    """

    stores: Stores
    strays: list[str] = field(default_factory=list)
    may_lag: bool = False

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, within: timedelta) -> Reply:
        call = Received(url, dict(headers), body)
        if call.json["type"] == "credential.validation":
            await self._look(call)
        return await super().post(url, headers, body, within)

    async def _look(self, call: Received) -> None:
        data = call.json["data"]
        key = credential_key(data["credential"]["id"])
        try:
            await self.stores.vault.read("contoso", key)
        except RowMissing:
            return  # a test of the endpoint, or a value of a credential to come
        sealed = sealed_table(self.stores)
        credential = Credential.from_document((await sealed.read("contoso", key)).document)
        pinned, asked = credential.configuration, data["configuration"]
        assert pinned is not None
        version = await sealed.read(pinned.vendor, version_key(asked["id"], asked["version"]))
        if version.document["definition"]["validation"]["url"] != call.url:
            self.strays.append(f"{call.url} is not the endpoint of version {asked['version']}")
        same = (asked["id"], asked["version"]) == (pinned.id, pinned.version)
        if same or (self.may_lag and asked["version"] < pinned.version):
            return
        # Its owner may just be moving the credential on, with new values: those that it holds go nowhere else.
        held = await self.stores.secrets.read(str(credential.newest.secret))
        if json.loads(held.get_secret_value())["fields"] == call.values:
            self.strays.append(f"version {asked['version']} was asked, {credential.name} lives on {pinned.version}")
