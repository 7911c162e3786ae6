"""cluster:monitor/nodes/info[n] and …/stats[n]: one node on itself and its process."""

from __future__ import annotations

from typing import Any

import msgspec

from taskfan.node.node import Action, ActionContext
from taskfan.v1 import actions_pb2 as pb

# What a client may ask for by name; a node has them all.
INFO_METRICS = ("settings", "os", "process", "transport", "http", "plugins", "modules")


async def node_info(context: ActionContext, request: pb.NodesInfoRequest) -> pb.NodeInfoResponse:
    """Names, addresses, roles and attributes, with the sections that were asked for.

    Differs: there is no JVM, so OpenSearch's sections `jvm`, `thread_pool`, `ingest` and `aggregations` are not given.
    Source: OpenSearch `NodesInfoResponse`.
    """
    local = context.node.local
    body: dict[str, Any] = {
        "name": local.name,
        "transport_address": local.transport_address,
        "host": local.host,
        "ip": local.host,
        "version": local.version,
        "build_type": "unknown",
        "build_hash": "unknown",
        "roles": list(local.roles),
    }
    if local.attributes:
        body["attributes"] = dict(local.attributes)
    sections = _addresses(context) | context.node.machine.info()
    wanted = request.metrics or INFO_METRICS
    body |= {metric: sections[metric] for metric in INFO_METRICS if metric in sections and metric in wanted}
    return pb.NodeInfoResponse(body=msgspec.json.encode(body))


def _addresses(context: ActionContext) -> dict[str, Any]:
    local = context.node.local
    http, transport = local.http_address, local.transport_address
    return {
        "transport": {"bound_address": [transport], "publish_address": transport, "profiles": {}},
        "http": {"bound_address": [http], "publish_address": http},
        "plugins": [],
        "modules": [],
    }


async def node_stats(context: ActionContext, request: pb.NodesInfoRequest) -> pb.NodeInfoResponse:
    """Memory, processor and load of the node's process. Source: OpenSearch `NodesStatsResponse`."""
    return pb.NodeInfoResponse(body=msgspec.json.encode(context.node.machine.stats()))


INFO_OF_NODE = Action("cluster:monitor/nodes/info[n]", node_info, pb.NodesInfoRequest, pb.NodeInfoResponse)
STATS_OF_NODE = Action("cluster:monitor/nodes/stats[n]", node_stats, pb.NodesInfoRequest, pb.NodeInfoResponse)
