"""Tables as text or as values: OpenSearch's `_cat`. Pure.

Source: OpenSearch `RestTable`, `Table`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, TypeVar

import msgspec

from taskfan.coordinator.rest.errors import UnknownSortKey
from taskfan.coordinator.rest.parameters import Parameter, parse_boolean, split_commas, text
from taskfan.node.action_filter import action_pattern
from taskfan.node.task_json import human_duration, human_durations

# What shapes a table. OpenSearch lets every table be asked for them, whether it has such values or not.
CAT_PARAMETERS: tuple[Parameter, ...] = (
    text("h", is_late=True),
    # Booleans, and read as such only where they change something: `v` in text, `ts` where a time is shown.
    text("v", is_late=True),
    text("ts", is_late=True),
    text("s", is_late=True),
    text("time", is_late=True),
    text("bytes", is_late=True),
    text("size", is_late=True),
    text("pri", is_late=True),
)
# Every table may be given one; those that have no use for it do not look at it.
CAT_TIMEOUT = text("timeout", is_late=True)
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


class Duration(msgspec.Struct, frozen=True, gc=False):
    """A cell that shows a time: as people write it, or as a whole number of the unit asked for by `time`."""

    nanos: int


class Size(msgspec.Struct, frozen=True, gc=False):
    """A cell that shows a number of bytes, or of the unit asked for by `bytes`."""

    bytes: int


# None is an empty cell, and null among values.
Cell = str | int | Duration | Size | None


Text = TypeVar("Text", str, None)


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

    @property
    def height(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    def cells(self, at: int) -> Sequence[Cell]:
        """The cells of a column, row by row."""
        return [row[at] for row in self.rows]

    def kind(self, at: int) -> None:
        """Of any kind, each for itself."""


class Cells(msgspec.Struct, frozen=True):
    """How the cells of a column are made, all of one kind. Those of durations are their nanoseconds."""

    kind: type[str] | type[int] | type[Duration]
    make: Callable[[], Sequence[str] | Sequence[int]]


class ColumnTable(msgspec.Struct, frozen=True):
    """The same for tables of many rows: only the columns that are looked at are made, each by its name."""

    columns: Sequence[Column]
    height: int
    makers: Mapping[str, Cells]

    def cells(self, at: int) -> Sequence[Cell]:
        """The cells of a column, row by row."""
        return self.makers[self.columns[at].name].make()

    def kind(self, at: int) -> type:
        """Of which kind all of them are."""
        return self.makers[self.columns[at].name].kind


class _Shown(msgspec.Struct, frozen=True):
    """A column that was asked for, by its place and its heading."""

    at: int
    heading: str
    is_right_aligned: bool


def text_of(table: Table | ColumnTable, parameters: Mapping[str, Any]) -> bytes:
    """A line for each row. The last column is not padded.

    Raises:
        UnknownSortKey: `s` names what is no column.
        IllegalArgument: `v` or `ts` is neither true nor false.

    Differs: OpenSearch stops padding where a cell is more than 127 characters narrower than its column.
    """
    has_headings = parse_boolean(parameters["v"], False)
    shown = _shown(table, parameters)
    texts = _texts(table, shown, parameters, empty="")
    if has_headings:
        texts = [[column.heading, *cells] for column, cells in zip(shown, texts, strict=True)]
    if not texts:
        return b"\n" * (table.height + has_headings)
    padded = [
        cells if column is shown[-1] and not column.is_right_aligned else _padded(cells, column.is_right_aligned)
        for column, cells in zip(shown, texts, strict=True)
    ]
    return "\n".join([*map(" ".join, zip(*padded, strict=True)), ""]).encode()


def _padded(cells: Sequence[str], is_right_aligned: bool) -> Iterable[str]:
    widths = set(map(len, cells))
    if len(widths) <= 1:
        return cells
    return map(str.rjust if is_right_aligned else str.ljust, cells, repeat(max(widths)))


def values_of(table: Table | ColumnTable, parameters: Mapping[str, Any]) -> list[dict[str, str | None]]:
    """An object for each row, all of its values texts. Raises UnknownSortKey."""
    shown = _shown(table, parameters)
    texts = _texts(table, shown, parameters, empty=None)
    headings = [column.heading for column in shown]
    lines: Iterable[Sequence[str | None]] = zip(*texts, strict=True) if texts else repeat((), table.height)
    return [dict(zip(headings, line, strict=True)) for line in lines]


def _texts(
    table: Table | ColumnTable, shown: Sequence[_Shown], parameters: Mapping[str, Any], *, empty: Text
) -> list[Sequence[str | Text]]:
    """What the columns show, each from the first row to the last as they are sorted; `empty` for empty cells."""
    order = _order(table, parameters)
    columns = [table.cells(column.at) for column in shown]
    if order is not None:
        columns = [[cells[place] for place in order] for cells in columns]
    kinds = [table.kind(column.at) for column in shown]
    return [_column_texts(cells, kind, parameters, empty) for cells, kind in zip(columns, kinds, strict=True)]


def _column_texts(
    cells: Sequence[Any], kind: type | None, parameters: Mapping[str, Any], empty: Text
) -> Sequence[str | Text]:
    if kind is str:
        return cells
    if kind is int:
        return list(map(str, cells))
    if kind is Duration:
        unit = _time_unit(parameters)
        return human_durations(cells) if unit is None else [str(nanos // unit) for nanos in cells]
    return [empty if cell is None else cell_text(cell, parameters) for cell in cells]


def help_of(columns: Sequence[Column]) -> bytes:
    """A line for each column: its name, its aliases, what it shows."""
    lines = [(column.name, ",".join(column.aliases), column.description) for column in columns]
    widths = [max((len(line[at]) for line in lines), default=0) for at in range(3)]
    padded = (" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "".join(f"{line}\n" for line in padded).encode()


def cell_text(cell: Cell, parameters: Mapping[str, Any]) -> str:
    """What a cell shows."""
    if isinstance(cell, Duration):
        unit = _time_unit(parameters)
        return human_duration(cell.nanos) if unit is None else str(cell.nanos // unit)
    if isinstance(cell, Size):
        return _size_text(cell.bytes, parameters["bytes"])
    return "" if cell is None else str(cell)


def _time_unit(parameters: Mapping[str, Any]) -> int | None:
    """The nanoseconds of the unit asked for; None for times as people write them."""
    return _TIME_UNITS_NANOS.get(parameters["time"] or "")


def _size_text(size_bytes: int, unit: str | None) -> str:
    """Source: OpenSearch `ByteSizeValue.toString`: the largest unit that fits, one decimal, cut."""
    if unit and (unit[:1] in _BYTE_UNITS and unit[1:] in ("", "b")):
        return str(size_bytes >> 10 * _BYTE_UNITS.index(unit[0]))
    power = max(at for at in range(len(_BYTE_UNITS)) if at == 0 or size_bytes >= 1 << 10 * at)
    whole, tenths = divmod(size_bytes * 10 >> 10 * power, 10)
    name = _BYTE_UNITS[power] + ("b" if power else "")
    return f"{whole}.{tenths}{name}" if tenths else f"{whole}{name}"


# ------------------------------------------------------------------ columns and order


def _shown(table: Table | ColumnTable, parameters: Mapping[str, Any]) -> list[_Shown]:
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
        if name not in _TIMESTAMPS or parse_boolean(parameters["ts"], True)
    ]


def _expanded(table: Table | ColumnTable, asked: str) -> list[str]:
    """The names of an `h`, each once; a pattern stands for the columns that it fits, by name or alias."""
    names: dict[str, None] = {}
    for name in split_commas(asked):
        if "*" not in name:
            names[name] = None
            continue
        fits = action_pattern((name,))
        names |= {column.name: None for column in table.columns if any(map(fits, (column.name, *column.aliases)))}
    return list(names)


def _column_for(table: Table | ColumnTable, name: str) -> tuple[str, str] | None:
    """The column of a name or alias, with its heading. Of several with that alias it is the last."""
    if any(column.name == name for column in table.columns):
        return name, name
    return next(((column.name, name) for column in reversed(table.columns) if name in column.aliases), None)


def _order(table: Table | ColumnTable, parameters: Mapping[str, Any]) -> Sequence[int] | None:
    """The rows sorted by the columns of `s`, each with `:desc`, `:asc` or neither; None when there is no `s`."""
    if parameters["s"] is None:
        return None
    places = {alias: at for at, column in enumerate(table.columns) for alias in (*column.aliases, column.name)}
    keys = []
    for key in split_commas(parameters["s"]):
        name = key.removesuffix(":desc") if key.endswith(":desc") else key.removesuffix(":asc")
        if name not in places:
            raise UnknownSortKey(name)
        keys.append((table.cells(places[name]), -1 if key.endswith(":desc") else 1))

    def compare(one: int, other: int) -> int:
        return next((sign * c for cells, sign in keys if (c := _compare(cells[one], cells[other]))), 0)

    return sorted(range(table.height), key=functools.cmp_to_key(compare))


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
