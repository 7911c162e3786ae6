"""Cases of h2spec that the other tests do not hold, frame by frame, for where that program is not installed."""

from __future__ import annotations

import pytest

from taskfan.node.grpc_status import Status
from taskfan.node.http2 import headers, wire
from tests.node.http2.peers import PATH, REQUEST, client, data, frames_in, message, opened, server

PSEUDO = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", PATH.encode())]
GRPC = (b"content-type", b"application/grpc")
UNKNOWN_TYPE, UNKNOWN_FLAGS, RESERVED_BIT = 0x16, 0x16, 1 << 31
# The name x-test, by Huffman's code, with its length.
X_TEST = b"\x85\xf2\xb2\x4a\x84\xff"
END_OF_CALL = data(3, b"", wire.END_STREAM)


def request(*pairs: tuple[bytes, bytes]) -> bytes:
    return headers.block([*pairs, GRPC])


def priority(number: int, depends_on: int = 0, weight: int = 255, *, exclusive: bool = False) -> bytes:
    return wire.frame(wire.PRIORITY, 0, number, (depends_on | exclusive << 31).to_bytes(4) + bytes((weight,)))


def continued(number: int, block: bytes, flags: int = 0) -> bytes:
    return wire.frame(wire.CONTINUATION, flags, number, block)


def by_huffman(value: bytes) -> bytes:
    """A request with one header more, of a value that is coded so."""
    return opened(3, REQUEST + b"\0" + X_TEST + bytes((0x80 | len(value),)) + value)


IS_NO_FAULT = {
    "a priority of a stream to come": priority(3) + priority(9, 3) + priority(7, exclusive=True, weight=0),
    "a priority of a stream above the next one": priority(5),
    "a priority of a stream that has ended": opened(5) + wire.rst_stream(5, wire.CANCEL) + priority(5),
    "headers with a priority": opened(5, b"\0\0\0\0\xff" + REQUEST, wire.END_HEADERS | wire.PRIORITY_FLAG),
    "headers with padding": opened(5, b"\x03" + REQUEST + bytes(3), wire.END_HEADERS | wire.PADDED),
    "headers with flags that nobody knows": opened(5, REQUEST, wire.END_HEADERS | 0x42),
    "headers in many pieces": opened(5, REQUEST[:9], 0)
    + continued(5, REQUEST[9:11])
    + continued(5, b"")
    + continued(5, REQUEST[11:], wire.END_HEADERS),
    "a frame that nobody knows": wire.frame(UNKNOWN_TYPE, UNKNOWN_FLAGS, 0, b"12345678")
    + wire.frame(UNKNOWN_TYPE, 0, 99),
    "a ping with flags that nobody knows": wire.frame(wire.PING, UNKNOWN_FLAGS & ~wire.ACK, 0, bytes(8)),
    "a ping with the reserved bit": wire.frame(wire.PING, 0, RESERVED_BIT, bytes(8)),
    "a setting that nobody knows": wire.settings({0xFF: 1}),
    "no settings": wire.settings({}),
    "a reset with a code that nobody knows": opened(5) + wire.rst_stream(5, 0xFF),
    "a window for a stream that has ended": opened(5) + wire.rst_stream(5, wire.CANCEL) + wire.window_update(5, 1),
    "data for a stream that was reset": opened(5) + wire.rst_stream(5, wire.CANCEL) + data(5, b"late", wire.END_STREAM),
    "a table's size at the beginning of a block, twice": opened(5, b"\x20\x3f\xe1\x1f" + REQUEST),
    "headers that the table remembers": opened(5, REQUEST + b"\x40\x01a\x01b\xbe") + opened(7, REQUEST + b"\xbe"),
    "headers by Huffman's code": opened(5, REQUEST + b"\x40" + X_TEST + b"\x83\x49\x50\x9f"),
}


@pytest.mark.parametrize("trace", IS_NO_FAULT.values(), ids=IS_NO_FAULT)
def test_what_is_allowed_disturbs_no_call(trace: bytes) -> None:
    callee = server()
    callee.receive(opened(1) + trace)
    callee.receive(data(1, message(b"still")) + data(1, b"", wire.END_STREAM))
    assert callee.goaway_code() is None
    assert wire.RST_STREAM not in [frame.type for frame in frames_in(bytes(callee.written))]
    assert callee.told[-2:] == [("message", 1, b"still"), ("half closed", 1)]


