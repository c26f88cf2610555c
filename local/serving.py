"""An aiohttp application on a loopback port."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from local.ports import HOST


@asynccontextmanager
async def serving(application: web.Application, port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    """Serve the application on this machine's loopback address; open requests get a second to end."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port, ssl_context=tls).start()
        yield
    finally:
        await runner.cleanup()
