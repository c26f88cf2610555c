"""What a request makes of a credential, as pure functions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from vault_core import attributes as attribute_rules
from vault_core.attributes import Attribute, marked
from vault_core.credential import Credential, PinnedConfiguration, State, Version, changed, first_verdict
from vault_core.credential_requests import MAX_METADATA, DescribedCredential, RedefineCredential, UpdateCredential
from vault_core.errors import FieldError, InvalidInput
from vault_core.identities import Identity
from vault_core.new_values import NewValue
from vault_core.policies import LeasePolicy
from vault_core.tenants import TenantRules, check_ttls, uncounted_until

MAX_RECORD = 100_000  # characters of JSON; a row holds several times that once it is sealed
_DEFAULTS = {"description": "", "environment": "production", "marketplaces": ()}


def created(
    credential_id: str,
    wanted: DescribedCredential,
    type_name: str,
    pinned: PinnedConfiguration | None,
    attributes: tuple[Attribute, ...],
    new: NewValue,
    by: Identity,
    now: datetime,
) -> Credential:
    """Return the credential that the request asks for; `InvalidInput` when its parts contradict each other."""
    first = Version(
        number=1 if new.secret else 0,
        state=State.ACTIVE,
        secret=new.secret,
        fingerprint=new.fingerprint,
        created_at=now,
        created_by=by,
    )
    credential = Credential(
        id=credential_id,
        name=wanted.name,
        type=type_name,
        configuration=pinned,
        description=wanted.description,
        metadata=wanted.metadata,
        policy=wanted.policy,
        owner_id=by.id,
        environment=wanted.environment,
        marketplaces=wanted.marketplaces,
        valid_from=wanted.valid_from,
        valid_until=wanted.valid_until,
        versions=(first,),
        attributes=marked(attributes, new.accepted.fields, (), by.id, now),
        details=dict(new.accepted.details),
        ends_at=new.accepted.ends_at,
        validation=first_verdict(pinned, new.secret, now),
        created_at=now,
        created_by=by,
        updated_at=now,
        updated_by=by,
    )
    _check(credential)
    return credential


def updated(
    credential: Credential, patch: UpdateCredential, rules: TenantRules, by: Identity, now: datetime
) -> Credential:
    """Return the credential after the merge patch; `InvalidInput` when its parts then contradict each other."""
    changes: dict[str, Any] = {name: getattr(patch, name) for name in patch.model_fields_set}
    for name, default in _DEFAULTS.items():
        if name in changes and changes[name] is None:
            changes[name] = default
    if "metadata" in changes:
        changes["metadata"] = _merged(credential.metadata, patch.metadata)
    if "policy" in changes:
        changes["policy"] = _merged_policy(credential.policy, patch.policy)
    if patch.model_fields_set & {"name", "description"}:
        changes["edition"] = credential.edition + 1
    after = changed(credential, by, now, **changes)
    _check(after)
    return _with_uncounted(credential, after, rules, now)


def redefined(credential: Credential, wanted: RedefineCredential, by: Identity, now: datetime) -> Credential:
    """Return the credential with another name, description and attributes.

    Raises `InvalidInput` when the attributes are those of a type, which are fixed, and are to change.
    """
    attributes = credential.attributes
    if wanted.attributes is not None:
        attributes = attribute_rules.redefined(attributes, wanted.attributes, by.id, now)
    if attributes != credential.attributes and not credential.has_own_attributes:
        fixed_by = "its configuration" if credential.configuration else f"the type {credential.type}"
        fault = FieldError("attributes", f"are the fields of {fixed_by}")
        raise InvalidInput("The attributes of this credential cannot change; send them as they are.", (fault,))
    after = changed(
        credential,
        by,
        now,
        name=wanted.name,
        description=credential.description if wanted.description is None else wanted.description,
        attributes=attributes,
        edition=credential.edition + 1,
    )
    _check(after)
    return after


def upgraded(
    credential: Credential, pinned: PinnedConfiguration, attributes: tuple[Attribute, ...], by: Identity, now: datetime
) -> Credential:
    """Return the credential pinned to another version of its configuration; its vendor is asked anew soon."""
    validation = credential.validation.but(next_check_at=now if pinned.check_every else None)
    after = changed(
        credential,
        by,
        now,
        configuration=pinned,
        attributes=attributes,
        edition=credential.edition + 1,
        validation=validation,
    )
    _check(after)
    return after


def _merged(metadata: dict[str, str], patch: dict[str, str | None] | None) -> dict[str, str]:
    merged = {**metadata, **patch} if patch is not None else {}
    return {key: value for key, value in merged.items() if value is not None}


def _merged_policy(policy: LeasePolicy, patch: LeasePolicy | None) -> LeasePolicy:
    if patch is None:
        return LeasePolicy()
    return policy.model_copy(update={name: getattr(patch, name) for name in patch.model_fields_set})


def _with_uncounted(before: Credential, after: Credential, rules: TenantRules, now: datetime) -> Credential:
    """Note until when leases may run that were granted without a place, when the rules change that bound them."""
    until = uncounted_until(rules.policy_of(before.policy), before.uncounted_until, now)
    return after if before.policy == after.policy else after.but(uncounted_until=until)


def _check(credential: Credential) -> None:
    check_ttls(credential.policy, "policy")
    starts, ends = credential.valid_from, credential.valid_until
    if starts and ends and ends <= starts:
        fault = FieldError("validUntil", "must be after validFrom")
        raise InvalidInput("The credential would never be valid; give a later validUntil.", (fault,))
    if len(credential.model_dump_json(exclude={"versions"})) > MAX_RECORD:
        fault = FieldError("metadata", "is too large, together with the policy and the attributes")
        raise InvalidInput(f"The credential would take over {MAX_RECORD} characters; shorten its metadata.", (fault,))
    if len(credential.metadata) > MAX_METADATA:
        fault = FieldError("metadata", f"may hold {MAX_METADATA} keys")
        raise InvalidInput("The credential would have too much metadata; remove some keys.", (fault,))
