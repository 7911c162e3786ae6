"""Changes of the indices of a cluster state, each a function from one state to the next. Pure.

A function gives the same object back when there is nothing to change. Source: OpenSearch `MetadataCreateIndexService`,
`MetadataDeleteIndexService`, `MetadataMappingService`, `MetadataUpdateSettingsService`, `ShardStateAction`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.index import allocation
from taskfan.node.index.errors import ShardId
from taskfan.node.index.index_requests import CreateIndexBody, new_index
from taskfan.node.index.mappings import checked_mapping, merged
from taskfan.node.index.metadata import Indices
from taskfan.node.index.settings import NUMBER_OF_REPLICAS, check_update


def new_ids(state: ClusterState) -> allocation.NewId:
    """Ids of 22 characters that nothing else of this cluster has, for what is new in this state.

    Not drawn by chance: the term and version of a state are its own.
    """
    taken = {copy.allocation_id for copy in state.indices.routing}
    taken |= {index.uuid for index in state.indices.metadata.values()}
    drawn = 0

    def draw() -> str:
        nonlocal drawn
        while True:
            drawn += 1
            seed = f"{state.cluster_uuid}/{state.term}/{state.version}/{drawn}"
            digest = hashlib.blake2b(seed.encode(), digest_size=16).digest()
            found = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if found not in taken:
                taken.add(found)
                return found

    return draw


def _with(state: ClusterState, indices: Indices) -> ClusterState:
    return state if indices is state.indices or indices == state.indices else replace(state, indices=indices)


def rerouted(state: ClusterState, now_ms: int) -> ClusterState:
    """Every copy that is nowhere has a node, if one may have it."""
    if not state.indices.metadata:
        return state
    return _with(state, allocation.reroute(state.indices, state.nodes, now_ms, new_ids(state)))


def reallocated(before: Iterable[DiscoveryNode], state: ClusterState, now_ms: int) -> ClusterState:
    """After nodes came and went: the copies of those that are gone are lost, even if another process is back."""
    stayed = {node.ephemeral_id for node in state.nodes}
    gone = [node.id for node in before if node.ephemeral_id not in stayed]
    return rerouted(_with(state, allocation.nodes_left(state.indices, gone, now_ms)), now_ms)


def create_index(
    state: ClusterState, name: str, body: CreateIndexBody, now_ms: int, *, system: bool = False
) -> ClusterState:
    """A new index, its shards on their nodes.

    Raises:
        TaskfanError: as `new_index`, and when the cluster bears no more shards.
    """
    index = new_index(state.indices, name, body, uuid=new_ids(state)(), now_ms=now_ms, system=system)
    allocation.check_shard_limit(state.indices, index, state.nodes, allocation.MAX_SHARDS_PER_NODE)
    return rerouted(_with(state, allocation.create_index(state.indices, index, now_ms)), now_ms)


def delete_indices(state: ClusterState, uuids: Iterable[str], now_ms: int) -> ClusterState:
    """Without these indices; one that is gone already is none."""
    indices = state.indices
    doomed = set(uuids)
    for index in state.indices.metadata.values():
        if index.uuid in doomed:
            indices = indices.without(index.name)
    return rerouted(_with(state, indices), now_ms)


def put_mapping(state: ClusterState, uuids: Iterable[str], mapping: Mapping[str, Any]) -> ClusterState:
    """These indices with more fields.

    Raises:
        IllegalArgument, MapperParsing: the mapping does not fit.
    """
    addition, indices, chosen = checked_mapping(mapping), state.indices, set(uuids)
    for index in state.indices.metadata.values():
        together = merged(index.mapping, addition) if index.uuid in chosen else index.mapping
        if together != index.mapping:
            indices = indices.with_metadata(replace(index, mapping=together))
    return _with(state, indices)


def update_settings(
    state: ClusterState,
    uuids: Iterable[str],
    settings: Mapping[str, str | None],
    now_ms: int,
    *,
    preserve_existing: bool = False,
) -> ClusterState:
    """These indices with other settings; None takes a setting away, and a setting that is there may be kept.

    Raises:
        TaskfanError: a setting is unknown, not dynamic, or has no such value.
    """
    chosen = set(uuids)
    doomed = [index for index in state.indices.metadata.values() if index.uuid in chosen]
    given = {name: value for name, value in settings.items() if value is not None}
    check_update(given, [f"[{index.name}/{index.uuid}]" for index in doomed])
    indices = state.indices
    for index in doomed:
        if preserve_existing:
            settings = {name: value for name, value in settings.items() if name not in index.settings}
            given = {name: value for name, value in settings.items() if value is not None}
        kept = {name: value for name, value in index.settings.items() if name not in settings}
        other = {name: value for name, value in given.items() if name != NUMBER_OF_REPLICAS}
        # The number of replicas is changed with the copies themselves; without one it is the default.
        kept[NUMBER_OF_REPLICAS] = index.settings[NUMBER_OF_REPLICAS]
        indices = indices.with_metadata(replace(indices.metadata[index.name], settings={**kept, **other}))
        if NUMBER_OF_REPLICAS in settings:
            replicas = int(given.get(NUMBER_OF_REPLICAS, "1"))
            indices = allocation.set_replicas(indices, index.name, replicas, now_ms)
    return rerouted(_with(state, indices), now_ms)


def shard_started(state: ClusterState, shard: ShardId, allocation_id: str, now_ms: int) -> ClusterState:
    """A copy is ready."""
    if not _is_there(state, shard):
        return state
    return rerouted(
        _with(state, allocation.shard_started(state.indices, shard.index, shard.number, allocation_id)), now_ms
    )


def shard_failed(state: ClusterState, shard: ShardId, allocation_id: str, reason: str, now_ms: int) -> ClusterState:
    """A copy is lost."""
    if not _is_there(state, shard):
        return state
    lost = allocation.shard_failed(state.indices, shard.index, shard.number, allocation_id, reason, now_ms)
    return rerouted(_with(state, lost), now_ms)


def _is_there(state: ClusterState, shard: ShardId) -> bool:
    index = state.indices.metadata.get(shard.index)
    return index is not None and index.uuid == shard.index_uuid and shard.number < index.number_of_shards
