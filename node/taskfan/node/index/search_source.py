"""What a search asks for: its body and the parameters that stand for parts of it. Pure.

Source: OpenSearch `SearchSourceBuilder`, `RestSearchAction`. Differs: aggregations, highlighting and more are not
there, which an error says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from taskfan.node.errors import IllegalArgument, NumberFormat, TaskfanError, ValidationFailed
from taskfan.node.ids import parse_long
from taskfan.node.index.errors import NotSimulated
from taskfan.node.index.query import Query, to_object
from taskfan.node.index.query_parsing import parse_query
from taskfan.node.index.sorting import Sort, is_by_score, parse_sorts
from taskfan.node.index.source_filter import SourceFilter
from taskfan.node.index.x_content import Body, Path, read_body, token_name, unknown_field, whole_number

DEFAULT_SIZE = 10
DEFAULT_TRACK_TOTAL_HITS = 10_000
_encode = msgspec.json.Encoder().encode


class Slice(msgspec.Struct, frozen=True):
    """One of `max` parts of a search. Source: OpenSearch `SliceBuilder`."""

    id: int
    max: int
    field: str = "_id"

    def to_object(self) -> dict[str, Any]:
        """As OpenSearch writes it in the description of a search."""
        return {"field": self.field, "id": self.id, "max": self.max}


class SearchSource(msgspec.Struct, frozen=True):
    """A search. None is what the body did not say.

    `track_total_hits` is up to how many hits are counted: True for all, False for none. `cost_per_shard_ms` is
    taskfan's own, `{"taskfan": {"cost_per_shard_ms": 500}}`: how long each shard is to take at least.
    """

    query: Query | None = None
    from_: int | None = None
    size: int | None = None
    sort: tuple[Sort, ...] | None = None
    fetch_source: SourceFilter | None = None
    track_total_hits: int | bool | None = None
    version: bool | None = None
    seq_no_primary_term: bool | None = None
    slice: Slice | None = None
    terminate_after: int = 0
    timeout: str | None = None
    stored_fields: Any = None
    cost_per_shard_ms: int = 0

    @property
    def first(self) -> int:
        """How many hits to leave out."""
        return self.from_ or 0

    @property
    def count(self) -> int:
        """How many hits to show."""
        return DEFAULT_SIZE if self.size is None else self.size

    @property
    def sorts(self) -> tuple[Sort, ...]:
        """The criteria of the order; none for that by score."""
        return () if self.sort is None or is_by_score(self.sort) else self.sort

    @property
    def counted_up_to(self) -> int | bool:
        """Up to how many hits are counted: True for all, False for none."""
        return DEFAULT_TRACK_TOTAL_HITS if self.track_total_hits is None else self.track_total_hits

    def scroll_faults(self) -> list[str]:
        """What is not allowed in a search with a scroll. Source: OpenSearch `SearchRequest.validate`."""
        found = []
        if self.track_total_hits is not None and self.track_total_hits is not True:
            found.append("disabling [track_total_hits] is not allowed in a scroll context")
        if self.first > 0:
            found.append("using [from] is not allowed in a scroll context")
        if self.size == 0:
            found.append("[size] cannot be [0] in a scroll context")
        return found

    def validate_scroll(self) -> None:
        """Raises `ValidationFailed` with all that is wrong with this search in a scroll."""
        if found := self.scroll_faults():
            raise ValidationFailed(*found)

    def to_object(self) -> dict[str, Any]:
        """As OpenSearch writes it in the description of a task. Source: `SearchSourceBuilder.innerToXContent`."""
        shown: dict[str, Any] = {}
        for name, value in (("from", self.from_), ("size", self.size), ("timeout", self.timeout)):
            if value is not None:
                shown[name] = value
        if self.terminate_after:
            shown["terminate_after"] = self.terminate_after
        if self.query is not None:
            shown["query"] = to_object(self.query)
        for name, flag in (("version", self.version), ("seq_no_primary_term", self.seq_no_primary_term)):
            if flag is not None:
                shown[name] = flag
        if self.fetch_source is not None:
            shown["_source"] = self.fetch_source.to_object()
        if self.sort is not None:
            shown["sort"] = [sort.to_object() for sort in self.sort]
        if self.track_total_hits is not None:
            # True and false are numbers to OpenSearch.
            upto = self.track_total_hits
            shown["track_total_hits"] = 2**31 - 1 if upto is True else -1 if upto is False else upto
        if self.slice is not None:
            shown["slice"] = self.slice.to_object()
        return shown


def description(indices: str, source: SearchSource | None, scroll: str | None = None) -> str:
    """What the task of a search says it does. Source: OpenSearch `SearchRequest.buildDescription`."""
    scrolls = f"scroll[{scroll}], " if scroll is not None else ""
    text = "" if source is None else _encode(source.to_object()).decode()
    return f"indices[{indices}], search_type[QUERY_THEN_FETCH], {scrolls}source[{text}]"


def read_search(raw: bytes) -> SearchSource:
    """The body of a search as it came; an empty one asks for everything."""
    return parse_search(read_body(raw)) if raw.strip() else SearchSource()


def parse_search(body: Body) -> SearchSource:
    """The body of a search.

    Raises:
        ParsingFailed, XContentParse, IllegalArgument, NumberFormat: in the words of OpenSearch.
        NotSimulated: it asks for what taskfan does not have.
    """
    if not isinstance(body.value, dict):
        found = token_name(body.value)
        raise body.parsing_failed(f"Expected [START_OBJECT] but found [{found}]", ())
    fields: dict[str, Any] = {}
    for name, value in body.value.items():
        if name in _NOT_SIMULATED:
            raise NotSimulated(name, "a part of searches", _READERS)
        reader = _READERS.get(name)
        if reader is None or not _may_be(name, value):
            raise body.parsing_failed(f"Unknown key for a {token_name(value)} in [{name}].", (name,))
        field, read = reader
        if field:
            fields[field] = read(body, (name,), value)
    return SearchSource(**fields)


def _may_be(name: str, value: Any) -> bool:
    """Whether a key takes what begins so: OpenSearch's parser sorts keys by the token that follows them."""
    match value:
        case None:
            return False
        case dict():
            return name in ("query", "_source", "sort", "slice", "taskfan")
        case list():
            return name in ("sort", "_source", "stored_fields", "stats")
    return name not in ("query", "slice", "taskfan", "stats")


