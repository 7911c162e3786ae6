"""Which node has which copy of which shard: decided anew whenever nodes or indices change. Pure.

Every function takes `Indices` and gives back others. Nothing is drawn by chance: the same indices and nodes give the
same allocation. Source: OpenSearch `AllocationService`, `BalancedShardsAllocator`, and its deciders.

Differs: shards are in memory, so a copy whose node left is gone; copies do not move once they are somewhere.
"""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec

from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.index.errors import SettingsInvalid
from taskfan.node.index.metadata import (
    IndexMetadata,
    Indices,
    ShardRouting,
    ShardTable,
    UnassignedInfo,
)
from taskfan.node.index.settings import (
    ALLOCATION_FILTERS,
    AUTO_EXPAND_REPLICAS,
    NUMBER_OF_REPLICAS,
    TOTAL_SHARDS_PER_NODE,
    integer,
)

# Gives an allocation id, 22 characters of URL-safe base64; random, so it comes from outside.
NewId = Callable[[], str]
# How many copies a node may have on average. Source: `cluster.max_shards_per_node`.
MAX_SHARDS_PER_NODE = 1000


def check_shard_limit(indices: Indices, new: IndexMetadata, nodes: Sequence[DiscoveryNode], per_node: int) -> None:
    """Refuse an index with more shards than the cluster bears.

    Raises:
        SettingsInvalid: in the words of OpenSearch's `ShardLimitValidator`.
    """
    adds = new.number_of_shards * (1 + new.number_of_replicas)
    there = sum(1 for _ in indices.routing)
    most = per_node * sum(node.is_data for node in nodes)
    if there + adds > most:
        raise SettingsInvalid(
            f"this action would add [{adds}] total LOCAL_ONLY shards, but this cluster currently has "
            f"[{there}]/[{most}] maximum LOCAL_ONLY shards open"
        )


def create_index(indices: Indices, index: IndexMetadata, now_ms: int) -> Indices:
    """Add an index whose copies are nowhere yet; `reroute` places them."""
    index = IndexMetadata(
        index.name,
        index.uuid,
        index.settings,
        index.mapping,
        index.aliases,
        primary_terms=(0,) * index.number_of_shards,
        in_sync=((),) * index.number_of_shards,
        system=index.system,
    )
    unassigned = UnassignedInfo("INDEX_CREATED", now_ms)
    shards = tuple(
        tuple(
            ShardRouting(index.name, number, primary=copy == 0, unassigned=unassigned)
            for copy in range(1 + index.number_of_replicas)
        )
        for number in range(index.number_of_shards)
    )
    return indices.with_metadata(index).with_routing(indices.routing.with_index(index.name, shards))


def reroute(indices: Indices, nodes: Sequence[DiscoveryNode], now_ms: int, new_id: NewId) -> Indices:
    """Give every copy that is nowhere to a node that may have it: primaries first, replicas once these are active."""
    indices = expand_replicas(indices, nodes, now_ms)
    for primary in (True, False):
        for name in _by_priority(indices):
            for number in range(indices.metadata[name].number_of_shards):
                indices = _place(indices, nodes, indices.metadata[name], number, primary, new_id)
    return indices


def _by_priority(indices: Indices) -> list[str]:
    # Source: `PriorityComparator`: by `index.priority`, then the newest first.
    def key(index: IndexMetadata) -> tuple[int, int, str]:
        created = int(index.settings.get("index.creation_date", "0"))
        return -int(index.settings.get("index.priority", "1")), -created, index.name

    return [index.name for index in sorted(indices.metadata.values(), key=key)]


def _place(
    indices: Indices, nodes: Sequence[DiscoveryNode], index: IndexMetadata, number: int, primary: bool, new_id: NewId
) -> Indices:
    table = indices.routing.shard(index.name, number)
    if primary and indices.metadata[index.name].in_sync[number]:
        # All copies that had the data are gone: an empty one must not take their place.
        return indices
    for position, copy in enumerate(table):
        if copy.state != "UNASSIGNED" or copy.primary is not primary or (not primary and not table[0].active):
            continue
        node = _Decider(indices, index, number).best(nodes)
        if node is None:
            break
        placed = copy.on(node.id, new_id())
        table = (*table[:position], placed, *table[position + 1 :])
        indices = indices.with_routing(indices.routing.with_shard(index.name, number, table))
        if primary:
            indices = indices.with_metadata(indices.metadata[index.name].with_term_bumped(number))
    return indices


class _Decider(msgspec.Struct, frozen=True):
    """Where one more copy of a shard may go."""

    indices: Indices
    index: IndexMetadata
    number: int

    def best(self, nodes: Sequence[DiscoveryNode]) -> DiscoveryNode | None:
        """The allowed node with the fewest copies of this index, then of all, then the first by name."""
        of_index = Counter(copy.node_id for copy in self.indices.routing if copy.index == self.index.name)
        of_all = Counter(copy.node_id for copy in self.indices.routing)
        limit = integer(self.index.settings, TOTAL_SHARDS_PER_NODE)
        taken = {copy.node_id for copy in self.indices.routing.shard(self.index.name, self.number)}
        allowed = [
            node
            for node in nodes
            if node.id not in taken and may_hold(self.index, node) and (limit < 0 or of_index[node.id] < limit)
        ]
        return min(allowed, key=lambda node: (of_index[node.id], of_all[node.id], node.name), default=None)


