"""The process of the functions host: `python -m local.functions_host --app FOLDER --port PORT`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from local.functions_host.registration import AppInvalid, load_app
from local.functions_host.server import FunctionsServer
from local.functions_host.timers import Timers
from local.ports import HOST
from local.serving import serving


def main() -> None:
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("azure").setLevel(logging.WARNING)
    try:
        asyncio.run(_serve(arguments))
    except AppInvalid as fault:
        sys.exit(str(fault))
    # As in Azure, an app is not told of the end: what it leaves open is dropped, without complaints about it.
    logging.shutdown()
    os._exit(0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.functions_host", description=__doc__)
    parser.add_argument("--app", type=Path, required=True, help="the folder that holds function_app.py and host.json")
    parser.add_argument("--port", type=int, default=7071)
    parser.add_argument("--leashed", action="store_true", help="end when the standard input closes")
    return parser.parse_args()


async def _serve(arguments: argparse.Namespace) -> None:
    # Loaded on the running loop, as the worker does: an app may make its clients when it is imported.
    app = load_app(arguments.app.resolve(), os.environ)
    timers = Timers(app.timers)
    async with serving(FunctionsServer(app, timers).application(), arguments.port):
        timers.start()
        print(f"Listening on http://{HOST}:{arguments.port}", flush=True)
        try:
            await _told_to_stop(leashed=arguments.leashed)
        finally:
            await timers.stop()


async def _told_to_stop(*, leashed: bool) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    waits: set[asyncio.Task[Any]] = {asyncio.create_task(stop.wait())}
    if leashed:
        leash = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(leash), sys.stdin)
        waits.add(asyncio.create_task(leash.read()))
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)


if __name__ == "__main__":
    main()
