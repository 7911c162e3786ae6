"""An action: its name, its handler, and what a handler is given to work with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
from google.protobuf.message import Message

from taskfan.node.clock import Clock
from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.task import PLAIN, Task, TaskTraits

if TYPE_CHECKING:
    from taskfan.node.node import Node

log = logging.getLogger("taskfan.node")

Answer = TypeVar("Answer")


def plain(request: Any) -> TaskTraits:
    """The traits of most actions: no description, not cancellable."""
    return PLAIN


class Action(msgspec.Struct, frozen=True):
    """The name and the handler of a kind of request.

    `response` is None for actions that answer only callers on their own node: with any value, to any value.
    `traits` says what the task of a request will be, before it is registered.
    """

    name: str
    handler: Callable[[ActionContext, Any], Awaitable[Any]]
    request: type[Any]
    response: type[Message] | None = None
    traits: Callable[[Any], TaskTraits] = plain


class ActionContext:
    """What a handler is given: its task, and how to act on its behalf."""

    def __init__(self, node: Node, task: Task) -> None:
        self.node = node
        self.task = task
        self._on_stop: list[Callable[[str], None]] = []

    @property
    def clock(self) -> Clock:
        """The node's clock."""
        return self.node.clock

    async def execute(self, action: str, request: Any, *, handler: str = "") -> Any:
        """Run an action on this node as a child task of type `transport`. Raises what it raises."""
        return await self.node.execute(action, request, headers=self.task.headers, parent=self.task, handler=handler)

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

    def on_stop(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call with the reason when the task is cancelled; at once, if it has been.

        Returns a call that takes this back.
        """
        if self.task.cancelled is not None:
            callback(self.task.cancelled.reason)
        else:
            self._on_stop.append(callback)
        return lambda: self._on_stop.remove(callback) if callback in self._on_stop else None

    def stop(self, reason: str) -> None:
        """Tell the work that its task was cancelled. Of the node only."""
        callbacks, self._on_stop = self._on_stop, []
        for callback in callbacks:
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


class TaskListener(Protocol):
    """Who follows the tasks of a node."""

    def __call__(self, event: str, task: Task) -> None:
        """`event` is `registered`, `cancelled` or `unregistered`."""


def wake(waiter: asyncio.Future[Answer], answer: Answer) -> None:
    """Answer who waits, unless it was answered, or gave up, already."""
    if not waiter.done():
        waiter.set_result(answer)
