"""The agenda: what must be looked at later, kept in the tenant's own partition.

An entry is written in the same transaction as the change that calls for it, so nothing that was begun is forgotten.
Its key begins with the instant it is due, so a timer reads what is due and nothing else.

    intent     something half-done that must be finished or undone: see `Task`
    rotation   a credential with a notice to give: rotation due, expiring, expired
    check      a credential whose value's own end comes
    forget     an idempotency key or a dead letter past its time; apart, so that many of them hold up nothing else
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from vault_core.stores import Keys, Replace, Row, Table

_INSTANT = "%Y%m%dT%H%M%S.%fZ"


class Queue(StrEnum):
    """Which timer looks at an entry."""

    INTENT = "intent"
    ROTATION = "rotation"
    CHECK = "check"
    FORGET = "forget"


class Task(StrEnum):
    """What an entry of the `intent` queue asks for."""

    DISCARD_VALUE = "discard-value"  # a value that no credential came to hold, or holds any longer: delete it
    RETIRE = "retire"  # a replaced version: destroy its value once its last lease is over
    REVOKE = "revoke"  # a revoked credential: end its leases, disable its values
    PURGE = "purge"  # a revoked credential past its retention: destroy its values
    DELETE = "delete"  # a deleted credential: end its leases, destroy its values, remove its row
    PRUNE = "prune"  # a credential that may have lost attributes: destroy what consumers gave for them
    REMOVE = "remove"  # a configuration to be deleted: see that nothing lives on it, then remove its rows and secrets
    EMPTY = "empty"  # a deleted locker: take its credentials out, remove its row
    UNSUBSCRIBE = "unsubscribe"  # a deleted subscription: remove what still waits for it
    COMPROMISE = "compromise"  # a version that was reported as compromised: end its leases
    RESEAL = "reseal"  # the tenant has a new data key: seal its rows anew
    RETIRE_KEY = "retire-key"  # an old data key that no row is sealed under any longer: destroy it
    RESCHEDULE = "reschedule"  # the tenant's notice period or defaults changed: look at its credentials anew


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: its row, and what it is about."""

    row: Row
    subject: str

    @property
    def task(self) -> Task:
        """What is asked for; entries of the `intent` queue alone say so."""
        return Task(self.row.document["task"])

    @property
    def due_at(self) -> datetime:
        """Since when it is due."""
        written = self.row.key.partition(":")[2].partition("|")[0]
        return datetime.strptime(written, _INSTANT).replace(tzinfo=UTC)

    @property
    def lane(self) -> str | None:
        """Who is waited for when it is worked on, if it is somebody outside of the vault."""
        return self.row.document.get("lane")

    @property
    def attempts(self) -> int:
        """How often it was tried in vain."""
        return int(self.row.document.get("attempts", 0))


def instant(at: datetime) -> str:
    """Return the instant as keys hold it: later ones sort behind."""
    return at.astimezone(UTC).strftime(_INSTANT)


def key(queue: Queue, due_at: datetime, subject: str) -> str:
    """Return the key of the entry about `subject`, due at `due_at`."""
    return f"{queue.value}:{instant(due_at)}|{subject.replace('/', '~')}"


def intent(tenant: str, task: Task, due_at: datetime, subject: str, **more: str) -> Row:
    """Return an entry that asks for `task` from `due_at` on; `more` is what the task needs to know."""
    document = {"task": task.value, "subject": subject, **more}
    return Row(tenant, key(Queue.INTENT, due_at, f"{task.value}|{subject}"), document)


def claimed(row: Row) -> Replace:
    """Return the change by which a timer makes an entry its own; whoever read it before finds it changed."""
    return Replace(row.with_document({**row.document, "attempts": int(row.document.get("attempts", 0)) + 1}))


def discarding(tenant: str, due_at: datetime, name: str, holder: str) -> Row:
    """Return an entry that asks to delete a value, from `due_at` on, unless the row with the key `holder` names it."""
    return intent(tenant, Task.DISCARD_VALUE, due_at, name, holder=holder)


def retirement(tenant: str, due_at: datetime, credential_id: str, number: int) -> Row:
    """Return an entry that asks to destroy the value of a replaced version, from `due_at` on."""
    return intent(
        tenant, Task.RETIRE, due_at, f"{credential_id}|{number}", credential=credential_id, version=str(number)
    )


def purge(tenant: str, due_at: datetime, credential_id: str, revoked_at: datetime) -> Row:
    """Return an entry that asks to destroy the values of the credential that was revoked then, from `due_at` on."""
    return intent(tenant, Task.PURGE, due_at, credential_id, revoked=instant(revoked_at))


def is_of_another(row: Row, revoked_at: datetime) -> bool:
    """Return whether the entry was written when an earlier credential with the same id was revoked."""
    return bool(row.document.get("revoked", instant(revoked_at)) != instant(revoked_at))


def compromise(tenant: str, due_at: datetime, credential_id: str, number: int, revision: int) -> Row:
    """Return an entry that asks to end the leases on versions up to this one, from `due_at` on.

    Those alone that were granted before the credential had this revision: it may be leased again since, as it is.
    """
    asked = {"credential": credential_id, "version": str(number), "revision": str(revision)}
    return intent(tenant, Task.COMPROMISE, due_at, f"{credential_id}|{number}", **asked)


def pruning(tenant: str, due_at: datetime, credential_id: str, consumer_id: str = "") -> Row:
    """Return an entry that asks, from `due_at` on, to destroy what consumers gave that is no longer asked for.

    `consumer_id` keeps apart the entries of consumers who give values at the same instant.
    """
    return intent(tenant, Task.PRUNE, due_at, f"{credential_id}|{consumer_id}", credential=credential_id)


def look(tenant: str, queue: Queue, due_at: datetime, subject: str, lane: str | None = None) -> Row:
    """Return an entry that asks to look at the subject from `due_at` on; the queue says what for.

    `lane` is who is waited for then, if it is somebody outside of the vault.
    """
    document = {"subject": subject, "lane": lane} if lane else {"subject": subject}
    return Row(tenant, key(queue, due_at, subject), document)


async def due(table: Table, tenant: str, queue: Queue, now: datetime, limit: int, after: str = "") -> list[Entry]:
    """Return up to `limit` (1 to 1,000) entries that are due, oldest first, from one call to the store.

    Those behind the key `after`, when that is given.
    """
    page = await table.query(Keys(tenant, f"{queue.value}:", key(queue, now, ""), after=after), limit=limit)
    return [Entry(row, row.document["subject"]) for row in page.rows]
