"""Accepting values and reading refusals, for the tests of all types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from vault_core.credential_types import TYPES, Accepted
from vault_core.errors import ValueRefused

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def fields_of(plain: Mapping[str, str]) -> dict[str, SecretStr]:
    return {name: SecretStr(text) for name, text in plain.items()}


def accept(type_name: str, /, **plain: str) -> Accepted:
    return TYPES[type_name].accept(fields_of(plain), NOW)


def faults_of(act: Callable[[], object]) -> dict[str, str]:
    """Run what must be refused and return the message of each field at fault."""
    with pytest.raises(ValueRefused) as caught:
        act()
    refusal = caught.value
    assert refusal.errors
    assert refusal.__cause__ is None
    assert refusal.__context__ is None, "a chained exception could hold the value"
    return {error.field: error.message for error in refusal.errors}


def refusal_of(type_name: str, /, **plain: str) -> dict[str, str]:
    return faults_of(lambda: accept(type_name, **plain))


def accepted_or_refused(act: Callable[[], Accepted]) -> Accepted | ValueRefused:
    """Run what may be refused, but must not fail in any other way nor chain another exception."""
    try:
        return act()
    except ValueRefused as refusal:
        outcome = refusal
    assert outcome.__context__ is None
    return outcome


def replace(type_name: str, old: Accepted, new: Accepted, *, allow_target_change: bool = False) -> None:
    TYPES[type_name].check_replacement(old.details, new.details, allow_target_change=allow_target_change)


def refusal_to_replace(type_name: str, old: Accepted, new: Accepted) -> dict[str, str]:
    return faults_of(lambda: replace(type_name, old, new))
