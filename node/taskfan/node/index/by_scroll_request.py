"""What a reindex, update by query or delete by query asks for. Pure.

Source: OpenSearch `AbstractBulkByScrollRequest` and its classes, `AbstractBaseReindexRestHandler`.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from taskfan.node.errors import IllegalArgument, NumberFormat, TaskfanError, ValidationFailed
from taskfan.node.ids import parse_long
from taskfan.node.index.active_shards import ActiveShardCount
from taskfan.node.index.by_scroll_status import float32
from taskfan.node.index.documents import OpType, VersionType, parse_op_type
from taskfan.node.index.errors import XContentParse
from taskfan.node.index.index_names import SEARCH_OPTIONS, IndicesOptions
from taskfan.node.index.scripts import Script, parse_script
from taskfan.node.index.search_source import SearchSource, Slice, parse_search
from taskfan.node.index.sorting import Sort
from taskfan.node.index.source_filter import SourceFilter
from taskfan.node.index.x_content import Body, Path, Place, read_body, token_name

ALL_DOCS = -1
AUTO_SLICES = 0
MOST_AUTO_SLICES = 20
DEFAULT_BATCH_SIZE = 1000
DEFAULT_SCROLL_MS = 300_000
# What Java reads as a float, but for its hexadecimal forms and NaN.
_JAVA_FLOAT = re.compile(r"[+-]?(?:Infinity|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[fFdD]?)", re.ASCII)
_RATE_FAULT = "[requests_per_second] must be a float greater than 0. Use -1 to disable throttling."


class Kind(enum.Enum):
    """Which of the three, by the action that does it."""

    REINDEX = "indices:data/write/reindex"
    UPDATE_BY_QUERY = "indices:data/write/update/byquery"
    DELETE_BY_QUERY = "indices:data/write/delete/byquery"

    @property
    def shows_created(self) -> bool:
        """Whether the direct answer counts documents that were created."""
        return self is Kind.REINDEX

    @property
    def shows_updated(self) -> bool:
        """Whether the direct answer counts documents that were updated."""
        return self is not Kind.DELETE_BY_QUERY


class Destination(msgspec.Struct, frozen=True):
    """Where a reindex writes, and how. `routing` is None, `keep`, `discard` or `=value`."""

    index: str | None = None
    routing: str | None = None
    op_type: OpType = OpType.INDEX
    version_type: VersionType = VersionType.INTERNAL
    pipeline: str | None = None


class ByScrollRequest(msgspec.Struct, frozen=True):
    """The request. `slices` of 0 means as many as the shards suggest; an infinite rate means no throttle."""

    kind: Kind
    indices: tuple[str, ...] = ()
    source: SearchSource = SearchSource(size=DEFAULT_BATCH_SIZE)
    destination: Destination = Destination()
    script: Script | None = None
    max_docs: int = ALL_DOCS
    abort_on_conflict: bool = True
    refresh: bool = False
    timeout_ms: int = 60_000
    wait_for_active_shards: ActiveShardCount = ActiveShardCount(1)
    requests_per_second: float = math.inf
    slices: int = 1
    store_result: bool = False
    scroll_ms: int = DEFAULT_SCROLL_MS
    pipeline: str | None = None
    # Of another cluster to read from: `host:port`.
    remote: str | None = None
    # How the indices of an update or delete by query are found, and which of their shards are meant.
    options: IndicesOptions = SEARCH_OPTIONS
    routing: str | None = None
    preference: str | None = None

    def faults(self) -> list[str]:
        """What makes this request invalid, in order. Source: the `validate` of each class of request."""
        found = self.source.scroll_faults()
        if self.source.from_ is not None:
            found.append("from is not supported in this context")
        if self.source.stored_fields is not None:
            found.append("stored_fields is not supported in this context")
        if self.max_docs != ALL_DOCS and self.max_docs <= 0:
            found.append(
                "maxDocs should be greater than 0 if the request is limited to some number of documents or -1 if it "
                f"isn't but it was [{self.max_docs}]"
            )
        if self.source.slice is not None and self.slices != 1:
            found.append("can't specify both manual and automatic slicing at the same time")
        return found + self._faults_of_kind()

    def _faults_of_kind(self) -> list[str]:
        found = []
        if self.kind is Kind.REINDEX:
            if not self.indices:
                found.append("use _all if you really want to copy from all existing indexes")
            if self.source.fetch_source is not None and not self.source.fetch_source.enabled:
                found.append("_source:false is not supported in this context")
            if self.destination.index is None:
                return [*found, "index must be specified"]
            routing = self.destination.routing
            if routing is not None and not routing.startswith("=") and routing not in ("keep", "discard"):
                found.append("routing must be unset, [keep], [discard] or [=<some new value>]")
        if self.kind is Kind.DELETE_BY_QUERY:
            if not self.indices:
                found.append("use _all if you really want to delete from all existing indexes")
            if self.source.query is None:
                found.append("query is missing")
        return found

    def validate(self) -> None:
        """Raises `ValidationFailed` with all that is wrong."""
        if found := self.faults():
            raise ValidationFailed(*found)

    @property
    def description(self) -> str:
        """What the task of this work says it does."""
        indices = f"[{', '.join(self.indices)}]" if self.indices else "[all indices]"
        scripted = f" updated with {self.script}" if self.script is not None else ""
        match self.kind:
            case Kind.REINDEX:
                return f"reindex from {indices}{scripted} to [{self.destination.index}]"
            case Kind.UPDATE_BY_QUERY:
                return f"update-by-query {indices}{scripted}"
        return f"delete-by-query {indices}"

    def first_search(self) -> SearchSource:
        """The search that finds the documents: in the order in which they lie, with what the writes need of them.

        Source: OpenSearch `AbstractAsyncBulkByScrollAction`.
        """
        reindex = self.kind is Kind.REINDEX
        return replace(
            self.source,
            sort=self.source.sort or (Sort("_doc"),),
            version=reindex and self.destination.version_type is not VersionType.INTERNAL,
            seq_no_primary_term=not reindex,
        )

    def for_slice(self, number: int, slices: int) -> ByScrollRequest:
        """The request of one of so many slices: its share of the rate and of the documents.

        Raises:
            IllegalArgument: there are fewer documents to be done than slices.

        Source: OpenSearch `AbstractBulkByScrollRequest.doForSlice`.
        """
        sliced = replace(
            self,
            source=replace(self.source, slice=Slice(number, slices)),
            requests_per_second=float32(self.requests_per_second / slices),
            slices=1,
            store_result=False,
        )
        return sliced if self.max_docs == ALL_DOCS else with_max_docs(sliced, self.max_docs // slices)


def with_max_docs(request: ByScrollRequest, max_docs: int) -> ByScrollRequest:
    """The same request for at most so many documents.

    Raises:
        IllegalArgument: the number is negative, or less than that of the slices.
    """
    if max_docs < 0:
        raise IllegalArgument(f"[max_docs] parameter cannot be negative, found [{max_docs}]")
    if max_docs < request.slices:
        raise IllegalArgument("[max_docs] should be >= [slices]")
    return replace(request, max_docs=max_docs)


def with_max_docs_once(request: ByScrollRequest, max_docs: int) -> ByScrollRequest:
    """The same, where the number may have been given before, and must then be the same."""
    if request.max_docs not in (ALL_DOCS, max_docs):
        raise IllegalArgument(f"[max_docs] set to two different values [{request.max_docs}] and [{max_docs}]")
    return with_max_docs(request, max_docs)


def parse_slices(text: str | None) -> int | None:
    """The URL parameter `slices`: a number, 0 for `auto`, None if it is missing."""
    if text is None:
        return None
    if text == "auto":
        return AUTO_SLICES
    fault = f'[slices] must be a positive integer or the string "auto", but was [{text}]'
    number = parse_long(text)
    if number is None or number >= 2**31:
        raise IllegalArgument(fault, cause=NumberFormat(f'For input string: "{text}"'))
    if number < 1:
        raise IllegalArgument(fault)
    return number


def parse_requests_per_second(text: str | None) -> float | None:
    """The URL parameter `requests_per_second`: infinite for -1, None if it is missing."""
    if text is None:
        return None
    if not _JAVA_FLOAT.fullmatch(text.strip()):
        raise IllegalArgument(_RATE_FAULT, cause=NumberFormat.of(text.strip()))
    rate = float32(float(text.strip().rstrip("fFdD")))
    if rate == -1:
        return math.inf
    if rate <= 0:
        raise IllegalArgument(_RATE_FAULT)
    return rate


def auto_slices(shards_by_index: Mapping[str, int]) -> int:
    """How many slices `auto` means: as many as the index with the fewest shards has, at most 20."""
    return min([*shards_by_index.values(), MOST_AUTO_SLICES]) if shards_by_index else 1


def parse_conflicts(text: str) -> bool:
    """Whether a conflict ends the work: `abort`, or `proceed`."""
    if text not in ("abort", "proceed"):
        raise IllegalArgument(f'conflicts may only be "proceed" or "abort" but was [{text}]')
    return text == "abort"


def read_reindex(raw: bytes) -> ByScrollRequest:
    """The body of a reindex.

    Raises:
        BodyUnreadable: there is none.
        XContentParse: a field is unknown, or its value does not do; the cause says why.
    """
    body = read_body(raw)
    if not isinstance(body.value, dict):
        raise body.x_content_parse(f"[reindex] Expected START_OBJECT but was: {token_name(body.value)}", ())
    request = ByScrollRequest(Kind.REINDEX)
    for name, value in body.value.items():
        request = _with_field(request, body, name, value)
    return request


_FIELD_TYPES: Mapping[str, tuple[type, ...]] = {
    "source": (dict,),
    "dest": (dict,),
    "script": (dict,),
    "max_docs": (int, float, str),
    "size": (int, float, str),
    "conflicts": (str,),
}


def _with_field(request: ByScrollRequest, body: Body, name: str, value: Any) -> ByScrollRequest:
    if name not in _FIELD_TYPES:
        raise body.x_content_parse(f"[reindex] unknown field [{name}]", (name,), "key")
    if type(value) not in _FIELD_TYPES[name]:
        raise body.x_content_parse(f"[reindex] {name} doesn't support values of type: {token_name(value)}", (name,))
    try:
        match name:
            case "source":
                return _with_source(request, value)
            case "dest":
                return replace(request, destination=_read_destination(body, value))
            case "script":
                return replace(request, script=_read_script(value))
            case "conflicts":
                return replace(request, abort_on_conflict=parse_conflicts(value))
        return with_max_docs_once(request, _whole(value))
    except TaskfanError as error:
        shown = "max_docs" if name == "size" else name
        place = _place_of_fault(body, name, error)
        raise XContentParse(f"[reindex] failed to parse field [{shown}]", *place, cause=error) from None


def _place_of_fault(body: Body, name: str, error: TaskfanError) -> Place:
    """Where OpenSearch's parser stands when a field turns out wrong."""
    if name == "source":
        # The source is read as a whole before it is looked at.
        return body.place((name,), "end")
    if name != "dest" or not isinstance(error, XContentParse):
        return body.place((name,), "end" if isinstance(body.value[name], dict) else "value")
    unknown = next((key for key in body.value[name] if f"unknown field [{key}]" in (error.reason or "")), None)
    return Place(error.line, error.column) if unknown is None else body.place((name, unknown))


