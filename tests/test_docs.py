"""The documentation against the code: what it names exists, what it shows is true, and its commands work."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from local.__main__ import _parser
from local.cloud import PROJECT, SCHEDULES
from local.running import find_running
from tests.end_to_end.running_stack import Stack, free_ports, run, up
from tests.vaults import ALICE, NOON
from vault_core import agenda, errors, telemetry
from vault_core.api.control_room.dialect import STATUSES
from vault_core.api.control_room.lists import CREDENTIAL_FIELDS, ListRequest, Operator
from vault_core.api.control_room.routes import CONTROL_ROOM_ROUTES
from vault_core.api.openapi import document
from vault_core.api.problems import Problem, status_of
from vault_core.api.routes import ROUTES
from vault_core.api.routing import Route
from vault_core.attributes import Attribute, ValueMark
from vault_core.audit import AuditEvent, Event, _row
from vault_core.configuration import Configuration, Definition, Published
from vault_core.credential import Credential, PinnedConfiguration, Suspension, Version
from vault_core.deliveries import Delivery
from vault_core.identities import Identity, IdentityPattern
from vault_core.lease import Lease
from vault_core.locker import Locker
from vault_core.own_values import OwnSet
from vault_core.settings import Settings, variable
from vault_core.signing_secrets import SigningSecret
from vault_core.subscription import Subscription
from vault_core.tenants import TenantRules
from vault_core.validation import Check, Validation
from vault_core.vendor_answers import FieldFault

README = PROJECT / "README.md"
DOCS = PROJECT / "docs"
PAGES = [README, PROJECT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
API = (DOCS / "api.md").read_text()
DATA = (DOCS / "data.md").read_text()
CONTROL_ROOM = (DOCS / "control-room.md").read_text()
TELEMETRY = (DOCS / "telemetry.md").read_text()
TOURS = [README, DOCS / "control-room.md"]
BASE = "/api/v1"
VAULT = "/v2/credentialvault"

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")


class Example(NamedTuple):
    """A block of JSON, and the operations whose section it is in."""

    routes: tuple[Route, ...]
    content: Any


def sections() -> Iterator[tuple[str, str]]:
    """The headings of the API page, each with the text under it."""
    parts = re.split(r"^#+ (.*)$", API, flags=re.MULTILINE)
    yield from zip(parts[1::2], parts[2::2], strict=True)


def routes_of(heading: str) -> tuple[Route, ...]:
    """The operations that a heading such as `POST /a/b` and `/c` names: `POST /a/b` and `POST /a/c`."""
    found: list[Route] = []
    for name in re.findall("`([^`]+)`", heading):
        method, _, path = name.rpartition(" ")
        if not method and found:
            method, path = found[-1].method, found[-1].path.rpartition("/")[0].removeprefix(BASE) + path
        found += [route for route in ROUTES if (route.method, route.path) == (method, BASE + path)]
    return tuple(found)


def examples() -> list[Example]:
    return [
        Example(routes_of(heading), json.loads(content))
        for heading, text in sections()
        for kind, content in FENCE.findall(text)
        if kind == "json"
    ]


def is_a(model: Any, content: Any) -> bool:
    try:
        TypeAdapter(model).validate_json(json.dumps(content), by_alias=True, by_name=False)
    except ValidationError:
        return False
    return True


def models_of(routes: tuple[Route, ...]) -> list[Any]:
    answers = [body for route in routes for body in route.answers.values() if isinstance(body, type)]
    return [*(route.body for route in routes if route.body), *answers, Problem]


class TestLinks:
    @pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
    def test_lead_somewhere(self, page: Path) -> None:
        for target, anchor in _LINK.findall(page.read_text()):
            there = (page.parent / target.replace("\\", "")).resolve() if target else page
            assert there.exists(), target
            assert not anchor or anchor in anchors(there), f"{target}#{anchor}"

    @pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
    def test_and_pages_that_are_named_exist(self, page: Path) -> None:
        for named in re.findall(r"`((?:[\w-]+/)*[\w-]+\.md)`", page.read_text()):
            assert (page.parent / named).exists() or (PROJECT / named).exists(), named

    @pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
    def test_and_tests_that_are_named_exist(self, page: Path) -> None:
        for file, names in re.findall(r"`(tests/[\w/]+\.py)`(?: \(((?:`\w+`,? ?)+)\))?", page.read_text()):
            there = (PROJECT / file).read_text()
            assert [name for name in re.findall(r"\w+", names) if f"def {name}(" not in there] == [], file


def test_every_decision_has_a_number_of_its_own_and_is_listed_under_its_title() -> None:
    pages = sorted(DOCS.glob("decisions/0*.md"))
    titles = [page.read_text().partition("\n")[0].removeprefix("# ").partition(" ") for page in pages]
    assert [number for number, _, _ in titles] == [f"{place:04}" for place in range(1, len(pages) + 1)]
    rows = [f"| [{number}]({page.name}) | {title} |" for page, (number, _, title) in zip(pages, titles, strict=True)]
    assert [row for row in rows if row not in (DOCS / "decisions/README.md").read_text()] == []


def anchors(page: Path) -> set[str]:
    """What the headings of a page can be linked by, as GitHub makes it."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


