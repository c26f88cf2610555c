"""Loads an app and lists its functions, refusing what the worker in Azure would refuse."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import azure.functions as func

from local.functions_host.ncrontab import Schedule, ScheduleInvalid
from local.functions_host.routes import Route, RouteInvalid

ENTRY = "function_app.py"


class AppInvalid(Exception):
    """The app cannot be served; says which function and why."""


@dataclass(frozen=True, slots=True)
class Function:
    """One registered function: what it is called and the name of the argument that the trigger fills."""

    name: str
    argument: str
    call: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class TimerFunction:
    """A function with the schedule that it runs on."""

    function: Function
    schedule: Schedule


@dataclass(frozen=True, slots=True)
class App:
    """What an app registers."""

    routes: tuple[Route[Function], ...]
    timers: tuple[TimerFunction, ...]

    @property
    def names(self) -> list[str]:
        """The names of all functions."""
        functions = [route.target for route in self.routes] + [timer.function for timer in self.timers]
        return sorted(function.name for function in functions)


def load_app(folder: Path, settings: Mapping[str, str]) -> App:
    """Import the folder's `function_app.py` and list its functions; `settings` fill the `%NAMES%` in bindings.

    `AppInvalid` when it cannot be served; whatever its import raises is let through.
    """
    prefix = _route_prefix(folder)
    routes: list[Route[Function]] = []
    timers: list[TimerFunction] = []
    for registered in _register_of(folder).get_functions():
        name = str(registered.get_function_name())
        try:
            trigger = _trigger(registered, settings)
            function = _function(name, registered, trigger)
            if trigger["type"] == "timerTrigger":
                timers.append(TimerFunction(function, Schedule.parse(trigger["schedule"])))
            else:
                template = f"{prefix}/{trigger.get('route', name)}"
                routes.append(Route.parse(template, trigger.get("methods") or (), function))
        except (AppInvalid, RouteInvalid, ScheduleInvalid) as fault:
            raise AppInvalid(f"Function {name}: {fault}") from None
    return App(tuple(routes), tuple(timers))


def _route_prefix(folder: Path) -> str:
    host = json.loads((folder / "host.json").read_text())
    return str(host.get("extensions", {}).get("http", {}).get("routePrefix", "api"))


def _register_of(folder: Path) -> func.FunctionRegister:
    file = folder / ENTRY
    if not file.exists():
        raise AppInvalid(f"There is no {ENTRY} in {folder}")
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    found = [each for each in vars(module).values() if isinstance(each, func.FunctionRegister)]
    if len(found) != 1:
        raise AppInvalid(f"{ENTRY} must hold one FunctionApp, and holds {len(found)}")
    return found[0]


def _trigger(registered: Any, settings: Mapping[str, str]) -> dict[str, Any]:
    """Return the trigger's binding as the host gets it, with settings filled in."""
    bindings: list[dict[str, Any]] = [json.loads(raw) for raw in registered.get_raw_bindings()]
    unknown = {binding["type"] for binding in bindings} - {"httpTrigger", "http", "timerTrigger"}
    if unknown:
        raise AppInvalid(f"only HTTP and timer functions are served here, not {', '.join(sorted(unknown))}")
    trigger = next((binding for binding in bindings if binding["type"].endswith("Trigger")), None)
    if trigger is None:
        raise AppInvalid("it has no trigger")
    return {key: _filled(value, settings) if isinstance(value, str) else value for key, value in trigger.items()}


def _filled(text: str, settings: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] not in settings:
            raise AppInvalid(f"the setting {found[1]} is missing")
        return settings[found[1]]

    return re.sub("%([^%]+)%", value, text)


def _function(name: str, registered: Any, trigger: Mapping[str, Any]) -> Function:
    call = registered.get_user_function()
    argument = str(trigger["name"])
    parameters = list(inspect.signature(call).parameters)
    if parameters != [argument]:
        raise AppInvalid(f"its parameters must be ({argument}), and are ({', '.join(parameters)})")
    expected = func.TimerRequest if trigger["type"] == "timerTrigger" else func.HttpRequest
    given = _annotations(call).get(argument, expected)
    if not (isinstance(given, type) and issubclass(expected, given)):
        raise AppInvalid(f"its argument must be a {expected.__name__}")
    return Function(name, argument, call)


def _annotations(call: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(call)
    except NameError as missing:
        raise AppInvalid(f"its annotations cannot be resolved: {missing}") from None
