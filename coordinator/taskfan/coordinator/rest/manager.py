"""What requests to the cluster manager share: how long it may be missing, and the cluster state that they ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from taskfan.coordinator.cluster_state_action import read_cluster_state
from taskfan.coordinator.index_admin import DEFAULT_TIMEOUT_MS
from taskfan.coordinator.rest.errors import ParseFailure
from taskfan.coordinator.rest.messages import RestRequest
from taskfan.coordinator.rest.parameters import boolean, time_ms
from taskfan.node.cluster_state import ClusterState
from taskfan.node.node import Node

MANAGER_TIMEOUTS = (
    time_ms("cluster_manager_timeout"),
    msgspec.structs.replace(time_ms("master_timeout"), is_advised=False),
)
STATE_OF_MANAGER = (boolean("local"), *MANAGER_TIMEOUTS)


def manager_timeout_ms(given: Mapping[str, Any]) -> int | None:
    """The limit for finding the manager, by its new name or its old one; None when it is not given.

    Raises:
        ParseFailure: it is given by both.
    """
    timeout: int | None = given["cluster_manager_timeout"]
    if timeout is not None and given["master_timeout"] is not None:
        names = "[master_timeout, cluster_manager_timeout]"
        raise ParseFailure(f"Please only use one of the request parameters {names}.")
    return given["master_timeout"] if timeout is None else timeout


def ack_timeout_ms(given: Mapping[str, Any]) -> int:
    """How long all nodes may take to apply a change. Source: OpenSearch `AcknowledgedRequest`."""
    timeout: int | None = given["timeout"]
    return DEFAULT_TIMEOUT_MS if timeout is None else timeout


async def asked_state(node: Node, request: RestRequest) -> ClusterState:
    """The cluster state for a request that declares `STATE_OF_MANAGER`: the manager's, unless `local` is said.

    Raises:
        ClusterManagerNotDiscovered: there was no manager in time.
    """
    given, timeout_ms = request.parameters, manager_timeout_ms(request.parameters)
    return await read_cluster_state(node, headers=request.headers, local=given["local"], manager_timeout_ms=timeout_ms)
