"""What the vault tells of itself: only what is named, only in a safe form, and nothing when nobody asked."""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from tests.recording import Recording, attributes_of, recording
from tests.test_architecture import MODULES
from tests.vaults import NOON
from vault_core import telemetry
from vault_core.errors import LeaseLimitReached, RowChanged, SecretMissing, Unavailable
from vault_core.telemetry import (
    CALL_OUT,
    CALLS_OUT,
    LEASES_GRANTED,
    METRICS,
    REQUEST,
    STORE_CALL,
    STORE_CALLS,
    TIMER_LAG,
    TIMER_RUN,
    WORKS,
    Histogram,
    Origin,
    outcome_of,
    span,
)

CANARY = "canary 7f3e9b2c41"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def kept() -> Iterator[Recording]:
    with recording() as kept:
        yield kept


def test_without_a_recorder_nothing_is_recorded_and_everything_works() -> None:
    LEASES_GRANTED.add(tenant="contoso", type="api-key")
    with span(STORE_CALL, store="vault", operation="read") as opened:
        opened.note(outcome="ok")
    assert opened.trace_id == ""


def test_a_recorder_that_is_taken_away_is_told_nothing_more(kept: Recording) -> None:
    LEASES_GRANTED.add(tenant="contoso", type="api-key")
    telemetry.use(None)
    LEASES_GRANTED.add(tenant="contoso", type="api-key")
    assert kept.measured(LEASES_GRANTED) == {("contoso", "api-key"): 1}


@pytest.mark.parametrize("metric", METRICS, ids=lambda one: one.name)
@pytest.mark.parametrize("recorded", [True, False])
def test_a_metric_takes_its_dimensions_and_no_others(metric: telemetry.Metric, recorded: bool) -> None:
    exact = dict.fromkeys(metric.dimensions, "x")
    with recording() as kept:
        telemetry.use(kept.recorder if recorded else None)
        metric._measure(1, exact)
        for wrong in (exact | {"credential": "x"}, dict(list(exact.items())[1:]) if exact else {"x": "x"}):
            with pytest.raises(TypeError):
                metric._measure(1, wrong)
        assert kept.measured(metric) == ({("x",) * len(exact): 1} if recorded else {})


@pytest.mark.parametrize("metric", METRICS, ids=lambda one: one.name)
def test_a_metric_has_its_unit_and_description(kept: Recording, metric: telemetry.Metric) -> None:
    metric._measure(1, dict.fromkeys(metric.dimensions, "x"))
    [found] = kept.metrics()
    assert (found.name, found.unit, found.description) == (metric.name, metric.unit, metric.description)


def test_a_gauge_holds_what_was_told_last(kept: Recording) -> None:
    TIMER_LAG.set(7, timer="reconcile")
    TIMER_LAG.set(5, timer="reconcile")
    assert kept.measured(TIMER_LAG) == {("reconcile",): 5}


@pytest.mark.parametrize("text", [CANARY, "", "a/b", "a?b=c", "a=b", 'a"b', "a\n", "ä", "x" * 129])
def test_a_value_that_is_no_safe_name_is_not_told(kept: Recording, text: str) -> None:
    with span(STORE_CALL, store=text, operation=text) as opened:
        opened.note(outcome=text)
    LEASES_GRANTED.add(tenant=text, type="api-key")
    assert kept.measured(LEASES_GRANTED) == {("?", "api-key"): 1}
    assert attributes_of(kept.span("store.?")) == {"store": "?", "operation": "?", "outcome": "?"}
    assert kept.measured(STORE_CALLS) == {("?", "?", "?"): 1}


@pytest.mark.parametrize("work", WORKS, ids=lambda one: one.title)
def test_of_work_nothing_is_told_that_is_not_named(kept: Recording, work: telemetry.Work) -> None:
    named = set(re.findall(r"\{(\w+)\}", work.title))
    with span(work, **dict.fromkeys(named, "x")) as opened, pytest.raises(TypeError):
        opened.note(secret="x")
    with pytest.raises(TypeError), span(work, **dict.fromkeys({*named, "secret"}, "x")):
        pass
    assert all("secret" not in attributes_of(one) for one in kept.spans)


def test_work_is_measured_by_what_is_known_of_it(kept: Recording) -> None:
    with span(REQUEST, operation="read_jar") as opened:
        opened.note(status=200, tenant="contoso", request="r1")
    [found] = kept.spans
    assert (found.name, found.kind) == ("http read_jar", SpanKind.SERVER)
    assert attributes_of(found) == {
        "operation": "read_jar",
        "status": "200",
        "outcome": "ok",
        "tenant": "contoso",
        "request": "r1",
    }
    assert kept.measured(telemetry.REQUESTS) == {("read_jar", "200", "ok"): 1}


