"""Records made by hand, for tests of the pure rules."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.vaults import DEPLOY_AGENT, NOON
from vault_core.attributes import marked, of_type
from vault_core.credential import Credential, State, Version
from vault_core.identities import Identity
from vault_core.lease import Lease, granted, terms
from vault_core.tenants import TenantRules
from vault_core.validation import Validation

OWNER = Identity(kind="human", id="id-alice", email="alice@contoso.example")
CREDENTIAL_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
TOKEN = "0123456789abcdef0123456789abcdef"


def a_version(number: int = 1, state: State = State.ACTIVE, **changes: Any) -> Version:
    """A version, created at noon."""
    made = Version(
        number=number,
        state=state,
        secret=f"memory/t0-{number}",
        fingerprint=f"print-{number}",
        created_at=NOON,
        created_by=OWNER,
    )
    return made.but(**changes)


def a_credential(**changes: Any) -> Credential:
    """An active credential of Alice with one version, created at noon."""
    made = Credential(
        id=CREDENTIAL_ID,
        name="db-password",
        type="generic-secret",
        owner_id=OWNER.id,
        versions=(a_version(),),
        attributes=marked(of_type("generic-secret", OWNER.id, NOON), ["value"], (), OWNER.id, NOON),
        validation=Validation(status="valid", checked_at=NOON, verdict_at=NOON, reason="accepted"),
        created_at=NOON,
        created_by=OWNER,
        updated_at=NOON,
        updated_by=OWNER,
    )
    return made.but(**changes)


def a_lease(credential: Credential, now: datetime = NOON, slot: int | None = None, **changes: Any) -> Lease:
    """A lease on the credential, granted at `now` to the deploy agent."""
    rules = TenantRules()
    made = granted(credential, terms(credential, rules, None, now), slot, TOKEN, DEPLOY_AGENT.identity, None, now)
    return made.but(**changes)
