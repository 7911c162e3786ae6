"""What `_cat/indices`, `_cat/shards`, `_cat/health` and `_cat/count` show. Pure.

Source: OpenSearch `RestIndicesAction`, `RestShardsAction`, `RestHealthAction`, `RestCountAction`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from taskfan.coordinator.rest.cat import Cell, Column, Size, Table
from taskfan.node.cluster_state import ClusterState
from taskfan.node.index.copy_stats import CopyStats
from taskfan.node.index.health import index_colour
from taskfan.node.index.metadata import IndexMetadata, ShardRouting
from taskfan.node.task_json import iso_time
from taskfan.v1 import actions_pb2 as pb

INDEX_COLUMNS = (
    Column("health", ("h",), "current health status"),
    Column("status", ("s",), "open/close status"),
    Column("index", ("i", "idx"), "index name"),
    Column("uuid", ("id", "uuid"), "index uuid"),
    Column("pri", ("p", "shards.primary", "shardsPrimary"), "number of primary shards", is_right_aligned=True),
    Column("rep", ("r", "shards.replica", "shardsReplica"), "number of replica shards", is_right_aligned=True),
    Column("docs.count", ("dc", "docsCount"), "available docs", is_right_aligned=True),
    Column("docs.deleted", ("dd", "docsDeleted"), "deleted docs", is_right_aligned=True),
    Column("creation.date", ("cd",), "index creation date (millisecond value)", by_default=False),
    Column("creation.date.string", ("cds",), "index creation date (as string)", by_default=False),
    Column("store.size", ("ss", "storeSize"), "store size of primaries & replicas", is_right_aligned=True),
    Column("pri.store.size", (), "store size of primaries", is_right_aligned=True),
)
SHARD_COLUMNS = (
    Column("index", ("i", "idx"), "index name"),
    Column("shard", ("s", "sh"), "shard name"),
    Column("prirep", ("p", "pr", "primaryOrReplica"), "primary or replica"),
    Column("state", ("st",), "shard state"),
    Column("docs", ("d", "dc"), "number of docs in shard", is_right_aligned=True),
    Column("store", ("sto",), "store size of shard (how much disk it uses)", is_right_aligned=True),
    Column("ip", (), "ip of node where it lives"),
    Column("id", (), "unique id of node where it lives", by_default=False),
    Column("node", ("n",), "name of node where it lives"),
    Column("unassigned.reason", ("ur",), "reason shard became unassigned", by_default=False),
    Column("unassigned.at", ("ua",), "time shard became unassigned (UTC)", by_default=False),
)
_TIME_COLUMNS = (
    Column("epoch", ("t", "time"), "seconds since 1970-01-01 00:00:00"),
    Column("timestamp", ("ts", "hms", "hhmmss"), "time in HH:MM:SS"),
)
HEALTH_COLUMNS = (
    *_TIME_COLUMNS,
    Column("cluster", ("cl",), "cluster name"),
    Column("status", ("st",), "health status"),
    Column("node.total", ("nt", "nodeTotal"), "total number of nodes", is_right_aligned=True),
    Column("node.data", ("nd", "nodeData"), "number of nodes that can store data", is_right_aligned=True),
    Column("discovered_cluster_manager", ("dcm",), "discovered cluster manager or not", is_right_aligned=True),
    Column("shards", ("t", "sh", "shards.total", "shardsTotal"), "total number of shards", is_right_aligned=True),
    Column("pri", ("p", "shards.primary", "shardsPrimary"), "number of primary shards", is_right_aligned=True),
    Column("relo", ("r", "shards.relocating", "shardsRelocating"), "number of relocating nodes", is_right_aligned=True),
    Column("init", ("i", "shards.initializing"), "number of initializing nodes", is_right_aligned=True),
    Column("unassign", ("u", "shards.unassigned"), "number of unassigned shards", is_right_aligned=True),
    Column("pending_tasks", ("pt", "pendingTasks"), "number of pending tasks", is_right_aligned=True),
    Column("max_task_wait_time", ("mtwt",), "wait time of longest task pending", is_right_aligned=True),
    Column("active_shards_percent", ("asp",), "active number of shards in percent", is_right_aligned=True),
)
COUNT_COLUMNS = (*_TIME_COLUMNS, Column("count", ("dc", "docs.count", "docsCount"), "the document count"))


def index_table(state: ClusterState, indices: Sequence[IndexMetadata], stats: Sequence[CopyStats]) -> Table:
    """A row for each index."""
    return Table(INDEX_COLUMNS, [_index_row(state, index, stats) for index in indices])


def _index_row(state: ClusterState, index: IndexMetadata, stats: Sequence[CopyStats]) -> list[Cell]:
    copies = [copy for copy in stats if copy.index == index.name]
    primaries = [copy for copy in copies if copy.primary]
    created_ms = int(index.settings["index.creation_date"])
    return [
        index_colour(state.indices, index.name),
        "open",
        index.name,
        index.uuid,
        index.number_of_shards,
        index.number_of_replicas,
        # Who has no active primary tells nothing.
        sum(copy.document_count for copy in primaries) if primaries else None,
        sum(copy.deleted_count for copy in primaries) if primaries else None,
        created_ms,
        iso_time(created_ms),
        Size(sum(copy.size_bytes for copy in copies)) if copies else None,
        Size(sum(copy.size_bytes for copy in primaries)) if primaries else None,
    ]


def shard_table(state: ClusterState, names: Iterable[str], stats: Sequence[CopyStats]) -> Table:
    """A row for each copy of each shard of these indices."""
    known = {(copy.index, copy.shard, copy.node_id): copy for copy in stats}
    chosen = set(names)
    rows = [
        _shard_row(state, copy, known.get((copy.index, copy.shard, copy.node_id or "")))
        for copy in state.indices.routing
        if copy.index in chosen
    ]
    return Table(SHARD_COLUMNS, rows)


def _shard_row(state: ClusterState, copy: ShardRouting, stats: CopyStats | None) -> list[Cell]:
    node = None if copy.node_id is None else state.get(copy.node_id)
    unassigned = copy.unassigned
    return [
        copy.index,
        copy.shard,
        "p" if copy.primary else "r",
        copy.state,
        None if stats is None else stats.document_count,
        None if stats is None else Size(stats.size_bytes),
        None if node is None else node.host,
        None if node is None else node.id,
        None if node is None else node.name,
        None if unassigned is None else unassigned.reason,
        None if unassigned is None else iso_time(unassigned.at_ms),
    ]


def _time_cells(now_ms: int) -> list[Cell]:
    return [now_ms // 1000, datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%H:%M:%S")]


def health_table(health: pb.ClusterHealthResponse, now_ms: int) -> Table:
    """One row: the health of the cluster."""
    row: list[Cell] = [
        *_time_cells(now_ms),
        health.cluster_name,
        health.status,
        health.number_of_nodes,
        health.number_of_data_nodes,
        "true" if health.discovered_cluster_manager else "false",
        health.active_shards,
        health.active_primary_shards,
        0,
        health.initializing_shards,
        health.unassigned_shards,
        0,
        "-",
        f"{health.active_shards_percent:.1f}%",
    ]
    return Table(HEALTH_COLUMNS, [row])


def count_table(count: int, now_ms: int) -> Table:
    """One row: how many documents there are."""
    return Table(COUNT_COLUMNS, [[*_time_cells(now_ms), count]])
