"""Requests out of bytes: however they are cut, within limits, and nothing that two readers could read two ways."""

from __future__ import annotations

import gc
import weakref

import pytest

from taskfan.coordinator.http.messages import HttpRequest, HttpSettings
from taskfan.coordinator.http.request_reader import MANY_WAITING, MANY_WAITING_BYTES, RequestReader
from taskfan.node.errors import TaskfanError

KEPT = frozenset([b"x-kept", b"content-type"])


def reader_of(*pieces: bytes, settings: HttpSettings | None = None) -> RequestReader:
    reader = RequestReader(settings or HttpSettings(), KEPT)
    for piece in pieces:
        reader.feed(piece)
    return reader


def read(*pieces: bytes, settings: HttpSettings | None = None) -> list[HttpRequest | tuple[int, str]]:
    """The requests, and the status and reason of a refusal."""
    reader = reader_of(*pieces, settings=settings)
    items = [reader.take() for _ in range(len(reader.waiting))]
    return [(int(i.http_status), str(i.reason)) if isinstance(i, TaskfanError) else i for i in items]


def request(
    method: str, target: bytes, body: bytes = b"", *, keep_alive: bool = True, **fields: list[bytes]
) -> HttpRequest:
    named = {name.replace("_", "-").encode(): values for name, values in fields.items()}
    return HttpRequest(method, target, named, body, keep_alive=keep_alive)


CONVERSATION = (
    b"\r\nGET /a?b=%20c HTTP/1.1\r\nHost: h\r\nX-Kept: 1\r\nx-kept:  2 \r\nX-Empty:\r\nX-KEPT:\r\n\r\n"
    b"POST /b HTTP/1.1\r\nContent-Length: 5\r\nContent-Type: a/b\r\nX-Other: no\r\n\r\nhello"
    b"PUT /c HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n"
    b'3\r\nabc\r\n0002;name=value;other="quoted \\" text"\r\nde\r\n0\r\nX-Kept: trailing\r\nX-Kept2: v\r\n\r\n'
    b"HEAD / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
    b"DELETE * HTTP/1.1\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\n\r\n"
)
SAID = [
    request("GET", b"/a?b=%20c", x_kept=[b"1", b"2", b""]),
    request("POST", b"/b", b"hello", content_type=[b"a/b"]),
    request("PUT", b"/c", b"abcde"),
    request("HEAD", b"/"),
    request("DELETE", b"*", keep_alive=False),
]


def test_a_conversation_is_read_whole() -> None:
    assert read(CONVERSATION) == SAID


def test_a_conversation_may_be_cut_anywhere() -> None:
    for cut in range(len(CONVERSATION) + 1):
        assert read(CONVERSATION[:cut], CONVERSATION[cut:]) == SAID


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_conversation_may_come_in_small_pieces(size: int) -> None:
    assert read(*(CONVERSATION[at : at + size] for at in range(0, len(CONVERSATION), size))) == SAID


