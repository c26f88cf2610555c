"""The command line of the local cloud.

python -m local up           start everything, show what runs where, stay
python -m local demo         tell the vault's story over HTTP
python -m local token NAME   print a token of a known person or agent, for curl
python -m local secret NAME  print the client secret of one: the password for a login by user name
python -m local settings     print local.settings.json for Azure Functions Core Tools
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import signal
import sys
from dataclasses import fields
from pathlib import Path

from local.azurite import NotInstalled
from local.child import ChildFailed
from local.cloud import PROJECT, LocalCloud, local_cloud
from local.identities import KNOWN_IDENTITIES
from local.key_vault.journal import JournalBroken
from local.ports import Ports, PortTaken
from local.running import NothingRuns, Running, UnknownIdentity, find_running
from local.state import StateInUse

TOLD_PLAINLY = (ChildFailed, JournalBroken, NotInstalled, NothingRuns, PortTaken, StateInUse, UnknownIdentity)


def main() -> int:
    arguments = _parser().parse_args()
    try:
        return asyncio.run(_run(arguments))
    except TOLD_PLAINLY as fault:
        print(fault, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM


async def _run(arguments: argparse.Namespace) -> int:
    # A request to terminate is as good as an interrupt, which cancels too: everything is stopped in order.
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    folder: Path = arguments.state.resolve()
    if arguments.command == "token":
        print(await find_running(folder).token(arguments.name))
        return 0
    if arguments.command == "secret":
        print(find_running(folder).secret(arguments.name))
        return 0
    if arguments.command == "settings":
        print(find_running(folder).core_tools_settings())
        return 0
    ports = Ports(**{part.name: getattr(arguments, f"port_{part.name}") for part in fields(Ports)})
    if arguments.command == "demo":
        return int(await importlib.import_module("local.demo").tell(folder, ports, arguments.app.resolve()))
    return await _up(folder, ports, arguments.app.resolve())


async def _up(folder: Path, ports: Ports, app: Path) -> int:
    async with local_cloud(folder=folder, ports=ports, app=app, say=_say, on_log=_log) as cloud:
        running = Running.of(cloud, folder)
        running.announce()
        try:
            print(_table(cloud, folder), flush=True)
            await cloud.until_a_child_ends()
        finally:
            running.withdraw()
            _say("Stopping")
    return 0


def _table(cloud: LocalCloud, folder: Path) -> str:
    rows = (
        ("Functions", cloud.functions_url),
        ("Tables", cloud.tables_url),
        ("Key Vault", cloud.key_vault.url),
        ("Identity", cloud.identity.url),
        ("Vendor", cloud.vendor.url),
        ("State", str(folder)),
    )
    shown = "\n".join(f"  {part:<11}{where}" for part, where in rows)
    return f"""
The local cloud is up. Ctrl-C ends it.

{shown}

  A token:   {os.path.relpath(sys.executable)} -m local token alice
  Known are: {", ".join(KNOWN_IDENTITIES)}
"""


def _say(line: str) -> None:
    print(f"{line} ...", flush=True)


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--state", type=Path, default=PROJECT / ".local", help="folder for what is kept (.local)")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (("up", "start everything and stay"), ("demo", "tell the story")):
        command = commands.add_parser(name, help=what)
        command.add_argument("--app", type=Path, default=PROJECT, help="folder of function_app.py")
        for part in fields(Ports):
            option = f"--port-{part.name.replace('_', '-')}"
            command.add_argument(option, type=int, default=part.default, metavar="PORT", help=f"({part.default})")
    commands.add_parser("settings", help="print local.settings.json")
    for name, what in (("token", "print a token"), ("secret", "print a client secret")):
        commands.add_parser(name, help=what).add_argument("name", help="one of the known people and agents")
    return parser


if __name__ == "__main__":
    sys.exit(main())
