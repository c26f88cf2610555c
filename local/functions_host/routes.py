"""Route templates as ASP.NET reads them: literals without regard to case, parameters, catch-all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import unquote

Target = TypeVar("Target")

_CONSTRAINTS = {
    "alpha": re.compile(r"[A-Za-z]*"),
    "bool": re.compile(r"true|false", re.IGNORECASE),
    "guid": re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE),
    "int": re.compile(r"[+-]?[0-9]{1,10}"),
    "long": re.compile(r"[+-]?[0-9]{1,19}"),
}
_PARAMETER = re.compile(r"\{(?P<rest>\*?)(?P<name>\w+)(?::(?P<constraint>\w+))?(?P<optional>\??)\}")


class RouteInvalid(Exception):
    """A route template that cannot be read."""


@dataclass(frozen=True, slots=True)
class Literal:
    text: str

    @property
    def precedence(self) -> int:
        return 1


@dataclass(frozen=True, slots=True)
class Parameter:
    """A segment that is taken as it is; `rest` takes all that follow."""

    name: str
    constraint: re.Pattern[str] | None
    optional: bool
    rest: bool

    @property
    def precedence(self) -> int:
        return (4 if self.rest else 2) if self.constraint else (5 if self.rest else 3)

    def accepts(self, text: str) -> bool:
        return self.constraint is None or self.constraint.fullmatch(text) is not None


Segment = Literal | Parameter


@dataclass(frozen=True, slots=True)
class Route(Generic[Target]):
    """A template with the methods it answers to (all when empty) and what it leads to."""

    segments: tuple[Segment, ...]
    methods: frozenset[str]
    target: Target

    @classmethod
    def parse(cls, template: str, methods: Iterable[str], target: Target) -> Route[Target]:
        """Read the template; `RouteInvalid` when it is not one."""
        parts = template.strip("/").split("/") if template.strip("/") else []
        segments = tuple(_segment(part, template) for part in parts)
        for segment in segments[:-1]:
            if isinstance(segment, Parameter) and (segment.rest or segment.optional):
                raise RouteInvalid(f"only the last parameter may be optional or a catch-all: {template}")
        return cls(segments, frozenset(method.upper() for method in methods), target)

    @property
    def precedence(self) -> tuple[int, ...]:
        """Routes are tried in ascending order of this: a literal before a parameter before a catch-all."""
        return tuple(segment.precedence for segment in self.segments)

    def match(self, method: str, path: Sequence[str]) -> dict[str, str] | None:
        """Return the parameters when method and path fit, else `None`."""
        if self.methods and method not in self.methods:
            return None
        parameters: dict[str, str] = {}
        for place, segment in enumerate(self.segments):
            given = path[place] if place < len(path) else ""
            if isinstance(segment, Literal):
                if given.lower() != segment.text.lower():
                    return None
            elif segment.rest:
                return _taken(segment, "/".join(path[place:]), parameters)
            elif (taken := _taken(segment, given, parameters)) is None:
                return None
            else:
                parameters = taken
        return parameters if len(path) <= len(self.segments) else None


class RouteTable(Generic[Target]):
    """The routes of an app, tried in their order."""

    def __init__(self, routes: Iterable[Route[Target]]) -> None:
        self._routes = sorted(routes, key=lambda route: route.precedence)

    def find(self, method: str, raw_path: str) -> tuple[Target, dict[str, str]] | None:
        """Return what the percent-encoded path leads to, with its parameters decoded; `None` when nothing."""
        path = segments_of(raw_path)
        for route in self._routes:
            parameters = route.match(method, path)
            if parameters is not None:
                return route.target, parameters
        return None


def segments_of(raw_path: str) -> list[str]:
    """Return the decoded segments of a path, without dot segments; an encoded slash stays encoded."""
    segments: list[str] = []
    for raw in raw_path.removeprefix("/").removesuffix("/").split("/"):
        segment = "".join(part if part.lower() == "%2f" else unquote(part) for part in re.split("(%2[fF])", raw))
        if segment == "..":
            segments = segments[:-1]
        elif segment != ".":
            segments.append(segment)
    return segments if segments != [""] else []


def _taken(parameter: Parameter, given: str, parameters: dict[str, str]) -> dict[str, str] | None:
    if not given:
        return parameters if parameter.optional or parameter.rest else None
    return {**parameters, parameter.name: given} if parameter.accepts(given) else None


def _segment(text: str, template: str) -> Segment:
    if text and not set("{}*?:") & set(text):
        return Literal(text)
    found = _PARAMETER.fullmatch(text)
    if not found:
        raise RouteInvalid(f"a segment is a literal or one parameter: {template}")
    constraint = found["constraint"]
    if constraint and constraint not in _CONSTRAINTS:
        raise RouteInvalid(f"unknown constraint {constraint}: {template}")
    return Parameter(
        found["name"],
        _CONSTRAINTS[constraint] if constraint else None,
        optional=bool(found["optional"]),
        rest=bool(found["rest"]),
    )
