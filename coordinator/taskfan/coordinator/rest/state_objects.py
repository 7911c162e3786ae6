"""A cluster state as `GET /_cluster/state` shows them. Pure.

Source: OpenSearch `IndexMetadata.toXContent`, `RoutingTable.toXContent`, `ShardRouting.toXContent`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from taskfan.node.cluster_state import ClusterState
from taskfan.node.index.metadata import IndexMetadata, Indices, ShardRouting
from taskfan.node.index.routing import routing_num_shards
from taskfan.node.index.settings import shown
from taskfan.node.task_json import iso_time


def blocks_object(state: ClusterState) -> dict[str, Any]:
    """`blocks`: what nobody may do for now. Source: `NoClusterManagerBlockService`, with its default."""
    if state.manager_id is not None:
        return {}
    return {"global": {"2": {"description": "no cluster-manager", "retryable": True, "levels": ["metadata_write"]}}}


def metadata_object(indices: Indices, names: Collection[str], cluster_uuid: str, term: int) -> dict[str, Any]:
    """`metadata`, as far as it is about indices."""
    return {
        "cluster_uuid": cluster_uuid,
        "cluster_uuid_committed": True,
        "cluster_coordination": {"term": term},
        "templates": {},
        "indices": {name: _index_object(index) for name, index in indices.metadata.items() if name in names},
    }


def _index_object(index: IndexMetadata) -> dict[str, Any]:
    return {
        "routing_num_shards": routing_num_shards(index.number_of_shards),
        "state": "open",
        "settings": shown(index.settings),
        "mappings": {"_doc": index.mapping} if index.mapping else {},
        "aliases": list(index.aliases),
        "primary_terms": {str(number): term for number, term in enumerate(index.primary_terms)},
        "in_sync_allocations": {str(number): list(ids) for number, ids in enumerate(index.in_sync)},
        "rollover_info": {},
        "system": index.system,
    }


def routing_table_object(indices: Indices, names: Collection[str]) -> dict[str, Any]:
    """`routing_table`."""
    return {
        "indices": {
            name: {"shards": {str(number): list(map(_copy_object, table)) for number, table in enumerate(shards)}}
            for name, shards in indices.routing.indices.items()
            if name in names
        }
    }


def routing_nodes_object(state: ClusterState, names: Collection[str]) -> dict[str, Any]:
    """`routing_nodes`: the same copies, by the nodes that have them. Source: OpenSearch `RoutingNodes`."""
    nodes: dict[str, list[dict[str, Any]]] = {node.id: [] for node in state if node.is_data}
    unassigned: list[dict[str, Any]] = []
    for copy in state.indices.routing:
        if copy.index in names:
            place = unassigned if copy.node_id is None else nodes.setdefault(copy.node_id, [])
            place.append(_copy_object(copy))
    return {"unassigned": unassigned, "nodes": nodes}


def _copy_object(copy: ShardRouting) -> dict[str, Any]:
    told: dict[str, Any] = {
        "state": copy.state,
        "primary": copy.primary,
        "node": copy.node_id,
        "relocating_node": None,
        "shard": copy.shard,
        "index": copy.index,
    }
    if copy.allocation_id is not None:
        told["allocation_id"] = {"id": copy.allocation_id}
    if copy.unassigned is not None:
        told["unassigned_info"] = {"reason": copy.unassigned.reason, "at": iso_time(copy.unassigned.at_ms)}
    return told
