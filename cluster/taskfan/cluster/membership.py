"""Which cluster state follows when nodes come and go, as long as the members are given at start. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from taskfan.node.cluster_state import ClusterState, DiscoveryNode


def first_state(cluster_name: str, cluster_uuid: str, nodes: Sequence[DiscoveryNode]) -> ClusterState:
    """The state a cluster starts with; the first eligible node is the manager."""
    manager = _first_eligible(nodes)
    return ClusterState(cluster_name, cluster_uuid, 1, tuple(nodes), None if manager is None else manager.id)


def next_state(state: ClusterState, *, joined: Sequence[DiscoveryNode] = (), left: Sequence[str] = ()) -> ClusterState:
    """The state after nodes left (by id) and others joined; one that joins again replaces what it was.

    The manager stays as long as it does; after it, the first eligible node that is there takes over, in a new term.
    """
    gone = {*left, *(node.id for node in joined)}
    nodes = (*(node for node in state.nodes if node.id not in gone), *joined)
    stays = any(node.id == state.manager_id for node in state.nodes if node.id not in gone)
    manager_id = state.manager_id
    if not stays:
        manager = _first_eligible(nodes)
        manager_id = None if manager is None else manager.id
    # Without a manager no term begins: it does with the next one.
    term = state.term if stays or manager_id is None else state.term + 1
    return replace(state, version=state.version + 1, nodes=nodes, manager_id=manager_id, term=term)


def _first_eligible(nodes: Sequence[DiscoveryNode]) -> DiscoveryNode | None:
    return next((node for node in nodes if node.is_cluster_manager_eligible), None)
