"""One node: runs actions here (`execute`) or on another node (`send`), each as a task.

Registration, counting children, meeting bans, inheriting headers and unregistering before the reply happen here,
once, for all actions. Source: OpenSearch `TransportAction`, `TransportService`, `TaskManager`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
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
from taskfan.node.journal import NO_JOURNAL, BanRemoved, BanSet, Journal, TaskRefused, state_event, task_event
from taskfan.node.machine import Machine, UnknownMachine
from taskfan.node.registry import ChildToken, TaskRegistry
from taskfan.node.shards import Shards
from taskfan.node.state_updates import NoStateUpdates, StateUpdates
from taskfan.node.task import NO_HEADERS, Task, TaskType, id_of
from taskfan.node.transport import Answer, InboundLink, Request, Transport
from taskfan.node.waiting import answer_within, finish, wait_for

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
        self.document_ids = DocumentIds.of_process(local.id, local.ephemeral_id)
        self._transport = transport
        self._journal = journal
        self._shared_actions, self._actions = actions, dict[str, Action]()
        self._contexts: dict[int, ActionContext] = {}
        self._waiting_for_end: dict[int, list[asyncio.Future[None]]] = {}
        self._waiting_for_state: list[asyncio.Future[None]] = []
        self._listeners: list[TaskListener] = []
        self._last_local_request = 0

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
            return await self._run(known, action, request, "transport", id_of(parent), headers, registered=registered)
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
        token = None if parent is None else self._start_child(parent, to, action)
        try:
            known = self._find(handler or action)
            if to.id == self.local.id:
                return await self._send_here(known, action, request, id_of(parent), headers, timeout_s)
            message = Request(action, request.SerializeToString(), handler, id_of(parent), headers)
            assert known.response is not None, f"{known.name} answers on its own node only"
            return known.response.FromString(await self._transport.send(to, message, timeout_s=timeout_s))
        except TaskfanError:
            raise
        except Exception as bug:
            # As when it comes from another node: a bug there costs its answer, and not who asked many nodes.
            log.exception("[%s] on [%s]", action, to.id)
            raise TaskfanError(f"{type(bug).__name__}: {bug}") from None
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
            token = self._start_child(parent, to, request.action)
        except TransportError as error:
            answered(error)
            return

        def take(answer: Answer) -> None:
            if token is not None:
                self.carry_out(self.registry.child_ended(token))
            answered(known.read(answer))

        self._transport.ask(to, request, take, timeout_s=timeout_s)

    def _start_child(self, parent: Task, to: DiscoveryNode, action: str) -> ChildToken | None:
        try:
            return self.registry.child_started(parent, to.id)
        except TaskfanError as error:
            self._note_refusal(action, to, parent.id, error)
            raise TransportError("failure to send", cause=error) from None

    async def _send_here(
        self, action: Action, name: str, request: Message, parent: TaskId, headers: Headers, timeout_s: float | None
    ) -> Any:
        running = self._run(action, name, request, "direct", parent, headers)
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

    def receive(self, request: Request, link: InboundLink) -> Awaitable[bytes] | bytes:
        """Answer a request that came over the wire. Called by the transport."""
        action = self._find(request.handler or request.action)
        if action.response is None:
            raise ActionNotFound(action.name)
        try:
            if action.answer_at_once is not None:
                return self._answer_at_once(request, action.answer_at_once)
            message = action.request.FromString(request.payload)
        except DecodeError:
            raise IllegalArgument(f"request of [{request.action}] is not a {action.request.__name__}") from None
        return self._answer(action, request, message, link)

    async def _answer(self, action: Action, request: Request, message: Any, link: InboundLink) -> bytes:
        answer = await self._run(action, request.action, message, "transport", request.parent, request.headers, link)
        return bytes(answer.SerializeToString())

    def _answer_at_once(self, request: Request, answer: Callable[[bytes], bytes]) -> bytes:
        """As `_run`, in one go: nobody can cancel this task, wait for its end or see it in a list."""
        now_ms, now_ns, from_ = self.clock.wall_time_ms(), self.clock.monotonic_ns(), request.parent
        task = self.registry.register(
            request.action, type="transport", now_ms=now_ms, now_ns=now_ns, parent=from_, headers=request.headers
        )
        self._tell("registered", task)
        try:
            return answer(request.payload)
        finally:
            self.registry.unregister(task)
            self._tell("unregistered", task)

    async def _run(
        self,
        action: Action,
        name: str,
        request: Any,
        type: TaskType,
        parent: TaskId,
        headers: Headers,
        link: InboundLink | None = None,
        registered: Callable[[Task], object] | None = None,
    ) -> Any:
        """Register, run the handler, unregister, and only then answer."""
        now_ms, now_ns, traits = self.clock.wall_time_ms(), self.clock.monotonic_ns(), action.traits(request)
        try:
            task = self.registry.register(
                name, type=type, now_ms=now_ms, now_ns=now_ns, traits=traits, parent=parent, headers=headers
            )
        except TaskfanError as error:
            self._note_refusal(name, self.local, parent, error)
            raise
        context = self._contexts[task.id.number] = ActionContext(self, task)
        untrack: Callable[[], object] | None = None
        # No ExitStack: it would be a sixth of the memory of a live task.
        try:
            self._tell("registered", task)
            if registered is not None:
                registered(task)
            if link is not None and task.cancellable:
                untrack = link.on_close(lambda: self._channel_closed(task))
            return await action.handler(context, request)
        finally:
            if untrack is not None:
                untrack()
            self._unregister(task)

    def _unregister(self, task: Task) -> None:
        number = task.id.number
        del self._contexts[number]
        effects = self.registry.unregister(task)
        self._tell("unregistered", task)
        self._tell_end(number)
        self.carry_out(effects)

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
                    self._tell("cancelled", task)
                    context = self._contexts.get(task.id.number)
                    if context is not None:
                        context.stop(reason)
                case SendBan():
                    self.clock.spawn(send_ban(self, effect), "ban")
                case SendUnban():
                    self.clock.spawn(send_unban(self, effect), "unban")
                case CancelDone(caller, failure):
                    finish(caller, failure)

    def _channel_closed(self, task: Task) -> None:
        """The link that brought this task's request is closed: nobody will read its answer."""
        now_ms = self.clock.wall_time_ms()
        self.carry_out(self.registry.cancel(task, CHANNEL_WAS_CLOSED, wait=False, now_ms=now_ms, caller=None))

    # ------------------------------------------------------------------ following what happens

    def end_of(self, task: Task) -> asyncio.Future[None]:
        """Done when the task has been unregistered."""
        ended = wait_for(task.id.number, self._waiting_for_end)
        if self.registry.get(task.id.number) is not task:
            self._tell_end(task.id.number)
        return ended

    def _tell_end(self, number: int) -> None:
        for waiter in self._waiting_for_end.pop(number, ()):
            wake(waiter, None)

    def add_listener(self, listener: TaskListener) -> Callable[[], None]:
        """Call it for each registration, cancel and end of a task. Returns a call that takes this back."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _note_refusal(self, action: str, to: DiscoveryNode, parent: TaskId, error: TaskfanError) -> None:
        if self._journal.is_on:
            self._journal.append(TaskRefused(action, to.id, error.reason or "", str(parent)))

    def _tell(self, event: str, task: Task) -> None:
        if self._journal.is_on:
            self._journal.append(task_event(event, task))
        for listener in tuple(self._listeners):
            try:
                listener(event, task)
            except Exception:
                # Who only follows must not keep a task from being registered, cancelled or ended.
                log.exception("listener to %s of [%s]", event, task.id)

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
