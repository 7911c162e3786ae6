"""Work of the reindex family on an `IndexCluster`: started, watched and waited for."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from taskfan.node.action import ActionContext
from taskfan.node.task import Task
from tests.coordinator.index_cluster import IndexCluster
from tests.coordinator.rest_cluster import ask, fill

REINDEX = "indices:data/write/reindex"
BODY: dict[str, Any] = {"source": {"index": "src"}, "dest": {"index": "dest"}}
ONE_BY_ONE: dict[str, Any] = {"source": {"index": "src", "size": 1}, "dest": {"index": "dest"}}
IDLE = {
    "total": 10,
    "updated": 0,
    "created": 1,
    "deleted": 0,
    "batches": 1,
    "version_conflicts": 0,
    "noops": 0,
    "retries": {"bulk": 0, "search": 0},
    "throttled_millis": 0,
    "requests_per_second": 0.5,
    "throttled_until_millis": 2000,
}


async def start(cluster: IndexCluster, target: str, body: Any = None, *, on: str = "a") -> str:
    """Start work that nobody waits for; its task id."""
    separator = "&" if "?" in target else "?"
    answer = await ask(cluster, "POST", f"{target}{separator}wait_for_completion=false", body, on=on)
    assert answer.status == 200, answer.json
    return str(answer.json["task"])


async def status_of(cluster: IndexCluster, task: str, on: str = "a") -> Any:
    answer = await ask(cluster, "GET", f"/_tasks/{task}", on=on)
    assert answer.status == 200, answer.json
    return answer.json["task"]["status"]


async def asleep(cluster: IndexCluster, task: str) -> Any:
    """Wait until it sleeps; its status then, without how long it still does."""

    def sleeps() -> bool:
        running = [found for found in cluster.tasks() if str(found.id) == task]
        return bool(running) and b'"throttled_until_millis":0' not in _status(running[0])

    await cluster.until(sleeps)
    return await status_of(cluster, task)


def _status(task: Task) -> bytes:
    assert task.status is not None
    return task.status()


async def ended(cluster: IndexCluster, task: str, on: str = "a") -> Any:
    answer = await ask(cluster, "GET", f"/_tasks/{task}?wait_for_completion=true&timeout=1000s", on=on)
    assert answer.status == 200, answer.json
    assert answer.json["completed"] is True
    return answer.json


def fail_first(cluster: IndexCluster, action: str, times: int, error: Exception) -> list[int]:
    """Let an action of node a fail so many times. Returns the wall times at which it was asked, in milliseconds."""
    node, asked = cluster.nodes["a"], list[int]()
    known = node._actions[action]

    async def handler(context: ActionContext, request: Any) -> Any:
        asked.append(context.clock.wall_time_ms())
        if len(asked) <= times:
            raise error
        return await known.run(context, request)

    node._actions[action] = replace(known, handler=handler)
    return asked


async def make(cluster: IndexCluster, count: int = 10, **settings: Any) -> None:
    await fill(cluster, "src", count, **({"number_of_replicas": 0} | settings))
    await cluster.create("dest", number_of_replicas=0)
