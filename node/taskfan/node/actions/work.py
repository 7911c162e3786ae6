"""taskfan:work: simulated work, one task of a plan, shown under the plan's own action name.

Children start, are counted, banned and cancelled like those of any action: nothing here knows of bans.
What a plan may say is in `work_plan`; how children are started, in `work_children`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import lru_cache

import msgspec

from taskfan.node.action import Action, ActionContext, wake
from taskfan.node.actions.work_children import Children
from taskfan.node.clock import TimerHandle
from taskfan.node.errors import TaskCancelled, TaskfanError
from taskfan.node.task import TaskTraits
from taskfan.node.work_plan import WORK_ACTION, PlannedTask, Span, draw_ns
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


def work(context: ActionContext, request: pb.WorkRequest) -> Awaitable[pb.WorkResponse]:
    """Work as planned: ends when its own time is over and all its children have ended.

    Raises:
        TaskCancelled: it was cancelled, and its plan says that it stops then.
        TaskfanError: its plan says that it fails, or that it fails when a child does.
    """
    return _Work(context, request).run()


class _Work:
    """The run of one task: its own time, its children, and how it takes a cancel."""

    __slots__ = ("_children", "_context", "_ended", "_error", "_late_stop", "_own_time", "_plan", "_request")

    def __init__(self, context: ActionContext, request: pb.WorkRequest) -> None:
        self._context = context
        self._request = request
        self._plan = read_plan(request)
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._own_time: TimerHandle | None = None
        self._late_stop: TimerHandle | None = None
        self._children: Children | None = None
        # Why it ends before its time; the first reason counts.
        self._error: TaskfanError | None = None

    async def run(self) -> pb.WorkResponse:
        plan = self._plan
        if plan.status is not None:
            self._context.task.status = plan.show_status
        forget_cancel = self._context.on_stop(self._on_cancel)
        self._own_time = self._after(plan.duration, "duration", self._own_time_over)
        if plan.children:
            self._children = Children(self._context, self._request, plan, self._end_if_over, self._on_child_failure)
            self._children.start()
        self._end_if_over()
        try:
            await self._ended
        finally:
            forget_cancel()
            for timer in (self._own_time, self._late_stop):
                if timer is not None:
                    timer.cancel()
        return self._outcome()

    def _outcome(self) -> pb.WorkResponse:
        # Both know this: without that they would hold each other, and the task, until the next gc.
        error, self._error = self._error, None
        children, self._children = self._children, None
        if error is not None:
            try:
                raise error
            finally:
                del error
        if self._plan.outcome == "failure":
            raise self._plan.failure.to_error()
        response = pb.WorkResponse() if children is None else children.tally.to_wire()
        response.completed += 1
        return response

    def _after(self, span: Span, purpose: str, callback: Callable[[], None]) -> TimerHandle | None:
        time_ns = draw_ns(span, self._request.seed, self._request.path, purpose)
        return self._context.clock.call_later(time_ns / 1e9, callback) if time_ns else None

    def _own_time_over(self) -> None:
        self._own_time = None
        self._end_if_over()

    def _end_if_over(self) -> None:
        if self._own_time is None and (self._children is None or self._children.are_over):
            wake(self._ended, None)

    def _on_cancel(self, reason: str) -> None:
        plan = self._plan
        cancelled = TaskCancelled(f"cancelled task with reason: {reason}")
        if plan.on_cancel == "stops":
            self._stop(cancelled)
        elif plan.on_cancel == "fails":
            self._stop(plan.failure.to_error())
        elif plan.on_cancel == "stops_late":
            self._late_stop = self._after(plan.stops_after, "stops_after", lambda: self._stop(cancelled))

    def _on_child_failure(self, error: TaskfanError) -> None:
        if self._plan.on_child_failure == "fails":
            self._stop(error)

    def _stop(self, error: TaskfanError) -> None:
        """Do no more; the children that run are still waited for."""
        self._error = self._error or error
        if self._own_time is not None:
            self._own_time.cancel()
            self._own_time = None
        if self._children is not None:
            self._children.start_no_more()
        self._end_if_over()


WORK = Action(WORK_ACTION, work, pb.WorkRequest, pb.WorkResponse, traits_of)
