"""Changes of the cluster state, as the node that is the manager makes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec
from msgspec.structs import replace

from taskfan.node.coordination.messages import NotClusterManager

if TYPE_CHECKING:
    from taskfan.node.cluster_state import ClusterState
    from taskfan.node.node import Node

# Given the next state, with its term and version; gives another one, or the same object to change nothing. Pure.
Update: TypeAlias = "Callable[[ClusterState], ClusterState]"


class UpdateLimits(msgspec.Struct, frozen=True):
    """How long who asks for a change waits, in seconds; None: until its end.

    `start_s` is for the changes before it, `ack_s` for all nodes to apply it once it is committed. Zero or less is
    no time at all. Source: OpenSearch `AckedClusterStateUpdateTask`.
    """

    start_s: float | None = None
    ack_s: float | None = None


NO_LIMITS = UpdateLimits()


class StateUpdates(Protocol):
    """Where changes of the cluster state are handed in. Source: OpenSearch `ClusterManagerService`."""

    async def submit(self, source: str, update: Update, limits: UpdateLimits = NO_LIMITS) -> bool:
        """Make a change; changes that come together are made one after the other, and published in one state.

        Args:
            source: what asks for it, for logs and errors.

        Returns:
            Whether all nodes have applied it. It is committed in any case; without a limit to `ack_s` it is applied
            here too.

        Raises:
            NotClusterManager: this node is not the manager. Nothing was changed.
            ProcessClusterEventTimeout: others took too long before it. Nothing was changed.
            FailedToCommit: the manager lost its place meanwhile; the change may still come about.
            Whatever `update` raises. Nothing was changed.
        """


class NoStateUpdates:
    """Of a node whose cluster state comes from elsewhere."""

    async def submit(self, source: str, update: Update, limits: UpdateLimits = NO_LIMITS) -> bool:
        """Raises NotClusterManager."""
        raise NotClusterManager(f"[{source}]: the cluster state cannot be changed here")


class SharedStateUpdates:
    """Of nodes in one process that have no elections: the state is given to all of them at once."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes

    async def submit(self, source: str, update: Update, limits: UpdateLimits = NO_LIMITS) -> bool:
        """Make a change; who is the manager is not asked. Raises what `update` raises."""
        before = max((node.cluster_state for node in self._nodes), key=lambda state: (state.term, state.version))
        following = replace(before, version=before.version + 1)
        state = update(following)
        if state is not following:
            for node in self._nodes:
                node.apply_cluster_state(state)
        return True
