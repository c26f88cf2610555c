"""Vendors asked for real, and by many at once: through several workers, on the real adapters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from local.cloud import LocalCloud
from local.vendor import Conduct
from tests.end_to_end.sites import Site, open_site
from tests.end_to_end.storms import all_of
from tests.end_to_end.vendor_sites import ask, fill, known, probing_site, publish
from tests.outbound import FakeOutbound, Received, accepts
from tests.vendors import GOOD, URL
from vault_core.configuration import Configuration
from vault_core.credential import Credential
from vault_core.errors import ConfigurationInUse, EndpointUnfit, NotFound, TooSoon, ValueRefused
from vault_core.outbound import Reply

pytestmark = pytest.mark.slow


@pytest.fixture
async def site(local_parts: LocalCloud) -> AsyncIterator[Site]:
    async with open_site(local_parts) as opened:
        yield opened


@pytest.fixture
async def probing(local_parts: LocalCloud) -> AsyncIterator[Site]:
    async with probing_site(local_parts) as opened:
        yield opened


class TestTheSampleVendor:
    async def test_is_published_only_once_it_tells_a_wrong_value(self, probing: Site, local_parts: LocalCloud) -> None:
        vendor = local_parts.vendor
        vendor.conduct = Conduct(accepts_all=True)
        with pytest.raises(EndpointUnfit):
            await publish(probing, f"{vendor.url}/validate")
        vendor.reset()
        assert (await publish(probing, f"{vendor.url}/validate")).latest
        assert vendor.calls == 1

    async def test_says_which_values_are_valid_and_of_which_field_they_are_not(
        self, probing: Site, local_parts: LocalCloud
    ) -> None:
        configuration = await publish(probing, f"{local_parts.vendor.url}/validate")
        with pytest.raises(ValueRefused) as refused:
            await fill(probing, configuration, "mail", key="nw_test_0123456789", validate=True)
        assert [fault.field for fault in refused.value.errors] == ["fields.apiKey"]
        made = await fill(probing, configuration, "mail", validate=True)
        assert (made.validation.status, made.validation.reason) == ("valid", "confirmed")

    @pytest.mark.parametrize(
        ("conduct", "reason"),
        [(Conduct(delay_seconds=5), "unreachable"), (Conduct(broken=True), "inconclusive")],
        ids=["slow", "broken"],
    )
    async def test_that_is_slow_or_broken_changes_no_verdict(
        self, probing: Site, local_parts: LocalCloud, conduct: Conduct, reason: str
    ) -> None:
        vendor = local_parts.vendor
        configuration = await publish(probing, f"{vendor.url}/validate", timeoutSeconds=1)
        await fill(probing, configuration, "mail", validate=True)
        vendor.conduct = conduct
        asked = await ask(probing, "mail")
        assert (asked.check.status, asked.check.reason) == ("unknown", reason)
        verdict = await known(probing, "mail")
        assert (verdict.status, verdict.reason, verdict.consecutive_unknown) == ("valid", "confirmed", 1)
        vendor.reset()
        probing.clock.pass_by(minutes=6)
        await probing.workers[2].check_credentials()
        assert (await known(probing, "mail")).consecutive_unknown == 0
        assert await probing.faults_at_rest() == []


async def test_two_who_ask_for_a_check_at_once_make_one_call_and_share_its_answer_in_one_worker(site: Site) -> None:
    vendor = outbound(site)
    configuration = await publish(site)
    for round_ in range(3):
        name = f"asked {round_}"
        await fill(site, configuration, name)
        before = len(vendor.received)
        found, refused = await all_of(ask(site, name, worker) for worker in (0, 0, 1, 2))
        assert len(vendor.received) == before + 1
        assert refused.keys() <= {TooSoon}
        assert {one.check.status for one in found} == {"valid"}
        assert len(await site.workers[0].validations.history(site.alice, name, site.clock())) == 1
    assert await site.faults_at_rest() == []


async def test_two_timers_at_once_make_one_call_for_each_credential(site: Site) -> None:
    vendor = outbound(site)
    configuration = await publish(site)
    made = await asyncio.gather(*(fill(site, configuration, f"due {number}", number % 3) for number in range(12)))
    vendor.received.clear()
    site.clock.pass_by(seconds=1)
    await asyncio.gather(*(worker.check_credentials() for worker in site.workers))
    asked = [call.json["data"]["credential"]["id"] for call in vendor.received]
    assert sorted(asked) == sorted(one.id for one in made)
    assert {(await known(site, one.name)).status for one in made} == {"valid"}
    assert {one.checks for one in [await known(site, one.name) for one in made]} == {1}
    assert await site.faults_at_rest() == []


async def test_no_credential_ever_lives_on_a_configuration_that_was_removed(site: Site) -> None:
    outbound(site)
    outcomes: set[bool] = set()
    for round_ in range(6):  # the deletion begins before the creations, then ever later
        configuration = await publish(site)
        creations = [
            after(0.2, partial(fill, site, configuration, f"raced {round_} {number}", number % 3))
            for number in range(16)
        ]
        remove = partial(site.workers[2].configurations.delete, site.nora, configuration.id, None, site.clock())
        made, refused = await all_of([*creations, after(0.1 * round_, remove)])
        assert refused.keys() <= {NotFound, ConfigurationInUse}
        living = {one.id for one in (await site.contents()).live if lives_on(one, configuration)}
        assert living == {one.id for one in made if one}
        outcomes.add(is_removed := await is_absent(site, configuration))
        assert not (is_removed and living)
    assert outcomes == {True, False}
    assert await site.faults_at_rest() == []


async def after(seconds: float, act: Callable[[], Awaitable[Any]]) -> Any:
    await asyncio.sleep(seconds)
    return await act()


def lives_on(credential: Credential, configuration: Configuration) -> bool:
    return credential.configuration is not None and credential.configuration.id == configuration.id


async def is_absent(site: Site, configuration: Configuration) -> bool:
    try:
        await site.workers[1].configurations.read(site.nora, configuration.id, site.clock())
    except NotFound:
        return True
    return False


def outbound(site: Site) -> FakeOutbound:
    """The other side, which takes its time to answer."""
    assert isinstance(site.outbound, FakeOutbound)

    async def slowly(call: Received) -> Reply:
        await asyncio.sleep(0.05)
        answer = accepts(GOOD)(call)
        assert isinstance(answer, Reply)
        return answer

    site.outbound.answers[URL] = slowly
    return site.outbound
