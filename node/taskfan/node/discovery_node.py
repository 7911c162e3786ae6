"""One node as the others know it. Pure.

Apart from the cluster state: who only starts a cluster need not wait for all that is in that to be imported.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

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
