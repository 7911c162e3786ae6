"""The time that the work of a search takes on a shard, and the resources its task shows meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from taskfan.node.action import ActionContext
from taskfan.node.clock import Clock
from taskfan.node.errors import TaskCancelled
from taskfan.node.index.regexps import WORK_UNIT_NS
from taskfan.node.index.search_phases import ShardTarget, work_units
from taskfan.node.index.search_source import SearchSource
from taskfan.node.index.settings import COST_PER_CALL_MS, COST_PER_DOCUMENT_MS, integer

# Work looks at the flag of its task at the end of each piece of this length; a cancel is noticed that much later, for
# the piece that runs is finished. (A real node compiles all expressions of a query, some seconds, without a look.)
PIECE_S = 1.0
# A real node took some 43 MB for the first 55 ms of a slow search.
_BASE_MEMORY_BYTES, _MEMORY_BYTES_PER_MS = 256 << 10, 780_000


def query_cost_s(source: SearchSource, target: ShardTarget, documents: int) -> float:
    """How long the query phase takes: what the query costs by itself, and what index and request say besides.

    Raises:
        QueryShardFailed: the fields of the index do not allow the query.
    """
    cost_ns = work_units(source, target) * WORK_UNIT_NS
    per_call_ms = max(integer(target.settings, COST_PER_CALL_MS), source.cost_per_shard_ms)
    cost_ms = per_call_ms + documents * integer(target.settings, COST_PER_DOCUMENT_MS)
    return cost_ns / 1e9 + cost_ms / 1e3


async def work_for(context: ActionContext, seconds: float) -> None:
    """Let so much time pass as work.

    Raises:
        TaskCancelled: the task was cancelled, and the piece of work over that had begun.
    """
    began_ns = context.clock.monotonic_ns()
    if seconds > 0 and not await context.sleep_unless_cancelled(seconds):
        rest_s = seconds - (context.clock.monotonic_ns() - began_ns) / 1e9
        await context.clock.sleep(max(0.0, min(PIECE_S, rest_s)))
    check_cancelled(context)


def check_cancelled(context: ActionContext) -> None:
    """Raises TaskCancelled, in the words of a search, if the task was cancelled. Source: `CancellableBulkScorer`."""
    if context.task.cancelled is not None:
        raise TaskCancelled(f"cancelled task with reason: {context.task.cancelled.reason}")


def show_resources(context: ActionContext) -> None:
    """Let the task show what its one thread has used: all its time, and memory that grows with it.

    Source: OpenSearch `TaskResourceTrackingService`. Differs: nothing is measured, so that numbers are the same in
    every run under virtual time.
    """
    context.task.resource_stats = _stats_of(context.clock, context.task.start_ns)


def _stats_of(clock: Clock, start_ns: int) -> Callable[[], bytes]:
    def stats() -> bytes:
        cpu_ns = clock.monotonic_ns() - start_ns
        memory_bytes = _BASE_MEMORY_BYTES + cpu_ns // 1_000_000 * _MEMORY_BYTES_PER_MS
        used = b'{"cpu_time_in_nanos":%d,"memory_in_bytes":%d}' % (cpu_ns, memory_bytes)
        shown = b",".join(b'"%b":%b' % (name, used) for name in (b"average", b"total", b"min", b"max"))
        return b'{%b,"thread_info":{"thread_executions":1,"active_threads":1}}' % shown

    return stats
