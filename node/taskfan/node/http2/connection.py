"""One HTTP/2 connection that carries gRPC calls: bytes in, events and bytes out. Pure.

A DATA frame that is one whole message takes a short way; everything else is checked frame by frame in `incoming.py`.
Whoever owns it hands over what came (`receive`), acts on the events, and then writes what there is (`take_output`).
"""

from __future__ import annotations

from collections.abc import Mapping

from taskfan.node.grpc_status import Status
from taskfan.node.http2 import headers, wire
from taskfan.node.http2.events import Ended, Event, Message
from taskfan.node.http2.incoming import Incoming
from taskfan.node.http2.stream import BETWEEN_MESSAGES, JOINED_BYTES, Stream
from taskfan.node.http2.wire import ConnectionFault, StreamFault

# Answers that wait because the peer does not read; a peer that asks for more is not served.
MAX_WAITING_CONTROL = 10_000
Output = bytes | memoryview


class Connection:
    """State of one connection, seen from one of its sides.

    `is_blocked` is set by the owner while the socket takes no more: nothing but control frames is added then.
    `control_frames` counts what costs work and carries no message, for who has a clock and may set it back.
    """

    def __init__(self, *, is_server: bool) -> None:
        self.is_server = is_server
        self.is_blocked = False
        # `is_going_away`: no new streams. `is_closed`: a GOAWAY is the last thing written.
        self.is_going_away = self.is_closed = False
        self.control_frames = 0
        self.streams: dict[int, Stream] = {}
        self.send_window, self.receive_window = wire.DEFAULT_WINDOW, wire.CONNECTION_WINDOW
        self.peer_window, self.peer_max_frame = wire.DEFAULT_WINDOW, wire.DEFAULT_MAX_FRAME
        self.peer_max_streams = wire.LARGEST_STREAM
        # Streams whose owners want room, and all of whose messages have gone since this was last emptied.
        self.drained: list[Stream] = []
        self.last_number_in, self._next_number = 0, 1
        self._events: list[Event] = []
        # Those with something to send, in turn; and those that may be credited.
        self._sending: dict[Stream, None] = {}
        self._low: list[Stream] = []
        self._output: list[Output] = [_GREETING_OF_SERVER if is_server else _GREETING_OF_CLIENT]
        # A frame that has come in part, and the bytes until it may be whole.
        self._rest: list[bytes] = []
        self._missing = 0
        self._awaits_preface = is_server
        self._incoming = Incoming(self)

    # ------------------------------------------------------------------ coming in

    def receive(self, data: bytes) -> list[Event]:
        """Take what came. What breaks HTTP/2 ends a stream or the connection, and is told as such."""
        if not self.is_closed:
            try:
                self._receive(data)
                if self.is_blocked and len(self._output) > MAX_WAITING_CONTROL:
                    raise ConnectionFault(wire.ENHANCE_YOUR_CALM, "it asks and does not read the answers")
            except ConnectionFault as fault:
                self._close(fault.code, str(fault))
        return self._take_events()

    def lost(self, reason: str) -> list[Event]:
        """The socket is gone: all streams are."""
        self.is_closed = True
        self._end_all(Status.UNAVAILABLE, reason)
        self._output.clear()
        return self._take_events()

    def close(self, code: int = wire.NO_ERROR, reason: str = "") -> list[Event]:
        """Say GOAWAY as the last word. All streams end."""
        if not self.is_closed:
            self._close(code, reason)
        return self._take_events()

    def _close(self, code: int, reason: str) -> None:
        self.is_closed = True
        self._end_all(Status.UNAVAILABLE, reason or "the connection was closed")
        self._output.append(wire.goaway(self.last_number_in, code, reason))

    def _receive(self, data: bytes) -> None:
        if self._missing:
            self._rest.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data, self._rest, self._missing = b"".join(self._rest), [], 0
        offset, size = 0, len(data)
        if self._awaits_preface:
            if not wire.PREFACE.startswith(data[: len(wire.PREFACE)]):
                raise ConnectionFault(wire.PROTOCOL_ERROR, "this is not HTTP/2")
            offset = len(wire.PREFACE)
            if size < offset:
                self._rest, self._missing = [data], offset - size
                return
            self._awaits_preface = False
        unpack, streams, events = wire.HEAD_AND_PREFIX.unpack_from, self.streams, self._events
        while size - offset >= 14:
            high, low, type, flags, number, flag, message_size = unpack(data, offset)
            end = offset + 14 + message_size
            # One whole message, of a stream on which messages may come: else the long way.
            if (
                type == 0 == flags == flag
                and (high << 8 | low) == message_size + 5
                and end <= size
                and (stream := streams.get(number)) is not None
                and stream.takes_messages
                and stream.awaits_bytes == BETWEEN_MESSAGES
                and self._incoming.is_plain
                and message_size < wire.OUR_MAX_FRAME - 5
            ):
                self.count_in(stream, message_size + 5)
                events.append(Message(stream, data[offset + 14 : end]))
                offset = end
            elif (after := self._frame(data, offset)) == offset:
                break
            else:
                offset = after
        # Frames without a payload are shorter than what the short way looks at.
        while size - offset >= wire.HEAD_BYTES and (after := self._frame(data, offset)) != offset:
            offset = after
        if offset < size:
            self._rest = [data[offset:]]
            self._missing = self._missing_after(data, offset)

    def _frame(self, data: bytes, offset: int) -> int:
        """Take the frame that begins there. Gives where the next one begins: there, when it is not whole."""
        high, low, type, flags, number = wire.HEAD.unpack_from(data, offset)
        size: int = high << 8 | low
        if size > wire.OUR_MAX_FRAME:
            raise ConnectionFault(wire.FRAME_SIZE_ERROR, f"a frame of [{size}] bytes")
        begin = offset + wire.HEAD_BYTES
        if begin + size > len(data):
            return offset
        try:
            self._incoming.frame(type, flags, number & 0x7FFFFFFF, data[begin : begin + size])
        except StreamFault as fault:
            self._refuse(fault)
        if self.is_closed:
            return len(data)
        return begin + size

    def _missing_after(self, data: bytes, offset: int) -> int:
        there = len(data) - offset
        if there < wire.HEAD_BYTES:
            return wire.HEAD_BYTES - there
        high, low, *_ = wire.HEAD.unpack_from(data, offset)
        return wire.HEAD_BYTES + (int(high) << 8 | int(low)) - there

    def count_in(self, stream: Stream | None, size: int) -> None:
        """Bytes of DATA came; of no stream, when it is gone by now.

        Raises:
            ConnectionFault, StreamFault: more came than was credited.
        """
        self.receive_window -= size
        if self.receive_window < wire.CONNECTION_WINDOW // 2:
            if self.receive_window < 0:
                raise ConnectionFault(wire.FLOW_CONTROL_ERROR, "more than the connection's window")
            # At once: a stream that is read slowly must not stop the others.
            self._output.append(wire.window_update(0, wire.CONNECTION_WINDOW - self.receive_window))
            self.receive_window = wire.CONNECTION_WINDOW
        if stream is None:
            return
        stream.receive_window -= size
        if stream.receive_window < wire.STREAM_WINDOW // 2:
            if stream.receive_window < 0:
                raise ConnectionFault(wire.FLOW_CONTROL_ERROR, "more than a stream's window")
            self._low.append(stream)

    def tell(self, event: Event) -> None:
        """Of the part that reads frames: let the owner know."""
        self._events.append(event)

    def _take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    # ------------------------------------------------------------------ streams

    def open(self, path: str, authority: str) -> Stream | None:
        """Begin a call; None when the peer takes no more."""
        is_full = len(self.streams) >= self.peer_max_streams or self._next_number > wire.LARGEST_STREAM
        if self.is_going_away or self.is_closed or is_full:
            return None
        stream = self.add(self._next_number)
        self._next_number += 2
        stream.sent_headers = True
        self.control(wire.frame(wire.HEADERS, wire.END_HEADERS, stream.number, headers.request(path, authority)))
        return stream

    def add(self, number: int) -> Stream:
        """Of the part that reads frames, and of `open`: a stream begins."""
        stream = self.streams[number] = Stream(number, self.peer_window)
        return stream

    def is_idle(self, number: int) -> bool:
        """Whether no stream of that number has begun yet."""
        newest = self.last_number_in if self.is_server else self._next_number - 2
        return number > newest or not number & 1

    def end(self, stream: Stream, status: Status, details: str) -> None:
        """A stream is over. The owner is told, unless it ended the stream itself."""
        if not stream.is_over:
            is_news = not (stream.is_ended_here and self.is_server)
            self._forget(stream)
            if is_news:
                self._events.append(Ended(stream, status, details))

    def fail(self, stream: Stream, status: Status, details: str) -> None:
        """What came makes no sense to gRPC: the peer and the owner are told."""
        if self.is_server and not stream.is_ended_here:
            self._events.append(Ended(stream, status, details))
            stream.drop()
            self.finish(stream, status, details)
        else:
            self.control(wire.rst_stream(stream.number, wire.CANCEL))
            self.end(stream, status, details)

    def _refuse(self, fault: StreamFault) -> None:
        if self.is_server:
            self.last_number_in = max(self.last_number_in, fault.number)
        self.control(wire.rst_stream(fault.number, fault.code))
        if (stream := self.streams.get(fault.number)) is not None:
            self.end(stream, Status.INTERNAL, str(fault))

    def _end_all(self, status: Status, details: str) -> None:
        for stream in list(self.streams.values()):
            self.end(stream, status, details)

    def _forget(self, stream: Stream) -> None:
        stream.is_over = stream.is_ended_here = stream.is_ended_there = True
        stream.takes_messages = False
        stream.drop()
        self.streams.pop(stream.number, None)
        self._sending.pop(stream, None)

    # ------------------------------------------------------------------ going out

    def send(self, stream: Stream, message: bytes) -> None:
        """Let a message go with the next output. Dropped on a stream that has ended here."""
        if stream.is_ended_here:
            return
        if not stream.sent_headers:
            stream.sent_headers = True
            self.control(wire.frame(wire.HEADERS, wire.END_HEADERS, stream.number, headers.RESPONSE))
        size = len(message)
        room = size + wire.PREFIX_BYTES
        # The short way: a small message, and nothing before it, is one frame, which the other side reads quickly too.
        if (
            room <= self.peer_max_frame
            and room <= stream.send_window
            and room <= self.send_window
            and room < JOINED_BYTES
            and not stream.waiting_bytes
            and not self.is_blocked
        ):
            stream.send_window -= room
            self.send_window -= room
            self._output.append(
                wire.HEAD_AND_PREFIX.pack(room >> 8, room & 0xFF, wire.DATA, 0, stream.number, 0, size) + message
            )
        else:
            stream.put(message)
            self._sending[stream] = None

    def finish(self, stream: Stream, status: Status = Status.OK, details: str = "") -> None:
        """A server's last word on a call, after all that waits. Nothing more is told of the stream."""
        if not stream.is_ended_here:
            stream.is_ended_here, stream.takes_messages = True, False
            last = headers.trailers(status, details, alone=not stream.sent_headers)
            stream.tail = wire.frame(wire.HEADERS, wire.END_HEADERS | wire.END_STREAM, stream.number, last)
            if not stream.is_ended_there:
                # So that the caller stops sending.
                stream.tail += wire.rst_stream(stream.number, wire.NO_ERROR)
            self._sending[stream] = None

    def half_close(self, stream: Stream) -> None:
        """A caller's last word, after all that waits."""
        if not stream.is_ended_here:
            stream.is_ended_here = True
            stream.tail = wire.frame(wire.DATA, wire.END_STREAM, stream.number)
            self._sending[stream] = None

    def reset(self, stream: Stream, code: int = wire.CANCEL) -> None:
        """Give up a stream; what waits is not sent. Nothing more is told of it."""
        if not stream.is_over:
            self.control(wire.rst_stream(stream.number, code))
            self._forget(stream)

    def hold(self, stream: Stream, size: int) -> None:
        """A message of this size was handed out and not read yet: its bytes are not credited."""
        stream.held_bytes += size + wire.PREFIX_BYTES

    def release(self, stream: Stream, size: int) -> None:
        """It was read."""
        stream.held_bytes -= size + wire.PREFIX_BYTES
        self._low.append(stream)

    def go_away(self) -> None:
        """Take no new streams; those that are open go on."""
        if not self.is_going_away:
            self.is_going_away = True
            self.control(wire.goaway(self.last_number_in, wire.NO_ERROR, ""))

    def control(self, frame: bytes) -> None:
        """Add a frame that needs no room in a window."""
        self._output.append(frame)

    @property
    def is_over(self) -> bool:
        """Whether the connection has no use any more: once its output is written, the socket may be closed."""
        return self.is_closed or (self.is_going_away and not self.streams)

    def take_output(self) -> list[Output]:
        """What to write now: control frames, and messages as far as the windows let them."""
        if self.is_blocked and not self.is_closed:
            return []
        if self._low:
            self._credit()
        if self._sending:
            self._fill()
        output = self._output
        if output:
            self._output = []
        return output

    def _credit(self) -> None:
        low, self._low = self._low, []
        for stream in low:
            if increment := stream.credit():
                self._output.append(wire.window_update(stream.number, increment))

    def _fill(self) -> None:
        """One frame of each stream in turn, until nothing may go."""
        has_moved = True
        while self._sending and has_moved:
            has_moved = False
            for stream in list(self._sending):
                has_moved |= self._send_some(stream)

    def _send_some(self, stream: Stream) -> bool:
        """Add a frame of this stream, or its tail. Returns whether anything could be added."""
        if size := stream.waiting_bytes:
            size = min(size, stream.send_window, self.send_window, self.peer_max_frame)
            if size <= 0:
                return False
            self.send_window -= size
            pieces = stream.take(size)
            head = wire.head(size, wire.DATA, 0, stream.number)
            if size < JOINED_BYTES:
                self._output.append(head + b"".join(pieces))
            else:
                self._output.append(head)
                self._output += pieces
            if stream.waiting_bytes:
                return True
        self._sending.pop(stream, None)
        if stream.tail:
            self._output.append(stream.tail)
            stream.tail = b""
            if self.is_server:
                self._forget(stream)
        elif stream.wants_room:
            stream.wants_room = False
            self.drained.append(stream)
        return True


def _greeting(more: Mapping[int, int]) -> bytes:
    """The first bytes either side writes: SETTINGS, and the window of the connection."""
    values = {
        wire.INITIAL_WINDOW_SIZE: wire.STREAM_WINDOW,
        wire.MAX_FRAME_SIZE: wire.OUR_MAX_FRAME,
        wire.MAX_HEADER_LIST_SIZE: wire.MAX_HEADER_BLOCK,
        **more,
    }
    return wire.settings(values) + wire.window_update(0, wire.CONNECTION_WINDOW - wire.DEFAULT_WINDOW)


_GREETING_OF_SERVER = _greeting({wire.MAX_CONCURRENT_STREAMS: wire.MAX_STREAMS})
_GREETING_OF_CLIENT = wire.PREFACE + _greeting({wire.ENABLE_PUSH: 0})
