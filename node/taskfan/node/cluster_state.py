"""Which nodes there are, who is the cluster manager, and which version of that. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from taskfan.node.cluster_settings import ClusterSettings
from taskfan.node.discovery_node import DEFAULT_ATTRIBUTES, DEFAULT_ROLES, OPENSEARCH_VERSION, DiscoveryNode
from taskfan.node.index.metadata import Indices

__all__ = ["DEFAULT_ATTRIBUTES", "DEFAULT_ROLES", "OPENSEARCH_VERSION", "ClusterState", "DiscoveryNode"]


class ClusterState(msgspec.Struct, frozen=True):
    """What all nodes agree on. A value: whoever publishes a change makes a new one of a higher version.

    `nodes` are in the order in which they joined; `manager_id` is None while there is no manager.
    """

    cluster_name: str
    cluster_uuid: str
    version: int
    nodes: tuple[DiscoveryNode, ...]
    manager_id: str | None = None
    term: int = 1
    indices: Indices = Indices()
    settings: ClusterSettings = ClusterSettings()

    def __iter__(self) -> Iterator[DiscoveryNode]:
        return iter(self.nodes)

    def get(self, node_id: str) -> DiscoveryNode | None:
        """The node of that id, or None. Linear: clusters are small, states are many."""
        return next((node for node in self.nodes if node.id == node_id), None)

    @property
    def manager(self) -> DiscoveryNode | None:
        """The elected cluster manager, if there is one."""
        return None if self.manager_id is None else self.get(self.manager_id)

    def supersedes(self, other: ClusterState) -> bool:
        """Whether this one is to replace `other`: it is newer, or the same after its manager was lost."""
        ranks = [(state.term, state.version, state.manager_id is None) for state in (self, other)]
        return ranks[0] > ranks[1]
