"""Which nodes there are, who is the cluster manager, and which version of that. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from taskfan.node.cluster_settings import ClusterSettings
from taskfan.node.index.metadata import Indices

# The roles a node has unless it is told others. Source: `DiscoveryNodeRole.BUILT_IN_ROLES` with its defaults.
DEFAULT_ROLES = ("cluster_manager", "data", "ingest", "remote_cluster_client")
# What a real node of default settings shows.
DEFAULT_ATTRIBUTES: Mapping[str, str] = {"shard_indexing_pressure_enabled": "true"}
OPENSEARCH_VERSION = "3.8.0"


class DiscoveryNode(msgspec.Struct, frozen=True):
    """One node as the others know it. Source: OpenSearch `DiscoveryNode`.

    `id` survives a restart, `ephemeral_id` does not. `host` is the bare address; `transport_address` and
    `http_address` are `host:port`. `roles` are sorted by name; none means that it only coordinates.
    """

    id: str
    name: str
    ephemeral_id: str
    host: str
    transport_address: str
    http_address: str
    roles: tuple[str, ...] = DEFAULT_ROLES
    attributes: Mapping[str, str] = msgspec.field(default_factory=lambda: dict(DEFAULT_ATTRIBUTES))
    version: str = OPENSEARCH_VERSION

    @property
    def is_cluster_manager_eligible(self) -> bool:
        """May become the cluster manager (`master` is the role's old name)."""
        return "cluster_manager" in self.roles or "master" in self.roles

    @property
    def is_data(self) -> bool:
        """Holds shards."""
        return any(role == "data" or role.startswith("data_") for role in self.roles)


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
