"""The ports of the local cloud, and a clear word when one is taken."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import asdict, dataclass

HOST = "127.0.0.1"


class PortTaken(Exception):
    """Something else listens on a port that a part needs."""

    def __init__(self, part: str, port: int) -> None:
        option = f"--port-{part.replace('_', '-')}"
        super().__init__(f"Port {port} is taken. Stop what listens there, or choose another with {option} PORT")


@dataclass(frozen=True, slots=True)
class Ports:
    """One port per part; 0 stands for any free one."""

    functions: int = 7071
    identity: int = 7072
    vendor: int = 7073
    key_vault: int = 7443
    tables: int = 10002

    @classmethod
    def any_free(cls) -> Ports:
        return cls(functions=0, identity=0, vendor=0, key_vault=0, tables=0)

    def claimed(self) -> Ports:
        """Return the ports with a free one in place of each 0; `PortTaken` when one is not free."""
        with ExitStack() as bound:
            # All are bound at once, so that no two parts get the same one.
            return Ports(**{part: _bind(part, port, bound) for part, port in asdict(self).items()})


def _bind(part: str, port: int, bound: ExitStack) -> int:
    opened = bound.enter_context(socket.socket())
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((HOST, port))
    except OSError:
        raise PortTaken(part, port) from None
    return int(opened.getsockname()[1])