def test_a_priority_of_a_later_stream_takes_no_number_from_an_earlier_one() -> None:
    callee = server()
    callee.receive(priority(7) + opened(3))
    assert callee.told == [("called", 3, PATH)]


@pytest.mark.parametrize("frame", [priority(3), wire.window_update(3, 5)])
def test_a_stream_of_which_the_peer_has_sent_all_still_takes_windows_and_priorities(frame: bytes) -> None:
    callee = server()
    callee.ends_calls = False
    callee.receive(opened(3) + END_OF_CALL + frame)
    assert callee.reset_code(3) is None
    assert callee.ends_of(3) == 0


def test_a_stream_of_which_the_peer_has_sent_all_can_still_be_reset() -> None:
    callee = server()
    callee.ends_calls = False
    callee.receive(opened(3) + END_OF_CALL + wire.rst_stream(3, wire.CANCEL))
    assert callee.ends_of(3) == 1


ENDS_THE_CONNECTION = {
    "a stream below the last one": (opened(5) + opened(3), wire.STREAM_CLOSED),
    "headers of a stream that was reset": (opened(3) + wire.rst_stream(3, wire.CANCEL) + opened(3), wire.STREAM_CLOSED),
    "headers of another stream within a block": (opened(3, REQUEST, 0) + opened(5), wire.PROTOCOL_ERROR),
    "a priority within a block": (opened(3, REQUEST, 0) + priority(3), wire.PROTOCOL_ERROR),
    "a frame that nobody knows within a block": (
        opened(3, REQUEST, 0) + wire.frame(UNKNOWN_TYPE, 0, 0, bytes(8)),
        wire.PROTOCOL_ERROR,
    ),
    "a continuation of no stream": (opened(3, REQUEST, 0) + continued(0, REQUEST), wire.PROTOCOL_ERROR),
    "a continuation of headers that were complete": (opened(3) + continued(3, REQUEST), wire.PROTOCOL_ERROR),
    "a continuation after data": (opened(3) + data(3, b"") + continued(3, REQUEST), wire.PROTOCOL_ERROR),
    "a continuation of a block that was complete": (
        opened(3, REQUEST[:9], 0) + continued(3, REQUEST[9:], wire.END_HEADERS) + continued(3, b""),
        wire.PROTOCOL_ERROR,
    ),
    "a reset of no stream": (wire.rst_stream(0, wire.CANCEL), wire.PROTOCOL_ERROR),
    "a priority that depends on itself": (priority(3, 3), wire.PROTOCOL_ERROR),
    "more padding than headers": (opened(3, b"\xff" + REQUEST, wire.END_HEADERS | wire.PADDED), wire.PROTOCOL_ERROR),
    "settings that make a stream's window too large": (
        wire.window_update(1, wire.LARGEST_WINDOW - wire.DEFAULT_WINDOW)
        + wire.settings({wire.INITIAL_WINDOW_SIZE: wire.DEFAULT_WINDOW + 1}),
        wire.FLOW_CONTROL_ERROR,
    ),
    "an index of nothing": (opened(3, b"\x80"), wire.COMPRESSION_ERROR),
    "an index that the table does not have": (opened(3, REQUEST + b"\xbe"), wire.COMPRESSION_ERROR),
    "a table's size at the end of a block": (opened(3, REQUEST + b"\x3f\xe1\x1f"), wire.COMPRESSION_ERROR),
    "a table larger than was allowed": (opened(3, b"\x3f\xe2\x1f" + REQUEST), wire.COMPRESSION_ERROR),
    "Huffman's code with a byte of padding": (by_huffman(b"\x49\x50\x9f\xff"), wire.COMPRESSION_ERROR),
    "Huffman's code padded with zeros": (by_huffman(b"\x49\x50\x90"), wire.COMPRESSION_ERROR),
    "Huffman's code with an end in it": (by_huffman(b"\xff\xff\xff\xfd\x25\x42\x7f"), wire.COMPRESSION_ERROR),
}


