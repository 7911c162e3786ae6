"""What is measured of a cluster, and how."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from taskfan.cluster import Cluster
from tests.bench.figures import Figure, of_latencies, of_samples
from tests.bench.http_client import latencies_ms, requests_per_second
from tests.bench.processes import private_kib

TASKFAN = str(Path(sys.executable).with_name("taskfan"))
NAME = "taskfan-bench"
# Bounds that the project set itself, on two cores: nodes → seconds until ready.
START_TARGETS = {5: "<= 0.4", 100: "<= 2.5", 200: "<= 5"}


def start(quick: bool) -> list[Figure]:
    """`taskfan up` until it returns, from nothing: the interpreter's start included."""
    figures = []
    for nodes, rounds in ((3, 7), (5, 9)) if quick else ((3, 9), (5, 15), (100, 3), (200, 3)):
        up_s, down_s = [], []
        for _ in range(rounds):
            up_s.append(_took_s("up", "-n", str(nodes), "--any-port", "--name", NAME))
            down_s.append(_took_s("down", "--name", NAME))
        figures.append(of_samples(f"up, {nodes} nodes", "s", up_s, START_TARGETS.get(nodes, "")))
        figures.append(of_samples(f"down, {nodes} nodes", "s", down_s))
    return figures


def _took_s(*words: str) -> float:
    begun = time.perf_counter()
    subprocess.run([TASKFAN, *words], check=True, stdout=subprocess.DEVNULL, timeout=120)
    return time.perf_counter() - begun


def memory(quick: bool) -> list[Figure]:
    """Private memory of each node: idle, after 2,000 lists, and with live tasks."""
    with Cluster(nodes=5) as cluster:
        idle = _private_mib(cluster)
        latencies_ms(cluster.url, "/_tasks", rounds=200 if quick else 2000)
        listed = _private_mib(cluster)
        _start_tasks(cluster, 5000)
        loaded = _private_mib(cluster)
    return [
        of_samples("private memory a node, idle", "MiB", idle, "<= 7"),
        of_samples("private memory a node, after many lists", "MiB", listed),
        of_samples("private memory a node, with 1,000 live tasks", "MiB", loaded),
    ]


def _private_mib(cluster: Cluster) -> list[float]:
    return [private_kib(node.pid) / 1024 for node in cluster.nodes]


def idle_lists(quick: bool) -> list[Figure]:
    """Lists of clusters in which nothing else runs."""
    rounds = 500 if quick else 5000
    figures = []
    for nodes in (3, 5) if quick else (3, 5, 20):
        with Cluster(nodes=nodes) as cluster:
            target = "<= 1.5" if nodes == 5 else ""
            samples = latencies_ms(cluster.url, "/_tasks", rounds=rounds)
            figures += of_latencies(f"GET /_tasks, {nodes} idle nodes", samples, target)
            if nodes == 3:
                figures += _other_endpoints(cluster, rounds)
            rate = [requests_per_second(cluster.url, "/_tasks", connections=8, seconds=1) for _ in range(3)]
            figures.append(of_samples(f"lists a second, 8 connections, {nodes} nodes", "/s", rate))
    return figures


def lists_of(urls: Sequence[str], quick: bool) -> list[Figure]:
    """Lists by any server of the same API that runs already, in turn with an idle taskfan of as many nodes."""
    rounds, blocks = (100, 3) if quick else (1000, 5)
    figures = []
    with Cluster(nodes=len(urls)) as cluster:
        servers = {urls[0]: urls[0], f"taskfan, {len(urls)} nodes": cluster.url}
        for path in ("/_tasks", "/_tasks?nodes=_local", "/_tasks?detailed", "/_tasks?group_by=parents", "/_cat/tasks"):
            samples: dict[str, list[float]] = {name: [] for name in servers}
            # Block by block in turn, so that what else the machine does meets both alike.
            for _ in range(blocks):
                for name, url in servers.items():
                    samples[name] += latencies_ms(url, path, rounds=rounds)
            for name in servers:
                figures += of_latencies(f"GET {path}, {name}", samples[name])
        for name, url in servers.items():
            rate = [requests_per_second(url, "/_tasks", connections=8, seconds=1) for _ in range(3)]
            figures.append(of_samples(f"lists a second, 8 connections, {name}", "/s", rate))
    return figures


