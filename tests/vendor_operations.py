"""Operations on vendors' configurations, and on the credentials that are made from them."""

from __future__ import annotations

from typing import Any

from tests.acting import (
    NAME,
    ONE,
    Act,
    Operation,
    half,
    lease,
    passing,
    patient,
    post,
    refused,
    request,
    steps,
    tagged,
    timer,
)
from tests.outbound import Answer, accepts, said
from tests.vaults import ALICE, DEPLOY_AGENT, World
from tests.vendors import ELSEWHERE, FIELDS, GOOD, NORA, URL

GOOD_TOO, BAD = "nw_live_fedcba98", "nw_dead_0123456789abcdef"
_CONFIGURATION = "/configurations/{configuration}"
_KEY = {"Idempotency_Key": "repeat-1"}
_REGION = {"id": "region", "label": "Region", "type": "text", "secret": False}


def says(answer: Answer | None, url: str = URL) -> Act:
    """Return the vendor's resolve to answer so from now on; with None, it cannot be reached."""

    async def act(world: World) -> None:
        world.outbound.answers.pop(url, None)
        if answer:
            world.outbound.answers[url] = answer

    return act


def wanted(**changes: Any) -> dict[str, Any]:
    """Return what Northwind defines: an API key and an account, checked at `URL` once a day."""
    return {
        "name": "Northwind API",
        "audience": ["contoso"],
        "scope": "products",
        "products": ["nw-mail", "nw-chat"],
        "fields": FIELDS,
        "validation": {"url": URL},
    } | changes


def fill(query: str = "", key: str = GOOD, *, keyed: bool = False, name: str = NAME) -> Act:
    """Return the creation of a credential from the configuration; agents called `deploy-*` may lease it."""
    body = {
        "name": name,
        "configuration": {"id": "{configuration}"},
        "fields": {"apiKey": key, "account": "account-of-one"},
        "marketplaces": ["mp-one"],
        "policy": {"allowedIdentities": [{"type": "agent", "name": "deploy-*"}]},
    }
    return request(ALICE, "POST", f"/credentials{query}", body, **(_KEY if keyed else {}))


def rotate(query: str = "", key: str = GOOD_TOO, **headers: str) -> Act:
    """Return the rotation of the API key; the account stays."""
    return patient(request(ALICE, "POST", f"{ONE}/rotate{query}", {"fields": {"apiKey": key}}, **headers))


def edit(**changes: Any) -> Act:
    """Return the edit of the configuration."""
    return tagged(NORA, "PUT", _CONFIGURATION, wanted(**changes))


_ANSWERS = steps(says(accepts(GOOD, GOOD_TOO)), says(accepts(GOOD, GOOD_TOO), ELSEWHERE))
DEFINE = request(NORA, "POST", "/configurations", wanted())
PUBLISH = request(NORA, "POST", f"{_CONFIGURATION}/publish")
DEPRECATE = request(NORA, "POST", f"{_CONFIGURATION}/deprecate")
DELETE_CONFIGURATION = request(NORA, "DELETE", _CONFIGURATION)
ROTATE_SECRET = request(NORA, "POST", f"{_CONFIGURATION}/rotate-secret")
TRY = request(NORA, "POST", f"{_CONFIGURATION}/test", {"fields": {"apiKey": BAD}})
CHECK, _RECONCILE = timer("check_credentials"), timer("reconcile")
VALIDATE = patient(request(ALICE, "POST", f"{ONE}/validate"))
PLACE = tagged(ALICE, "PATCH", ONE, {"environment": "test", "marketplaces": ["mp-two", "mp-three"]})
MOVE_ON = patient(request(ALICE, "POST", f"{ONE}/upgrade", {}))
MOVE_ON_WITH_VALUES = patient(request(ALICE, "POST", f"{ONE}/upgrade", {"fields": {"region": "region-of-one"}}))
_SELECTED = {"product": "nw-mail", "environment": "production", "marketplace": "mp-one"}
SELECT = request(DEPLOY_AGENT, "POST", "/leases", _SELECTED)
_DELETE = request(ALICE, "DELETE", ONE)

DRAFTED = (_ANSWERS, DEFINE)
PUBLISHED = (*DRAFTED, PUBLISH)
FILLED = (*PUBLISHED, fill(), passing(seconds=1))
_LONGER_KEYS = [FIELDS[0] | {"minLength": len(GOOD)}, *FIELDS[1:]]
ELSEWHERE_NOW = (edit(fields=_LONGER_KEYS, validation={"url": ELSEWHERE}), PUBLISH)
_MORE_ASKED = (edit(fields=[*FIELDS, _REGION], validation={"url": ELSEWHERE, "required": True}), PUBLISH)
_CHECKED = (*FILLED, CHECK, passing(days=2))
_OUTAGE, _REJECTION = says(None), says(said({"valid": False, "errors": [{"field": "apiKey", "message": "was ended"}]}))
_MANY_SECRETS = tuple(steps(ROTATE_SECRET, passing(minutes=1)) for _ in range(3))

