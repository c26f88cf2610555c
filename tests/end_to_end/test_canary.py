"""No value outside the Key Vault and the answers that grant a lease, whatever happens."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import urllib.parse
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import BaseModel, SecretStr

from local.cloud import PROJECT, TABLES, LocalCloud, local_cloud
from local.ports import Ports
from tests.conftest import AUTHORITY, background_loop
from tests.end_to_end.canaries import Search, spoken
from tests.end_to_end.canary_story import Story
from tests.end_to_end.sites import Site, open_site
from tests.faults import Fault, Plan
from tests.operations import FIRST, REQUESTS, SECOND, Reply
from tests.stores.tokens import storage_token
from tests.sweeping import calls_of, faults_of, world_before
from tests.vaults import ALICE, NOON, World
from vault_core.api.leases import CreateLease, create_lease
from vault_core.api.routing import AnonymousCall, Call
from vault_core.credential_requests import CreateCredential, RotateCredential
from vault_core.credential_types import TYPES
from vault_core.repeats import Once
from vault_core.stores.outages import open_transport
from vault_core.stores.tables import table_client

pytestmark = pytest.mark.slow


@dataclass
class Evidence:
    """Everything that the story left behind; the files are those of the local cloud after its end."""

    story: Story
    log: list[str]
    rows: list[str]
    files: dict[str, bytes] = field(default_factory=dict)

    @cached_property
    def search(self) -> Search:
        return Search({secret for canary in self.story.sent for secret in canary.secrets})


async def live(folder: Path) -> Evidence:
    """Let the whole cloud live through the story, and end it."""
    log: list[str] = []
    ports = Ports.any_free()
    async with (
        local_cloud(folder=folder, ports=ports, app=PROJECT, authority=AUTHORITY, on_log=log.append) as cloud,
        aiohttp.ClientSession() as session,
    ):
        story = Story(cloud, session, uuid.uuid4().hex, uuid.uuid4().hex)
        await story.tell()
        rows: list[str] = []
        async with open_transport() as transport:
            for name in TABLES:
                client = table_client(cloud.tables_url, name, storage_token(cloud), transport)
                rows += [f"{name} {dict(row)}" async for row in client.list_entities()]
    return Evidence(story, log, rows)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    with background_loop() as loop:
        folder = tmp_path_factory.mktemp("state")
        found = asyncio.run_coroutine_threadsafe(live(folder), loop).result()
    found.files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    return found


def test_the_answers_that_grant_a_lease_hold_the_value(evidence: Evidence) -> None:
    assert len(evidence.story.grants) >= 18
    assert all(evidence.search.finds_in(answer.text) for answer in evidence.story.grants)


def test_no_header_of_a_grant_holds_a_value(evidence: Evidence) -> None:
    headers = ((answer.asked, str(dict(answer.headers))) for answer in evidence.story.grants)
    assert evidence.search.places(headers) == []


def test_no_other_answer_holds_a_value(evidence: Evidence) -> None:
    answers = evidence.story.answers
    assert {answer.status for answer in answers} >= {
        200,
        201,
        204,
        400,
        401,
        403,
        404,
        409,
        412,
        413,
        415,
        422,
        500,
        503,
    }
    assert evidence.search.places((answer.asked[:60], answer.whole) for answer in answers) == []


def test_no_log_line_holds_a_value(evidence: Evidence) -> None:
    assert any("operation=create_credential status=500" in line for line in evidence.log)
    assert any("timer=reconcile" in line for line in evidence.log)
    assert evidence.search.places((line[:120], line) for line in evidence.log) == []


def test_no_row_of_a_table_holds_a_value(evidence: Evidence) -> None:
    assert {row.partition(" ")[0] for row in evidence.rows} == set(TABLES)
    assert evidence.search.places((row[:120], row) for row in evidence.rows) == []


def test_no_file_of_the_local_cloud_holds_a_value(evidence: Evidence) -> None:
    assert any(b"canary-generic-secret" in content for content in evidence.files.values())
    assert evidence.search.places(evidence.files.items()) == []


# What the story cannot bring about over HTTP: errors that quote, logs at the lowest level, objects in a debugger.


async def test_an_error_of_a_store_that_quotes_a_value_is_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    search, broken = Search([FIRST, SECOND]), 0
    for operation in REQUESTS:
        for call in await calls_of(operation):
            fault = Fault(RuntimeError(f"cannot keep {FIRST}, nor {SECOND}"))
            world = await world_before(operation, Plan(faults={call: fault}))
            caplog.clear()
            answer = await operation.act(world)
            assert isinstance(answer, Reply)
            broken += answer.status == 500
            shown = [("log", caplog.text), ("headers", str(answer.headers)), ("body", json.dumps(answer.body))]
            assert search.places(shown if "value" not in (answer.body or {}) else shown[:2]) == []
            assert await faults_of(world) == []
    assert broken > 100


@pytest.fixture
async def site(local_parts: LocalCloud) -> AsyncIterator[Site]:
    async with open_site(local_parts) as opened:
        yield opened


async def test_the_lowest_level_of_logging_shows_no_value(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "azure")
    mark = uuid.uuid4().hex
    body = {"name": "watched", "type": "generic-secret", "value": spoken(mark)}
    wanted = CreateCredential.model_validate(body)
    vault, now = site.workers[0], site.clock()
    await vault.credentials.create(site.alice, wanted, None, now)
    await site.workers[1].grants.grant(site.alice, "watched", None, None, now)
    await site.rotate("watched", f"{mark} anew")
    await vault.credentials.revoke(site.alice, "watched", None, None, now)
    await site.tend()
    assert "Request URL" in caplog.text
    assert Search([mark, spoken(mark)]).places((line[:80], line) for line in caplog.text.splitlines()) == []


async def everything_that_holds_a_value() -> list[object]:
    """Each kind of object of the vault through which a value passes, or that stands beside it."""
    world = World()
    body = {"name": "db-password", "type": "generic-secret", "value": FIRST, "metadata": {"team": "web"}}
    content = json.dumps(body).encode()
    create = CreateCredential.model_validate(body)
    rotate = RotateCredential.model_validate({"fields": {"value": FIRST}})
    shown = await world.vault.credentials.create(ALICE, create, None, NOON)
    granted = await world.vault.grants.grant(ALICE, "db-password", None, None, NOON)
    anonymous: dict[str, Any] = {"path": {"credential": FIRST}, "query": None, "body": create, "if_match": None}
    anonymous |= {"idempotency_key": None, "body_bytes": content, "request_id": "r-1", "now": NOON}
    call = Call(caller=ALICE, **anonymous)
    answer = await create_lease(
        world.vault, Call(caller=ALICE, **anonymous | {"body": CreateLease(credential="db-password")})
    )
    accepted = TYPES["generic-secret"].accept({"value": SecretStr(FIRST)}, NOON)
    once = Once(FIRST, "create", content)
    return [
        create,
        rotate,
        shown,
        granted,
        granted.lease,
        call,
        AnonymousCall(**anonymous),
        answer,
        answer.body,
        accepted,
        once,
    ]


async def test_no_object_shows_the_value_that_it_holds() -> None:
    search = Search([FIRST])
    for one in await everything_that_holds_a_value():
        dumped = one.model_dump() if isinstance(one, BaseModel) else {}
        assert (
            search.places([("repr", repr(one)), ("str", str(one)), ("format", f"{one}"), ("dump", str(dumped))]) == []
        ), type(one)


@pytest.mark.parametrize(
    "written",
    [
        lambda text: text,
        lambda text: f"key={text}&next",
        lambda text: json.dumps({"text": text}),
        lambda text: json.dumps(json.dumps({"text": text}, ensure_ascii=False)),
        lambda text: repr([text]),
        lambda text: urllib.parse.quote(text, safe=""),
        lambda text: urllib.parse.urlencode({"text": text}),
        lambda text: text.encode().hex(),
        lambda text: base64.b64encode(f"{text}".encode()).decode(),
        lambda text: base64.b64encode(f"a{text}b".encode()).decode(),
        lambda text: base64.urlsafe_b64encode(f"ab{text}bc".encode()).decode(),
    ],
)
def test_the_search_finds_a_value_however_it_is_written(written: Callable[[str], str]) -> None:
    secret = spoken("0123456789abcdef")
    assert Search([secret]).finds_in(f"before {written(secret)} after")
    assert not Search([secret]).finds_in(f"before {written(spoken('fedcba9876543210'))} after")
