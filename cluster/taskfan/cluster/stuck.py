"""`cluster.faults.stuck`: tasks that hang as they do in bad times, each in one line."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from taskfan.cluster.errors import ClusterError
from taskfan.cluster.rest_client import RequestFailed, ask

if TYPE_CHECKING:
    from taskfan.cluster.cluster import Cluster
    from taskfan.cluster.cluster_node import ClusterNode
    from taskfan.cluster.fault_scopes import Fault
    from taskfan.cluster.faults import Faults

BAN_ACTION = "internal:admin/tasks/ban"
# Every one of these actions begins so, and can be found by it.
ACTION = "taskfan:stuck"
DEADLINE_S = 30.0
UNTIL_CANCELLED = "until_cancelled"


class StuckTask(msgspec.Struct, frozen=True):
    """What is stuck.

    Attributes:
        task_id: the task that is stuck, or whose ban is.
        parent_task_id: its parent; empty when it has none.
        fault: what did it, with its hits; None when it was not a fault.
    """

    task_id: str
    parent_task_id: str = ""
    fault: Fault | None = None


class Stuck:
    """Context managers that bring a task into a bad state, and undo what can be undone at the end of the block.

    `node` is where the parent runs, or the one task; `child_node` where its child does. By default these are the
    second and the first node. All of them give a `StuckTask`.
    """

    def __init__(self, cluster: Cluster, faults: Faults) -> None:
        self._cluster, self._faults = cluster, faults

    @contextmanager
    def ignores_cancel(self, node: ClusterNode | str | None = None, *, duration: str = "30s") -> Iterator[StuckTask]:
        """A task that was cancelled and works on, until its `duration` is over."""
        plan = {"action": f"{ACTION}/ignores_cancel", "on_cancel": "ignores", "duration": duration}
        yield self._cancelled(plan, node)

    @contextmanager
    def stops_late(self, node: ClusterNode | str | None = None, *, after: str = "5s") -> Iterator[StuckTask]:
        """A task that was cancelled, and stops so long after it."""
        plan = {"action": f"{ACTION}/stops_late", "duration": UNTIL_CANCELLED}
        yield self._cancelled({**plan, "on_cancel": "stops_late", "stops_after": after}, node)

    @contextmanager
    def lost_ban(
        self, node: ClusterNode | str | None = None, child_node: ClusterNode | str | None = None
    ) -> Iterator[StuckTask]:
        """A child that never hears that its parent was cancelled: the ban was lost, and the cancel is not answered.

        At the end the link between the two closes, which ends all of it.
        """
        asking, asked = self._pair(node, child_node)
        parent, child = self._family("lost_ban", asking, asked)
        with self._faults.drop(BAN_ACTION, from_=asking, to=asked, task_id=parent, first=1) as fault:
            # It will not be answered before the end.
            caller = threading.Thread(target=self._cancel_quietly, args=(parent, asking), daemon=True)
            caller.start()
            _until(lambda: fault.hit_count, "the ban is lost")
            yield StuckTask(child, parent, fault)
            self._close_link(asking, asked)
            caller.join(DEADLINE_S)
        _until(lambda: not self._runs(child) and not self._runs(parent), "parent and child ended with their link")

    @contextmanager
    def lost_unban(
        self, node: ClusterNode | str | None = None, child_node: ClusterNode | str | None = None
    ) -> Iterator[StuckTask]:
        """A ban that stays after parent and child have ended, because its removal was lost.

        Nothing takes it away but the end of one of the two nodes; so at the end the child's node is restarted.
        """
        asking, asked = self._pair(node, child_node)
        parent, child = self._family("lost_unban", asking, asked)
        with self._faults.drop(BAN_ACTION, from_=asking, to=asked, task_id=parent, after=1, first=1) as fault:
            self._cluster.cancel_tasks(parent, node=asking, wait_for_completion=True)
            _until(lambda: fault.hit_count, "the removal of the ban is lost")
            yield StuckTask(child, parent, fault)
        asked.restart()

    @contextmanager
    def child_outlives_parent(
        self, node: ClusterNode | str | None = None, child_node: ClusterNode | str | None = None
    ) -> Iterator[StuckTask]:
        """A child that runs on after its parent has ended, which took it for failed. At the end it is cancelled."""
        asking, asked = self._pair(node, child_node)
        mark = f"stuck {secrets.token_hex(6)}"
        child_plan = {"description": mark, "duration": UNTIL_CANCELLED, "nodes": asked.name}
        plan = {"action": f"{ACTION}/parent", "children": [{**child_plan, "action": f"{ACTION}/child"}]}
        with self._faults.fail(
            f"{ACTION}/child", from_=asking, to=asked, description=mark, on="reply", at_once=True
        ) as fault:
            parent = self._cluster.start_work(plan, node=asking)
            _until(lambda: fault.hit_count, "the parent sees an error")
            child = self._child_of(parent)
            _until(lambda: not self._runs(parent), "the parent ends")
            yield StuckTask(child, parent, fault)
        with contextlib.suppress(RequestFailed):
            self._cluster.cancel_tasks(child, wait_for_completion=True)

    @contextmanager
    def orphan(
        self,
        node: ClusterNode | str | None = None,
        child_node: ClusterNode | str | None = None,
        *,
        duration: str = "30s",
    ) -> Iterator[StuckTask]:
        """A child that cannot be cancelled, whose parent's node was killed. It ends after its `duration`.

        At the end the node is started again.
        """
        asking, asked = self._pair(node, child_node)
        child_plan = {"action": f"{ACTION}/child", "cancellable": False, "duration": duration, "nodes": asked.name}
        plan = {"action": f"{ACTION}/parent", "duration": UNTIL_CANCELLED, "children": [child_plan]}
        parent = self._cluster.start_work(plan, node=asking)
        child = self._child_of(parent)
        with self._faults.kill(asking):
            yield StuckTask(child, parent)

    # ------------------------------------------------------------------ how it is done

    def _pair(
        self, node: ClusterNode | str | None, child_node: ClusterNode | str | None
    ) -> tuple[ClusterNode, ClusterNode]:
        nodes = self._cluster.nodes
        if len(nodes) < 2:
            raise ClusterError("A child on another node needs a cluster of two nodes at least.")
        return self._cluster.node(node or nodes[1]), self._cluster.node(child_node or nodes[0])

    def _family(self, name: str, asking: ClusterNode, asked: ClusterNode) -> tuple[str, str]:
        """A task on one node with a child on the other, both until they are cancelled. Returns their ids."""
        child = {"action": f"{ACTION}/{name}/child", "duration": UNTIL_CANCELLED, "nodes": asked.name}
        plan = {"action": f"{ACTION}/{name}", "duration": UNTIL_CANCELLED, "children": [child]}
        parent = self._cluster.start_work(plan, node=asking)
        return parent, self._child_of(parent)

    def _cancelled(self, plan: dict[str, Any], node: ClusterNode | str | None) -> StuckTask:
        task_id = self._cluster.start_work(plan, node=node or self._cluster.nodes[0])
        self._cluster.cancel_tasks(task_id)
        return StuckTask(task_id)

    def _cancel_quietly(self, task_id: str, node: ClusterNode) -> None:
        with contextlib.suppress(ClusterError):
            self._cluster.cancel_tasks(task_id, node=node)

    def _close_link(self, asking: ClusterNode, asked: ClusterNode) -> None:
        """Have the link from one node to the other close and open again."""
        fault = self._faults.hang_up("cluster:monitor/task/get", from_=asking, to=asked, first=1, may_not_fire=True)
        with fault, contextlib.suppress(ClusterError):
            ask(asking.url, "GET", f"/_tasks/{asked.id}:1", {"timeout": "5s"})

    def _child_of(self, parent: str) -> str:
        found: list[str] = []

        def look() -> bool:
            answer = self._cluster.list_tasks(parent_task_id=parent, actions=f"{ACTION}/*", group_by="none")
            found[:] = [f"{task['node']}:{task['id']}" for task in answer["tasks"]]
            return bool(found)

        _until(look, "the child runs")
        return found[0]

    def _runs(self, task_id: str) -> bool:
        node, _, number = task_id.rpartition(":")
        answer = self._cluster.list_tasks(actions=f"{ACTION}/*", group_by="none", timeout="5s")
        return any((task["node"], str(task["id"])) == (node, number) for task in answer["tasks"])


def _until(condition: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise ClusterError(f"It did not happen within {DEADLINE_S:g} s that {what}.")
        time.sleep(0.01)