_CREATE_DRAFT = Operation("create a configuration", (), DEFINE)
_CREATE = Operation("create from a configuration", PUBLISHED, fill(), ("name-taken",))
_REFUSE_DELETE = Operation(
    "delete a configuration in use", FILLED, refused("configuration-in-use", DELETE_CONFIGURATION), by_steps=True
)
_DELETE_UNUSED = Operation(
    "delete a configuration", (*PUBLISHED, *ELSEWHERE_NOW), DELETE_CONFIGURATION, ("not-found",), by_steps=True
)
_REVOKE = Operation("revoke what a vendor checks", (*FILLED, CHECK, lease()), post("revoke"))
_REMOVE = Operation("delete what a vendor checks", (*FILLED, CHECK, lease()), _DELETE, ("not-found",))

KEYED = (
    Operation("create a configuration, with a key", (), request(NORA, "POST", "/configurations", wanted(), **_KEY)),
    Operation("publish, with a key", DRAFTED, request(NORA, "POST", f"{_CONFIGURATION}/publish", **_KEY)),
    Operation(
        "rotate a configuration's secret, with a key",
        PUBLISHED,
        request(NORA, "POST", f"{_CONFIGURATION}/rotate-secret", **_KEY),
    ),
    Operation("create from a configuration with proof, with a key", PUBLISHED, fill("?validate=true", keyed=True)),
    Operation("rotate with proof, with a key", FILLED, rotate("?validate=true", **_KEY)),
)

REQUESTS = (
    _CREATE_DRAFT,
    Operation("edit a draft", DRAFTED, edit(description="of Northwind")),
    Operation("edit what is published", FILLED, edit(validation={"url": ELSEWHERE})),
    Operation("publish", DRAFTED, PUBLISH, ("configuration-not-usable",)),
    Operation(
        "publish to fewer",
        (
            _ANSWERS,
            request(NORA, "POST", "/configurations", wanted(audience=["contoso", "fabrikam"])),
            PUBLISH,
            fill(),
            edit(audience=["contoso"], validation={"url": ELSEWHERE}),
        ),
        PUBLISH,
        ("configuration-not-usable",),
    ),
    Operation("deprecate", FILLED, DEPRECATE),
    Operation("rotate a configuration's secret", PUBLISHED, ROTATE_SECRET),
    Operation("rotate the last of many secrets", (*PUBLISHED, *_MANY_SECRETS), ROTATE_SECRET),
    _DELETE_UNUSED,
    Operation("delete a draft", DRAFTED, DELETE_CONFIGURATION, ("not-found",), by_steps=True),
    _REFUSE_DELETE,
    Operation(
        "delete a configuration that a credential was to live on",
        (half(_CREATE, "catalog.commit Put vendor"), passing(minutes=11)),
        DELETE_CONFIGURATION,
        ("not-found",),
        by_steps=True,
    ),
    Operation("try an endpoint", DRAFTED, TRY),
    _CREATE,
    Operation("create with proof", PUBLISHED, fill("?validate=true"), ("name-taken",)),
    Operation("create what is refused", PUBLISHED, refused("value-refused", fill("?validate=true", BAD))),
    Operation("create during an outage", (*PUBLISHED, _OUTAGE), fill("?validate=true"), ("name-taken",)),
    Operation("rotate with proof", (*FILLED, CHECK, lease()), rotate("?validate=true"), ("value-refused",)),
    Operation("rotate to what is refused", FILLED, refused("value-refused", rotate("?validate=true", BAD))),
    Operation("place elsewhere", FILLED, PLACE),
    Operation("move on", (*FILLED, CHECK, *ELSEWHERE_NOW), MOVE_ON),
    Operation("move on with values", (*FILLED, lease(), *_MORE_ASKED), MOVE_ON_WITH_VALUES),
    Operation("validate", FILLED, VALIDATE),
    Operation("validate what works no more", (*_CHECKED, _REJECTION), VALIDATE),
    Operation("validate during an outage", (*_CHECKED, _OUTAGE), VALIDATE),
    _REVOKE,
    _REMOVE,
    Operation("lease what is selected", FILLED, SELECT, unseen=True, anew=True),
)

_ABANDONED, _LATER = passing(minutes=11), passing(minutes=3)

TIMERS = (
    Operation("check a new value", FILLED, CHECK),
    Operation("find that a value works no more", (*_CHECKED, _REJECTION), CHECK),
    Operation("check during an outage", (*_CHECKED, _OUTAGE), CHECK),
    Operation(
        "check several",
        (*FILLED, fill(name="other"), *ELSEWHERE_NOW, MOVE_ON, passing(seconds=1)),
        CHECK,
        by_steps=True,
    ),
    Operation("discard a signing secret", (half(_CREATE_DRAFT, "secrets.write"), _ABANDONED), _RECONCILE),
    Operation("discard a replaced secret", (*PUBLISHED, *_MANY_SECRETS, ROTATE_SECRET), _RECONCILE),
    Operation(
        "finish the deletion of a configuration",
        (half(_DELETE_UNUSED, "vault.commit .*remove"), _LATER),
        _RECONCILE,
        by_steps=True,
    ),
    Operation(
        "take back the deletion of a configuration", (half(_REFUSE_DELETE, "vault.commit .*remove"), _LATER), _RECONCILE
    ),
    Operation("finish the revocation of what is checked", (half(_REVOKE, "vault.commit .*revoke"), _LATER), _RECONCILE),
    Operation("finish the deletion of what is checked", (half(_REMOVE, "vault.commit .*delete"), _LATER), _RECONCILE),
)
