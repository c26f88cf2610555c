"""Finds values in a text of someone who was told them, plain or encoded, so that the text is not shown.

A text is searched as it is and as it reads once HTML, URL and JSON escapes are undone: whoever escaped it, and however
much of it, is then of no matter. Each reading is compared without regard to case, then without spaces and invisible
characters, then by its letters and digits alone. Base64, at any of its three alignments, and hexadecimal are found by
comparing with the encoded value.
"""

from __future__ import annotations

import html
import re
import unicodedata
from base64 import b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import unquote, unquote_plus

from pydantic import SecretStr

_SHORT = 3  # a value of fewer characters is a part of too many words: it counts as a word only
_LONG = 12  # of a value of as many characters, a part is an echo too
# A part is 8 characters, so at least 8 bytes, which hold 10 whole groups of 6 bits wherever the groups begin.
_PLAIN_PART, _BASE64_PART, _HEX_PART = 8, 10, 16
_PARTS = (_PLAIN_PART, _BASE64_PART, _HEX_PART)

_ESCAPE = re.compile(r"\\(?:u([0-9a-f]{4})|x([0-9a-f]{2})|(.))", re.IGNORECASE | re.DOTALL)
_CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_WORD = re.compile(r"[^\W_]+")
_URL_SAFE = str.maketrans("-_", "+/")


def visible(text: str) -> str:
    """Return the text on one line: white space as single spaces, control and format characters left out."""
    return " ".join(filter(None, map(_seen, text.split())))


def _seen(word: str) -> str:
    if word.isprintable():
        return word
    return "".join(mark for mark in word if not unicodedata.category(mark).startswith("C"))


class Echoes:
    """What would give some values away. Holds them in clear: made for one search, never kept.

    A value of fewer than 3 characters is found as a whole word, one of 12 or more by any 8 of its characters.
    """

    def __init__(self, values: Iterable[SecretStr]) -> None:
        self._words: set[str] = set()
        self._wholes: set[str] = set()
        self._parts: set[str] = set()
        for value in {value.get_secret_value() for value in values}:
            self._listen_for(value)

    def are_in(self, text: str) -> bool:
        """Return whether the text holds an echo. Takes time in proportion to its length and that of the values."""
        return any(self._are_read_in(reading) for reading in _readings(text))

    def _listen_for(self, value: str) -> None:
        plain = _forms(value)
        if len(value) < _SHORT:
            self._words |= plain - {""}
            return
        content = value.encode(errors="surrogatepass")
        base64 = {_one_alphabet(groups) for groups in _base64_groups(content)}
        hexadecimal = {content.hex()}
        self._wholes |= {whole for whole in plain | base64 | hexadecimal if len(whole) >= _SHORT}
        if len(value) >= _LONG:
            for forms, length in zip((plain, base64, hexadecimal), _PARTS, strict=True):
                self._parts.update(*(_parts(form, length) for form in forms))

    def _are_read_in(self, reading: str) -> bool:
        forms = _forms(reading)
        if any(whole in form for form in forms for whole in self._wholes):
            return True
        if self._parts and any(self._parts & _parts(form, length) for form in forms for length in _PARTS):
            return True
        return bool(self._words & _words(reading))


def _readings(text: str) -> set[str]:
    return {text, html.unescape(text), unquote(text), unquote_plus(text), _unescaped(text)}


def _unescaped(text: str) -> str:
    """Return the text with the escapes of JSON, and of the languages that are like it, undone."""
    # Characters beyond the first plane are escaped as two halves, which have to be joined.
    halves = _ESCAPE.sub(_escaped_mark, text).encode("utf-16-le", errors="surrogatepass")
    return halves.decode("utf-16-le", errors="replace")


def _escaped_mark(escape: re.Match[str]) -> str:
    number = escape[1] or escape[2]
    return chr(int(number, 16)) if number else _CONTROLS.get(escape[3], escape[3])


def _forms(text: str) -> set[str]:
    folded = text.casefold()
    return {folded, _one_alphabet("".join(visible(text).split())), "".join(filter(str.isalnum, folded))}


def _one_alphabet(text: str) -> str:
    """Return the text without regard to case, nor to which of the two alphabets of base64 it is in (RFC 4648)."""
    return text.casefold().translate(_URL_SAFE)


def _words(text: str) -> set[str]:
    folded = text.casefold()
    return {*folded.split(), *_WORD.findall(folded)}


def _base64_groups(content: bytes) -> Iterator[str]:
    """The base64 of the content after 0, 1 and 2 other bytes: the characters that the content alone decides."""
    for before in range(3):
        encoded = b64encode(bytes(before) + content).decode()
        first, end = -(-before * 8 // 6), (before + len(content)) * 8 // 6
        yield encoded[first:end]


def _parts(text: str, length: int) -> set[str]:
    return {text[start : start + length] for start in range(len(text) - length + 1)}