def _other_endpoints(cluster: Cluster, rounds: int) -> list[Figure]:
    figures = of_latencies("GET / (no fan-out)", latencies_ms(cluster.url, "/", rounds=rounds))
    for path in ("/_tasks?nodes=_local", "/_cat/tasks"):
        figures += of_latencies(f"GET {path}", latencies_ms(cluster.url, path, rounds=rounds))
    task = _start_tasks(cluster, 1)
    figures += of_latencies("GET /_tasks/{id}, owner", latencies_ms(cluster.url, f"/_tasks/{task}", rounds=rounds))
    other = cluster.nodes[1].url
    return figures + of_latencies("GET /_tasks/{id}, other node", latencies_ms(other, f"/_tasks/{task}", rounds=rounds))


def loaded_lists(quick: bool) -> list[Figure]:
    """Lists of five nodes with a thousand live tasks each."""
    rounds = 30 if quick else 200
    count = 5000
    figures = []
    with Cluster(nodes=5) as cluster:
        _start_tasks(cluster, count)
        for path in ("", "?detailed", "?group_by=parents", "?group_by=none"):
            samples = latencies_ms(cluster.url, f"/_tasks{path}", rounds=rounds, warm_up=5)
            name = f"GET /_tasks{path}, 5 × 1,000 tasks"
            figures += of_latencies(name, samples)
            if not path:
                rates = [count / (sample / 1000) for sample in samples]
                figures.append(of_samples("tasks listed a second", "/s", rates, ">= 300000"))
        cat = latencies_ms(cluster.url, "/_cat/tasks", rounds=rounds, warm_up=5)
        figures += of_latencies("GET /_cat/tasks, 5 × 1,000 tasks", cat)
    return figures


def cancels(quick: bool) -> list[Figure]:
    """A cancel of many tasks with their children on all nodes, until it is answered and until all are gone."""
    figures = []
    for count in (1, 100) if quick else (1, 100, 1000):
        answered_ms, gone_ms = [], []
        with Cluster(nodes=3) as cluster:
            for _ in range(5):
                task = _start_tasks(cluster, count)
                begun = time.perf_counter()
                _post(cluster.url, f"/_tasks/{task}/_cancel")
                answered_ms.append(1000 * (time.perf_counter() - begun))
                while _ask(cluster.url, "/_tasks?actions=bench*&group_by=none")["tasks"]:
                    pass
                gone_ms.append(1000 * (time.perf_counter() - begun))
        figures.append(of_samples(f"cancel of a task with {count} children, answered", "ms", answered_ms))
        figures.append(of_samples(f"cancel of a task with {count} children, all gone", "ms", gone_ms))
    return figures


def _start_tasks(cluster: Cluster, count: int) -> str:
    """Start a task with so many children on all nodes, and wait until they run. Returns its id."""
    plan: dict[str, Any] = {
        "action": "bench",
        "duration": "until_cancelled",
        "children": [{"action": "bench[n]", "nodes": "_all", "copies": count, "duration": "until_cancelled"}],
    }
    task = _post(cluster.url, "/_taskfan/work?wait_for_completion=false", plan)["task"]
    while len(_ask(cluster.url, f"/_tasks?parent_task_id={task}&group_by=none")["tasks"]) < count:
        pass
    return str(task)


def _ask(url: str, path: str) -> Any:
    with urllib.request.urlopen(url + path, timeout=60) as answer:
        return json.load(answer)


def _post(url: str, path: str, body: object = None) -> Any:
    data = b"" if body is None else json.dumps(body).encode()
    headers = {} if body is None else {"Content-Type": "application/json"}
    request = urllib.request.Request(url + path, data=data, headers=headers, method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)
