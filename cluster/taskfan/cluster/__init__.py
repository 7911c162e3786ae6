"""Starts, breaks and stops clusters of real processes: `from taskfan.cluster import Cluster`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskfan.cluster.cluster import Cluster
    from taskfan.cluster.cluster_node import ClusterNode
    from taskfan.cluster.errors import ClusterError
    from taskfan.cluster.warm import keep_warm

__all__ = ["Cluster", "ClusterError", "ClusterNode", "keep_warm"]


def __getattr__(name: str) -> object:
    # The pytest plugin is loaded in every pytest run of its users: nothing is imported before it is wanted.
    if name in ("Cluster", "ClusterNode"):
        from taskfan.cluster import cluster

        return getattr(cluster, name)
    if name == "ClusterError":
        from taskfan.cluster.errors import ClusterError

        return ClusterError
    if name == "keep_warm":
        from taskfan.cluster.warm import keep_warm

        return keep_warm
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
