"""The children of one task of simulated work: when and where each starts, and how they ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from taskfan.node.action import ActionContext
from taskfan.node.errors import NoSuchNode, TaskCancelled, TaskfanError
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


class _Child:
    """One copy of an entry: `Timed`, and called once with its answer. Small, for it lives as long as its task."""

    __slots__ = ("children", "copy", "entry")

    def __init__(self, children: Children, entry: _Entry, copy: int) -> None:
        self.children, self.entry, self.copy = children, entry, copy

    def __call__(self, answer: pb.WorkResponse | TaskfanError) -> None:
        self.children.ended(self, answer)

    def time_is_up(self, key: int) -> None:
        """Its delay is over."""
        self.children.delay_over(self, key)

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
        # Children whose turn it is, the calls to come of those that are delayed, and how many in all have not ended.
        self._ready: deque[_Child] = deque()
        self._delayed: dict[int, None] = {}
        self._outstanding = 0
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
        for key in self._delayed:
            self._context.node.timers.cancel(key)
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
                self._begin(_Child(self, entry, copy))
        if self._ready:
            # Not at once: what a child answers at once must not happen in the midst of its parent's start.
            self._context.clock.call_later(0, self._start_some)

    def _begin(self, child: _Child) -> None:
        delay_ns = draw_ns(child.entry.planned.start_after, self._request.seed, self._path_of(child), "start_after")
        if delay_ns:
            self._delayed[self._context.node.timers.call(delay_ns, child)] = None
        else:
            self._ready.append(child)

    def delay_over(self, child: _Child, key: int) -> None:
        """It is a child's turn."""
        del self._delayed[key]
        self._start(child)

    def _start_some(self) -> None:
        for _ in range(_BATCH):
            if not self._ready:
                return
            self._start(self._ready.popleft())
        self._context.clock.call_later(0, self._start_some)

    def _start(self, child: _Child) -> None:
        context, planned, seed = self._context, child.entry.planned, self._request.seed
        copy = child.copy if len(child.entry.nodes) > 1 else self._request.copy
        request = pb.WorkRequest(plan=child.entry.plan, seed=seed, path=self._path_of(child), copy=copy)
        to = context.node.cluster_state.get(child.node_id)
        try:
            if planned.via == "execute":
                context.begin(planned.action, request, child, handler=WORK_ACTION, type="transport")
            elif to is None:
                raise NoSuchNode(child.node_id)
            elif to.id == context.node.local.id:
                context.begin(planned.action, request, child, handler=WORK_ACTION, type="direct")
            else:
                context.ask(to, context.request(planned.action, request, handler=WORK_ACTION), child)
        except TaskfanError as error:
            self.ended(child, error)

    def _path_of(self, child: _Child) -> str:
        return path_of_copy(self._request.path, child.entry.number, child.copy, len(child.entry.nodes))

    def ended(self, child: _Child, answer: pb.WorkResponse | TaskfanError) -> None:
        """A child ended, or could not be started."""
        if isinstance(answer, TaskfanError):
            path, action = self._path_of(child), child.entry.planned.action
            self.tally.add_failure(child.place, path, action, child.node_id, answer)
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
        if answer.failures:
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
