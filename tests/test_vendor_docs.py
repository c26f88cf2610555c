"""The pages for vendors and subscribers against the code: what is sent, and what answers mean."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from standardwebhooks import WebhookVerificationError

from tests.outbound import Received
from tests.subscribers import URL, subscribe
from tests.test_docs import API, DATA, DOCS, FENCE, fields_within
from tests.vaults import ALICE, Clock, World
from tests.vendors import GOOD, NORA, fill, publish, publish_anew, selecting, validate
from vault_core.api.configurations import ConfigurationView, OutcomeView
from vault_core.api.credential_views import CheckedView
from vault_core.configuration import Definition
from vault_core.field_kinds import KINDS
from vault_core.outbound import Reply
from vault_core.stores import Partitions
from vault_core.validation import VALUE_ENDED, unchecked
from vault_core.vendor_answers import Rules, outcome
from vault_core.vendor_calls import GONE
from vault_core.webhooks import new_secret

VENDORS, WEBHOOKS = DOCS / "vendors.md", DOCS / "webhooks.md"
BY_BODY = Rules(frozenset(), frozenset())


@pytest.fixture
def world() -> World:
    """A world whose clock is that of this machine, which the receiver's library compares with."""
    return World(clock=Clock(datetime.now(UTC).replace(microsecond=0)))


def blocks(page: Path, wanted: str) -> list[str]:
    return [content for kind, content in FENCE.findall(page.read_text()) if kind == wanted]


def shown_in(page: Path) -> list[Any]:
    return [json.loads(block) for block in blocks(page, "json")]


def run_code_of(page: Path, **known: Any) -> dict[str, Any]:
    """Run the Python of the page, which knows these; return what it defines."""
    [code] = blocks(page, "python")
    exec(compile(code, page.name, "exec"), known)  # noqa: S102 - it is our own
    return known


def shape_of(content: Any) -> Any:
    """The names in it, and the kinds of what stands there."""
    if isinstance(content, dict):
        return {name: shape_of(part) for name, part in content.items()}
    return [shape_of(part) for part in content[:1]] if isinstance(content, list) else type(content).__name__


def reasons_of_answers() -> set[str]:
    """Every reason that an answer of a vendor can have."""
    replies = (Reply(500, b""), Reply(200, b"?"), Reply(200, b'{"valid":true}'), Reply(200, b'{"valid":false}'))
    return {outcome(reply, BY_BODY, {}, ()).reason for reply in (None, *replies)}


class TestTheVendorsPage:
    @pytest.fixture
    async def call(self, world: World) -> tuple[Received, SecretStr]:
        """The call by which a vendor is asked, and the secret that signs it."""
        configuration = await publish(world)
        issued = await world.vault.configurations.rotate_secret(NORA, configuration.id, None, world.clock())
        given = {"apiKey": GOOD, "account": "contoso-mail"}
        await fill(world, configuration, fields=given, marketplaces=["de"], validate=True)
        return world.outbound.received[-1], issued.secret

    def test_shows_the_call_as_it_is_sent(self, call: tuple[Received, SecretStr]) -> None:
        [shown] = [one for one in shown_in(VENDORS) if "data" in one]
        assert shape_of(shown) == shape_of(call[0].json)
        told = VENDORS.read_text().lower()
        assert [name for name in call[0].headers if name not in told] == []

    def test_shows_how_the_call_is_verified(self, call: tuple[Received, SecretStr]) -> None:
        received, secret = call
        question = run_code_of(VENDORS)["question"]
        data = question(secret.get_secret_value(), received.body, dict(received.headers))
        assert data == received.json["data"]
        with pytest.raises(WebhookVerificationError):
            question(new_secret().get_secret_value(), received.body, dict(received.headers))

    def test_shows_answers_that_mean_what_it_says(self) -> None:
        answers = [json.dumps(one).encode() for one in shown_in(VENDORS) if "valid" in one]
        meant = [outcome(Reply(200, one), BY_BODY, {}, ["apiKey"]) for one in answers]
        assert [(one.status, [fault.field for fault in one.field_errors]) for one in meant] == [
            ("valid", []),
            ("invalid", ["apiKey"]),
        ]

    def test_names_every_reason_that_an_answer_can_have(self) -> None:
        assert [name for name in reasons_of_answers() if f"`{name}`" not in VENDORS.read_text()] == []

    @pytest.mark.parametrize(
        ("row", "wanted"),
        [
            ("`nw-mail`, `de`", {"marketplace": "de"}),
            ("`nw-mail`, `fr`", {"marketplace": "fr"}),
            ("`nw-mail`, no marketplace", {}),
            ("another product, `de`", {"product": "nw-other", "marketplace": "de"}),
        ],
        ids=["both", "another marketplace", "no marketplace", "another product"],
    )
    async def test_tells_which_credential_is_found(self, world: World, row: str, wanted: dict[str, str]) -> None:
        of_mail, of_all = await publish(world), await publish(world, scope="universal", products=[])
        made = {"A": (of_mail, ["de"]), "B": (of_mail, []), "C": (of_all, ["de"]), "D": (of_all, [])}
        for name, (configuration, marketplaces) in made.items():
            await fill(world, configuration, name=name, marketplaces=marketplaces)
        told = re.search(rf"^\| {re.escape(row)} \| (.*) \|$", VENDORS.read_text(), re.MULTILINE)
        assert told
        order = re.findall(r"\b[A-D]\b(?! cannot)", told[1])
        assert len(order) > 1
        for name in order:
            found = await world.vault.resolution.read(ALICE, selecting(**wanted), world.clock())
            assert found.credential.name == name
            await world.vault.credentials.suspend(ALICE, name, None, None, world.clock())


