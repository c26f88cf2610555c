"""What a benchmark gives back, as a table to read and as JSON to keep."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

Cell = str | int | float
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of one benchmark: rows with the same columns, and what to know when reading them."""

    name: str
    title: str
    rows: list[dict[str, Cell]]
    notes: list[str] = field(default_factory=list)

    def table(self) -> str:
        """Return the figures as text in columns, numbers to the right."""
        columns = list(self.rows[0])
        shown = [[_shown(row[column]) for column in columns] for row in self.rows]
        widths = [max(map(len, texts)) for texts in zip(columns, *shown, strict=True)]
        right = [all(isinstance(row[column], int | float) for row in self.rows) for column in columns]
        lines = [_line(texts, widths, right) for texts in (columns, ["-" * width for width in widths], *shown)]
        return "\n".join([self.title, "", *lines, "", *(f"  {note}" for note in self.notes)])

    def keep(self, folder: Path, *, quick: bool) -> Path:
        """Write the figures, with where and when they were taken, into the folder; return the file."""
        taken = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "quick": quick}
        machine = {"python": platform.python_version(), "machine": platform.machine(), "system": sys.platform}
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.name}.json"
        file.write_text(json.dumps({**asdict(self), **taken, **machine}, indent=2) + "\n")
        return file


def say(line: str) -> None:
    """Tell of progress, apart from the figures."""
    print(f"  {line}", file=sys.stderr, flush=True)


def _shown(cell: Cell) -> str:
    return cell if isinstance(cell, str) else f"{cell:,.4g}" if isinstance(cell, float) else f"{cell:,}"


def _line(texts: list[str], widths: list[int], right: list[bool]) -> str:
    cells = (text.rjust(width) if r else text.ljust(width) for text, width, r in zip(texts, widths, right, strict=True))
    return "  " + "  ".join(cells).rstrip()
