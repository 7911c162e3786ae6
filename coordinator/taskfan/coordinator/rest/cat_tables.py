"""What `_cat/tasks`, `_cat/nodes` and `_cat/cluster_manager` show. Pure.

Source: OpenSearch `RestTasksAction`, `RestNodesAction`, `RestClusterManagerAction`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from taskfan.coordinator.grouping import Trees
from taskfan.coordinator.merge import TasksAnswer
from taskfan.coordinator.rest.cat import Cell, Cells, Column, ColumnTable, Duration, Table
from taskfan.coordinator.rest.formats import pretty
from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.task_json import RowKind, TaskRow, TaskRows

_SHORT_ID = 4


_decode_rows = msgspec.json.Decoder(TaskRows).decode

_TASK_COLUMNS = (
    Column("id", (), "id of the task with the node", by_default=False),
    Column("action", ("ac",), "task action"),
    Column("task_id", ("ti",), "unique task id"),
    Column("parent_task_id", ("pti",), "parent task id"),
    Column("type", ("ty",), "task type"),
    Column("start_time", ("start",), "start time in ms"),
    Column("timestamp", ("ts", "hms", "hhmmss"), "start time in HH:MM:SS"),
    Column("running_time_ns", ("time",), "running time ns", by_default=False),
    Column("running_time", ("time",), "running time"),
    Column("node_id", ("ni",), "unique node id", by_default=False),
    Column("ip", ("i",), "ip address"),
    Column("port", ("po",), "bound transport port", by_default=False),
    Column("node", ("n",), "node name"),
    Column("version", ("v",), "es version", by_default=False),
    Column("x_opaque_id", ("x",), "X-Opaque-ID header", by_default=False),
)
_DETAILED_COLUMNS = (
    Column("description", ("desc",), "task action"),
    Column("resource_stats", (), "resource consumption info of the task", by_default=False),
)


def task_columns(*, detailed: bool) -> tuple[Column, ...]:
    """The columns of `_cat/tasks`."""
    return (*_TASK_COLUMNS, *_DETAILED_COLUMNS) if detailed else _TASK_COLUMNS


def task_table(answer: TasksAnswer, state: ClusterState, *, detailed: bool) -> ColumnTable:
    """Every task after its parent, those of one parent by the time they started. Failures are not shown.

    Args:
        answer: of nodes that were asked for rows.
    """
    found: list[TaskRow] = []
    found_kinds: list[RowKind] = []
    found_on: list[str] = []
    for node_id, tasks in answer.nodes:
        table = _decode_rows(tasks.bodies)
        found += table.rows
        found_kinds += [table.kinds[row.kind] for row in table.rows]
        found_on += [node_id] * len(table.rows)
    ids = [f"{node_id}:{row.number}" for node_id, row in zip(found_on, found, strict=True)]
    trees = Trees.of(ids, [kind.parent for kind in found_kinds])
    order = _in_order(trees, [row.start_time_ms for row in found])
    rows = [found[place] for place in order]
    kinds = [found_kinds[place] for place in order]
    node_ids = [found_on[place] for place in order]

    def of_node(show: Callable[[DiscoveryNode], str]) -> Cells:
        shown = {node.id: show(node) for node in state}
        return Cells(str, lambda: [shown.get(node_id, "-") for node_id in node_ids])

    cells = {
        "id": Cells(int, lambda: [row.number for row in rows]),
        "action": Cells(str, lambda: [kind.action for kind in kinds]),
        "task_id": Cells(str, lambda: [ids[place] for place in order]),
        "parent_task_id": Cells(str, lambda: [kind.parent for kind in kinds]),
        "type": Cells(str, lambda: [kind.type for kind in kinds]),
        "start_time": Cells(int, lambda: [row.start_time_ms for row in rows]),
        "timestamp": Cells(str, lambda: _times_of_day([row.start_time_ms // 1000 for row in rows])),
        "running_time_ns": Cells(int, lambda: [row.running_time_ns for row in rows]),
        "running_time": Cells(Duration, lambda: [row.running_time_ns for row in rows]),
        "node_id": Cells(str, lambda: [node_id[:_SHORT_ID] for node_id in node_ids]),
        "ip": of_node(lambda node: node.host),
        "port": of_node(lambda node: port_of(node.transport_address)),
        "node": of_node(lambda node: node.name),
        "version": of_node(lambda node: node.version),
        "x_opaque_id": Cells(str, lambda: [kind.x_opaque_id for kind in kinds]),
        "description": Cells(str, lambda: [row.description for row in rows]),
        "resource_stats": Cells(str, lambda: [_indented(bytes(row.resource_stats)) for row in rows]),
    }
    return ColumnTable(task_columns(detailed=detailed), len(rows), cells)


def _in_order(trees: Trees, start_times: Sequence[int]) -> list[int]:
    """The places of tasks, depth first. Not recursive: trees can be deep."""
    top = sorted(trees.top, key=start_times.__getitem__)
    if not trees.children:
        return top
    order: list[int] = []
    todo = top[::-1]
    while todo:
        place = todo.pop()
        order.append(place)
        if (children := trees.children.get(place)) is not None:
            todo += sorted(children, key=start_times.__getitem__)[::-1]
    return order


@lru_cache(maxsize=16)
def _indented(stats: bytes) -> str:
    # Most tasks have used nothing.
    return pretty(msgspec.json.decode(stats)).decode().rstrip("\n")


def _times_of_day(times_s: Sequence[int]) -> list[str]:
    # Thousands of tasks start within a few seconds.
    shown = {time: datetime.fromtimestamp(time, UTC).strftime("%H:%M:%S") for time in dict.fromkeys(times_s)}
    return [shown[time] for time in times_s]


def port_of(address: str) -> str:
    """The port of a `host:port`."""
    return address.rpartition(":")[2]


# ------------------------------------------------------------------ nodes

NODE_COLUMNS = (
    Column("id", ("id", "nodeId"), "unique node id", by_default=False),
    Column("pid", ("p",), "process id", by_default=False),
    Column("ip", ("i",), "ip address"),
    Column("port", ("po",), "bound transport port", by_default=False),
    Column("http_address", ("http",), "bound http address", by_default=False),
    Column("version", ("v",), "os version", by_default=False),
    Column("heap.percent", ("hp", "heapPercent"), "used heap ratio", is_right_aligned=True),
    Column("ram.percent", ("rp", "ramPercent"), "used machine memory ratio", is_right_aligned=True),
    Column("cpu", ("cpu",), "recent cpu usage", is_right_aligned=True),
    Column("load_1m", ("l",), "1m load avg", is_right_aligned=True),
    Column("load_5m", ("l",), "5m load avg", is_right_aligned=True),
    Column("load_15m", ("l",), "15m load avg", is_right_aligned=True),
    Column(
        "node.role",
        ("r", "role", "nodeRole"),
        "m:master eligible node, d:data node, i:ingest node, -:coordinating node only",
    ),
    Column("node.roles", ("rs", "all roles"), " -:coordinating node only"),
    Column("cluster_manager", ("cm", "m", "master"), "*:current cluster manager"),
    Column("name", ("n",), "node name"),
)
# Roles without a letter of their own are not abbreviated.
_ROLE_LETTERS = {
    "cluster_manager": "m",
    "master": "m",
    "data": "d",
    "ingest": "i",
    "remote_cluster_client": "r",
    "search": "s",
    "warm": "w",
}


def node_table(
    state: ClusterState,
    infos: Mapping[str, Mapping[str, Any]],
    stats: Mapping[str, Mapping[str, Any]],
    *,
    full_id: bool,
) -> Table:
    """Every node of the cluster state; what a node did not tell is empty.

    Args:
        infos: of the nodes that answered, by node id, as `GET /_nodes` shows them.
        stats: likewise.

    Differs: columns for what taskfan does not have, such as heap sizes, disks and indices, are unknown.
    """
    rows = [_node_row(node, state, infos.get(node.id), stats.get(node.id), full_id) for node in state]
    return Table(NODE_COLUMNS, rows)


def _node_row(
    node: DiscoveryNode,
    state: ClusterState,
    info: Mapping[str, Any] | None,
    stats: Mapping[str, Any] | None,
    full_id: bool,
) -> list[Cell]:
    return [
        node.id if full_id else node.id[:_SHORT_ID],
        _inside(info, "process", "id"),
        node.host,
        port_of(node.transport_address),
        "-" if info is None else node.http_address,
        node.version,
        _inside(stats, "jvm", "mem", "heap_used_percent"),
        _inside(stats, "os", "mem", "used_percent"),
        _inside(stats, "os", "cpu", "percent"),
        *(_load(stats, span) for span in ("1m", "5m", "15m")),
        "".join(sorted(_ROLE_LETTERS[role] for role in node.roles if role in _ROLE_LETTERS)) or "-",
        ",".join(sorted(node.roles)) or "-",
        "*" if node.id == state.manager_id else "-",
        node.name,
    ]


def _inside(value: Any, *names: str) -> Cell:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str | int) else None


def _load(stats: Mapping[str, Any] | None, span: str) -> Cell:
    averages = (stats or {}).get("os", {}).get("cpu", {}).get("load_average", {})
    return f"{averages[span]:.2f}" if span in averages else None


# ------------------------------------------------------------------ the cluster manager

MANAGER_COLUMNS = (
    Column("id", (), "node id"),
    Column("host", ("h",), "host name"),
    Column("ip", (), "ip address "),
    Column("node", ("n",), "node name"),
)


def manager_table(state: ClusterState) -> Table:
    """The elected cluster manager, or a row of dashes."""
    manager = state.manager
    row: list[Cell] = ["-"] * 4 if manager is None else [manager.id, manager.host, manager.host, manager.name]
    return Table(MANAGER_COLUMNS, [row])
