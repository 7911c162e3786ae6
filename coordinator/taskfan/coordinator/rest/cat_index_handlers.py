"""Handlers of `/_cat/indices`, `/_cat/shards`, `/_cat/health` and `/_cat/count`."""

from __future__ import annotations

from collections.abc import Sequence

from taskfan.coordinator.cluster_health import CLUSTER_HEALTH
from taskfan.coordinator.index_options import options_to_wire
from taskfan.coordinator.index_stats import INDEX_STATS_ACTION
from taskfan.coordinator.rest.cat import CAT_PARAMETERS, CAT_TIMEOUT, Column, help_of
from taskfan.coordinator.rest.cat_handlers import table_answer
from taskfan.coordinator.rest.cat_index_tables import (
    COUNT_COLUMNS,
    HEALTH_COLUMNS,
    INDEX_COLUMNS,
    SHARD_COLUMNS,
    count_table,
    health_table,
    index_table,
    shard_table,
)
from taskfan.coordinator.rest.index_parameters import INDICES_OPTIONS, indices_options
from taskfan.coordinator.rest.manager import STATE_OF_MANAGER, asked_state
from taskfan.coordinator.rest.messages import Answer, RestRequest
from taskfan.coordinator.rest.parameters import Parameter, boolean, comma_list, text, time_ms
from taskfan.coordinator.search_request import SearchRequest
from taskfan.node.actions.search import SEARCH_ACTION
from taskfan.node.errors import IllegalArgument
from taskfan.node.index.copy_stats import CopyStats
from taskfan.node.index.index_names import IndicesOptions, resolve
from taskfan.node.index.search_merge import SearchAnswer
from taskfan.node.index.search_source import SearchSource
from taskfan.node.node import Node
from taskfan.v1 import actions_pb2, indices_pb2


def _colour(value: str | None) -> str | None:
    if value is not None and value.lower() not in ("green", "yellow", "red"):
        raise IllegalArgument(f"unknown cluster health status [{value}]")
    return value


CAT_INDICES_PARAMETERS: tuple[Parameter, ...] = (
    comma_list("index"),
    *INDICES_OPTIONS,
    *STATE_OF_MANAGER,
    Parameter("health", _colour),
    boolean("include_unloaded_segments"),
    *CAT_PARAMETERS,
    CAT_TIMEOUT,
)
# Not read then, but not refused either: OpenSearch knows it as one that shapes the answer.
INDICES_HELP: tuple[Parameter, ...] = (text("health", is_late=True),)
CAT_SHARDS_PARAMETERS: tuple[Parameter, ...] = (
    comma_list("index"),
    *STATE_OF_MANAGER,
    time_ms("cancel_after_time_interval"),
    *CAT_PARAMETERS,
    CAT_TIMEOUT,
)
CAT_HEALTH_PARAMETERS: tuple[Parameter, ...] = (*CAT_PARAMETERS, CAT_TIMEOUT)
CAT_COUNT_PARAMETERS: tuple[Parameter, ...] = (comma_list("index"), *CAT_PARAMETERS, CAT_TIMEOUT)


async def _stats(node: Node, request: RestRequest, options: IndicesOptions) -> list[CopyStats]:
    message = indices_pb2.BroadcastRequest(indices=request.parameters["index"], options=options_to_wire(options))
    copies: list[CopyStats] = await node.execute(INDEX_STATS_ACTION, message, headers=request.headers)
    return copies


async def cat_indices(node: Node, request: RestRequest) -> Answer:
    """`GET /_cat/indices`, of all indices or those named; with `health` only those of that colour."""
    given = request.parameters
    options = indices_options(given)
    state = await asked_state(node, request)
    indices = resolve(state.indices, given["index"], options)
    table = index_table(state, indices, await _stats(node, request, options))
    if given["health"] is not None:
        table = type(table)(table.columns, [row for row in table.rows if row[0] == given["health"].lower()])
    return table_answer(table, request)


async def cat_shards(node: Node, request: RestRequest) -> Answer:
    """`GET /_cat/shards`, of all indices or those named."""
    given, options = request.parameters, IndicesOptions(expand_hidden=True)
    state = await asked_state(node, request)
    names = [index.name for index in resolve(state.indices, given["index"], options)]
    return table_answer(shard_table(state, names, await _stats(node, request, options)), request)


async def cat_health(node: Node, request: RestRequest) -> Answer:
    """`GET /_cat/health`."""
    message = actions_pb2.ClusterHealthRequest(timeout_millis=0)
    health = await node.execute(CLUSTER_HEALTH.name, message, headers=request.headers)
    return table_answer(health_table(health, node.clock.wall_time_ms()), request)


async def cat_count(node: Node, request: RestRequest) -> Answer:
    """`GET /_cat/count`, of all indices or those named: a search that fetches nothing."""
    message = SearchRequest(tuple(request.parameters["index"]), SearchSource(size=0, track_total_hits=True))
    answer: SearchAnswer = await node.execute(SEARCH_ACTION, message, headers=request.headers)
    return table_answer(count_table(answer.merged.total or 0, node.clock.wall_time_ms()), request)


def _help(columns: Sequence[Column]) -> Answer:
    return Answer([help_of(columns)], is_text=True)


async def cat_indices_help(node: Node, request: RestRequest) -> Answer:
    """`GET /_cat/indices?help`."""
    return _help(INDEX_COLUMNS)


async def cat_shards_help(node: Node, request: RestRequest) -> Answer:
    """`GET /_cat/shards?help`."""
    return _help(SHARD_COLUMNS)


async def cat_health_help(node: Node, request: RestRequest) -> Answer:
    """`GET /_cat/health?help`."""
    return _help(HEALTH_COLUMNS)


async def cat_count_help(node: Node, request: RestRequest) -> Answer:
    """`GET /_cat/count?help`."""
    return _help(COUNT_COLUMNS)
