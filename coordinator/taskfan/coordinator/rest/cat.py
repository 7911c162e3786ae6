"""Tables as text or as values: OpenSearch's `_cat`. Pure.

Source: OpenSearch `RestTable`, `Table`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from taskfan.coordinator.rest.errors import UnknownSortKey
from taskfan.coordinator.rest.parameters import Parameter, boolean, split_commas, text
from taskfan.node.action_filter import action_pattern
from taskfan.node.task_json import human_duration

# What shapes a table. OpenSearch lets every table be asked for them, whether it has such values or not.
CAT_PARAMETERS: tuple[Parameter, ...] = (
    text("h", is_late=True),
    boolean("v", is_late=True),
    boolean("ts", default=True, is_late=True),
    text("s", is_late=True),
    text("time", is_late=True),
    text("bytes", is_late=True),
    text("size", is_late=True),
    text("pri", is_late=True),
)
_TIME_UNITS_NANOS = {
    "nanos": 1,
    "micros": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
_BYTE_UNITS = ("b", "k", "m", "g", "t", "p")
# Shown or hidden by `ts`.
_TIMESTAMPS = ("timestamp", "epoch")


class Duration(msgspec.Struct, frozen=True):
    """A cell that shows a time: as people write it, or as a whole number of the unit asked for by `time`."""

    nanos: int


class Size(msgspec.Struct, frozen=True):
    """A cell that shows a number of bytes, or of the unit asked for by `bytes`."""

    bytes: int


# None is an empty cell, and null among values.
Cell = str | int | Duration | Size | None


class Column(msgspec.Struct, frozen=True):
    """One column; `aliases` are further names to ask for it by, and what it is then headed with."""

    name: str
    aliases: tuple[str, ...] = ()
    description: str = "not available"
    by_default: bool = True
    is_right_aligned: bool = False


class Table(msgspec.Struct, frozen=True):
    """Columns, and rows with a cell for each of them."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]] = []


class _Shown(msgspec.Struct, frozen=True):
    """A column that was asked for, by its place and its heading."""

    at: int
    heading: str
    is_right_aligned: bool


def text_of(table: Table, parameters: Mapping[str, Any]) -> bytes:
    """A line for each row. The last column is not padded.

    Raises:
        UnknownSortKey: `s` names what is no column.

    Differs: OpenSearch stops padding where a cell is more than 127 characters narrower than its column.
    """
    shown = _shown(table, parameters)
    lines = [[cell_text(row[column.at], parameters) for column in shown] for row in _ordered(table, parameters)]
    if parameters["v"]:
        lines.insert(0, [column.heading for column in shown])
    widths = [max((len(line[at]) for line in lines), default=0) for at in range(len(shown))]
    return "".join(_line(line, widths, shown) for line in lines).encode()


def _line(cells: Sequence[str], widths: Sequence[int], shown: Sequence[_Shown]) -> str:
    padded = [
        cell.rjust(width) if column.is_right_aligned else cell if at == len(cells) - 1 else cell.ljust(width)
        for at, (cell, width, column) in enumerate(zip(cells, widths, shown, strict=True))
    ]
    return " ".join(padded) + "\n"


def values_of(table: Table, parameters: Mapping[str, Any]) -> list[dict[str, str | None]]:
    """An object for each row, all of its values texts. Raises UnknownSortKey."""
    shown = _shown(table, parameters)
    return [
        {column.heading: None if row[column.at] is None else cell_text(row[column.at], parameters) for column in shown}
        for row in _ordered(table, parameters)
    ]