def test_fields_that_nobody_reads_are_not_kept() -> None:
    [item] = read(b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: secret\r\nCookie: c\r\n\r\n")
    assert isinstance(item, HttpRequest)
    assert item.fields == {}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_methods_come_as_they_are(method: str) -> None:
    assert read(f"{method} / HTTP/1.1\r\n\r\n".encode()) == [request(method, b"/")]


# ---------------------------------------------------------------------- one request, or none

HEAD = b"POST / HTTP/1.1\r\nHost: h\r\n"


@pytest.mark.parametrize(
    "data",
    [
        # Two lengths, or a length and chunks.
        HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        HEAD + b"Content-Length: 1, 1\r\n\r\na",
        HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: identity\r\nContent-Length: 1\r\n\r\na",
        # A length that is no number.
        *(
            HEAD + b"Content-Length: %b\r\n\r\na" % length
            for length in (b"+1", b"-1", b"0x1", b"1 1", b"1a", b"", b"\x0b1")
        ),
        HEAD + b"Content-Length: 99999999999999999999999\r\n\r\na",
        # Codings other than chunks, and names that only look like it.
        *(
            HEAD + b"Transfer-Encoding: %b\r\n\r\n0\r\n\r\n" % coding
            for coding in (
                b"gzip, chunked",
                b"chunked, gzip",
                b"chunked, chunked",
                b"identity",
                b"xchunked",
                b"chunked;a",
            )
        ),
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: \r\n chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        # Lines that end otherwise, are folded, or hold what no line may hold.
        b"GET / HTTP/1.1\nHost: h\n\n",
        b"GET / HTTP/1.1\r\nHost: h\nA: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n\n",
        b"GET / HTTP/1.1\r\nHost: h\rA: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n\tfolded\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHo st: h\r\n\r\n",
        b"GET / HTTP/1.1\r\n: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nH\xe9: b\r\n\r\n",
        # Request lines.
        b"GET / HTTP/1.1 \r\n\r\n",
        b"GET / index HTTP/1.1\r\n\r\n",
        b"GET /\x7f HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        *(b"GET / HTTP/%b\r\n\r\n" % version for version in (b"0.9", b"1.2", b"2.0", b"3", b"1.1.1", b"11", b"x")),
        b"GET /\r\n\r\n",
        b"GET / FTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        # Chunks.
        *(
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks
            for chunks in (
                b"1\na\r\n0\r\n\r\n",
                b"1 \r\na\r\n0\r\n\r\n",
                b"0x1\r\na\r\n0\r\n\r\n",
                b"-1\r\na\r\n0\r\n\r\n",
                b"\r\na\r\n0\r\n\r\n",
                b"1\r\nab\r\n0\r\n\r\n",
                b"1\r\na0\r\n\r\n",
                b"1;a\nb\r\na\r\n0\r\n\r\n",
                b"fffffffffffffffff\r\na\r\n0\r\n\r\n",
                b"0\r\nno colon\r\n\r\n",
            )
        ),
    ],
)
def test_what_could_be_read_two_ways_is_refused_and_nothing_after_it_is_read(data: bytes) -> None:
    good = b"GET /good HTTP/1.1\r\n\r\n"
    for pieces in ([good + data + good], [bytes([byte]) for byte in good + data + good]):
        first, refusal = read(*pieces)
        assert first == request("GET", b"/good")
        assert isinstance(refusal, tuple)
        assert (refusal[0], refusal[1][:21]) == (400, "invalid HTTP request:")


@pytest.mark.parametrize(
    "data", [b"FOO / HTTP/1.1\r\n\r\n", b"get / HTTP/1.1\r\n\r\n", b" GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01"]
)
def test_an_unknown_method_is_told_as_such(data: bytes) -> None:
    assert read(data) == [(405, "Unexpected HTTP method")]


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("wish", [b"close", b"keep-alive", b"Close", b"x, close"])
def test_connections_are_kept_alive_by_http_1_1_and_only_if_wanted(version: bytes, wish: bytes) -> None:
    first, *more = read(b"GET / HTTP/%b\r\nConnection: %b\r\n\r\nGET /2 HTTP/1.1\r\n\r\n" % (version, wish))
    assert isinstance(first, HttpRequest)
    kept = version == b"1.1" and wish == b"keep-alive"
    assert first.keep_alive is kept
    assert more == ([request("GET", b"/2")] if kept else [])


def test_an_offer_to_upgrade_is_no_part_of_the_request_and_its_last() -> None:
    data = b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /2 HTTP/1.1\r\n\r\n"
    assert read(data) == read(*(bytes([byte]) for byte in data)) == [request("GET", b"/", keep_alive=False)]
    assert read(b"CONNECT h:1 HTTP/1.1\r\n\r\nbytes") == [request("CONNECT", b"h:1", keep_alive=False)]


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Content-Length: 5", b"hello"),
        (b"Transfer-Encoding: chunked", b"2\r\nhe\r\n3\r\nllo\r\n0\r\nX-Kept: trailing\r\n\r\n"),
    ],
)
def test_an_offer_to_upgrade_does_not_cost_the_body(framing: bytes, body: bytes) -> None:
    # As Java's own client and `curl --http2` send it.
    head = HEAD + framing + b"\r\nX-Kept: 1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"
    data = head + body + b"GET /never HTTP/1.1\r\n\r\n"
    for cut in range(len(data)):
        assert read(data[:cut], data[cut:]) == [request("POST", b"/", b"hello", keep_alive=False, x_kept=[b"1"])]
    assert reader_of(*(bytes([byte]) for byte in data[: len(head)])).part == "body"


def test_a_broken_body_behind_an_offer_to_upgrade_is_refused() -> None:
    head = HEAD + b"Transfer-Encoding: chunked\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert read(head + b"zz\r\n") == [(400, "invalid HTTP request: Invalid character in chunk size")]
    assert read(head, b"2\r\nabc", settings=SMALL) == [(400, "invalid HTTP request: Expected LF after chunk data")]
    too_large = HEAD + b"Content-Length: 11\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert read(too_large, settings=SMALL) == [(413, "the body is larger than http.max_content_length [10] bytes")]


# ---------------------------------------------------------------------- limits

SMALL = HttpSettings(max_content_bytes=10, max_header_bytes=100, max_line_bytes=50, max_header_fields=5)