def _read_query(body: Body, path: Path, value: Any) -> Query:
    return parse_query(body, path, value)


def _read_count(body: Body, path: Path, value: Any) -> int:
    number = _integer(value)
    if number < 0:
        raise IllegalArgument(f"[{path[-1]}] parameter cannot be negative, found [{number}]")
    return number


def _integer(value: Any) -> int:
    if isinstance(value, str):
        number = parse_long(value)
        if number is None:
            raise NumberFormat(f'For input string: "{value}"')
        return number
    return int(value)


def _read_flag(body: Body, path: Path, value: Any) -> bool:
    if value in (True, False, "true", "false"):
        return value in (True, "true")
    raise IllegalArgument(f"Failed to parse value [{value}] as only [true] or [false] are allowed.")


def _read_track(body: Body, path: Path, value: Any) -> int | bool:
    return value if isinstance(value, bool) else _integer(value)


def _read_source(body: Body, path: Path, value: Any) -> SourceFilter:
    if isinstance(value, int | float) and not isinstance(value, bool):
        expected = "[VALUE_BOOLEAN, VALUE_STRING, START_ARRAY, START_OBJECT]"
        raise body.parsing_failed(f"Expected one of {expected} but found [{token_name(value)}]", path)
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in ("includes", "include", "excludes", "exclude"):
                raise body.parsing_failed(f"Unknown key for a {token_name(inner)} in [{name}].", (*path, name))
    return SourceFilter.parse(value)


_SLICE_FIELDS: Mapping[str, tuple[type, ...]] = {"field": (str,), "id": (int, float, str), "max": (int, float, str)}


