"""What a newcomer does first: the demo, and a local cloud of one's own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.end_to_end.running_stack import Stack, command, free_ports, run, token, up

pytestmark = pytest.mark.slow

# The story's values, of which what is displayed ends after the prefix, and the secrets that sign.
VALUE = re.compile(r"(sk_live_|pw-|pin-|nw_live_|nw_test_)[0-9a-f]{4,}|whsec_")
TOKEN = re.compile(r"eyJ[\w-]+\.")


async def ask(stack: Stack, who: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {await token(stack.state, who)}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, f"{stack.url}/api/v1{path}", json=body) as answer,
    ):
        return answer.status, await answer.json()


async def test_the_demo_tells_the_story_to_its_end_and_shows_no_value(tmp_path: Path) -> None:
    ports = free_ports()
    for _ in range(2):  # the second time on the state of the first
        status, output, errors = await run(command(tmp_path, "demo", *ports))
        assert (status, errors) == (0, "")
        assert "7. The audit shows who did what" in output
        assert "9. A bot whose token has the role gives a value of its own, and leases both" in output
        assert "an endpoint that says yes to everything is not published" in output
        assert "the event arrived at Ada's receiver, with a signature that verifies" in output
        assert "15. What credentials live on, its vendor cannot take away" in output
        assert "••••" in output
        assert not VALUE.search(output)
        assert not TOKEN.search(output)
        assert not any(secret in output for secret in json.loads((tmp_path / "clients.json").read_text()).values())


async def test_what_is_stored_survives_a_restart(tmp_path: Path) -> None:
    secret = {"name": "db-password", "type": "generic-secret", "value": "correct horse"}
    ports = free_ports()
    async with up(tmp_path, ports) as stack:
        status, created = await ask(stack, "alice", "POST", "/credentials", secret)
        assert status == 201
        _, lease = await ask(stack, "alice", "POST", "/leases", {"credential": "db-password"})
    async with up(tmp_path, ports) as stack:
        assert await ask(stack, "alice", "GET", f"/credentials/{created['id']}") == (200, created)
        _, seen = await ask(stack, "alice", "GET", f"/leases/{lease['id']}")
        assert (seen["state"], seen["expiresAt"]) == ("active", lease["expiresAt"])
        status, again = await ask(stack, "alice", "POST", "/leases", {"credential": "db-password"})
        assert (status, again["value"]) == (201, "correct horse")
        assert (await ask(stack, "mallory", "GET", "/credentials/db-password"))[0] == 404


async def test_the_demo_uses_a_local_cloud_that_runs(tmp_path: Path) -> None:
    async with up(tmp_path, free_ports()) as stack:
        status, output, _ = await run(command(tmp_path, "demo"))
        assert status == 0
        assert f"Using the local cloud that runs at {stack.url}" in output


async def test_a_second_local_cloud_on_the_same_state_is_refused_in_one_sentence(tmp_path: Path) -> None:
    async with up(tmp_path, free_ports()):
        status, output, errors = await run(command(tmp_path, "up", *free_ports()))
        assert status == 1
        assert "Traceback" not in output + errors
        assert errors.strip()


async def test_a_token_is_refused_in_one_sentence_when_nothing_runs_or_nobody_has_the_name(tmp_path: Path) -> None:
    status, _, errors = await run(command(tmp_path, "token", "alice"))
    assert (status, errors) == (1, "No local cloud is running here. Start it in another terminal: make run\n")
    async with up(tmp_path, free_ports()):
        status, _, errors = await run(command(tmp_path, "token", "nobody"))
        assert status == 1
        assert errors.startswith("Unknown name. Known are: alice")
