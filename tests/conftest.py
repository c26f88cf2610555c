"""The parts of the local cloud, for tests that need real ones: started once per worker, when asked for."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from local.certificates import CertificateAuthority

# aiohttp builds its TLS context when it is imported, so the authority has to be known before that.
_FOLDER = Path(tempfile.mkdtemp(prefix="local-cloud-tests-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
AUTHORITY = CertificateAuthority(_FOLDER)
os.environ["SSL_CERT_FILE"] = str(AUTHORITY.bundle)

import asyncio  # noqa: E402
import threading  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

from local.cloud import LocalCloud, local_cloud  # noqa: E402
from local.ports import Ports  # noqa: E402

# A machine that is busy with other tests is slow: time is no part of what an example shows.
settings.register_profile("vault", deadline=None)
settings.load_profile("vault")


@contextmanager
def background_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own: servers outlive the loop of a single test."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="local cloud", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="session")
def running_parts() -> Iterator[LocalCloud]:
    """Tables, Key Vault, identity and vendor, up for the whole run; use `local_parts`."""
    with background_loop() as loop:
        parts = local_cloud(folder=None, ports=Ports.any_free(), app=None, authority=AUTHORITY)
        cloud = asyncio.run_coroutine_threadsafe(parts.__aenter__(), loop).result()
        yield cloud
        asyncio.run_coroutine_threadsafe(parts.__aexit__(None, None, None), loop).result()


@pytest.fixture
def local_parts(running_parts: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> LocalCloud:
    """Tables, Key Vault, identity and vendor, without faults; this process has the environment that the app would.

    Rows and secrets of earlier tests are still there: use keys of your own.
    """
    running_parts.key_vault.faults.clear()
    running_parts.vendor.reset()
    for name, value in running_parts.environment.items():
        monkeypatch.setenv(name, value)
    return running_parts
