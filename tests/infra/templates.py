"""The templates of the infrastructure as data, and broken copies of them.

A rule about the templates is a function from their folder to what is wrong, in words: so each rule can be tried on a
copy that breaks it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pycep import BicepParser

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"

Rule = Callable[[Path], list[str]]


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource that a template declares: where, its type without the version, and what it is set to."""

    place: str
    type: str
    config: dict[str, Any]

    def at(self, path: str) -> object:
        """Return what is set at a path with dots; None when nothing is."""
        found: Any = self.config
        for part in path.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        return found


@dataclass(frozen=True, slots=True)
class Call:
    """A module that a template uses: where, the file it is in, and what it is given."""

    place: str
    path: Path
    params: dict[str, Any]


def templates(folder: Path) -> list[Path]:
    """Return every template, but for files of parameters."""
    return sorted(folder.rglob("*.bicep"))


def parsed(path: Path) -> dict[str, Any]:
    """Return a template as data."""
    return _parsed(path.read_text())


_parser = cache(BicepParser)


@cache
def _parsed(text: str) -> dict[str, Any]:
    tree: Any = _parser().parse(text=text)
    return dict(tree)


def resources(folder: Path) -> Iterator[Resource]:
    """Return every resource of every template."""
    for path in templates(folder):
        for symbol, one in parsed(path).get("resources", {}).items():
            yield Resource(f"{path.name}: {symbol}", one["type"], _settings(one))


def calls(folder: Path) -> Iterator[Call]:
    """Return every use of a module that is written in Bicep."""
    for path in templates(folder):
        for symbol, one in parsed(path).get("modules", {}).items():
            target = path.parent / one["detail"]["path"]
            if target.suffix == ".bicep":
                yield Call(f"{path.name}: {symbol}", target, _settings(one).get("params", {}))


def _settings(declared: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = declared["config"]
    while "condition" in config or "loop_type" in config:
        config = config["config"]
    return config


def entries(node: object) -> Iterator[tuple[str, Any]]:
    """Return every name in the data with what it holds, however deep."""
    if isinstance(node, dict):
        for name, held in node.items():
            yield str(name), held
            yield from entries(held)
    elif isinstance(node, list | tuple):
        for held in node:
            yield from entries(held)


def without_comments(path: Path) -> str:
    """Return the text of a template without its comments on lines of their own."""
    return re.sub(r"^\s*//.*$", "", path.read_text(), flags=re.MULTILINE)


def broken(folder: Path, file: str, old: str, new: str) -> Path:
    """Return a copy of the templates in the folder, in which the file says something else."""
    copy = shutil.copytree(INFRA, folder / "infra")
    text = (copy / file).read_text()
    assert old in text, f"{file} no longer says {old!r}"
    (copy / file).write_text(text.replace(old, new, 1))
    return copy