@pytest.mark.parametrize(("trace", "code"), ENDS_THE_CONNECTION.values(), ids=ENDS_THE_CONNECTION)
def test_a_broken_rule_ends_the_connection(trace: bytes, code: int) -> None:
    callee = server()
    callee.receive(opened(1) + trace)
    assert callee.goaway_code() == code
    assert callee.ends_of(1) == 1


IS_MALFORMED = {
    "a pseudo header that nobody knows": request(*PSEUDO, (b":test", b"ok")),
    "a pseudo header of answers": request(*PSEUDO, (b":status", b"200")),
    "a pseudo header after another header": request(*PSEUDO[1:], (b"x", b"y"), PSEUDO[0]),
    "a method twice": request(*PSEUDO, PSEUDO[0]),
    "a scheme twice": request(*PSEUDO, PSEUDO[1]),
    "a path twice": request(*PSEUDO, PSEUDO[2]),
    "an empty path": request(*PSEUDO[:2], (b":path", b"")),
    "no method": request(*PSEUDO[1:]),
    "no scheme": request(PSEUDO[0], PSEUDO[2]),
    "other extensions than trailers": request(*PSEUDO, (b"te", b"trailers, deflate")),
}


@pytest.mark.parametrize("block", IS_MALFORMED.values(), ids=IS_MALFORMED)
def test_a_malformed_request_is_reset_and_nobody_is_told(block: bytes) -> None:
    callee = server()
    callee.receive(opened(3, block) + opened(5))
    assert callee.reset_code(3) == wire.PROTOCOL_ERROR
    assert callee.told == [("called", 5, PATH)]


@pytest.mark.parametrize(
    "trailers",
    [opened(3, headers.block(PSEUDO[:1]), 5), opened(3, headers.block([(b"x", b"y")]), wire.END_HEADERS)],
    ids=["with a pseudo header", "that do not end the stream"],
)
def test_malformed_trailers_end_their_call(trailers: bytes) -> None:
    callee = server()
    callee.receive(opened(3) + trailers + opened(5))
    assert callee.reset_code(3) == wire.PROTOCOL_ERROR
    assert callee.told[-1] == ("called", 5, PATH)


def test_a_pseudo_header_in_the_trailers_of_an_answer_ends_the_call() -> None:
    caller = client()
    caller.receive(wire.frame(wire.HEADERS, 4, 1, headers.RESPONSE) + wire.frame(wire.HEADERS, 5, 1, headers.RESPONSE))
    assert caller.told == [("ended", 1, Status.INTERNAL)]
    assert caller.reset_code() == wire.PROTOCOL_ERROR


def test_trailers_end_a_request() -> None:
    callee = server()
    callee.receive(opened(3) + data(3, message(b"x")) + opened(3, headers.block([(b"x", b"y")]), 5))
    assert callee.told == [("called", 3, PATH), ("message", 3, b"x"), ("half closed", 3)]


def test_of_one_setting_that_comes_twice_the_last_counts() -> None:
    callee = server()
    setting = [(wire.INITIAL_WINDOW_SIZE, 100), (wire.INITIAL_WINDOW_SIZE, 1)]
    callee.receive(wire.frame(wire.SETTINGS, 0, 0, b"".join(name.to_bytes(2) + n.to_bytes(4) for name, n in setting)))
    callee.receive(opened(3) + data(3, message(b"echoed")))
    sent = [frame.payload for frame in frames_in(bytes(callee.written)) if frame.type == wire.DATA]
    assert b"".join(sent) == message(b"echoed")[:1]


def test_settings_are_acknowledged_once_each_and_an_acknowledgement_never() -> None:
    callee = server()
    callee.receive(wire.settings({}) + wire.frame(wire.SETTINGS, wire.ACK, 0) + wire.settings({0xFF: 1}))
    acknowledged = [f for f in frames_in(bytes(callee.written)) if f.type == wire.SETTINGS and f.flags & wire.ACK]
    # The first settings of all too.
    assert len(acknowledged) == 3


def test_a_goaway_with_a_code_that_nobody_knows_lets_calls_go_on() -> None:
    callee = server()
    callee.receive(opened(1) + wire.goaway(0, 0xFF, "why not") + data(1, message(b"x")))
    assert callee.told[-1] == ("message", 1, b"x")
    assert callee.goaway_code() is None
