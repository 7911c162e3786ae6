"""Windows: nothing is sent beyond them, whatever they become, and what waits goes once they open."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from taskfan.node.http2 import headers, wire
from taskfan.node.http2.events import Message
from taskfan.node.http2.stream import Stream
from tests.node.http2.peers import OK, SETTINGS, Owner, client, data, frames_in, message, opened, server, written_by


class Windows:
    """What the peer of a sender has allowed, by its own arithmetic, and what it got."""

    def __init__(self, sender: Owner, streams: list[Stream]) -> None:
        self.sender = sender
        self.initial = wire.DEFAULT_WINDOW
        self.max_frame = wire.DEFAULT_MAX_FRAME
        self.connection = wire.DEFAULT_WINDOW
        self.streams = {stream.number: self.initial for stream in streams}
        self.got = {stream.number: bytearray() for stream in streams}
        written_by(sender.connection)

    def set_initial(self, window: int) -> None:
        self.sender.connection.receive(wire.settings({wire.INITIAL_WINDOW_SIZE: window}))
        for number in self.streams:
            self.streams[number] += window - self.initial
        self.initial = window

    def set_max_frame(self, size: int) -> None:
        self.sender.connection.receive(wire.settings({wire.MAX_FRAME_SIZE: size}))
        self.max_frame = size

    def grow(self, number: int, increment: int) -> None:
        self.sender.connection.receive(wire.window_update(number, increment))
        if number:
            self.streams[number] += increment
        else:
            self.connection += increment

    def take(self) -> None:
        """What the sender writes now must fit."""
        for frame in frames_in(written_by(self.sender.connection)):
            if frame.type == wire.DATA and frame.payload:
                size = len(frame.payload)
                assert size <= self.max_frame
                assert size <= self.connection
                assert size <= self.streams[frame.number]
                self.connection -= size
                self.streams[frame.number] -= size
                self.got[frame.number] += frame.payload


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 2), st.sampled_from([0, 1, 100, 16_379, 16_380, 70_000, 200_000])),
        st.tuples(st.just("initial"), st.just(0), st.sampled_from([0, 1, 10, 65_535, 70_000, 300_000])),
        st.tuples(st.just("frame"), st.just(0), st.sampled_from([16_384, 16_385, 100_000, 1 << 20])),
        st.tuples(st.just("grow"), st.integers(-1, 2), st.sampled_from([1, 5, 1000, 100_000])),
        st.tuples(st.just("block"), st.integers(0, 1), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_a_sender_keeps_within_all_windows_and_everything_arrives_when_they_open(
    steps: list[tuple[str, int, int]],
) -> None:
    sender = client(3)
    streams, windows = sender.streams, Windows(sender, sender.streams)
    sent = {stream.number: b"" for stream in streams}
    for step, (what, which, size) in enumerate(steps):
        match what:
            case "send":
                payload = bytes((step,)) * size
                sender.connection.send(streams[which], payload)
                sent[streams[which].number] += message(payload)
            case "initial":
                windows.set_initial(size)
            case "frame":
                windows.set_max_frame(size)
            case "grow":
                windows.grow(streams[which].number if which >= 0 else 0, size)
            case "block":
                sender.connection.is_blocked = bool(which)
        windows.take()
    sender.connection.is_blocked = False
    windows.set_initial(1 << 30)
    windows.grow(0, 1 << 30)
    windows.take()
    assert windows.got == sent
    assert all(stream.waiting_bytes == 0 for stream in streams)


def test_a_window_below_zero_must_grow_above_it_before_anything_goes() -> None:
    sender = client()
    stream, windows = sender.streams[0], Windows(sender, sender.streams)
    sender.connection.send(stream, bytes(200_000))
    windows.take()
    windows.set_initial(0)
    assert stream.send_window == -65_535
    windows.grow(0, 1 << 20)
    windows.grow(1, 65_535)
    windows.take()
    assert len(windows.got[1]) == 65_535
    windows.grow(1, 1)
    windows.take()
    assert len(windows.got[1]) == 65_536


def test_a_last_word_waits_for_what_goes_before_it_but_for_no_window() -> None:
    callee = server()
    callee.receive(opened(1))
    stream = callee.streams[0]
    written_by(callee.connection)
    callee.connection.send(stream, bytes(100_000))
    callee.connection.finish(stream)
    types = [frame.type for frame in frames_in(written_by(callee.connection))]
    assert types == [wire.HEADERS] + [wire.DATA] * 4
    callee.connection.receive(wire.window_update(0, 1 << 20))
    callee.connection.receive(wire.window_update(1, 34_470))
    types = [frame.type for frame in frames_in(written_by(callee.connection))]
    # All windows are used up now: the trailers need none.
    assert types == [wire.DATA] * 3 + [wire.HEADERS, wire.RST_STREAM]
    assert stream.send_window == 0


def test_streams_take_turns() -> None:
    sender = client(2)
    written_by(sender.connection)
    for stream in sender.streams:
        sender.connection.send(stream, bytes(100_000))
    numbers = [frame.number for frame in frames_in(written_by(sender.connection)) if frame.type == wire.DATA]
    assert numbers[:4] == [1, 3, 1, 3]


def held(callee: Owner, number: int, size: int) -> list[Message]:
    """Messages that came on a stream and are not read: the owner holds them."""
    messages = []
    for payload in itertools.repeat(bytes(10_000), size // 10_000):
        events = callee.connection.receive(data(number, message(payload)))
        for event in events:
            assert isinstance(event, Message)
            callee.connection.hold(event.stream, len(event.data))
            messages.append(event)
    return messages


def test_what_is_not_read_is_not_credited_and_other_streams_go_on() -> None:
    callee = server()
    callee.receive(opened(1) + opened(3))
    written_by(callee.connection)
    messages = held(callee, 1, 1_000_000)
    assert [f for f in frames_in(written_by(callee.connection)) if f.number == 1] == []
    # A stream that is read is credited all the while.
    for _ in range(300):
        callee.receive(data(3, message(bytes(10_000))))
    assert callee.goaway_code() is None
    for event in messages:
        callee.connection.release(event.stream, len(event.data))
    credits = [f for f in frames_in(written_by(callee.connection)) if (f.type, f.number) == (wire.WINDOW_UPDATE, 1)]
    assert [wire.number_in(frame.payload) for frame in credits] == [1_000_500]


def test_the_connection_is_credited_even_for_streams_that_nobody_reads_or_that_have_ended() -> None:
    callee = server()
    for number in range(1, 41, 2):
        callee.receive(opened(number))
        held(callee, number, 1_000_000)
    callee.receive(opened(41), wire.rst_stream(41, wire.CANCEL))
    callee.receive(data(41, bytes(100_000)))
    credited = sum(
        wire.number_in(frame.payload)
        for frame in frames_in(bytes(callee.written) + written_by(callee.connection))
        if (frame.type, frame.number) == (wire.WINDOW_UPDATE, 0)
    )
    came = 20 * 100 * 10_005 + 100_000
    assert credited == wire.CONNECTION_WINDOW - wire.DEFAULT_WINDOW + came - (
        wire.CONNECTION_WINDOW - callee.connection.receive_window
    )


def test_a_message_larger_than_the_window_comes_through() -> None:
    callee = server()
    callee.receive(opened(1))
    whole = message(bytes(3 << 20))
    for begin in range(0, len(whole), 100_000):
        callee.receive(data(1, whole[begin : begin + 100_000]))
    assert callee.goaway_code() is None
    assert callee.told[-1] == ("message", 1, bytes(3 << 20))


def test_more_than_the_window_ends_the_connection() -> None:
    callee = server()
    callee.receive(opened(1))
    held(callee, 1, 1_000_000)
    callee.receive(data(1, bytes(100_000)))
    assert callee.goaway_code() == wire.FLOW_CONTROL_ERROR


def test_padding_counts() -> None:
    callee = server()
    callee.receive(opened(1))
    before = callee.streams[0].receive_window
    callee.receive(data(1, b"\x0a" + message(b"x") + bytes(10), wire.PADDED))
    assert before - callee.streams[0].receive_window == 17
    assert callee.told[-1] == ("message", 1, b"x")


def test_a_client_reads_answers_by_the_same_rules() -> None:
    caller = client()
    caller.receive(wire.frame(wire.HEADERS, 4, 1, headers.RESPONSE))
    for _ in range(100):
        caller.receive(data(1, message(bytes(10_000))))
    updates = [f for f in frames_in(bytes(caller.written)) if (f.type, f.number) == (wire.WINDOW_UPDATE, 1)]
    assert len(updates) == 1
    caller.receive(SETTINGS, wire.frame(wire.HEADERS, 5, 1, OK))
    assert caller.ends_of(1) == 1
