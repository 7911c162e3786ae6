"""The tasks of one node and the parents banned there. No I/O, no clock, no asyncio. Pure.

Every change is a method; the ones that have consequences return them as effects, which the shell
(`node.py`) carries out at once. Source: OpenSearch `TaskManager`, `TaskCancellationService`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from taskfan.node.cancellation import CancelDone, Cancellation, Effect, SendBan, StopTask
from taskfan.node.errors import IllegalArgument, TaskCancelled, TaskfanError
from taskfan.node.ids import UNSET, TaskId
from taskfan.node.task import NO_HEADERS, PLAIN, Task, TaskTraits, TaskType

MAX_HEADER_BYTES = 16 << 10


class _Holder(msgspec.Struct, eq=False):
    """What the registry keeps of a cancellable task that has, or had, children or a cancel.

    It outlives the task for as long as children are outstanding: their tokens hold it.
    """

    task: Task
    # Outstanding children by node: sent and not answered yet, whether cancellable or not.
    children: dict[str, ChildToken] = {}
    cancellation: Cancellation | None = None

    @property
    def counts(self) -> dict[str, int]:
        """How many children run on each node."""
        return {node_id: token.count for node_id, token in self.children.items()}


class ChildToken(msgspec.Struct, eq=False):
    """The children that were sent to one node: one for all, given back once for each that is answered, or whose link
    or wait ends."""

    holder: _Holder
    node_id: str
    count: int = 0


class _Siblings(msgspec.Struct, eq=False):
    """The cancellable children of a parent, by number, and what they share: they hold no copies of it."""

    parent: TaskId
    headers: Mapping[str, str]
    tasks: dict[int, Task] = {}


class _BanCaller(msgspec.Struct, eq=False):
    """Who waits until all children of a banned parent have been told."""

    caller: object
    remaining: int
    failure: TaskfanError | None = None


class TaskRegistry:
    """State of one node."""

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        self._last_number = 0
        # In the order of their numbers, for dicts keep the order of insertion.
        self._tasks: dict[int, Task] = {}
        # Made when the first child starts or a cancel comes: most tasks see neither.
        self._holders: dict[int, _Holder] = {}
        # Cancellable tasks by their direct parent: all that a ban has to look at.
        self._children: dict[TaskId, _Siblings] = {}
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

    @property
    def child_counts(self) -> dict[TaskId, dict[str, int]]:
        """Children that were sent and not answered yet, by their living parent and the node they were sent to."""
        return {holder.task.id: holder.counts for holder in self._holders.values() if holder.children}

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
        """Begin a task.

        Args:
            headers: not copied; nobody may change them afterwards.

        Raises:
            IllegalArgument: its headers are too large.
            TaskCancelled: it is cancellable, and its parent is banned here. Its number is used up.
        """
        if headers and _size_of(headers) > MAX_HEADER_BYTES:
            raise IllegalArgument("Request exceeded the maximum size of task headers 16kb")
        number = self._last_number = self._last_number + 1
        headers, siblings = headers or NO_HEADERS, None
        if traits.cancellable and parent.number != -1:
            if self._bans and (reason := self._bans.get(parent)) is not None:
                raise TaskCancelled(f"Task cancelled before it started: {reason}")
            siblings = self._children.get(parent)
            if siblings is None:
                siblings = self._children[parent] = _Siblings(parent, headers)
            parent = siblings.parent
            if headers is not siblings.headers and headers == siblings.headers:
                headers = siblings.headers
        task = Task(TaskId(self.node_id, number), type, action, now_ms, now_ns, traits, parent, headers)
        if siblings is not None:
            siblings.tasks[number] = task
        self._tasks[number] = task
        return task

    def pass_by(self) -> None:
        """A task begins and ends, and nobody can have seen it: its number is used up."""
        self._last_number += 1

    def unregister(self, task: Task) -> list[Effect]:
        """End a task. Once for each."""
        number = task.id.number
        del self._tasks[number]
        if not task.traits.cancellable:
            return []
        if task.parent.number != -1:
            siblings = self._children[task.parent].tasks
            del siblings[number]
            if not siblings:
                del self._children[task.parent]
        holder = self._holders.pop(number, None) if self._holders else None
        if holder is None or holder.cancellation is None:
            return []
        return _settle(holder.cancellation.unregistered())

    # ------------------------------------------------------------------ children

    def child_started(self, parent: Task, node_id: str) -> ChildToken | None:
        """Count a child that is about to be sent; None when nobody has to count it.

        Only living cancellable tasks count their children, for only they can be cancelled.

        Raises:
            TaskCancelled: the parent was cancelled, and starts no more children.

        Differs: OpenSearch looks for the parent by number among the running tasks, so that one which ended
        cancelled may start children again. Here it may not.
        """
        if parent.cancelled is not None and parent.traits.cancels_children:
            reason = parent.cancelled.reason
            raise TaskCancelled(f"The parent task was cancelled, shouldn't start any child tasks, {reason}")
        if not parent.traits.cancellable or self._tasks.get(parent.id.number) is not parent:
            return None
        holder = self._holder_of(parent)
        token = holder.children.get(node_id)
        if token is None:
            token = holder.children[node_id] = ChildToken(holder, node_id)
        token.count += 1
        return token

    def child_ended(self, token: ChildToken | None) -> list[Effect]:
        """A child was answered, or will not be any more. Once for each that was started."""
        if token is None:
            return []
        assert token.count > 0
        holder = token.holder
        token.count -= 1
        if token.count == 0:
            del holder.children[token.node_id]
        if holder.children or holder.cancellation is None or holder.cancellation.children_ended:
            return []
        return _settle(holder.cancellation.last_child_ended())

    def _holder_of(self, task: Task) -> _Holder:
        holder = self._holders.get(task.id.number)
        if holder is None:
            holder = self._holders[task.id.number] = _Holder(task)
        return holder

    # ------------------------------------------------------------------ cancelling

    def cancel(
        self,
        task: Task,
        reason: str,
        *,
        wait: bool,
        now_ms: int,
        caller: object,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> list[Effect]:
        """Cancel a task and what descends from it.

        Args:
            task: cancellable, and of this node.
            caller: named in the `CancelDone` that follows, exactly once: when bans are placed, or with
                `wait` when the task and its children have ended too. At once when the task has ended.
            headers: of who cancels; its bans carry them.
        """
        assert task.traits.cancellable
        if self._tasks.get(task.id.number) is not task:
            return _settle([CancelDone(caller, None)])
        holder = self._holder_of(task)
        # Shard-level searches stop alone: nobody bans, nor waits for, what they started.
        children_on = list(holder.children) if task.traits.cancels_children else []
        effects: list[Effect] = []
        if holder.cancellation is None:
            task.cancel(reason, now_ms)
            holder.cancellation = Cancellation(task, children_ended=not children_on)
            effects.append(StopTask(task, reason))
        effects += holder.cancellation.join(caller, reason, wait=wait, children_on=children_on, headers=headers)
        return _settle(effects)

    def ban_answered(self, ban: SendBan, failure: TaskfanError | None) -> list[Effect]:
        """A node answered a ban that was sent to it, or could not. Once for each; the task may have ended."""
        return _settle(ban.call.cancellation.ban_answered(ban, failure))

    # ------------------------------------------------------------------ bans

    def set_ban(
        self,
        parent: TaskId,
        reason: str,
        *,
        wait: bool,
        parent_node_is_known: bool,
        now_ms: int,
        caller: object,
        headers: Mapping[str, str] = NO_HEADERS,
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
        siblings = self._children.get(parent)
        children = [] if siblings is None else list(siblings.tasks.values())
        if not children:
            return [CancelDone(caller, None)]
        group = _BanCaller(caller, len(children))
        effects: list[Effect] = []
        for child in children:
            effects += self.cancel(child, reason, wait=wait, now_ms=now_ms, caller=group, headers=headers)
        return effects

    def remove_ban(self, parent: TaskId) -> None:
        """Allow children of `parent` again; no ban is no error."""
        self._bans.pop(parent, None)

    def node_left(self, node_id: str) -> None:
        """Drop the bans of parents on a node that left the cluster state: nobody will remove them."""
        for parent in [parent for parent in self._bans if parent.node_id == node_id]:
            del self._bans[parent]


def _size_of(headers: Mapping[str, str]) -> int:
    """Their size as OpenSearch counts it: two bytes a character, whatever it is."""
    size = 0
    for name, value in headers.items():
        size += len(name) + len(value)
    return 2 * size


def _settle(effects: list[Effect]) -> list[Effect]:
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
