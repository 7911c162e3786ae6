"""The children of one task of simulated work: when and where each starts, and how they ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple

import msgspec

from taskfan.node.action import ActionContext
from taskfan.node.clock import TimerHandle
from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.errors import NoSuchNode, TaskCancelled, TaskfanError
from taskfan.node.transport import Request
from taskfan.node.work_plan import WORK_ACTION, PlannedTask, draw_ns, path_of_copy
from taskfan.v1 import actions_pb2 as pb

MAX_FAILURES = 10
# Children started before others get a turn on the event loop.
_BATCH = 200


class _Entry(NamedTuple):
    """One entry of `children` with what its copies share."""

    number: int
    planned: PlannedTask
    plan: bytes
    nodes: list[str]


class _Child(NamedTuple):
    """One copy of an entry."""

    entry: _Entry
    copy: int
    path: str

    @property
    def place(self) -> tuple[int, int]:
        return self.entry.number, self.copy

    @property
    def node_id(self) -> str:
        return self.entry.nodes[self.copy]


class Children:
    """Starts the children of a task as its plan says, and tells when all have ended.

    Args:
        request: that of the parent.
        all_ended: called when no child runs and none will start.
        one_failed: called with the error of each child that failed or was cancelled.
    """

    def __init__(
        self,
        context: ActionContext,
        request: pb.WorkRequest,
        plan: PlannedTask,
        all_ended: Callable[[], None],
        one_failed: Callable[[TaskfanError], None],
    ) -> None:
        self._context = context
        self._request = request
        self._sequential = plan.sequential
        self._all_ended = all_ended
        self._one_failed = one_failed
        self._entries = deque(enumerate(plan.children))
        # Children whose turn it is, children that wait for their delay, and how many in all have not ended.
        self._ready: deque[_Child] = deque()
        self._delayed: dict[tuple[int, int], TimerHandle] = {}
        self._outstanding = 0
        self._is_asking = False
        self.tally = Tally()

    @property
    def are_over(self) -> bool:
        """Whether no child runs and none will start."""
        return self._outstanding == 0 and not self._entries

    def start(self) -> None:
        """Begin the first entry of a sequence, or else all."""
        self._begin_entries()

    def start_no_more(self) -> None:
        """Let those that run end, and start no others."""
        for timer in self._delayed.values():
            timer.cancel()
        self._outstanding -= len(self._delayed) + len(self._ready)
        self._delayed.clear()
        self._ready.clear()
        self._entries.clear()

    def _begin_entries(self) -> None:
        while self._entries and not (self._sequential and self._outstanding):
            number, planned = self._entries.popleft()
            nodes = planned.nodes_of_copies(self._context.node.local.id)
            entry = _Entry(number, planned, msgspec.json.encode(planned), nodes)
            self._outstanding += len(nodes)
            for copy in range(len(nodes)):
                self._begin(entry, copy)
        self._start_some()

    def _begin(self, entry: _Entry, copy: int) -> None:
        path = path_of_copy(self._request.path, entry.number, copy, len(entry.nodes))
        child = _Child(entry, copy, path)
        delay_ns = draw_ns(entry.planned.start_after, self._request.seed, path, "start_after")
        if delay_ns:
            timer = self._context.clock.call_later(delay_ns / 1e9, lambda: self._delay_over(child))
            self._delayed[child.place] = timer
        else:
            self._ready.append(child)

    def _delay_over(self, child: _Child) -> None:
        del self._delayed[child.place]
        self._start(child)

    def _start_some(self) -> None:
        for _ in range(min(_BATCH, len(self._ready))):
            self._start(self._ready.popleft())
        if self._ready:
            self._context.clock.call_later(0, self._start_some)

    def _start(self, child: _Child) -> None:
        context, planned = self._context, child.entry.planned
        to = context.node.cluster_state.get(child.node_id)
        if planned.via == "execute" or to is None or to.id == context.node.local.id:
            context.clock.spawn(self._run(child, to), child.path)
            return
        # Without a task here: a thousand children elsewhere would cost four times the memory.
        message = self._request_of(child).SerializeToString()
        request = Request(planned.action, message, WORK_ACTION, context.task.id, context.task.headers)
        self._is_asking = True
        try:
            context.ask(to, request, partial(self._answered, child))
        finally:
            self._is_asking = False

    async def _run(self, child: _Child, to: DiscoveryNode | None) -> None:
        try:
            answer = await self._ask(child, to)
        except TaskfanError as error:
            self._take(child, error)
        except BaseException:
            # A bug, or the node is being closed.
            self.start_no_more()
            self._one_ended()
            raise
        else:
            self._take(child, answer)

    def _ask(self, child: _Child, to: DiscoveryNode | None) -> Awaitable[Any]:
        """Have it run on this node. Raises NoSuchNode, or what awaiting it raises."""
        context, planned, request = self._context, child.entry.planned, self._request_of(child)
        if planned.via == "execute":
            return context.execute(planned.action, request, handler=WORK_ACTION)
        if to is None:
            raise NoSuchNode(child.node_id)
        return context.send(to, planned.action, request, handler=WORK_ACTION)

    def _request_of(self, child: _Child) -> pb.WorkRequest:
        copy = child.copy if len(child.entry.nodes) > 1 else self._request.copy
        return pb.WorkRequest(plan=child.entry.plan, seed=self._request.seed, path=child.path, copy=copy)

    def _answered(self, child: _Child, answer: pb.WorkResponse | TaskfanError) -> None:
        if self._is_asking:
            # At once: what follows from it must not happen in the midst of a start, each within the one before.
            self._context.clock.call_later(0, partial(self._take, child, answer))
        else:
            self._take(child, answer)

    def _take(self, child: _Child, answer: pb.WorkResponse | TaskfanError) -> None:
        if isinstance(answer, TaskfanError):
            self.tally.add_failure(child.place, child.path, child.entry.planned.action, child.node_id, answer)
            self._one_failed(answer)
        else:
            self.tally.add(child.place, answer)
        self._one_ended()

    def _one_ended(self) -> None:
        self._outstanding -= 1
        if not self._outstanding:
            self._begin_entries()
        if self.are_over:
            self._all_ended()


class Tally:
    """How the children of a task, and all below them, ended."""

    __slots__ = ("_cancelled", "_completed", "_failed", "_failures")

    def __init__(self) -> None:
        self._completed = 0
        self._failed = 0
        self._cancelled = 0
        self._failures: list[tuple[tuple[int, int], pb.WorkFailure]] = []

    def add(self, place: tuple[int, int], answer: pb.WorkResponse) -> None:
        """A child that ended well, with its own tally."""
        self._completed += answer.completed
        self._failed += answer.failed
        self._cancelled += answer.cancelled
        self._note(place, list(answer.failures))

    def add_failure(self, place: tuple[int, int], path: str, action: str, node_id: str, error: TaskfanError) -> None:
        """A child that failed, was cancelled or could not be started."""
        if _is_cancel(error):
            self._cancelled += 1
        else:
            self._failed += 1
        self._note(place, [pb.WorkFailure(path=path, action=action, node_id=node_id, error=error.to_wire())])

    def _note(self, place: tuple[int, int], failures: list[pb.WorkFailure]) -> None:
        self._failures += ((place, failure) for failure in failures)
        if len(self._failures) > 10 * MAX_FAILURES:
            self._keep_first()

    def _keep_first(self) -> None:
        # By place in the plan, not in the order of time: the same work gives the same answer.
        self._failures.sort(key=lambda noted: noted[0])
        del self._failures[MAX_FAILURES:]

    def to_wire(self) -> pb.WorkResponse:
        """The answer of a task with these children, itself not counted."""
        self._keep_first()
        return pb.WorkResponse(
            completed=self._completed,
            failed=self._failed,
            cancelled=self._cancelled,
            failures=[failure for _, failure in self._failures],
        )


def _is_cancel(error: TaskfanError | None) -> bool:
    """Whether a cancel is behind it, wrapped as one that could not be sent or by itself."""
    while error is not None:
        if error.kind == TaskCancelled.kind:
            return True
        error = error.cause
    return False
