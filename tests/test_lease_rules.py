"""The rules of a lease's life, without stores."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.records import CREDENTIAL_ID, OWNER, TOKEN, a_credential, a_lease, a_version
from tests.vaults import DEPLOY_AGENT, NOON
from vault_core.credential import Credential, State, Suspension, refusal_to_lease, revoked, rotated
from vault_core.credential_types import Accepted
from vault_core.errors import (
    CredentialExpired,
    CredentialNotUsable,
    CredentialRevoked,
    LeaseEnded,
    LeaseLimitReached,
    NotFound,
    VersionRotated,
)
from vault_core.lease import (
    Cap,
    Lease,
    LeaseReference,
    LeaseState,
    Slot,
    ended,
    free_places,
    granted,
    new_token,
    renewed,
    state,
    terms,
)
from vault_core.policies import OVERLAP, LeasePolicy
from vault_core.tenants import TenantRules

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
RULES = TenantRules()


def tenant(**defaults: object) -> TenantRules:
    return TenantRules(defaults=LeasePolicy.model_validate(defaults).completed_by(RULES.defaults))


def after_rotation(credential: Credential, at: datetime) -> Credential:
    return rotated(credential, Accepted({}, {}), (), "memory/t0-next", "print-next", OWNER, at)


class TestTerms:
    def test_a_lease_lasts_as_long_as_was_asked(self) -> None:
        offered = terms(a_credential(), RULES, 2 * HOUR, NOON)
        assert (offered.ttl, offered.expires_at, offered.capped_by) == (2 * HOUR, NOON + 2 * HOUR, None)

    def test_without_a_wish_the_default_of_the_credential_holds(self) -> None:
        credential = a_credential(policy=LeasePolicy(default_lease_ttl=3 * HOUR))
        assert terms(credential, tenant(defaultLeaseTTL="2h"), None, NOON).ttl == 3 * HOUR

    def test_without_a_default_of_the_credential_that_of_the_tenant_holds(self) -> None:
        assert terms(a_credential(), tenant(defaultLeaseTTL="2h"), None, NOON).ttl == 2 * HOUR

    def test_without_any_default_a_lease_lasts_an_hour(self) -> None:
        assert terms(a_credential(), RULES, None, NOON).ttl == HOUR

    def test_nobody_leases_for_longer_than_a_day_unless_the_tenant_says_so(self) -> None:
        offered = terms(a_credential(), RULES, 25 * HOUR, NOON)
        assert (offered.ttl, offered.capped_by) == (24 * HOUR, Cap.TENANT)

    def test_the_credentials_maximum_caps(self) -> None:
        credential = a_credential(policy=LeasePolicy(max_lease_ttl=HOUR))
        offered = terms(credential, RULES, 2 * HOUR, NOON)
        assert (offered.ttl, offered.expires_at, offered.capped_by) == (HOUR, NOON + HOUR, Cap.CREDENTIAL)

    def test_the_tenants_maximum_caps_even_where_the_credential_allows_more(self) -> None:
        credential = a_credential(policy=LeasePolicy(max_lease_ttl=48 * HOUR))
        offered = terms(credential, tenant(maxLeaseTTL="4h"), 10 * HOUR, NOON)
        assert (offered.ttl, offered.capped_by) == (4 * HOUR, Cap.TENANT)

    def test_the_end_of_validity_caps(self) -> None:
        offered = terms(a_credential(valid_until=NOON + 5 * MINUTE), RULES, None, NOON)
        assert (offered.expires_at, offered.capped_by) == (NOON + 5 * MINUTE, Cap.VALID_UNTIL)

    def test_the_values_own_end_caps(self) -> None:
        offered = terms(a_credential(ends_at=NOON + 5 * MINUTE), RULES, None, NOON)
        assert (offered.expires_at, offered.capped_by) == (NOON + 5 * MINUTE, Cap.VALUE_END)

    def test_a_default_is_capped_too(self) -> None:
        credential = a_credential(policy=LeasePolicy(default_lease_ttl=8 * HOUR))
        assert terms(credential, tenant(maxLeaseTTL="30m"), None, NOON).capped_by is Cap.TENANT

    def test_what_is_exactly_the_maximum_is_not_called_capped(self) -> None:
        assert terms(a_credential(), RULES, 24 * HOUR, NOON).capped_by is None

    @given(
        asked=st.none() | st.integers(1, 10**6),
        own=st.none() | st.integers(1, 10**6),
        of_tenant=st.integers(1, 10**6),
        valid_for=st.none() | st.timedeltas(timedelta(microseconds=1), timedelta(days=30)),
        ends_in=st.none() | st.timedeltas(timedelta(microseconds=1), timedelta(days=30)),
    )
    def test_no_lease_outlives_any_of_its_bounds(
        self, asked: int | None, own: int | None, of_tenant: int, valid_for: timedelta | None, ends_in: timedelta | None
    ) -> None:
        longest = timedelta(seconds=own) if own else None
        credential = a_credential(
            policy=LeasePolicy(max_lease_ttl=longest),
            valid_until=NOON + valid_for if valid_for else None,
            ends_at=NOON + ends_in if ends_in else None,
        )
        rules = tenant(maxLeaseTTL=timedelta(seconds=of_tenant), defaultLeaseTTL=timedelta(seconds=1))
        requested = timedelta(seconds=asked) if asked else None
        offered = terms(credential, rules, requested, NOON)
        lease = granted(credential, offered, None, TOKEN, DEPLOY_AGENT.identity, requested, NOON)
        bounds = [longest, timedelta(seconds=of_tenant), valid_for, ends_in]
        assert lease.expires_at <= lease.max_expires_at == NOON + min(bound for bound in bounds if bound)
        assert NOON < lease.expires_at <= NOON + (requested or timedelta(seconds=1))
        assert (lease.capped_by is None) == (lease.expires_at == NOON + (requested or timedelta(seconds=1)))
        assert Lease.from_document(lease.document()) == lease


class TestRefreshing:
    @given(asked=st.integers(1, 86_400))
    def test_a_holder_is_told_to_come_back_before_the_end(self, asked: int) -> None:
        offered = terms(a_credential(), RULES, timedelta(seconds=asked), NOON)
        lease = granted(a_credential(), offered, None, TOKEN, DEPLOY_AGENT.identity, None, NOON)
        assert NOON < lease.refresh_at < lease.expires_at

    def test_holders_are_not_told_to_come_back_all_at_once(self) -> None:
        assert len({a_lease(a_credential()).refresh_at for _ in range(20)}) > 10


class TestState:
    def test_a_lease_is_active_until_its_end(self) -> None:
        lease = a_lease(a_credential())
        assert state(lease, a_credential(), lease.expires_at - timedelta(microseconds=1)) is LeaseState.ACTIVE

    def test_a_lease_past_its_end_is_expired(self) -> None:
        lease = a_lease(a_credential())
        assert state(lease, a_credential(), lease.expires_at) is LeaseState.EXPIRED

    def test_no_lease_on_a_revoked_version_is_active(self) -> None:
        lease = a_lease(a_credential())
        gone = revoked(a_credential(), OWNER, NOON + MINUTE, None)
        assert state(lease, gone, NOON + MINUTE) is LeaseState.REVOKED

    def test_a_lease_that_was_over_before_the_revocation_stays_expired(self) -> None:
        lease = a_lease(a_credential())
        gone = revoked(a_credential(), OWNER, NOON + 2 * HOUR, None)
        assert state(lease, gone, NOON + 3 * HOUR) is LeaseState.EXPIRED

    def test_no_lease_on_a_deleted_credential_is_active(self) -> None:
        lease = a_lease(a_credential())
        assert state(lease, a_credential(deleted_at=NOON), NOON) is LeaseState.REVOKED
        assert state(lease, None, NOON) is LeaseState.REVOKED

    def test_a_lease_on_a_rotated_version_runs_to_its_end(self) -> None:
        lease = a_lease(a_credential())
        credential = after_rotation(a_credential(), NOON + MINUTE)
        assert state(lease, credential, lease.expires_at - MINUTE) is LeaseState.ACTIVE
        assert state(lease, credential, lease.expires_at) is LeaseState.EXPIRED

    def test_a_suspension_ends_no_lease(self) -> None:
        suspended = a_credential(suspended=Suspension(at=NOON, by=OWNER))
        assert state(a_lease(a_credential()), suspended, NOON) is LeaseState.ACTIVE

    def test_a_lease_that_was_ended_stays_so(self) -> None:
        lease = ended(a_lease(a_credential()), LeaseState.REVOKED, NOON)
        assert state(lease, a_credential(), NOON) is LeaseState.REVOKED


class TestRenewal:
    def test_a_renewal_extends_by_the_default_from_now(self) -> None:
        lease = renewed(a_lease(a_credential()), a_credential(), RULES, None, NOON + 30 * MINUTE)
        assert (lease.expires_at, lease.renewed_at) == (NOON + 90 * MINUTE, NOON + 30 * MINUTE)
        assert lease.capped_by is None

    def test_a_renewal_extends_by_what_was_asked(self) -> None:
        lease = renewed(a_lease(a_credential()), a_credential(), RULES, 5 * HOUR, NOON + 30 * MINUTE)
        assert (lease.expires_at, lease.requested_ttl) == (NOON + 5 * HOUR + 30 * MINUTE, 5 * HOUR)

    def test_a_renewal_in_the_last_moment_counts(self) -> None:
        now = NOON + HOUR - timedelta(microseconds=1)
        assert renewed(a_lease(a_credential()), a_credential(), RULES, None, now).expires_at == now + HOUR

    def test_a_renewal_at_the_end_comes_too_late(self) -> None:
        with pytest.raises(LeaseEnded):
            renewed(a_lease(a_credential()), a_credential(), RULES, None, NOON + HOUR)

    def test_renewals_go_no_further_than_the_maximum_from_the_beginning(self) -> None:
        credential = a_credential(policy=LeasePolicy(max_lease_ttl=90 * MINUTE))
        lease = renewed(a_lease(credential), credential, RULES, None, NOON + 45 * MINUTE)
        assert (lease.expires_at, lease.capped_by) == (NOON + 90 * MINUTE, Cap.LEASE_MAXIMUM)

    def test_a_longer_maximum_of_later_days_does_not_stretch_an_old_lease(self) -> None:
        lease = a_lease(a_credential(policy=LeasePolicy(max_lease_ttl=90 * MINUTE)))
        again = renewed(lease, a_credential(), RULES, 5 * HOUR, NOON + 45 * MINUTE)
        assert again.expires_at == NOON + 90 * MINUTE

    @pytest.mark.parametrize(
        ("changes", "cap"),
        [
            ({"policy": LeasePolicy(max_lease_ttl=80 * MINUTE)}, Cap.CREDENTIAL),
            ({"valid_until": NOON + 80 * MINUTE}, Cap.VALID_UNTIL),
            ({"ends_at": NOON + 80 * MINUTE}, Cap.VALUE_END),
        ],
    )
    def test_a_bound_that_came_later_caps_a_renewal(self, changes: dict[str, object], cap: Cap) -> None:
        lease = renewed(a_lease(a_credential()), a_credential(**changes), RULES, None, NOON + 45 * MINUTE)
        assert (lease.expires_at, lease.capped_by) == (NOON + 80 * MINUTE, cap)

    def test_the_tenants_maximum_of_today_caps_a_renewal(self) -> None:
        rules = tenant(maxLeaseTTL="80m")
        lease = renewed(a_lease(a_credential()), a_credential(), rules, None, NOON + 45 * MINUTE)
        assert (lease.expires_at, lease.capped_by) == (NOON + 80 * MINUTE, Cap.TENANT)

    def test_a_renewal_never_shortens(self) -> None:
        narrowed = a_credential(policy=LeasePolicy(max_lease_ttl=10 * MINUTE))
        lease = renewed(a_lease(a_credential()), narrowed, RULES, timedelta(seconds=1), NOON + 5 * MINUTE)
        assert lease.expires_at == NOON + HOUR

    def test_a_lease_on_a_replaced_version_is_not_renewed(self) -> None:
        with pytest.raises(VersionRotated, match="Lease anew"):
            renewed(a_lease(a_credential()), after_rotation(a_credential(), NOON), RULES, None, NOON)

    def test_a_lease_on_a_revoked_credential_is_not_renewed(self) -> None:
        with pytest.raises(LeaseEnded):
            renewed(a_lease(a_credential()), revoked(a_credential(), OWNER, NOON, None), RULES, None, NOON)

    def test_a_lease_on_a_suspended_credential_is_not_renewed(self) -> None:
        suspended = a_credential(suspended=Suspension(at=NOON, by=OWNER))
        with pytest.raises(CredentialNotUsable):
            renewed(a_lease(a_credential()), suspended, RULES, None, NOON)

    def test_a_lease_on_an_expired_credential_is_not_renewed(self) -> None:
        with pytest.raises(CredentialExpired):
            renewed(a_lease(a_credential()), a_credential(valid_until=NOON), RULES, None, NOON)

    @given(
        asked=st.none() | st.integers(1, 10**6),
        passed=st.timedeltas(timedelta(0), HOUR - timedelta(microseconds=1)),
        longest=st.integers(3600, 10**6),
    )
    def test_a_renewal_is_what_the_formula_says(self, asked: int | None, passed: timedelta, longest: int) -> None:
        credential = a_credential(policy=LeasePolicy(max_lease_ttl=timedelta(seconds=longest)))
        rules, now = tenant(maxLeaseTTL=timedelta(days=20)), NOON + passed
        requested = timedelta(seconds=asked) if asked else None
        first = granted(
            credential, terms(credential, rules, None, NOON), None, TOKEN, DEPLOY_AGENT.identity, None, NOON
        )
        lease = renewed(first, credential, rules, requested, now)
        formula = min(now + (requested or HOUR), NOON + timedelta(seconds=longest))
        assert lease.expires_at == max(formula, first.expires_at)
        assert Lease.from_document(lease.document()) == lease


class TestPlaces:
    def test_all_places_of_a_new_credential_are_free(self) -> None:
        assert sorted(free_places([], [], 3, NOON)) == [0, 1, 2]

    def test_a_place_that_is_taken_is_not_free(self) -> None:
        assert sorted(free_places([Slot(1, NOON + HOUR)], [], 3, NOON)) == [0, 2]

    def test_the_place_of_an_expired_lease_is_free(self) -> None:
        assert sorted(free_places([Slot(1, NOON)], [], 3, NOON)) == [0, 1, 2]

    def test_places_are_offered_in_random_order(self) -> None:
        assert len({tuple(free_places([], [], 5, NOON)) for _ in range(50)}) > 10

    def test_when_all_are_taken_it_says_when_the_first_frees(self) -> None:
        slots = [Slot(0, NOON + HOUR), Slot(1, NOON + 30 * MINUTE)]
        with pytest.raises(LeaseLimitReached, match="Lease limit of 2 reached") as refused:
            free_places(slots, [], 2, NOON)
        assert (refused.value.frees_at, refused.value.retry_after) == (NOON + 30 * MINUTE, 30 * MINUTE)

    def test_leases_above_a_lowered_limit_count(self) -> None:
        with pytest.raises(LeaseLimitReached):
            free_places([Slot(6, NOON + HOUR)], [], 1, NOON)

    def test_after_a_lowered_limit_it_says_when_enough_leases_have_ended(self) -> None:
        slots = [Slot(number, NOON + (number + 1) * HOUR) for number in range(5)]
        with pytest.raises(LeaseLimitReached) as refused:
            free_places(slots, [], 2, NOON)
        assert refused.value.frees_at == NOON + 4 * HOUR

    def test_leases_from_before_the_limit_count(self) -> None:
        assert free_places([], [NOON + HOUR], 2, NOON) == [0]
        with pytest.raises(LeaseLimitReached):
            free_places([], [NOON + HOUR, NOON + HOUR], 2, NOON)

    def test_a_lease_beyond_the_limit_counts_until_no_renewal_of_it_can_be_under_way(self) -> None:
        for slots, uncounted in (([Slot(6, NOON)], []), ([], [NOON])):
            with pytest.raises(LeaseLimitReached) as refused:
                free_places(slots, uncounted, 1, NOON)
            assert refused.value.retry_after > timedelta(0)
            assert free_places(slots, uncounted, 1, NOON + OVERLAP) == [0]

    @given(
        slots=st.dictionaries(st.integers(0, 12), st.timedeltas(-HOUR, HOUR)),
        uncounted=st.lists(st.timedeltas(-HOUR, HOUR), max_size=6),
        limit=st.integers(1, 10),
    )
    def test_even_if_all_offered_places_are_taken_at_once_the_limit_holds(
        self, slots: dict[int, timedelta], uncounted: list[timedelta], limit: int
    ) -> None:
        running = sum(left > timedelta(0) for left in [*slots.values(), *uncounted])
        taken = [Slot(number, NOON + left) for number, left in slots.items()]
        places: list[int] = []
        with suppress(LeaseLimitReached):
            places = free_places(taken, [NOON + left for left in uncounted], limit, NOON)
        assert not places or running + len(places) <= limit
        assert not {slot.number for slot in taken if slot.expires_at > NOON} & set(places)

    @given(
        slots=st.dictionaries(st.integers(0, 12), st.timedeltas(OVERLAP, 3 * HOUR)),
        uncounted=st.lists(st.timedeltas(OVERLAP, 3 * HOUR), max_size=4),
        limit=st.integers(1, 8),
        looks=st.lists(st.timedeltas(timedelta(0), 3 * HOUR), min_size=1, max_size=8),
    )
    def test_workers_that_looked_at_different_times_never_exceed_the_limit_together(
        self, slots: dict[int, timedelta], uncounted: list[timedelta], limit: int, looks: list[timedelta]
    ) -> None:
        """Each worker looks, and all take every place they were offered at the last of these instants."""
        before = [Slot(number, NOON + left) for number, left in slots.items()]
        outside = [NOON + left for left in uncounted]
        taken: set[int] = set()
        for look in looks:
            with suppress(LeaseLimitReached):
                taken |= set(free_places(before, outside, limit, NOON + look))
        last = NOON + max(looks)
        others = {slot.number for slot in before if slot.expires_at > last} - taken
        assert not taken or len(taken) + len(others) + sum(end > last for end in outside) <= limit

    @given(
        slots=st.dictionaries(st.integers(0, 7), st.timedeltas(-HOUR, HOUR), max_size=8),
        limit=st.integers(8, 12),
    )
    def test_no_place_within_the_limit_is_wasted(self, slots: dict[int, timedelta], limit: int) -> None:
        running = {number for number, left in slots.items() if left > timedelta(0)}
        taken = [Slot(number, NOON + left) for number, left in slots.items()]
        if len(running) < limit:
            assert set(free_places(taken, [], limit, NOON)) == set(range(limit)) - running


class TestIds:
    @given(slot=st.none() | st.integers(0, 999))
    def test_an_id_carries_where_its_lease_is(self, slot: int | None) -> None:
        reference = LeaseReference(CREDENTIAL_ID, slot, new_token())
        assert LeaseReference.parse(str(reference)) == reference

    def test_guessing_an_id_means_guessing_128_bits(self) -> None:
        tokens = {new_token() for _ in range(100)}
        assert len(tokens) == 100
        assert all(len(bytes.fromhex(token)) == 16 for token in tokens)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            CREDENTIAL_ID,
            f"{UUID(CREDENTIAL_ID).hex}.n.{TOKEN[1:]}",
            f"{UUID(CREDENTIAL_ID).hex}.n.{TOKEN.upper()}",
            f"{UUID(CREDENTIAL_ID).hex}.-1.{TOKEN}",
            f"{UUID(CREDENTIAL_ID).hex}.n.{TOKEN}\n",
            f"{CREDENTIAL_ID}.n.{TOKEN}",
            f"{UUID(CREDENTIAL_ID).hex}.n.' or '1' eq '1{TOKEN[15:]}",
        ],
    )
    def test_what_cannot_be_an_id_is_not_found(self, text: str) -> None:
        with pytest.raises(NotFound):
            LeaseReference.parse(text)


def test_a_lease_knows_which_version_it_is_on() -> None:
    credential = a_credential(versions=(a_version(1, State.ROTATED), a_version(2)))
    assert a_lease(credential).version == 2


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"valid_from": NOON + HOUR}, CredentialNotUsable),
        ({"suspended": Suspension(at=NOON, by=OWNER)}, CredentialNotUsable),
        ({"valid_until": NOON}, CredentialExpired),
        ({"ends_at": NOON}, CredentialExpired),
        ({"versions": (a_version(1, State.REVOKED, revoked_at=NOON),)}, CredentialRevoked),
    ],
)
def test_what_cannot_be_leased_says_why(changes: dict[str, object], refusal: type[Exception]) -> None:
    assert isinstance(refusal_to_lease(a_credential(**changes), NOON), refusal)
