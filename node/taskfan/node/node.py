"""One node: runs actions here (`execute`) or on another node (`send`), each as a task; `begin` and `ask` do not wait.

Counting children, meeting bans and inheriting headers happen here and in `task_runner`, once, for all actions.
Source: OpenSearch `TransportService`, `TaskManager`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from google.protobuf.message import DecodeError, Message

from taskfan.node.action import NO_ACTIONS, Action, ActionContext, TaskListener, wake
from taskfan.node.bans import BAN_ACTION, send_ban, send_unban
from taskfan.node.cancellation import CancelDone, Effect, SendBan, SendUnban, StopTask
from taskfan.node.clock import Clock
from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.errors import ActionNotFound, IllegalArgument, ReceiveTimeout, TaskfanError, TransportError
from taskfan.node.ids import TaskId
from taskfan.node.index.document_ids import DocumentIds
from taskfan.node.index.scrolls import ReaderContexts
from taskfan.node.journal import NO_JOURNAL, BanRemoved, BanSet, Journal, TaskRefused, state_event
from taskfan.node.machine import Machine, UnknownMachine
from taskfan.node.registry import ChildToken, TaskRegistry
from taskfan.node.shards import Shards
from taskfan.node.spare_memory import SpareMemory
from taskfan.node.state_updates import NoStateUpdates, StateUpdates
from taskfan.node.task import NO_HEADERS, Task, TaskType, id_of
from taskfan.node.task_runner import Start, TaskRunner
from taskfan.node.timers import Timers
from taskfan.node.transport import Answered, InboundLink, Request, Transport
from taskfan.node.waiting import answer_within, finish, of_bug

__all__ = ["BAN_ACTION", "CHANNEL_WAS_CLOSED", "Action", "ActionContext", "Node", "TaskListener", "wake"]

log = logging.getLogger("taskfan.node")

CHANNEL_WAS_CLOSED = "channel was closed"

Headers = Mapping[str, str]


class Node:
    """A registry with its actions, joined to the others by a transport. `actions`, by name, many nodes may share."""

    def __init__(
        self,
        local: DiscoveryNode,
        cluster_state: ClusterState,
        clock: Clock,
        transport: Transport,
        machine: Machine | None = None,
        journal: Journal = NO_JOURNAL,
        actions: Mapping[str, Action] = NO_ACTIONS,
    ) -> None:
        self.local = local
        self.machine = machine or UnknownMachine()
        self.cluster_state = cluster_state
        self.clock = clock
        self.registry = TaskRegistry(local.id)
        # What it keeps of shards for searches that are not over; a new process knows none of them.
        self.readers = ReaderContexts(session=local.ephemeral_id)
        self.state_updates: StateUpdates = NoStateUpdates()
        self.shards = Shards(self)
        # Most nodes never need one.
        self._document_ids: DocumentIds | None = None
        self._transport = transport
        self._journal = journal
        self._shared_actions, self._actions = actions, dict[str, Action]()
        self.timers = Timers(clock)
        self.spare_memory = SpareMemory(clock, self.machine)
        self.runner = TaskRunner(self, journal)
        # Those that brought requests, and are not closed.
        self._links: dict[InboundLink, None] = {}
        self._waiting_for_state: list[asyncio.Future[None]] = []
        self._last_local_request = 0

    @property
    def document_ids(self) -> DocumentIds:
        """Of documents that are written without an id."""
        if self._document_ids is None:
            self._document_ids = DocumentIds.of_process(self.local.id, self.local.ephemeral_id)
        return self._document_ids

    def add_action(self, action: Action) -> None:
        """Make an action known beside those it was made with. Each name once."""
        assert action.name not in self._actions, action.name
        assert action.name not in self._shared_actions, action.name
        self._actions[action.name] = action

    # ------------------------------------------------------------------ running actions

    async def execute(
        self,
        action: str,
        request: Any,
        *,
        headers: Headers,
        parent: Task | None = None,
        handler: str = "",
        registered: Callable[[Task], object] | None = None,
    ) -> Any:
        """Run an action on this node, as a task of type `transport`.

        Args:
            parent: the task on whose behalf it runs; None for one that stands alone.
            handler: the registered action that runs it, when that is not `action` itself.
            registered: told the task once it is registered, for who must be able to cancel it.

        Raises:
            TaskCancelled: the parent was cancelled.
            Whatever the handler raises.
        """
        token = None if parent is None else self.registry.child_started(parent, self.local.id)
        try:
            known = self._find(handler or action)
            start = Start(known, action, request, "transport", id_of(parent), headers)
            return await self.runner.run(start, registered)
        finally:
            self.carry_out(self.registry.child_ended(token))

    async def send(
        self,
        to: DiscoveryNode,
        action: str,
        request: Message,
        *,
        headers: Headers,
        parent: Task | None = None,
        handler: str = "",
        timeout_s: float | None = None,
    ) -> Any:
        """Run an action on a node. On this one it never touches the wire, and its type is `direct`.

        Args:
            handler: the registered action that runs it, when that is not `action` itself.
            timeout_s: limit for the answer; the request may run on after it. None waits until the node
                answers or the link closes.

        Raises:
            TransportError: `failure to send`, caused by TaskCancelled: the parent was cancelled.
            TaskfanError: what the handler or the transport raises; a bug of the handler too, made one.
        """
        token = self._start_child(parent, to, action)
        try:
            known = self._find(handler or action)
            if to.id == self.local.id:
                start = Start(known, action, request, "direct", id_of(parent), headers)
                return await self._send_here(start, timeout_s)
            message = Request(action, request.SerializeToString(), handler, id_of(parent), headers)
            assert known.response is not None, f"{known.name} answers on its own node only"
            return known.response.FromString(await self._transport.send(to, message, timeout_s=timeout_s))
        except TaskfanError:
            raise
        except Exception as bug:
            # As when it comes from another node: a bug there costs its answer, and not who asked many nodes.
            raise of_bug(bug, action) from None
        finally:
            self.carry_out(self.registry.child_ended(token))

    def ask(
        self,
        to: DiscoveryNode,
        request: Request,
        answered: Callable[[Any], object],
        *,
        parent: Task,
        timeout_s: float | None = None,
    ) -> None:
        """`send` to another node without a task that waits: what it gives or raises is told once.

        Args:
            request: the same for many nodes; then it is made and written once.
        """
        known = self._find(request.handler or request.action)
        try:
            child = _Child(self, self._start_child(parent, to, request.action), answered, known)
        except TransportError as error:
            answered(error)
        else:
            self._transport.ask(to, request, child, timeout_s=timeout_s)

    def begin(
        self,
        action: str,
        request: Any,
        answered: Callable[[Any], object],
        *,
        headers: Headers,
        parent: Task | None = None,
        handler: str = "",
        type: TaskType = "transport",
    ) -> Task:
        """`execute`, or with the type `direct` `send` to this node, without a task that waits.

        What comes of it is told once, perhaps before this returns: the response or a TaskfanError.

        Raises:
            TaskfanError: it is not registered, for one of their reasons; nothing is told then.
        """
        if parent is None or type == "direct":
            token = self._start_child(parent, self.local, action)
        else:
            token = self.registry.child_started(parent, self.local.id)
        try:
            start = Start(self._find(handler or action), action, request, type, id_of(parent), headers)
            return self.runner.begin(start, answered if token is None else _Child(self, token, answered))
        except TaskfanError:
            self.carry_out(self.registry.child_ended(token))
            raise

    def _start_child(self, parent: Task | None, to: DiscoveryNode, action: str) -> ChildToken | None:
        if parent is None:
            return None
        try:
            return self.registry.child_started(parent, to.id)
        except TaskfanError as error:
            self.note_refusal(action, to, parent.id, error)
            raise TransportError("failure to send", cause=error) from None

    async def _send_here(self, start: Start, timeout_s: float | None) -> Any:
        running, name = self.runner.run(start), start.name
        if timeout_s is None:
            return await running
        self._last_local_request += 1
        try:
            return await answer_within(timeout_s, running, self.clock, name)
        except TimeoutError:
            local, timeout_ms = self.local, max(round(timeout_s * 1000), 0)
            raise ReceiveTimeout(
                local.name, local.transport_address, name, self._last_local_request, timeout_ms
            ) from None

    def receive(self, request: Request, link: InboundLink, answered: Answered) -> None:
        """Answer a request that came over the wire. Called by the transport."""
        name = request.action
        try:
            action = self._find(request.handler or name)
            if action.response is None:
                raise ActionNotFound(action.name)
            try:
                if action.answer_at_once is not None:
                    answered(self.runner.answer_at_once(request, action.answer_at_once))
                    return
                message = action.request.FromString(request.payload)
            except DecodeError:
                raise IllegalArgument(f"request of [{name}] is not a {action.request.__name__}") from None
            if link not in self._links:
                self._links[link] = None
                link.on_close(lambda: self._link_closed(link))
            start = Start(action, name, message, "transport", request.parent, request.headers)
            self.runner.begin(start, answered, link)
        except TaskfanError as error:
            answered(error)
        except Exception as error:
            answered(of_bug(error, name))

    def close(self) -> None:
        """Let go of what was begun. The transport is closed already, and the clock closes next."""
        self.timers.close()
        self.runner.close()

    def _find(self, name: str) -> Action:
        action = self._actions.get(name) or self._shared_actions.get(name)
        if action is None:
            raise ActionNotFound(name)
        return action

    # ------------------------------------------------------------------ cancelling

    def cancel(self, task: Task, reason: str, *, wait: bool, headers: Headers = NO_HEADERS) -> asyncio.Future[None]:
        """Cancel a cancellable task. Done when its bans are placed, or with `wait` when all has ended.

        It fails with a TaskfanError when a ban could not be placed; the task is cancelled all the same.
        `headers` are those of who cancels: bans are sent in their name.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        now_ms = self.clock.wall_time_ms()
        self.carry_out(self.registry.cancel(task, reason, wait=wait, now_ms=now_ms, caller=done, headers=headers))
        return done

    async def ban(self, parent: TaskId, reason: str, *, wait: bool, headers: Headers = NO_HEADERS) -> None:
        """Ban a parent here; returns when each of its children here has been told, or has ended with `wait`.

        Raises:
            TaskfanError: a child's own bans could not all be placed.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        known = self.cluster_state.get(parent.node_id) is not None
        now_ms = self.clock.wall_time_ms()
        if self._journal.is_on:
            self._journal.append(BanSet(str(parent), reason))
        effects = self.registry.set_ban(
            parent, reason, wait=wait, parent_node_is_known=known, now_ms=now_ms, caller=done, headers=headers
        )
        self.carry_out(effects)
        await done

    def unban(self, parent: TaskId) -> None:
        """Allow children of `parent` here again; no ban is no error."""
        if self._journal.is_on:
            self._journal.append(BanRemoved(str(parent)))
        self.registry.remove_ban(parent)

    def carry_out(self, effects: Iterable[Effect]) -> None:
        """Do what the pure part decided, at once and in order."""
        for effect in effects:
            match effect:
                case StopTask(task, reason):
                    self.runner.stop(task, reason)
                case SendBan():
                    self.clock.spawn(send_ban(self, effect), "ban")
                case SendUnban():
                    self.clock.spawn(send_unban(self, effect), "unban")
                case CancelDone(caller, failure):
                    finish(caller, failure)

    def _link_closed(self, link: InboundLink) -> None:
        """Nobody will read the answers to the requests that it brought."""
        del self._links[link]
        now_ms = self.clock.wall_time_ms()
        for context in self.runner.contexts():
            task = context.task
            if context.link is link and task.cancellable:
                self.carry_out(self.registry.cancel(task, CHANNEL_WAS_CLOSED, wait=False, now_ms=now_ms, caller=None))

    # ------------------------------------------------------------------ following what happens

    def end_of(self, task: Task) -> asyncio.Future[None]:
        """Done when the task has been unregistered."""
        return self.runner.end_of(task)

    def add_listener(self, listener: TaskListener) -> Callable[[], None]:
        """Call it for each registration, cancel and end of a task. Returns a call that takes this back."""
        return self.runner.add_listener(listener)

    def note_refusal(self, action: str, to: DiscoveryNode, parent: TaskId, error: TaskfanError) -> None:
        """For the journal: a task was not allowed to begin."""
        if self._journal.is_on:
            self._journal.append(TaskRefused(action, to.id, error.reason or "", str(parent)))

    def apply_cluster_state(self, state: ClusterState) -> None:
        """Take over a newer cluster state; an older one is ignored."""
        if not state.supersedes(self.cluster_state):
            return
        before, self.cluster_state = self.cluster_state, state
        if self._journal.is_on:
            self._journal.append(state_event(before, state))
        for left in before:
            now = state.get(left.id)
            if now is None or now.ephemeral_id != left.ephemeral_id:
                self.registry.node_left(left.id)
            if now is None:
                # Of a node that was restarted, the link may be one to its new process already.
                self._transport.disconnect(left.id)
        self.shards.apply(state)
        if len(self.readers):
            self.readers.keep_only(index.uuid for index in state.indices.metadata.values())
        waiting, self._waiting_for_state = self._waiting_for_state, []
        for waiter in waiting:
            wake(waiter, None)

    async def newer_cluster_state(self, seen: ClusterState) -> ClusterState:
        """Wait until another cluster state than the one that was seen is applied; at once, if it has been."""
        while self.cluster_state is seen:
            changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting_for_state.append(changed)
            try:
                await changed
            finally:
                if changed in self._waiting_for_state:
                    self._waiting_for_state.remove(changed)
        return self.cluster_state


class _Child:
    """A child that was asked, or begun here: called with what comes of it, it counts it no more and tells who asked.

    `action` is that of an answer from another node. Small, for it lives as long as the child.
    """

    __slots__ = ("_action", "_answered", "_node", "_token")

    def __init__(
        self, node: Node, token: ChildToken | None, answered: Callable[[Any], object], action: Action | None = None
    ) -> None:
        self._node, self._token, self._answered, self._action = node, token, answered, action

    def __call__(self, answer: Any) -> None:
        if self._token is not None:
            self._node.carry_out(self._node.registry.child_ended(self._token))
        self._answered(answer if self._action is None else self._action.read(answer))
