"""The rules of a Key Vault's secrets: versions, soft delete, and what is refused."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Protocol

from local.key_vault.bodies import (
    LONGEST_VALUE_BYTES,
    Secret,
    SecretVersion,
    SetBody,
    UpdateBody,
    purged_at,
)

_NAME = re.compile(r"[0-9A-Za-z-]{1,127}", re.ASCII)


class Refused(Exception):
    """An answer other than success: the status, the error's code and the code of what lies beneath."""

    def __init__(self, status: int, code: str, message: str, inner: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.inner = inner


class Record(Protocol):
    """Keeps the state of one name: the secret, or `None` when it is gone for good."""

    def __call__(self, name: str, secret: Secret | None) -> None: ...


class Secrets:
    """The secrets of one vault, by name without regard to case.

    A purged name stays taken for `purge_takes`, as it does for some seconds in Azure.
    """

    def __init__(self, kept: Iterable[Secret], record: Record) -> None:
        self.purge_takes = timedelta(seconds=2)
        self._secrets = {secret.name.lower(): secret for secret in kept}
        self._purged: dict[str, datetime] = {}
        self._record = record

    def set(self, name: str, body: SetBody, now: datetime) -> tuple[Secret, SecretVersion]:
        """Add a version. 400 for a name or value that cannot be kept, 409 for a deleted or purged name."""
        if len(body.value.encode()) > LONGEST_VALUE_BYTES:
            raise Refused(400, "BadParameter", f"The value is longer than {LONGEST_VALUE_BYTES} bytes.")
        before = self._at(name, now)
        if before and before.deleted_at is not None:
            raise _deleted_but_recoverable(before.name)
        if self._is_being_purged(name, now):
            raise _being_deleted(name)
        instant = int(now.timestamp())
        version = SecretVersion(id=secrets.token_hex(16), value=body.value, created=instant, updated=instant)
        version = version.updated_with(body, now)
        secret = Secret(name=before.name if before else name, versions=(*(before.versions if before else ()), version))
        self._put(secret)
        return secret, version

    def get(self, name: str, version: str, now: datetime) -> tuple[Secret, SecretVersion]:
        """Return the version, or the latest when none is named. 403 when disabled, 404 when absent."""
        secret, found = self._find(name, version, now)
        if not found.enabled:
            raise Refused(403, "Forbidden", "Operation get is not allowed on a disabled secret.", "SecretDisabled")
        return secret, found

    def update(self, name: str, version: str, body: UpdateBody, now: datetime) -> tuple[Secret, SecretVersion]:
        """Change the properties of the version, or of the latest when none is named. 404 when absent."""
        secret, found = self._find(name, version, now)
        updated = found.updated_with(body, now)
        versions = tuple(updated if each.id == found.id else each for each in secret.versions)
        secret = secret.model_copy(update={"versions": versions})
        self._put(secret)
        return secret, updated

    def all(self, now: datetime) -> list[Secret]:
        return [secret for secret in self._current(now) if secret.deleted_at is None]

    def all_deleted(self, now: datetime) -> list[Secret]:
        return [secret for secret in self._current(now) if secret.deleted_at is not None]

    def live(self, name: str, now: datetime) -> Secret:
        """Return the secret. 404 when absent or deleted."""
        secret = self._at(name, now)
        if secret is None or secret.deleted_at is not None:
            raise _not_found(name)
        return secret

    def deleted(self, name: str, now: datetime) -> Secret:
        """Return the soft-deleted secret. 404 when it is not among the deleted."""
        secret = self._at(name, now)
        if secret is None or secret.deleted_at is None:
            raise _not_found(name)
        return secret

    def delete(self, name: str, now: datetime) -> Secret:
        """Delete the secret with all its versions; it can be recovered until it is purged."""
        secret = self.live(name, now).model_copy(update={"deleted_at": int(now.timestamp())})
        self._put(secret)
        return secret

    def recover(self, name: str, now: datetime) -> Secret:
        secret = self.deleted(name, now).model_copy(update={"deleted_at": None})
        self._put(secret)
        return secret

    def purge(self, name: str, now: datetime) -> None:
        """Forget a deleted secret for good."""
        secret = self.deleted(name, now)
        self._forget(secret)
        self._purged[secret.name.lower()] = now

    def _find(self, name: str, version: str, now: datetime) -> tuple[Secret, SecretVersion]:
        secret = self.live(name, now)
        found = next((each for each in secret.versions if each.id == version.lower()), None)
        if version and found is None:
            raise _not_found(f"{name}/{version}")
        return secret, found or secret.latest

    def _at(self, name: str, now: datetime) -> Secret | None:
        """Return whatever has the name, once the time that a deleted secret is kept for is respected."""
        if not _NAME.fullmatch(name):
            raise Refused(400, "BadParameter", "The request URI contains an invalid name.")
        secret = self._secrets.get(name.lower())
        if secret and _is_past_retention(secret, now):
            self._forget(secret)
            return None
        return secret

    def _current(self, now: datetime) -> list[Secret]:
        for secret in [each for each in self._secrets.values() if _is_past_retention(each, now)]:
            self._forget(secret)
        return sorted(self._secrets.values(), key=lambda secret: secret.name.lower())

    def _is_being_purged(self, name: str, now: datetime) -> bool:
        purged = self._purged.get(name.lower())
        return purged is not None and now < purged + self.purge_takes

    def _put(self, secret: Secret) -> None:
        self._record(secret.name, secret)
        self._secrets[secret.name.lower()] = secret

    def _forget(self, secret: Secret) -> None:
        self._record(secret.name, None)
        del self._secrets[secret.name.lower()]


def _is_past_retention(secret: Secret, now: datetime) -> bool:
    return secret.deleted_at is not None and now.timestamp() >= purged_at(secret.deleted_at)


def _not_found(subject: str) -> Refused:
    return Refused(
        404,
        "SecretNotFound",
        f"A secret with (name/id) {subject} was not found in this key vault. If you recently deleted this "
        "secret you may be able to recover it using the correct recovery command.",
    )


def _deleted_but_recoverable(name: str) -> Refused:
    return Refused(
        409,
        "Conflict",
        f"Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused; in "
        "this state, the secret can only be recovered or purged.",
        "ObjectIsDeletedButRecoverable",
    )


def _being_deleted(name: str) -> Refused:
    return Refused(409, "Conflict", f"Secret {name} is currently being deleted.", "ObjectIsBeingDeleted")
