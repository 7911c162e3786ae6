"""`nodes=` to nodes: OpenSearch's grammar of node filters. Pure.

Source: OpenSearch `DiscoveryNodes.resolveNodes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from taskfan.node.action_filter import action_pattern
from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.errors import IllegalArgument

# Roles that `role:true` does not look at, for OpenSearch has keys of their own for some and none for the others.
_BUILT_IN_ROLES = ("cluster_manager", "master", "data", "ingest", "remote_cluster_client", "search", "warm")

_ROLE_KEYS: dict[str, Callable[[DiscoveryNode], bool]] = {
    "data": lambda node: node.is_data,
    "cluster_manager": lambda node: node.is_cluster_manager_eligible,
    "master": lambda node: node.is_cluster_manager_eligible,
    "ingest": lambda node: "ingest" in node.roles,
    "coordinating_only": lambda node: not node.roles,
}


def resolve(items: Sequence[str], state: ClusterState, local_id: str) -> list[DiscoveryNode]:
    """The nodes that a filter means, in the order of the cluster state.

    Args:
        items: of the filter, applied from left to right to an empty set; none at all means every node.
        local_id: the node that was asked, for `_local`.

    Raises:
        IllegalArgument: the value of a role is no boolean.
    """
    if not items:
        return list(state)
    chosen: dict[str, bool] = {}
    for item in items:
        for node, added in _apply(item, state, local_id):
            chosen[node.id] = added
    return [node for node in state if chosen.get(node.id)]


def _apply(item: str, state: ClusterState, local_id: str) -> Iterator[tuple[DiscoveryNode, bool]]:
    """The nodes that one item adds (True) or removes (False)."""
    if item == "_local":
        yield from _added(node for node in state if node.id == local_id)
    elif item in ("_master", "_cluster_manager"):
        yield from _added(node for node in state if node.id == state.manager_id)
    elif (node := state.get(item)) is not None:
        yield node, True
    elif item == "_all":
        yield from _added(state)
    else:
        matches = action_pattern((item,))
        yield from _added(node for node in state if matches(node.name) or matches(node.host))
        key, colon, value = item.partition(":")
        if colon:
            yield from _by_key(key, value, state)


def _by_key(key: str, value: str, state: ClusterState) -> Iterator[tuple[DiscoveryNode, bool]]:
    if key in _ROLE_KEYS:
        wanted = _boolean(value)
        yield from ((node, wanted) for node in state if _ROLE_KEYS[key](node))
        return
    if any(key in node.roles for node in state) and key not in _BUILT_IN_ROLES:
        wanted = _boolean(value)
        yield from ((node, wanted) for node in state if key in node.roles)
    matches_key, matches_value = action_pattern((key,)), action_pattern((value,))
    yield from _added(
        node
        for node in state
        if any(matches_key(name) and matches_value(text) for name, text in node.attributes.items())
    )


def _added(nodes: Iterable[DiscoveryNode]) -> Iterator[tuple[DiscoveryNode, bool]]:
    return ((node, True) for node in nodes)


def _boolean(text: str) -> bool:
    if text in ("", "true"):
        return True
    if text == "false":
        return False
    raise IllegalArgument(f"Failed to parse value [{text}] as only [true] or [false] are allowed.")
