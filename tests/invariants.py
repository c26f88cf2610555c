"""What always holds in the stores of a vault, checked row by row: `broken_rules` at any moment, `unfinished` once
the timers have had their turn. Each returns what is wrong, in words; nothing when all is well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from tests import sharing_invariants as sharing
from tests import vendor_invariants as vendors
from tests.contents import Contents
from vault_core import agenda, rotation
from vault_core.agenda import Queue, Task
from vault_core.audit import Event
from vault_core.credential import Credential, State, Version
from vault_core.locker import Locker
from vault_core.names import fold

SWEPT_WITHIN = timedelta(minutes=2)
TENDED_WITHIN = timedelta(minutes=61)  # the slowest timer runs hourly
KEPT_ENDED = timedelta(days=9)


def broken_rules(contents: Contents) -> list[str]:
    """What holds at any moment, a crash or not."""
    checks = (
        _pointers,
        _versions,
        _names,
        _attributes,
        sharing.own_values,
        sharing.lockers,
        _owned_secrets,
        _plans,
        _lease_places,
        _lease_numbers,
        _lease_values,
        _told,
        sharing.told_of_lockers,
        vendors.configurations,
        vendors.places,
        vendors.verdicts,
        vendors.proofs,
        vendors.told_of_vendors,
        vendors.deliveries,
    )
    return [fault for check in checks for fault in check(contents)]


def unfinished(contents: Contents) -> list[str]:
    """What the timers must have tended to, when each of them has just run."""
    checks = (
        _leftover_secrets,
        _leftover_keys,
        sharing.leftover_own_values,
        sharing.leftover_lockers,
        vendors.leftovers,
        _stuck_entries,
        _leftover_leases,
        _unswept_leases,
    )
    return [fault for check in checks for fault in check(contents)]


def _pointers(contents: Contents) -> Iterator[str]:
    for credential in contents.live:
        for version in credential.versions:
            if version.secret and version.secret not in contents.secrets:
                yield f"{_named(credential, version)} points to a value that is gone"
            elif version.secret and version.state is not State.REVOKED and contents.secrets[version.secret] is None:
                yield f"{_named(credential, version)} points to a value that cannot be read"
            elif not version.secret and not version.holds_nothing and not version.destroyed_at:
                yield f"{_named(credential, version)} has lost its value"


def _versions(contents: Contents) -> Iterator[str]:
    for credential in contents.live:
        states = Counter(version.state for version in credential.versions)
        numbers = [version.number for version in credential.versions]
        if credential.newest.state is State.REVOKED:
            if set(states) != {State.REVOKED}:
                yield f"{credential.name} is revoked in part: {dict(states)}"
        elif states[State.ACTIVE] != 1 or credential.newest.state is not State.ACTIVE:
            yield f"{credential.name} has no active version: {dict(states)}"
        elif bool(credential.newest.secret) == credential.newest.holds_nothing:
            yield f"{credential.name} has no value in its active version"
        if numbers != sorted(set(numbers)):
            yield f"{credential.name} has versions {numbers}"


def _names(contents: Contents) -> Iterator[str]:
    yield from _named_once(contents, "name:", "credentialId", contents.live)
    yield from _named_once(contents, "locker-name:", "lockerId", contents.live_lockers)


def _named_once(contents: Contents, prefix: str, field: str, holders: Sequence[Credential | Locker]) -> Iterator[str]:
    taken = {row.key.removeprefix(prefix): row.document[field] for row in contents.kept_under(prefix)}
    held = {fold(one.name): one.id for one in holders}
    if len(held) < len(holders):
        yield f"two have one {prefix}"
    for name in taken.keys() | held.keys():
        if taken.get(name) != held.get(name):
            yield f"{prefix}{name} and who has it do not belong together"


def _attributes(contents: Contents) -> Iterator[str]:
    for credential in contents.live:
        marked = {one.id for one in credential.attributes if one.value}
        fields = contents.fields_of(credential.newest.secret)
        if credential.newest.state is not State.REVOKED and fields not in (None, marked):
            yield f"{credential.name} knows of other values than it has"
        if any(one.value for one in credential.user_provided):
            yield f"{credential.name} has a standard value for what its consumers give"


def _owned_secrets(contents: Contents) -> Iterator[str]:
    pending = contents.subjects(Task.DISCARD_VALUE) | set(contents.keys.get("candidates", ()))
    pending |= {row.document["secret"] for row in contents.intents(Task.RETIRE_KEY)}
    pointed_to = _pointed_to(contents)
    for name in contents.secrets.keys() - pointed_to.keys() - pending:
        yield f"nothing knows of the value {name}"
    yield from (f"several things hold the value {name}" for name, count in pointed_to.items() if count > 1)
    for name in vendors.signing_secrets(contents):
        if contents.secrets.get(name) is None:
            yield f"a secret that signs is gone: {name}"


def _pointed_to(contents: Contents) -> Counter[str]:
    """The names of all values that something holds, with how many things do."""
    versions = (version for credential in contents.credentials.values() for version in credential.versions)
    return Counter(
        [
            *(version.secret for version in versions if version.secret),
            *(own.secret for own in contents.own.values()),
            *contents.keys.get("keys", {}).values(),
            *contents.transport_secrets,
            *vendors.signing_secrets(contents, or_going=True),
        ]
    )


def _plans(contents: Contents) -> Iterator[str]:
    """Whatever must happen later has its entry on the agenda."""
    keys = {row.key for row in contents.rows}
    ending = contents.subjects(Task.REVOKE) | contents.subjects(Task.PURGE)
    for credential in contents.credentials.values():
        looks = ((Queue.ROTATION, credential.rotation_look_at), (Queue.CHECK, credential.check_look_at))
        for queue, at in looks:
            if at and not credential.deleted_at and agenda.key(queue, at, credential.id) not in keys:
                yield f"{credential.name} is not on the agenda for its {queue.value}"
        if credential.deleted_at and credential.id not in contents.subjects(Task.DELETE):
            yield f"{credential.name} is deleted in part and nothing will finish it"
        for version in credential.versions if not credential.deleted_at else ():
            retiring = f"{credential.id}|{version.number}" in contents.subjects(Task.RETIRE)
            if version.secret and version.state is State.ROTATED and not retiring:
                yield f"nothing will retire {_named(credential, version)}"
            if version.secret and version.state is State.REVOKED and credential.id not in ending:
                yield f"nothing will purge {_named(credential, version)}"
    for request in {row.key for row in contents.kept_under("request:")} - contents.requests_to_forget():
        yield f"nothing will forget {request}"


def _lease_places(contents: Contents) -> Iterator[str]:
    for lease in filter(contents.is_active, contents.leases):
        slot = lease.reference.slot
        if slot is not None and contents.places.get((lease.credential_id, slot)) != lease.reference.token:
            yield f"an active lease of {lease.credential_name} has lost its place"


def _lease_numbers(contents: Contents) -> Iterator[str]:
    active = Counter(lease.credential_id for lease in contents.leases if contents.is_active(lease))
    for credential in contents.live:
        limit = contents.rules.policy_of(credential.policy).max_leases
        if limit is not None and active[credential.id] > limit:
            yield f"{credential.name} has {active[credential.id]} leases of {limit}"


def _lease_values(contents: Contents) -> Iterator[str]:
    for lease in filter(contents.is_active, contents.leases):
        version = contents.credentials[lease.credential_id].version(lease.version)
        if version is None or (version.secret is None and not version.holds_nothing):
            yield f"an active lease of {lease.credential_name} is on a value that was destroyed"


def _told(contents: Contents) -> Iterator[str]:
    """Every effect has its event."""
    if contents.told(Event.TENANT_SETTINGS_UPDATED) < contents.rules.revision:
        yield "a change of the tenant's settings was not told"
    if contents.told(Event.TENANT_DATA_KEY_ROTATED) < contents.keys.get("current", 1) - 1:
        yield "another data key of the tenant was not told"
    for credential in contents.credentials.values():
        yield from (f"of {credential.name} was not told: {what}" for what in _untold(contents, credential))
    for lease in contents.leases:
        ends = contents.told(Event.LEASE_EXPIRED, Event.LEASE_REVOKED, lease_id=lease.id)
        if lease.ended and not ends:
            yield f"the end of a lease of {lease.credential_name} was not told"


_CHANGES = (
    Event.CREDENTIAL_UPDATED,
    Event.CREDENTIAL_ROTATED,
    Event.CREDENTIAL_REVOKED,
    Event.CREDENTIAL_DELETED,
    Event.CREDENTIAL_SUSPENDED,
    Event.CREDENTIAL_RESUMED,
    Event.CREDENTIAL_COMPROMISED,
    Event.CREDENTIAL_OWNER_CHANGED,
    Event.LOCKER_CREDENTIAL_ASSIGNED,
    Event.LOCKER_CREDENTIAL_REMOVED,
)
_ANNOUNCEMENTS = (Event.CREDENTIAL_ROTATION_DUE, Event.CREDENTIAL_EXPIRING, Event.CREDENTIAL_EXPIRED)


def _untold(contents: Contents, credential: Credential) -> Iterator[str]:
    def told(*events: Event, **about: object) -> int:
        return contents.told(*events, credential_id=credential.id, **about)

    if not told(Event.CREDENTIAL_CREATED):
        yield "its creation"
    if told(*_CHANGES) < credential.revision:
        yield "one of its changes"
    if any(one.number > 1 and not told(Event.CREDENTIAL_ROTATED, version=one.number) for one in credential.versions):
        yield "a rotation"
    if credential.newest.state is State.REVOKED and not told(Event.CREDENTIAL_REVOKED):
        yield "its revocation"
    if credential.compromised and not told(Event.CREDENTIAL_COMPROMISED, at=credential.compromised.at):
        yield "that others may know its values"
    if credential.suspended and not told(Event.CREDENTIAL_SUSPENDED, at=credential.suspended.at):
        yield "its suspension"
    owned = (Event.CREDENTIAL_OWNER_CHANGED, Event.CREDENTIAL_CREATED)  # who imports one names its owner
    if credential.owner_id != credential.created_by.id and not told(*owned, owner=credential.owner_id):
        yield "its owner"
    if credential.deleted_at and not told(Event.CREDENTIAL_DELETED):
        yield "its deletion"
    if told(*_ANNOUNCEMENTS) < len(credential.announced):
        yield "an announcement"
    given = [own for own in contents.own.values() if own.credential_id == credential.id]
    if told(Event.VALUE_WRITTEN) < sum(max(mark.revision + 1 for mark in own.marks.values()) for own in given):
        yield "that a consumer gave a value"
    if credential.validation.status == "invalid" and not told(Event.CREDENTIAL_VALIDATED, status="invalid"):
        yield "that its value is invalid"


TOLD = (_told, sharing.told_of_lockers)
"""What must have been told, by events that a subscriber to all of them knows as well."""


def _leftover_secrets(contents: Contents) -> Iterator[str]:
    # Keys that lost a race protect nothing and stay named: no timer believes an unsealed row about what to delete.
    for name in contents.secrets.keys() - _pointed_to(contents).keys() - set(contents.keys.get("candidates", ())):
        yield f"the value {name} is left over"
    leased = {(lease.credential_id, lease.version) for lease in contents.leases if contents.is_active(lease)}
    for credential in contents.live:
        for version in credential.versions:
            held = version.secret is not None
            if held and version.state is State.ROTATED and (credential.id, version.number) not in leased:
                yield f"{_named(credential, version)} has a value without a lease on it"
            if held and version.state is State.REVOKED and contents.secrets[str(version.secret)] is not None:
                yield f"the value of {_named(credential, version)} is not disabled"


def _leftover_keys(contents: Contents) -> Iterator[str]:
    versions, current = set(contents.keys.get("keys", {})), contents.keys.get("current")
    if current and versions != {str(current)}:
        yield f"the tenant has the data keys {sorted(versions)}, of which {current} is in use"
    if contents.sealed_under - {current}:
        yield f"rows are under the data keys {sorted(contents.sealed_under)}"


def _stuck_entries(contents: Contents) -> Iterator[str]:
    for queue in Queue:
        for row in contents.kept_under(f"{queue.value}:"):
            due_at = datetime.strptime(row.key.partition(":")[2].partition("|")[0], "%Y%m%dT%H%M%S.%f%z")
            if due_at < contents.now - TENDED_WITHIN:
                yield f"overdue on the agenda: {row.key}"
    for credential in contents.live:
        if credential.rotation_look_at != rotation.next_look(credential, contents.rules):
            yield f"{credential.name} is not looked at when the rules say"
    for task in set(Task) - {Task.RETIRE, Task.PURGE}:
        yield from (f"left on the agenda: {row.key}" for row in contents.intents(task))
    yield from (f"deleted in part: {one.name}" for one in contents.credentials.values() if one.deleted_at)


def _leftover_leases(contents: Contents) -> Iterator[str]:
    for lease in contents.leases:
        if lease.credential_id not in contents.credentials:
            yield f"a lease of {lease.credential_name} is left over, without its credential"
        elif not contents.is_active(lease) and not lease.ended and lease.expires_at > contents.now:
            yield f"a lease of {lease.credential_name} is over and not marked"
        elif lease.expires_at < contents.now - KEPT_ENDED:
            yield f"a lease of {lease.credential_name} that ended long ago is still kept"


def _unswept_leases(contents: Contents) -> Iterator[str]:
    """Leases that nobody was given are left out: they end by themselves, and are removed with the others."""
    for lease in contents.leases:
        if lease.ended or not contents.was_told(lease):
            continue
        if lease.expires_at < contents.now - SWEPT_WITHIN:
            yield f"a lease of {lease.credential_name} has expired unmarked"
        elif contents.is_active(lease) and lease.id not in contents.due:
            yield f"nothing will mark the end of a lease of {lease.credential_name}"


def _named(credential: Credential, version: Version) -> str:
    return f"version {version.number} of {credential.name}"
