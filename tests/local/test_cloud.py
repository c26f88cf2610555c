"""The whole local cloud: as a process that is started, interrupted and killed, and what it keeps."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, fields
from pathlib import Path

import aiohttp
import jwt
import pytest

from local.cloud import PROJECT, LocalCloud, local_cloud
from local.identity import AUDIENCE
from local.ports import Ports, PortTaken
from local.state import StateInUse, exclusive
from tests.local.test_functions_host import APP, write_app

pytestmark = pytest.mark.slow

ANY_PORTS = ("functions", "identity", "vendor", "key-vault", "tables")


def command(state: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "local", "--state", str(state), *arguments]


async def output_of(*arguments: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *arguments, cwd=PROJECT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def up(tmp_path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m local up` with the sample app, once it says that it is up."""
    app = tmp_path / "app"
    app.mkdir()
    write_app(app, APP.replace("%TIDY%", "0 0 0 1 1 *"))
    ports = [argument for part in ANY_PORTS for argument in (f"--port-{part}", "0")]
    process = await asyncio.create_subprocess_exec(
        *command(tmp_path / "state", "up", "--app", str(app), *ports),
        cwd=PROJECT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        # As in a terminal: whoever runs the tests in the background has interrupts ignored, and would pass that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            while b"Known are" not in (line := await process.stdout.readline()):
                assert line, "it ended before it was up"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def until_gone(pids: list[int]) -> None:
    async with asyncio.timeout(15):
        # Nothing tells of the end of another process's child.
        while any(is_alive(pid) for pid in pids):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupt_to_the_cloud_alone_ends_all_that_it_started(tmp_path: Path, number: signal.Signals) -> None:
    async with up(tmp_path) as process:
        children = children_of(process.pid)
        assert len(children) == 2
        os.kill(process.pid, number)
        async with asyncio.timeout(20):
            await process.wait()
        await until_gone(children)
    assert not (tmp_path / "state" / "running.json").exists()


@linux_only
async def test_a_child_that_ends_by_itself_ends_the_cloud_and_is_named(tmp_path: Path) -> None:
    async with up(tmp_path) as process:
        azurite, host = children_of(process.pid)
        os.kill(host, signal.SIGKILL)
        async with asyncio.timeout(20):
            _, err = await process.communicate()
        assert process.returncode == 1
        assert "The functions host ended by itself." in err.decode()
        await until_gone([azurite])


@linux_only
async def test_children_do_not_outlive_a_cloud_that_is_killed(tmp_path: Path) -> None:
    async with up(tmp_path) as process:
        children = children_of(process.pid)
        process.kill()
        await process.wait()
        await until_gone(children)


async def test_a_token_is_printed_for_curl_and_the_app_is_served(tmp_path: Path) -> None:
    async with up(tmp_path):
        status, out, _ = await output_of(*command(tmp_path / "state", "token", "alice"))
        claims = jwt.decode(out.strip(), options={"verify_signature": False})
        assert (status, claims["email"]) == (0, "alice@contoso.example")
        functions = json.loads((tmp_path / "state" / "running.json").read_text())["functions"]
        async with aiohttp.ClientSession() as session, session.get(f"{functions}/echo/literal") as answer:
            assert await answer.text() == "the literal"


async def test_a_secret_is_printed_that_the_identity_provider_takes(tmp_path: Path) -> None:
    async with up(tmp_path):
        state = tmp_path / "state"
        status, out, err = await output_of(*command(state, "secret", "carol"))
        assert (status, err) == (0, "")
        identity = json.loads((state / "running.json").read_text())["identity"]
        form = {"grant_type": "client_credentials", "client_id": "carol", "client_secret": out.strip()}
        url = f"{identity}/contoso/oauth2/v2.0/token"
        async with aiohttp.ClientSession() as session, session.post(url, data=form) as answer:
            assert answer.status == 200
        status, out, err = await output_of(*command(state, "secret", "nobody"))
        assert (status, out) == (1, "")
        assert err.startswith("Unknown name. Known are: alice")


async def test_a_secret_of_a_cloud_that_does_not_run_says_how_to_start_it(tmp_path: Path) -> None:
    status, out, err = await output_of(*command(tmp_path, "secret", "alice"))
    assert (status, out) == (1, "")
    assert err == "No local cloud is running here. Start it in another terminal: make run\n"


async def test_a_token_of_a_cloud_that_does_not_run_says_how_to_start_it(tmp_path: Path) -> None:
    status, out, err = await output_of(*command(tmp_path, "token", "alice"))
    assert (status, out) == (1, "")
    assert err == "No local cloud is running here. Start it in another terminal: make run\n"


async def test_a_cloud_that_was_killed_does_not_count_as_running(tmp_path: Path) -> None:
    async with up(tmp_path) as process:
        process.kill()
        await process.wait()
    status, _, err = await output_of(*command(tmp_path / "state", "token", "alice"))
    assert (status, err[:24]) == (1, "No local cloud is runnin")


async def test_a_taken_port_is_named_with_the_option_that_changes_it(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        others = [argument for part in ANY_PORTS if part != "key-vault" for argument in (f"--port-{part}", "0")]
        status, _, err = await output_of(*command(tmp_path, "up", "--port-key-vault", str(port), *others))
    assert status == 1
    assert re.fullmatch(rf"Port {port} is taken\..*--port-key-vault PORT\n", err)


def test_the_parts_never_get_the_same_free_port() -> None:
    ports = Ports.any_free().claimed()
    assert len(set(asdict(ports).values())) == len(fields(Ports))


def test_a_port_is_claimed_for_the_part_it_was_given_to() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = Ports(functions=0, identity=0, vendor=0, key_vault=0, tables=taken.getsockname()[1])
        with pytest.raises(PortTaken, match="--port-tables"):
            ports.claimed()


async def test_a_second_cloud_on_the_same_state_is_refused(tmp_path: Path) -> None:
    with exclusive(tmp_path):
        cloud = local_cloud(folder=tmp_path, ports=Ports.any_free(), app=None)
        with pytest.raises(StateInUse):
            await cloud.__aenter__()


async def test_an_app_that_cannot_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    ports = [argument for part in ANY_PORTS for argument in (f"--port-{part}", "0")]
    app = tmp_path / "app"
    app.mkdir()
    write_app(app, "raise RuntimeError('what is wrong')")
    status, _, err = await output_of(*command(tmp_path / "state", "up", "--app", str(app), *ports))
    assert status == 1
    assert "The functions host ended, before it was up." in err
    assert "RuntimeError: what is wrong" in err


async def test_rows_secrets_and_tokens_survive_a_restart_and_no_file_holds_a_value(tmp_path: Path) -> None:
    ports = Ports.any_free().claimed()
    value = f"canary-{uuid.uuid4().hex}"
    async with local_cloud(folder=tmp_path, ports=ports, app=None) as cloud:
        token = cloud.identity.token("alice")
        await put(cloud, "secret", f"{cloud.key_vault.url}/secrets/name?api-version=7.6", {"value": value})
        await put(cloud, "row", f"{cloud.tables_url}/vault(PartitionKey='p',RowKey='r')", {"kept": "yes"})
    assert_no_file_holds(value, tmp_path)
    async with local_cloud(folder=tmp_path, ports=ports, app=None) as cloud:
        cloud.identity.keys.check(token, AUDIENCE)
        assert (await get(cloud, "secret", f"{cloud.key_vault.url}/secrets/name?api-version=7.6"))["value"] == value
        row = await get(cloud, "row", f"{cloud.tables_url}/vault(PartitionKey='p',RowKey='r')")
        assert row["kept"] == "yes"


def assert_no_file_holds(value: str, folder: Path) -> None:
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    assert not [file for file in files if value.encode() in file.read_bytes()]


def session(cloud: LocalCloud, kind: str) -> aiohttp.ClientSession:
    resource = "https://vault.azure.net" if kind == "secret" else "https://storage.azure.com"
    headers = {
        "Authorization": f"Bearer {cloud.identity.managed_token(resource)}",
        "x-ms-version": "2020-12-06",
        "Accept": "application/json;odata=nometadata" if kind == "row" else "application/json",
    }
    connector = aiohttp.TCPConnector(ssl=cloud.authority.client_context())
    return aiohttp.ClientSession(connector=connector, headers=headers)


async def put(cloud: LocalCloud, kind: str, url: str, body: dict[str, str]) -> None:
    async with session(cloud, kind) as calls, calls.put(url, json=body) as answer:
        answer.raise_for_status()


async def get(cloud: LocalCloud, kind: str, url: str) -> dict[str, str]:
    async with session(cloud, kind) as calls, calls.get(url) as answer:
        answer.raise_for_status()
        return dict(await answer.json())
