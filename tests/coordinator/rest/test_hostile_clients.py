"""Odd bytes, slow clients and sizes beyond the limits: an answer or a closed connection, and the member lives on."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskfan.coordinator.http.messages import HttpSettings
from tests.coordinator.rest.rest_node import Response, RestNode, request, with_node

HASTY = HttpSettings(head_timeout_s=0.1, body_timeout_s=0.1, linger_s=0.1)
SMALL = HttpSettings(max_content_bytes=1000, linger_s=0.1)
JSON_BODY = "Content-Type: application/json"


def answer_to(data: bytes, http: HttpSettings | None = None) -> tuple[Response, bytes]:
    """The answer to these bytes, and what comes after it until the server closes."""

    async def story(rest: RestNode) -> tuple[Response, bytes]:
        connection = await rest.connect()
        await connection.send(data)
        answer = await connection.response()
        rest_of_it = await connection.rest()
        assert (await rest.ask("GET", "/")).status == 200
        return answer, rest_of_it

    return with_node(story, http)


def reason(answer: Response) -> str:
    error = answer.json["error"]
    told: str = error if isinstance(error, str) else error["reason"]
    return told


@pytest.mark.parametrize(
    ("data", "status", "told"),
    [
        (b"FOO / HTTP/1.1\r\n\r\n", 405, "Unexpected HTTP method"),
        (b"GET / HTTP/x\r\n\r\n", 400, "invalid HTTP request"),
        (b"\x16\x03\x01\x02\x00\x01\x00", 405, "Unexpected HTTP method"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400, "invalid HTTP request"),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400, "invalid HTTP request"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400, "invalid HTTP request"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na", 400, "invalid HTTP request"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "invalid HTTP request"),
    ],
)
def test_what_is_no_request_gets_an_answer_in_opensearchs_form(data: bytes, status: int, told: str) -> None:
    answer, _ = answer_to(data)
    assert answer.status == status
    assert reason(answer).startswith(told)
    assert answer.fields["x-opensearch-version"] == "OpenSearch/3.8.0 (opensearch)"
    assert answer.fields["connection"] == "close"


def test_a_good_request_before_broken_bytes_is_answered_and_then_they_are() -> None:
    async def story(rest: RestNode) -> tuple[Response, bytes]:
        connection = await rest.connect()
        await connection.send(request("GET", "/_tasks", "X-Opaque-Id: good") + b"\x00\x00\x00\r\n\r\n")
        return await connection.response(), await connection.rest()

    answer, after = with_node(story)
    assert (answer.status, answer.fields["x-opaque-id"]) == (200, "good")
    assert after.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")


# ---------------------------------------------------------------------- sizes


def test_headers_beyond_16384_bytes_are_refused_without_an_opaque_id() -> None:
    answer, after = answer_to(request("GET", "/_tasks", f"X-Opaque-Id: {'x' * 20_000}"))
    assert (answer.status, after) == (400, b"")
    assert answer.json["error"]["type"] == "too_long_http_header_exception"
    assert reason(answer) == "HTTP header is larger than 16384 bytes."
    assert "x-opaque-id" not in answer.fields


def test_many_small_headers_count_together() -> None:
    answer, _ = answer_to(request("GET", "/", *(f"A{number}: {'x' * 90}" for number in range(200))))
    assert answer.json["error"]["type"] == "too_long_http_header_exception"


def test_a_header_that_never_ends_is_refused_while_it_comes() -> None:
    async def story(rest: RestNode) -> Response:
        connection = await rest.connect()
        await connection.send(b"GET / HTTP/1.1\r\nX: ")
        try:
            for _ in range(1000):
                await connection.send(b"x" * 5000)
        except ConnectionError:
            pass
        return await connection.response()

    answer = with_node(story, HttpSettings(linger_s=1))
    assert answer.json["error"]["type"] == "too_long_http_header_exception"


def test_a_request_line_beyond_4096_bytes_is_refused() -> None:
    answer, _ = answer_to(request("GET", f"/_tasks?actions={'x' * 5000}"))
    assert (answer.status, reason(answer)) == (400, "An HTTP line is larger than 4096 bytes.")

    async def story(rest: RestNode) -> int:
        return (await rest.ask("GET", f"/_tasks?actions={'x' * 4000}")).status

    assert with_node(story) == 200


@pytest.mark.parametrize(
    "data",
    [
        request("POST", "/_tasks/_cancel", JSON_BODY, body=b"x" * 1001),
        request("POST", "/_tasks/_cancel", JSON_BODY, "Content-Length: 1001", "Expect: 100-continue"),
        request("POST", "/_tasks/_cancel", JSON_BODY, "Transfer-Encoding: chunked") + b"3e9\r\n" + b"x" * 1001,
    ],
)
def test_a_body_beyond_the_limit_is_413(data: bytes) -> None:
    answer, _ = answer_to(data, SMALL)
    assert (answer.status, answer.json["status"]) == (413, 413)
    assert "http.max_content_length [1000]" in reason(answer)


def test_a_compressed_body_counts_as_what_it_becomes() -> None:
    async def story(rest: RestNode) -> Response:
        fields = (JSON_BODY, "Content-Encoding: gzip")
        return await rest.ask("POST", "/_taskfan/work", *fields, body=gzip.compress(b" " * 5000))

    assert with_node(story, SMALL).status == 413


def test_a_body_as_large_as_the_limit_is_taken() -> None:
    async def story(rest: RestNode) -> int:
        return (await rest.ask("POST", "/_tasks/_cancel?actions=x", JSON_BODY, body=b"x" * 1000)).status

    assert with_node(story, SMALL) == 200


def test_a_body_as_deep_as_python_cannot_go_is_refused() -> None:
    async def story(rest: RestNode) -> Response:
        return await rest.ask("POST", "/_taskfan/work", JSON_BODY, body=b'{"a":' * 20_000)

    assert with_node(story).status == 400


# ---------------------------------------------------------------------- slow clients


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"GET / HT", "head"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-A", "head"),
        (request("POST", "/_tasks/_cancel", JSON_BODY, "Content-Length: 10") + b"{", "body"),
        (request("POST", "/_tasks/_cancel", JSON_BODY, "Transfer-Encoding: chunked"), "body"),
    ],
)
def test_a_request_that_does_not_come_to_its_end_is_given_up(data: bytes, part: str) -> None:
    answer, after = answer_to(data, HASTY)
    assert (answer.status, after) == (408, b"")
    assert reason(answer) == f"the {part} of the request was not complete after [0.1s]"


def test_bytes_that_come_slowly_do_not_lengthen_the_wait() -> None:
    async def story(rest: RestNode) -> Response:
        connection = await rest.connect()
        for byte in b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000:
            try:
                await connection.send(bytes([byte]))
            except ConnectionError:
                break
            if connection.reader._buffer:  # type: ignore[attr-defined]
                break
            await rest.node.clock.sleep(0.005)
        return await connection.response()

    assert with_node(story, HASTY).status == 408


def test_a_connection_without_a_request_is_closed_in_the_end() -> None:
    async def story(rest: RestNode) -> list[bytes]:
        silent, used, blank = await rest.connect(), await rest.connect(), await rest.connect()
        await used.ask("GET", "/")
        await blank.send(b"\r\n\r\n")
        return [await connection.rest() for connection in (silent, used, blank)]

    assert with_node(story, HttpSettings(keep_alive_s=0.3)) == [b"", b"", b""]


def test_a_client_that_does_not_read_its_answer_is_given_up() -> None:
    children = [{"action": f"child-{number}", "duration": "1h"} for number in range(3000)]
    work = json.dumps({"action": "test", "duration": "1h", "children": children}).encode()

    async def story(rest: RestNode) -> bool:
        await rest.ask("POST", "/_taskfan/work?wait_for_completion=false", JSON_BODY, body=work)
        await rest.until(lambda: len(rest.node.registry) == 3001)
        connection = await rest.connect()
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await connection.send(request("GET", "/_tasks?detailed") * 20)
        await rest.until(lambda: rest.server.connection_count == 1)
        await rest.until(lambda: not rest.server.connection_count)
        return (await rest.ask("POST", "/_tasks/_cancel?actions=test")).status == 200

    assert with_node(story, HttpSettings(write_timeout_s=0.2))


# ---------------------------------------------------------------------- anything

PIECES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            b"GET / HTTP/1.1\r\n",
            b"POST /_tasks/_cancel?actions=x HTTP/1.1\r\n",
            b"HEAD /_tasks HTTP/1.0\r\n",
            b"OPTIONS * HTTP/1.1\r\n",
            b"CONNECT x:1 HTTP/1.1\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET http://x/_tasks HTTP/1.1\r\n",
            b"GET /_tasks?%zz&a=%ff HTTP/1.1\r\n",
            b"GET /\xff\xfe?\x80 HTTP/1.1\r\n",
            b"Content-Length: 5\r\n",
            b"Content-Length: 99999999999999999999999\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Content-Type: application/json\r\n",
            b"Content-Encoding: gzip\r\n",
            b"X-Opaque-Id: \x01\x7f\xff\r\n",
            b"Accept: \xff\xfe/\x80;q=a\r\n",
            b"Accept-Encoding: *;q=\xff\r\n",
            b"Connection: upgrade\r\nUpgrade: h2c\r\n",
            b"Expect: 100-continue\r\n",
            b"\r\n",
            b"\r\n\r\n",
            b"hello",
            b"5\r\nhello\r\n0\r\n\r\n",
        ]
    ),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(PIECES, min_size=1, max_size=8), min_size=1, max_size=12))
def test_any_bytes_are_answered_or_the_connection_is_closed(conversations: list[list[bytes]]) -> None:
    async def story(rest: RestNode) -> int:
        for pieces in conversations:
            connection = await rest.connect()
            try:
                for piece in pieces:
                    await connection.send(piece)
                # Whatever was half-sent, the client sends no more.
                connection.writer.write_eof()
                assert not (said := await connection.rest()) or said.startswith(b"HTTP/1.1 ")
            except ConnectionError:
                pass
            connection.close()
        return (await rest.ask("GET", "/_tasks")).status

    assert with_node(story) == 200