def _whole(value: Any) -> int:
    if isinstance(value, str):
        number = parse_long(value)
        if number is None:
            raise NumberFormat(f'For input string: "{value}"')
        return number
    return int(value)


def _with_source(request: ByScrollRequest, given: Mapping[str, Any]) -> ByScrollRequest:
    source = dict(given)
    indices = _read_indices(source.pop("index", None))
    remote = _read_remote(source.pop("remote", None))
    # What is left is a search of its own, and its faults are placed within it.
    search = parse_search(read_body(msgspec.json.encode(source)))
    return replace(request, indices=indices, source=_with_batch_size(search), remote=remote)


def _read_remote(given: Any) -> str | None:
    """The host and port of another cluster to read from, which is refused once the work begins."""
    if given is None:
        return None
    host = given.get("host") if isinstance(given, dict) else None
    if not isinstance(host, str):
        raise IllegalArgument("[host] must be specified to reindex from a remote cluster")
    return host.partition("//")[2].partition("/")[0]


def _with_batch_size(search: SearchSource) -> SearchSource:
    return replace(search, size=DEFAULT_BATCH_SIZE) if search.size is None else search


def _read_indices(given: Any) -> tuple[str, ...]:
    if given is None:
        return ()
    if isinstance(given, list):
        return tuple(map(str, given))
    if not isinstance(given, str):
        raise IllegalArgument(f"Expected [index] to be a list or a string but was [{given}]")
    return tuple(given.split(","))


