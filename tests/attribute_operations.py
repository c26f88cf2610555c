"""Operations on the attributes of credentials and on single values, standard ones and those that consumers give."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from tests.acting import (
    FIRST,
    ONE,
    SECOND,
    Act,
    Operation,
    called,
    create,
    half,
    lease,
    passing,
    post,
    request,
    steps,
    tagged,
    timer,
)
from tests.vaults import ALICE, BOB, DEPLOY_AGENT, TENANTS, World
from vault_core.credential import Credential
from vault_core.credential_requests import RedefineCredential
from vault_core.identities import Caller
from vault_core.vault import Vault

PIN, CODE = "pin-of-one-consumer", "code-of-one-consumer"
ATTRIBUTES = [
    {"name": "user", "masked": False},
    {"name": "password", "passwordFlag": True},
    {"name": "pin", "userProvided": True},
    {"name": "code", "userProvided": True},
]
_OWN = f"{ONE}/own-values"
_EVERYONE = {"allowedIdentities": [{"type": "any"}]}


async def _seen(world: World) -> Credential:
    """The credential as another process sees it, which no plan disturbs."""
    vault = Vault(world.stores, TENANTS, world.clock, world.outbound)
    return (await vault.credentials.read(ALICE, ONE.rpartition("/")[2], world.clock())).credential


def give(caller: Caller, **fields: str) -> Act:
    """Return the giving of the caller's own values."""
    return request(caller, "PUT", _OWN, {"fields": fields})


def write(**fields: str) -> Act:
    """Return the writing of values by Alice, by the attributes' names."""

    async def work(world: World) -> object:
        ids = {one.name: one.id for one in (await _seen(world)).attributes}
        values = {ids[name]: SecretStr(text) for name, text in fields.items()}
        return await world.vault.values.write(ALICE, ONE.rpartition("/")[2], values, None, world.clock())

    return called(work)


def remove(name: str, caller: Caller = ALICE) -> Act:
    """Return the removal of a single value."""

    async def work(world: World) -> None:
        [attribute] = [one for one in (await _seen(world)).attributes if one.name == name]
        await world.vault.values.remove(caller, ONE.rpartition("/")[2], attribute.id, world.clock())

    return called(work)


def redefine(*names: str, **more: Any) -> Act:
    """Return the redefinition to these attributes: those that are there stay as they are, but for what `more` says."""

    async def work(world: World) -> object:
        before = await _seen(world)
        present = {one.name: one for one in before.attributes}
        kept = {"description", "user_provided", "masked", "password_flag"}
        attributes = [
            {"name": name} | ({"id": present[name].id} | present[name].model_dump(include=kept) | more)
            if name in present
            else {"name": name}
            for name in names
        ]
        wanted = RedefineCredential.model_validate(
            {"name": before.name, "description": "redefined", "attributes": attributes}, by_name=True
        )
        return await world.vault.redefinitions.redefine(ALICE, before.id, wanted, None, world.clock())

    return called(work)


READ = request(DEPLOY_AGENT, "GET", ONE)
WITHOUT_VALUES = create(attributes=ATTRIBUTES[:2])
OWN_ONLY = create(attributes=ATTRIBUTES[2:])
FULL = create(attributes=ATTRIBUTES, fields={"user": "db-user", "password": FIRST}, policy=_EVERYONE)
GIVEN = (FULL, give(DEPLOY_AGENT, pin=PIN, code=CODE), give(BOB, pin=f"{PIN}-too", code=CODE))
LEASED = (*GIVEN, lease(), lease(BOB))

_GIVE = Operation("give own values", (FULL,), give(DEPLOY_AGENT, pin=PIN, code=CODE))
_GIVE_OTHERS = Operation("replace own values", LEASED, give(DEPLOY_AGENT, pin=f"new-{PIN}"))
_FORGET = Operation("remove all own values", LEASED, request(DEPLOY_AGENT, "DELETE", _OWN))
_REDEFINE = Operation("lose attributes with values of either kind", LEASED, redefine("password", "code", "note"))
_REVOKE = Operation("revoke what has own values", LEASED, post("revoke"))
_DELETE = Operation("delete what has own values", LEASED, request(ALICE, "DELETE", ONE), ("not-found",))

KEYED = (
    Operation(
        "create with attributes, with a key",
        (create("other"),),
        create(attributes=ATTRIBUTES, fields={"user": "db-user", "password": FIRST}, keyed=True),
    ),
    Operation("create without a value, with a key", (create("other"),), create(attributes=ATTRIBUTES, keyed=True)),
    Operation("lease with own values, with a key", GIVEN, lease(key="lease-1"), unseen=True),
)

