"""Clients that send or read slowly, or nothing: how long they are waited for, under virtual time and over no socket."""

from __future__ import annotations

import asyncio

import pytest

from taskfan.coordinator.http.messages import HttpSettings
from taskfan.coordinator.http.request_reader import MANY_WAITING
from tests.coordinator.http.memory_connection import HIGH_WATER_BYTES, Client, Told, answers, get, post, with_client

HASTY = HttpSettings(head_timeout_s=5, body_timeout_s=20, write_timeout_s=50, keep_alive_s=100, linger_s=1)


# ---------------------------------------------------------------------- slow senders


@pytest.mark.parametrize(
    ("begin", "filler", "limit_s", "part"),
    [
        (b"G", b"", 5, "head"),
        (b"GET / HTTP/1.1\r\nX: ", b"y", 5, "head"),
        (post("/", b"")[:-2] + b"Content-Length", b"", 5, "head"),
        (get("/", "Content-Length: 1000", method="POST"), b"y", 20, "body"),
        (get("/", "Transfer-Encoding: chunked", method="POST"), b"", 20, "body"),
    ],
)
def test_a_request_must_come_to_its_end_in_time(begin: bytes, filler: bytes, limit_s: int, part: str) -> None:
    async def story(client: Client) -> tuple[bytes, list[Told], bool]:
        # Long after it connected: what counts is when the request began.
        await asyncio.sleep(90)
        await client.send(begin)
        for _ in range(limit_s - 1):
            await asyncio.sleep(1)
            await client.send(*([filler] if filler else []))
        in_time = client.told
        await asyncio.sleep(1.5)
        told = answers(client.told)
        await asyncio.sleep(1.5)
        return in_time, told, client.transport.is_lost

    in_time, [told], is_lost = with_client(story, HASTY)
    assert in_time == b""
    assert (told.status, told.fields["connection"], is_lost) == (408, "close", True)
    assert told.body.decode() == f"the {part} of the request was not complete after [{limit_s}s]"


def test_each_request_has_its_own_time_though_it_begins_in_the_same_piece_as_the_last_one_ends() -> None:
    async def story(client: Client) -> list[int]:
        request = get("/")
        for _ in range(5):
            await client.send(request[3:] + request[:3] if client.told else request + request[:3])
            await asyncio.sleep(4)
        assert [told.status for told in answers(client.told)] == [200] * 5
        await asyncio.sleep(2)
        return [told.status for told in answers(client.told)]

    assert with_client(story, HASTY) == [200] * 5 + [408]


def test_an_answer_gives_the_request_behind_it_no_more_time() -> None:
    async def story(client: Client) -> list[int]:
        await client.send(get("/wait"), b"GET")
        await asyncio.sleep(3)
        client.session.may_end.set()
        await asyncio.sleep(1.5)
        assert [told.status for told in answers(client.told)] == [200]
        await asyncio.sleep(1)
        return [told.status for told in answers(client.told)]

    assert with_client(story, HASTY) == [200, 408]


def test_a_request_whose_rest_we_do_not_read_is_not_late() -> None:
    async def story(client: Client) -> list[int]:
        await client.send(get("/wait"), get("/x") * MANY_WAITING + b"GET")
        assert client.transport.is_reading_paused
        await asyncio.sleep(60)
        client.session.may_end.set()
        await client.settle()
        await client.send(b" /y HTTP/1.1\r\n\r\n")
        return [told.status for told in answers(client.told)]

    assert with_client(story, HASTY) == [200] * (MANY_WAITING + 2)


def test_a_late_request_does_not_cost_the_answer_to_the_one_before() -> None:
    async def story(client: Client) -> list[int]:
        await client.send(get("/wait"), b"GET")
        await asyncio.sleep(30)
        assert client.told == b""
        client.session.may_end.set()
        await client.settle()
        return [told.status for told in answers(client.told)]

    assert with_client(story, HASTY) == [200, 408]


