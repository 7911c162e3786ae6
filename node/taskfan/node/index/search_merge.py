"""A search over many shards: their results made one, and the answer a client reads. Pure.

Source: OpenSearch `SearchPhaseController`, `SearchResponse`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from taskfan.node.index.errors import SearchPhaseFailed, ShardSearchFailure, group_failures
from taskfan.node.index.search_phases import FetchedHit, QueryResult, ShardHit
from taskfan.node.index.search_source import SearchSource
from taskfan.node.index.sorting import order_key, shown_value


class MergedHit(msgspec.Struct, frozen=True):
    """One hit of the whole search: which shard has it, by its place among the shards asked, and the hit there."""

    shard: int
    hit: ShardHit


class Merged(msgspec.Struct, frozen=True):
    """What a search found on all shards. `total` is None when it was not counted."""

    hits: tuple[MergedHit, ...]
    total: int | None
    relation: str = "eq"
    max_score: float | None = None

    def wanted_of(self, shard: int) -> list[ShardHit]:
        """The hits that must be fetched from one shard."""
        return [merged.hit for merged in self.hits if merged.shard == shard]


def merge(results: Sequence[QueryResult | None], source: SearchSource, *, scroll: bool = False) -> Merged:
    """The best hits of all shards, in order; equals stand in the order of the shards.

    Args:
        results: one for each shard that was asked; None for one that failed.
        scroll: whether the search goes on: then all hits count, whatever the source says.

    Source: OpenSearch `SearchPhaseController.sortDocs`, `SearchRequest.resolveTrackTotalHitsUpTo`.
    """
    first, last = source.first, source.first + source.count
    ordered = heapq.merge(
        *(_keyed(shard, result, source) for shard, result in enumerate(results) if result is not None)
    )
    hits = [merged for number, (_, _, _, merged) in zip(range(last), ordered, strict=False) if number >= first]
    scores = [result.max_score for result in results if result is not None and result.max_score is not None]
    # Without any shard there is a score of zero; without hits to show there is none.
    best = (max(scores, default=None) if source.count else None) if any(results) else 0.0
    total, relation = _counted(results, True if scroll else source.counted_up_to)
    return Merged(tuple(hits), total, relation, None if source.sorts else best)


def _keyed(
    shard: int, result: QueryResult, source: SearchSource
) -> Iterator[tuple[tuple[Any, ...], int, int, MergedHit]]:
    for rank, hit in enumerate(result.hits):
        key = order_key(source.sorts, hit.sort) if source.sorts else (-(hit.score or 0.0),)
        yield key, shard, rank, MergedHit(shard, hit)


def _counted(results: Sequence[QueryResult | None], upto: int | bool) -> tuple[int | None, str]:
    total = sum(result.total for result in results if result is not None)
    if upto is False or upto == -1:
        return None, "eq"
    if upto is not True and total > upto:
        return int(upto), "gte"
    return total, "eq"


def in_order(merged: Merged, fetched: Sequence[Sequence[FetchedHit]]) -> list[FetchedHit]:
    """The fetched documents in the order of the hits, as each shard gives its own; lost ones are left out."""
    left = [iter(hits) for hits in fetched]
    found = (next(left[hit.shard], None) for hit in merged.hits)
    return [hit for hit in found if hit is not None]


class ShardTotals(msgspec.Struct, frozen=True):
    """How the shards of a search fared. A shard without an active copy is neither successful nor failed."""

    total: int
    successful: int
    failures: tuple[ShardSearchFailure, ...] = ()
    skipped: int = 0

    def to_object(self) -> dict[str, Any]:
        """As `_shards` of an answer."""
        shown: dict[str, Any] = {
            "total": self.total,
            "successful": self.successful,
            "skipped": self.skipped,
            "failed": len(self.failures),
        }
        if self.failures:
            shown["failures"] = [failure.to_object() for failure in group_failures(self.failures)]
        return shown


def check_failures(phase: str, totals: ShardTotals, *, allow_partial: bool = True) -> None:
    """Fail the search if no shard answered, or any did not and the request wants all.

    Raises:
        SearchPhaseFailed: with the failures of the shards.

    Source: OpenSearch `AbstractSearchAsyncAction.executeNextPhase`.
    """
    if totals.total and not totals.successful:
        raise SearchPhaseFailed(phase, "all shards failed", totals.failures)
    if totals.successful < totals.total and not allow_partial:
        raise SearchPhaseFailed(phase, "Partial shards failure", totals.failures)


class SearchAnswer(msgspec.Struct, frozen=True):
    """The whole answer to a search, before it is written."""

    took_ms: int
    shards: ShardTotals
    merged: Merged
    hits: tuple[FetchedHit, ...] = ()
    scroll_id: str | None = None
    timed_out: bool = False

    def to_object(self, source: SearchSource, *, total_as_int: bool = False) -> dict[str, Any]:
        """The body. The sources of hits are `msgspec.Raw`, so that they are written as they came.

        Source: OpenSearch `SearchResponse.innerToXContent`.
        """
        shown: dict[str, Any] = {} if self.scroll_id is None else {"_scroll_id": self.scroll_id}
        shown |= {"took": self.took_ms, "timed_out": self.timed_out, "_shards": self.shards.to_object()}
        hits: dict[str, Any] = {}
        if total_as_int:
            hits["total"] = -1 if self.merged.total is None else self.merged.total
        elif self.merged.total is not None:
            hits["total"] = {"value": self.merged.total, "relation": self.merged.relation}
        hits["max_score"] = self.merged.max_score
        hits["hits"] = [hit_object(hit, source) for hit in self.hits]
        return {**shown, "hits": hits}


def hit_object(hit: FetchedHit, source: SearchSource) -> dict[str, Any]:
    """One hit as a client reads it. Source: OpenSearch `SearchHit.toInnerXContent`."""
    shown: dict[str, Any] = {"_index": hit.index, "_id": hit.id}
    if source.version:
        shown["_version"] = hit.version
    if source.seq_no_primary_term:
        shown |= {"_seq_no": hit.seq_no, "_primary_term": hit.primary_term}
    shown["_score"] = hit.score
    if hit.routing is not None:
        shown["_routing"] = hit.routing
    if hit.source is not None:
        shown["_source"] = msgspec.Raw(hit.source)
    if source.sorts:
        shown["sort"] = [shown_value(value) for value in hit.sort]
    return shown


def count_answer(merged: Merged, shards: ShardTotals) -> dict[str, Any]:
    """The body of the answer to a count. Source: OpenSearch `RestCountAction`."""
    return {"count": merged.total or 0, "_shards": shards.to_object()}


class MultiSearchAnswer(msgspec.Struct):
    """The answer to a msearch: each item is an answer or an error envelope, in order."""

    took_ms: int
    items: list[dict[str, Any]] = []

    def add(self, answer: dict[str, Any]) -> None:
        """An item that succeeded."""
        self.items.append({**answer, "status": 200})

    def add_failure(self, envelope: dict[str, Any]) -> None:
        """An item that failed; `envelope` is `{"error": …, "status": …}` as for a request of its own."""
        self.items.append(envelope)

    def to_object(self) -> dict[str, Any]:
        """The body."""
        return {"took": self.took_ms, "responses": self.items}
