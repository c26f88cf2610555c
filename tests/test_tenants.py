"""What a tenant decides for all its credentials."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from tests.vaults import ADA, ALICE, MALLORY, NOON, World
from vault_core.errors import InvalidInput, StaleVersion
from vault_core.policies import LeasePolicy
from vault_core.tenants import ReplaceTenantRules, TenantRules, uncounted_until

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def world() -> World:
    return World()


async def replace(world: World, if_match: str | None = None, **body: object) -> TenantRules:
    wanted = ReplaceTenantRules.model_validate(body)
    return await world.vault.tenants.replace(ADA, wanted, if_match, world.clock())


async def test_a_tenant_that_decided_nothing_has_the_built_in_rules(world: World) -> None:
    rules = await world.vault.tenants.current("contoso")
    assert rules.defaults == LeasePolicy(
        max_lease_ttl=DAY, default_lease_ttl=HOUR, max_leases=None, allowed_identities=(), rotate_every=None
    )
    assert (rules.notice_period, rules.retention, rules.revision) == (30 * DAY, 90 * DAY, 0)


async def test_what_was_decided_is_kept(world: World) -> None:
    decided = await replace(world, defaults={"maxLeases": 3}, noticePeriod="7d", retention="30d")
    assert decided == await world.vault.tenants.current("contoso")
    assert (decided.defaults.max_leases, decided.notice_period, decided.retention) == (3, 7 * DAY, 30 * DAY)


async def test_what_is_left_out_returns_to_the_built_in_rule(world: World) -> None:
    await replace(world, defaults={"maxLeaseTTL": "2h"}, noticePeriod="7d")
    rules = await replace(world)
    assert (rules.defaults.max_lease_ttl, rules.notice_period) == (DAY, 30 * DAY)


async def test_one_tenants_rules_are_not_anothers(world: World) -> None:
    await replace(world, noticePeriod="7d")
    assert (await world.vault.tenants.current("fabrikam")).notice_period == 30 * DAY
    await world.vault.tenants.replace(MALLORY, ReplaceTenantRules(notice_period=DAY), None, NOON)
    assert (await world.vault.tenants.current("contoso")).notice_period == 7 * DAY


async def test_a_default_over_the_maximum_is_refused(world: World) -> None:
    with pytest.raises(InvalidInput) as refused:
        await replace(world, defaults={"defaultLeaseTTL": "2h", "maxLeaseTTL": "1h"})
    assert [fault.field for fault in refused.value.errors] == ["defaults.defaultLeaseTTL"]


async def test_a_maximum_under_the_built_in_default_is_refused(world: World) -> None:
    with pytest.raises(InvalidInput):
        await replace(world, defaults={"maxLeaseTTL": "30m"})


@pytest.mark.parametrize(
    "body",
    [{"noticePeriod": "soon"}, {"retention": "0d"}, {"retention": None}, {"defaults": {"maxLeases": 0}}, {"x": 1}],
)
def test_rules_that_cannot_be_meant_are_refused(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ReplaceTenantRules.model_validate(body)


async def test_rules_that_someone_else_replaced_meanwhile_are_not_overwritten_unseen(world: World) -> None:
    seen = (await world.vault.tenants.current("contoso")).tag
    await replace(world, if_match=seen, noticePeriod="7d")
    with pytest.raises(StaleVersion):
        await replace(world, if_match=seen, noticePeriod="8d")
    assert (await world.vault.tenants.current("contoso")).notice_period == 7 * DAY


async def test_a_change_is_told_to_the_audit(world: World) -> None:
    await replace(world, noticePeriod="7d")
    [told] = await world.audit()
    assert (told.event, told.identity) == ("tenant.settings_updated", ADA.identity)
    assert (told.details["revision"], told.details["noticePeriod"]) == (1, "7d")


async def test_rules_are_read_again_after_ten_seconds(world: World) -> None:
    await world.create()
    for seconds, reads in ((9, 0), (2, 1), (0, 0)):
        world.clock.pass_by(seconds=seconds)
        world.ledger.calls.clear()
        await world.vault.tenants.rules("contoso")
        assert world.ledger.total == reads


async def test_a_credential_shows_which_rules_hold_for_it(world: World) -> None:
    await replace(world, defaults={"maxLeases": 3, "maxLeaseTTL": "4h"})
    await world.create(policy={"maxLeases": 5})
    shown = await world.vault.credentials.read(ALICE, "db-password", NOON)
    effective = shown.rules.policy_of(shown.credential.policy)
    assert (effective.max_leases, effective.max_lease_ttl, effective.default_lease_ttl) == (5, 4 * HOUR, HOUR)


class TestLeasesWithoutAPlace:
    def test_where_there_was_no_limit_they_may_run_for_the_maximum(self) -> None:
        assert uncounted_until(LeasePolicy(max_lease_ttl=HOUR), None, NOON) == NOON + HOUR

    def test_where_there_was_a_limit_there_are_no_new_ones(self) -> None:
        limited = LeasePolicy(max_lease_ttl=HOUR, max_leases=1)
        assert uncounted_until(limited, None, NOON) is None
        assert uncounted_until(limited, NOON + DAY, NOON) == NOON + DAY

    def test_longer_ones_of_earlier_days_are_not_forgotten(self) -> None:
        assert uncounted_until(LeasePolicy(max_lease_ttl=HOUR), NOON + DAY, NOON) == NOON + DAY
        assert uncounted_until(LeasePolicy(max_lease_ttl=DAY), NOON + HOUR, NOON) == NOON + DAY
