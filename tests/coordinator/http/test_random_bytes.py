"""Conversations cut and broken at random: the answers do not depend on the cuts, and a second parser reads the same."""

from __future__ import annotations

import asyncio
import itertools
import random

import h11
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from taskfan.coordinator.http.messages import HttpRequest, HttpSettings
from taskfan.coordinator.http.request_reader import RequestReader
from tests.coordinator.http.memory_connection import Client, answers, with_client

HASTY = HttpSettings(head_timeout_s=1, body_timeout_s=1, keep_alive_s=10, linger_s=1, max_content_bytes=300)
BREAKERS = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\0",
    b":",
    b";",
    b",",
    b"0",
    b"1",
    b"f",
    b"\xff",
    b"GET / ",
]
BREAKERS += [b"Connection: upgrade\r\nUpgrade: x\r\n"]
BREAKERS += [
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1",
]

targets = st.text("abc/?=&%20", min_size=1, max_size=20).map(lambda text: b"/" + text.encode())
values = st.text("abc ,;=\"'()é", max_size=20).map(lambda text: text.encode("latin-1"))
names = st.sampled_from([b"X-Kept", b"x-kept", b"Content-Type", b"Host", b"X-Other", b"Accept"])
fields = st.lists(st.tuples(names, values), max_size=4)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One good request: without a body, with a length, or in chunks."""
    method = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"HEAD"]))
    head = b"%b %b HTTP/1.1\r\n" % (method, draw(targets))
    head += b"".join(b"%b: %b\r\n" % field for field in draw(fields))
    body = draw(st.binary(max_size=60))
    kind = draw(st.sampled_from(["none", "length", "chunks"]))
    if kind == "none":
        return head + b"\r\n"
    if kind == "length":
        return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    size = draw(st.integers(1, 20))
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    return (
        head
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks)
        + b"0\r\n\r\n"
    )


conversations = st.lists(requests(), min_size=1, max_size=6)


def cut(data: bytes, chance: random.Random, most: int = 12) -> list[bytes]:
    """The same bytes in pieces."""
    cuts = sorted({0, len(data), *(chance.randrange(len(data) + 1) for _ in range(chance.randrange(most)))})
    return [data[start:end] for start, end in itertools.pairwise(cuts)]


def broken(data: bytes, chance: random.Random) -> bytes:
    """The same bytes with something inserted, removed, changed or said twice."""
    whole = bytearray(data)
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(whole) + 1)
        end = min(len(whole), at + chance.randrange(1, 20))
        match chance.randrange(4):
            case 0:
                whole[at:at] = chance.choice(BREAKERS)
            case 1:
                del whole[at:end]
            case 2:
                whole[at : at + 1] = chance.choice(BREAKERS)
            case _:
                whole[at:at] = whole[at:end]
    return bytes(whole)


def told(pieces: list[bytes]) -> bytes:
    """All that a client is told, who then waits for the connection to end."""

    async def story(client: Client) -> bytes:
        await client.send(*pieces)
        # An idle connection ends last; every other one before.
        await asyncio.sleep(15)
        assert client.transport.is_lost
        return client.told

    return with_client(story, HASTY)


def read(data: bytes) -> tuple[list[HttpRequest], bool]:
    """The requests in these bytes, and whether what follows them is refused."""
    reader = RequestReader(HttpSettings(), frozenset())
    reader.feed(data)
    items = [reader.take() for _ in range(len(reader.waiting))]
    whole = [item for item in items if isinstance(item, HttpRequest)]
    return whole, len(whole) < len(items)


@given(conversations, st.randoms(use_true_random=False))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_good_requests_are_all_answered_however_they_are_cut(conversation: list[bytes], chance: random.Random) -> None:
    data = b"".join(conversation)
    methods = [request.partition(b" ")[0].decode() for request in conversation]
    whole = told([data])
    assert [answer.status for answer in answers(whole, methods)] == [200] * len(conversation)
    assert told(cut(data, chance)) == whole


@given(conversations, st.randoms(use_true_random=False))
@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
def test_broken_requests_end_with_an_answer_or_a_close_however_they_are_cut(
    conversation: list[bytes], chance: random.Random
) -> None:
    data = broken(b"".join(conversation), chance)
    whole = told([data])
    methods = [request.method for request in read(data)[0]]
    statuses = [answer.status for answer in answers(whole, methods)]
    # At most the last is a refusal.
    assert all(status == 200 for status in statuses[:-1])
    assert set(statuses) <= {200, 400, 405, 408, 413}
    assert told(cut(data, chance)) == whole


@given(st.lists(st.binary(max_size=50), max_size=6))
@example([b"\r\n" * 30, b"\0"])
@settings(max_examples=60)
def test_garbage_ends_with_an_answer_or_a_close(pieces: list[bytes]) -> None:
    assert {answer.status for answer in answers(told(pieces))} <= {400, 405, 408}


# ---------------------------------------------------------------------- a second opinion


def read_by_h11(data: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Method, target and body of what another parser reads, as far as it can."""
    connection = h11.Connection(h11.SERVER)
    found: list[tuple[bytes, bytes, bytes]] = []
    connection.receive_data(data)
    connection.receive_data(b"")
    head, body = None, b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return found
        match event:
            case h11.Request():
                head, body = event, b""
            case h11.Data():
                body += event.data
            case h11.EndOfMessage():
                assert head is not None
                found.append((head.method, head.target, body))
                try:
                    connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                    connection.send(h11.EndOfMessage())
                    connection.start_next_cycle()
                except h11.LocalProtocolError:
                    return found
            case _:
                return found


def with_host(data: bytes) -> bytes:
    """The other parser wants one Host in each request, where we take what comes."""
    return data.replace(b"Host: ", b"X-Host: ").replace(b" HTTP/1.1\r\n", b" HTTP/1.1\r\nHost: h\r\n")


@given(conversations)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_a_second_parser_reads_the_same_good_requests(conversation: list[bytes]) -> None:
    data = with_host(b"".join(conversation))
    whole, is_refused = read(data)
    assert not is_refused
    assert [(request.method.encode(), request.target, request.body) for request in whole] == read_by_h11(data)


@given(conversations, st.randoms(use_true_random=False))
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_of_broken_requests_a_second_parser_reads_none_otherwise(
    conversation: list[bytes], chance: random.Random
) -> None:
    data = broken(with_host(b"".join(conversation)), chance)
    ours = [(request.method.encode(), request.target, request.body) for request in read(data)[0]]
    theirs = read_by_h11(data)
    # Either may be stricter than the other; where both read a request, it is the same one.
    for one, other in zip(ours, theirs, strict=False):
        assert one == other


@pytest.mark.parametrize("seed", range(5))
def test_long_runs_of_broken_requests_do_not_depend_on_how_they_are_cut(seed: int) -> None:
    chance = random.Random(seed)
    good = [
        b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
        b"POST /b HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        b"PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
        b"POST /d HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
        b"GET /e HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"POST /g HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc",
        b"GET /f HTTP/1.0\r\n\r\n",
    ]
    for _ in range(150):
        data = broken(b"".join(chance.choices(good, k=chance.randrange(1, 8))), chance)
        reader_a, reader_b = (RequestReader(HASTY, frozenset([b"host"])) for _ in range(2))
        reader_a.feed(data)
        for piece in cut(data, chance, most=30):
            reader_b.feed(piece)
        assert repr(list(reader_a.waiting)) == repr(list(reader_b.waiting))
        assert (reader_a.part, reader_a.is_ended) == (reader_b.part, reader_b.is_ended)