def may_hold(index: IndexMetadata, node: DiscoveryNode) -> bool:
    """Whether the roles of a node and the allocation filters of an index allow a copy there.

    Source: OpenSearch `FilterAllocationDecider`.
    """
    if not node.is_data:
        return False
    for name, value in index.settings.items():
        if not name.startswith(ALLOCATION_FILTERS) or not value:
            continue
        rule, _, attribute = name.removeprefix(ALLOCATION_FILTERS).partition(".")
        if attribute and rule in ("require", "include", "exclude"):
            matches = [fnmatch.fnmatchcase(_attribute(node, attribute), text) for text in value.split(",")]
            if not {"require": all(matches), "include": any(matches), "exclude": not any(matches)}[rule]:
                return False
    return True


def _attribute(node: DiscoveryNode, attribute: str) -> str:
    known = {"_name": node.name, "_id": node.id, "_ip": node.host, "_host": node.host, "_publish_ip": node.host}
    return known.get(attribute) or node.attributes.get(attribute, "")


def expand_replicas(indices: Indices, nodes: Sequence[DiscoveryNode], now_ms: int) -> Indices:
    """Fit the number of replicas to that of the nodes, where an index asks for it. Source: `AutoExpandReplicas`."""
    for index in indices.metadata.values():
        lowest, dash, highest = index.settings.get(AUTO_EXPAND_REPLICAS, "false").partition("-")
        if not dash:
            continue
        others = sum(may_hold(index, node) for node in nodes) - 1
        most = others if highest == "all" else int(highest)
        indices = set_replicas(indices, index.name, max(int(lowest), min(most, others)), now_ms)
    return indices


def set_replicas(indices: Indices, name: str, replicas: int, now_ms: int) -> Indices:
    """Change the number of replicas: new ones are nowhere yet, of the old ones those that are nowhere go first."""
    index = indices.metadata[name]
    if index.number_of_replicas == replicas:
        return indices
    indices = indices.with_metadata(index.with_settings({NUMBER_OF_REPLICAS: str(replicas)}))
    for number, table in enumerate(indices.routing.indices[name]):
        kept = (table[0], *sorted(table[1:], key=lambda copy: not copy.active)[:replicas])
        added = tuple(
            ShardRouting(name, number, primary=False, unassigned=UnassignedInfo("REPLICA_ADDED", now_ms))
            for _ in range(1 + replicas - len(kept))
        )
        indices = _with_copies(indices, name, number, (*kept, *added))
    return indices


def _with_copies(indices: Indices, name: str, number: int, copies: ShardTable) -> Indices:
    there = {copy.allocation_id for copy in copies}
    index = indices.metadata[name]
    in_sync = tuple(known for known in index.in_sync[number] if known in there)
    # The last ones that had the data stay known, so that no empty copy takes their place.
    indices = indices.with_metadata(index.with_in_sync(number, in_sync or index.in_sync[number]))
    return indices.with_routing(indices.routing.with_shard(name, number, copies))


def shard_started(indices: Indices, name: str, number: int, allocation_id: str) -> Indices:
    """A node has made the copy it was given. A copy that is no longer wanted changes nothing."""
    if name not in indices.metadata:
        return indices
    table = indices.routing.shard(name, number)
    copies = tuple(
        copy.started() if copy.allocation_id == allocation_id and not copy.active else copy for copy in table
    )
    if copies == table:
        return indices
    index = indices.metadata[name]
    in_sync = (*index.in_sync[number], allocation_id)
    return indices.with_metadata(index.with_in_sync(number, in_sync)).with_routing(
        indices.routing.with_shard(name, number, copies)
    )


def shard_failed(indices: Indices, name: str, number: int, allocation_id: str, reason: str, now_ms: int) -> Indices:
    """A copy is lost: a replica that missed a write, or one that could not be made."""
    if name not in indices.metadata:
        return indices
    return _lose(indices, name, number, lambda copy: copy.allocation_id == allocation_id, reason, now_ms)


def nodes_left(indices: Indices, left: Iterable[str], now_ms: int) -> Indices:
    """The copies of nodes that left are lost; where a primary was among them, a replica that is in sync takes over."""
    gone = set(left)
    for name, shards in indices.routing.indices.items():
        for number in range(len(shards)):
            indices = _lose(indices, name, number, lambda copy: copy.node_id in gone, "NODE_LEFT", now_ms)
    return indices


def _lose(
    indices: Indices, name: str, number: int, lost: Callable[[ShardRouting], bool], reason: str, now_ms: int
) -> Indices:
    table = indices.routing.shard(name, number)
    if not any(copy.node_id is not None and lost(copy) for copy in table):
        return indices
    copies = tuple(copy.gone(reason, now_ms) if copy.node_id is not None and lost(copy) else copy for copy in table)
    if copies[0].node_id is None:
        copies, promoted = _promote(copies, indices.metadata[name].in_sync[number])
        if promoted:
            indices = indices.with_metadata(indices.metadata[name].with_term_bumped(number))
        elif not any(copy.active for copy in copies):
            # Replicas that were still being made have nobody to take the data from.
            copies = tuple(copy.gone(reason, now_ms) if copy.node_id is not None else copy for copy in copies)
    return _with_copies(indices, name, number, copies)


def _promote(copies: ShardTable, in_sync: Sequence[str]) -> tuple[ShardTable, bool]:
    """Put the first active replica that is in sync into the place of a lost primary."""
    for position, copy in enumerate(copies):
        if position and copy.active and copy.allocation_id in in_sync:
            primary = ShardRouting(copy.index, copy.shard, True, copy.state, copy.node_id, copy.allocation_id)
            lost = ShardRouting(copy.index, copy.shard, False, unassigned=copies[0].unassigned)
            rest = [other for place, other in enumerate(copies) if place not in (0, position)]
            return (primary, *rest, lost), True
    return copies, False
