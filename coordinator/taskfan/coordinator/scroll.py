"""indices:data/read/scroll and …/clear: the next page of a search that goes on, and its end.

Source: OpenSearch `TransportSearchScrollAction`, `SearchScrollAsyncAction`, `ClearScrollController`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from taskfan.coordinator.search import fetch_all
from taskfan.coordinator.search_shards import ShardAnswer, ShardRequests
from taskfan.node.action import Action, ActionContext
from taskfan.node.actions.search import CLEAR_SCROLLS, FREE_SCROLL, QUERY_FETCH_SCROLL, QUERY_SCROLL, reader_text
from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.errors import TaskfanError
from taskfan.node.index.scrolls import ContextId, ScrollId, scroll_ids_to_clear
from taskfan.node.index.search_merge import SearchAnswer, ShardTotals, check_failures, in_order, merge
from taskfan.node.index.search_source import SearchSource
from taskfan.node.index.search_wire import decode_fetched, decode_source, query_result
from taskfan.node.shards import shard_from_wire
from taskfan.node.task import TaskTraits
from taskfan.node.task_json import human_duration
from taskfan.v1 import search_pb2 as pb

SCROLL_ACTION = "indices:data/read/scroll"
CLEAR_ACTION = f"{SCROLL_ACTION}/clear"


class ScrollRequest(msgspec.Struct, frozen=True):
    """The next page. `keep_alive_ms` replaces that of the search from now on."""

    scroll_id: str
    keep_alive_ms: int | None = None

    @property
    def description(self) -> str:
        """What its task says it does."""
        return f"scrollId[{self.scroll_id}], {self._scroll_text}"

    @property
    def _scroll_text(self) -> str:
        if self.keep_alive_ms is None:
            return "scroll[null]"
        return f"scroll[Scroll{{keepAlive={human_duration(self.keep_alive_ms * 1_000_000)}}}]"

    def shard_description(self, reader: pb.ReaderRef) -> str:
        """What the tasks of its shards say they do."""
        return f"id[{reader_text(reader)}], {self._scroll_text}"


class ScrollAnswer(msgspec.Struct, frozen=True):
    """A page, and the search it belongs to: how its hits are shown depends on it."""

    answer: SearchAnswer
    source: SearchSource


async def scroll(context: ActionContext, request: ScrollRequest) -> ScrollAnswer:
    """Ask each reader for its next hits, and merge them.

    Raises:
        IllegalArgument: the id is none.
        SearchPhaseFailed: all readers are gone.
    """
    began_ns = context.clock.monotonic_ns()
    contexts = ScrollId.decode(request.scroll_id).contexts
    requests, is_single = ShardRequests(context), len(contexts) == 1

    async def ask(reader: ContextId) -> ShardAnswer:
        reference = pb.ReaderRef(session=reader.session, number=reader.number)
        message = pb.ShardScrollRequest(
            reader=reference,
            keep_alive_millis=request.keep_alive_ms,
            fetch=is_single,
            description=request.shard_description(reference),
        )
        action = QUERY_FETCH_SCROLL if is_single else QUERY_SCROLL
        found = await requests.ask(reader.node_id, None, lambda node: context.send(node, action, message))
        return found if found.answer is None else _with_shard(found)

    asked = [context.clock.spawn(ask(reader), SCROLL_ACTION) for reader in contexts]
    answers: list[ShardAnswer] = [await one for one in asked]  # type: ignore[misc]
    return await _merged(context, requests, answers, request.scroll_id, began_ns)


def _with_shard(found: ShardAnswer) -> ShardAnswer:
    return ShardAnswer(shard_from_wire(found.answer.shard), found.node_id, found.answer)


async def _merged(
    context: ActionContext, requests: ShardRequests, answers: Sequence[ShardAnswer], scroll_id: str, began_ns: int
) -> ScrollAnswer:
    failures = tuple(found.as_failure() for found in answers if found.failure is not None)
    totals = ShardTotals(len(answers), len(answers) - len(failures), failures)
    check_failures("query", totals)
    there = [found.answer for found in answers if found.answer is not None]
    source = decode_source(there[0].source) if there else SearchSource()
    results = [None if found.answer is None else query_result(found.answer) for found in answers]
    merged = merge(results, source, scroll=True)
    late: list[ShardAnswer] = []
    if len(answers) == 1:
        fetched = [decode_fetched(answer.fetched) for answer in there]
    else:
        fetched, late = await fetch_all(context, requests, answers, merged, scroll=True)
    if late:
        totals = ShardTotals(
            totals.total, totals.successful - len(late), (*failures, *(found.as_failure() for found in late))
        )
        check_failures("fetch", totals)
    took_ms = (context.clock.monotonic_ns() - began_ns) // 1_000_000
    return ScrollAnswer(SearchAnswer(took_ms, totals, merged, tuple(in_order(merged, fetched)), scroll_id), source)


class ClearScrollRequest(msgspec.Struct, frozen=True):
    """The scrolls that are to end, by their ids; `_all` for all."""

    scroll_ids: tuple[str, ...]


async def clear_scroll(context: ActionContext, request: ClearScrollRequest) -> int:
    """Free the readers of scrolls. Returns how many there were; of `_all`, how many nodes were asked.

    Raises:
        ValidationFailed: none is named.
        IllegalArgument: one is no scroll id.
    """
    scrolls = scroll_ids_to_clear(request.scroll_ids)
    if scrolls is None:
        calls = [_free(context, node, CLEAR_SCROLLS, pb.FreeReaderRequest()) for node in context.node.cluster_state]
    else:
        calls = [
            _free(context, node, FREE_SCROLL, pb.FreeReaderRequest(reader=_reference(reader)))
            for scroll_id in scrolls
            for reader in scroll_id.contexts
            if (node := context.node.cluster_state.get(reader.node_id)) is not None
        ]
    running = [context.clock.spawn(call, CLEAR_ACTION) for call in calls]
    freed: list[Any] = [await one for one in running]
    return sum(freed)


def _reference(reader: ContextId) -> pb.ReaderRef:
    return pb.ReaderRef(session=reader.session, number=reader.number)


async def _free(context: ActionContext, node: DiscoveryNode, action: str, request: pb.FreeReaderRequest) -> bool:
    """Whether it was freed. Its task has no parent, as in OpenSearch."""
    try:
        answer = await context.node.send(node, action, request, headers=context.task.headers)
    except TaskfanError:
        return False
    return bool(answer.freed)


def _traits(request: ScrollRequest) -> TaskTraits:
    return TaskTraits(request.description, cancellable=True)


SCROLL = Action(SCROLL_ACTION, scroll, ScrollRequest, traits=_traits)
CLEAR_SCROLL = Action(CLEAR_ACTION, clear_scroll, ClearScrollRequest)
