"""An action: its name, its handler, and what a handler is given to work with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
from google.protobuf.message import DecodeError, Message

from taskfan.node.clock import Clock
from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.errors import TaskfanError
from taskfan.node.task import PLAIN, Task, TaskTraits, TaskType
from taskfan.node.transport import Answer, InboundLink, Request

if TYPE_CHECKING:
    from taskfan.node.node import Node

log = logging.getLogger("taskfan.node")

Value = TypeVar("Value")


def plain(request: Any) -> TaskTraits:
    """The traits of most actions: no description, not cancellable."""
    return PLAIN


class Action(msgspec.Struct, frozen=True):
    """The name and the handler of a kind of request.

    `response` is None for actions that answer only callers on their own node: with any value, to any value.
    `traits` says what the task of a request will be, before it is registered.

    The handler is a coroutine, or a class of work that begins, for actions of which many tasks live long: these hold
    neither coroutine nor task of asyncio. `answer_at_once` is the handler once more, for requests of other nodes to an
    action that never waits: from payload to payload.
    """

    name: str
    handler: Callable[[ActionContext, Any], Awaitable[Any]] | type[Begun]
    request: type[Any]
    response: type[Message] | None = None
    traits: Callable[[Any], TaskTraits] = plain
    answer_at_once: Callable[[bytes], bytes] | None = None

    def run(self, context: ActionContext, request: Any) -> Awaitable[Any]:
        """What to wait for, of an action whose handler is a coroutine."""
        assert not isinstance(self.handler, type), self.name
        return self.handler(context, request)

    def read(self, answer: Answer) -> Any:
        """The response that came from another node, or the error."""
        if isinstance(answer, TaskfanError):
            return answer
        assert self.response is not None, f"{self.name} answers on its own node only"
        try:
            return self.response.FromString(answer)
        except DecodeError as error:
            log.warning("[%s] was answered by what is no %s", self.name, self.response.__name__)
            return TaskfanError(f"DecodeError: {error}")


NO_ACTIONS: Mapping[str, Action] = {}


class ActionContext:
    """What a handler is given: its task, and how to act on its behalf. Small, for it lives as long as the task.

    `link` brought the request; None for one from here. `answered` is told what comes of it, and is None for who awaits
    the handler, and once it was told.
    """

    __slots__ = ("_on_stop", "answered", "link", "node", "task")

    def __init__(
        self,
        node: Node,
        task: Task,
        answered: Callable[[Any], object] | None = None,
        link: InboundLink | None = None,
    ) -> None:
        self.node, self.task, self.answered, self.link = node, task, answered, link
        # Most work has nothing to stop.
        self._on_stop: list[Callable[[str], None]] | None = None

    @property
    def clock(self) -> Clock:
        """The node's clock."""
        return self.node.clock

    async def execute(self, action: str, request: Any, *, handler: str = "") -> Any:
        """Run an action on this node as a child task of type `transport`. Raises what it raises."""
        return await self.node.execute(action, request, headers=self.task.headers, parent=self.task, handler=handler)

    def begin(
        self, action: str, request: Any, answered: Callable[[Any], object], *, handler: str = "", type: TaskType
    ) -> None:
        """`execute`, or with the type `direct` `send` to this node, without waiting: see `Node.begin`."""
        self.node.begin(
            action, request, answered, headers=self.task.headers, parent=self.task, handler=handler, type=type
        )

    async def send(
        self,
        to: DiscoveryNode,
        action: str,
        request: Message,
        *,
        handler: str = "",
        timeout_s: float | None = None,
    ) -> Any:
        """Run an action on a node, this one too, as a child task. Raises what it or the transport raises."""
        return await self.node.send(
            to, action, request, headers=self.task.headers, parent=self.task, handler=handler, timeout_s=timeout_s
        )

    def request(self, action: str, message: Message, *, handler: str = "") -> Request:
        """What is to be asked of other nodes, on behalf of this task: see `ask`."""
        return Request(action, message.SerializeToString(), handler, self.task.id, self.task.headers)

    def ask(
        self, to: DiscoveryNode, request: Request, answered: Callable[[Any], object], *, timeout_s: float | None = None
    ) -> None:
        """`send` to another node without waiting: what that gives or raises is told once, perhaps at once."""
        self.node.ask(to, request, answered, parent=self.task, timeout_s=timeout_s)

    def on_stop(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call with the reason when the task is cancelled; at once, if it has been.

        Returns a call that takes this back.
        """
        if self.task.cancelled is not None:
            callback(self.task.cancelled.reason)
            return lambda: None
        waiting = self._on_stop = self._on_stop or []
        waiting.append(callback)
        return lambda: waiting.remove(callback) if callback in waiting else None

    def stop(self, reason: str) -> None:
        """Tell the work that its task was cancelled. Of the node only."""
        callbacks, self._on_stop = self._on_stop, None
        for callback in callbacks or ():
            try:
                callback(reason)
            except Exception:
                # One deaf part of the work must not keep the rest from stopping, nor the bans from being sent.
                log.exception("stopping [%s]", self.task.id)

    async def sleep_unless_cancelled(self, seconds: float) -> bool:
        """Wait that long, or until the task is cancelled. Returns whether the whole time has passed."""
        woken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        timer = self.clock.call_later(seconds, lambda: wake(woken, True))
        undo = self.on_stop(lambda reason: wake(woken, False))
        try:
            return await woken
        finally:
            timer.cancel()
            undo()


class Begun(ActionContext):
    """Work that has begun and tells its end: one object with what it is given, for of some actions very many run."""

    __slots__ = ()

    def start(self, request: Any) -> None:
        """Begin. `end` is to be called once, perhaps before this returns."""
        raise NotImplementedError

    def cancel(self, reason: str) -> None:
        """The task was cancelled."""
        raise NotImplementedError

    def stop(self, reason: str) -> None:
        """Of the node only."""
        super().stop(reason)
        try:
            self.cancel(reason)
        except Exception:
            log.exception("stopping [%s]", self.task.id)

    def end(self, outcome: Any) -> None:
        """It is over: with a response, or a TaskfanError."""
        self.node.runner.end(self, outcome)


class TaskListener(Protocol):
    """Who follows the tasks of a node."""

    def __call__(self, event: str, task: Task) -> None:
        """`event` is `registered`, `cancelled` or `unregistered`."""


def wake(waiter: asyncio.Future[Value], answer: Value) -> None:
    """Answer who waits, unless it was answered, or gave up, already."""
    if not waiter.done():
        waiter.set_result(answer)
