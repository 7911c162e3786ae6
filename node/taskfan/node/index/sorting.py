"""The order of the hits of a search: by a field, by score, or as they lie in the shard. Pure.

Source: OpenSearch `SortBuilder`, `FieldSortBuilder`, Lucene `TopDocs.merge`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import total_ordering
from typing import Any

import msgspec

from taskfan.node.errors import IllegalArgument, TaskfanError
from taskfan.node.index.errors import QueryShardFailed, ShardId
from taskfan.node.index.field_values import WHOLE_NUMBERS, comparable, java_text, values_at
from taskfan.node.index.mappings import FieldType, FieldTypes
from taskfan.node.index.matching import Candidate
from taskfan.node.index.x_content import Body, Path

SortValue = int | float | str | None
SortValues = tuple[SortValue, ...]
_INT_MAX, _LONG_MAX = 2**31 - 1, 2**63 - 1


class Sort(msgspec.Struct, frozen=True):
    """One criterion. `field` may be `_score`, `_doc` or `_id`; `missing` is where documents without a value go."""

    field: str
    descending: bool = False
    missing: Any = "_last"
    unmapped_type: str | None = None

    def to_object(self) -> dict[str, Any]:
        """As OpenSearch writes it in the description of a search."""
        shown: dict[str, Any] = {"order": "desc" if self.descending else "asc"}
        if self.missing != "_last":
            shown["missing"] = self.missing
        if self.unmapped_type is not None:
            shown["unmapped_type"] = self.unmapped_type
        return {self.field: shown}


BY_SCORE = Sort("_score", descending=True)


def parse_sorts(body: Body, path: Path, given: Any) -> tuple[Sort, ...]:
    """The `sort` of a body: a name, an object, or a list of them.

    Raises:
        ParsingFailed, IllegalArgument: it is none of these, or an option is unknown.
    """
    items = given if isinstance(given, list) else [given]
    found: list[Sort] = []
    for number, item in enumerate(items):
        at = (*path, number) if isinstance(given, list) else path
        if isinstance(item, dict):
            found += [_parse_sort(body, (*at, name), name, options) for name, options in item.items()]
        elif isinstance(item, list) or item is None:
            raise IllegalArgument(
                "malformed sort format, within the sort array, an object, or an actual string are allowed"
            )
        else:
            # A bare number is a name too.
            found.append(Sort(java_text(item), descending=item == "_score"))
    return tuple(found)


def _parse_sort(body: Body, path: Path, name: str, options: Any) -> Sort:
    default = "desc" if name == "_score" else "asc"
    if isinstance(options, str):
        return Sort(name, _is_descending(options))
    if not isinstance(options, dict):
        raise body.x_content_parse("[field_sort] Expected START_OBJECT but was: END_OBJECT", path[:-1], "end")
    for option in options:
        if option not in ("order", "missing", "unmapped_type", "mode", "numeric_type", "format", "nested"):
            raise body.x_content_parse(f"[field_sort] unknown field [{option}]", (*path, option), "key")
    try:
        descending = _is_descending(str(options.get("order", default)))
    except IllegalArgument as error:
        place = (*path, "order")
        raise body.x_content_parse("[field_sort] failed to parse field [order]", place, cause=error) from None
    return Sort(
        name,
        descending,
        options.get("missing", "_last"),
        options.get("unmapped_type"),
    )


def parse_sort_parameter(text: str) -> tuple[Sort, ...]:
    """The URL parameter `sort`: `field` or `field:desc`, several with commas."""
    found = []
    for part in text.split(","):
        name, colon, order = part.rpartition(":")
        found.append(Sort(name, _is_descending(order)) if colon else Sort(part, descending=part == "_score"))
    return tuple(found)


def _is_descending(order: str) -> bool:
    if order.lower() not in ("asc", "desc"):
        raise IllegalArgument(f"No enum constant org.opensearch.search.sort.SortOrder.{order.upper()}")
    return order.lower() == "desc"


def is_by_score(sorts: Sequence[Sort]) -> bool:
    """Whether hits show their score: no sort, or one by score alone, which OpenSearch drops."""
    return not sorts or tuple(sorts) == (BY_SCORE,)


def value_reader(sort: Sort, fields: FieldTypes, shard: ShardId) -> Callable[[Candidate, int, float | None], SortValue]:
    """How to get the value of a document that a criterion compares, given its place in the shard and its score.

    Raises:
        QueryShardFailed: there is no such field.
        IllegalArgument: the field is text, which has no values to sort by.
    """
    match sort.field:
        case "_doc":
            return lambda candidate, place, score: place
        case "_score":
            return lambda candidate, place, score: score
        case "_id":
            return lambda candidate, place, score: candidate.document.id
    field = fields.get(sort.field)
    if field is None:
        if sort.unmapped_type is None:
            raise QueryShardFailed(shard, f"No mapping found for [{sort.field}] in order to sort on")
        missing = _missing(sort, sort.unmapped_type)
        return lambda candidate, place, score: missing
    if field.type == "text":
        raise _text_field(field.name)
    return _field_reader(sort, field)


def _field_reader(sort: Sort, field: FieldType) -> Callable[[Candidate, int, float | None], SortValue]:
    missing = _missing(sort, field.type)
    choose = max if sort.descending else min

    def read(candidate: Candidate, place: int, score: float | None) -> SortValue:
        values = [comparable(field.type, value) for value in values_at(candidate.source, field.path)]
        kept = [value for value in values if value is not None]
        return choose(kept) if kept else missing

    return read


def _text_field(name: str) -> TaskfanError:
    return IllegalArgument(
        "Text fields are not optimised for operations that require per-document field data like aggregations and "
        "sorting, so these operations are disabled by default. Please use a keyword field instead. Alternatively, set "
        f"fielddata=true on [{name}] in order to load field data by uninverting the inverted index. Note that this can "
        "use significant memory."
    )


def _missing(sort: Sort, kind: str) -> SortValue:
    if sort.missing not in ("_last", "_first"):
        found: SortValue = comparable(kind, sort.missing)
        return found
    highest = (sort.missing == "_last") is not sort.descending
    if kind in WHOLE_NUMBERS or kind in ("date", "date_nanos", "boolean"):
        most = _LONG_MAX if kind in ("long", "date", "date_nanos") else _INT_MAX
        return most if highest else -most - 1
    if kind in ("float", "double", "half_float", "scaled_float", "unsigned_long"):
        return math.inf if highest else -math.inf
    return None


def shown_value(value: SortValue) -> SortValue:
    """A sort value as a hit shows it: JSON has no infinities."""
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


@total_ordering
class _Reversed:
    """A text that sorts the other way round."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reversed) and self.text == other.text

    def __lt__(self, other: _Reversed) -> bool:
        return other.text < self.text

    def __hash__(self) -> int:
        return hash(self.text)


def order_key(sorts: Sequence[Sort], values: SortValues) -> tuple[Any, ...]:
    """Something that Python sorts as the criteria demand."""
    return tuple(_one_key(sort, value) for sort, value in zip(sorts, values, strict=True))


def _one_key(sort: Sort, value: SortValue) -> tuple[int, Any]:
    if value is None:
        # Only text can be missing here; numbers got an extreme value.
        return (1, 0) if sort.missing != "_first" else (-1, 0)
    if not sort.descending:
        return 0, value
    return 0, _Reversed(value) if isinstance(value, str) else -value
