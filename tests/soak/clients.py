"""Clients that work at random: plans, cancels, lists, documents, searches, scrolls and reindexes."""

from __future__ import annotations

import http.client
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

WORK_PREFIX, BY_SCROLL = "soak:", "*byquery,*reindex"
# Of whoever sent the request: a node that is paused never answers.
REQUEST_TIMEOUT_S = 1.5
SOURCE, TARGETS = "soak-source", ("soak-copy-1", "soak-copy-2")
# Readers of a scroll whose coordinator died end by themselves after this.
KEEP_ALIVE = "2s"


def send(url: str, method: str, target: str, body: object = None, *, timeout_s: float = REQUEST_TIMEOUT_S) -> Any:
    """The JSON of an answer, whatever its status; None when there was no answer.

    Args:
        body: lines of JSON if it is a list, otherwise JSON.
    """
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=timeout_s)
    text = "".join(f"{json.dumps(line)}\n" for line in body) if isinstance(body, list) else json.dumps(body)
    try:
        sent = None if body is None else text
        connection.request(method, target, sent, {} if body is None else {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read() or b"null")
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


class Clients:
    """So many clients, each a thread of its own that asks one node after the other until it is told to end."""

    def __init__(self, urls: Sequence[str], seed: str, count: int = 6) -> None:
        self._urls = urls
        self._ended = threading.Event()
        self.done: Counter[str] = Counter()
        chances = [random.Random(f"{seed} client {number}") for number in range(count)]
        self._threads = [threading.Thread(target=self._run, args=(chance,), daemon=True) for chance in chances]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Return when none of them waits for an answer any more."""
        self._ended.set()
        for thread in self._threads:
            thread.join(10 * REQUEST_TIMEOUT_S)
            assert not thread.is_alive(), "a client waits for ever"

    def _run(self, chance: random.Random) -> None:
        while not self._ended.wait(chance.uniform(0, 0.03)):
            do = chance.choice(DEEDS)
            # A deed may fail, as everything may while faults strike; what is demanded comes afterwards.
            answer = do(chance, chance.choice(self._urls))
            failed = answer is None or (isinstance(answer, dict) and "error" in answer)
            self.done["unanswered" if answer is None else "failed" if failed else "answered"] += 1


def _plan(chance: random.Random, depth: int) -> dict[str, Any]:
    plan: dict[str, Any] = {
        "action": f"{WORK_PREFIX}{depth}",
        "duration": chance.choice(["1ms", "50ms", "500ms", "2s", "until_cancelled"]),
        "on_cancel": chance.choice(["stops", "stops", "stops", "ignores", "fails"]),
        "cancellable": chance.random() < 0.9,
    }
    if plan["duration"] == "until_cancelled":
        plan |= {"on_cancel": "stops", "cancellable": True}
    if depth:
        where: dict[str, Any] = chance.choice([{"nodes": "_all"}, {"copies": 3}, {"nodes": "_local"}])
        plan["children"] = [{**_plan(chance, depth - 1), **where} for _ in range(chance.randint(1, 2))]
    return plan


def _work(chance: random.Random, url: str) -> Any:
    wait = chance.choice(["true", "false", "false"])
    return send(url, "POST", f"/_taskfan/work?wait_for_completion={wait}", _plan(chance, chance.randint(0, 2)))


def _cancel(chance: random.Random, url: str) -> Any:
    action = chance.choice([f"{WORK_PREFIX}*", f"{WORK_PREFIX}2", f"{WORK_PREFIX}0", BY_SCROLL, "*search*"])
    wait = chance.choice(["true", "false"])
    return send(url, "POST", f"/_tasks/_cancel?actions={action}&wait_for_completion={wait}")


def _list(chance: random.Random, url: str) -> Any:
    group, timeout = chance.choice(["nodes", "parents", "none"]), chance.choice(["100ms", "500ms", "1s"])
    return send(url, "GET", f"/_tasks?detailed&group_by={group}&timeout={timeout}")


def _get(chance: random.Random, url: str) -> Any:
    listed = send(url, "GET", "/_tasks?group_by=none&timeout=1s") or {}
    tasks = listed.get("tasks") or []
    if not tasks:
        return listed
    task = chance.choice(tasks)
    wait = chance.choice(["true&timeout=500ms", "false"])
    return send(url, "GET", f"/_tasks/{task['node']}:{task['id']}?wait_for_completion={wait}")


def _look(chance: random.Random, url: str) -> Any:
    paths = ["/_cluster/health?timeout=500ms&cluster_manager_timeout=500ms", "/_cat/nodes?format=json"]
    paths += ["/_cluster/state/nodes?local=true", "/_cat/tasks?format=json&timeout=1s", "/_nodes?timeout=1s"]
    return send(url, "GET", chance.choice(paths))


def _bulk(chance: random.Random, url: str) -> Any:
    lines: list[object] = []
    for _ in range(chance.randint(1, 30)):
        lines += [{"index": {"_index": SOURCE, "_id": str(chance.randrange(300))}}, {"n": chance.randrange(100)}]
    return send(url, "POST", f"/_bulk?timeout=1s&refresh={chance.choice(['true', 'false'])}", lines)


def _search(chance: random.Random, url: str) -> Any:
    size = chance.randint(0, 20)
    return send(url, "POST", f"/{SOURCE}/_search?ignore_unavailable=true", {"size": size, "query": {"match_all": {}}})


def _scroll(chance: random.Random, url: str) -> Any:
    answer = send(url, "POST", f"/{SOURCE}/_search?scroll={KEEP_ALIVE}&size=10")
    while answer and answer.get("_scroll_id") and answer["hits"]["hits"] and chance.random() < 0.8:
        answer = send(url, "POST", "/_search/scroll", {"scroll": KEEP_ALIVE, "scroll_id": answer["_scroll_id"]})
    if answer and answer.get("_scroll_id") and chance.random() < 0.7:
        return send(url, "DELETE", "/_search/scroll", {"scroll_id": answer["_scroll_id"]})
    return answer


def _reindex(chance: random.Random, url: str) -> Any:
    options = f"wait_for_completion={chance.choice(['true', 'false'])}&scroll={KEEP_ALIVE}&timeout=1s"
    options += f"&requests_per_second={chance.choice(['-1', '50'])}&slices={chance.choice([1, 1, 3])}"
    body = {"source": {"index": SOURCE, "size": 20}, "dest": {"index": chance.choice(TARGETS)}, "conflicts": "proceed"}
    return send(url, "POST", f"/_reindex?{options}", body)


def _by_query(chance: random.Random, url: str) -> Any:
    kind = chance.choice(["_update_by_query", "_delete_by_query"])
    options = f"conflicts=proceed&scroll={KEEP_ALIVE}&scroll_size=20&timeout=1s&wait_for_completion=false"
    query = {"query": {"range": {"n": {"gte": chance.randrange(100)}}}}
    return send(url, "POST", f"/{chance.choice((SOURCE, *TARGETS))}/{kind}?{options}", query)


DEEDS: Sequence[Callable[[random.Random, str], Any]] = (
    *(_work, _work, _work, _cancel, _list, _get, _look),
    *(_bulk, _bulk, _search, _scroll, _reindex, _by_query),
)
