"""The functions host, as a process of its own, with a small app."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest
from yarl import URL

from local.child import Child, ChildFailed
from local.cloud import PROJECT
from local.functions_host.registration import AppInvalid, load_app
from local.ports import Ports
from tests.conftest import background_loop

pytestmark = pytest.mark.slow

APP = """
import asyncio
import json
import pathlib
import threading

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
MAIN = threading.get_ident()


def shown(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(
        json.dumps(
            {
                "method": req.method,
                "url": req.url,
                "headers": dict(req.headers),
                "params": dict(req.params),
                "route": dict(req.route_params),
                "body": req.get_body().decode(),
                "in_thread": threading.get_ident() != MAIN,
            }
        ),
        mimetype="application/json",
    )


@app.route(route="echo/{name}", methods=["GET", "POST"])
async def echo(req: func.HttpRequest) -> func.HttpResponse:
    return shown(req)


@app.route(route="echo/literal", methods=["GET"])
async def literal(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("the literal")


@app.route(route="blocking", methods=["POST"])
def blocking(req: func.HttpRequest) -> func.HttpResponse:
    return shown(req)


@app.route(route="raises", methods=["GET"])
async def raises(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("on purpose")


@app.route(route="nothing", methods=["GET"])
async def nothing(req: func.HttpRequest) -> func.HttpResponse:
    return None


@app.route(route="teapot", methods=["GET"])
async def teapot(req: func.HttpRequest) -> func.HttpResponse:
    answer = func.HttpResponse(b"\\x00\\x01", status_code=418, headers={"X-Kind": "pot"}, mimetype="image/x-pot")
    answer.headers.add("X-Kind", "kettle")
    return answer


@app.timer_trigger(arg_name="timer", schedule="%TIDY%")
async def tidy(timer: func.TimerRequest) -> None:
    pathlib.Path(__file__).with_name("tidied").write_text(str(timer.past_due))
"""
HOST = {"version": "2.0", "extensions": {"http": {"routePrefix": ""}}}


def write_app(folder: Path, app: str = APP) -> Path:
    (folder / "function_app.py").write_text(app)
    (folder / "host.json").write_text(json.dumps(HOST))
    return folder


class Host:
    """A host that is up, and what it logged."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.log: list[str] = []

    async def logged(self, words: str) -> None:
        """Wait for a line with these words: what a process prints may arrive after what it answers."""
        async with asyncio.timeout(10):
            # What is waited for comes from another thread's loop, with no event of its own.
            while not any(words in line for line in self.log):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        # The path is sent as it is written here.
        url = URL(self.url + path, encoded=True)
        async with aiohttp.ClientSession() as session, session.request(method, url, **options) as answer:
            return answer.status, await answer.json() if answer.content_type == "application/json" else (
                await answer.read()
            )


async def start(folder: Path, port: int, log: list[str]) -> Child:
    command = [sys.executable, "-m", "local.functions_host", "--app", str(folder), "--port", str(port), "--leashed"]
    return await Child.start(
        "The functions host",
        command,
        ready="^Listening on ",
        environment={**os.environ, "TIDY": "0 0 0 1 1 *"},
        folder=PROJECT,
        on_line=log.append,
    )


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    port = Ports.any_free().claimed().functions
    host = Host(f"http://127.0.0.1:{port}", write_app(tmp_path_factory.mktemp("app")))
    with background_loop() as loop:
        child = asyncio.run_coroutine_threadsafe(start(host.folder, port, host.log), loop).result()
        yield host
        asyncio.run_coroutine_threadsafe(child.stop(), loop).result()


async def test_a_request_reaches_its_function_whole(host: Host) -> None:
    status, seen = await host.call("POST", "/ECHO/a%20%C3%BC?q=1&q=2&empty=&space=a+b", data="grüezi")
    assert status == 200
    assert (seen["method"], seen["body"]) == ("POST", "grüezi")
    assert seen["route"] == {"name": "a ü"}
    assert seen["params"] == {"q": "1,2", "space": "a b"}
    assert seen["headers"]["content-type"] == "text/plain; charset=utf-8"
    assert seen["url"] == f"{host.url}/ECHO/a%20%C3%BC?q=1&q=2&empty=&space=a+b"
    assert not seen["in_thread"]


async def test_repeated_headers_are_joined(host: Host) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", URL(host.url).port)
    writer.write(b"GET /echo/a HTTP/1.1\r\nHost: here\r\nX-Kind: a\r\nx-kind: b\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["headers"]["x-kind"] == "a,b"


async def test_a_function_that_is_not_async_runs_in_a_thread(host: Host) -> None:
    assert (await host.call("POST", "/blocking"))[1]["in_thread"]


async def test_a_literal_beats_a_parameter(host: Host) -> None:
    assert (await host.call("GET", "/echo/literal"))[1] == b"the literal"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/echo"), ("DELETE", "/echo/a"), ("HEAD", "/echo/a"), ("GET", "/api/echo/a")],
)
async def test_what_no_route_takes_is_not_found(host: Host, method: str, path: str) -> None:
    status, body = await host.call(method, path)
    assert (status, body) == (404, b"")


@pytest.mark.parametrize("path", ["/raises", "/nothing"])
async def test_a_function_that_fails_is_a_bare_500_and_logged(host: Host, path: str) -> None:
    host.log.clear()
    status, body = await host.call("GET", path)
    assert (status, body) == (500, b"")
    await host.logged(f"{path.strip('/')} failed")


async def test_an_answer_leaves_whole(host: Host) -> None:
    url = f"{host.url}/teapot"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 418
        assert answer.headers.getall("X-Kind") == ["pot", "kettle"]
        assert answer.headers["Content-Type"] == "image/x-pot"
        assert await answer.read() == b"\x00\x01"


async def test_neither_path_nor_query_nor_body_is_logged(host: Host) -> None:
    host.log.clear()
    await host.call("POST", "/echo/canary-in-path?q=canary-in-query", data="canary-in-body")
    await host.logged("echo: 200")
    assert not any("canary" in line for line in host.log)


async def test_functions_are_listed_and_the_host_says_it_runs(host: Host) -> None:
    _, listed = await host.call("GET", "/admin/functions")
    assert {"name": "tidy"} in listed
    assert len(listed) == 7
    assert (await host.call("GET", "/admin/host/status"))[1] == {"state": "Running"}


async def test_a_timer_is_run_now_when_asked(host: Host) -> None:
    assert (await host.call("POST", "/admin/functions/tidy", data="{}"))[0] == 202
    tidied = host.folder / "tidied"
    async with asyncio.timeout(10):
        while not (tidied.exists() and tidied.read_text()):
            await host.call("GET", "/admin/host/status")
    assert tidied.read_text() == "False"


@pytest.mark.parametrize(("name", "body", "status"), [("tidy", "{", 400), ("absent", "", 404), ("echo", "", 404)])
async def test_only_a_timer_can_be_run_now(host: Host, name: str, body: str, status: int) -> None:
    assert (await host.call("POST", f"/admin/functions/{name}", data=body))[0] == status


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("(req: func.HttpRequest)", "(request: func.HttpRequest)"), "parameters must be (req)"),
        (("timer: func.TimerRequest", "timer: Absent"), "Absent"),
        (("%TIDY%", "%ABSENT%"), "the setting ABSENT is missing"),
        (("%TIDY%", "every minute"), "six fields"),
        (("echo/{name}", "echo/{name"), "one parameter"),
        (("app = func", "another = func.FunctionApp()\napp = func"), "must hold one FunctionApp"),
    ],
)
def test_an_app_that_azure_would_not_index_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], says: str
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "function_app", ModuleType("function_app"))
    app = "from __future__ import annotations\n" + APP.replace(*change)
    with pytest.raises(AppInvalid) as refused:
        load_app(write_app(tmp_path, app), {"TIDY": "0 0 0 1 1 *"})
    assert says in str(refused.value)


async def test_a_host_that_cannot_serve_its_app_says_why_without_a_trace(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed) as failed:
        await start(write_app(tmp_path, APP.replace("%TIDY%", "every minute")), 1, [])
    assert "Function tidy: an expression has six fields" in str(failed.value)
    assert "Traceback" not in str(failed.value)
