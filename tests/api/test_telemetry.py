"""What is measured and traced of requests, and of what they set off."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from tests.api.app import FOR_AGENTS, App
from tests.api.sample import Front
from tests.outbound import accepts
from tests.recording import Recording, attributes_of, recording
from tests.vaults import ALICE, BOB, DEPLOY_AGENT, World, memory_stores
from tests.vendors import GOOD, NEW, URL, check_due, fill, publish, rotate, validate
from vault_core.errors import ValueRefused
from vault_core.stores.observed import observed
from vault_core.telemetry import (
    LEASES_GRANTED,
    LEASES_REFUSED,
    REQUESTS,
    STORE_CALLS,
    TIMER_ITEMS,
    TIMER_RUNS,
    VALIDATIONS,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
TRACED = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "s=canary", "baggage": "b=canary"}


@pytest.fixture
def kept() -> Iterator[Recording]:
    with recording() as kept:
        yield kept


@pytest.fixture
def app(kept: Recording) -> App:
    return App(World(observed(memory_stores())))


def ids(span: ReadableSpan) -> tuple[str, str, str]:
    """The ids of the trace, of the span and of the one that it is inside."""
    assert span.context
    return (
        f"{span.context.trace_id:032x}",
        f"{span.context.span_id:016x}",
        f"{span.parent.span_id:016x}" if span.parent else "",
    )


async def lease(app: App, **headers: str) -> int:
    return (await app.send("POST", "/leases", DEPLOY_AGENT, {"credential": "db-password"}, headers)).status


async def test_a_trace_of_a_lease_goes_from_the_caller_through_http_to_the_stores(kept: Recording, app: App) -> None:
    await app.create(ALICE, **FOR_AGENTS)
    assert await lease(app, **TRACED) == 201
    request = kept.span("http create_lease")
    trace, here, parent = ids(request)
    assert (trace, parent) == (TRACE, CALLER)
    inside = [one for one in kept.spans if ids(one)[0] == trace and one is not request]
    assert {ids(one)[2] for one in inside} == {here}
    told = {(one.name, attributes_of(one)["store"]) for one in inside}
    assert told >= {
        ("store.commit", "leases"),
        ("store.commit", "audit"),
        ("store.commit", "due"),
        ("store.read", "secrets"),
    }


async def test_neither_baggage_nor_trace_state_of_a_caller_goes_on(kept: Recording, app: App) -> None:
    await app.create(ALICE, **FOR_AGENTS)
    await lease(app, **TRACED)
    assert "canary" not in kept.everything()


async def test_a_span_tells_of_a_request_what_its_log_line_tells(
    kept: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vault_core")
    await Front().send("read_jar", headers={"X-Request-Id": "r1"})
    request = kept.span("http read_jar")
    [line] = [record.getMessage() for record in caplog.records]
    said = dict(pair.split("=", 1) for pair in line.split(" "))
    assert said.pop("trace") == ids(request)[0]
    assert float(said.pop("ms")) >= 0
    assert said == attributes_of(request)


async def test_requests_are_measured_by_operation_status_and_outcome(kept: Recording, app: App) -> None:
    await app.create(ALICE)
    await app.send("GET", "/credentials/db-password", ALICE)
    await app.send("GET", "/credentials/db-password", BOB)
    await app.send("GET", "/credentials/db-password")
    assert kept.measured(REQUESTS) == {
        ("create_credential", "201", "ok"): 1,
        ("read_credential", "200", "ok"): 1,
        ("read_credential", "404", "not-found"): 1,
        ("read_credential", "401", "unauthenticated"): 1,
    }
    assert all(one.status.status_code is StatusCode.UNSET for one in kept.spans)


async def test_a_fault_is_told_by_its_kind_alone(kept: Recording) -> None:
    front = Front()
    front.shelf.fault = ValueError("canary")
    await front.send("create_jar", body=b'{"name": "plum", "value": "canary"}', headers={"X-Request-Id": "r1"})
    request = kept.span("http create_jar")
    assert (attributes_of(request)["error"], attributes_of(request)["outcome"]) == ("ValueError", "internal-error")
    assert (request.status.status_code, list(request.events)) == (StatusCode.ERROR, [])
    assert kept.measured(REQUESTS) == {("create_jar", "500", "internal-error"): 1}
    assert "canary" not in kept.everything()


async def test_leases_are_counted_by_tenant_and_type_and_a_repeated_request_once(kept: Recording, app: App) -> None:
    await app.create(ALICE, **FOR_AGENTS)
    await app.create(ALICE, name="key", type="api-key", value="sk-live-0123456789abcdef", **FOR_AGENTS)
    for name in ("db-password", "db-password", "key"):
        await app.send("POST", "/leases", DEPLOY_AGENT, {"credential": name})
    for _ in range(2):
        await app.send("POST", "/leases", DEPLOY_AGENT, {"credential": "key"}, {"Idempotency-Key": "k"})
    assert kept.measured(LEASES_GRANTED) == {("contoso", "generic-secret"): 2, ("contoso", "api-key"): 2}


async def test_leases_that_are_refused_are_counted_by_tenant_and_reason(kept: Recording, app: App) -> None:
    limited = {"policy": FOR_AGENTS["policy"] | {"maxLeases": 1}}
    await app.create(ALICE, **limited)
    wanted = {"credential": "db-password"}
    for body, caller in ((wanted, DEPLOY_AGENT), (wanted, DEPLOY_AGENT), (wanted, BOB)):
        await app.send("POST", "/leases", caller, body)
    await app.send("POST", "/leases", DEPLOY_AGENT, {"product": "mail", "environment": "production"})
    await app.send("POST", "/credentials/db-password/revoke", ALICE)
    await app.send("POST", "/leases", DEPLOY_AGENT, wanted)
    assert kept.measured(LEASES_REFUSED) == {
        ("contoso", "lease-limit-reached"): 1,
        ("contoso", "not-found"): 2,
        ("contoso", "credential-revoked"): 1,
    }
    assert kept.measured(LEASES_GRANTED) == {("contoso", "generic-secret"): 1}


async def test_calls_of_stores_are_measured_by_what_came_of_them(kept: Recording, app: App) -> None:
    await app.create(ALICE)
    await app.send("POST", "/credentials", ALICE, {"name": "db-password", "type": "generic-secret", "value": "x"})
    measured = kept.measured(STORE_CALLS)
    assert measured[("secrets", "write", "ok")] >= 1
    assert measured[("vault", "commit", "ok")] >= 1
    assert {outcome for _, _, outcome in measured} <= {"ok", "row-missing", "row-exists", "row-changed"}
    assert {outcome for _, _, outcome in measured} > {"ok"}


async def test_runs_of_timers_are_measured_with_what_they_did(kept: Recording, app: App) -> None:
    await app.create(ALICE, **FOR_AGENTS)
    await lease(app)
    app.world.clock.pass_by(days=1)
    report = await app.world.vault.expire_leases()
    assert (report.done, report.failed) == (1, 0)
    assert kept.measured(TIMER_RUNS) == {("expire_leases", "ok"): 1}
    assert kept.measured(TIMER_ITEMS) == {("expire_leases", "done"): 1, ("expire_leases", "failed"): 0}
    run = kept.span("timer expire_leases")
    assert any(one.parent and one.parent.span_id == run.context.span_id for one in kept.spans if run.context)


async def test_a_timer_that_crashes_is_told_as_crashed(kept: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    async def broken(run: object) -> object:
        raise RuntimeError("canary")

    monkeypatch.setattr(world.vault._expiry, "expire_leases", broken)
    with pytest.raises(RuntimeError):
        await world.vault.expire_leases()
    assert kept.measured(TIMER_RUNS) == {("expire_leases", "crashed"): 1}
    assert kept.span("timer expire_leases").status.status_code is StatusCode.ERROR
    assert kept.measured(TIMER_ITEMS) == {}
    assert "canary" not in kept.everything()


async def test_checks_of_values_are_counted_by_verdict_and_trigger(kept: Recording) -> None:
    world = World()
    world.outbound.answers[URL] = accepts(GOOD, NEW)
    configuration = await publish(world)
    await fill(world, configuration, validate=True)
    with pytest.raises(ValueRefused):
        await fill(world, configuration, name="other", validate=True, fields={"apiKey": "nw_live_aaaaaaaaaaaaaaaa"})
    world.clock.pass_by(minutes=2)
    await rotate(world, validate=True, apiKey=NEW)
    world.clock.pass_by(minutes=2)
    await validate(world)
    await check_due(world, days=2)
    assert kept.measured(VALIDATIONS) == {
        ("valid", "created"): 1,
        ("invalid", "created"): 1,
        ("valid", "rotated"): 1,
        ("valid", "asked"): 1,
        ("valid", "scheduled"): 1,
    }