@pytest.mark.parametrize(
    ("data", "refusal"),
    [
        (b"GET /%b HTTP/1.1\r\n\r\n" % (b"x" * 36), None),
        (b"GET /%b HTTP/1.1\r\n\r\n" % (b"x" * 37), (400, "An HTTP line is larger than 50 bytes.")),
        (b"GET /%b HTTP/1.1\r\n\r\n" % (b"x" * 500), (400, "An HTTP line is larger than 50 bytes.")),
        (b"GET /%b" % (b"x" * 500), (400, "An HTTP line is larger than 50 bytes.")),
        (b"GET / HTTP/1.1\r\nA: %b\r\n\r\n" % (b"x" * 96), None),
        (b"GET / HTTP/1.1\r\nA: %b\r\n\r\n" % (b"x" * 97), (400, "HTTP header is larger than 100 bytes.")),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 5 + b"\r\n", None),
        (
            b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 6 + b"\r\n",
            (400, "invalid HTTP request: more than [5] header fields"),
        ),
        (HEAD + b"Content-Length: 10\r\n\r\n" + b"x" * 10, None),
        (HEAD + b"Content-Length: 11\r\n\r\n", (413, "the body is larger than http.max_content_length [10] bytes")),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n", None),
        (
            HEAD + b"Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n1\r\nx\r\n",
            (413, "the body is larger than http.max_content_length [10] bytes"),
        ),
        (
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: %b\r\n\r\n" % (b"x" * 100),
            (400, "HTTP header is larger than 100 bytes."),
        ),
    ],
)
def test_each_part_has_its_limit(data: bytes, refusal: tuple[int, str] | None) -> None:
    for pieces in ([data], [bytes([byte]) for byte in data]):
        [item] = read(*pieces, settings=SMALL)
        assert item == refusal if refusal else isinstance(item, HttpRequest)


@pytest.mark.parametrize(
    "begin",
    [
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nA",
        b"GET / HTTP/1.1\r\nA: ",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nA: ",
    ],
)
@pytest.mark.parametrize("filler", [b"x", b" "])
def test_what_does_not_end_is_refused_while_it_comes(begin: bytes, filler: bytes) -> None:
    items = read(begin, *[filler * 10] * 100, settings=SMALL)
    assert len(items) == 1
    assert isinstance(items[0], tuple)
    # Some fillers are wrong already where they stand.
    assert items[0][0] == 400


def test_silence_between_the_chunks_of_a_long_body_is_none() -> None:
    pieces = [piece for number in range(2000) for piece in (b"1\r\n", b"%d" % (number % 10), b"\r\n")]
    settings = HttpSettings(max_header_bytes=100, max_line_bytes=50)
    [item] = read(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *pieces, b"0\r\n\r\n", settings=settings)
    assert item == request("POST", b"/", b"0123456789" * 200)


def test_only_so_many_requests_may_wait() -> None:
    items = read(b"GET / HTTP/1.1\r\n\r\n" * 6, settings=HttpSettings(max_pipelined=5))
    assert items == [request("GET", b"/")] * 5 + [(400, "invalid HTTP request: more than [5] requests at once")]


def test_many_that_wait_or_many_bytes_are_told() -> None:
    reader = reader_of(b"GET / HTTP/1.1\r\n\r\n" * (MANY_WAITING - 1))
    assert not reader.has_many_waiting
    reader.feed(b"GET / HTTP/1.1\r\n\r\n")
    assert reader.has_many_waiting
    reader.take()
    assert not reader.has_many_waiting

    reader = reader_of(HEAD + b"Content-Length: %d\r\n\r\n" % MANY_WAITING_BYTES, b"x" * (MANY_WAITING_BYTES - 1))
    assert not reader.has_many_waiting
    reader.feed(b"x")
    assert reader.has_many_waiting
    reader.take()
    assert not reader.has_many_waiting


# ---------------------------------------------------------------------- what is under way


def test_it_tells_which_part_is_missing() -> None:
    reader = reader_of()
    seen = []
    for piece in (b"\r\n", b"P", b"OST / HTTP/1.1\r\nContent-Length: 2\r\n", b"\r\n", b"a", b"b", b"G"):
        reader.feed(piece)
        seen.append((reader.begun, reader.part))
    assert seen == [(0, ""), (1, "head"), (1, "head"), (1, "body"), (1, "body"), (1, ""), (2, "head")]


@pytest.mark.parametrize(
    ("head", "wanted"),
    [
        (HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n", True),
        (HEAD + b"Expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n", True),
        (HEAD + b"Expect: 100-continue\r\n\r\n", False),
        (HEAD + b"Expect: 100-continue\r\nContent-Length: 0\r\n\r\n", False),
        (HEAD + b"Expect: other\r\nContent-Length: 2\r\n\r\n", False),
        (HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\na", False),
        (b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", False),
    ],
)
def test_a_client_that_waits_to_be_told_is_noticed(head: bytes, wanted: bool) -> None:
    assert reader_of(head).wants_continue is wanted


def test_a_dropped_reader_is_freed_without_the_garbage_collector() -> None:
    gc.disable()
    try:
        reader = reader_of(CONVERSATION[:50])
        alive = weakref.ref(reader)
        reader.drop()
        reader.feed(b"more")
        del reader
        assert alive() is None
    finally:
        gc.enable()
