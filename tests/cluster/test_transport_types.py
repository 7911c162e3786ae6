"""Members on either transport, alone and mixed: the same answers, and only grpcio costs its library."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from taskfan.cluster import Cluster
from taskfan.v1 import task_registry_pb2, task_registry_pb2_grpc

PLAN = {
    "action": "mixed",
    "duration": "until_cancelled",
    "children": [{"action": "mixed[n]", "nodes": "_all", "copies": 3, "duration": "until_cancelled"}],
}


def ask(url: str, path: str, body: object = None, method: str = "GET") -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def lists_and_cancels(cluster: Cluster) -> None:
    """Work on all nodes is listed by each, and cancelled on all."""
    started = ask(cluster.url, "/_taskfan/work?wait_for_completion=false", PLAN, "POST")["task"]
    for node in cluster.nodes:
        while len(ask(node.url, "/_tasks?actions=mixed*&group_by=none")["tasks"]) < 4:
            pass
        listed = ask(node.url, "/_tasks")
        assert "node_failures" not in listed
        assert len(listed["nodes"]) == len(cluster.nodes)
    cancelled = ask(cluster.nodes[-1].url, f"/_tasks/{started}/_cancel?wait_for_completion=true", method="POST")
    assert "node_failures" not in cancelled
    for node in cluster.nodes:
        assert ask(node.url, "/_tasks?actions=mixed*&group_by=none")["tasks"] == []


def serves_grpc(node: Any) -> None:
    """A client of grpcio is served at the node's transport address."""
    with grpc.insecure_channel(node.transport_address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=10).status == 1
        tasks: Any = task_registry_pb2_grpc.TaskRegistryStub(channel)  # type: ignore[no-untyped-call]
        assert tasks.ListTasks(task_registry_pb2.ListTasksOfNodeRequest(), timeout=10).node_id == node.id


@pytest.mark.parametrize("types", [["http2", "http2"], ["grpcio", "http2", "http2"], ["http2", "grpcio"]], ids="-".join)
def test_members_of_either_transport_are_one_cluster(types: list[str]) -> None:
    with Cluster(config={"nodes": [{"transport.type": type} for type in types]}) as cluster:
        lists_and_cancels(cluster)
        for node in cluster.nodes:
            serves_grpc(node)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_only_a_member_that_uses_grpcio_loads_it() -> None:
    with Cluster(config={"nodes": [{}, {"transport.type": "grpcio"}]}) as cluster:
        ask(cluster.url, "/_tasks")
        loaded = ["cygrpc" in Path(f"/proc/{node.pid}/maps").read_text() for node in cluster.nodes]
        assert loaded == [False, True]
        assert len(list(Path(f"/proc/{cluster.nodes[0].pid}/task").iterdir())) == 1
