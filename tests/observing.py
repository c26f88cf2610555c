"""What can be seen of a world, without what differs from one to another that is like it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tests.contents import Contents
from tests.vendor_invariants import Estate
from vault_core.configuration import Configuration
from vault_core.credential import Credential, State
from vault_core.credential import status as status_of
from vault_core.lease import state as state_of
from vault_core.locker import Locker
from vault_core.subscription import Subscription

Shown = Mapping[str, Collection[str]]
"""The ids of the configurations that the service shows to whom."""


@dataclass(frozen=True)
class Observed:
    """What operations change, without the ids and instants that differ from one world to another."""

    credentials: dict[str, Any]
    lockers: dict[str, Any]
    rules: dict[str, Any]
    leases: tuple[tuple[str, int, str, bool], ...]
    configurations: dict[str, Any]
    subscriptions: dict[str, Any]
    data_key: int
    how_many: tuple[int, int]

    @property
    def lasting(self) -> tuple[dict[str, Any], ...]:
        """All but the leases, and how many there are of what may have the same name."""
        key = {"version": self.data_key}
        return self.credentials, self.lockers, self.rules, self.configurations, self.subscriptions, key


def observed(estate: Estate, tenant: str, shown: Shown) -> Observed:
    """Return what is seen of the tenant, and of all configurations."""
    contents = estate.tenants[tenant]
    made = [one for each in estate.tenants.values() for one in each.configurations.values() if not one.deleting]
    names = {credential.id: credential.name for credential in contents.live}
    return Observed(
        credentials={one.name: _credential(contents, one) for one in contents.live},
        lockers={one.name: _locker(one) for one in contents.live_lockers},
        rules=contents.rules.document() | {"revision": 0, "uncountedUntil": None},
        leases=tuple(
            sorted(
                (
                    names[lease.credential_id],
                    lease.version,
                    state_of(lease, contents.credentials[lease.credential_id], contents.now).value,
                    lease.renewed_at is not None,
                )
                for lease in contents.leases
                if lease.credential_id in names
            )
        ),
        configurations={_name_of(one): _configuration(one, shown) for one in made},
        subscriptions={one.url: _subscription(contents, one) for one in contents.subscriptions},
        data_key=contents.keys.get("current") or 1,
        how_many=(len(made), len(contents.subscriptions)),
    )


def _credential(contents: Contents, credential: Credential) -> dict[str, Any]:
    return {
        "versions": [(one.number, one.state, _fields(contents, one.secret, credential)) for one in credential.versions],
        "attributes": [
            (one.name, one.description, one.user_provided, one.masked, one.revision, one.value and one.value.revision)
            for one in credential.attributes
        ],
        "own": _own(contents, credential),
        "locker": next((one.name for one in contents.live_lockers if one.id == credential.locker_id), None),
        "status": status_of(credential, contents.now, contents.rules.notice_period),
        "compromised": credential.compromised and (credential.compromised.version, credential.still_compromised),
        "policy": credential.policy.model_dump(mode="json"),
        "description": credential.description,
        "owner": credential.owner_id,
        "revoked": credential.revoked_reason,
        "verdict": (credential.validation.status, credential.validation.reason),
        "pinned": credential.configuration and credential.configuration.version,
        "placed": (credential.environment, credential.marketplaces),
        "announced": [one.partition(":")[0] for one in credential.announced],
    }


def _fields(contents: Contents, secret: str | None, credential: Credential) -> object:
    """The values that the attributes have; of a revoked credential, whether there is a value at all."""
    if secret is None or credential.newest.state is State.REVOKED:
        return secret is not None
    envelope = contents.secrets[secret]
    assert envelope is not None
    names = {one.id: one.name for one in credential.attributes}
    return {names[key]: text for key, text in envelope["fields"].items() if key in names}


def _own(contents: Contents, credential: Credential) -> dict[str, Any]:
    """What consumers gave for what they are still asked for: what for else, nobody reads any more."""
    asked_for = {one.id for one in credential.user_provided}
    return {
        own.consumer_id: (
            _fields(contents, own.secret, credential),
            sorted(mark.revision for key, mark in own.marks.items() if key in asked_for),
        )
        for own in contents.own.values()
        if own.credential_id == credential.id and own.marks.keys() & asked_for
    }


def _locker(locker: Locker) -> dict[str, Any]:
    return {
        "description": locker.description,
        "members": locker.members,
        "consumers": locker.consumers,
        "credentials": locker.credentials,
    }


def _name_of(configuration: Configuration) -> str:
    named = configuration.draft or (configuration.latest and configuration.latest.definition)
    assert named
    return named.name


def _configuration(configuration: Configuration, shown: Shown) -> dict[str, Any]:
    latest = configuration.latest
    return {
        "state": configuration.state,
        "draft": configuration.draft,
        "latest": latest and (latest.number, latest.definition),
        "signs with several": len(configuration.signing) > 1,
        "shown to": sorted(tenant for tenant, ids in shown.items() if configuration.id in ids),
    }


def _subscription(contents: Contents, subscription: Subscription) -> dict[str, Any]:
    return {
        "events": subscription.events,
        "description": subscription.description,
        "enabled": subscription.enabled,
        "signs with several": len(subscription.signing) > 1,
        "given up": sorted({one.event for one in contents.dead if one.subscription_id == subscription.id}),
    }