def test_a_connection_may_be_idle_for_some_time_after_each_answer() -> None:
    async def story(client: Client) -> list[bool]:
        lost = []
        for _ in range(3):
            await asyncio.sleep(99)
            await client.send(get("/"))
            lost.append(client.transport.is_lost)
        await asyncio.sleep(99)
        lost.append(client.transport.is_lost)
        await asyncio.sleep(2)
        return [*lost, client.transport.is_lost]

    assert with_client(story, HASTY) == [False, False, False, False, True]


def test_a_connection_that_waits_for_an_answer_is_not_idle() -> None:
    async def story(client: Client) -> tuple[bool, list[int], bool]:
        await client.send(get("/wait"))
        await asyncio.sleep(1000)
        was_lost = client.transport.is_lost
        client.session.may_end.set()
        await client.settle()
        told = [told.status for told in answers(client.told)]
        await asyncio.sleep(99)
        assert not client.transport.is_lost
        await asyncio.sleep(2)
        return was_lost, told, client.transport.is_lost

    assert with_client(story, HASTY) == (False, [200], True)


def test_requests_that_are_answered_at_once_leave_the_timer_alone() -> None:
    async def story(client: Client) -> int:
        timer = client.connection._timer
        for _ in range(50):
            await client.send(get("/"))
            assert client.connection._timer is timer
        return len(answers(client.told))

    assert with_client(story) == 50


# ---------------------------------------------------------------------- slow readers


def test_a_big_answer_is_written_in_pieces_as_the_client_reads() -> None:
    async def story(client: Client) -> tuple[int, list[Told]]:
        client.transport.client_reads = False
        await client.send(get("/big/5000") + get("/2"))
        most = client.transport.unread_bytes
        while client.transport.unread_bytes:
            client.transport.read(100_000)
            await client.settle()
            most = max(most, client.transport.unread_bytes)
        return most, answers(client.told)

    most, (big, small) = with_client(story)
    assert most < 600_000
    assert big.body == b"x" * 5_000_000
    assert small.body.startswith(b"('GET', '/2'")


def test_the_next_request_is_not_begun_while_the_client_does_not_read() -> None:
    async def story(client: Client) -> tuple[list[str], list[str]]:
        client.transport.client_reads = False
        await client.send(get("/big/100") + get("/2"), get("/3"))
        began = list(client.session.began)
        client.transport.client_reads = True
        client.transport.read(HIGH_WATER_BYTES * 2)
        await client.settle()
        return began, list(client.session.began)

    assert with_client(story) == (["/big/100"], ["/big/100", "/2", "/3"])


@pytest.mark.parametrize("request_", [get("/big/100"), get("/big/5000"), get("/big/100", "Connection: close")])
def test_a_client_that_reads_too_slowly_is_given_up(request_: bytes) -> None:
    async def story(client: Client) -> tuple[bool, bool]:
        client.transport.client_reads = False
        await client.send(request_)
        await asyncio.sleep(49)
        before = client.transport.is_lost
        await asyncio.sleep(2)
        return before, client.transport.is_lost

    assert with_client(story, HASTY) == (False, True)


def test_a_client_that_never_reads_a_small_last_answer_is_given_up_too() -> None:
    async def story(client: Client) -> tuple[bool, bool]:
        client.transport.client_reads = False
        await client.send(get("/", "Connection: close"))
        await asyncio.sleep(49)
        before = client.transport.is_lost
        await asyncio.sleep(2)
        return before, client.transport.is_lost

    assert with_client(story, HASTY) == (False, True)


def test_a_client_that_reads_slowly_but_does_is_served() -> None:
    async def story(client: Client) -> int:
        client.transport.client_reads = False
        await client.send(get("/big/5000"))
        while client.transport.unread_bytes:
            await asyncio.sleep(40)
            client.transport.read(1 << 20)
            await client.settle()
        return len(answers(client.told)[0].body)

    assert with_client(story, HASTY) == 5_000_000
