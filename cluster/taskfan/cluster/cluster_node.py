"""`ClusterNode`: one node of a `Cluster`, and what can be done to it; `ClusterNodes`: all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, SupportsIndex, overload

from taskfan.cluster.errors import ClusterError
from taskfan.cluster.messages import NodeState, NodeStatus
from taskfan.cluster.state_directory import last_lines

if TYPE_CHECKING:
    from taskfan.cluster.cluster import Cluster


class ClusterNode:
    """One node of a cluster. Ids, names and addresses stay the same through restarts.

    The verbs return when the change has happened and the other nodes know it, and raise ClusterError when they cannot.
    """

    def __init__(self, cluster: Cluster, status: NodeStatus) -> None:
        self._cluster = cluster
        self.id = status.id
        self.name = status.name
        self.url = status.url
        self.transport_address = status.transport_address
        self.roles = tuple(status.roles)
        self.log_path = status.log

    def __repr__(self) -> str:
        return f"<{self.name} {self.url}>"

    @property
    def status(self) -> NodeStatus:
        """How the supervisor sees it now. Raises ClusterError when it was removed."""
        for node in self._cluster.status().nodes:
            if node.id == self.id:
                return node
        raise ClusterError(f"Node [{self.name}] was removed from the cluster.")

    @property
    def state(self) -> NodeState:
        """`running`, `paused`, `stopped`, `starting`, or `ended` when nobody asked it to."""
        return self.status.state

    @property
    def pid(self) -> int:
        """Its process; 0 when it has none."""
        return self.status.pid

    def kill(self) -> None:
        """End it as a crash would, with SIGKILL. No error when it does not run."""
        self._cluster.command("kill", self.id)

    def pause(self) -> None:
        """Make it stand still, with SIGSTOP: its ports stay open, and nothing answers."""
        self._cluster.command("pause", self.id)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._cluster.command("resume", self.id)

    def stop(self) -> None:
        """Let it end by itself. No error when it does not run."""
        self._cluster.command("stop", self.id)

    def start(self) -> None:
        """Start it again, with its old id and ports, and wait until it serves. No error when it runs."""
        self._cluster.command("start", self.id)

    def restart(self) -> None:
        """Stop and start it."""
        self._cluster.command("restart", self.id)

    def remove(self) -> None:
        """Stop it and forget it: it is no node of the cluster any more, and its name is free."""
        self._cluster.command("remove", self.id)

    def last_log_lines(self, count: int = 20) -> list[str]:
        """The end of its log."""
        return last_lines(self.log_path, count)


class ClusterNodes(list[ClusterNode]):
    """Nodes in the order of their numbers. A name or an id is a key as good as an index."""

    @overload
    def __getitem__(self, key: SupportsIndex | str) -> ClusterNode: ...
    @overload
    def __getitem__(self, key: slice) -> list[ClusterNode]: ...

    def __getitem__(self, key: SupportsIndex | str | slice) -> ClusterNode | list[ClusterNode]:
        """The node there. Raises ClusterError for a name that none has, IndexError for a number."""
        if not isinstance(key, str):
            return super().__getitem__(key)
        for node in self:
            if key in (node.name, node.id):
                return node
        raise ClusterError(f"No node is named [{key}]: there are {', '.join(node.name for node in self)}.")