def _read_destination(body: Body, given: Mapping[str, Any]) -> Destination:
    found: dict[str, Any] = {}
    for name, value in given.items():
        path: Path = ("dest", name)
        if name not in ("index", "routing", "op_type", "pipeline", "version_type"):
            raise body.x_content_parse(f"[dest] unknown field [{name}]", path, "key")
        if not isinstance(value, str):
            raise body.x_content_parse(f"[dest] {name} doesn't support values of type: {token_name(value)}", path)
        try:
            readers = {"op_type": parse_op_type, "version_type": VersionType.parse}
            found[name] = readers[name](value) if name in readers else value
        except IllegalArgument as error:
            raise body.x_content_parse(f"[dest] failed to parse field [{name}]", path, cause=error) from None
    return Destination(**found)


def _read_script(given: Mapping[str, Any]) -> Script:
    if given.get("source") is None and given.get("id") is None:
        raise IllegalArgument("must specify either [source] for an inline script or [id] for a stored script")
    return parse_script(given)


def read_by_query(kind: Kind, indices: tuple[str, ...], raw: bytes) -> ByScrollRequest:
    """The body of an update or delete by query: that of a search, with `conflicts`, `max_docs` and `script`.

    Raises:
        ParsingFailed, XContentParse, IllegalArgument: in the words of OpenSearch.
    """
    request = ByScrollRequest(kind, indices)
    if kind is Kind.DELETE_BY_QUERY:
        request = replace(request, source=replace(request.source, fetch_source=SourceFilter(False)))
    if not raw.strip():
        return request
    body = read_body(raw)
    search = dict(body.value) if isinstance(body.value, dict) else body.value
    if isinstance(search, dict):
        request = _with_own_fields(request, search)
    # What is left is a search of its own, and its faults are placed within it.
    source = parse_search(read_body(msgspec.json.encode(search)))
    if source.size is not None:
        # The size of the search is an old name for the number of documents.
        request = with_max_docs_once(request, source.size)
    fetch_source = source.fetch_source or request.source.fetch_source
    return replace(request, source=replace(source, size=DEFAULT_BATCH_SIZE, fetch_source=fetch_source))


def _with_own_fields(request: ByScrollRequest, search: dict[str, Any]) -> ByScrollRequest:
    conflicts = search.pop("conflicts", None)
    if conflicts is not None:
        request = replace(request, abort_on_conflict=parse_conflicts(str(conflicts)))
    if request.kind is Kind.UPDATE_BY_QUERY:
        script = search.pop("script", None)
        if script is not None:
            request = replace(request, script=parse_script(script))
    max_docs = search.pop("max_docs", None)
    return request if max_docs is None else with_max_docs_once(request, _whole(max_docs))
