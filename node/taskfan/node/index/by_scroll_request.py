"""What a reindex, update by query or delete by query asks for. Pure.

Source: OpenSearch `AbstractBulkByScrollRequest` and its classes, `AbstractBaseReindexRestHandler`.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from taskfan.node.errors import IllegalArgument, NumberFormat, ValidationFailed
from taskfan.node.ids import parse_long
from taskfan.node.index.active_shards import ActiveShardCount
from taskfan.node.index.by_scroll_status import float32
from taskfan.node.index.documents import OpType, VersionType
from taskfan.node.index.index_names import SEARCH_OPTIONS, IndicesOptions
from taskfan.node.index.scripts import Script
from taskfan.node.index.search_source import SearchSource, Slice
from taskfan.node.index.sorting import Sort

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
    require_alias: bool = False


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