class TestTheWebhooksPage:
    @pytest.fixture
    async def call(self, world: World) -> tuple[Received, SecretStr]:
        """A message as it arrives, and the secret that signs it."""
        issued = await subscribe(world, URL, "credential.validated")
        await fill(world, await publish(world))
        alice = replace(ALICE, identity=ALICE.identity.model_copy(update={"session_id": "session"}))
        await world.vault.validations.validate(alice, "northwind", world.clock())
        world.clock.pass_by(seconds=1)
        await world.vault.deliver_events()
        [call] = world.outbound.calls_to(URL)
        return call, issued.secret

    def test_shows_a_message_as_it_arrives(self, call: tuple[Received, SecretStr]) -> None:
        assert [shape_of(shown) for shown in shown_in(WEBHOOKS)] == [shape_of(call[0].json)]
        assert [name for name in call[0].headers if f"`{name}`" not in WEBHOOKS.read_text()] == []

    def test_shows_how_it_is_verified(self, call: tuple[Received, SecretStr]) -> None:
        received, secret = call
        taken: list[Any] = []
        known = run_code_of(WEBHOOKS, first_time=lambda message_id: message_id not in taken, put_aside=taken.append)
        known["receive"](secret.get_secret_value(), received.body, dict(received.headers))
        assert taken == [received.json]


class TestTheApiPage:
    def test_names_every_part_of_a_definition_and_of_what_is_shown_of_checks(self) -> None:
        models = (Definition, ConfigurationView, OutcomeView, CheckedView)
        named = sorted({name for model in models for name in fields_within(model)})
        assert [name for name in named if not re.search(rf"[`\"]{name}\b", API)] == []

    def test_names_every_type_of_a_field(self) -> None:
        assert [name for name in KINDS if f"| `{name}` |" not in API] == []

    def test_names_every_reason_of_a_verdict(self, world: World) -> None:
        either = (True, False)
        first = {unchecked(holds, world.clock(), by_vendor=asked).reason for holds in either for asked in either}
        assert len(first) == 3
        assert [
            name for name in {*first, *reasons_of_answers(), GONE.reason, VALUE_ENDED} if f"`{name}`" not in API
        ] == []


async def test_the_data_page_names_every_kind_of_row_that_vendors_and_subscribers_bring_about(world: World) -> None:
    await subscribe(world)
    configuration = await publish(world, audience="everyone")
    await fill(world, configuration, validate=True)
    await publish_anew(world, configuration)
    await validate(world)
    keys = [row.key for row in (await world.stores.vault.query(Partitions("!", "~"))).rows]
    pointers = [row.partition for row in (await world.stores.catalog.query(Partitions("!", "~"))).rows]
    kinds = {key.partition(":")[0] for key in (*keys, *pointers)}
    assert kinds >= {"configuration", "place", "check-of", "checking", "pace", "delivery", "audience", "vendor"}
    assert [kind for kind in sorted(kinds) if f"`{kind}:" not in DATA and f"`{kind}`" not in DATA] == []
