"""The tasks of one node and the parents banned there. No I/O, no clock, no asyncio. Pure.

Every change is a method; the ones that have consequences return them as effects, which the shell
(`node.py`) carries out at once. Source: OpenSearch `TaskManager`, `TaskCancellationService`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

from taskfan.node.cancellation import CancelDone, Cancellation, Effect, SendBan
from taskfan.node.errors import IllegalArgument, TaskCancelled, TaskfanError
from taskfan.node.ids import UNSET, TaskId
from taskfan.node.task import PLAIN, CancelledInfo, Task, TaskTraits, TaskType

MAX_HEADER_BYTES = 16 << 10


@dataclass(slots=True)
class _Holder:
    """What the registry keeps of a cancellable task, until its last child and its cancel are done."""

    task: Task
    # Outstanding children by node: sent and not answered yet, whether cancellable or not.
    children: dict[str, int] = field(default_factory=dict)
    cancellation: Cancellation | None = None


@dataclass(frozen=True, slots=True)
class ChildToken:
    """One child that was sent; given back when it is answered, or its link or wait ends."""

    holder: _Holder
    node_id: str


@dataclass(slots=True, eq=False)
class _BanCaller:
    """Who waits until all children of a banned parent have been told."""

    caller: object
    remaining: int
    failure: TaskfanError | None = None


class TaskRegistry:
    """State of one node."""

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        self._numbers = count(1)
        # In the order of their numbers, for dicts keep the order of insertion.
        self._tasks: dict[int, Task] = {}
        self._holders: dict[int, _Holder] = {}
        # Cancellable tasks by their direct parent: all that a ban has to look at.
        self._children: dict[TaskId, dict[int, Task]] = {}
        self._bans: dict[TaskId, str] = {}

    def __iter__(self) -> Iterator[Task]:
        """The running tasks, in the order of their numbers."""
        return iter(self._tasks.values())

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def bans(self) -> Mapping[TaskId, str]:
        """Banned parents, with the reason."""
        return self._bans

    def get(self, number: int) -> Task | None:
        """The running task of that number."""
        return self._tasks.get(number)

    def register(
        self,
        action: str,
        *,
        type: TaskType,
        now_ms: int,
        now_ns: int,
        traits: TaskTraits = PLAIN,
        parent: TaskId = UNSET,
        headers: Mapping[str, str] | None = None,
    ) -> Task:
        """Begin a task. Its number is used up even when it is refused.

        Raises:
            IllegalArgument: its headers are too large.
            TaskCancelled: it is cancellable, and its parent is banned here.
        """
        headers = headers or {}
        task = Task(TaskId(self.node_id, next(self._numbers)), type, action, now_ms, now_ns, traits, parent, headers)
        if headers and sum(2 * (len(name) + len(value)) for name, value in headers.items()) > MAX_HEADER_BYTES:
            raise IllegalArgument("Request exceeded the maximum size of task headers 16kb")
        if traits.cancellable:
            reason = self._bans.get(parent)
            if reason is not None:
                raise TaskCancelled(f"Task cancelled before it started: {reason}")
            self._holders[task.id.number] = _Holder(task)
            if parent.is_set:
                self._children.setdefault(parent, {})[task.id.number] = task
        self._tasks[task.id.number] = task
        return task

    def unregister(self, task: Task) -> list[Effect]:
        """End a task."""
        number = task.id.number
        del self._tasks[number]
        if not task.traits.cancellable:
            return []
        if task.parent.is_set:
            siblings = self._children[task.parent]
            del siblings[number]
            if not siblings:
                del self._children[task.parent]
        holder = self._holders.pop(number)
        return [] if holder.cancellation is None else self._settle(holder.cancellation.unregistered())

    # ------------------------------------------------------------------ children

    def child_started(self, parent: Task, node_id: str) -> ChildToken | None:
        """Count a child that is about to be sent; None when nobody has to count it.

        Only living cancellable tasks count their children, for only they can be cancelled.

        Raises:
            TaskCancelled: the parent was cancelled, and starts no more children.
        """
        holder = self._holders.get(parent.id.number)
        if holder is None:
            return None
        if holder.cancellation is not None and parent.traits.cancels_children:
            reason = holder.cancellation.reason
            raise TaskCancelled(f"The parent task was cancelled, shouldn't start any child tasks, {reason}")
        holder.children[node_id] = holder.children.get(node_id, 0) + 1
        return ChildToken(holder, node_id)

    def child_ended(self, token: ChildToken | None) -> list[Effect]:
        """A child was answered, or will not be any more. Each token is to be given back once."""
        if token is None:
            return []
        children = token.holder.children
        children[token.node_id] -= 1
        if children[token.node_id] == 0:
            del children[token.node_id]
        cancellation = token.holder.cancellation
        if children or cancellation is None or cancellation.children_ended:
            return []
        return self._settle(cancellation.last_child_ended())

    # ------------------------------------------------------------------ cancelling

    def cancel(self, task: Task, reason: str, *, wait: bool, now_ms: int, caller: object) -> list[Effect]:
        """Cancel a task and what descends from it.

        Args:
            task: cancellable, and registered here.
            caller: named in the `CancelDone` that follows, exactly once: when bans are placed, or with
                `wait` when the task and its children have ended.
        """
        assert task.traits.cancellable
        holder = self._holders.get(task.id.number)
        if holder is None:
            # It ended a moment ago; there is nothing to wait for.
            return self._settle([CancelDone(caller, None)])
        if holder.cancellation is not None:
            return self._settle(holder.cancellation.join(caller, wait=wait))
        task.cancelled = CancelledInfo(reason, now_ms)
        children_on = list(holder.children) if task.traits.cancels_children else []
        holder.cancellation, effects = Cancellation.begin(
            task, reason, wait=wait, children_on=children_on, caller=caller
        )
        return self._settle(effects)

    def ban_answered(self, ban: SendBan, failure: TaskfanError | None) -> list[Effect]:
        """A node answered a ban that was sent to it, or could not. The task may have ended meanwhile."""
        return self._settle(ban.cancellation.ban_answered(ban.node_id, failure))

    # ------------------------------------------------------------------ bans

    def set_ban(
        self, parent: TaskId, reason: str, *, wait: bool, parent_node_is_known: bool, now_ms: int, caller: object
    ) -> list[Effect]:
        """Refuse future children of `parent`, and cancel those that run here.

        Args:
            parent_node_is_known: whether its node is in the cluster state. Of one that left nobody
                would ever remove the ban, so only the children are cancelled.
            caller: named in one `CancelDone` when each child has answered, in the sense of `cancel`.
        """
        if parent_node_is_known:
            # The ban outlives this call: a child still on the wire must meet it in `register`.
            self._bans[parent] = reason
        children = list(self._children.get(parent, {}).values())
        if not children:
            return [CancelDone(caller, None)]
        group = _BanCaller(caller, len(children))
        effects: list[Effect] = []
        for child in children:
            effects += self.cancel(child, reason, wait=wait, now_ms=now_ms, caller=group)
        return effects

    def remove_ban(self, parent: TaskId) -> None:
        """Allow children of `parent` again; no ban is no error."""
        self._bans.pop(parent, None)

    def node_left(self, node_id: str) -> None:
        """Drop the bans of parents on a node that left the cluster state: nobody will remove them."""
        for parent in [parent for parent in self._bans if parent.node_id == node_id]:
            del self._bans[parent]

    def _settle(self, effects: list[Effect]) -> list[Effect]:
        """Turn what is done for a ban's child into what is done for the ban."""
        settled: list[Effect] = []
        for effect in effects:
            if not isinstance(effect, CancelDone) or not isinstance(effect.caller, _BanCaller):
                settled.append(effect)
                continue
            group = effect.caller
            group.remaining -= 1
            group.failure = group.failure or effect.failure
            if group.remaining == 0:
                settled.append(CancelDone(group.caller, group.failure))
        return settled
