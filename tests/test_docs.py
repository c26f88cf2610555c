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
from tests.end_to_end.running_stack import Stack, free_ports, run, up
from tests.vaults import ALICE, NOON
from vault_core import agenda, errors
from vault_core.api.openapi import document
from vault_core.api.problems import Problem, status_of
from vault_core.api.routes import ROUTES
from vault_core.api.routing import Route
from vault_core.audit import AuditEvent, Event, _row
from vault_core.credential import Credential, Suspension, Validation, Version
from vault_core.identities import Identity, IdentityPattern
from vault_core.lease import Lease
from vault_core.settings import Settings
from vault_core.tenants import TenantRules

README = PROJECT / "README.md"
DOCS = PROJECT / "docs"
PAGES = [README, PROJECT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
API = (DOCS / "api.md").read_text()
DATA = (DOCS / "data.md").read_text()
BASE = "/api/v1"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
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
        for kind, content in _FENCE.findall(text)
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


class TestTheDataPage:
    @pytest.mark.parametrize(
        "model",
        [Credential, Version, Suspension, Validation, Identity, Lease, TenantRules],
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


class TestTheReadme:
    def test_names_every_setting(self) -> None:
        text = README.read_text()
        settings = [f"VAULT_{name.upper()}" for name in Settings.model_fields]
        assert [name for name in (*settings, *SCHEDULES) if f"`{name}`" not in text] == []

    def test_names_no_setting_that_is_not_one(self) -> None:
        known = {*(f"VAULT_{name.upper()}" for name in Settings.model_fields), *SCHEDULES}
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


def tour() -> list[Step]:
    """The commands of the README's console blocks, in order."""
    steps: list[Step] = []
    for kind, content in _FENCE.findall(README.read_text()):
        for line in content.splitlines() if kind == "console" else ():
            if line.startswith("$ "):
                steps.append(Step(line.removeprefix("$ "), []))
            elif line.startswith("# → "):
                steps[-1].shows.append(line.removeprefix("# → "))
    return steps


def here(command: str, stack: Stack) -> str:
    """Return the command as it must be to reach a local cloud on other ports and another state."""
    local = f"'{sys.executable}' -m local --state '{stack.state}'"
    return command.replace(".venv/bin/python -m local", local).replace("http://127.0.0.1:7071", stack.url)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="the tour is one with curl, which this machine lacks")
async def test_the_tour_of_the_readme_works(tmp_path: Path) -> None:
    steps = tour()
    async with up(tmp_path / "state", free_ports()) as stack:
        lines = [
            f"{{ {here(step.command, stack)}\n}} >{tmp_path}/{number}.out 2>&1; echo $? >{tmp_path}/{number}.status"
            for number, step in enumerate(steps)
        ]
        script = tmp_path / "tour.sh"
        script.write_text("\n".join(lines))
        await run(["bash", str(script)])
    assert sum(bool(step.shows) for step in steps) >= 5
    for number, step in enumerate(steps):
        output = (tmp_path / f"{number}.out").read_text()
        assert (tmp_path / f"{number}.status").read_text() == "0\n", (step.command, output)
        assert [text for text in step.shows if text not in output] == [], (step.command, output)
        assert "urn:credentials-vault:problem" not in output or '"code"' in "".join(step.shows), output
