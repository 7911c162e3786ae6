"""Handlers of `/_cat`: tables, as text or in a format."""

from __future__ import annotations

from typing import Any

import msgspec

from taskfan.coordinator.list_tasks import LIST_TASKS
from taskfan.coordinator.nodes_info import NODES_INFO, NODES_STATS
from taskfan.coordinator.rest.cat import CAT_PARAMETERS, CAT_TIMEOUT, ColumnTable, Table, help_of, text_of, values_of
from taskfan.coordinator.rest.cat_tables import (
    MANAGER_COLUMNS,
    NODE_COLUMNS,
    manager_table,
    node_table,
    task_columns,
    task_table,
)
from taskfan.coordinator.rest.formats import of_format, of_media_type
from taskfan.coordinator.rest.manager import STATE_OF_MANAGER, asked_state
from taskfan.coordinator.rest.messages import Answer, RestRequest
from taskfan.coordinator.rest.parameters import Parameter, boolean, time_ms
from taskfan.coordinator.rest.task_handlers import LIST_PARAMETERS, list_request
from taskfan.node.node import Node
from taskfan.v1 import actions_pb2 as pb

CAT_TASKS_PARAMETERS = (*LIST_PARAMETERS, *CAT_PARAMETERS)
TASKS_HELP: tuple[Parameter, ...] = (boolean("detailed"),)
CAT_NODES_PARAMETERS: tuple[Parameter, ...] = (
    *STATE_OF_MANAGER,
    time_ms("cancel_after_time_interval"),
    time_ms("timeout"),
    boolean("full_id"),
    *CAT_PARAMETERS,
)
CAT_MANAGER_PARAMETERS: tuple[Parameter, ...] = (*STATE_OF_MANAGER, *CAT_PARAMETERS, CAT_TIMEOUT)


_CAT_LIST = (
    b"=^.^=\n/_cat/cluster_manager\n/_cat/count\n/_cat/count/{index}\n/_cat/health\n/_cat/indices\n"
    b"/_cat/indices/{index}\n/_cat/nodes\n/_cat/shards\n/_cat/shards/{index}\n/_cat/tasks\n"
)


async def cat_tasks(node: Node, request: RestRequest) -> Answer:
    """`GET /_cat/tasks`."""
    answer = await node.execute(
        LIST_TASKS.name, list_request(request, pb.TaskRendering.FORM_ROWS), headers=request.headers
    )
    return table_answer(task_table(answer, node.cluster_state, detailed=request.parameters["detailed"]), request)


async def cat_nodes(node: Node, request: RestRequest) -> Answer:
    """`GET /_cat/nodes`."""
    state = await asked_state(node, request)
    infos = await _sections(node, request, NODES_INFO.name, ["process", "http"])
    stats = await _sections(node, request, NODES_STATS.name, ["jvm", "os", "process"])
    return table_answer(node_table(state, infos, stats, full_id=request.parameters["full_id"]), request)


async def _sections(node: Node, request: RestRequest, action: str, metrics: list[str]) -> dict[str, dict[str, Any]]:
    message = pb.NodesInfoRequest(metrics=metrics, timeout_millis=request.parameters["timeout"])
    answer = await node.execute(action, message, headers=request.headers)
    return {member.id: sections for member, sections in answer.nodes}


async def cat_manager(node: Node, request: RestRequest) -> Answer:
    """`GET /_cat/cluster_manager`, and by its old name `GET /_cat/master`."""
    state = await asked_state(node, request)
    return table_answer(manager_table(state), request)


async def cat_tasks_help(node: Node, request: RestRequest) -> Answer:
    """`GET /_cat/tasks?help`."""
    return Answer([help_of(task_columns(detailed=request.parameters["detailed"]))], is_text=True)


async def cat_nodes_help(node: Node, request: RestRequest) -> Answer:
    """`GET /_cat/nodes?help`."""
    return Answer([help_of(NODE_COLUMNS)], is_text=True)


async def cat_manager_help(node: Node, request: RestRequest) -> Answer:
    """`GET /_cat/cluster_manager?help`."""
    return Answer([help_of(MANAGER_COLUMNS)], is_text=True)


async def cat_list(node: Node, request: RestRequest) -> Answer:
    """`GET /_cat`: which tables there are. Source: OpenSearch `RestCatAction`."""
    return Answer([_CAT_LIST], is_text=True)


def table_answer(table: Table | ColumnTable, request: RestRequest) -> Answer:
    """Values when a format was asked for by name or Accept, else text. Source: `RestTable.buildResponse`."""
    format = of_format(request.format) if request.format is not None else of_media_type(request.accept)
    if format is None:
        return Answer([text_of(table, request.parameters)], is_text=True)
    return Answer([msgspec.json.encode(values_of(table, request.parameters))])
