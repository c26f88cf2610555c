"""The list grammar: which rows a caller asks for, in which order, and which page of them."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from vault_core.errors import FieldError, InvalidInput
from vault_core.names import fold
from vault_core.wire import WireModel, invalid_input

MAX_NESTING = 10
MAX_FILTERS = 25
MAX_SORT_KEYS = 10
MAX_ROWS = 10_000
_SPARE = 1000  # rows that are held before they are put in order, so that this is not done for each
_MAX_FIELDS = 100
_MAX_FIELD_NAME = 64
_MAX_VALUE = 256
_MAX_NUMBER = 2**31 - 1  # what clients send when they mean all
_MAX_ID = 10**20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Row = TypeVar("Row")
FieldValue = str | datetime | None
_Comparable = str | int
_Keys = Mapping[str, _Comparable | None]
_Predicate = Callable[[_Keys], bool]


class FieldKind(StrEnum):
    """How a field is compared: text without regard to case, an id exactly, an instant by the millisecond it shows."""

    TEXT = "text"
    ID = "id"
    INSTANT = "instant"


LOCKER_FIELDS = {
    "id": FieldKind.ID,
    "name": FieldKind.TEXT,
    "description": FieldKind.TEXT,
    "createdBy": FieldKind.ID,
    "createdOn": FieldKind.INSTANT,
    "updatedBy": FieldKind.ID,
    "updatedOn": FieldKind.INSTANT,
}
CREDENTIAL_FIELDS = LOCKER_FIELDS | {"ownerId": FieldKind.ID, "lockerId": FieldKind.ID}


class Operator(StrEnum):
    """What a filter does: compare a field with a value, or combine other filters."""

    EQ = "eq"
    NE = "ne"
    LT = "lt"
    LE = "le"
    GT = "gt"
    GE = "ge"
    SUBSTRING = "substring"
    AND = "and"
    OR = "or"
    NOT = "not"


_NO_FILTER = "none"
_COMBINING = {Operator.AND, Operator.OR, Operator.NOT}
_COMPARISONS: Mapping[Operator, Callable[[Any, Any], bool]] = {
    Operator.EQ: operator.eq,
    Operator.NE: operator.ne,
    Operator.LT: operator.lt,
    Operator.LE: operator.le,
    Operator.GT: operator.gt,
    Operator.GE: operator.ge,
}


def _lower(given: object) -> object:
    return given.lower() if isinstance(given, str) else given


def _number(given: object) -> object:
    return int(given) if isinstance(given, str) and re.fullmatch("-?[0-9]{1,18}", given, re.ASCII) else given


def _text(given: object) -> object:
    return str(given) if type(given) is int and abs(given) < _MAX_ID else given


def _or_none(given: object) -> object:
    """Return None in place of a filter that restricts nothing."""
    if not isinstance(given, Mapping):
        return given
    says_something = any(given.get(part) is not None for part in Filter.model_fields)
    return given if says_something and _lower(given.get("operator")) != _NO_FILTER else None


def _bounded(given: object) -> object:
    """Return the filter if it is small enough to be read: nothing deeper or larger is ever looked into."""
    level, count = [given], 0
    for _ in range(MAX_NESTING + 1):
        count += len(level)
        level = [operand for part in level for operand in _operands(part)]
    if level:
        raise PydanticCustomError("nesting", "must not be nested deeper than {limit}", {"limit": MAX_NESTING})
    if count > MAX_FILTERS:
        raise PydanticCustomError("filters", "must not hold more than {limit} filters", {"limit": MAX_FILTERS})
    return given


def _operands(part: object) -> Sequence[object]:
    operands = part.get("operands") if isinstance(part, Mapping) else None
    return operands if isinstance(operands, list | tuple) else ()


Number = Annotated[int, Field(strict=True, ge=0, le=_MAX_NUMBER), BeforeValidator(_number)]
FieldName = Annotated[str, Field(max_length=_MAX_FIELD_NAME)]
Value = Annotated[str, Field(max_length=_MAX_VALUE), BeforeValidator(_text)]
Operand = Annotated["Filter | None", BeforeValidator(_or_none)]


class _Part(WireModel):
    """A part of a request, read leniently: what is not known is ignored, and null is the same as absent."""

    model_config = ConfigDict(extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        return {name: part for name, part in given.items() if part is not None} if isinstance(given, Mapping) else given


class Filter(_Part):
    """A comparison of a field with a value, or an `and`, `or` or `not` of other filters.

    An operand that is None lets every row pass, and so do `and` and `or` of nothing.
    """

    operator: Annotated[Operator, BeforeValidator(_lower)]
    field: FieldName | None = None
    value: Value | None = None
    operands: tuple[Operand, ...] = ()

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.operator is Operator.NOT and len(self.operands) != 1:
            raise PydanticCustomError("operands", "must have exactly one operand")
        if self.operator not in _COMBINING and (self.field is None or self.value is None):
            raise PydanticCustomError("comparison", "must have a field and a value")
        return self


class SortKey(_Part):
    """A field to sort by."""

    field: FieldName
    direction: Annotated[Literal["asc", "desc"], BeforeValidator(_lower)] = "asc"


class Page(_Part):
    """Which of the rows that were found to hand over: `length` rows from `offset` on, where 0 is all of them."""

    offset: Number = 0
    length: Number = 0


class ListRequest(_Part):
    """What a caller asks of a listing. `fields` is read and changes nothing: rows are always whole."""

    fields: Annotated[tuple[FieldName, ...], Field(max_length=_MAX_FIELDS)] = ()
    filter: Annotated[Operand, BeforeValidator(_bounded)] = None
    sort: Annotated[tuple[SortKey, ...], Field(max_length=MAX_SORT_KEYS)] = ()
    page: Page = Page()

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> ListRequest:
        """Return the request that a decoded body holds.

        At most 25 filters, nested 10 deep, and 10 fields to sort by. `InvalidInput` names what is at fault.
        """
        try:
            return cls.model_validate(document, by_alias=True, by_name=False)
        except ValidationError as refused:
            raise invalid_input(refused) from None


@dataclass(frozen=True, slots=True)
class Listed(Generic[Row]):
    """A page of a listing: `total` counts all rows there were, `total_filter` those that the filter let pass."""

    items: tuple[Row, ...]
    offset: int
    total: int
    total_filter: int


class Listing(Generic[Row]):
    """Takes rows in order of their creation, one by one, and keeps of them what the page that is asked for needs.

    `values_of` gives a row's values by the names in `kinds`; a value may be None or absent. Such a row matches
    `ne` and no other comparison, and sorts before all others. `InvalidInput` when the request names a field that
    is not in `kinds`, or compares one with a value that it cannot have.
    """

    def __init__(
        self,
        request: ListRequest,
        kinds: Mapping[str, FieldKind],
        values_of: Callable[[Row], Mapping[str, FieldValue]],
    ) -> None:
        self._passes = _predicate(request.filter, kinds, "filter")
        _check_sort(request.sort, kinds)
        self._named = {name: kinds[name] for name in _named(request.filter) | {key.field for key in request.sort}}
        self._sort, self._values_of = request.sort, values_of
        self._start = request.page.offset
        self._end = self._start + min(request.page.length or MAX_ROWS, MAX_ROWS)
        self._total = self._total_filter = 0
        self._kept: list[tuple[Row, _Keys]] = []

    def add(self, row: Row) -> None:
        """Take the next row."""
        keys = _keys(self._values_of(row), self._named)
        self._total += 1
        if not self._passes(keys):
            return
        self._total_filter += 1
        if self._sort:
            self._kept.append((row, keys))
            if len(self._kept) > 2 * self._end + _SPARE:  # no more is held than can come to be shown
                self._kept = _sorted(self._kept, self._sort)[: self._end]
        elif self._start < self._total_filter <= self._end:
            self._kept.append((row, keys))

    def page(self) -> Listed[Row]:
        """Return the page that is asked for, at most 10,000 rows."""
        ordered = _sorted(self._kept, self._sort)[self._start : self._end] if self._sort else self._kept
        return Listed(tuple(row for row, _ in ordered), self._start, self._total, self._total_filter)


def _keys(values: Mapping[str, FieldValue], kinds: Mapping[str, FieldKind]) -> _Keys:
    return {name: _comparable(kind, values.get(name)) for name, kind in kinds.items()}


def _comparable(kind: FieldKind, value: FieldValue) -> _Comparable | None:
    if isinstance(value, datetime):
        return (value - _EPOCH) // timedelta(milliseconds=1)
    return fold(value) if value is not None and kind is FieldKind.TEXT else value


def _named(part: Filter | None) -> set[str]:
    if part is None:
        return set()
    if part.operator in _COMBINING:
        return {name for operand in part.operands for name in _named(operand)}
    return {part.field} if part.field else set()


def _predicate(part: Filter | None, kinds: Mapping[str, FieldKind], path: str) -> _Predicate:
    if part is None:
        return lambda _: True
    if part.operator not in _COMBINING:
        return _comparison(part, kinds, path)
    operands = [_predicate(one, kinds, f"{path}.operands.{place}") for place, one in enumerate(part.operands)]
    if part.operator is Operator.NOT:
        return lambda keys: not operands[0](keys)
    if part.operator is Operator.AND:
        return lambda keys: all(passes(keys) for passes in operands)
    return lambda keys: not operands or any(passes(keys) for passes in operands)


def _comparison(part: Filter, kinds: Mapping[str, FieldKind], path: str) -> _Predicate:
    field = part.field or ""
    kind = _kind(field, kinds, f"{path}.field")
    if kind is FieldKind.INSTANT and part.operator is Operator.SUBSTRING:
        raise _refusal(f"{path}.operator", "cannot be substring for an instant")
    value = _comparable(kind, _read_value(kind, part.value or "", f"{path}.value"))
    if part.operator is Operator.NE:
        return lambda keys: keys[field] != value
    if part.operator is Operator.SUBSTRING:
        found = re.compile(re.escape(str(value))).search  # in linear time, which `in` is not for short texts
        return lambda keys: keys[field] is not None and found(str(keys[field])) is not None
    compare = _COMPARISONS[part.operator]
    return lambda keys: keys[field] is not None and compare(keys[field], value)


def _read_value(kind: FieldKind, text: str, path: str) -> FieldValue:
    """Return what a row's value is compared with; any instant of ISO 8601, as clients ask for those before 1970."""
    if kind is not FieldKind.INSTANT:
        return text
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.utcoffset() is None:
        raise _refusal(path, "must be an instant such as 2026-01-27T19:07:12.363Z")
    return instant


def _kind(field: str, kinds: Mapping[str, FieldKind], path: str) -> FieldKind:
    if field not in kinds:
        raise _refusal(path, f"must be one of {', '.join(sorted(kinds))}")
    return kinds[field]


def _check_sort(sort: Sequence[SortKey], kinds: Mapping[str, FieldKind]) -> None:
    for place, key in enumerate(sort):
        _kind(key.field, kinds, f"sort.{place}.field")


def _sorted(rows: list[tuple[Row, _Keys]], sort: Sequence[SortKey]) -> list[tuple[Row, _Keys]]:
    for key in reversed(sort):  # each pass keeps the order of the one before among equals, also in reverse
        rows = sorted(rows, key=_order_by(key.field), reverse=key.direction == "desc")
    return rows


def _order_by(field: str) -> Callable[[tuple[Any, _Keys]], tuple[_Comparable, ...]]:
    def order(row: tuple[Any, _Keys]) -> tuple[_Comparable, ...]:
        own = row[1][field]
        return () if own is None else (own,)  # nothing sorts before everything

    return order


def _refusal(path: str, message: str) -> InvalidInput:
    fault = FieldError(path, message)
    return InvalidInput("Correct the fields that are named and send the request again.", (fault,))
