"""REST requests to the nodes of an `IndexCluster`, answered under virtual time, without any socket."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from taskfan.coordinator.http.messages import HttpRequest
from taskfan.coordinator.rest.client import Client
from taskfan.coordinator.rest.dispatcher import Dispatcher
from taskfan.node.task import Task
from tests.coordinator.index_cluster import IndexCluster


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    cluster: IndexCluster,
    method: str,
    target: str,
    body: Any = None,
    *,
    on: str = "a",
    client: Client | None = None,
    opaque_id: str | None = None,
) -> Reply:
    """One request; a body that is bytes goes out as lines of JSON, any other as JSON."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    kind = b"application/x-ndjson" if isinstance(body, bytes) else b"application/json"
    fields = {b"content-type": [kind]} if raw else {}
    if opaque_id is not None:
        fields[b"x-opaque-id"] = [opaque_id.encode()]
    dispatcher = Dispatcher(cluster.nodes[on], 1 << 27)
    request = HttpRequest(method, target.encode(), fields, raw, keep_alive=True)
    response = await dispatcher.dispatch(request, client or Client())
    return Reply(response.status, b"".join(response.parts))


async def fill(cluster: IndexCluster, index: str, count: int, **settings: Any) -> None:
    """An index of so many documents: number n has `{"n": n, "word": "w<n>"}`; searches see them."""
    await cluster.create(index, **settings)
    lines = b"".join(
        b'{"index":{"_id":"%d"}}\n{"n":%d,"word":"w%d"}\n' % (number, number, number) for number in range(count)
    )
    answer = await ask(cluster, "POST", f"/{index}/_bulk?refresh=true", lines)
    assert answer.status == 200
    assert not answer.json["errors"]


def tasks_of(cluster: IndexCluster, pattern: str) -> list[Task]:
    """The running tasks whose action has this in it."""
    return [task for task in cluster.tasks() if pattern in task.action]


def tree_of(cluster: IndexCluster, pattern: str) -> list[str]:
    """The running tasks whose action has this in it, children below their parents: node, type, action, description."""
    tasks = tasks_of(cluster, pattern)
    ids = {task.id for task in tasks}
    lines: list[str] = []

    def show(task: Task, depth: int) -> None:
        flag = " CANCELLED" if task.cancelled is not None else ""
        lines.append(
            f"{'  ' * depth}{task.id.node_id} {task.type} {task.action}{flag} {task.traits.description}".rstrip()
        )
        for child in tasks:
            if child.parent == task.id:
                show(child, depth + 1)

    for task in tasks:
        if task.parent not in ids:
            show(task, 0)
    return lines