def help_of(columns: Sequence[Column]) -> bytes:
    """A line for each column: its name, its aliases, what it shows."""
    lines = [(column.name, ",".join(column.aliases), column.description) for column in columns]
    widths = [max((len(line[at]) for line in lines), default=0) for at in range(3)]
    padded = (" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "".join(f"{line}\n" for line in padded).encode()


def cell_text(cell: Cell, parameters: Mapping[str, Any]) -> str:
    """What a cell shows."""
    if isinstance(cell, Duration):
        unit = _TIME_UNITS_NANOS.get(parameters["time"] or "")
        return human_duration(cell.nanos) if unit is None else str(cell.nanos // unit)
    if isinstance(cell, Size):
        return _size_text(cell.bytes, parameters["bytes"])
    return "" if cell is None else str(cell)


def _size_text(size_bytes: int, unit: str | None) -> str:
    """Source: OpenSearch `ByteSizeValue.toString`: the largest unit that fits, one decimal, cut."""
    if unit and (unit[:1] in _BYTE_UNITS and unit[1:] in ("", "b")):
        return str(size_bytes >> 10 * _BYTE_UNITS.index(unit[0]))
    power = max(at for at in range(len(_BYTE_UNITS)) if at == 0 or size_bytes >= 1 << 10 * at)
    whole, tenths = divmod(size_bytes * 10 >> 10 * power, 10)
    name = _BYTE_UNITS[power] + ("b" if power else "")
    return f"{whole}.{tenths}{name}" if tenths else f"{whole}{name}"


# ------------------------------------------------------------------ columns and order


def _shown(table: Table, parameters: Mapping[str, Any]) -> list[_Shown]:
    """The columns asked for by `h`, unknown ones left out, else those shown by default."""
    asked: str | None = parameters["h"]
    if asked is None:
        named = [(column.name, column.name) for column in table.columns if column.by_default]
    else:
        named = [found for name in _expanded(table, asked) if (found := _column_for(table, name)) is not None]
    places = {column.name: at for at, column in enumerate(table.columns)}
    return [
        _Shown(places[name], heading, table.columns[places[name]].is_right_aligned)
        for name, heading in named
        if parameters["ts"] or name not in _TIMESTAMPS
    ]


def _expanded(table: Table, asked: str) -> list[str]:
    """The names of an `h`, each once; a pattern stands for the columns that it fits, by name or alias."""
    names: dict[str, None] = {}
    for name in split_commas(asked):
        if "*" not in name:
            names[name] = None
            continue
        fits = action_pattern((name,))
        names |= {column.name: None for column in table.columns if any(map(fits, (column.name, *column.aliases)))}
    return list(names)


def _column_for(table: Table, name: str) -> tuple[str, str] | None:
    """The column of a name or alias, with its heading. Of several with that alias it is the last."""
    if any(column.name == name for column in table.columns):
        return name, name
    return next(((column.name, name) for column in reversed(table.columns) if name in column.aliases), None)


def _ordered(table: Table, parameters: Mapping[str, Any]) -> Sequence[Sequence[Cell]]:
    """The rows as they are, or sorted by the columns of `s`, each with `:desc`, `:asc` or neither."""
    if parameters["s"] is None:
        return table.rows
    places = {alias: at for at, column in enumerate(table.columns) for alias in (*column.aliases, column.name)}
    order = []
    for key in split_commas(parameters["s"]):
        name = key.removesuffix(":desc") if key.endswith(":desc") else key.removesuffix(":asc")
        if name not in places:
            raise UnknownSortKey(name)
        order.append((places[name], -1 if key.endswith(":desc") else 1))

    def compare(one: Sequence[Cell], other: Sequence[Cell]) -> int:
        return next((sign * c for at, sign in order if (c := _compare(one[at], other[at]))), 0)

    return sorted(table.rows, key=functools.cmp_to_key(compare))


def _compare(one: Cell, other: Cell) -> int:
    """Empty cells first; values of one kind by value, others by their text."""
    if one is None or other is None:
        return (one is not None) - (other is not None)
    left, right = _sort_value(one), _sort_value(other)
    if type(left) is not type(right):
        left, right = str(left), str(right)
    return (left > right) - (left < right)  # type: ignore[operator]


def _sort_value(cell: str | int | Duration | Size) -> str | int:
    return cell.nanos if isinstance(cell, Duration) else cell.bytes if isinstance(cell, Size) else cell
