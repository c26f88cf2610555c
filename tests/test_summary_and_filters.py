"""How things stand: counts and filters over what a caller may see, against a plain count of what there is."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from tests.outbound import accepts
from tests.vaults import ADA, ALICE, BOB, MALLORY, MONA, VIC, World
from tests.vendors import GOOD, NEW, URL, check_due, fill, publish, validate
from vault_core.configuration import Configuration
from vault_core.credential import status
from vault_core.credential_listing import CredentialQuery
from vault_core.credentials import Shown
from vault_core.identities import Caller
from vault_core.rotation import is_rotation_due
from vault_core.summary import Summary
from vault_core.tenants import ReplaceTenantRules

LATER = "2027-11-21T12:00:00Z"
SOON = "2026-12-01T12:00:00Z"
TOMORROW = "2026-11-22T12:00:00Z"


@pytest.fixture
def world() -> World:
    return World()


async def a_mixture(world: World) -> Configuration:
    """Credentials of Alice and Bob in many states; two days have passed since they were made."""
    configuration = await publish(world)
    await fill(world, configuration, name="valid")
    await fill(world, configuration, BOB, name="invalid", fields={"apiKey": NEW})
    silent = await publish(world, validation=None, rotation={"every": "1d"})
    await fill(world, silent, name="advised", environment="test")
    await world.create(name="plain")
    await world.create(name="rotating", policy={"rotateEvery": "30d"})
    await world.create(BOB, name="to be rotated", metadata={"rotateEvery": "1d"})
    await world.create(name="expiring", validUntil=SOON)
    await world.create(name="expired", validUntil=TOMORROW)
    await world.create(name="token", type="oauth-token", fields={"accessToken": GOOD, "expiresAt": TOMORROW})
    await world.create(name="pending", validFrom=LATER)
    await world.create(name="revoked", policy={"rotateEvery": "1d"})
    await world.create(name="suspended", validUntil=SOON)
    await world.create(name="deleted")
    await world.create(name="empty", attributes=[{"name": "mine"}], fields={})
    await world.revoke(reference="revoked")
    await world.vault.credentials.suspend(ALICE, "suspended", None, None, world.clock())
    await world.vault.credentials.delete(ALICE, "deleted", None, world.clock())
    await check_due(world, days=2)
    return configuration


async def listed(world: World, caller: Caller = MONA, **filters: Any) -> list[Shown]:
    """All credentials that the filters let through, page by page."""
    found, cursor = list[Shown](), None
    while True:
        query = CredentialQuery.model_validate({"limit": 3, "cursor": cursor} | filters)
        page = await world.vault.listing.page(caller, query, world.clock())
        found += page.shown
        if page.next is None:
            return found
        cursor = page.next


async def names(world: World, caller: Caller = MONA, **filters: Any) -> set[str]:
    return {shown.credential.name for shown in await listed(world, caller, **filters)}


def counted(world: World, all_shown: list[Shown]) -> Summary:
    """The summary, counted by hand."""
    now = world.clock()
    return Summary(
        total=len(all_shown),
        status=Counter(status(one.credential, now, one.rules.notice_period) for one in all_shown),
        validation=Counter(one.credential.validation.status for one in all_shown),
        type=Counter(one.credential.type for one in all_shown),
        rotation_due=sum(is_rotation_due(one.credential, one.rules, now) for one in all_shown),
    )


class TestFilters:
    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ({"status": "expiring"}, {"expiring"}),
            ({"status": "expired"}, {"expired", "token"}),
            ({"status": "inactive"}, {"suspended"}),
            ({"status": "pending"}, {"pending"}),
            ({"status": "revoked"}, {"revoked"}),
            ({"validation": "invalid"}, {"invalid", "token"}),
            ({"validation": "unknown"}, {"empty"}),
            ({"rotation": "due"}, {"advised", "to be rotated"}),
            ({"rotation": "due", "environment": "test"}, {"advised"}),
            ({"rotation": "due", "validation": "invalid"}, set[str]()),
            ({"validation": "invalid", "owner": "id-bob"}, {"invalid"}),
        ],
        ids=lambda one: " ".join(one.values()) if isinstance(one, dict) else "",
    )
    async def test_a_filter_lets_through_what_it_names(
        self, world: World, filters: dict[str, Any], expected: set[str]
    ) -> None:
        await a_mixture(world)
        assert await names(world, **filters) == expected
        assert await names(world, **filters, sort="-name") == expected

    async def test_credentials_are_found_by_the_configuration_that_they_were_made_from(self, world: World) -> None:
        configuration = await a_mixture(world)
        assert await names(world, configuration=configuration.id) == {"valid", "invalid"}
        assert await names(world, ALICE, configuration=configuration.id) == {"valid"}
        assert await names(world, configuration="another") == set()
        assert await names(world, MALLORY, configuration=configuration.id) == set()

    async def test_a_verdict_that_changes_moves_the_credential(self, world: World) -> None:
        await fill(world, await publish(world), fields={"apiKey": NEW})
        assert await names(world, validation="unknown") == {"northwind"}
        await validate(world)
        assert await names(world, validation="invalid") == {"northwind"}
        world.outbound.answers[URL] = accepts(NEW)
        world.clock.pass_by(minutes=1)
        await validate(world)
        assert await names(world, validation="valid") == {"northwind"}

    async def test_a_rotation_takes_a_credential_off_what_is_due(self, world: World) -> None:
        await world.create(policy={"rotateEvery": "1d"})
        world.clock.pass_by(days=1)
        assert await names(world, rotation="due") == {"db-password"}
        await world.rotate()
        assert await names(world, rotation="due") == set()

    async def test_expiring_is_as_the_tenant_says(self, world: World) -> None:
        await world.create(validUntil=SOON)
        assert await names(world, status="expiring") == {"db-password"}
        wanted = ReplaceTenantRules.model_validate({"noticePeriod": "2d"})
        await world.vault.tenants.replace(ADA, wanted, None, world.clock())
        assert await names(world, status="expiring") == set()

    @pytest.mark.parametrize("wrong", [{"validation": "perhaps"}, {"rotation": "soon"}, {"status": ""}], ids=str)
    def test_what_no_filter_knows_is_refused(self, wrong: dict[str, str]) -> None:
        with pytest.raises(ValidationError):
            CredentialQuery.model_validate(wrong)


class TestSummary:
    @pytest.mark.parametrize("caller", [ALICE, BOB, MONA, VIC, MALLORY], ids=lambda one: one.identity.id)
    async def test_it_equals_a_plain_count_of_what_the_caller_sees(self, world: World, caller: Caller) -> None:
        await a_mixture(world)
        all_shown = await listed(world, caller)
        summary = await world.vault.summaries.of(caller, world.clock())
        assert summary == counted(world, all_shown)
        assert summary.total == {ALICE: 11, BOB: 2, MONA: 13, VIC: 0, MALLORY: 0}[caller]

    async def test_it_says_what_needs_somebodys_hand(self, world: World) -> None:
        await a_mixture(world)
        summary = await world.vault.summaries.of(MONA, world.clock())
        assert summary.rotation_due == 2
        assert (summary.validation["invalid"], summary.status["expired"], summary.status["expiring"]) == (2, 2, 1)  # type: ignore[index]

    async def test_it_reads_a_thousand_credentials_in_a_call(self, world: World) -> None:
        for number in range(40):
            await world.create(name=f"credential-{number}")
        world.ledger.calls.clear()
        assert (await world.vault.summaries.of(MONA, world.clock())).total == 40
        assert world.ledger.total == 1
