"""Each kind of object of the vault through which a value passes, or that stands beside it."""

from __future__ import annotations

import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from tests.acting import FIRST
from tests.outbound import said
from tests.subscribers import subscribe
from tests.vaults import ALICE, NOON, World
from tests.vendors import NORA, URL, definition, fill, publish, validate
from vault_core import configurations, subscriptions
from vault_core.api.configurations import TryConfiguration
from vault_core.api.configurations import _issued as configuration_issued
from vault_core.api.control_room.attribute_values import ChangedValue, NewValues, ValueRows, ValueView
from vault_core.api.control_room.login import LoginRequest
from vault_core.api.leases import CreateLease, create_lease
from vault_core.api.routing import AnonymousCall, Call
from vault_core.api.subscriptions import _issued as subscription_issued
from vault_core.configuration_fields import accept
from vault_core.credential_requests import CreateCredential, RotateCredential, SetOwnValues, UpgradeCredential
from vault_core.credential_types import TYPES, Accepted
from vault_core.echoes import Echoes
from vault_core.new_values import NewValue
from vault_core.outbound import Reply
from vault_core.repeats import Once
from vault_core.signing_secrets import fields_of
from vault_core.transport import decrypted, encrypted
from vault_core.vendor_answers import WITHHELD, Rules, outcome
from vault_core.vendor_calls import Question


async def everything_that_holds_a_value() -> list[object]:
    """Each kind of object of the vault through which a value passes, or that stands beside it."""
    world = World()
    body = {"name": "db-password", "type": "generic-secret", "value": FIRST, "metadata": {"team": "web"}}
    content = json.dumps(body).encode()
    create = CreateCredential.model_validate(body)
    rotate = RotateCredential.model_validate({"fields": {"value": FIRST}})
    shown = await world.vault.creations.create(ALICE, create, None, NOON)
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
        *await _everything_that_holds_a_part(),
        *await _everything_about_vendors(),
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


async def _everything_that_holds_a_part() -> list[object]:
    """The same for values of attributes: everybody's, and the consumer's own."""
    world = World()
    attributes = [{"name": "host", "masked": False}, {"name": "pin", "userProvided": True}]
    credential = await world.create(attributes=attributes, fields={"host": FIRST})
    own = SetOwnValues.model_validate({"fields": {"pin": FIRST}})
    given = await world.vault.values.set_own(ALICE, credential.id, own.fields_, NOON)
    read = await world.vault.values.read_one(ALICE, credential.id, credential.user_provided[0].id, NOON)
    whole = await world.vault.values.read_all(ALICE, credential.id, NOON)
    assert [one.value and one.value.get_secret_value() for one in (*read, *whole)] == [FIRST, FIRST, None]
    view = ValueView(
        id="1",
        credential_attribute_id="1",
        value=SecretStr(FIRST),
        password=True,
        created_by="id-alice",
        created_on=NOON,
        updated_by="id-alice",
        updated_on=NOON,
        version="0",
    )
    box = encrypted(SecretStr(FIRST), (key := rsa.generate_private_key(65537, 2048)).public_key())
    rows = {"list": [{"credentialAttributeId": "1", "value": FIRST}]}
    return [
        own,
        *given,
        *read,
        *whole,
        await world.lease(ALICE),
        view,
        ValueRows(list=(view,)),
        NewValues.model_validate(rows),
        ChangedValue.model_validate({"value": FIRST}),
        LoginRequest.model_validate({"username": "alice", "password": FIRST}),
        decrypted(box, key),
    ]


async def _everything_about_vendors() -> list[object]:
    """The same for values that a vendor is asked about, for its answers, and for secrets that sign."""
    world = World()
    world.outbound.answers[URL] = said({"valid": False, "errors": [{"field": "apiKey", "message": f"not {FIRST}"}]})
    configuration = await publish(world)
    credential = await fill(world, configuration, fields={"apiKey": FIRST})
    checked = await validate(world)
    pinned = credential.configuration
    assert pinned
    assert checked.check.field_errors[0].message == WITHHELD
    fields, secret = {"apiKey": FIRST}, SecretStr(FIRST)
    body = CreateCredential.model_validate({"name": "n", "configuration": {"id": configuration.id}, "fields": fields})
    question = Question("check_1", 1, credential.id, credential.name, "test", (), {"apiKey": secret})
    [asked] = [call for call in world.outbound.calls_to(URL) if FIRST in call.values.values()]
    subscribed = (await subscribe(world)).subscription
    found = outcome(Reply(200, asked.body), Rules(frozenset(), frozenset()), {"apiKey": secret}, ["apiKey"])
    accepted = accept(definition().fields_, {"apiKey": secret})
    return [
        body,
        UpgradeCredential.model_validate({"fields": fields}),
        TryConfiguration.model_validate({"fields": fields}),
        credential,
        checked,
        checked.check,
        checked.shown,
        question,
        accepted,
        NewValue(Accepted(accepted, {}), frozenset(accepted), "", None),
        Reply(200, asked.body),
        found,
        Echoes([secret]),
        configurations.Issued(configuration, secret),
        subscriptions.Issued(subscribed, secret),
        configuration_issued(configurations.Issued(configuration, secret), NORA),
        subscription_issued(subscriptions.Issued(subscribed, secret)),
        fields_of(secret),
    ]
