"""A story of `outcomes` on three real processes: rules through the supervisor, requests over HTTP."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import threading
import time
from collections.abc import Awaitable
from typing import Any, cast
from urllib.parse import urlsplit

import grpc
import msgspec

from taskfan.cluster import Cluster
from taskfan.cluster.messages import FaultCommand
from taskfan.node.faults.decide import NumberedRule
from taskfan.v1 import task_registry_pb2 as pb
from taskfan.v1 import task_registry_pb2_grpc
from tests.faults.outcomes import ASKED, ASKING, STEP_S

LIMIT_S = 30.0


class ProcessStory:
    """One row after the other on the same cluster."""

    # For what is not to happen; what is to happen is waited for.
    patience_s = 0.05

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._ran: list[str] = []
        self._marks = itertools.count(1)
        self._channel = grpc.insecure_channel(cluster.node(ASKED).transport_address)
        stub = task_registry_pb2_grpc.TaskRegistryStub(self._channel)  # type: ignore[no-untyped-call]
        self._events = stub.WatchTasks(pb.WatchTasksRequest())
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        try:
            for event in self._events:
                if event.kind == pb.TaskEvent.KIND_REGISTERED:
                    self._ran.append(event.task.action)
        except grpc.RpcError:
            pass

    def now_s(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Awaitable[dict[str, Any]]:
        return asyncio.ensure_future(asyncio.to_thread(self._ask, ASKING, method, path, body))

    def _ask(self, node: str, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        address = urlsplit(self._cluster.node(node).url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=LIMIT_S)
        try:
            fields = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), fields)
            return cast(dict[str, Any], json.loads(connection.getresponse().read()))
        finally:
            connection.close()

    async def set_rules(self, rules: list[NumberedRule]) -> None:
        values = [msgspec.to_builtins(numbered.rule) for numbered in rules]
        await asyncio.to_thread(self._cluster.faults.reset)
        await self._see_all()
        self._ran.clear()
        if values:
            await asyncio.to_thread(self._cluster.ask_faults, FaultCommand("add", rules=values))

    async def _see_all(self) -> None:
        """Return when everything that was registered on `ASKED` before this was seen: events come in order."""
        action = f"seen:{next(self._marks)}"
        while action not in self._ran:
            # Again, because the first one may be over before the watch begins.
            await asyncio.to_thread(self._ask, ASKED, "POST", "/_taskfan/work", {"action": action})
            await asyncio.sleep(STEP_S)

    async def hits(self) -> int:
        reports = await asyncio.to_thread(self._cluster.faults.all)
        return sum(report.hit_count for report in reports)

    async def ran(self, action: str) -> bool:
        return action in self._ran

    def node_id(self, name: str) -> str:
        return self._cluster.node(name).id

    async def clean_up(self) -> None:
        """Heal, and end all work that a row has left."""
        await asyncio.to_thread(self._cluster.faults.heal)
        await self.ask("POST", "/_tasks/_cancel?actions=outcome*&wait_for_completion=true")

    def close(self) -> None:
        self._events.cancel()
        self._channel.close()
