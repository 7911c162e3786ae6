"""Runs actions, each as a task: registers it, unregisters it when it has ended, and only then answers.

Source: OpenSearch `TransportAction`, `TaskManager`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from taskfan.node.action import Action, ActionContext, Begun, TaskListener, wake
from taskfan.node.errors import TaskfanError
from taskfan.node.ids import TaskId
from taskfan.node.journal import Journal, task_event
from taskfan.node.task import Task, TaskType
from taskfan.node.transport import Answered, InboundLink, Request, settle
from taskfan.node.waiting import of_bug, tell, wait_for

if TYPE_CHECKING:
    from taskfan.node.node import Node

log = logging.getLogger("taskfan.node")

Context = TypeVar("Context", bound=ActionContext)


class Start(msgspec.Struct, gc=False):
    """An action that is to run, and the task that it will be. `name` is the task's, and may not be the action's."""

    action: Action
    name: str
    request: Any
    type: TaskType
    parent: TaskId
    headers: Mapping[str, str]


class TaskRunner:
    """Whatever runs has begun here; what comes of it is awaited, or told.

    To tell is the general way: who begins a task may forget it, and holds nothing while it runs. A handler that is a
    coroutine is awaited by the clock then. Who awaits it himself needs nothing to be told, and no task of asyncio.
    """

    def __init__(self, node: Node, journal: Journal) -> None:
        self._node, self._registry, self._clock, self._journal = node, node.registry, node.clock, journal
        self._listeners: list[TaskListener] = []
        self._waiting_for_end: dict[int, list[asyncio.Future[None]]] = {}

    def begin(self, start: Start, answered: Answered, link: InboundLink | None = None) -> Task:
        """What comes of it is told once, perhaps before this returns: a response or a TaskfanError.

        Args:
            link: brought the request; then a payload is told instead of a response.

        Raises:
            TaskfanError: it is not registered; nothing is told.
        """
        action, request, name = start.action, start.request, start.name
        if isinstance(action.handler, type):
            begun: Begun = self._register(start, action.handler, answered, link)
            try:
                begun.start(request)
            except Exception as error:
                self.end(begun, of_bug(error, name))
            return begun.task
        context = self._register(start, ActionContext, answered, link)
        self._clock.begin(tell(partial(action.run, context, request), partial(self.end, context), name), name)
        return context.task

    async def run(self, start: Start, registered: Callable[[Task], object] | None = None) -> Any:
        """What the handler gives or raises. Who gives up waiting for a coroutine ends it; what has begun goes on.

        Args:
            registered: told the task at once, for who must be able to cancel it.
        """
        if isinstance(start.action.handler, type):
            return await self._wait_for_begun(start, registered)
        context = self._register(start, ActionContext)
        try:
            if registered is not None:
                registered(context.task)
            return await start.action.run(context, start.request)
        finally:
            self._unregister(context)

    async def _wait_for_begun(self, start: Start, registered: Callable[[Task], object] | None) -> Any:
        ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        task = self.begin(start, partial(settle, ended))
        if registered is not None:
            registered(task)
        try:
            return await ended
        finally:
            # It may hold an error, which holds this frame.
            del ended

    def answer_at_once(self, request: Request, answer: Callable[[bytes], bytes]) -> bytes:
        """A task that nobody can cancel, wait for or see in a list, for it is over when this returns."""
        if not (self._journal.is_on or self._listeners):
            # Nor does anything else see it.
            self._registry.pass_by()
            return answer(request.payload)
        now_ms, now_ns, parent = self._clock.wall_time_ms(), self._clock.monotonic_ns(), request.parent
        task = self._registry.register(
            request.action, type="transport", now_ms=now_ms, now_ns=now_ns, parent=parent, headers=request.headers
        )
        self._tell("registered", task)
        try:
            return answer(request.payload)
        finally:
            self._registry.unregister(task)
            self._tell("unregistered", task)

    def end(self, context: ActionContext, outcome: Any) -> None:
        """What was begun is over."""
        answered, name = context.answered, context.task.action
        if answered is None:
            # It was given up when the node was closed.
            return
        self._unregister(context)
        try:
            if context.link is not None and not isinstance(outcome, TaskfanError):
                outcome = outcome.SerializeToString()
                self._node.spare_memory.answered(len(outcome))
        except Exception as error:
            outcome = of_bug(error, name)
        try:
            answered(outcome)
        except Exception:
            # What else ends now must be answered all the same.
            log.exception("the answer to [%s]", name)

    def close(self) -> None:
        """Give up what was begun, and tell nobody; what is awaited ends with the clock."""
        for context in self.contexts():
            if isinstance(context, Begun):
                self._unregister(context)

    def contexts(self) -> Iterator[ActionContext]:
        """Those of all tasks that run now."""
        for task in list(self._registry):
            if isinstance(task.context, ActionContext):
                yield task.context

    def stop(self, task: Task, reason: str) -> None:
        """It was cancelled: tell who follows, and what runs it."""
        self._tell("cancelled", task)
        if isinstance(task.context, ActionContext):
            task.context.stop(reason)

    def _register(
        self,
        start: Start,
        context_type: type[Context],
        answered: Answered | None = None,
        link: InboundLink | None = None,
    ) -> Context:
        clock = self._clock
        now_ms, now_ns, traits = clock.wall_time_ms(), clock.monotonic_ns(), start.action.traits(start.request)
        try:
            task = self._registry.register(
                start.name,
                type=start.type,
                now_ms=now_ms,
                now_ns=now_ns,
                traits=traits,
                parent=start.parent,
                headers=start.headers,
            )
        except TaskfanError as error:
            self._node.note_refusal(start.name, self._node.local, start.parent, error)
            raise
        self._tell("registered", task)
        # Whoever is told may cancel it already; what runs it looks for that when it begins.
        task.context = context = context_type(self._node, task, answered, link)
        return context

    def _unregister(self, context: ActionContext) -> None:
        task = context.task
        # They know each other: without that they would hold each other until the next gc.
        task.context = context.answered = None
        effects = self._registry.unregister(task)
        self._tell("unregistered", task)
        self._tell_end(task.id.number)
        self._node.carry_out(effects)

    # ------------------------------------------------------------------ following what happens

    def end_of(self, task: Task) -> asyncio.Future[None]:
        """Done when the task has been unregistered."""
        ended = wait_for(task.id.number, self._waiting_for_end)
        if self._registry.get(task.id.number) is not task:
            self._tell_end(task.id.number)
        return ended

    def _tell_end(self, number: int) -> None:
        for waiter in self._waiting_for_end.pop(number, ()):
            wake(waiter, None)

    def add_listener(self, listener: TaskListener) -> Callable[[], None]:
        """Call it for each registration, cancel and end of a task. Returns a call that takes this back."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _tell(self, event: str, task: Task) -> None:
        if self._journal.is_on:
            self._journal.append(task_event(event, task))
        for listener in tuple(self._listeners):
            try:
                listener(event, task)
            except Exception:
                # Who only follows must not keep a task from being registered, cancelled or ended.
                log.exception("listener to %s of [%s]", event, task.id)
