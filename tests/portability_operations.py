"""Imports, and an export, as operations to be stopped and disturbed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.acting import ONE, Act, Operation, create, lease, passing, post, request, tagged
from tests.portable import LOCKER_ID, SETTINGS, credential_item, locker_item, subscription_item
from tests.subscription_operations import WITNESSED
from tests.vaults import ADA, ALICE, BOB
from tests.vendor_operations import FILLED, PUBLISHED


def bring(*items: dict[str, Any]) -> Act:
    """Return the import of these items."""
    return request(ADA, "POST", "/tenant/import", {"format": 1, "items": items})


EXPORT = request(ADA, "GET", "/tenant/export?cursor=WyJjcmVkZW50aWFsIiwgIiJd")
OF_BOB = credential_item(ownerId=BOB.identity.id, lockerId=LOCKER_ID, suspended={"reason": "as before"})
_LOCKER = locker_item(consumers=["finance-bots"])
_CONFIGURED = credential_item(configuration={"id": "{configuration}", "version": 1}, marketplaces=["mp-one"])
_TYPED = credential_item(type="ssh-key", policy={"rotateEvery": "1d"}, validUntil="2026-12-24T12:00:00Z")
_OWN = credential_item(attributes=[{"id": "0123456789abcdef", "name": "user"}], name="other", id=LOCKER_ID)
_SETTINGS = {"kind": "settings", "id": "settings", **SETTINGS}
_BRING_INSIDE = bring(OF_BOB)
_LOCKER_THERE = bring(_LOCKER)
_DELETED = (create(), lease(), post("revoke"), request(ALICE, "DELETE", ONE))

REQUESTS = (
    Operation("import a locker, first of the tenant", (), _LOCKER_THERE),
    Operation("import settings", (create(),), bring(_SETTINGS)),
    Operation("import a credential", (create("another"),), bring(_TYPED)),
    Operation("import what was deleted", (bring(credential_item()), *_DELETED[3:]), bring(credential_item())),
    Operation("import into a locker", (_LOCKER_THERE,), _BRING_INSIDE),
    Operation("import from a configuration", PUBLISHED, bring(_CONFIGURED)),
    Operation("import a subscription", (create(),), bring(subscription_item())),
    Operation("import, and tell a subscriber", WITNESSED, bring(_TYPED)),
    Operation("import what is there, or refused", (create(),), bring(credential_item(), _OWN), by_steps=True),
    Operation(
        "import several",
        (create("another"),),
        bring(_SETTINGS, _LOCKER, OF_BOB, _OWN, subscription_item()),
        by_steps=True,
    ),
    Operation("export", (*FILLED, passing(seconds=1)), EXPORT),
)

MEETING: Mapping[str, Act] = {
    "import the same": bring(OF_BOB),
    "import another": bring(_OWN | {"lockerId": LOCKER_ID, "ownerId": ALICE.identity.id}),
    "take the name": create(),
    "expel the owner": request(ALICE, "DELETE", f"/lockers/office/members/{BOB.identity.id}"),
    "rename the locker": tagged(ALICE, "PUT", "/lockers/office", {"name": "Another team"}),
    "delete the locker": request(ALICE, "DELETE", "/lockers/office"),
}
INSIDE = Operation("import, in a locker", (_LOCKER_THERE,), _BRING_INSIDE)
