"""What always holds of what is shared: lockers, and the values that consumers give for themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.contents import Contents
from vault_core.agenda import Task
from vault_core.audit import Event
from vault_core.credential import State
from vault_core.locker import Permission


def own_values(contents: Contents) -> Iterator[str]:
    """What a consumer gave has two rows, a credential, and a value that holds what is marked."""
    index = {(row.key, row.document["consumerId"]) for row in contents.kept_under("consumer:")}
    if index != {(f"consumer:{one.credential_id}|{one.consumer_id}", one.consumer_id) for one in contents.own.values()}:
        yield "own values are not found from both sides"
    for key, own in contents.own.items():
        credential = contents.credentials.get(own.credential_id)
        if key != f"own-values:{own.consumer_id}|{own.credential_id}":
            yield f"{key} holds what is another's"
        if credential is None and own.credential_id not in contents.to_prune:
            yield f"{key} is of a credential that is gone"
        if own.secret not in contents.secrets:
            yield f"{key} points to a value that is gone"
        elif credential and contents.secrets[own.secret] is None and credential.newest.state is not State.REVOKED:
            yield f"{key} points to a value that cannot be read"
        elif credential and credential.newest.destroyed_at:
            yield f"{key} outlives the values of its credential"
        if contents.fields_of(own.secret) not in (None, set(own.marks)) or not own.marks:
            yield f"{key} knows of other values than it has"


def lockers(contents: Contents) -> Iterator[str]:
    inside = Counter(credential.locker_id for credential in contents.live)
    for key, locker in contents.lockers.items():
        if key != f"locker:{locker.id}":
            yield f"{key} holds another locker"
        if not any(Permission.OWN in held for held in locker.members.values()):
            yield f"the locker {locker.name} has no owner"
        if locker.deleted_at and locker.id not in contents.subjects(Task.EMPTY):
            yield f"the locker {locker.name} is deleted in part and nothing will finish it"
        if not locker.deleted_at and locker.credentials != inside[locker.id]:
            yield f"the locker {locker.name} counts {locker.credentials} credentials, there are {inside[locker.id]}"
    for credential in contents.live:
        if credential.locker_id and f"locker:{credential.locker_id}" not in contents.lockers:
            yield f"{credential.name} is in a locker that is gone"


def told_of_lockers(contents: Contents) -> Iterator[str]:
    for locker in contents.lockers.values():
        if not contents.told(Event.LOCKER_CREATED, locker=locker.id):
            yield f"the creation of the locker {locker.name} was not told"
        if contents.told(*_CHANGES_OF_LOCKERS, locker=locker.id) < locker.revision:
            yield f"a change of the locker {locker.name} was not told"
        if locker.deleted_at and not contents.told(Event.LOCKER_DELETED, locker=locker.id):
            yield f"the deletion of the locker {locker.name} was not told"


_CHANGES_OF_LOCKERS = (
    Event.LOCKER_UPDATED,
    Event.LOCKER_MEMBER_CHANGED,
    Event.LOCKER_CONSUMER_CHANGED,
    Event.LOCKER_CREDENTIAL_ASSIGNED,
    Event.LOCKER_CREDENTIAL_REMOVED,
)


def leftover_own_values(contents: Contents) -> Iterator[str]:
    for key, own in contents.own.items():
        credential = contents.credentials.get(own.credential_id)
        if credential is None:
            yield f"{key} is left over, without its credential"
        elif credential.newest.state is State.REVOKED:
            if contents.secrets[own.secret] is not None:
                yield f"the value of {key} is not disabled"
        elif unasked := set(own.marks) - {one.id for one in credential.user_provided}:
            yield f"{key} holds values that nobody asks for: {unasked}"


def leftover_lockers(contents: Contents) -> Iterator[str]:
    yield from (f"deleted in part: {one.name}" for one in contents.lockers.values() if one.deleted_at)
