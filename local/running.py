"""What runs where: written by the local cloud when it is up, read by the other commands."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp

from local.cloud import SCHEDULES, LocalCloud
from local.identities import KNOWN_IDENTITIES
from local.state import write_private

FILE = "running.json"


class NothingRuns(Exception):
    """No local cloud is up on this state folder."""

    def __init__(self) -> None:
        super().__init__("No local cloud is running here. Start it in another terminal: make run")


class UnknownIdentity(Exception):
    """The local identity provider does not know the name."""

    def __init__(self) -> None:
        super().__init__(f"Unknown name. Known are: {', '.join(KNOWN_IDENTITIES)}")


@dataclass(frozen=True, slots=True)
class Running:
    """Where each part of a local cloud is served, the process that holds them, its state, and what the app is told."""

    pid: int
    folder: str
    functions: str
    tables: str
    key_vault: str
    identity: str
    vendor: str
    environment: Mapping[str, str]

    @classmethod
    def of(cls, cloud: LocalCloud, folder: Path) -> Running:
        return cls(
            pid=os.getpid(),
            folder=str(folder),
            functions=cloud.functions_url,
            tables=cloud.tables_url,
            key_vault=cloud.key_vault.url,
            identity=cloud.identity.url,
            vendor=cloud.vendor.url,
            environment=cloud.environment,
        )

    def announce(self) -> None:
        write_private(Path(self.folder) / FILE, json.dumps(asdict(self), indent=2).encode())

    def core_tools_settings(self) -> str:
        """Return the `local.settings.json` with which Azure Functions Core Tools serves the app on this cloud.

        The timers are off there: the Core Tools keep their schedules in blobs, which the local cloud has not.
        """
        values = {name: text for name, text in self.environment.items() if not name.lower().startswith("no_proxy")}
        timers = (schedule.removeprefix("VAULT_SCHEDULE_").lower() for schedule in SCHEDULES)
        values |= {"FUNCTIONS_WORKER_RUNTIME": "python", "AzureWebJobsStorage": ""}
        values |= {f"AzureWebJobs.{timer}.Disabled": "true" for timer in timers}
        return json.dumps({"IsEncrypted": False, "Values": values}, indent=2)

    def withdraw(self) -> None:
        (Path(self.folder) / FILE).unlink(missing_ok=True)

    def secret(self, name: str) -> str:
        """Return the client secret of the name, which is its password for a login; or `UnknownIdentity`."""
        if name not in KNOWN_IDENTITIES:
            raise UnknownIdentity
        return str(json.loads((Path(self.folder) / "clients.json").read_text())[name])

    async def token(self, name: str) -> str:
        """Return a token from the identity provider; `UnknownIdentity`, or `NothingRuns`."""
        secret = self.secret(name)
        url = f"{self.identity}/{KNOWN_IDENTITIES[name].tenant}/oauth2/v2.0/token"
        form = {"grant_type": "client_credentials", "client_id": name, "client_secret": secret}
        try:
            async with aiohttp.ClientSession() as session, session.post(url, data=form) as answer:
                answer.raise_for_status()
                return str((await answer.json())["access_token"])
        except aiohttp.ClientConnectionError:
            raise NothingRuns from None


def find_running(folder: Path) -> Running:
    """Return what runs on the state folder; `NothingRuns` when nothing was announced there, or it was killed."""
    try:
        running = Running(**json.loads((folder / FILE).read_text()))
        os.kill(running.pid, 0)
    except (FileNotFoundError, ProcessLookupError):
        raise NothingRuns from None
    return running
