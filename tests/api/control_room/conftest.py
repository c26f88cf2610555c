"""What most tests of this face begin with."""

from __future__ import annotations

import pytest

from tests.api.control_room.app import Office, Room


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
async def office() -> Office:
    return await Office.furnished()
