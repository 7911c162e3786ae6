"""taskfan:work: simulated work, one task of a plan, shown under the plan's own action name.

Children start, are counted, banned and cancelled like those of any action: nothing here knows of bans.
What a plan may say is in `work_plan`; how children are started, in `work_children`.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from taskfan.node.action import Action, Begun
from taskfan.node.actions.work_children import Children
from taskfan.node.errors import TaskCancelled, TaskfanError
from taskfan.node.task import TaskTraits
from taskfan.node.work_plan import WORK_ACTION, PlannedTask, draw_ns
from taskfan.v1 import actions_pb2 as pb

# Plans up to this size are read once for all copies; larger ones, of which a tree has few, each time.
_CACHED_PLAN_BYTES = 4 << 10

_decode = msgspec.json.Decoder(PlannedTask).decode
_decode_cached = lru_cache(maxsize=64)(_decode)


def request_of(plan: PlannedTask, seed: int) -> pb.WorkRequest:
    """The request that starts the first task of a plan."""
    return pb.WorkRequest(plan=msgspec.json.encode(plan), seed=seed)


def read_plan(request: pb.WorkRequest) -> PlannedTask:
    """The plan in a request; shared, so not to be changed."""
    return _decode_cached(request.plan) if len(request.plan) <= _CACHED_PLAN_BYTES else _decode(request.plan)


def traits_of(request: pb.WorkRequest) -> TaskTraits:
    """What the task of a request will be."""
    return read_plan(request).traits(request.copy)


class PlannedWork(Begun):
    """The run of one task as planned: it ends when its own time is over and all its children have ended.

    With TaskCancelled when it was cancelled and its plan says that it stops then, with another error when its plan says
    that it fails, or that it fails when a child does. It is `Timed`: most of it does nothing but wait for a time.
    """

    __slots__ = ("_children", "_error", "_late_stop", "_own_time", "_plan", "_stops_after_ns")

    _plan: PlannedTask
    _stops_after_ns: int
    # Keys of calls to come; 0 when none is.
    _own_time: int
    _late_stop: int
    _children: Children | None
    # Why it ends before its time; the first reason counts.
    _error: TaskfanError | None

    def start(self, request: pb.WorkRequest) -> None:
        """Begin, and end at once if there is nothing to wait for."""
        plan = self._plan = read_plan(request)
        self._stops_after_ns = self._own_time = self._late_stop = 0
        self._children = self._error = None
        if plan.status is not None:
            self.task.status = plan.show_status
        if plan.on_cancel == "stops_late":
            self._stops_after_ns = draw_ns(plan.stops_after, request.seed, request.path, "stops_after")
        if duration_ns := draw_ns(plan.duration, request.seed, request.path, "duration"):
            self._own_time = self.node.timers.call(duration_ns, self)
        if plan.children:
            self._children = Children(self, request, plan, self._end_if_over, self._on_child_failure)
            self._children.start()
        if self.task.cancelled is not None:
            self.cancel(self.task.cancelled.reason)
        self._end_if_over()

    def time_is_up(self, key: int) -> None:
        """Its own time is over, or that which it takes to stop."""
        if key == self._own_time:
            self._own_time = 0
        else:
            self._late_stop = 0
            assert self.task.cancelled is not None
            self._give_up(_cancelled(self.task.cancelled.reason))
        self._end_if_over()

    def cancel(self, reason: str) -> None:
        """Take a cancel as the plan says."""
        plan, node = self._plan, self.node
        if plan.on_cancel == "stops":
            self._give_up(_cancelled(reason))
        elif plan.on_cancel == "fails":
            self._give_up(plan.failure.to_error())
        elif plan.on_cancel == "stops_late" and self._stops_after_ns:
            self._late_stop = node.timers.call(self._stops_after_ns, self)
        # Not at once: who cancels is still telling others.
        node.clock.call_later(0, self._end_if_over)

    def _on_child_failure(self, error: TaskfanError) -> None:
        if self._plan.on_child_failure == "fails":
            self._give_up(error)

    def _give_up(self, error: TaskfanError) -> None:
        """Do no more; the children that run are still waited for."""
        self._error = self._error or error
        if self._own_time:
            self.node.timers.cancel(self._own_time)
            self._own_time = 0
        if self._children is not None:
            self._children.start_no_more()

    def _end_if_over(self) -> None:
        if self._own_time or (self._children is not None and not self._children.are_over):
            return
        if self.answered is not None:
            if self._late_stop:
                self.node.timers.cancel(self._late_stop)
            self.end(self._outcome())

    def _outcome(self) -> pb.WorkResponse | TaskfanError:
        # They know this: without that they would hold each other, and the task, until the next gc.
        children, self._children = self._children, None
        if self._error is not None:
            return self._error
        if self._plan.outcome == "failure":
            return self._plan.failure.to_error()
        if children is None:
            return _ONE_COMPLETED
        response = children.tally.to_wire()
        response.completed += 1
        return response


def _cancelled(reason: str) -> TaskCancelled:
    return TaskCancelled(f"cancelled task with reason: {reason}")


# The answer of every task without children that ends well. Not to be changed.
_ONE_COMPLETED = pb.WorkResponse(completed=1)

WORK = Action(WORK_ACTION, PlannedWork, pb.WorkRequest, pb.WorkResponse, traits_of)
