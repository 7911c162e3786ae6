"""How quickly documents are written, copied and found on three nodes, with and without replicas."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from taskfan.cluster import Cluster
from tests.bench.bench import Bench, latency_figures
from tests.bench.figures import Figure, of_samples
from tests.bench.http_client import http_ask
from tests.bench.processes import cpu_s
from tests.bench.rest import LIMIT_S, call

BATCH = 1000
# Bounds that the project set itself, on two cores: documents a second.
BULK_TARGET, REINDEX_TARGET = ">= 10000", ">= 5000"
TERM = b'{"query":{"term":{"n":7}},"size":10}'


def documents(bench: Bench) -> list[Figure]:
    """Bulks of 1,000 documents on one connection and on one for each node, reindexes without throttle, searches."""
    figures = []
    for replicas in (0, 1):
        bench.say(f"documents, {replicas} replicas")
        with Cluster(nodes=3) as cluster:
            figures += _written(cluster, replicas, bench.sizes.batches, bench.sizes.document_rounds)
            figures += _found(bench, cluster, replicas)
    return figures


def _written(cluster: Cluster, replicas: int, batches: int, rounds: int) -> list[Figure]:
    one: list[float] = []
    each: list[float] = []
    copied: list[float] = []
    sliced: list[float] = []
    bulk_cpu: list[float] = []
    reindex_cpu: list[float] = []
    bodies = [_bulk(first) for first in range(0, batches * BATCH, BATCH)]
    count = batches * BATCH
    # The first round warms up.
    for number in range(rounds + 1):
        for index in ("alone", "books", "copy", "sliced"):
            _make(cluster.url, index, replicas)
        began_cpu_s = _cpu_s(cluster)
        one_s = _bulks_took_s(cluster.urls[:1], "alone", bodies)
        bulk_cpu_s = _cpu_s(cluster) - began_cpu_s
        each_s = _bulks_took_s(cluster.urls, "books", bodies)
        began_cpu_s = _cpu_s(cluster)
        copied_s = _reindex_took_s(cluster.url, "copy", count, 1)
        reindex_cpu_s = _cpu_s(cluster) - began_cpu_s
        sliced_s = _reindex_took_s(cluster.url, "sliced", count, 3)
        if number:
            for rates, took_s in ((one, one_s), (each, each_s), (copied, copied_s), (sliced, sliced_s)):
                rates.append(count / took_s)
            bulk_cpu.append(1e6 * bulk_cpu_s / count)
            reindex_cpu.append(1e6 * reindex_cpu_s / count)
    what = f"3 nodes, {replicas} replicas"
    return [
        of_samples(f"documents bulk-indexed a second, 1 connection, {what}", "/s", one, BULK_TARGET),
        of_samples(f"documents bulk-indexed a second, 3 connections, {what}", "/s", each, BULK_TARGET),
        of_samples(f"documents reindexed a second, {what}", "/s", copied, REINDEX_TARGET),
        of_samples(f"documents reindexed a second, 3 slices, {what}", "/s", sliced, REINDEX_TARGET),
        # What hardly changes with what else the machine does.
        of_samples(f"processor time of all nodes for a document bulk-indexed, {what}", "µs", bulk_cpu),
        of_samples(f"processor time of all nodes for a document reindexed, {what}", "µs", reindex_cpu),
    ]


def _cpu_s(cluster: Cluster) -> float:
    return sum(cpu_s(node.pid) for node in cluster.nodes)


def _found(bench: Bench, cluster: Cluster, replicas: int) -> list[Figure]:
    asks = {
        "search for all": http_ask(cluster.url, "/books/_search"),
        "search for a term": http_ask(cluster.url, "/books/_search", body=TERM),
        "GET of a document": http_ask(cluster.url, "/books/_doc/7"),
    }
    return [
        figure
        for endpoint, blocks in bench.in_turn(asks).items()
        for figure in latency_figures(
            f"{endpoint}, 3 nodes, {replicas} replicas", blocks, {"what": "documents", "endpoint": endpoint}
        )
    ]


def _bulk(first: int) -> bytes:
    lines = (
        f'{{"index":{{"_id":"{number}"}}}}\n{{"title":"book {number}","n":{number % 1000},"tags":["a","b"]}}\n'
        for number in range(first, first + BATCH)
    )
    return "".join(lines).encode()


def _make(url: str, index: str, replicas: int) -> None:
    call(url, "DELETE", f"/{index}?ignore_unavailable=true")
    settings = {"number_of_shards": 3, "number_of_replicas": replicas}
    call(url, "PUT", f"/{index}", {"settings": settings})
    call(url, "GET", f"/_cluster/health/{index}?wait_for_status=green")


def _bulks_took_s(urls: Sequence[str], index: str, bodies: Sequence[bytes]) -> float:
    """The bodies, dealt to one connection for each URL, each with one request in flight."""
    threads = [
        threading.Thread(target=_send_bulks, args=(url, index, bodies[number :: len(urls)]))
        for number, url in enumerate(urls)
    ]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    took_s = time.perf_counter() - begun
    call(urls[0], "POST", f"/{index}/_refresh")
    assert call(urls[0], "GET", f"/{index}/_count")["count"] == len(bodies) * BATCH
    return took_s


def _send_bulks(url: str, index: str, bodies: Sequence[bytes]) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=LIMIT_S)
    for body in bodies:
        connection.request("POST", f"/{index}/_bulk", body, {"Content-Type": "application/x-ndjson"})
        answer = connection.getresponse().read()
        assert b'"errors":false' in answer[:100], answer[:500]
    connection.close()


def _reindex_took_s(url: str, dest: str, count: int, slices: int) -> float:
    body = {"source": {"index": "books"}, "dest": {"index": dest}}
    begun = time.perf_counter()
    answer = call(url, "POST", f"/_reindex?slices={slices}", body)
    took_s = time.perf_counter() - begun
    assert answer["created"] == count, answer
    return took_s
