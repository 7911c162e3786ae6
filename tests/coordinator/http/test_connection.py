"""One connection: its requests take turns, and it ends as it should; under virtual time and over no socket."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from taskfan.coordinator.http.messages import HttpSettings
from taskfan.coordinator.http.request_reader import MANY_WAITING, MANY_WAITING_BYTES
from tests.coordinator.http.memory_connection import (
    Client,
    EchoSession,
    Told,
    answers,
    connect,
    get,
    post,
    with_client,
)


def bodies(told: bytes) -> list[str]:
    return [answer.body.decode() for answer in answers(told)]


# ---------------------------------------------------------------------- turns


def test_an_answer_has_a_status_line_fields_and_a_length() -> None:
    async def story(client: Client) -> bytes:
        await client.send(get("/a", "X-Kept: 1"))
        return client.told

    assert with_client(story) == (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 42\r\n\r\n"
        b"('GET', '/a', [(b'x-kept', (b'1',))], b'')"
    )


def test_requests_are_answered_in_order_though_the_first_takes_longest() -> None:
    async def story(client: Client) -> tuple[list[str], list[str]]:
        await client.send(get("/wait") + get("/2"), get("/3"))
        began = list(client.session.began)
        client.session.may_end.set()
        await client.settle()
        return began, [body.split("'")[3] for body in bodies(client.told)]

    assert with_client(story) == (["/wait"], ["/wait", "/2", "/3"])


def test_the_answer_to_head_says_its_length_and_has_no_body() -> None:
    async def story(client: Client) -> list[Told]:
        await client.send(get("/a", method="HEAD") + get("/big/100", method="HEAD") + get("/b"))
        return answers(client.told, ["HEAD", "HEAD", "GET"])

    small, big, last = with_client(story)
    assert (small.body, small.fields["content-length"]) == (b"", "23")
    assert (big.body, big.fields["content-length"]) == (b"", "100000")
    assert last.body.startswith(b"('GET', '/b'")


@pytest.mark.parametrize(
    "last",
    [get("/", "Connection: close"), b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"],
)
def test_a_connection_ends_with_the_answer_to_its_last_request(last: bytes) -> None:
    async def story(client: Client) -> tuple[list[str], bool, list[str]]:
        await client.send(get("/wait") + last + get("/never"), get("/never"))
        client.session.may_end.set()
        await client.settle()
        told = answers(client.told)
        return client.session.began, client.transport.is_lost, [t.fields.get("connection", "") for t in told]

    assert with_client(story) == (["/wait", "/"], True, ["", "close"])


def test_a_refusal_takes_its_turn_behind_the_requests_before_it() -> None:
    async def story(client: Client) -> list[tuple[int, str]]:
        await client.send(get("/wait") + get("/2") + b"\0\0\0" + get("/never"), get("/never"))
        assert client.told == b""
        client.session.may_end.set()
        await client.settle()
        return [(told.status, told.fields.get("connection", "")) for told in answers(client.told)]

    assert with_client(story) == [(200, ""), (200, ""), (405, "close")]


def test_a_refused_client_is_told_the_end_and_may_still_send_for_a_while() -> None:
    async def story(client: Client) -> list[bool]:
        await client.send(get("/wait"), get("/x") * MANY_WAITING + b"\0")
        assert client.transport.is_reading_paused
        client.session.may_end.set()
        await client.settle()
        assert answers(client.told)[-1].status == 405
        ends = [client.transport.has_eof, client.transport.is_lost]
        await client.send(get("/never"))
        await asyncio.sleep(0.9)
        ends.append(client.transport.is_lost)
        await asyncio.sleep(0.2)
        return [*ends, client.transport.is_lost]

    assert with_client(story, HttpSettings(linger_s=1)) == [True, False, False, True]


def test_what_waits_behind_an_answer_that_could_not_be_written_is_not_begun() -> None:
    async def story(client: Client) -> list[str]:
        client.transport.is_broken = True
        await client.send(get("/1") + get("/2"))
        return client.session.began

    assert with_client(story) == ["/1"]


def test_many_requests_at_once_let_others_go_first_now_and_then() -> None:
    async def story(client: Client) -> tuple[int, list[str]]:
        turns = 0

        async def take_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        others = asyncio.ensure_future(take_turns())
        client.connection.data_received(b"".join(get(f"/{number}") for number in range(1000)))
        while len(client.session.began) < 1000:  # noqa: ASYNC110 - it is turns that are counted
            await asyncio.sleep(0)
        others.cancel()
        return turns, client.session.began

    turns, began = with_client(story)
    assert turns >= 10
    assert began == [f"/{number}" for number in range(1000)]


def test_no_more_is_read_while_many_requests_wait() -> None:
    async def story(client: Client) -> tuple[list[bool], int]:
        reads = []
        await client.send(get("/wait"))
        for piece in (get("/x") * (MANY_WAITING - 1), get("/x")):
            await client.send(piece)
            reads.append(not client.transport.is_reading_paused)
        client.session.may_end.set()
        await client.settle()
        await client.send(get("/y"))
        return [*reads, not client.transport.is_reading_paused], len(answers(client.told))

    assert with_client(story) == ([True, False, True], MANY_WAITING + 2)


def test_no_more_is_read_while_large_bodies_wait_but_one_alone_is_read_whole() -> None:
    large = post("/large", b"x" * (MANY_WAITING_BYTES + 1))

    async def story(client: Client) -> list[bool]:
        reads = []
        for piece in (large[:-1], large[-1:], get("/wait"), large[:-1]):
            await client.send(piece)
            reads.append(not client.transport.is_reading_paused)
        client.session.may_end.set()
        await client.settle()
        await client.send(large[-1:])
        assert len(answers(client.told)) == 3
        return [*reads, not client.transport.is_reading_paused]

    assert with_client(story) == [True, True, True, False, True]


# ---------------------------------------------------------------------- bodies that are asked for


def test_a_client_is_told_to_send_its_body_when_its_turn_has_come() -> None:
    async def story(client: Client) -> tuple[bytes, list[int]]:
        await client.send(get("/wait"), get("/b", "Expect: 100-continue", "Content-Length: 2", method="POST"))
        assert client.told == b""
        client.session.may_end.set()
        await client.settle()
        before_the_body = client.told
        await client.send(b"ab")
        return before_the_body, [told.status for told in answers(client.told)]

    told, statuses = with_client(story)
    assert told.endswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert statuses == [200, 100, 200]


def test_a_client_that_does_not_wait_to_be_told_is_not_told() -> None:
    async def story(client: Client) -> list[int]:
        await client.send(get("/b", "Expect: 100-continue", "Content-Length: 2", method="POST") + b"ab")
        return [told.status for told in answers(client.told)]

    assert with_client(story) == [200]


def test_a_body_too_large_is_refused_before_it_is_sent() -> None:
    async def story(client: Client) -> list[int]:
        await client.send(get("/b", "Expect: 100-continue", "Content-Length: 11", method="POST"))
        return [told.status for told in answers(client.told)]

    assert with_client(story, HttpSettings(max_content_bytes=10)) == [413]


# ---------------------------------------------------------------------- ends


def test_a_client_that_hangs_up_is_gone_for_who_works_for_it_also_behind_other_requests() -> None:
    async def story(client: Client) -> tuple[bool, list[str]]:
        await client.send(get("/wait"), get("/2") * 3)
        await client.hang_up()
        client.session.may_end.set()
        await client.settle()
        return client.session.is_gone, client.session.began

    assert with_client(story) == (True, ["/wait"])


def test_a_client_that_hangs_up_after_its_answer_leaves_nobody_to_tell() -> None:
    async def story(client: Client) -> bool:
        await client.send(get("/"))
        await client.hang_up()
        return client.session.is_gone

    assert with_client(story) is False


def test_a_bug_costs_the_connection_and_is_told_to_the_clock() -> None:
    async def story(client: Client) -> tuple[bytes, bool, list[str]]:
        await client.send(get("/bug") + get("/2"))
        return client.told, client.transport.is_lost, [name for name, _ in client.bugs]

    assert with_client(story, bugs=1) == (b"", True, ["http request"])


def test_closing_ends_idle_connections_and_those_that_wait_after_their_answer() -> None:
    async def story(client: Client) -> tuple[list[bool], list[Told]]:
        session = EchoSession()
        idle = connect(client.server, session, [])
        in_head = connect(client.server, session, [])
        await in_head.send(b"GET")
        in_body = connect(client.server, session, [])
        await in_body.send(get("/", "Content-Length: 1", method="POST"))
        await client.send(get("/wait") + get("/2"))
        closing = asyncio.ensure_future(client.server.close())
        await client.settle()
        lost = [each.transport.is_lost for each in (idle, in_head, in_body, client)]
        await in_body.send(b"x")
        client.session.may_end.set()
        await closing
        told = answers(in_body.told) + answers(client.told)
        return lost, told

    lost, told = with_client(story)
    assert lost == [True, True, False, False]
    # What had not begun is not begun any more.
    assert [(answer.status, answer.fields["connection"]) for answer in told] == [(200, "close"), (200, "close")]


def test_closing_cuts_off_who_takes_too_long() -> None:
    async def story(client: Client) -> tuple[bool, float]:
        loop = asyncio.get_running_loop()
        await client.send(get("/wait"))
        begun_s = loop.time()
        await client.server.close()
        await client.settle()
        return client.session.is_gone, loop.time() - begun_s

    assert with_client(story, HttpSettings(close_timeout_s=3)) == (True, 3.0)


def test_connections_beyond_the_limit_are_told_so_and_many_more_are_not_even_told() -> None:
    async def story(client: Client) -> tuple[list[int], list[bytes], int]:
        second = connect(client.server, EchoSession(), [])
        beyond = [connect(client.server, EchoSession(), []) for _ in range(70)]
        await client.send(get("/"))
        await second.send(get("/"))
        await asyncio.sleep(2)
        assert all(each.transport.is_lost for each in beyond)
        again = connect(client.server, EchoSession(), [])
        refused = client.server.connection_count
        await second.hang_up()
        await again.hang_up()
        third = connect(client.server, EchoSession(), [])
        await third.send(get("/"))
        statuses = [answers(each.told)[0].status for each in (client, second, third, beyond[0], beyond[63])]
        await third.hang_up()
        return statuses, [beyond[64].told, beyond[69].told], refused

    statuses, untold, refused = with_client(story, HttpSettings(max_connections=2, linger_s=1))
    assert statuses == [200, 200, 200, 503, 503]
    assert untold == [b"", b""]
    assert refused == 3


def test_a_closed_connection_is_freed_without_the_garbage_collector() -> None:
    async def story(client: Client) -> bool:
        other = connect(client.server, EchoSession(), [])
        await other.send(get("/a") + b"GET")
        alive = weakref.ref(other.connection)
        gc.disable()
        try:
            await other.hang_up()
            # The transport of a socket lets go of its protocol then.
            del other.transport._connection
            del other
            return alive() is None
        finally:
            gc.enable()

    assert with_client(story)
