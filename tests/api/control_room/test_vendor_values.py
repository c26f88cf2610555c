"""Credentials that were made from vendors' configurations, as they look through the Control Room face."""

from __future__ import annotations

from typing import Any

from tests.api.app import Reply
from tests.api.control_room.app import Room, refusal
from tests.outbound import accepts
from tests.vaults import ALICE
from tests.vendors import GOOD, URL, fill, publish

OTHER_GOOD = "nw_live_fedcba9876543210"


async def filled(room: Room) -> Any:
    """Create a credential natively, whose vendor has to confirm each new value; return what this face shows of it."""
    configuration = await publish(room.world, validation={"url": URL, "required": True})
    made = await fill(room.world, configuration, fields={"apiKey": GOOD, "account": "the-shop"})
    return (await room.send("GET", f"/credentials/{made.id}", ALICE)).body


async def change(room: Room, credential: Any, value: str) -> Reply:
    path = f"/credentials/{credential['id']}/attributevalues/apiKey"
    return await room.send("PUT", path, ALICE, {"value": value})


async def test_it_has_the_fields_of_its_configuration_as_attributes(room: Room) -> None:
    shown = await filled(room)
    told = [(one["id"], one["description"], one["masked"], one["passwordFlag"]) for one in shown["attributes"]]
    assert told == [("apiKey", "API key", True, True), ("account", "Account", False, False)]
    assert await room.values(shown["id"]) == {"apiKey": "", "account": "the-shop"}
    assert await room.values(shown["id"], ALICE, "?credentialAttributeId=apiKey") == {"apiKey": GOOD}


async def test_it_keeps_them(room: Room) -> None:
    shown = await filled(room)
    more = shown | {"attributes": [*shown["attributes"], {"name": "more"}]}
    assert refusal(await room.send("PUT", f"/credentials/{shown['id']}", ALICE, more)) == (400, "invalid-input")


async def test_a_value_that_the_vendor_calls_invalid_is_refused(room: Room) -> None:
    shown = await filled(room)
    assert refusal(await change(room, shown, "correct horse battery")) == (400, "value-refused")
    assert await room.values(shown["id"], ALICE, "?credentialAttributeId=apiKey") == {"apiKey": GOOD}


async def test_a_second_one_within_the_minute_is_to_be_repeated_later(room: Room) -> None:
    shown = await filled(room)
    await change(room, shown, "correct horse battery")
    soon = await change(room, shown, OTHER_GOOD)
    assert (refusal(soon), soon.headers["Retry-After"]) == ((503, "too-soon"), "60")
    room.world.clock.pass_by(minutes=1)
    room.world.outbound.answers[URL] = accepts(OTHER_GOOD)
    assert (await change(room, shown, OTHER_GOOD)).status == 200
    assert await room.values(shown["id"], ALICE, "?credentialAttributeId=apiKey") == {"apiKey": OTHER_GOOD}
