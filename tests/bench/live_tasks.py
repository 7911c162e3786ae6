"""Tasks that live while something is measured: simulated ones, and reindexes that are throttled."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from taskfan.cluster import Cluster
from tests.bench.client_process import ClientProcess
from tests.bench.http_client import http_ask, repeat
from tests.bench.rest import LIMIT_S, call, text

LIVE, CHURN = "bench:live", "bench:churn"
SOURCE, COPY = "taskfan-bench-source", "taskfan-bench-copy"
REINDEX = "indices:data/write/reindex"
_WORK = "/_taskfan/work?wait_for_completion=false"
CHURN_LIFE = "10ms"


def count(url: str, actions: str) -> int:
    """How many tasks of such actions run on all nodes."""
    return text(url, "GET", f"/_tasks?actions={actions}&group_by=none").count(b'"start_time_in_millis"')


def wait_for(url: str, actions: str, wanted: int) -> None:
    """Return when exactly so many run. Raises TimeoutError."""
    deadline_s = time.monotonic() + LIMIT_S
    while (found := count(url, actions)) != wanted:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{found} tasks [{actions}] run instead of {wanted}")


class Load:
    """The live tasks of a cluster, of which there can only become more. Each node has its share, and made it itself."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.tasks = 0
        # One on the first node.
        self.first = ""

    def top_up(self, tasks: int) -> None:
        """Return when so many live in all."""
        urls = self._cluster.urls
        more, self.tasks = tasks - self.tasks, tasks
        for url, here in zip(urls, shares(more, len(urls)), strict=True):
            if here:
                task = start(url, LIVE, here - 1)
                self.first = self.first or task
        wait_for(self._cluster.url, f"{LIVE}*", tasks)


def shares(whole: int, count: int) -> list[int]:
    """A number in equal parts, the first ones larger by one where it does not come out even."""
    return [whole // count + (place < whole % count) for place in range(count)]


def start(url: str, action: str, children: int, nodes: Sequence[str] = ()) -> str:
    """Start a task that only a cancel ends, with children dealt to these nodes, or on its own. Returns its id."""
    child: dict[str, Any] = {"action": f"{action}[n]", "copies": children, "duration": "until_cancelled"}
    if nodes:
        child["nodes"] = list(nodes)
    plan = {"action": action, "duration": "until_cancelled", "children": [child] if children else []}
    return str(call(url, "POST", _WORK, plan)["task"])


def start_churn(url: str, tasks_per_s: float, seconds: float) -> None:
    """On the node that is asked, so many tasks start each second, live for a moment, and end."""
    when = {"min": "0s", "max": f"{round(seconds * 1000)}ms"}
    child = {"action": CHURN, "copies": round(tasks_per_s * seconds), "start_after": when, "duration": CHURN_LIFE}
    call(url, "POST", _WORK, {"action": f"{CHURN}:all", "children": [child]})


def make_source(url: str, nodes: int) -> None:
    """An index of ten documents from which reindexes read, with a copy on each of so many nodes."""
    remove_source(url)
    call(url, "PUT", f"/{SOURCE}", {"settings": {"number_of_shards": 1, "number_of_replicas": nodes - 1}})
    call(url, "PUT", f"/{COPY}", {"settings": {"number_of_shards": 1, "number_of_replicas": 0}})
    call(url, "GET", f"/_cluster/health/{SOURCE},{COPY}?wait_for_status=green&timeout=30s")
    for number in range(10):
        call(url, "PUT", f"/{SOURCE}/_doc/{number}?refresh=true", {"n": number})


def remove_source(url: str) -> None:
    """Take it back; none there is no error."""
    call(url, "DELETE", f"/{SOURCE},{COPY}?ignore_unavailable=true")


def start_reindexes(client: ClientProcess, urls: Sequence[str], reindexes: int) -> None:
    """Start so many, each of which has copied one document and now waits; return when all are listed."""
    body = json.dumps({"source": {"index": SOURCE, "size": 1}, "dest": {"index": COPY}}).encode()
    path = "/_reindex?wait_for_completion=false&requests_per_second=0.01"
    for url, here in zip(urls, shares(reindexes, len(urls)), strict=True):
        if here:
            client.run(repeat, http_ask(url, path, "POST", body), times=here, connections=4)
    wait_for(urls[0], REINDEX, reindexes)
