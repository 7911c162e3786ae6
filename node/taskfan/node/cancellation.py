"""The cancel of one task, from the first request to the last unban: states, events and effects. Pure.

Source: OpenSearch `TaskCancellationService`, `TaskManager.CancellableTaskHolder`. The walk, for a task P on this node:

    begin: close the gate, flag P, stop it, and call ───┐
    join: one more call ────────────────────────────────┴▶ ban P on every node with outstanding children of it
    ban_answered, by each of them or by its failure ─────▶ bans placed: who does not wait is told
    last_child_ended, and task_ended ────────────────────▶ who waits is told; with all bans placed: unban, over

The gate is `Cancellation` itself: once a task has one, `TaskRegistry.child_started` refuses its children.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from taskfan.node.errors import TaskfanError
from taskfan.node.ids import TaskId
from taskfan.node.task import NO_HEADERS, Task


class StopTask(msgspec.Struct, frozen=True):
    """Effect: the shell must tell this task's work to stop. Once for each task."""

    task: Task
    reason: str


class SendBan(msgspec.Struct, frozen=True):
    """Effect: ban the parent on that node, and feed what it answers to `TaskRegistry.ban_answered`."""

    node_id: str
    parent: TaskId
    call: CancelCall


class SendUnban(msgspec.Struct, frozen=True):
    """Effect: remove the ban on that node; nobody waits for the answer."""

    node_id: str
    parent: TaskId
    headers: Mapping[str, str]


class CancelDone(msgspec.Struct, frozen=True):
    """Effect: tell a caller that its cancel is done; `failure` is that of the first ban that failed."""

    caller: object
    failure: TaskfanError | None


Effect = StopTask | SendBan | SendUnban | CancelDone


class CancelCall(msgspec.Struct, eq=False):
    """One request to cancel the task: what its bans say, and who is told when it is done.

    `headers` are those of whoever cancels: the bans run in their name, not in that of the task.
    """

    cancellation: Cancellation
    caller: object
    reason: str
    wait: bool
    headers: Mapping[str, str]
    # Nodes that have not answered the ban yet.
    pending: list[str]
    failure: TaskfanError | None = None


class Cancellation(msgspec.Struct, eq=False):
    """The cancel of one task. Made by the first call; later ones join it.

    A later call leaves flag, reason and time as they are, but sends bans of its own: it may wait where
    the first did not, and it makes good for a ban that failed.
    """

    task: Task
    # Whether the last outstanding child has been answered. The gate is closed, so there will be no other.
    children_ended: bool
    task_ended: bool = False
    # Everywhere a ban was sent; a dict, to keep the order and no node twice. Emptied by the unban.
    banned_nodes: dict[str, Mapping[str, str]] = {}
    # Calls that have not been told yet, or whose bans are not all answered.
    calls: list[CancelCall] = []

    @property
    def bans_placed(self) -> bool:
        """Every ban was answered or has failed."""
        return not any(call.pending for call in self.calls)

    @property
    def over(self) -> bool:
        """Nothing more can happen but the unban."""
        return self.children_ended and self.task_ended and self.bans_placed

    def join(
        self,
        caller: object,
        reason: str,
        *,
        wait: bool,
        children_on: Iterable[str],
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> list[Effect]:
        """A call to cancel the task: ban it where it has children, and tell the caller when that is done."""
        call = CancelCall(self, caller, reason, wait, headers, list(children_on))
        self.calls.append(call)
        self.banned_nodes |= dict.fromkeys(call.pending, headers)
        bans: list[Effect] = [SendBan(node_id, self.task.id, call) for node_id in call.pending]
        return bans + self._advance()

    def ban_answered(self, ban: SendBan, failure: TaskfanError | None) -> list[Effect]:
        """The ban on a node is placed, and all its children there told; or it failed. Once for each ban."""
        call = ban.call
        call.pending.remove(ban.node_id)
        call.failure = call.failure or failure
        return self._advance()

    def last_child_ended(self) -> list[Effect]:
        """The last outstanding child was answered, or will not be any more."""
        self.children_ended = True
        return self._advance()

    def unregistered(self) -> list[Effect]:
        """The task itself ended."""
        self.task_ended = True
        return self._advance()

    def _advance(self) -> list[Effect]:
        """Unban once all is over, and tell those who may know."""
        effects: list[Effect] = []
        if self.over:
            # All at once and only now, though a node's children may have ended before: as in OpenSearch.
            effects += [SendUnban(node_id, self.task.id, headers) for node_id, headers in self.banned_nodes.items()]
            self.banned_nodes = {}
        done = [call for call in self.calls if self._is_done(call)]
        self.calls = [call for call in self.calls if not self._is_done(call)]
        return effects + [CancelDone(call.caller, call.failure) for call in done]

    def _is_done(self, call: CancelCall) -> bool:
        """Bans placed; and for a call that waits, the children and the task ended too."""
        if call.pending:
            return False
        return not call.wait or (self.children_ended and self.task_ended)
