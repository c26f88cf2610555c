"""The app in the hands of the genuine worker library: run by the Python that Azure runs it with.

    python worker_process.py FOLDER < invocations.json > answers.json

The library needs the host's protocol messages; those that it fills are doubled here by plain namespaces. Invocations
take the library's own way that knows no messages. It is no part of this project's requirements, hence the late import.
"""

from __future__ import annotations

import asyncio
import json
import sys
from importlib import import_module
from types import SimpleNamespace
from typing import Any


class Message(SimpleNamespace):
    """A message of the host's protocol: it keeps the fields that it is given."""


class StatusResult(Message):
    Success = "success"
    Failure = "failure"


class BindingInfo(Message):
    """How a binding is described; the names of the directions are those of the protocol."""


# `in` is a keyword; the numbers are those that the programming model uses.
for _number, _direction in enumerate(("in", "out", "inout")):
    setattr(BindingInfo, _direction, _number)
for _number, _data_type in enumerate(("undefined", "string", "binary", "stream")):
    setattr(BindingInfo, _data_type, _number)

PROTOS = SimpleNamespace(
    BindingInfo=BindingInfo,
    StatusResult=StatusResult,
    **{
        name: type(name, (Message,), {})
        for name in (
            "FunctionMetadataResponse",
            "RpcException",
            "RpcFunctionMetadata",
            "WorkerInitResponse",
            "WorkerMetadata",
        )
    },
)


async def index(folder: str) -> list[Any]:
    """Let the worker start on the app, and return what it tells the host of its functions."""
    worker = import_module("azure_functions_runtime.handle_event")
    asked = Message(worker_init_request=Message(capabilities={}, function_app_directory=folder))
    request = Message(request=asked, properties={"host": "127.0.0.1", "protos": PROTOS})
    started = await worker.worker_init_request(request)
    if started.result.status != StatusResult.Success:
        raise SystemExit(f"{started.result.exception.message}\n{started.result.exception.stack_trace}")
    told = await worker.functions_metadata_request(request)
    functions: list[Any] = told.function_metadata_results
    return functions


async def invoke(function_id: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Invoke a function as the host would: with an HTTP request, or because a timer is due."""
    native = import_module("azure_functions_runtime.native_invocation")
    inputs = [("req", _http(wanted))] if "method" in wanted else [("timer", _timer())]
    ok, answer, _, exception, trail = await native.invocation_request_native("i-1", function_id, inputs, {})
    if not ok:
        return {"failed": exception, "trail": trail}
    if answer is None:
        return {}
    body = answer.value["body"].value
    return {
        "status": int(answer.value["status_code"].value),
        "headers": {name: datum.value for name, datum in answer.value["headers"].items()},
        "body": body.decode() if isinstance(body, bytes) else body,
    }


def _http(wanted: dict[str, Any]) -> Any:
    datum = import_module("azure_functions_runtime.bindings.datumdef").Datum
    texts = {
        name: {key: datum(text, "string") for key, text in wanted.get(name, {}).items()}
        for name in ("headers", "params", "query")
    }
    body = datum(wanted.get("body", "").encode(), "bytes")
    return datum({key: datum(wanted[key], "string") for key in ("method", "url")} | texts | {"body": body}, "http")


def _timer() -> Any:
    due = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": None, "IsPastDue": False}
    return import_module("azure_functions_runtime.bindings.datumdef").Datum(json.dumps(due), "json")


async def main(folder: str) -> None:
    functions = await index(folder)
    ids = {function.name: function.function_id for function in functions}
    answers = [await invoke(ids[wanted["function"]], wanted) for wanted in json.load(sys.stdin)]
    indexed = {
        function.name: {"bindings": [json.loads(raw) for raw in function.raw_bindings]} for function in functions
    }
    json.dump({"python": sys.version_info[:2], "functions": indexed, "answers": answers}, sys.stdout)


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    asyncio.run(main(sys.argv[1]))
