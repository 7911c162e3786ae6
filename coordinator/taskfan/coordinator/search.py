"""indices:data/read/search: a search over the shards of some indices, as a tree of tasks.

Source: OpenSearch `TransportSearchAction`, `SearchQueryThenFetchAsyncAction`, `FetchSearchPhase`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from taskfan.coordinator.search_request import SearchRequest
from taskfan.coordinator.search_shards import (
    SearchedShard,
    ShardAnswer,
    ShardRequests,
    searched_shards,
)
from taskfan.node.action import Action, ActionContext
from taskfan.node.actions.search import FETCH, FETCH_SCROLL, FREE, QUERY, SEARCH_ACTION, reader_text
from taskfan.node.cluster_settings import CANCEL_AFTER
from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.errors import TaskfanError
from taskfan.node.index.errors import ShardId
from taskfan.node.index.index_names import resolve
from taskfan.node.index.scrolls import ContextId, ScrollId
from taskfan.node.index.search_merge import Merged, SearchAnswer, ShardTotals, check_failures, in_order, merge
from taskfan.node.index.search_phases import FetchedHit, ShardHit
from taskfan.node.index.search_source import SearchSource
from taskfan.node.index.search_wire import decode_fetched, encode_hits, encode_source, query_result
from taskfan.node.shards import shard_to_wire
from taskfan.node.task import TaskTraits
from taskfan.node.task_json import human_duration
from taskfan.v1 import search_pb2 as pb


async def search(context: ActionContext, request: SearchRequest) -> SearchAnswer:
    """Ask each shard, merge what they found, and fetch the documents that are shown.

    Raises:
        IndexNotFound, InvalidIndexName: a name means no index.
        ValidationFailed: a scroll does not allow this search.
        SearchPhaseFailed: no shard answered, or some did not where that is not allowed.
    """
    began_ns = context.clock.monotonic_ns()
    source = request.source or SearchSource()
    if request.scroll_ms is not None:
        source.validate_scroll()
    with cancelled_after(context, request.cancel_after_ms):
        run = _Search(context, request, source)
        merged, totals, hits, scroll_id = await run.run()
    took_ms = (context.clock.monotonic_ns() - began_ns) // 1_000_000
    return SearchAnswer(took_ms, totals, merged, tuple(hits), scroll_id)


@contextlib.contextmanager
def cancelled_after(context: ActionContext, interval_ms: int | None) -> Iterator[None]:
    """Cancel the task if the block takes longer. None is what the cluster's setting says, -1 is no limit.

    Source: OpenSearch `TimeoutTaskCancellationUtility`.
    """
    if interval_ms is None:
        interval_ms = context.node.cluster_state.settings.time_ms(CANCEL_AFTER)
    if interval_ms is None or interval_ms <= 0:
        yield
        return
    reason = f"Cancellation timeout of {human_duration(interval_ms * 1_000_000)} is expired"

    def cancel() -> None:
        context.node.cancel(context.task, reason, wait=False).add_done_callback(lambda done: done.exception())

    timer = context.clock.call_later(interval_ms / 1000, cancel)
    try:
        yield
    finally:
        timer.cancel()


class _Search:
    """The run of one search."""

    def __init__(self, context: ActionContext, request: SearchRequest, source: SearchSource) -> None:
        self._context, self._request, self._source = context, request, source
        self._requests = ShardRequests(context, request.max_concurrent_shard_requests)
        self._is_single = False

    async def run(self) -> tuple[Merged, ShardTotals, list[FetchedHit], str | None]:
        shards = self._shards()
        self._is_single = len(shards) == 1
        answers = await self._requests.ask_all(shards, self._query)
        try:
            return await self._fetched(answers)
        except TaskfanError:
            # Nobody gets to know the readers of a search that fails.
            # Source: OpenSearch `AbstractSearchAsyncAction.raisePhaseFailure`.
            release(self._context, [found for found in answers if found.answer is not None])
            raise

    async def _fetched(
        self, answers: Sequence[ShardAnswer]
    ) -> tuple[Merged, ShardTotals, list[FetchedHit], str | None]:
        failures = tuple(found.as_failure() for found in answers if found.failure is not None and found.node_id)
        totals = ShardTotals(len(answers), sum(found.failure is None for found in answers), failures)
        check_failures("query", totals, allow_partial=self._request.allow_partial)
        results = [None if found.answer is None else query_result(found.answer) for found in answers]
        scroll_id = self._scroll_id(answers)
        merged = merge(results, self._source, scroll=scroll_id is not None)
        late_failures: list[ShardAnswer] = []
        if self._is_single:
            fetched = [decode_fetched(found.answer.fetched) for found in answers]
        else:
            fetched, late_failures = await fetch_all(
                self._context, self._requests, answers, merged, scroll=scroll_id is not None
            )
        if late_failures:
            failed = tuple(found.as_failure() for found in late_failures)
            totals = ShardTotals(totals.total, totals.successful - len(failed), (*failures, *failed))
            check_failures("fetch", totals, allow_partial=self._request.allow_partial)
        return merged, totals, in_order(merged, fetched), scroll_id

    def _shards(self) -> list[SearchedShard]:
        request, node = self._request, self._context.node
        indices = resolve(node.cluster_state.indices, request.indices, request.options)
        first = node.local.id if request.preference == "_local" else None
        return searched_shards(
            node.cluster_state, indices, routing=request.routing, start=self._context.task.id.number, first=first
        )

    async def _query(self, node: DiscoveryNode, shard: ShardId) -> pb.ShardQueryResult:
        request = pb.ShardSearchRequest(
            shard=shard_to_wire(shard),
            source=encode_source(self._source),
            scroll_keep_alive_millis=self._request.scroll_ms,
            fetch=self._is_single,
        )
        answer: pb.ShardQueryResult = await self._context.send(node, QUERY, request)
        return answer

    def _scroll_id(self, answers: Sequence[ShardAnswer]) -> str | None:
        if self._request.scroll_ms is None:
            return None
        contexts = [
            ContextId(found.answer.reader.session, found.answer.reader.number, found.node_id or "")
            for found in answers
            if found.answer is not None
        ]
        return ScrollId(tuple(contexts), self._request.indices).encode()


async def fetch_all(
    context: ActionContext,
    requests: ShardRequests,
    answers: Sequence[ShardAnswer],
    merged: Merged,
    *,
    scroll: bool,
) -> tuple[list[list[FetchedHit]], list[ShardAnswer]]:
    """The fetch phase: the documents of the merged hits, shard by shard, and the shards that failed in it.

    Unless the search goes on, the readers of shards without any such hit are freed, and of those whose fetch failed:
    it may never have come there. Source: OpenSearch `FetchSearchPhase.releaseIrrelevantSearchContext`.
    """

    async def fetch(number: int, found: ShardAnswer) -> ShardAnswer:
        hits = merged.wanted_of(number)
        if found.answer is None or not hits:
            if found.answer is not None and not scroll:
                release(context, [found])
            return ShardAnswer(found.shard, found.node_id)
        fetched = await requests.ask(
            found.node_id or "", found.shard, lambda node: _fetch(context, node, found.answer.reader, hits, scroll)
        )
        if fetched.failure is not None and not scroll:
            release(context, [found])
        return fetched

    asked = [context.clock.spawn(fetch(number, found), "fetch of a search") for number, found in enumerate(answers)]
    fetched: list[ShardAnswer] = [await one for one in asked]  # type: ignore[misc]
    documents = [[] if found.answer is None else decode_fetched(found.answer.fetched) for found in fetched]
    return documents, [found for found in fetched if found.failure is not None]


async def _fetch(
    context: ActionContext, node: DiscoveryNode, reader: pb.ReaderRef, hits: Sequence[ShardHit], scroll: bool
) -> pb.ShardFetchResult:
    request = pb.ShardFetchRequest(
        reader=reader,
        hits=encode_hits(hits),
        description=f"id[{reader_text(reader)}], size[{len(hits)}], lastEmittedDoc[null]",
    )
    answer: pb.ShardFetchResult = await context.send(node, FETCH_SCROLL if scroll else FETCH, request)
    return answer


def release(context: ActionContext, answers: Sequence[ShardAnswer]) -> None:
    """Free readers that nobody needs any more. Nobody waits for that, and it is no child of the search.

    Source: OpenSearch `SearchPhaseContext.sendReleaseSearchContext`.
    """
    for found in answers:
        node = context.node.cluster_state.get(found.node_id or "")
        if node is not None and found.answer.HasField("reader"):
            context.clock.spawn(_free(context, node, found.answer.reader), FREE)


async def _free(context: ActionContext, node: DiscoveryNode, reader: pb.ReaderRef) -> None:
    with contextlib.suppress(TaskfanError):
        # It is forgotten there in time anyway.
        await context.node.send(node, FREE, pb.FreeReaderRequest(reader=reader), headers=context.task.headers)


def _traits(request: SearchRequest) -> TaskTraits:
    return TaskTraits(request.description, cancellable=True)


SEARCH = Action(SEARCH_ACTION, search, SearchRequest, traits=_traits)
