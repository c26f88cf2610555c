"""Names that people give: what they may look like, and when two of them are the same."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, StringConstraints

from vault_core.errors import RowMissing

MAX_NAME = 128
_LONGEST_KEY = 512
_MAX_FOLDED = 256  # some letters fold to many; a row key holds at most 512
_MARKS = " ._-"
# Letters and marks that are not seen (Unicode's default-ignorable ones): two names must not look the same.
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def fold(name: str) -> str:
    """Return the form under which names are compared: without regard to case or Unicode form (UAX #15, NFKC)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def row_key(kind: str, name: str) -> str:
    """Return the key of the row that holds a name, the same for all names that count as equal.

    Raises `RowMissing` for a text that no name can be, such as a reference from a URL.
    """
    folded = fold(name)
    length = len(folded.encode("utf-16-le", "surrogatepass")) // 2  # as the table service counts
    fits = 0 < length < _LONGEST_KEY - len(kind)
    if not fits or any(mark in "/\\#?" or not mark.isprintable() for mark in folded):
        raise RowMissing(kind)
    return f"{kind}:{folded}"


def as_id(reference: str) -> str | None:
    """Return the id that the reference is, in its canonical form, or None when it is a name."""
    return str(UUID(reference)) if _UUID.fullmatch(reference) else None


def check_name(name: str) -> str:
    """Return the name if it may be given: 1 to 128 letters, digits, spaces, `.`, `_`, `-`; `ValueError` otherwise."""
    if not all(mark in _MARKS or unicodedata.category(mark)[0] in "LMN" for mark in name) or _UNSEEN.search(name):
        raise ValueError("may hold letters, digits, spaces, '.', '_' and '-' only")
    if not name[0].isalnum() or name.endswith(" "):
        raise ValueError("must start with a letter or digit and not end with a space")
    if as_id(name):
        raise ValueError("must not look like an id")
    if len(fold(name)) > _MAX_FOLDED:
        raise ValueError("is too long once its letters are compared without regard to form")
    return name


Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME), AfterValidator(check_name)]
