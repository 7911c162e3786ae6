"""HTTP over real sockets: what clients do, and that nothing is left when they go."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
from typing import Any

import pytest

from taskfan.coordinator.http.messages import HttpSettings
from taskfan.coordinator.rest.dispatcher import Dispatcher
from taskfan.coordinator.rest.messages import Answer, RestRequest
from taskfan.coordinator.rest.routes import Route, route_table
from taskfan.node.node import Node
from tests.coordinator.rest.rest_node import Response, RestNode, request, with_node

LONG_WORK = json.dumps(
    {"action": "test", "duration": "1h", "children": [{"action": "child", "duration": "1h"}]}
).encode()
STUBBORN_WORK = json.dumps({"action": "test", "duration": "1h", "cancellable": False}).encode()
JSON_BODY = "Content-Type: application/json"


def test_many_requests_on_one_connection_are_answered_in_turn() -> None:
    async def story(rest: RestNode) -> list[int]:
        connection = await rest.connect()
        return [(await connection.ask("GET", path)).status for path in ("/", "/nosuch", "/_tasks", "/_tasks/x")]

    assert with_node(story) == [200, 404, 200, 400]


def test_requests_sent_at_once_are_answered_in_order() -> None:
    ids = [f"id-{number}" for number in range(30)]

    async def story(rest: RestNode) -> list[str]:
        connection = await rest.connect()
        await connection.send(b"".join(request("GET", "/_tasks", f"X-Opaque-Id: {opaque_id}") for opaque_id in ids))
        return [(await connection.response()).fields["x-opaque-id"] for _ in ids]

    assert with_node(story) == ids


def test_requests_with_bodies_can_be_sent_at_once_too() -> None:
    body = json.dumps({"action": "test", "duration": "1ms"}).encode()

    async def story(rest: RestNode) -> list[int]:
        connection = await rest.connect()
        work = request("POST", "/_taskfan/work", JSON_BODY, body=body)
        await connection.send(work + request("GET", "/") + work)
        return [(await connection.response()).status for _ in range(3)]

    assert with_node(story) == [200, 200, 200]


def test_a_body_may_come_in_chunks_and_slowly() -> None:
    async def story(rest: RestNode) -> Response:
        connection = await rest.connect()
        await connection.send(request("POST", "/_taskfan/work", JSON_BODY, "Transfer-Encoding: chunked"))
        for piece in (b'{"action":"test",', b'"duration":"1ms"}'):
            await connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await connection.send(b"0\r\n\r\n")
        return await connection.response()

    assert with_node(story).json["completed"] == 1


def test_a_body_larger_than_any_buffer_is_read_whole() -> None:
    plan = {"action": "test", "duration": "1ms", "description": "x" * 900_000}

    async def story(rest: RestNode) -> Response:
        return await rest.ask("POST", "/_taskfan/work", JSON_BODY, body=json.dumps(plan).encode())

    assert with_node(story).json["completed"] == 1


def test_a_client_may_ask_whether_to_send_its_body() -> None:
    async def story(rest: RestNode) -> tuple[bytes, Response]:
        connection = await rest.connect()
        body = b'{"action":"test","duration":"1ms"}'
        length = f"Content-Length: {len(body)}"
        await connection.send(request("POST", "/_taskfan/work", JSON_BODY, length, "Expect: 100-continue"))
        go_on = await connection.reader.readuntil(b"\r\n\r\n")
        await connection.send(body)
        return go_on, await connection.response()

    go_on, answer = with_node(story)
    assert go_on == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.status == 200


def test_a_post_without_a_length_has_no_body() -> None:
    async def story(rest: RestNode) -> list[int]:
        connection = await rest.connect()
        answers = [await connection.ask("POST", "/_tasks/_cancel?actions=nosuch") for _ in range(2)]
        answers.append(await connection.ask("POST", "/_tasks/_cancel?actions=nosuch", JSON_BODY, "Content-Length: 0"))
        return [answer.status for answer in answers]

    assert with_node(story) == [200, 200, 200]


@pytest.mark.parametrize("head", [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"])
def test_a_connection_is_closed_when_that_is_wanted(head: bytes) -> None:
    async def story(rest: RestNode) -> bytes:
        connection = await rest.connect()
        await connection.send(head)
        return await connection.rest()

    assert with_node(story).startswith(b"HTTP/1.1 200 OK\r\n")


def test_an_offer_of_another_protocol_is_not_taken() -> None:
    async def story(rest: RestNode) -> bytes:
        connection = await rest.connect()
        await connection.send(request("GET", "/", "Connection: Upgrade", "Upgrade: websocket"))
        return await connection.rest()

    assert with_node(story).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_big_answer_comes_whole_compressed_or_not() -> None:
    children = [{"action": f"child-{number}", "duration": "1h"} for number in range(2000)]
    work = json.dumps({"action": "test", "duration": "1h", "children": children}).encode()

    async def story(rest: RestNode) -> tuple[int, int]:
        await rest.ask("POST", "/_taskfan/work?wait_for_completion=false", JSON_BODY, body=work)
        await rest.until(lambda: len(rest.node.registry) == 2001)
        plain = await rest.ask("GET", "/_tasks?group_by=none&actions=child*")
        packed = await rest.ask("GET", "/_tasks?group_by=none&actions=child*", "Accept-Encoding: gzip")
        await rest.ask("POST", "/_tasks/_cancel?actions=test")
        return len(plain.json["tasks"]), len(json.loads(gzip.decompress(packed.body))["tasks"])

    assert with_node(story) == (2000, 2000)


# ---------------------------------------------------------------------- clients that go away


def test_work_is_cancelled_when_the_client_that_waits_for_it_goes_away() -> None:
    async def story(rest: RestNode) -> list[str]:
        reasons: list[str] = []
        rest.node.add_listener(
            lambda event, task: (
                reasons.append(task.cancelled.reason) if event == "cancelled" and task.cancelled else None
            )
        )
        connection = await rest.connect()
        await connection.send(request("POST", "/_taskfan/work", JSON_BODY, body=LONG_WORK))
        await rest.until(lambda: rest.task_actions == ["test", "child"])
        connection.close()
        await rest.until(lambda: rest.task_actions == [])
        return reasons

    assert with_node(story) == ["channel closed", "channel closed"]


def test_work_that_nobody_waits_for_goes_on_without_its_client() -> None:
    async def story(rest: RestNode) -> list[str]:
        await rest.ask("POST", "/_taskfan/work?wait_for_completion=false", JSON_BODY, body=LONG_WORK)
        running = rest.task_actions
        assert (await rest.ask("POST", "/_tasks/_cancel?actions=test&wait_for_completion=true")).status == 200
        return running

    assert with_node(story)[0] == "test"


def test_a_request_that_cannot_be_cancelled_runs_to_its_end_without_its_client() -> None:
    async def story(rest: RestNode) -> Any:
        connection = await rest.connect()
        await connection.send(request("GET", "/_cluster/health?wait_for_nodes=9&timeout=300ms"))
        await rest.until(lambda: rest.task_actions == ["cluster:monitor/health"])
        connection.close()
        return (await rest.ask("GET", "/_tasks?actions=cluster:monitor/health&group_by=none")).json["tasks"][0][
            "cancelled"
        ]

    assert with_node(story) is False


def test_a_client_that_goes_away_in_the_middle_of_its_body_leaves_nothing() -> None:
    async def story(rest: RestNode) -> int:
        connection = await rest.connect()
        await connection.send(request("POST", "/_taskfan/work", JSON_BODY, "Content-Length: 100") + b"{")
        connection.close()
        return (await rest.ask("GET", "/")).status

    assert with_node(story) == 200


def test_requests_behind_one_whose_client_went_away_are_not_begun() -> None:
    async def story(rest: RestNode) -> list[str]:
        seen: list[str] = []
        rest.node.add_listener(lambda event, task: seen.append(task.action) if event == "registered" else None)
        connection = await rest.connect()
        await connection.send(
            request("POST", "/_taskfan/work", JSON_BODY, body=STUBBORN_WORK.replace(b"1h", b"200ms"))
            + request("GET", "/_cluster/health")
        )
        await rest.until(lambda: rest.task_actions == ["test"])
        connection.writer.transport.abort()
        await rest.until(lambda: rest.task_actions == [])
        return seen

    assert with_node(story) == ["test"]


# ---------------------------------------------------------------------- bugs, and the end


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "target", ["/", "/_tasks", "/_tasks/x:1", "/_tasks?x", "/_tasks?pretty=x", "/nosuch", "/a/b/c"]
)
def test_answers_and_refusals_leave_no_cycles_to_the_garbage_collector(method: str, target: str) -> None:
    async def story(rest: RestNode) -> int:
        connection = await rest.connect()
        body = b"{" if method == "POST" else b""
        for _ in range(3):
            await connection.ask(method, target, JSON_BODY, body=body)
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                await connection.ask(method, target, JSON_BODY, body=body)
            return gc.collect()
        finally:
            gc.enable()

    # Waiting for a response makes some few of its own in the client.
    assert with_node(story) < 50


def test_a_bug_is_a_500_in_opensearchs_form_and_the_member_lives_on(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(node: Node, asked: RestRequest) -> Answer:
        raise KeyError("a bug")

    async def story(rest: RestNode) -> tuple[Response, Response]:
        routes = route_table()
        routes.add("GET", "/_bug", Route("GET", "/_bug", fail))
        rest.server.dispatcher = Dispatcher(rest.node, 1000, routes)
        return await rest.ask("GET", "/_bug", "X-Opaque-Id: me"), await rest.ask("GET", "/")

    broken, next_one = with_node(story)
    assert (broken.status, broken.json["status"], next_one.status) == (500, 500, 200)
    assert broken.json["error"]["root_cause"] == [{"type": "exception", "reason": "KeyError: 'a bug'"}]
    assert broken.fields["x-opaque-id"] == "me"
    assert "KeyError: 'a bug'" in caplog.text


def test_closing_lets_running_requests_end_and_takes_no_new_ones() -> None:
    async def story(rest: RestNode) -> tuple[Response, list[type[BaseException]]]:
        idle = await rest.connect()
        await idle.ask("GET", "/")
        connection = await rest.connect()
        await connection.send(request("GET", "/_cluster/health?wait_for_nodes=9&timeout=300ms"))
        await rest.until(lambda: rest.task_actions == ["cluster:monitor/health"])
        closing = asyncio.ensure_future(rest.server.close())
        answer = await connection.response()
        await closing
        assert await idle.rest() == b""
        assert await connection.rest() == b""
        with pytest.raises(ConnectionRefusedError) as refused:
            await rest.connect()
        # Once more changes nothing.
        await rest.server.close()
        return answer, [refused.type]

    answer, _ = with_node(story)
    assert (answer.status, answer.fields["connection"]) == (408, "close")


def test_closing_does_not_wait_for_ever() -> None:
    async def story(rest: RestNode) -> bytes:
        connection = await rest.connect()
        await connection.send(request("GET", "/_cluster/health?wait_for_nodes=9&timeout=1h"))
        await rest.until(lambda: rest.task_actions == ["cluster:monitor/health"])
        await rest.server.close()
        return await connection.rest()

    assert with_node(story, HttpSettings(close_timeout_s=0.05), leaves_tasks=True) == b""
