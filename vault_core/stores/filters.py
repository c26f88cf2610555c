"""Spans and conditions as OData filters of Azure Tables.

Values travel as parameters, which the SDK quotes; column names are identifiers from the program, checked by
`limits`. The SDK wants every parameter set off by single spaces.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vault_core.stores import AllOf, AnyOf, Column, Compare, Condition, Keys, Partitions
from vault_core.stores.limits import code_units, plain_column


@dataclass(slots=True)
class _Parameters:
    values: dict[str, Column] = field(default_factory=dict)

    def bind(self, value: Column) -> str:
        plain = plain_column(value)
        if type(plain) is int:
            # The SDK takes the parameters 0 and 1 for booleans, and 32 bits for a signed number of 32 bits.
            return f"{plain}L"
        name = f"v{len(self.values)}"
        self.values[name] = plain
        return f"@{name}"


def odata_filter(span: Keys | Partitions, where: Condition | None) -> tuple[str, dict[str, Column]]:
    """Return the filter for the rows of the span that meet the condition, and its parameters."""
    parameters = _Parameters()
    terms = _keys(span, parameters) if isinstance(span, Keys) else _partitions(span, parameters)
    if where:
        terms.append(_condition(where, parameters))
    return " and ".join(terms), parameters.values


def _keys(span: Keys, parameters: _Parameters) -> list[str]:
    terms = [
        f"PartitionKey eq {parameters.bind(span.partition)}",
        f"RowKey ge {parameters.bind(span.start)}",
        f"RowKey lt {parameters.bind(span.end)}",
    ]
    return [*terms, f"RowKey gt {parameters.bind(span.after)}"] if span.after else terms


def _partitions(span: Partitions, parameters: _Parameters) -> list[str]:
    end = f"PartitionKey lt {parameters.bind(span.end)}"
    if not span.after:
        return [f"PartitionKey ge {parameters.bind(span.start)}", end]
    partition, key = span.after
    start = parameters.bind(max(span.start, partition, key=code_units))
    behind = f"( PartitionKey gt {parameters.bind(partition)} or RowKey gt {parameters.bind(key)} )"
    return [f"PartitionKey ge {start}", end, behind]


def _condition(condition: Condition, parameters: _Parameters) -> str:
    match condition:
        case AllOf(conditions):
            return "( " + " and ".join(_condition(each, parameters) for each in conditions) + " )"
        case AnyOf(conditions):
            return "( " + " or ".join(_condition(each, parameters) for each in conditions) + " )"
        # Whether `ne` finds rows that lack the column is documented nowhere. No other operator does.
        case Compare(column, "ne", bool(value)):
            return _condition(Compare(column, "eq", not value), parameters)
        case Compare(column, "ne", value):
            either = AnyOf((Compare(column, "lt", value), Compare(column, "gt", value)))
            return _condition(either, parameters)
        case Compare(column, operator, value):
            return f"{column} {operator} {parameters.bind(value)}"
