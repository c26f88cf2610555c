"""No value outside the Key Vault and the answers that hand it over, whatever happens."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import urllib.parse
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import aiohttp
import pytest
from pydantic import BaseModel, SecretStr

from local.cloud import PROJECT, TABLES, LocalCloud, local_cloud
from local.ports import HOST, Ports
from local.serving import serving
from local.vendor import Conduct
from tests.acting import FIRST, SECOND, Reply
from tests.conftest import AUTHORITY, background_loop
from tests.end_to_end.canaries import Search, spoken
from tests.end_to_end.canary_attributes import tell_of_attributes
from tests.end_to_end.canary_objects import everything_that_holds_a_value
from tests.end_to_end.canary_story import Story
from tests.end_to_end.canary_vendors import receive_everything, subscribe_to_everything, tell_of_vendors
from tests.end_to_end.echoing_vendor import EchoingVendor
from tests.end_to_end.ingestion import Ingestion
from tests.end_to_end.sites import Site, open_site
from tests.end_to_end.vendor_sites import ask, fill, probing_site, publish
from tests.faults import Fault, Plan
from tests.operations import REQUESTS
from tests.stores.tokens import storage_token
from tests.sweeping import calls_of, faults_of, world_before
from tests.vaults import person
from vault_core.audit import Event
from vault_core.credential_requests import CreateCredential
from vault_core.errors import ValueRefused
from vault_core.identities import Role
from vault_core.stores.outages import open_transport
from vault_core.stores.tables import table_client
from vault_core.subscription import CreateSubscription
from vault_core.telemetry import METRICS
from vault_core.vendor_answers import WITHHELD

pytestmark = pytest.mark.slow

_EXPORTS_WITHIN = 2  # seconds


@dataclass
class Evidence:
    """Everything that the story left behind; the files are those of the local cloud after its end."""

    story: Story
    vendor: EchoingVendor
    telemetry: Ingestion
    log: list[str]
    rows: list[str]
    files: dict[str, bytes] = field(default_factory=dict)

    @cached_property
    def search(self) -> Search:
        return Search({secret for canary in self.story.sent for secret in canary.secrets})

    @property
    def texts(self) -> list[tuple[str, str]]:
        """Answers but those that show a secret once, what was logged, what is in rows, and what was sent out."""
        answers = ((one.asked[:60], one.whole) for one in (*self.story.answers, *self.story.grants))
        sent = ((text[:120], text) for text in (*self.vendor.asked_with, *self.vendor.told, *self.telemetry.received))
        kept = ((text[:120], text) for text in (*self.log, *self.rows))
        return [*answers, *sent, *kept]


async def live(folder: Path) -> Evidence:
    """Let the whole cloud live through the story, with telemetry on, and end it."""
    free = Ports.any_free().claimed()
    vendor, telemetry = EchoingVendor(f"http://{HOST}:{free.vendor}"), Ingestion(free.functions)
    with pytest.MonkeyPatch.context() as environment:
        for name, text in telemetry.environment.items():
            environment.setenv(name, text)
        return await _told(folder, vendor, free.vendor, telemetry)


async def _told(folder: Path, vendor: EchoingVendor, port: int, telemetry: Ingestion) -> Evidence:
    log: list[str] = []
    async with (
        serving(vendor.application(), port),
        serving(telemetry.application(), telemetry.port, AUTHORITY.server_context()),
        local_cloud(
            folder=folder, ports=Ports.any_free(), app=PROJECT, authority=AUTHORITY, on_log=log.append
        ) as cloud,
        aiohttp.ClientSession() as session,
    ):
        story = Story(cloud, session, uuid.uuid4().hex, uuid.uuid4().hex)
        await tell_of_attributes(story)
        await subscribe_to_everything(story, vendor)
        await tell_of_vendors(story, vendor)
        await story.tell()
        await receive_everything(story, vendor)
        rows: list[str] = []
        async with open_transport() as transport:
            for name in TABLES:
                client = table_client(cloud.tables_url, name, storage_token(cloud), transport)
                rows += [f"{name} {dict(row)}" async for row in client.list_entities()]
        await asyncio.sleep(_EXPORTS_WITHIN)
    return Evidence(story, vendor, telemetry, log, rows)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    with background_loop() as loop:
        folder = tmp_path_factory.mktemp("state")
        found = asyncio.run_coroutine_threadsafe(live(folder), loop).result()
    found.files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    return found


def test_the_answers_that_hand_values_over_hold_some(evidence: Evidence) -> None:
    leases = [answer for answer in evidence.story.grants if answer.asked.startswith("POST")]
    reads = [answer for answer in evidence.story.grants if answer.asked.startswith("GET")]
    assert len(leases) >= 18 + 7
    assert len(reads) >= 30
    assert all(evidence.search.finds_in(answer.text) for answer in evidence.story.grants)


def test_no_header_of_such_an_answer_holds_a_value(evidence: Evidence) -> None:
    headers = ((answer.asked, str(dict(answer.headers))) for answer in evidence.story.grants)
    assert evidence.search.places(headers) == []


@pytest.mark.parametrize("consumer", ["alice", "finance-bot", "hr-bot"])
def test_what_a_consumer_gave_for_itself_is_handed_to_nobody_else(evidence: Evidence, consumer: str) -> None:
    own = Search(evidence.story.own[consumer])
    handed = [answer for answer in evidence.story.grants if own.finds_in(answer.text)]
    assert {answer.asked.partition(" ")[0] for answer in handed} == {"GET", "POST"}
    assert {answer.by for answer in handed} == {consumer}


def test_no_read_of_all_values_holds_a_masked_one(evidence: Evidence) -> None:
    whole = [answer for answer in evidence.story.grants if answer.asked.endswith("/attributevalues")]
    assert {answer.by for answer in whole} == {"alice", "finance-bot", "hr-bot"}
    assert Search(evidence.story.masked).places((answer.by, answer.whole) for answer in whole) == []


def test_the_secrets_of_logins_and_the_tokens_are_nowhere_else(evidence: Evidence) -> None:
    """But the identity provider keeps the secrets, and a login answers with its token."""
    search = Search(evidence.story.proofs)
    answers = (
        (one.asked[:60], one.whole) for one in evidence.story.answers if not one.asked.endswith("/authentication")
    )
    files = ((name, content) for name, content in evidence.files.items() if name != "clients.json")
    rest = [*answers, *((line[:120], line) for line in evidence.log), *((row[:120], row) for row in evidence.rows)]
    assert search.places([*rest, *files]) == []
    assert search.finds_in(evidence.files["clients.json"])


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


def test_a_vendor_is_told_values_in_one_place_alone(evidence: Evidence) -> None:
    vendor = evidence.vendor
    assert len(vendor.asked) >= 20
    assert all(evidence.search.finds_in(text) for values in vendor.asked for text in values.values() if len(text) > 64)
    assert evidence.search.places((text[:120], text) for text in vendor.asked_with) == []


def test_what_a_vendor_repeats_of_a_value_is_not_shown(evidence: Evidence) -> None:
    told = [one for one in evidence.story.answers if WITHHELD in one.text]
    assert {one.asked.partition(" ")[0] for one in told} == {"GET", "POST"}
    assert {"/validations", "/validate", "?validate=true"} <= {
        end for one in told for end in ("/validations", "/validate", "?validate=true") if one.asked.endswith(end)
    }


def test_no_event_that_is_sent_out_holds_a_value(evidence: Evidence) -> None:
    events = {event for event in Event if any(f'"type":"{event}"' in text for text in evidence.vendor.told)}
    assert events >= {
        Event.CREDENTIAL_VALIDATED,
        Event.CREDENTIAL_ROTATED,
        Event.SUBSCRIPTION_CREATED,
        Event.LEASE_CREATED,
    }
    assert evidence.search.places((text[:120], text) for text in evidence.vendor.told) == []


def test_a_secret_that_signs_is_in_the_answer_that_shows_it_and_nowhere_else(evidence: Evidence) -> None:
    secrets = {part for one in evidence.story.signing for part in (one, one.removeprefix("whsec_"))}
    raw = {base64.b64decode(one.removeprefix("whsec_")).hex() for one in evidence.story.signing}
    search = Search(secrets | raw)
    assert len(evidence.story.issued) >= 8
    assert all(search.finds_in(one.text) for one in evidence.story.issued)
    assert search.places([*evidence.texts, *evidence.files.items()]) == []
    assert [name for name, text in evidence.texts if "whsec_" in text] == []
    assert evidence.search.places((one.asked[:60], one.whole) for one in evidence.story.issued) == []


def test_no_log_line_holds_a_value(evidence: Evidence) -> None:
    assert any("operation=create_credential status=500" in line for line in evidence.log)
    assert any("timer=reconcile" in line for line in evidence.log)
    assert evidence.search.places((line[:120], line) for line in evidence.log) == []


def test_no_telemetry_holds_a_value(evidence: Evidence) -> None:
    telemetry = evidence.telemetry
    assert telemetry.refused == 0
    assert telemetry.kinds == {"RequestData", "RemoteDependencyData", "MetricData"}
    assert telemetry.names("RequestData") >= {"http create_credential", "http create_lease", "http validate_credential"}
    works = {"store.read", "store.commit", "store.query", "store.write", "store.delete", "call-out", "timer reconcile"}
    assert telemetry.names("RemoteDependencyData") >= works
    assert telemetry.names("MetricData") == {one.name for one in METRICS}
    assert evidence.search.places((text[:120], text) for text in telemetry.received) == []


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
    await vault.creations.create(site.alice, wanted, None, now)
    await site.workers[1].grants.grant(site.alice, "watched", None, None, now)
    await site.rotate("watched", f"{mark} anew")
    await _watch_parts(site, mark)
    await vault.credentials.revoke(site.alice, "watched", None, None, now)
    await site.tend()
    assert "Request URL" in caplog.text
    assert Search([mark, spoken(mark)]).places((line[:80], line) for line in caplog.text.splitlines()) == []


async def _watch_parts(site: Site, mark: str) -> None:
    values, now = site.workers[1].values, site.clock()
    parts = await site.create_with_parts("parts", "host", "port")
    host, port, pin = (one.id for one in parts.attributes)
    await values.write(site.alice, parts.id, {host: SecretStr(spoken(mark)), port: SecretStr(mark)}, None, now)
    await values.write(site.alice, parts.id, {pin: SecretStr(f"{mark} own")}, None, now)
    read = await values.read_one(site.alice, parts.id, pin, now)
    assert [one.value and one.value.get_secret_value() for one in read] == [f"{mark} own"]
    await values.remove(site.alice, parts.id, host, now)
    await values.forget_own(site.alice, parts.id, now)


async def test_the_lowest_level_of_logging_shows_nothing_of_what_is_sent_out(
    local_parts: LocalCloud, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    mark, vendor = uuid.uuid4().hex, local_parts.vendor
    async with probing_site(local_parts) as site:
        vault, ada = site.workers[0], person("ada", Role.ADMIN, tenant=site.tenant)
        wish = CreateSubscription(url=f"{vendor.url}/events", events=("*",))
        subscribed = await vault.subscriptions.create(ada, wish, None, site.clock())
        configuration = await publish(site, f"{vendor.url}/validate")
        issued = await vault.configurations.rotate_secret(site.nora, configuration.id, None, site.clock())
        for key in (f"nw_test_{mark}", f"nw_live_{mark}"):
            with suppress(ValueRefused):
                await fill(site, configuration, "mail", key=key, validate=True)
        vendor.conduct = Conduct(broken=True)
        await ask(site, "mail")
        vendor.reset()
        site.clock.pass_by(minutes=2)
        await vault.deliver_events()
    assert (vendor.calls, len(vendor.events) > 3) == (0, True)
    signing = [one.secret.get_secret_value().removeprefix("whsec_") for one in (subscribed, issued)]
    search = Search([mark, *signing])
    assert search.places((line[:80], line) for line in caplog.text.splitlines()) == []


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