def _read_slice(body: Body, path: Path, value: Any) -> Slice:
    """Source: OpenSearch `SliceBuilder`. Differs: one without `id` or `max` is refused; there it never ends."""
    found: dict[str, Any] = {}
    for name, given in value.items():
        place = (*path, name)
        if name not in _SLICE_FIELDS:
            raise unknown_field(body, "slice", place, _SLICE_FIELDS)
        if type(given) not in _SLICE_FIELDS[name]:
            raise body.x_content_parse(f"[slice] {name} doesn't support values of type: {token_name(given)}", place)
        try:
            found[name] = given if name == "field" else whole_number(body, place, given)
            _check_slice(name, found)
        except TaskfanError as error:
            raise body.x_content_parse(f"[slice] failed to parse field [{name}]", place, cause=error) from None
    for name in ("id", "max"):
        if name not in found:
            cause = IllegalArgument(f"{name} is missing")
            raise body.x_content_parse(f"[slice] failed to parse field [{name}]", path, cause=cause)
    return Slice(**found)


def _check_slice(name: str, found: Mapping[str, Any]) -> None:
    slice_id, most = found.get("id"), found.get("max")
    if name == "id" and slice_id is not None and slice_id < 0:
        raise IllegalArgument("id must be greater than or equal to 0")
    if name == "max" and most is not None and most <= 1:
        raise IllegalArgument("max must be greater than 1")
    if slice_id is not None and most is not None and most <= slice_id:
        raise IllegalArgument("max must be greater than id")


def _read_cost(body: Body, path: Path, value: Any) -> int:
    for name in value:
        if name != "cost_per_shard_ms":
            raise body.parsing_failed(f"[taskfan] does not support [{name}]", (*path, name))
    return min(_read_count(body, (*path, "cost_per_shard_ms"), value.get("cost_per_shard_ms", 0)), 600_000)


def _read_time(body: Body, path: Path, value: Any) -> str:
    if not re.fullmatch(r"-?\d+(nanos|micros|ms|s|m|h|d)|-1|0", str(value).strip().lower()):
        raise IllegalArgument(
            f"failed to parse setting [{path[-1]}] with value [{value}] as a time value: "
            "unit is missing or unrecognized"
        )
    return str(value)


def _read_any(body: Body, path: Path, value: Any) -> Any:
    return value


_Reader = tuple[str, Callable[[Body, Path, Any], Any]]
_READERS: Mapping[str, _Reader] = {
    "query": ("query", _read_query),
    "from": ("from_", _read_count),
    "size": ("size", _read_count),
    "sort": ("sort", parse_sorts),
    "_source": ("fetch_source", _read_source),
    "track_total_hits": ("track_total_hits", _read_track),
    "version": ("version", _read_flag),
    "seq_no_primary_term": ("seq_no_primary_term", _read_flag),
    "slice": ("slice", _read_slice),
    "terminate_after": ("terminate_after", _read_count),
    "timeout": ("timeout", _read_time),
    "stored_fields": ("stored_fields", _read_any),
    "taskfan": ("cost_per_shard_ms", _read_cost),
    # Read and forgotten: they change nothing that is shown here.
    "explain": ("", _read_any),
    "profile": ("", _read_any),
    "track_scores": ("", _read_any),
    "stats": ("", _read_any),
    "min_score": ("", _read_any),
}
# What OpenSearch reads besides. Source: `SearchSourceBuilder.parseXContent`.
_NOT_SIMULATED = frozenset(
    [
        *("aggs", "aggregations", "highlight", "suggest", "rescore", "collapse", "post_filter", "search_after", "pit"),
        *("fields", "docvalue_fields", "script_fields", "derived", "indices_boost", "ext", "search_pipeline"),
    ]
)


def read_count_body(raw: bytes) -> SearchSource:
    """The body of a count: nothing but a query.

    Raises:
        ParsingFailed: it has more. Source: OpenSearch `RestActions.getQueryContent`.
    """
    if not raw.strip():
        return SearchSource(size=0, track_total_hits=True)
    body = read_body(raw)
    for name in body.value if isinstance(body.value, dict) else ():
        if name != "query":
            raise body.parsing_failed(f"request does not support [{name}]", (name,), "key")
    return msgspec.structs.replace(parse_search(body), size=0, track_total_hits=True)
