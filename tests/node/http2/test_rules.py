"""What HTTP/2 and gRPC forbid or limit, one by one, and what comes of it."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskfan.node.grpc_status import Status
from taskfan.node.http2 import headers, wire
from taskfan.node.http2.connection import MAX_WAITING_CONTROL
from tests.node.http2.peers import (
    OK,
    PATH,
    REQUEST,
    SETTINGS,
    Owner,
    client,
    data,
    frames_in,
    message,
    opened,
    server,
    written_by,
)

GET = headers.block([(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")])
UPPER = headers.block([(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b"X", b"y")])
WITHOUT_PATH = headers.block([(b":method", b"POST"), (b":scheme", b"http")])
LATE_PSEUDO = headers.block([(b"a", b"b"), (b":method", b"POST")])
OF_HTTP1 = REQUEST + headers.block([(b"connection", b"close")])

ENDS_THE_CONNECTION = {
    "a frame that is too large": (wire.head(wire.OUR_MAX_FRAME + 1, 0, 0, 1), wire.FRAME_SIZE_ERROR),
    "settings of a stream": (wire.frame(wire.SETTINGS, 0, 1), wire.PROTOCOL_ERROR),
    "settings of another size": (wire.frame(wire.SETTINGS, 0, 0, bytes(5)), wire.FRAME_SIZE_ERROR),
    "an acknowledgement with settings": (wire.frame(wire.SETTINGS, 1, 0, bytes(6)), wire.FRAME_SIZE_ERROR),
    "a window that is too large": (wire.settings({wire.INITIAL_WINDOW_SIZE: 1 << 31}), wire.FLOW_CONTROL_ERROR),
    "frames that are too small": (wire.settings({wire.MAX_FRAME_SIZE: 16_383}), wire.PROTOCOL_ERROR),
    "frames that are too big": (wire.settings({wire.MAX_FRAME_SIZE: 1 << 24}), wire.PROTOCOL_ERROR),
    "half a wish for pushes": (wire.settings({wire.ENABLE_PUSH: 2}), wire.PROTOCOL_ERROR),
    "a ping on a stream": (wire.frame(wire.PING, 0, 1, bytes(8)), wire.PROTOCOL_ERROR),
    "a ping of another size": (wire.frame(wire.PING, 0, 0, bytes(7)), wire.FRAME_SIZE_ERROR),
    "a promise": (wire.frame(wire.PUSH_PROMISE, 4, 1, bytes(4) + REQUEST), wire.PROTOCOL_ERROR),
    "data on no stream": (data(0, b"x"), wire.PROTOCOL_ERROR),
    "data on a stream to come": (data(9, b"x"), wire.PROTOCOL_ERROR),
    "a reset of a stream to come": (wire.rst_stream(9, 0), wire.PROTOCOL_ERROR),
    "a reset of another size": (wire.frame(wire.RST_STREAM, 0, 1, bytes(3)), wire.FRAME_SIZE_ERROR),
    "a window of a stream to come": (wire.window_update(9, 1), wire.PROTOCOL_ERROR),
    "a window that does not grow": (wire.window_update(0, 0), wire.PROTOCOL_ERROR),
    "a window that grows too much": (wire.window_update(0, wire.LARGEST_WINDOW), wire.FLOW_CONTROL_ERROR),
    "a window of another size": (wire.frame(wire.WINDOW_UPDATE, 0, 0, bytes(3)), wire.FRAME_SIZE_ERROR),
    "headers on no stream": (opened(0), wire.PROTOCOL_ERROR),
    "headers on an even stream": (opened(2), wire.PROTOCOL_ERROR),
    "a stream that depends on itself": (opened(3, b"\0\0\0\3\0" + REQUEST, 4 | 32), wire.PROTOCOL_ERROR),
    "headers without their priority": (opened(3, b"\0\0", 4 | 32), wire.FRAME_SIZE_ERROR),
    "a priority of another size": (wire.frame(wire.PRIORITY, 0, 1, bytes(4)), wire.FRAME_SIZE_ERROR),
    "a priority of no stream": (wire.frame(wire.PRIORITY, 0, 0, bytes(5)), wire.PROTOCOL_ERROR),
    "more padding than frame": (data(1, b"\x09xyz", wire.PADDED), wire.PROTOCOL_ERROR),
    "padding without its length": (data(1, b"", wire.PADDED), wire.PROTOCOL_ERROR),
    "a continuation of nothing": (wire.frame(wire.CONTINUATION, 4, 1, REQUEST), wire.PROTOCOL_ERROR),
    "something within a header block": (opened(3, REQUEST, 0) + wire.frame(wire.PING, 0, 0, bytes(8)), 1),
    "a continuation of another": (opened(3, REQUEST, 0) + wire.frame(wire.CONTINUATION, 4, 5), 1),
    "no header block": (opened(3, b"\xff\xff\xff\xff\xff\xff"), wire.COMPRESSION_ERROR),
    "half a header block": (opened(3, REQUEST[:-1]), wire.COMPRESSION_ERROR),
    "a huge header block": (
        opened(3, bytes(16_384), 0) + wire.frame(wire.CONTINUATION, 0, 3, bytes(16_384)) * 4,
        wire.ENHANCE_YOUR_CALM,
    ),
    "a header block that unpacks to much": (
        opened(3, b"\x40\x01a\x7f\x81\x1f" + bytes(4096) + b"\xbe" * 20, 4),
        wire.COMPRESSION_ERROR,
    ),
    "the same stream again": (opened(3) + data(3, b"", 1) + wire.rst_stream(3, 8) + opened(3), wire.STREAM_CLOSED),
    "a goaway of another size": (wire.frame(wire.GOAWAY, 0, 0, bytes(7)), wire.FRAME_SIZE_ERROR),
    "a goaway on a stream": (wire.frame(wire.GOAWAY, 0, 1, bytes(8)), wire.PROTOCOL_ERROR),
}


@pytest.mark.parametrize(("trace", "code"), ENDS_THE_CONNECTION.values(), ids=ENDS_THE_CONNECTION)
def test_a_broken_rule_ends_the_connection_and_its_streams(trace: bytes, code: int) -> None:
    callee = server()
    callee.receive(opened(1))
    callee.receive(trace + opened(99))
    assert callee.goaway_code() == code
    assert callee.ends_of(1) == 1
    assert ("called", 99, PATH) not in callee.told
    assert callee.connection.is_over


ENDS_A_STREAM = {
    "data after the end": (opened(3) + data(3, b"", 1) + data(3, b"x"), wire.STREAM_CLOSED),
    "headers after the end": (opened(3) + data(3, b"", 1) + opened(3), wire.STREAM_CLOSED),
    "trailers that do not end": (opened(3) + opened(3, OK), wire.PROTOCOL_ERROR),
    "an upper case header": (opened(3, UPPER), wire.PROTOCOL_ERROR),
    "no path": (opened(3, WITHOUT_PATH), wire.PROTOCOL_ERROR),
    "a late pseudo header": (opened(3, LATE_PSEUDO), wire.PROTOCOL_ERROR),
    "a header of HTTP/1": (opened(3, OF_HTTP1), wire.PROTOCOL_ERROR),
    "a status in a request": (opened(3, headers.block([(b":status", b"200")])), wire.PROTOCOL_ERROR),
    "a window that does not grow": (opened(3) + wire.window_update(3, 0), wire.PROTOCOL_ERROR),
    "a window that grows too much": (opened(3) + wire.window_update(3, wire.LARGEST_WINDOW), wire.FLOW_CONTROL_ERROR),
}


@pytest.mark.parametrize(("trace", "code"), ENDS_A_STREAM.values(), ids=ENDS_A_STREAM)
def test_a_rule_broken_on_a_stream_ends_only_that(trace: bytes, code: int) -> None:
    callee = server()
    callee.ends_calls = False
    callee.receive(opened(1) + trace + data(1, message(b"still")))
    assert callee.goaway_code() is None
    assert callee.reset_code(3) == code
    assert callee.told[-1] == ("message", 1, b"still")
    assert callee.ends_of(1) == 0


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        (b"\1\0\0\0\0", Status.UNIMPLEMENTED),
        (b"\7\0\0\0\0", Status.INTERNAL),
        (wire.prefix(wire.MAX_MESSAGE + 1), Status.RESOURCE_EXHAUSTED),
    ],
)
def test_a_message_that_is_not_read_ends_its_call_with_a_status(payload: bytes, status: Status) -> None:
    callee = server()
    callee.receive(
        opened(1) + opened(3) + data(1, message(b"first") + payload) + data(1, b"more") + data(3, message(b"x"))
    )
    assert callee.told[2:] == [("message", 1, b"first"), ("ended", 1, status), ("message", 3, b"x")]
    last = [frame for frame in frames_in(bytes(callee.written)) if frame.type == wire.HEADERS and frame.number == 1][-1]
    assert b"grpc-status" in last.payload
    assert last.flags & wire.END_STREAM
    assert callee.connection.streams.keys() == {3}


def test_an_end_inside_a_message_is_an_error() -> None:
    callee = server()
    callee.receive(opened(1) + data(1, message(b"whole") + b"\0\0", wire.END_STREAM))
    assert callee.told[1:] == [("message", 1, b"whole"), ("ended", 1, Status.INTERNAL)]


def test_what_is_no_grpc_is_answered_so_and_nobody_is_told() -> None:
    callee = server()
    callee.receive(opened(1, GET, 5))
    assert callee.told == []
    assert [f.payload for f in frames_in(bytes(callee.written)) if f.type == wire.HEADERS] == [headers.NO_GRPC]


@pytest.mark.parametrize("trace", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 30, wire.PREFACE[:-1] + b"x", b"P" * 24])
def test_what_is_no_http2_is_ended(trace: bytes) -> None:
    callee = Owner(is_server=True)
    callee.receive(trace)
    assert callee.goaway_code() == wire.PROTOCOL_ERROR


def test_settings_must_come_first() -> None:
    for first in (opened(1), wire.frame(wire.SETTINGS, wire.ACK, 0)):
        callee = Owner(is_server=True)
        callee.receive(wire.PREFACE + first)
        assert callee.goaway_code() == wire.PROTOCOL_ERROR


def test_more_streams_than_may_be_are_refused_and_the_others_live() -> None:
    callee = server()
    callee.receive(b"".join(opened(number) for number in range(1, 2 * wire.MAX_STREAMS + 4, 2)))
    assert len(callee.connection.streams) == wire.MAX_STREAMS
    assert callee.reset_code(2 * wire.MAX_STREAMS + 1) == wire.REFUSED_STREAM
    assert callee.goaway_code() is None


def test_a_client_opens_no_more_streams_than_it_may() -> None:
    caller = client(1)
    caller.receive(wire.settings({wire.MAX_CONCURRENT_STREAMS: 2}))
    assert caller.connection.open(PATH, "there") is not None
    assert caller.connection.open(PATH, "there") is None


def test_a_goaway_ends_later_streams_lets_others_finish_and_no_new_one_begin() -> None:
    caller = client(2)
    caller.receive(wire.goaway(1, wire.NO_ERROR, "bye"))
    assert caller.told == [("ended", 3, Status.UNAVAILABLE)]
    assert caller.connection.open(PATH, "there") is None
    assert not caller.connection.is_over
    caller.receive(wire.frame(wire.HEADERS, 4, 1, headers.RESPONSE) + data(1, message(b"x")))
    caller.receive(wire.frame(wire.HEADERS, 5, 1, OK))
    assert caller.told[1:] == [("message", 1, b"x"), ("ended", 1, Status.OK)]
    assert caller.connection.is_over


def test_a_server_that_goes_away_refuses_new_calls_and_serves_the_others() -> None:
    callee = server()
    callee.receive(opened(1))
    callee.connection.go_away()
    callee.receive(opened(3) + data(1, message(b"x")))
    assert callee.goaway_code() == wire.NO_ERROR
    assert callee.reset_code(3) == wire.REFUSED_STREAM
    assert callee.told[-1] == ("message", 1, b"x")
    callee.receive(data(1, b"", 1))
    assert callee.connection.is_over


def test_pings_are_answered_and_counted() -> None:
    callee = server()
    callee.receive(wire.frame(wire.PING, 0, 0, b"12345678") * 3 + wire.frame(wire.PING, 1, 0, b"87654321"))
    pings = [frame for frame in frames_in(bytes(callee.written)) if frame.type == wire.PING]
    assert [(frame.flags, frame.payload) for frame in pings] == [(wire.ACK, b"12345678")] * 3
    # SETTINGS too; but not what comes with messages.
    assert callee.connection.control_frames == 5
    callee.receive(opened(1) + data(1, message(b"x")) * 100 + wire.window_update(1, 1) * 100)
    assert callee.connection.control_frames == 6


def test_who_asks_and_does_not_read_the_answers_is_cut_off() -> None:
    callee = server()
    written_by(callee.connection)
    callee.connection.is_blocked = True
    callee.receive(*[wire.frame(wire.PING, 0, 0, bytes(8)) * 100] * (MAX_WAITING_CONTROL // 100))
    assert not callee.connection.is_closed
    callee.receive(wire.frame(wire.PING, 0, 0, bytes(8)))
    assert callee.goaway_code() == wire.ENHANCE_YOUR_CALM


@pytest.mark.parametrize(
    ("trace", "status"),
    [
        (wire.rst_stream(1, wire.REFUSED_STREAM), Status.UNAVAILABLE),
        (wire.rst_stream(1, wire.CANCEL), Status.CANCELLED),
        (wire.rst_stream(1, wire.INTERNAL_ERROR), Status.INTERNAL),
        (wire.frame(wire.HEADERS, 5, 1, headers.block([(b":status", b"404")])), Status.UNIMPLEMENTED),
        (
            wire.frame(wire.HEADERS, 4, 1, headers.block([(b":status", b"503")])) + data(1, b"<html>"),
            Status.UNAVAILABLE,
        ),
        (wire.frame(wire.HEADERS, 5, 1, headers.RESPONSE), Status.UNKNOWN),
        (wire.frame(wire.HEADERS, 4, 1, headers.RESPONSE) + data(1, b"", 1), Status.UNKNOWN),
        (wire.frame(wire.HEADERS, 5, 1, headers.RESPONSE + headers.block([(b"grpc-status", b"5")])), Status.NOT_FOUND),
        (wire.frame(wire.HEADERS, 5, 1, headers.RESPONSE + headers.block([(b"grpc-status", b"99")])), Status.UNKNOWN),
        (wire.frame(wire.HEADERS, 5, 1, OK), Status.INTERNAL),
    ],
)
def test_a_call_ends_with_the_status_that_grpc_has_for_it(trace: bytes, status: Status) -> None:
    caller = client()
    caller.receive(trace)
    assert caller.told == [("ended", 1, status)]
    assert caller.goaway_code() is None


def test_early_hints_are_passed_over() -> None:
    caller = client()
    caller.receive(wire.frame(wire.HEADERS, 4, 1, headers.block([(b":status", b"103")])))
    caller.receive(wire.frame(wire.HEADERS, 4, 1, headers.RESPONSE) + data(1, message(b"x")))
    assert caller.told == [("message", 1, b"x")]


def test_data_before_headers_ends_a_call() -> None:
    caller = client()
    caller.receive(data(1, message(b"x")))
    assert caller.told == [("ended", 1, Status.INTERNAL)]
    assert caller.reset_code() == wire.PROTOCOL_ERROR


def test_details_of_a_status_survive_the_wire() -> None:
    details = "näh % \n\tx" * 3
    block = headers.trailers(Status.NOT_FOUND, details, alone=True)
    decoded = headers.decode(headers.Tables(), block, 1, of_request=False)
    assert headers.status_of(decoded) == (Status.NOT_FOUND, details)


def test_long_headers_are_written_as_hpack_wants_them() -> None:
    for size in (0, 1, 126, 127, 128, 254, 255, 300, 20_000):
        pairs = [(b"name", b"v" * size)]
        assert list(headers.Tables().unpack(headers.block(pairs))) == pairs
        assert list(hpack.Decoder(max_header_list_size=1 << 16).decode(headers.block(pairs), raw=True)) == pairs


def test_a_client_that_is_told_the_end_before_its_own_says_so() -> None:
    caller = client()
    caller.receive(wire.frame(wire.HEADERS, 4, 1, headers.RESPONSE) + wire.frame(wire.HEADERS, 5, 1, OK))
    assert caller.told == [("ended", 1, Status.OK)]
    assert caller.reset_code() == wire.NO_ERROR
    caller = client()
    caller.connection.half_close(caller.streams[0])
    written_by(caller.connection)
    caller.receive(wire.frame(wire.HEADERS, 4, 1, headers.RESPONSE) + wire.frame(wire.HEADERS, 5, 1, OK))
    assert caller.reset_code() is None


def test_the_first_words_announce_our_limits() -> None:
    first = next(frames_in(written_by(Owner(is_server=True).connection)))
    assert dict(wire.settings_of(first.payload)) == {
        wire.INITIAL_WINDOW_SIZE: 1 << 20,
        wire.MAX_FRAME_SIZE: 1 << 18,
        wire.MAX_HEADER_LIST_SIZE: 1 << 16,
        wire.MAX_CONCURRENT_STREAMS: 1024,
    }
    assert wire.frame(wire.SETTINGS, 0, 0) == SETTINGS


TEXTS = st.binary(min_size=1, max_size=130)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(TEXTS, st.binary(max_size=130)), max_size=4), st.binary(max_size=8), st.integers(0, 600))
def test_a_block_is_read_as_the_library_reads_it(pairs: list[tuple[bytes, bytes]], more: bytes, cut: int) -> None:
    block = (headers.block(pairs) + more)[: cut or None]
    try:
        expected = list(hpack.Decoder(max_header_list_size=wire.MAX_HEADER_BLOCK).decode(block, raw=True))
    except Exception:
        with pytest.raises(wire.ConnectionFault):
            headers.Tables().unpack(block)
    else:
        assert list(headers.Tables().unpack(block)) == expected