class TestTheApiPage:
    def test_has_a_heading_for_every_operation(self) -> None:
        told = {route.name for heading, _ in sections() for route in routes_of(heading)}
        assert told == {route.name for route in ROUTES}

    @pytest.mark.parametrize("example", [one for one in examples() if one.routes], ids=lambda one: one.routes[0].name)
    def test_shows_requests_and_answers_that_are_ones(self, example: Example) -> None:
        assert any(is_a(model, example.content) for model in models_of(example.routes))

    def test_shows_elsewhere_errors_and_patterns(self) -> None:
        for content in (one.content for one in examples() if not one.routes):
            assert is_a(list[IdentityPattern], content) or is_a(Problem, content)

    @pytest.mark.parametrize("route", [one for one in ROUTES if one.body], ids=lambda one: one.name)
    def test_shows_a_body_for_every_operation_that_takes_one(self, route: Route) -> None:
        assert any(route in one.routes and is_a(route.body, one.content) for one in examples())

    def test_tells_the_status_of_every_error(self) -> None:
        told = {(int(status), code) for status, code in re.findall(r"^\| (\d{3}) \| `([\w-]+)` \|", API, re.MULTILINE)}
        kinds = {kind.code: kind for kind in descendants(errors.VaultError)}
        assert {(status_of(kinds[code]), code) for _, code in told} == told
        responses = document(ROUTES)["components"]["responses"]
        assert {code for name in responses for code in name.split(".")} <= {code for _, code in told}

    def test_foretells_only_refusals_that_the_route_table_foretells(self) -> None:
        for heading, text in sections():
            for sentence in re.findall(r"Refuses? with ([^.]*)\.", text):
                told = set(re.findall("`([^`]+)`", sentence))
                for route in routes_of(heading):
                    assert told <= {kind.code for kind in route.problems}, heading

    def test_names_every_parameter_and_field(self) -> None:
        for model in (model for route in ROUTES for model in (route.query, route.body) if model):
            assert [name for name in aliases(model) if not re.search(rf"[`\"]{name}\b", API)] == []

    def test_names_every_event(self) -> None:
        for event in Event:
            noun, _, verb = event.partition(".")
            assert f"`{event}`" in API or (f"`{noun}." in API and f"`.{verb}`" in API), event


def descendants(kind: type[errors.VaultError]) -> Iterator[type[errors.VaultError]]:
    for each in kind.__subclasses__():
        yield each
        yield from descendants(each)


