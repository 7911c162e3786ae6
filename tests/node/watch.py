"""What must hold in every moment of a cancel, whatever order its messages take; `FakeNetwork` asks after each step."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from taskfan.node.cancellation import CancelCall, SendBan, SendUnban
from taskfan.node.errors import TaskfanError
from taskfan.node.ids import TaskId
from taskfan.node.task import Task

if TYPE_CHECKING:
    from tests.node.fake_network import Caller, FakeNetwork, Request


class Watch:
    """Remembers what was promised, and asserts that nothing breaks it."""

    def __init__(self, network: FakeNetwork) -> None:
        self._network = network
        self._stopped: list[Task] = []
        # Where a ban was sent and not removed again, by parent.
        self._to_unban: dict[TaskId, list[str]] = {}
        # The tasks that a ban met where it arrived.
        self._met: dict[Request, list[Task]] = {}
        # The first failure of a call's bans.
        self._failures: dict[CancelCall, TaskfanError] = {}
        # Parents whose cancel was reported done without failure: no child of theirs may start any more.
        self._done: list[TaskId] = []
        # (node, parent) of bans that ought to be there; and those that the node may be without.
        self._placed: list[tuple[str, TaskId]] = []
        self._excused: list[tuple[str, TaskId]] = []
        # (node, parent) of bans that nobody will remove, as their unban was lost.
        self._stale: list[tuple[str, TaskId]] = []

    # ------------------------------------------------------------------ the gate and the flag

    def gate_was_closed(self, parent: Task) -> None:
        assert parent.cancelled is not None, "only a cancelled task may not start children"
        assert parent.traits.cancels_children

    def gate_was_open(self, parent: Task) -> None:
        assert parent.cancelled is None or not parent.traits.cancels_children, "a child of a cancelled task is sent"

    def stopped(self, task: Task, reason: str) -> None:
        assert not any(task is other for other in self._stopped), "told to stop twice"
        assert task.cancelled is not None
        assert task.cancelled.reason == reason
        self._stopped.append(task)

    # ------------------------------------------------------------------ bans

    def ban_sent(self, node: str, ban: SendBan) -> None:
        assert ban.call.cancellation.task.traits.cancels_children, "banned for a task that stops alone"
        assert self._outstanding(ban.parent, ban.node_id), "banned where it has no children"
        nodes = self._to_unban.setdefault(ban.parent, [])
        if ban.node_id not in nodes:
            nodes.append(ban.node_id)

    def ban_arrives(self, request: Request) -> None:
        assert request.ban is not None
        where = (request.to, request.ban.parent)
        here = self._network.registries[request.to]
        self._met[request] = [task for task in here if task.cancellable and task.parent == request.ban.parent]
        (self._placed if request.sender in self._network.known[request.to] else self._excused).append(where)

    def ban_answered(self, request: Request, failure: TaskfanError | None) -> None:
        assert request.ban is not None
        if failure is not None:
            self._failures.setdefault(request.ban.call, failure)

    def unban_sent(self, node: str, unban: SendUnban) -> None:
        parent = unban.parent
        assert not self._is_running(parent), "unbanned before the task has ended"
        assert not self._outstanding(parent), "unbanned before its children have ended"
        assert not self._open_bans(parent), "unbanned before its bans were answered"
        self._to_unban[parent].remove(unban.node_id)

    def unban_arrived(self, request: Request) -> None:
        assert request.unban is not None
        where = (request.to, request.unban.parent)
        self._placed = [ban for ban in self._placed if ban != where]
        self._stale = [ban for ban in self._stale if ban != where]

    def unban_lost(self, request: Request) -> None:
        assert request.unban is not None
        self._stale.append((request.to, request.unban.parent))

    def bans_dropped(self, by: str, node: str) -> None:
        gone = [(to, parent) for to, parent in self._placed if to == by and parent.node_id == node]
        self._placed = [ban for ban in self._placed if ban not in gone]
        self._stale = [ban for ban in self._stale if ban not in gone]
        self._excused += gone

    def ban_replied(self, request: Request, failure: TaskfanError | None) -> None:
        """A node answers a ban; the registry keeps, in the caller of each child's cancel, which ban it is for."""
        below = [failed for call, failed in self._failures.items() if getattr(call.caller, "caller", None) is request]
        assert (failure in below) if below else failure is None, "not the failure of a child's ban"
        assert request.ban is not None
        for child in self._met[request]:
            assert child.cancelled is not None, "a ban is answered before its children were told"
            assert not (request.ban.call.wait and self._is_running(child.id)), "answered before its children ended"

    # ------------------------------------------------------------------ children

    def child_started(self, request: Request) -> None:
        assert request.parent is not None
        if not request.traits.cancellable:
            return
        where = (request.to, request.parent.id)
        assert where not in self._placed, "a child starts under a ban"
        if request.open and request.parent.id in self._done:
            assert where in self._excused, "a child starts after its parent's cancel was reported done"

    def child_refused(self, request: Request) -> None:
        assert request.traits.cancellable, "bans do not concern tasks that cannot be cancelled"
        assert request.parent is not None
        assert request.parent.cancelled is not None

    # ------------------------------------------------------------------ who cancels

    def told(self, caller: Caller) -> None:
        assert len(caller.told) == 1, "told twice"
        task, failure = caller.task, caller.told[0]
        calls = [request.ban.call for request in self._network.requests if request.ban is not None and request.open]
        assert not any(call.caller is caller for call in calls), "told before its bans were answered"
        expected = [failure for call, failure in self._failures.items() if call.caller is caller]
        assert failure is (expected[0] if expected else None), "told of another failure than its own"
        if caller.wait and caller.ran:
            assert not self._is_running(task.id), "told before the task has ended"
            assert not (task.traits.cancels_children and self._outstanding(task.id)), "told before its children ended"
        if failure is None and task.traits.cancels_children and caller.ran:
            self._done.append(task.id)
            self._all_below_are_cancelled(task)

    def _all_below_are_cancelled(self, parent: Task) -> None:
        for name, request in self._network.came_by.items():
            child = self._network.tasks[name]
            if not request.open or request.parent is not parent or not child.cancellable:
                continue
            if (request.to, parent.id) in self._excused:
                continue
            assert child.cancelled is not None, f"{name} runs on, and its parent's cancel was reported done"
            if child.traits.cancels_children:
                self._all_below_are_cancelled(child)

    # ------------------------------------------------------------------ at any time, and at the end

    def check(self) -> None:
        """Counts are those of the requests that are out; bans are where they should be."""
        for node, registry in self._network.registries.items():
            out = Counter(
                (request.parent.id.number, request.to)
                for request in self._network.requests
                if request.sender == node and request.token is not None and request.open and request.parent is not None
            )
            ended = [number for number, _ in out if registry.get(number) is None]
            counted = {
                (number, to): count
                for number, holder in registry._holders.items()
                for to, count in holder.counts.items()
            }
            assert counted == {key: count for key, count in out.items() if key[0] not in ended}
            for request in self._network.requests:
                if request.sender == node and request.token is not None and request.open:
                    assert request.token.holder.children[request.to] is request.token
            assert [(node, parent) for parent in registry.bans] == list(
                dict.fromkeys(ban for ban in self._placed if ban[0] == node)
            )

    def check_at_rest(self) -> None:
        """With every task ended and every message arrived or failed, nothing is left but stale bans."""
        assert [caller.name for caller in self._network.callers if len(caller.told) != 1] == [], "told other than once"
        assert {parent: nodes for parent, nodes in self._to_unban.items() if nodes and self._lives(parent)} == {}
        for node, registry in self._network.registries.items():
            assert (registry._tasks, registry._holders, registry._children) == ({}, {}, {})
            for parent in registry.bans:
                assert (node, parent) in self._stale, "a ban is left"

    # ------------------------------------------------------------------ looking

    def _outstanding(self, parent: TaskId, to: str | None = None) -> bool:
        return any(
            request.open and request.token is not None and request.parent is not None and request.parent.id == parent
            for request in self._network.requests
            if to in (None, request.to)
        )

    def _open_bans(self, parent: TaskId) -> bool:
        return any(r.open and r.ban is not None and r.ban.parent == parent for r in self._network.requests)

    def _is_running(self, task_id: TaskId) -> bool:
        registry = self._network.registries.get(task_id.node_id)
        return registry is not None and registry.get(task_id.number) is not None

    def _lives(self, task_id: TaskId) -> bool:
        return task_id.node_id in self._network.registries
