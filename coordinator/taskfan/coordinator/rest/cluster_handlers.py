"""Handlers of `/`, `/_nodes` and `/_cluster`: what clients and people need around tasks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from taskfan.coordinator.cluster_health import CLUSTER_HEALTH
from taskfan.coordinator.cluster_state_action import MAIN
from taskfan.coordinator.grouping import node_failure_object
from taskfan.coordinator.nodes_info import NODES_INFO
from taskfan.coordinator.rest.index_parameters import INDICES_OPTIONS, indices_options
from taskfan.coordinator.rest.manager import STATE_OF_MANAGER, asked_state, manager_timeout_ms
from taskfan.coordinator.rest.messages import Answer, RestRequest
from taskfan.coordinator.rest.parameters import (
    Parameter,
    boolean,
    comma_list,
    lenient_boolean,
    parse_number,
    parse_time_ms,
    text,
    time_ms,
)
from taskfan.coordinator.rest.state_objects import (
    blocks_object,
    metadata_object,
    routing_nodes_object,
    routing_table_object,
)
from taskfan.node.cluster_state import OPENSEARCH_VERSION, ClusterState, DiscoveryNode
from taskfan.node.errors import IllegalArgument
from taskfan.node.index.active_shards import ActiveShardCount
from taskfan.node.index.index_names import resolve
from taskfan.node.node import Node
from taskfan.v1 import actions_pb2 as pb

_encode = msgspec.json.Encoder().encode
_TAGLINE = "The OpenSearch Project: https://opensearch.org/"
# What OpenSearch reads as a section when it stands where node ids may stand.
_METRICS = (
    *("settings", "os", "process", "jvm", "thread_pool", "transport", "http", "plugins", "ingest", "aggregations"),
    *("indices", "search_pipelines"),
)
# Of a cluster state, in the order in which they are written.
_STATE_METRICS = (
    *(
        "version",
        "master_node",
        "cluster_manager_node",
        "blocks",
        "nodes",
        "metadata",
        "routing_table",
        "routing_nodes",
    ),
)
_DEFAULT_HEALTH_TIMEOUT_MS = 30_000

NODES_PARAMETERS: tuple[Parameter, ...] = (
    text("nodeId"),
    text("metrics"),
    Parameter("timeout", lambda value: parse_time_ms(value, "NodesInfoRequest.timeout")),
    boolean("flat_settings", is_late=True),
)


def _health_status(value: str | None) -> str:
    if value is not None and value.lower() not in ("green", "yellow", "red"):
        raise IllegalArgument(f"No enum constant org.opensearch.cluster.health.ClusterHealthStatus.{value.upper()}")
    return (value or "").lower()


_PRIORITIES = ("IMMEDIATE", "URGENT", "HIGH", "NORMAL", "LOW", "LANGUID")


def _events(value: str | None) -> None:
    """Read, checked and forgotten: no work of lower priority ever waits here."""
    if value is not None and value.upper() not in _PRIORITIES:
        raise IllegalArgument(f"No enum constant org.opensearch.common.Priority.{value.upper()}")


def _removed(value: str | None) -> None:
    if value is not None:
        raise IllegalArgument(
            "wait_for_relocating_shards has been removed, use wait_for_no_relocating_shards [true/false] instead"
        )


def _metadata_version(value: str | None) -> None:
    """Read and checked: every version that a client can know of is there already."""
    version = parse_number(value, "wait_for_metadata_version")
    if version is not None and version < 1:
        raise IllegalArgument(f"provided waitForMetadataVersion should be >= 1, but instead is [{version}]")


def _active_shards(value: str | None) -> str:
    """Unlike a write, a health waits for none when it is not told."""
    ActiveShardCount.parse(value)
    return value or ""


HEALTH_PARAMETERS: tuple[Parameter, ...] = (
    comma_list("index"),
    *INDICES_OPTIONS,
    *STATE_OF_MANAGER,
    time_ms("timeout"),
    Parameter("wait_for_status", _health_status),
    boolean("wait_for_no_relocating_shards"),
    boolean("wait_for_no_initializing_shards"),
    Parameter("wait_for_active_shards", _active_shards),
    text("wait_for_nodes"),
    Parameter("wait_for_events", _events),
    Parameter("wait_for_relocating_shards", _removed, is_advised=False),
    text("level", is_late=True),
)
STATE_PARAMETERS: tuple[Parameter, ...] = (
    # What is not there is left out of a state.
    *(lenient_boolean(p.name, True) if p.name == "ignore_unavailable" else p for p in INDICES_OPTIONS),
    *STATE_OF_MANAGER,
    Parameter("wait_for_metadata_version", _metadata_version),
    time_ms("wait_for_timeout"),
    comma_list("indices"),
    comma_list("metric"),
    boolean("flat_settings", is_late=True),
)


async def main(node: Node, request: RestRequest) -> Answer:
    """`GET /`. Source: OpenSearch `RestMainAction`, `MainResponse`."""
    state: ClusterState = await node.execute(MAIN.name, pb.ClusterStateRequest(local=True), headers=request.headers)
    body = {
        "name": node.local.name,
        "cluster_name": state.cluster_name,
        "cluster_uuid": state.cluster_uuid,
        "version": {
            "distribution": "opensearch",
            "number": OPENSEARCH_VERSION,
            "build_type": "unknown",
            "build_hash": "unknown",
            "build_date": "unknown",
            "build_snapshot": False,
            "lucene_version": "10.5.0",
            "minimum_wire_compatibility_version": "2.19.0",
            "minimum_index_compatibility_version": "2.0.0",
        },
        "tagline": _TAGLINE,
    }
    return Answer([_encode(body)])


# ------------------------------------------------------------------ nodes


async def nodes_info(node: Node, request: RestRequest) -> Answer:
    """`GET /_nodes` with a node filter, sections, or both. Source: OpenSearch `RestNodesInfoAction`."""
    given = request.parameters
    nodes, metrics = nodes_and_metrics(given["nodeId"], given["metrics"])
    message = pb.NodesInfoRequest(nodes=nodes, metrics=metrics, timeout_millis=given["timeout"])
    answer = await node.execute(NODES_INFO.name, message, headers=request.headers)
    counts: dict[str, Any] = {
        "total": len(answer.nodes) + len(answer.failures),
        "successful": len(answer.nodes),
        "failed": len(answer.failures),
    }
    if answer.failures:
        counts["failures"] = list(map(node_failure_object, answer.failures))
    body = {
        "_nodes": counts,
        "cluster_name": node.cluster_state.cluster_name,
        "nodes": {member.id: told for member, told in answer.nodes},
    }
    return Answer([_encode(body)])


def nodes_and_metrics(node_id: str | None, metrics: str | None) -> tuple[list[str], list[str]]:
    """The node filter and the sections of a path; no sections means all of them.

    A single part of the path is taken for sections when each of its items is the name of one.
    """
    items = _items(node_id)
    if metrics is None and items and all(item in _METRICS for item in items):
        items, metrics = [], node_id
    sections = [] if metrics is None or _items(metrics) == ["_all"] else _items(metrics)
    # Unknown sections are none, and that is not the same as all.
    known = [section for section in sections if section in _METRICS] or (["_none"] if sections else [])
    return items, known


def _items(text: str | None) -> list[str]:
    return [item.strip() for item in (text or "").split(",") if item.strip()]


# ------------------------------------------------------------------ health


async def cluster_health(node: Node, request: RestRequest) -> Answer:
    """`GET /_cluster/health`; 408 when the conditions did not hold in time. Source: `RestClusterHealthAction`."""
    given = request.parameters
    timeout = given["timeout"]
    # Checked, though a health waits for what is named and never expands to less.
    indices_options(given)
    message = pb.ClusterHealthRequest(
        indices=given["index"],
        wait_for_nodes=given["wait_for_nodes"],
        wait_for_status=given["wait_for_status"],
        wait_for_active_shards=given["wait_for_active_shards"],
        wait_for_no_initializing_shards=given["wait_for_no_initializing_shards"],
        level=given["level"],
        timeout_millis=_DEFAULT_HEALTH_TIMEOUT_MS if timeout is None else timeout,
        local=given["local"],
        cluster_manager_timeout_millis=manager_timeout_ms(given),
    )
    health: pb.ClusterHealthResponse = await node.execute(CLUSTER_HEALTH.name, message, headers=request.headers)
    body = health_object(health, human=request.human)
    if given["level"] in ("indices", "shards"):
        body["indices"] = msgspec.Raw(health.indices) if health.indices else {}
    return Answer([_encode(body)], status=408 if health.timed_out else 200)


def health_object(health: pb.ClusterHealthResponse, *, human: bool) -> dict[str, Any]:
    """The body of a health, keys in OpenSearch's order. Source: `ClusterHealthResponse.toXContent`."""
    body: dict[str, Any] = {
        "cluster_name": health.cluster_name,
        "status": health.status,
        "timed_out": health.timed_out,
        "number_of_nodes": health.number_of_nodes,
        "number_of_data_nodes": health.number_of_data_nodes,
        "discovered_master": health.discovered_cluster_manager,
        "discovered_cluster_manager": health.discovered_cluster_manager,
        "active_primary_shards": health.active_primary_shards,
        "active_shards": health.active_shards,
        "relocating_shards": 0,
        "initializing_shards": health.initializing_shards,
        "unassigned_shards": health.unassigned_shards,
        "delayed_unassigned_shards": 0,
        "number_of_pending_tasks": 0,
        "number_of_in_flight_fetch": 0,
    }
    if human:
        body["task_max_waiting_in_queue"] = "0s"
    body["task_max_waiting_in_queue_millis"] = 0
    percent = health.active_shards_percent
    if human:
        body["active_shards_percent"] = f"{percent:.1f}%"
    body["active_shards_percent_as_number"] = percent
    return body