def aliases(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def fields_within(model: type[BaseModel]) -> set[str]:
    """The names of the fields of a model, and of the models within."""
    schema = model.model_json_schema(by_alias=True)
    return {name for part in (schema, *schema.get("$defs", {}).values()) for name in part.get("properties", {})}


class TestTheControlRoomPage:
    def test_has_a_row_for_every_call(self) -> None:
        calls = re.findall(r"^\| (`(?:GET|POST|PUT|DELETE) .*?`) \|", CONTROL_ROOM, re.MULTILINE)
        named = [call.split(" ") for cell in calls for call in re.findall("`([^`]+)`", cell)]
        told = {(method, path if re.match("/v[12]/", path) else VAULT + path) for method, path in named}
        told |= {(method, path.replace("/v2/", "/v1/")) for method, path in told if path.startswith(VAULT)}
        assert told == {(route.method, route.path) for route in CONTROL_ROOM_ROUTES}

    def test_names_every_parameter_and_field(self) -> None:
        models = [
            model
            for route in CONTROL_ROOM_ROUTES
            for model in (route.query, route.body, *route.answers.values())
            if isinstance(model, type)
        ]
        named = {name for model in models for name in fields_within(model)}
        assert [name for name in sorted(named) if not re.search(rf"[`\".]{name}\b", CONTROL_ROOM)] == []

    def test_names_every_operator_and_field_of_a_list(self) -> None:
        told = {*Operator, *CREDENTIAL_FIELDS}
        assert [name for name in sorted(told) if f"`{name}`" not in CONTROL_ROOM] == []

    def test_shows_a_list_that_is_one(self) -> None:
        [shown] = [json.loads(content) for kind, content in FENCE.findall(CONTROL_ROOM) if kind == "json"]
        assert ListRequest.read(shown).sort[0].field == shown["sort"][0]["field"]

    def test_tells_every_status_of_a_refusal(self) -> None:
        told = {int(status) for status in re.findall(r"^\| (\d{3}) \|", CONTROL_ROOM, re.MULTILINE)}
        assert told == set(STATUSES.values())

    def test_names_only_codes_of_refusals(self) -> None:
        codes = {kind.code for kind in descendants(errors.VaultError)}
        assert set(re.findall(r'(?:\d{3} `|"code": ?")([a-z-]+)', CONTROL_ROOM)) <= codes


class TestTheDataPage:
    @pytest.mark.parametrize(
        "model",
        [
            Credential,
            Attribute,
            ValueMark,
            Version,
            Suspension,
            Validation,
            Identity,
            Lease,
            Locker,
            OwnSet,
            TenantRules,
            Subscription,
            SigningSecret,
            Delivery,
            Configuration,
            Published,
            Definition,
            PinnedConfiguration,
            FieldFault,
            Check,
        ],
        ids=lambda one: one.__name__,
    )
    def test_names_every_field_of_what_is_stored(self, model: type[BaseModel]) -> None:
        assert [name for name in aliases(model) if f"`{name}`" not in DATA] == []

    def test_names_every_field_and_column_of_an_audit_event(self) -> None:
        about = {"credential_id": "c", "credential_name": "n", "lease_id": "l"}
        row = _row(Event.LEASE_CREATED.by(ALICE, NOON, **about))
        assert len(row.document) == len(AuditEvent.__dataclass_fields__)
        assert [name for name in {*row.document, *row.columns} if f"`{name}`" not in DATA] == []

    def test_names_every_queue_and_task_of_the_agenda(self) -> None:
        named = [*agenda.Queue, *agenda.Task]
        assert [each.value for each in named if f"`{each.value}`" not in DATA] == []


class TestTheTelemetryPage:
    def test_has_a_row_for_every_metric_with_its_kind_and_dimensions(self) -> None:
        rows = re.findall(r"^\| `(vault\.[\w.]+)` \| (\w+) \| (.*?) ?\|", TELEMETRY, re.MULTILINE)
        told = {(name, kind, tuple(re.findall(r"`(\w+)`", dimensions))) for name, kind, dimensions in rows}
        assert told == {(one.name, type(one).__name__.lower(), one.dimensions) for one in telemetry.METRICS}

    def test_has_a_row_for_every_span_with_its_attributes(self) -> None:
        rows = re.findall(r"^\| `([^`]+)` \| (server|client|internal) \| (.*) \|$", TELEMETRY, re.MULTILINE)
        told = {(title, part, frozenset(re.findall(r"`(\w+)`", named))) for title, part, named in rows}
        assert told == {
            (work.title, work.part, work.attributes - set(work.metric.dimensions)) for work in telemetry.WORKS
        }

    def test_names_every_outcome_that_counts_as_failed(self) -> None:
        [sentence] = re.findall(r"counts as failed when the outcome is ([^;]*);", TELEMETRY)
        assert set(re.findall("`([^`]+)`", sentence)) == telemetry.FAULTS

    def test_asks_only_for_metrics_and_dimensions_that_there_are(self) -> None:
        queries = [content for kind, content in FENCE.findall(TELEMETRY) if kind == "kusto"]
        metrics = {one.name: one for one in telemetry.METRICS}
        for query in queries:
            for name in re.findall(r'Name == "([^"]+)"', query):
                assert set(re.findall(r"Properties\.(\w+)", query)) <= set(metrics[name].dimensions)
        assert len(queries) >= 6


class TestTheReadme:
    def test_names_every_setting(self) -> None:
        text = README.read_text()
        settings = [variable(name) for name in Settings.model_fields]
        assert [name for name in (*settings, *SCHEDULES) if f"`{name}`" not in text] == []

    def test_names_no_setting_that_is_not_one(self) -> None:
        known = {*map(variable, Settings.model_fields), *SCHEDULES}
        assert set(re.findall("`(VAULT_[A-Z_]+)`", README.read_text())) <= known

    @pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
    def test_and_other_pages_name_commands_that_exist(self, page: Path) -> None:
        targets = set(re.findall("^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
        text = page.read_text()
        commands = {*re.findall("`make ([a-z]+)", text), *re.findall("^(?:\\$ )?make ([a-z]+)", text, re.MULTILINE)}
        assert commands <= targets
        known = re.findall(r"\{([\w,]+)\}", _parser().format_usage())[0].split(",")
        assert set(re.findall(r"-m local (\w+)", text)) <= set(known)


class Step(NamedTuple):
    """A command, and what its output must hold."""

    command: str
    shows: list[str]


def tour(page: Path) -> list[Step]:
    """The commands of the page's console blocks, in order."""
    steps: list[Step] = []
    for kind, content in FENCE.findall(page.read_text()):
        for line in content.splitlines() if kind == "console" else ():
            if line.startswith("$ "):
                steps.append(Step(line.removeprefix("$ "), []))
            elif line.startswith("# → "):
                steps[-1].shows.append(line.removeprefix("# → "))
    return steps


def here(command: str, stack: Stack) -> str:
    """Return the command as it must be to reach a local cloud on other ports and another state."""
    local = f"'{sys.executable}' -m local --state '{stack.state}'"
    usual = command.replace(".venv/bin/python -m local", local).replace("http://127.0.0.1:7071", stack.url)
    return usual.replace("http://127.0.0.1:7073", find_running(stack.state).vendor)


def script_of(steps: list[Step], stack: Stack, record: Path) -> Path:
    """Write a script that runs the steps in one shell and records the outcome of each; return where it is."""
    lines = [
        f"{{ {here(step.command, stack)}\n}} >{record}.{number}.out 2>&1; echo $? >{record}.{number}.status"
        for number, step in enumerate(steps)
    ]
    script = record.with_suffix(".sh")
    script.write_text("\n".join(lines))
    return script


def recorded(record: Path, number: int) -> tuple[str, str]:
    """Return status and output of a step."""
    return Path(f"{record}.{number}.status").read_text(), Path(f"{record}.{number}.out").read_text()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="the tours are ones with curl, which this machine lacks")
async def test_the_tours_of_the_pages_work(tmp_path: Path) -> None:
    async with up(tmp_path / "state", free_ports()) as stack:
        for page in TOURS:
            await run(["bash", str(script_of(tour(page), stack, tmp_path / page.stem))])
    for page in TOURS:
        steps = tour(page)
        assert sum(bool(step.shows) for step in steps) >= 5
        for number, step in enumerate(steps):
            status, output = recorded(tmp_path / page.stem, number)
            assert status == "0\n", (step.command, output)
            assert [text for text in step.shows if text not in output] == [], (step.command, output)
            assert '"code":' not in output or '"code"' in "".join(step.shows), output
