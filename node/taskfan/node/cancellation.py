"""One cancel of one task, from the request to the last unban: states, events and effects. Pure.

Source: OpenSearch `TaskCancellationService`. The walk, for task P on this node:

    begin ── flag P, stop it, ban P on every node with outstanding children ──▶ bans_pending
    ban_answered (from each of them, or its failure) ─────────────────────────▶ bans placed
    children_ended (the last outstanding child answered) ┐
    task_ended (P unregistered)                          ┴ and bans placed ───▶ unban, over

Whoever asked without waiting hears when the bans are placed; whoever waits, when all is over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from taskfan.node.errors import TaskfanError
from taskfan.node.ids import TaskId
from taskfan.node.task import Task


@dataclass(frozen=True, slots=True)
class StopTask:
    """Effect: the shell must tell this task's work to stop."""

    task: Task
    reason: str


@dataclass(frozen=True, slots=True)
class SendBan:
    """Effect: ban the task on that node, and feed what it answers to `TaskRegistry.ban_answered`."""

    cancellation: Cancellation
    node_id: str

    @property
    def parent(self) -> TaskId:
        """Whose children are refused."""
        return self.cancellation.task.id


@dataclass(frozen=True, slots=True)
class SendUnban:
    """Effect: remove the ban on that node; nobody waits for the answer."""

    node_id: str
    parent: TaskId


@dataclass(frozen=True, slots=True)
class CancelDone:
    """Effect: tell a caller that its cancel is done; `failure` is that of the first ban that failed."""

    caller: object
    failure: TaskfanError | None


Effect = StopTask | SendBan | SendUnban | CancelDone


@dataclass(slots=True, eq=False)
class Cancellation:
    """The state of one cancel. Made once for a task; a second cancel joins it."""

    task: Task
    reason: str
    wait: bool
    # Nodes with outstanding children when the gate closed; the same ones are unbanned at the end.
    banned_nodes: tuple[str, ...]
    children_ended: bool
    task_ended: bool = False
    bans_pending: list[str] = field(default_factory=list)
    failure: TaskfanError | None = None
    # Callers that have not been told yet: (caller, whether it waits for the end).
    callers: list[tuple[object, bool]] = field(default_factory=list)

    @property
    def bans_placed(self) -> bool:
        """Every ban was answered or has failed."""
        return not self.bans_pending

    @property
    def over(self) -> bool:
        """Nothing more can happen but the unban."""
        return self.bans_placed and self.children_ended and self.task_ended

    @classmethod
    def begin(
        cls, task: Task, reason: str, *, wait: bool, children_on: Iterable[str], caller: object
    ) -> tuple[Cancellation, list[Effect]]:
        """Stop the task and ban it on the nodes where it has children."""
        nodes = tuple(children_on)
        self = cls(task, reason, wait, nodes, children_ended=not nodes, bans_pending=list(nodes))
        effects: list[Effect] = [StopTask(task, reason)]
        effects += [SendBan(self, node_id) for node_id in nodes]
        return self, effects + self.join(caller, wait=wait)

    def join(self, caller: object, *, wait: bool) -> list[Effect]:
        """Another caller wants to hear of this cancel; flag, reason and time stay the first one's."""
        self.callers.append((caller, wait))
        return self._tell()

    def ban_answered(self, node_id: str, failure: TaskfanError | None) -> list[Effect]:
        """The ban on a node is placed, and all its children there told; or it failed."""
        if node_id not in self.bans_pending:
            return []
        self.bans_pending.remove(node_id)
        self.failure = self.failure or failure
        return self._tell()

    def last_child_ended(self) -> list[Effect]:
        """The last outstanding child answered or failed."""
        self.children_ended = True
        return self._tell()

    def unregistered(self) -> list[Effect]:
        """The task itself ended."""
        self.task_ended = True
        return self._tell()

    def _tell(self) -> list[Effect]:
        """Tell those who may know, and unban once all is over."""
        if not self.bans_placed:
            return []
        ready = [caller for caller, waits in self.callers if self.over or not waits]
        self.callers = [(caller, waits) for caller, waits in self.callers if waits and not self.over]
        effects: list[Effect] = [CancelDone(caller, self.failure) for caller in ready]
        if self.over:
            effects = [SendUnban(node_id, self.task.id) for node_id in self.banned_nodes] + effects
            self.banned_nodes = ()
        return effects
