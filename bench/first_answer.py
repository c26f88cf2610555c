"""A process that answers its first requests, as a worker does that was just started; prints what each took."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Awaitable
from statistics import median

from bench.calling import DATABASE, LEASE, Functions, request

_TIMES = 20


async def main(*, create: bool) -> None:
    """Create the credential that later processes lease, or answer: who am I, a lease, more leases."""
    logging.basicConfig(filename=os.devnull)  # connections that are open at the end are not worth a word
    functions = Functions()
    if create:
        await functions.call("create_credential", request("alice", DATABASE))
        return
    lease = request("deploy-agent", LEASE)
    took = {
        "who am i": await _milliseconds(functions.call("read_me", request("alice"))),
        "first lease": await _milliseconds(functions.call("create_lease", lease)),
        "warm lease": median([await _milliseconds(functions.call("create_lease", lease)) for _ in range(_TIMES)]),
    }
    print(json.dumps(took))


async def _milliseconds(answer: Awaitable[object]) -> float:
    began = time.perf_counter()
    await answer
    return 1000 * (time.perf_counter() - began)


if __name__ == "__main__":
    asyncio.run(main(create="--create" in sys.argv))
