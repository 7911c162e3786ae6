"""What `_cat/tasks`, `_cat/nodes` and `_cat/cluster_manager` show. Pure.

Source: OpenSearch `RestTasksAction`, `RestNodesAction`, `RestClusterManagerAction`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from taskfan.coordinator.grouping import TaskTree, task_trees
from taskfan.coordinator.merge import TasksAnswer
from taskfan.coordinator.rest.cat import Cell, Column, Duration, Table
from taskfan.node.cluster_state import ClusterState, DiscoveryNode

_SHORT_ID = 4


class _TaskRow(msgspec.Struct):
    """What a table needs of a task's JSON."""

    node: str
    id: int
    type: str
    action: str
    start_time_in_millis: int
    running_time_in_nanos: int
    headers: dict[str, str]
    description: str = ""
    parent_task_id: str = "-"


_decode_task = msgspec.json.Decoder(_TaskRow).decode

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
_DESCRIPTION = Column("description", ("desc",), "task action")


def task_columns(*, detailed: bool) -> tuple[Column, ...]:
    """The columns of `_cat/tasks`."""
    return (*_TASK_COLUMNS, _DESCRIPTION) if detailed else _TASK_COLUMNS


def task_table(answer: TasksAnswer, state: ClusterState, *, detailed: bool) -> Table:
    """Every task after its parent, those of one parent by the time they started. Failures are not shown."""
    nodes = {node.id: node for node in state}
    rows = [_task_row(task, nodes.get(task.node), detailed) for task in _in_order(task_trees(answer))]
    return Table(task_columns(detailed=detailed), rows)


def _in_order(trees: list[TaskTree]) -> Iterator[_TaskRow]:
    """Depth first. Not recursive: trees can be deep."""
    todo = [list(reversed(_by_start(trees)))]
    while todo:
        level = todo[-1]
        if not level:
            todo.pop()
            continue
        task, children = level.pop()
        yield task
        todo.append(list(reversed(_by_start(children))))


def _by_start(trees: list[TaskTree]) -> list[tuple[_TaskRow, list[TaskTree]]]:
    tasks = [(_decode_task(tree.body), tree.children) for tree in trees]
    return sorted(tasks, key=lambda item: item[0].start_time_in_millis)


def _task_row(task: _TaskRow, node: DiscoveryNode | None, detailed: bool) -> list[Cell]:
    timestamp = datetime.fromtimestamp(task.start_time_in_millis / 1000, UTC).strftime("%H:%M:%S")
    row: list[Cell] = [
        task.id,
        task.action,
        f"{task.node}:{task.id}",
        task.parent_task_id,
        task.type,
        task.start_time_in_millis,
        timestamp,
        task.running_time_in_nanos,
        Duration(task.running_time_in_nanos),
        task.node[:_SHORT_ID],
        "-" if node is None else node.host,
        "-" if node is None else port_of(node.transport_address),
        "-" if node is None else node.name,
        "-" if node is None else node.version,
        task.headers.get("X-Opaque-Id", "-"),
    ]
    return [*row, task.description] if detailed else row


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
