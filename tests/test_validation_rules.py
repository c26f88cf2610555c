"""What is known of a value, answer by answer: the rules against a plain model, and when the vendor is asked again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.records import a_credential, a_version
from tests.vaults import NOON
from vault_core import rotation
from vault_core.credential import Credential, PinnedConfiguration, State, Suspension
from vault_core.validation import VALUE_ENDED, Validation, concluded, retry_after, unchecked
from vault_core.vendor_answers import FieldFault, Outcome

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FIRST, LONGEST = 5 * MINUTE, 6 * HOUR
CONFIRMED, REJECTED = Outcome("valid", "confirmed"), Outcome("invalid", "rejected")
WITH_FAULTS = Outcome("invalid", "rejected", (FieldFault(field="apiKey", message="is expired"),))
UNKNOWN = tuple(Outcome("unknown", reason) for reason in ("unreachable", "inconclusive", "unreadable"))
OUTCOMES = st.sampled_from((CONFIRMED, REJECTED, WITH_FAULTS, *UNKNOWN))
EVERY = st.integers(1, 720).map(lambda hours: hours * HOUR)
STEPS = st.lists(
    st.tuples(OUTCOMES, st.integers(60, 10**6).map(lambda seconds: timedelta(seconds=seconds))), max_size=40
)


@dataclass
class Model:
    """What anyone would write down who hears all the answers: said once more, as simply as can be."""

    heard: list[tuple[Outcome, datetime]]

    @property
    def verdicts(self) -> list[tuple[Outcome, datetime]]:
        return [one for one in self.heard if one[0].status != "unknown"]

    @property
    def standing(self) -> tuple[str, str, tuple[FieldFault, ...]]:
        """Status, reason and faults: of the last verdict; until there is one, of the last answer."""
        told = (self.verdicts or self.heard)[-1][0]
        return told.status, told.reason, told.field_errors

    @property
    def since(self) -> datetime:
        """When the standing verdict was first heard without another between."""
        since, before = NOON, "unknown"
        for outcome, at in self.verdicts:
            since, before = (since if outcome.status == before else at), outcome.status
        return since

    @property
    def unknown_in_a_row(self) -> int:
        row = 0
        for outcome, _ in self.heard:
            row = row + 1 if outcome.status == "unknown" else 0
        return row


def after(steps: list[tuple[Outcome, timedelta]], every: timedelta | None) -> tuple[Validation, Model]:
    """What the rules and the model make of the answers, each of which comes so long after the one before."""
    known, now, model = unchecked(True, NOON, by_vendor=True), NOON, Model([])
    for outcome, later in steps:
        now += later
        known = concluded(known, outcome, every, now, f"seed {now}")
        model.heard.append((outcome, now))
    return known, model


@given(STEPS.filter(bool), EVERY)
def test_what_is_known_is_what_the_last_verdict_said(steps: list[tuple[Outcome, timedelta]], every: timedelta) -> None:
    known, model = after(steps, every)
    assert (known.status, known.reason, known.field_errors) == model.standing
    assert known.verdict_at == model.since
    assert known.consecutive_unknown == model.unknown_in_a_row
    assert known.checked_at == model.heard[-1][1]
    assert known.checks == len(steps)


@given(
    STEPS, EVERY, st.lists(st.sampled_from(UNKNOWN), min_size=1, max_size=30), st.sampled_from([CONFIRMED, REJECTED])
)
def test_no_number_of_unknown_answers_changes_a_verdict_that_stands(
    steps: list[tuple[Outcome, timedelta]], every: timedelta, silence: list[Outcome], verdict: Outcome
) -> None:
    before, _ = after([*steps, (verdict, MINUTE)], every)
    known, _ = after([*steps, (verdict, MINUTE), *((one, HOUR) for one in silence)], every)
    stands = ("status", "reason", "field_errors", "verdict_at")
    assert [getattr(known, name) for name in stands] == [getattr(before, name) for name in stands]
    assert known.consecutive_unknown == len(silence)


@given(STEPS.filter(bool), EVERY)
def test_the_next_check_is_a_tenth_around_its_time(steps: list[tuple[Outcome, timedelta]], every: timedelta) -> None:
    known, model = after(steps, every)
    row = model.unknown_in_a_row
    wait = min(FIRST * 2 ** (row - 1), LONGEST, every) if row else every
    assert known.next_check_at is not None
    assert 0.9 * wait <= known.next_check_at - known.checked_at <= 1.1 * wait


@given(STEPS.filter(bool))
def test_who_is_not_asked_by_plan_is_never_asked_again(steps: list[tuple[Outcome, timedelta]]) -> None:
    known, _ = after(steps, None)
    assert known.next_check_at is None


@given(st.integers(0, 10**9), EVERY | st.none())
def test_waiting_doubles_from_five_minutes_up_to_six_hours_or_the_interval(
    unknown_so_far: int, every: timedelta | None
) -> None:
    expected = FIRST
    for _ in range(min(unknown_so_far, 40)):
        expected = min(expected * 2, LONGEST)
    assert retry_after(unknown_so_far, every) == min(expected, every or LONGEST)


def test_the_first_waits_are_5_10_20_and_40_minutes() -> None:
    assert [retry_after(count, DAY) for count in range(9)] == [
        *(5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 40 * MINUTE, 80 * MINUTE, 160 * MINUTE, 320 * MINUTE, LONGEST, LONGEST)
    ]


@given(st.text(), EVERY, OUTCOMES)
def test_a_check_that_is_recorded_twice_is_planned_alike(seed: str, every: timedelta, outcome: Outcome) -> None:
    known = unchecked(True, NOON, by_vendor=True)
    assert concluded(known, outcome, every, NOON, seed) == concluded(known, outcome, every, NOON, seed)


def test_checks_that_were_planned_together_drift_apart_over_the_whole_tenth() -> None:
    known = unchecked(True, NOON, by_vendor=True)
    planned = [concluded(known, CONFIRMED, DAY, NOON, f"{number}|{NOON}").next_check_at for number in range(1000)]
    tenths = [(at - NOON - 0.9 * DAY) / (0.2 * DAY) for at in planned if at]
    fills = [sum(tenth / 10 <= share < (tenth + 1) / 10 for share in tenths) for tenth in range(10)]
    assert sum(fills) == 1000
    assert min(fills) >= 50, "the planned instants pile up"


def test_what_is_known_before_anyone_was_asked() -> None:
    asked = unchecked(True, NOON, by_vendor=True)
    assert (asked.status, asked.reason, asked.next_check_at) == ("unknown", "not-checked", NOON)
    by_type = unchecked(True, NOON, by_vendor=False)
    assert (by_type.status, by_type.reason, by_type.next_check_at) == ("valid", "accepted", None)
    for by_vendor in (True, False):
        nothing = unchecked(False, NOON, by_vendor=by_vendor)
        assert (nothing.status, nothing.reason, nothing.next_check_at) == ("unknown", "no-value", None)


class TestNextCheck:
    PINNED = PinnedConfiguration(
        vendor="northwind", id="1", version=1, digest="0", host="api.northwind.example", check_every=DAY
    )

    def pinned(
        self, next_check_at: datetime | None = NOON + DAY, reason: str = "confirmed", **changes: object
    ) -> Credential:
        known = Validation(status="valid", checked_at=NOON, verdict_at=NOON, reason=reason, next_check_at=next_check_at)
        return a_credential(configuration=self.PINNED, validation=known, **changes)

    def test_it_is_when_the_vendor_is_asked_again(self) -> None:
        assert rotation.next_check(self.pinned()) == NOON + DAY

    def test_it_is_the_values_own_end_when_that_comes_first(self) -> None:
        assert rotation.next_check(self.pinned(ends_at=NOON + HOUR)) == NOON + HOUR
        assert rotation.next_check(self.pinned(ends_at=NOON + 2 * DAY)) == NOON + DAY

    def test_an_end_that_was_found_is_not_looked_at_again(self) -> None:
        assert rotation.next_check(self.pinned(None, VALUE_ENDED, ends_at=NOON)) is None

    @pytest.mark.parametrize("name", ["ends_at", "valid_until"])
    def test_a_value_that_nobody_could_use_then_is_not_asked_about(self, name: str) -> None:
        known = self.pinned(NOON + DAY, VALUE_ENDED, **{name: NOON + DAY})
        assert rotation.next_check(known) is None

    def test_a_suspended_credential_is_not_asked_about_but_still_ends(self) -> None:
        suspended = Suspension(at=NOON, by=a_version().created_by)
        assert rotation.next_check(self.pinned(suspended=suspended)) is None
        assert rotation.next_check(self.pinned(suspended=suspended, ends_at=NOON + 2 * DAY)) == NOON + 2 * DAY

    def test_a_version_without_a_value_is_not_asked_about(self) -> None:
        assert rotation.next_check(self.pinned(versions=(a_version(secret=None),))) is None

    def test_what_is_revoked_or_deleted_is_not_looked_at(self) -> None:
        assert rotation.next_check(self.pinned(versions=(a_version(state=State.REVOKED),))) is None
        assert rotation.next_check(self.pinned(deleted_at=NOON, ends_at=NOON + DAY)) is None

    @given(st.none() | st.integers(0, 100), st.none() | st.integers(0, 100), st.none() | st.integers(0, 100))
    def test_it_is_never_behind_the_values_own_end(
        self, question: int | None, own_end: int | None, valid_until: int | None
    ) -> None:
        at = {n: NOON + n * HOUR for n in range(101)}
        credential = self.pinned(
            at.get(question) if question is not None else None,
            ends_at=at[own_end] if own_end is not None else None,
            valid_until=at[valid_until] if valid_until is not None else None,
        )
        found = rotation.next_check(credential)
        if own_end is not None:
            assert found is not None
            assert found <= at[own_end]
        elif found is not None:
            assert found == at[question or 0]
            assert valid_until is None or found < at[valid_until]


class TestOwnVerdict:
    def test_a_value_past_its_own_end_is_invalid_from_that_instant(self) -> None:
        credential = a_credential(ends_at=NOON)
        assert rotation.own_verdict(credential, NOON - MINUTE) is None
        assert rotation.own_verdict(credential, NOON) == Outcome("invalid", VALUE_ENDED)

    def test_a_value_without_an_end_has_none(self) -> None:
        assert rotation.own_verdict(a_credential(valid_until=NOON), NOON + DAY) is None
