"""Handlers of credentials."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from vault_core.api.credential_views import (
    CheckedView,
    CheckList,
    CompromiseReport,
    CredentialList,
    HolderView,
    OwnValuesView,
    check_view,
    credential_view,
    current_status,
    validation_view,
    version_list,
)
from vault_core.api.repeated import once
from vault_core.api.routing import Answer, Call
from vault_core.credential_listing import CredentialQuery
from vault_core.credential_requests import (
    CreateCredential,
    RotateCredential,
    SetOwnValues,
    UpdateCredential,
    UpgradeCredential,
    ValidateQuery,
    WithReason,
)
from vault_core.credentials import Shown
from vault_core.errors import FieldError, InvalidInput
from vault_core.identities import can_be_proved
from vault_core.resolution import Selector
from vault_core.vault import Vault


async def create_credential(vault: Vault, call: Call[CreateCredential, ValidateQuery]) -> Answer:
    """Create a credential; the caller becomes its owner."""
    shown = await vault.creations.create(
        call.caller, call.body, once(call, "create"), call.now, validate=call.query.validate_
    )
    location = {"Location": f"/api/v1/credentials/{shown.credential.id}"}
    return Answer(201, credential_view(shown, call.now), location, _etag(shown, call))


async def list_credentials(vault: Vault, call: Call[None, CredentialQuery]) -> Answer:
    """List the credentials that the caller may see."""
    page = await vault.listing.page(call.caller, call.query, call.now)
    items = tuple(credential_view(shown, call.now) for shown in page.shown)
    return Answer(200, CredentialList(items=items, next=page.next))


async def read_credential(vault: Vault, call: Call) -> Answer:
    """Read a credential by its id or name; never its value."""
    return shown_credential(await vault.credentials.read(call.caller, call.path["credential"], call.now), call)


async def update_credential(vault: Vault, call: Call[UpdateCredential]) -> Answer:
    """Change a credential with a JSON merge patch."""
    reference = call.path["credential"]
    return shown_credential(
        await vault.credentials.update(call.caller, reference, call.body, call.if_match, call.now), call
    )


async def rotate_credential(vault: Vault, call: Call[RotateCredential, ValidateQuery]) -> Answer:
    """Replace the value; leases on the old one run to their end."""
    reference = call.path["credential"]
    shown = await vault.credentials.rotate(
        call.caller,
        reference,
        call.body,
        call.if_match,
        once(call, f"rotate {reference}"),
        call.now,
        validate=call.query.validate_,
    )
    return shown_credential(shown, call)


async def revoke_credential(vault: Vault, call: Call[WithReason]) -> Answer:
    """Revoke a credential for good: all its leases end at once."""
    reference = call.path["credential"]
    repeat = once(call, f"revoke {reference}")
    return shown_credential(
        await vault.credentials.revoke(call.caller, reference, call.body.reason, repeat, call.now), call
    )


async def suspend_credential(vault: Vault, call: Call[WithReason]) -> Answer:
    """Stop new leases and renewals until the credential is resumed."""
    reference = call.path["credential"]
    repeat = once(call, f"suspend {reference}")
    return shown_credential(
        await vault.credentials.suspend(call.caller, reference, call.body.reason, repeat, call.now), call
    )


async def report_compromised(vault: Vault, call: Call[WithReason]) -> Answer:
    """Report that others may know the value: freeze the credential, end its leases, tell who was given it."""
    reference = call.path["credential"]
    repeat = once(call, f"compromised {reference}")
    shown, disclosure = await vault.compromises.report(call.caller, reference, call.body.reason, repeat, call.now)
    view = CompromiseReport(
        credential=credential_view(shown, call.now),
        holders=tuple(HolderView(**asdict(holder)) for holder in disclosure.holders),
        complete_since=disclosure.complete_since,
    )
    return Answer(200, view, etag=_etag(shown, call))


async def resume_credential(vault: Vault, call: Call[WithReason]) -> Answer:
    """Let a suspended credential be leased again."""
    reference = call.path["credential"]
    repeat = once(call, f"resume {reference}")
    return shown_credential(
        await vault.credentials.resume(call.caller, reference, call.body.reason, repeat, call.now), call
    )


async def delete_credential(vault: Vault, call: Call) -> Answer:
    """Delete a credential with its values; its name becomes free."""
    await vault.credentials.delete(call.caller, call.path["credential"], call.if_match, call.now)
    return Answer(204)


async def transfer_credential(vault: Vault, call: Call) -> Answer:
    """Make another identity of the tenant the owner of a credential."""
    owner = identity_id_in_path(call, "owner")
    shown = await vault.credentials.transfer(call.caller, call.path["credential"], owner, call.now)
    return shown_credential(shown, call)


async def set_own_values(vault: Vault, call: Call[SetOwnValues]) -> Answer:
    """Give the caller's own values of a credential's user-provided attributes."""
    given = await vault.values.set_own(call.caller, call.path["credential"], call.body.fields_, call.now)
    return Answer(200, OwnValuesView(given=tuple(one.attribute.name for one in given)))


async def remove_own_values(vault: Vault, call: Call) -> Answer:
    """Remove the caller's own values of a credential."""
    await vault.values.forget_own(call.caller, call.path["credential"], call.now)
    return Answer(204)


async def upgrade_credential(vault: Vault, call: Call[UpgradeCredential]) -> Answer:
    """Move a credential on to a newer version of the configuration that it was made from."""
    reference = call.path["credential"]
    return shown_credential(
        await vault.upgrades.upgrade(call.caller, reference, call.body, call.if_match, call.now), call
    )


async def validate_credential(vault: Vault, call: Call) -> Answer:
    """Check now whether the value of a credential works."""
    checked = await vault.validations.validate(call.caller, call.path["credential"], call.now)
    known = validation_view(checked.shown.credential.validation)
    return Answer(200, CheckedView(check=check_view(checked.check), validation=known))


async def list_validations(vault: Vault, call: Call) -> Answer:
    """List the last checks of a credential."""
    checks = await vault.validations.history(call.caller, call.path["credential"], call.now)
    return Answer(200, CheckList(items=tuple(map(check_view, checks))))


async def resolve_credential(vault: Vault, call: Call[None, Selector]) -> Answer:
    """Find the credential to use for a product, in an environment, for a marketplace."""
    return shown_credential(await vault.resolution.read(call.caller, call.query, call.now), call)


async def list_versions(vault: Vault, call: Call) -> Answer:
    """List the versions of a credential with their active leases."""
    shown = await vault.credentials.read(call.caller, call.path["credential"], call.now)
    outstanding = await vault.leases.outstanding(call.caller.tenant, shown.credential.id, call.now)
    return Answer(200, version_list(shown.credential, outstanding))


def identity_id_in_path(call: Call[Any, Any], name: str) -> str:
    """Return the identity's id that the path names here; `InvalidInput` for what can be none."""
    given = call.path[name]
    if not can_be_proved(given):
        raise InvalidInput("Name an identity by its id.", (FieldError(name, "is not an identity's id"),))
    return given


def shown_credential(shown: Shown, call: Call[Any, Any]) -> Answer:
    """Return the answer that shows the credential."""
    return Answer(200, credential_view(shown, call.now), etag=_etag(shown, call))


def _etag(shown: Shown, call: Call[Any, Any]) -> str:
    status, known = current_status(shown, call.now), shown.credential.validation
    return shown.credential.tag(f"{status.value}-{int(known.checked_at.timestamp() * 1000)}-{shown.rules.revision}")