# ------------------------------------------------------------------ cluster state


async def cluster_state(node: Node, request: RestRequest) -> Answer:
    """`GET /_cluster/state`: of the manager, whole or by metrics; an unknown metric chooses nothing.

    Source: OpenSearch `RestClusterStateAction`, `ClusterState.Metric.parseString`.
    """
    given = request.parameters
    chosen = given["metric"] or ["_all"]
    metrics = [metric for metric in _STATE_METRICS if "_all" in chosen or metric in chosen]
    state = await asked_state(node, request)
    names = [index.name for index in resolve(state.indices, given["indices"], indices_options(given))]
    return Answer([_encode(state_object(state, metrics, names))])


def state_object(state: ClusterState, metrics: Sequence[str], names: Collection[str]) -> dict[str, Any]:
    """The body of a cluster state with these metrics. Source: OpenSearch `ClusterState.toXContent`."""
    body: dict[str, Any] = {"cluster_name": state.cluster_name, "cluster_uuid": state.cluster_uuid}
    for metric in metrics:
        body |= _metric_object(state, metric, names)
    return body


def _metric_object(state: ClusterState, metric: str, names: Collection[str]) -> dict[str, Any]:
    match metric:
        case "version":
            return {"version": state.version, "state_uuid": f"{state.term}-{state.version}"}
        case "master_node" | "cluster_manager_node":
            return {metric: state.manager_id}
        case "blocks":
            return {metric: blocks_object(state)}
        case "nodes":
            return {metric: {node.id: _node_object(node) for node in state}}
        case "metadata":
            return {metric: metadata_object(state.indices, names, state.cluster_uuid, state.term)}
        case "routing_table":
            return {metric: routing_table_object(state.indices, names)}
    return {metric: routing_nodes_object(state, names)}


def _node_object(node: DiscoveryNode) -> dict[str, Any]:
    return {
        "name": node.name,
        "ephemeral_id": node.ephemeral_id,
        "transport_address": node.transport_address,
        "attributes": node.attributes,
    }