FAILURES: dict[str, tuple[BaseException, str, bool]] = {
    "refusal": (LeaseLimitReached(CANARY, NOON, timedelta()), "lease-limit-reached", False),
    "conflict": (RowChanged(CANARY), "row-changed", False),
    "missing": (SecretMissing(CANARY), "secret-missing", False),
    "outage": (Unavailable(CANARY), "unavailable", True),
    "fault": (ValueError(CANARY), "failed", True),
    "cancelled": (asyncio.CancelledError(CANARY), "cancelled", False),
    "group": (BaseExceptionGroup(CANARY, [ValueError(CANARY)]), "failed", True),
}


@pytest.mark.parametrize("name", FAILURES)
def test_of_an_exception_nothing_is_kept_but_its_kind(kept: Recording, name: str) -> None:
    failure, outcome, failed = FAILURES[name]
    failure.__cause__ = KeyError(CANARY)
    with pytest.raises(type(failure)), span(STORE_CALL, store="vault", operation="read"):
        raise failure
    [found] = kept.spans
    assert attributes_of(found)["error"] == type(failure).__name__
    assert attributes_of(found)["outcome"] == outcome_of(failure) == outcome
    assert (found.status.status_code is StatusCode.ERROR, found.status.description) == (failed, None)
    assert list(found.events) == []
    assert CANARY not in kept.everything()
    assert kept.measured(STORE_CALLS) == {("vault", "read", outcome): 1}


def test_an_outcome_that_is_noted_holds_even_if_the_work_breaks_off(kept: Recording) -> None:
    with suppress(ValueError), span(TIMER_RUN, timer="reconcile") as opened:
        opened.note(outcome="crashed")
        raise ValueError(CANARY)
    assert attributes_of(kept.span("timer reconcile"))["outcome"] == "crashed"


def test_spans_are_inside_those_that_are_open(kept: Recording) -> None:
    with span(TIMER_RUN, timer="reconcile") as outer, span(CALL_OUT) as inner:
        assert inner.trace_id == outer.trace_id
    parent = kept.span("call-out").parent
    assert parent
    assert parent.span_id == kept.span("timer reconcile").context.span_id
    assert kept.measured(CALLS_OUT) == {("ok",): 1}


def test_a_trace_goes_on_from_its_origin(kept: Recording) -> None:
    with span(TIMER_RUN, timer="x"), span(REQUEST, Origin(TRACE, "00f067aa0ba902b7", True), operation="y") as opened:
        assert opened.trace_id == TRACE
    parent = kept.span("http y").parent
    assert parent
    assert (f"{parent.trace_id:032x}", f"{parent.span_id:016x}", parent.is_remote) == (TRACE, "00f067aa0ba902b7", True)


def test_an_origin_that_is_not_recorded_keeps_what_follows_out_of_the_record_but_not_out_of_the_metrics(
    kept: Recording,
) -> None:
    with span(REQUEST, Origin(TRACE, "00f067aa0ba902b7", False), operation="y") as opened:
        assert opened.trace_id == TRACE
        opened.note(status=200)
    assert kept.spans == []
    assert kept.measured(telemetry.REQUESTS) == {("y", "200", "ok"): 1}


def test_every_histogram_measures_work() -> None:
    assert {work.metric.name for work in WORKS} == {one.name for one in METRICS if isinstance(one, Histogram)}


def test_names_are_given_once() -> None:
    assert len({one.name for one in METRICS}) == len(METRICS)
    declared = {one.name for one in vars(telemetry).values() if isinstance(one, telemetry.Metric)}
    assert declared == {one.name for one in METRICS}


# The other half of what operators read: log lines.

_PAIR = r"[a-z_]+=(?:%s|%d|%\.1f|\"%s\"|\"[^%\"]+\"|[A-Za-z][A-Za-z-]*)"


def log_calls() -> Iterator[tuple[str, ast.Call]]:
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("_log."):
                yield name, node


def test_every_log_line_is_pairs_of_names_and_values() -> None:
    calls = list(log_calls())
    assert len(calls) >= 15
    for name, call in calls:
        assert isinstance(call.args[0], ast.Constant), name
        assert re.fullmatch(f"{_PAIR}(?: {_PAIR})*", str(call.args[0].value)), (name, call.args[0].value)
        assert not call.keywords, name  # such as `exc_info`, which would show an exception's text