REQUESTS = (
    Operation("create without a value, first of the tenant", (), WITHOUT_VALUES, ("name-taken",)),
    Operation("create without a value", (create("other"),), WITHOUT_VALUES, ("name-taken",)),
    Operation(
        "rotate one of several values",
        LEASED,
        request(ALICE, "POST", f"{ONE}/rotate", {"fields": {"password": SECOND}}),
        ("value-refused",),
    ),
    Operation("rename", LEASED, tagged(ALICE, "PATCH", ONE, {"name": "other-name"}), ("not-found",)),
    Operation("lease with own values", GIVEN, lease(), unseen=True, anew=True),
    Operation("lease with own values, warm", GIVEN, steps(READ, lease()), unseen=True, anew=True),
    _GIVE,
    _GIVE_OTHERS,
    Operation("give one more own value", (FULL, give(BOB, pin=PIN)), give(BOB, code=CODE)),
    _FORGET,
    _REVOKE,
    _DELETE,
    Operation("delete what has no value", (WITHOUT_VALUES,), request(ALICE, "DELETE", ONE), ("not-found",)),
    Operation("revoke what has no value", (OWN_ONLY, give(DEPLOY_AGENT, pin=PIN, code=CODE), lease()), post("revoke")),
)

CALLS = (
    Operation("write the first values", (WITHOUT_VALUES,), write(user="db-user", password=FIRST)),
    Operation("write one of several values", LEASED, write(password=SECOND)),
    Operation("write a value of a type's field", (create(), lease()), write(value=SECOND)),
    Operation("write values of either kind", GIVEN, write(password=SECOND, pin=PIN), by_steps=True),
    Operation("remove a value", LEASED, remove("user"), ("not-found",)),
    Operation("remove the last value", (WITHOUT_VALUES, write(user="db-user")), remove("user"), ("not-found",)),
    Operation("remove one own value", GIVEN, remove("pin", DEPLOY_AGENT), ("not-found",)),
    Operation("remove the last own value", (FULL, give(BOB, pin=PIN)), remove("pin", BOB), ("not-found",)),
    Operation("redefine and lose nothing", LEASED, redefine("user", "password", "pin", "code", "note")),
    Operation("redefine a credential with the fields of a type", (create(), lease()), redefine("value")),
    Operation("lose an attribute with a standard value", LEASED, redefine("password", "pin", "code")),
    Operation("lose all standard values", LEASED, redefine("pin", "code")),
    Operation("lose an attribute that consumers gave", LEASED, redefine("user", "password", "code")),
    Operation("lose all that consumers gave", LEASED, redefine("user", "password")),
    Operation("make standard what consumers gave", LEASED, redefine("pin", "code", user_provided=False)),
    _REDEFINE,
)

_ABANDONED = passing(minutes=11)
_RECONCILE = timer("reconcile")

TIMERS = (
    Operation("discard an own value", (half(_GIVE, "vault.commit .*discard-value"), _ABANDONED), _RECONCILE),
    Operation("discard an own value that was written", (half(_GIVE, "secrets.write"), _ABANDONED), _RECONCILE),
    Operation("discard an own value that was replaced", (half(_GIVE_OTHERS, "vault.commit Replace"),), _RECONCILE),
    Operation("discard own values that were removed", (half(_FORGET, "vault.commit Delete"),), _RECONCILE),
    Operation("finish a redefinition", (half(_REDEFINE, "vault.commit .*prune"), passing(minutes=3)), _RECONCILE),
    Operation(
        "finish a redefinition of what was revoked then",
        (half(_REDEFINE, "vault.commit .*prune"), post("revoke"), passing(minutes=3)),
        _RECONCILE,
    ),
    Operation(
        "finish a redefinition of what was deleted then",
        (half(_REDEFINE, "vault.commit .*prune"), request(ALICE, "DELETE", ONE), passing(minutes=3)),
        _RECONCILE,
    ),
    Operation(
        "finish a revocation with own values", (half(_REVOKE, "vault.commit .*revoke"), passing(minutes=3)), _RECONCILE
    ),
    Operation(
        "finish a deletion with own values", (half(_DELETE, "vault.commit .*delete"), passing(minutes=3)), _RECONCILE
    ),
    Operation("purge own values", (*GIVEN, post("revoke"), passing(days=91)), _RECONCILE, by_steps=True),
    Operation(
        "retire a version that held nothing", (WITHOUT_VALUES, write(user="db-user", password=FIRST)), _RECONCILE
    ),
)
