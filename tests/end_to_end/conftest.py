"""The whole local cloud, and a client that was written for a Control Room, unmodified.

The cloud runs in a thread of its own, so the client may block this one, as it does in the programs that use it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from rpa_automationanywhere import AAClient

from local.cloud import PROJECT, LocalCloud, local_cloud
from local.ports import Ports
from tests.conftest import AUTHORITY, background_loop
from tests.end_to_end.real_client import LogIn


@pytest.fixture(scope="session")
def cloud() -> Iterator[LocalCloud]:
    """The whole local cloud, with the app."""
    with background_loop() as loop:
        whole = local_cloud(folder=None, ports=Ports.any_free(), app=PROJECT, authority=AUTHORITY)
        yield asyncio.run_coroutine_threadsafe(whole.__aenter__(), loop).result()
        asyncio.run_coroutine_threadsafe(whole.__aexit__(None, None, None), loop).result()


@pytest.fixture
def environment(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment, and a working directory, that tell the client of this vault and of nothing else."""
    monkeypatch.chdir(tmp_path)  # the client would read a file `.env` there
    for name in ("USERNAME", "PASSWORD", "API_KEY"):
        monkeypatch.delenv(f"A360_{name}", raising=False)
    monkeypatch.setenv("A360_CONTROL_ROOM_URI", cloud.functions_url)
    monkeypatch.setenv("NO_PROXY", cloud.environment["NO_PROXY"])
    return monkeypatch


@pytest.fixture
def log_in(cloud: LocalCloud, environment: pytest.MonkeyPatch) -> Iterator[LogIn]:
    """Opens a client for one of the known people and agents, by its password."""
    with ExitStack() as clients:

        def opened(who: str) -> AAClient:
            environment.setenv("A360_USERNAME", who)
            environment.setenv("A360_PASSWORD", cloud.identity.client_secrets[who])
            return clients.enter_context(AAClient.from_env())

        yield opened


@pytest.fixture
def alice(log_in: LogIn) -> AAClient:
    return log_in("alice")
