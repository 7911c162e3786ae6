"""indices:data/read/msearch: several searches in one request, each a child task.

Source: OpenSearch `TransportMultiSearchAction`.
"""

from __future__ import annotations

from collections import deque

import msgspec

from taskfan.coordinator.search_request import SearchRequest
from taskfan.node.action import Action, ActionContext
from taskfan.node.actions.search import SEARCH_ACTION
from taskfan.node.errors import TaskCancelled, TaskfanError
from taskfan.node.index.search_merge import SearchAnswer
from taskfan.node.task import TaskTraits

MULTI_SEARCH_ACTION = "indices:data/read/msearch"
# How many searches run at a time for each data node. Source: OpenSearch, with the thread pool of a large node.
CONCURRENT_PER_DATA_NODE = 10


class MultiSearchRequest(msgspec.Struct, frozen=True):
    """Several searches; None is the default of how many run at a time."""

    searches: tuple[SearchRequest, ...]
    max_concurrent_searches: int | None = None

    @property
    def description(self) -> str:
        """What its task says it does: OpenSearch took the parts of its joining collector for something else."""
        joined = f"{MULTI_SEARCH_ACTION}[".join(search.description for search in self.searches)
        return f",{joined}]"


class MultiSearchOutcome(msgspec.Struct, frozen=True):
    """What came of each search, in order, and how long all took."""

    took_ms: int
    outcomes: tuple[SearchAnswer | TaskfanError, ...]


async def multi_search(context: ActionContext, request: MultiSearchRequest) -> MultiSearchOutcome:
    """Run the searches, so many at a time. One that fails costs no other its answer."""
    began_ns = context.clock.monotonic_ns()
    data_nodes = sum(node.is_data for node in context.node.cluster_state)
    most = request.max_concurrent_searches or max(1, data_nodes * CONCURRENT_PER_DATA_NODE)
    outcomes: list[SearchAnswer | TaskfanError | None] = [None] * len(request.searches)
    waiting = deque(enumerate(request.searches))

    async def run() -> None:
        while waiting:
            number, search = waiting.popleft()
            outcomes[number] = await _run(context, search)

    runners = [context.clock.spawn(run(), MULTI_SEARCH_ACTION) for _ in range(min(most, len(request.searches)))]
    for runner in runners:
        await runner
    took_ms = (context.clock.monotonic_ns() - began_ns) // 1_000_000
    return MultiSearchOutcome(took_ms, tuple(outcome for outcome in outcomes if outcome is not None))


async def _run(context: ActionContext, search: SearchRequest) -> SearchAnswer | TaskfanError:
    if context.task.cancelled is not None:
        return TaskCancelled("Parent task was cancelled")
    try:
        answer: SearchAnswer = await context.execute(SEARCH_ACTION, search)
    except TaskfanError as error:
        return error
    return answer


def _traits(request: MultiSearchRequest) -> TaskTraits:
    return TaskTraits(request.description, cancellable=True)


MULTI_SEARCH = Action(MULTI_SEARCH_ACTION, multi_search, MultiSearchRequest, traits=_traits)
