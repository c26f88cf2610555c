"""What the Key Vault keeps in its folder: sealed, complete, and no more than it must."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.key_vault.bodies import SetBody
from local.key_vault.journal import Journal, JournalBroken
from local.key_vault.secrets import Refused, Secrets

CANARY = "canary-5c1d2e"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def write(folder: Path, names: Iterable[str], value: str = CANARY) -> None:
    with closing(Journal(folder)) as journal:
        secrets = Secrets(journal.secrets, journal.record)
        for name in names:
            secrets.set(name, SetBody(value=value), NOW)


def reopened(folder: Path) -> Secrets:
    with closing(Journal(folder)) as journal:
        return Secrets(journal.secrets, lambda name, secret: None)


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    write(tmp_path, ["one", "two"])
    write(tmp_path, ["ONE"], value="newer")
    secrets = reopened(tmp_path)
    assert [secret.name for secret in secrets.all(NOW)] == ["one", "two"]
    assert [version.value for version in secrets.live("one", NOW).versions] == [CANARY, "newer"]


def test_deletion_and_purge_are_there_after_a_restart(tmp_path: Path) -> None:
    write(tmp_path, ["kept", "deleted", "purged"])
    with closing(Journal(tmp_path)) as journal:
        secrets = Secrets(journal.secrets, journal.record)
        secrets.delete("deleted", NOW)
        secrets.delete("purged", NOW)
        secrets.purge("purged", NOW)
    after = reopened(tmp_path)
    assert [secret.name for secret in after.all(NOW)] == ["kept"]
    assert [secret.name for secret in after.all_deleted(NOW)] == ["deleted"]


def test_a_deleted_secret_is_gone_for_good_after_ninety_days() -> None:
    secrets = Secrets((), lambda name, secret: None)
    secrets.set("name", SetBody(value=CANARY), NOW)
    secrets.delete("name", NOW)
    assert secrets.deleted("name", NOW + timedelta(days=89)).name == "name"
    with pytest.raises(Refused):
        secrets.deleted("name", NOW + timedelta(days=90))
    assert secrets.all_deleted(NOW + timedelta(days=90)) == []


def test_no_file_holds_a_value_or_a_name_in_clear_and_all_are_the_owners_alone(tmp_path: Path) -> None:
    write(tmp_path, ["telling-name"])
    for file in tmp_path.iterdir():
        content = file.read_bytes()
        for clear in (CANARY, "telling-name"):
            assert clear.encode() not in content
            assert base64.b64encode(clear.encode())[:-4] not in content
        assert file.stat().st_mode & 0o777 == 0o600


def test_neither_a_body_nor_a_kept_secret_shows_its_value() -> None:
    secrets = Secrets((), lambda name, secret: None)
    body = SetBody(value=CANARY)
    secret, _ = secrets.set("name", body, NOW)
    assert CANARY not in repr(body) + repr(secret)


def test_opening_drops_what_no_longer_counts(tmp_path: Path) -> None:
    write(tmp_path, ["name"], value="v" * 1000)
    with closing(Journal(tmp_path)) as journal:
        secrets = Secrets(journal.secrets, journal.record)
        secrets.delete("name", NOW)
        secrets.purge("name", NOW)
    assert (tmp_path / "key-vault.sealed").stat().st_size > 1000
    Journal(tmp_path).close()
    assert (tmp_path / "key-vault.sealed").stat().st_size == 0


def test_a_line_that_was_not_written_to_its_end_is_dropped(tmp_path: Path) -> None:
    write(tmp_path, ["one", "two"])
    file = tmp_path / "key-vault.sealed"
    file.write_bytes(file.read_bytes()[:-10])
    assert [secret.name for secret in reopened(tmp_path).all(NOW)] == ["one"]


def changed(lines: list[bytes]) -> list[bytes]:
    return [lines[0][:40] + (b"A" if lines[0][40:41] != b"A" else b"B") + lines[0][41:], *lines[1:]]


@pytest.mark.parametrize("tamper", [changed, lambda lines: lines[::-1], lambda lines: lines[1:]])
def test_a_journal_that_was_tampered_with_is_refused(tmp_path: Path, tamper: object) -> None:
    write(tmp_path, ["one", "two"])
    file = tmp_path / "key-vault.sealed"
    assert callable(tamper)
    file.write_bytes(b"".join(tamper(file.read_bytes().splitlines(keepends=True))))
    with pytest.raises(JournalBroken):
        Journal(tmp_path)


def test_a_journal_is_not_opened_with_another_key(tmp_path: Path) -> None:
    write(tmp_path, ["one"])
    (tmp_path / "key-vault.key").unlink()
    with pytest.raises(JournalBroken):
        Journal(tmp_path)
