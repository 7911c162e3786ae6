"""indices:data/read/search[…]: the phases of a search on one shard.

Source: OpenSearch `SearchTransportService`, `SearchService`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from taskfan.node.action import Action, ActionContext
from taskfan.node.actions.search_work import check_cancelled, query_cost_s, show_resources, work_for
from taskfan.node.errors import IndexNotFound
from taskfan.node.index.documents import Document
from taskfan.node.index.errors import SearchContextMissing, ShardId
from taskfan.node.index.mappings import FieldTypes
from taskfan.node.index.metadata import IndexMetadata
from taskfan.node.index.scrolls import ReaderContext
from taskfan.node.index.search_phases import QueryResult, ShardHit, ShardTarget, fetch, query_pieces
from taskfan.node.index.search_source import SearchSource
from taskfan.node.index.search_wire import decode_hits, decode_source, encode_fetched, encode_hits, encode_source
from taskfan.node.node import Node
from taskfan.node.shards import shard_from_wire, shard_to_wire
from taskfan.node.task import TaskTraits
from taskfan.v1 import search_pb2 as pb

SEARCH_ACTION = "indices:data/read/search"
QUERY, FETCH, FREE = (f"{SEARCH_ACTION}[{phase}]" for phase in ("phase/query", "phase/fetch/id", "free_context"))
QUERY_SCROLL, QUERY_FETCH_SCROLL = (f"{SEARCH_ACTION}[phase/{phase}/scroll]" for phase in ("query", "query+fetch"))
FETCH_SCROLL, FREE_SCROLL = f"{SEARCH_ACTION}[phase/fetch/id/scroll]", f"{SEARCH_ACTION}[free_context/scroll]"
CLEAR_SCROLLS = f"{SEARCH_ACTION}[clear_scroll_contexts]"
# How long the reader of a search that does not go on is kept. Source: `search.default_keep_alive`.
DEFAULT_KEEP_ALIVE_MS = 300_000
# How often a node forgets readers that nobody used in time. Source: `search.keep_alive_interval`.
EXPIRY_INTERVAL_S = 60.0


def reader_text(reader: pb.ReaderRef) -> str:
    """A reader in the descriptions of tasks. Source: `ShardSearchContextId`."""
    return f"[{reader.session}][{reader.number}]"


async def query(context: ActionContext, request: pb.ShardSearchRequest) -> pb.ShardQueryResult:
    """The query phase: which documents of a shard match; of the one shard of a search, these documents too.

    Raises:
        ShardNotFound, IndexNotFound: the shard is not here.
        QueryShardFailed, IllegalArgument, SearchFailed: the index does not allow this search.
        TooManyScrolls: too many readers are open.
        TaskCancelled: the task was cancelled.
    """
    show_resources(context)
    source, target = decode_source(request.source), _target(context.node, request)
    documents = context.node.shards.copy(target.shard).visible
    await work_for(context, query_cost_s(source, target, len(documents)))
    if request.HasField("scroll_keep_alive_millis"):
        result = await _found(context, documents, source, target, scroll=True)
        return _first_page(context.node, request, documents, source, target, result)
    result = await _found(context, documents, source, target, scroll=False)
    answer = _result(result.top(source.first + source.count))
    if request.fetch:
        shown = result.hits[source.first : source.first + source.count]
        answer.fetched = _fetched(target, documents, shown, source)
    elif result.hits:
        # A shard that found nothing is not asked again.
        reader = _open(context.node, target, documents, source, DEFAULT_KEEP_ALIVE_MS, scroll=False)
        answer.reader.CopyFrom(_reference(context.node, reader))
    return answer


async def _found(
    context: ActionContext, documents: Sequence[Document], source: SearchSource, target: ShardTarget, *, scroll: bool
) -> QueryResult:
    """What matches; others get their turn after each piece of it. Raises TaskCancelled, and what the query does."""
    pieces = query_pieces(documents, source, target, scroll=scroll)
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            result: QueryResult = end.value
            return result
        await context.clock.sleep(0)
        check_cancelled(context)


def _target(node: Node, request: pb.ShardSearchRequest) -> ShardTarget:
    shard = shard_from_wire(request.shard)
    index = _check_index(node, shard)
    return ShardTarget(shard, index.number_of_shards, FieldTypes(index.mapping), index.settings)


def _check_index(node: Node, shard: ShardId) -> IndexMetadata:
    index = node.cluster_state.indices.metadata.get(shard.index)
    if index is None or index.uuid != shard.index_uuid:
        raise IndexNotFound(shard.index)
    return index


def _first_page(
    node: Node,
    request: pb.ShardSearchRequest,
    documents: Sequence[Document],
    source: SearchSource,
    target: ShardTarget,
    result: QueryResult,
) -> pb.ShardQueryResult:
    reader = _open(node, target, documents, source, request.scroll_keep_alive_millis, scroll=True)
    reader.result = result
    return _page(node, reader, fetched=request.fetch)


def _open(
    node: Node,
    target: ShardTarget,
    documents: Sequence[Document],
    source: SearchSource,
    keep_alive_ms: int,
    *,
    scroll: bool,
) -> ReaderContext:
    # The index may have been deleted while the query ran: of such a reader nobody would ever be rid.
    _check_index(node, target.shard)
    reader = node.readers.open(target, documents, source, _now_ms(node), keep_alive_ms, scroll=scroll)
    _expire_later(node)
    return reader


def _expire_later(node: Node) -> None:
    """See to it that the readers nobody uses in time are forgotten, as long as there are any."""
    if not node.readers.expiry_is_set and len(node.readers):
        node.readers.expiry_is_set = True
        node.clock.call_later(EXPIRY_INTERVAL_S, lambda: _expire(node))


def _expire(node: Node) -> None:
    node.readers.expiry_is_set = False
    node.readers.expire(_now_ms(node))
    _expire_later(node)


def _now_ms(node: Node) -> int:
    return node.clock.monotonic_ns() // 1_000_000


def _reference(node: Node, reader: ReaderContext) -> pb.ReaderRef:
    return pb.ReaderRef(session=node.readers.session, number=reader.number)


def _result(result: QueryResult) -> pb.ShardQueryResult:
    answer = pb.ShardQueryResult(total=result.total, hits=encode_hits(result.hits))
    if result.max_score is not None:
        answer.max_score = result.max_score
    return answer


def _fetched(
    target: ShardTarget, documents: Sequence[Document], hits: Sequence[ShardHit], source: SearchSource
) -> bytes:
    return encode_fetched(fetch(target.shard.index, documents, hits, source))


def _page(node: Node, reader: ReaderContext, *, fetched: bool) -> pb.ShardQueryResult:
    """The next hits of a scroll; with `fetched` also their documents, and then they count as given out."""
    page = reader.page()
    answer = _result(page)
    answer.reader.CopyFrom(_reference(node, reader))
    answer.shard.CopyFrom(shard_to_wire(reader.target.shard))
    answer.source = encode_source(reader.source)
    if fetched:
        answer.fetched = _fetched(reader.target, reader.documents, page.hits, reader.source)
        reader.advance(len(page.hits))
    return answer


# ------------------------------------------------------------------ what follows the query


@contextlib.contextmanager
def _reader(node: Node, reference: pb.ReaderRef, keep_alive_ms: int | None = None) -> Iterator[ReaderContext]:
    """A reader, while it is used. Raises SearchContextMissing when it, or its index, is gone."""
    reader = node.readers.get(reference.session, reference.number, _now_ms(node), keep_alive_ms)
    shard = reader.target.shard
    index = node.cluster_state.indices.metadata.get(shard.index)
    if index is None or index.uuid != shard.index_uuid:
        node.readers.free_index(shard.index_uuid)
        raise SearchContextMissing(reference.number)
    reader.in_use += 1
    try:
        yield reader
    finally:
        reader.in_use -= 1


async def fetch_documents(context: ActionContext, request: pb.ShardFetchRequest) -> pb.ShardFetchResult:
    """The fetch phase: the documents of some hits. The reader of a search that does not go on is freed with it.

    Raises:
        SearchContextMissing: the reader is gone.
        TaskCancelled: the task was cancelled.
    """
    show_resources(context)
    check_cancelled(context)
    node, hits = context.node, decode_hits(request.hits)
    with _reader(node, request.reader) as reader:
        fetched = _fetched(reader.target, reader.documents, hits, reader.source)
        reader.advance(len(hits))
        if not reader.scroll:
            node.readers.free(request.reader.session, request.reader.number)
    return pb.ShardFetchResult(fetched=fetched)


async def next_page(context: ActionContext, request: pb.ShardScrollRequest) -> pb.ShardQueryResult:
    """The next hits of a scroll.

    Raises:
        SearchContextMissing: the reader is gone.
        IllegalArgument: it is to be kept for too long.
        TaskCancelled: the task was cancelled.
    """
    show_resources(context)
    keep_alive_ms = request.keep_alive_millis if request.HasField("keep_alive_millis") else None
    with _reader(context.node, request.reader, keep_alive_ms) as reader:
        await work_for(context, reader.source.cost_per_shard_ms / 1e3)
        return _page(context.node, reader, fetched=request.fetch)


async def free_reader(context: ActionContext, request: pb.FreeReaderRequest) -> pb.FreeReaderResponse:
    """Forget a reader; says whether it was there."""
    freed = context.node.readers.free(request.reader.session, request.reader.number)
    return pb.FreeReaderResponse(freed=freed)


async def clear_scrolls(context: ActionContext, request: pb.FreeReaderRequest) -> pb.FreeReaderResponse:
    """Forget the readers of all scrolls."""
    context.node.readers.free_all_scrolls()
    return pb.FreeReaderResponse(freed=True)


def _leaf(description: Callable[[pb.ShardSearchRequest], str]) -> Callable[[pb.ShardSearchRequest], TaskTraits]:
    return lambda request: TaskTraits(description(request), cancellable=True, cancels_children=False)


def _described(request: pb.ShardFetchRequest | pb.ShardScrollRequest) -> TaskTraits:
    return TaskTraits(request.description, cancellable=True, cancels_children=False)


SEARCH_PHASES = (
    Action(
        QUERY,
        query,
        pb.ShardSearchRequest,
        pb.ShardQueryResult,
        _leaf(lambda request: f"shardId[[{request.shard.index}][{request.shard.number}]]"),
    ),
    Action(FETCH, fetch_documents, pb.ShardFetchRequest, pb.ShardFetchResult, _described),
    Action(FETCH_SCROLL, fetch_documents, pb.ShardFetchRequest, pb.ShardFetchResult, _described),
    Action(QUERY_SCROLL, next_page, pb.ShardScrollRequest, pb.ShardQueryResult, _described),
    Action(QUERY_FETCH_SCROLL, next_page, pb.ShardScrollRequest, pb.ShardQueryResult, _described),
    Action(FREE, free_reader, pb.FreeReaderRequest, pb.FreeReaderResponse),
    Action(FREE_SCROLL, free_reader, pb.FreeReaderRequest, pb.FreeReaderResponse),
    Action(CLEAR_SCROLLS, clear_scrolls, pb.FreeReaderRequest, pb.FreeReaderResponse),
)
