"""Waiting for the cluster state to change, attempt after attempt, up to one limit."""

from __future__ import annotations

from taskfan.node.cluster_state import ClusterState
from taskfan.node.node import Node


class StateObserver:
    """The cluster states that one request saw. Source: OpenSearch `ClusterStateObserver`."""

    def __init__(self, node: Node, timeout_ms: int) -> None:
        self._node = node
        self._deadline_ns = node.clock.monotonic_ns() + max(timeout_ms, 0) * 1_000_000
        self._seen = node.cluster_state
        self.timed_out = False

    def observe(self) -> ClusterState:
        """The state as it is now; `wait_for_change` waits for another one."""
        self._seen = self._node.cluster_state
        return self._seen

    async def wait_for_change(self) -> None:
        """Wait for another state than the one observed last; at the limit `timed_out` is set, for a last attempt."""
        left_s = (self._deadline_ns - self._node.clock.monotonic_ns()) / 1e9
        if left_s <= 0:
            self.timed_out = True
            return
        try:
            async with self._node.clock.timeout(left_s):
                await self._node.newer_cluster_state(self._seen)
        except TimeoutError:
            self.timed_out = True
