"""A search on one shard: which documents match, in which order, and what of them is shown. Pure.

Source: OpenSearch `SearchService`, `QueryPhase`, `FetchPhase`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import overload

import msgspec

from taskfan.node.errors import IllegalArgument
from taskfan.node.index.documents import Document
from taskfan.node.index.errors import SearchFailed, ShardId
from taskfan.node.index.field_values import TEXTS, comparable, values_at
from taskfan.node.index.mappings import FieldTypes
from taskfan.node.index.matching import Bound, Candidate, bind
from taskfan.node.index.murmur3 import mix
from taskfan.node.index.query import MatchAll
from taskfan.node.index.routing import id_in_slice, slice_has_shard, slice_within_shard
from taskfan.node.index.search_source import SearchSource, Slice
from taskfan.node.index.settings import MAX_RESULT_WINDOW, MAX_SLICES_PER_SCROLL, Settings, integer
from taskfan.node.index.sorting import SortValues, order_key, value_reader

# How many documents a query looks at without a pause: some milliseconds.
PIECE_DOCUMENTS = 1000


class ShardHit(msgspec.Struct, frozen=True):
    """One document that a shard found: its place among what the search sees, its score, and what it is sorted by."""

    place: int
    score: float | None
    sort: SortValues = ()


class _EveryDocument(Sequence[ShardHit]):
    """All documents in the order in which they lie there, made only when they are asked for."""

    def __init__(self, count: int, by_place: bool) -> None:
        self._count, self._by_place = count, by_place

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, key: int) -> ShardHit: ...
    @overload
    def __getitem__(self, key: slice) -> list[ShardHit]: ...
    def __getitem__(self, key: int | slice) -> ShardHit | list[ShardHit]:
        if isinstance(key, slice):
            return [self._hit(place) for place in range(*key.indices(self._count))]
        return self._hit(range(self._count)[key])

    def __iter__(self) -> Iterator[ShardHit]:
        return map(self._hit, range(self._count))

    def _hit(self, place: int) -> ShardHit:
        return ShardHit(place, None, (place,)) if self._by_place else ShardHit(place, 1.0)


class ShardTarget(msgspec.Struct, frozen=True):
    """The shard that a search runs on, and what the search needs to know of its index."""

    shard: ShardId
    number_of_shards: int
    fields: FieldTypes
    settings: Settings


class QueryResult(msgspec.Struct, frozen=True):
    """What the query phase found on a shard: how many match, and all of them in order."""

    total: int
    hits: Sequence[ShardHit]
    max_score: float | None = None

    def top(self, count: int) -> QueryResult:
        """With only the first hits, which is what travels."""
        return QueryResult(self.total, self.hits[:count], self.max_score)


def work_units(source: SearchSource, target: ShardTarget) -> int:
    """What a query costs before it looks at any document, in `regexps.WORK_UNIT_NS`."""
    return bind(source.query or MatchAll(), target.fields, target.shard).work_units


def query_shard(
    documents: Sequence[Document], source: SearchSource, target: ShardTarget, *, scroll: bool
) -> QueryResult:
    """The query phase at one go. As `query_pieces`."""
    pieces = query_pieces(documents, source, target, scroll=scroll)
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            result: QueryResult = end.value
            return result


def query_pieces(
    documents: Sequence[Document], source: SearchSource, target: ShardTarget, *, scroll: bool
) -> Generator[None, None, QueryResult]:
    """The query phase, with a pause after each piece of it so that others get their turn; returns what it found.

    Args:
        documents: what searches see of the shard.
        scroll: whether the search goes on after its first answer.

    Raises:
        QueryShardFailed, IllegalArgument, SearchFailed: the index does not allow this search.
    """
    check_window(source, target, scroll=scroll)
    bound = bind(source.query or MatchAll(), target.fields, target.shard)
    only_place = [sort.field for sort in source.sorts] == ["_doc"] and not source.sorts[0].descending
    if bound.matches_all and source.slice is None and (not source.sorts or only_place):
        hits: Sequence[ShardHit] = _EveryDocument(len(documents), only_place)
    else:
        hits = yield from _sorted_hits(documents, bound, source, target)
    best = None if source.sorts or not hits else max(hit.score or 0.0 for hit in hits[:1])
    return QueryResult(len(hits), hits, best)


def check_window(source: SearchSource, target: ShardTarget, *, scroll: bool) -> None:
    """Refuse what the settings of the index do not allow. Source: OpenSearch `DefaultSearchContext.preProcess`."""
    window = integer(target.settings, MAX_RESULT_WINDOW)
    wanted = source.first + source.count
    if wanted > window and scroll:
        raise IllegalArgument(
            f"Batch size is too large, size must be less than or equal to: [{window}] but was [{wanted}]. Scroll batch "
            "sizes cost as much memory as result windows so they are controlled by the [index.max_result_window] "
            "index level setting."
        )
    if wanted > window:
        raise IllegalArgument(
            f"Result window is too large, from + size must be less than or equal to: [{window}] but was [{wanted}]. "
            "See the scroll api for a more efficient way to request large data sets. This limit can be set by "
            "changing the [index.max_result_window] index level setting."
        )
    if source.slice is not None:
        _check_slice(source.slice, target, scroll=scroll)


def _check_slice(given: Slice, target: ShardTarget, *, scroll: bool) -> None:
    if not scroll:
        raise SearchFailed("`slice` cannot be used outside of a scroll context or PIT context")
    check_slices(given.max, target.settings)


def check_slices(slices: int, settings: Settings) -> None:
    """Refuse more slices than an index allows."""
    most = integer(settings, MAX_SLICES_PER_SCROLL)
    if slices > most:
        raise IllegalArgument(
            f"The number of slices [{slices}] is too large. It must be less than [{most}]. This limit can be set by "
            "changing the [index.max_slices_per_scroll] index level setting."
        )


def _sorted_hits(
    documents: Sequence[Document], bound: Bound, source: SearchSource, target: ShardTarget
) -> Generator[None, None, Sequence[ShardHit]]:
    sorts = source.sorts
    readers = [value_reader(sort, target.fields, target.shard) for sort in sorts]
    hits = []
    next_pause = PIECE_DOCUMENTS
    for place, document in _in_slice(documents, source.slice, target):
        if place >= next_pause:
            next_pause = place + PIECE_DOCUMENTS
            yield
        candidate = Candidate(document)
        score = bound.matcher(candidate)
        if score is not None:
            values = tuple(read(candidate, place, score) for read in readers)
            hits.append(ShardHit(place, None if sorts else score, values))
    if sorts:
        hits.sort(key=lambda hit: order_key(sorts, hit.sort))
    else:
        hits.sort(key=lambda hit: -(hit.score or 0.0))
    return hits


def _in_slice(
    documents: Sequence[Document], given: Slice | None, target: ShardTarget
) -> Iterator[tuple[int, Document]]:
    numbered = enumerate(documents)
    if given is None:
        return numbered
    if not slice_has_shard(given.id, given.max, target.shard.number, target.number_of_shards):
        return iter(())
    part = slice_within_shard(given.id, given.max, target.shard.number, target.number_of_shards)
    if part is None:
        return numbered
    if given.field == "_id":
        return ((place, document) for place, document in numbered if id_in_slice(document.id, *part))
    return _in_value_slice(numbered, given.field, part, target)


def _in_value_slice(
    numbered: Iterator[tuple[int, Document]], name: str, part: tuple[int, int], target: ShardTarget
) -> Iterator[tuple[int, Document]]:
    """Slices over a numeric field; a document without a value counts as zero. Source: `DocValuesSliceQuery`."""
    field = target.fields.get(name)
    if field is None:
        raise IllegalArgument(f"field {name} not found")
    if field.type in TEXTS:
        raise IllegalArgument(f"cannot load numeric doc values on {name}")
    slice_id, most = part
    for place, document in numbered:
        values = [comparable(field.type, value) for value in values_at(Candidate(document).source, field.path)]
        hashes = [mix(int(value)) for value in values if value is not None] or [0]
        if any(found % most == slice_id for found in hashes):
            yield place, document


class FetchedHit(msgspec.Struct, frozen=True):
    """One hit with its document, as the fetch phase gives it back. `source` are the bytes that are shown, or None."""

    index: str
    id: str
    score: float | None
    sort: SortValues
    version: int
    seq_no: int
    primary_term: int
    routing: str | None = None
    source: bytes | None = None


def fetch(
    index: str, documents: Sequence[Document], hits: Sequence[ShardHit], source: SearchSource
) -> list[FetchedHit]:
    """The fetch phase: the documents of some hits, their sources cut as the search asks."""
    shows = source.fetch_source
    fetched = []
    for hit in hits:
        document = documents[hit.place]
        assert document.source is not None
        shown: bytes | None = document.source
        if shows is not None and not shows.shows_all:
            shown = msgspec.json.encode(shows.apply(Candidate(document).source)) if shows.enabled else None
        fetched.append(
            FetchedHit(
                index,
                document.id,
                hit.score,
                hit.sort,
                document.version,
                document.seq_no,
                document.primary_term,
                document.routing,
                shown,
            )
        )
    return fetched
