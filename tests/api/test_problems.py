"""One status and one document for every refusal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from vault_core import errors
from vault_core.api.problems import InternalError, describe, headers_of, status_of

AT = datetime(2026, 1, 27, 19, 7, 12, tzinfo=UTC)


def descendants(kind: type[errors.VaultError]) -> Iterator[type[errors.VaultError]]:
    for child in kind.__subclasses__():
        yield child
        yield from descendants(child)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.InvalidInput, 400),
        (errors.Unauthenticated, 401),
        (errors.AccessDenied, 403),
        (errors.NotFound, 404),
        (errors.Conflict, 409),
        (errors.NameTaken, 409),
        (errors.LeaseLimitReached, 409),
        (errors.StaleVersion, 412),
        (errors.BodyTooLarge, 413),
        (errors.UnsupportedMediaType, 415),
        (errors.ValueRefused, 422),
        (errors.PreconditionRequired, 428),
        (InternalError, 500),
        (errors.NotSupported, 501),
        (errors.Unavailable, 503),
    ],
)
def test_the_status_of_each_refusal(kind: type[errors.VaultError], status: int) -> None:
    assert status_of(kind) == status


def test_only_an_internal_error_has_the_status_of_the_root() -> None:
    ours = [kind for kind in descendants(errors.VaultError) if kind.__module__.startswith("vault_core.")]
    assert [kind for kind in ours if status_of(kind) == 500] == [InternalError]


def test_a_new_kind_of_conflict_has_the_status_of_its_ancestor() -> None:
    class Peculiar(errors.NameTaken):
        code = "peculiar"

    assert describe(Peculiar("Choose another."), "t").status == 409


def test_the_document_is_a_problem_of_rfc_9457() -> None:
    refusal = errors.InvalidInput("Correct it.", (errors.FieldError("policy.maxLeases", "must be at least 1"),))
    assert describe(refusal, "4bf92f3577b34da6a3ce929d0e0e4736").model_dump(exclude_none=True, mode="json") == {
        "type": "urn:credentials-vault:problem:invalid-input",
        "title": "The request is malformed",
        "status": 400,
        "detail": "Correct it.",
        "code": "invalid-input",
        "instance": "4bf92f3577b34da6a3ce929d0e0e4736",
        "errors": [{"field": "policy.maxLeases", "message": "must be at least 1"}],
    }


def test_a_refused_value_names_its_fields() -> None:
    refusal = errors.ValueRefused("Send another.", (errors.FieldError("privateKey", "is not a key"),))
    faults = describe(refusal, "t").errors
    assert faults is not None
    assert [fault.field for fault in faults] == ["privateKey"]


def test_a_refusal_without_fields_has_no_list_of_them() -> None:
    assert describe(errors.InvalidInput("Correct it."), "t").errors is None
    assert describe(errors.NotFound("It is not here."), "t").errors is None


def test_who_is_not_known_is_told_how_to_be() -> None:
    assert headers_of(errors.Unauthenticated("Send a token.")) == {"WWW-Authenticate": "Bearer"}


@pytest.mark.parametrize(
    ("wait", "seconds"),
    [(timedelta(seconds=5), "5"), (timedelta(seconds=5, milliseconds=1), "6"), (timedelta(0), "1")],
)
def test_when_to_try_again_is_told_in_whole_seconds_rounded_up(wait: timedelta, seconds: str) -> None:
    refusals = [
        errors.Unavailable("Later.", wait),
        errors.LeaseLimitReached("Later.", AT, wait),
    ]
    assert [headers_of(refusal) for refusal in refusals] == [{"Retry-After": seconds}] * 2


def test_other_refusals_have_no_headers_of_their_own() -> None:
    assert headers_of(errors.NameTaken("Choose another.")) == {}
