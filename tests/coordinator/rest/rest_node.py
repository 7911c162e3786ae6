"""A real node that is alone, behind the REST front, with an action that runs until the test ends it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.wrappers_pb2 import StringValue

from taskfan.coordinator import ACTIONS as COORDINATING_ACTIONS
from taskfan.coordinator.http.messages import HttpSettings
from taskfan.coordinator.rest.server import RestServer
from taskfan.node.action import Action
from taskfan.node.actions import ACTIONS as NODE_ACTIONS
from taskfan.node.clock import SystemClock
from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.memory_transport import MemoryNetwork
from taskfan.node.node import Node
from taskfan.node.state_updates import SharedStateUpdates

NODE_ID = "a1qmvyNXRkmtZQbKDkm6wA"
DEADLINE_S = 20.0
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Response:
    """One answer as it came."""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Connection:
    """An open connection: writes bytes, and reads answers one after the other."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def response(self, *, to_head: bool = False) -> Response:
        """The next answer. Raises IncompleteReadError when the connection ends instead."""
        async with asyncio.timeout(DEADLINE_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status_line, *lines = head.strip().split("\r\n")
            fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            length = 0 if to_head else int(fields.get("content-length", "0"))
            return Response(int(status_line.split()[1]), fields, await self.reader.readexactly(length))

    async def rest(self) -> bytes:
        """All that comes until the server closes."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.reader.read()

    async def ask(self, method: str, target: str, *fields: str, body: bytes = b"") -> Response:
        await self.send(request(method, target, *fields, body=body))
        return await self.response(to_head=method == "HEAD")

    def close(self) -> None:
        self.writer.close()


def request(method: str, target: str, *fields: str, body: bytes = b"") -> bytes:
    """A whole request."""
    length = [f"Content-Length: {len(body)}"] if body else []
    head = "\r\n".join([f"{method} {target} HTTP/1.1", "Host: x", *fields, *length])
    return head.encode("latin-1") + b"\r\n\r\n" + body


@dataclass
class RestNode:
    """The node, its server, and the errors of what it spawned."""

    node: Node
    server: RestServer
    port: int
    bugs: list[tuple[str, BaseException]] = field(default_factory=list)

    async def connect(self) -> Connection:
        return Connection(*await asyncio.open_connection("127.0.0.1", self.port))

    async def ask(self, method: str, target: str, *fields: str, body: bytes = b"") -> Response:
        """One request on a connection of its own."""
        connection = await self.connect()
        try:
            return await connection.ask(method, target, *fields, body=body)
        finally:
            connection.close()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it holds; a test that waits for ever fails."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.002)

    @property
    def task_actions(self) -> list[str]:
        return [task.action for task in self.node.registry]


async def started(settings: HttpSettings | None = None) -> RestNode:
    """A node that listens on a port the system chose."""
    bugs: list[tuple[str, BaseException]] = []
    clock = SystemClock(on_error=lambda name, error: bugs.append((name, error)))
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    port: int = sock.getsockname()[1]
    local = DiscoveryNode(NODE_ID, "n1", "e", "127.0.0.1", "127.0.0.1:9300", f"127.0.0.1:{port}")
    transport = MemoryNetwork(clock).transport(local)
    node = Node(local, ClusterState("taskfan", "uuid", 1, (local,), local.id), clock, transport)
    for action in (*NODE_ACTIONS, *COORDINATING_ACTIONS, Action("test:bug", _bug, StringValue)):
        node.add_action(action)
    node.state_updates = SharedStateUpdates([node])
    await transport.start(node)
    server = RestServer(node, settings)
    await server.start(sock)
    return RestNode(node, server, port, bugs)


async def _bug(context: Any, request: Any) -> Any:
    raise KeyError("a bug")


def with_node(
    story: Callable[[RestNode], Awaitable[Result]], settings: HttpSettings | None = None, *, leaves_tasks: bool = False
) -> Result:
    """Play a story; afterwards nothing may be left: no task, and no bug that only a log would know."""

    async def play() -> Result:
        rest = await started(settings)
        try:
            result = await story(rest)
            if not leaves_tasks:
                await rest.until(lambda: not len(rest.node.registry))
        finally:
            await rest.server.close()
            await rest.node.clock.close()
        assert rest.bugs == []
        return result

    return asyncio.run(play())


def ask(method: str, target: str, *fields: str, body: bytes = b"") -> Response:
    """One request to a node of its own."""

    async def story(rest: RestNode) -> Response:
        return await rest.ask(method, target, *fields, body=body)

    return with_node(story)


def reasons(*requests: tuple[str, ...]) -> list[tuple[int, str]]:
    """Status and reason of each answer, of the same node."""

    async def story(rest: RestNode) -> list[tuple[int, str]]:
        answers = []
        for method, target, *fields in requests:
            response = await rest.ask(method, target, *fields)
            error = response.json["error"]
            answers.append((response.status, error if isinstance(error, str) else error["reason"]))
        return answers

    return with_node(story)
