"""The frames of a connection as they come in, one by one, with all that HTTP/2 forbids. Pure."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from taskfan.node.grpc_status import Status, StatusError
from taskfan.node.http2 import headers, wire
from taskfan.node.http2.events import Called, HalfClosed, Message
from taskfan.node.http2.headers import Headers
from taskfan.node.http2.stream import BETWEEN_MESSAGES, Stream
from taskfan.node.http2.wire import ConnectionFault, StreamFault

if TYPE_CHECKING:
    from taskfan.node.http2.connection import Connection


_NO_STATUS = "ended without a status"


class Incoming:
    """Reads the frames of one connection, and changes its state as they say.

    `is_plain`: SETTINGS have come, and no header block is under way, so that any frame may come.
    """

    def __init__(self, connection: Connection) -> None:
        # It holds this: were both to hold each other, a connection that ended would wait for the next collection.
        self._connection: Connection = weakref.proxy(connection)
        self.is_plain = False
        self._has_settings = False
        self._tables = headers.Tables()
        # The header block that has begun: its stream, its flags, what has come of it.
        self._block: tuple[int, int, bytearray] | None = None

    def frame(self, type: int, flags: int, number: int, payload: bytes) -> None:
        """Take a whole frame.

        Raises:
            ConnectionFault, StreamFault: it breaks a rule.
        """
        if not self._has_settings and (type != wire.SETTINGS or flags & wire.ACK):
            raise ConnectionFault(wire.PROTOCOL_ERROR, "SETTINGS come first")
        if self._block is not None and (type != wire.CONTINUATION or number != self._block[0]):
            raise ConnectionFault(wire.PROTOCOL_ERROR, "the header block is not complete")
        # What carries no message; a WINDOW_UPDATE asks for nothing, and some send two with each message.
        if type != wire.WINDOW_UPDATE and not (type == wire.DATA and payload):
            self._connection.control_frames += 1
        if type < len(_READERS):
            _READERS[type](self, flags, number, payload)

    # ------------------------------------------------------------------ messages

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        stream = self._connection.streams.get(number)
        if stream is None:
            self._must_not_be_idle(number, "DATA")
        elif stream.is_ended_there:
            raise StreamFault(wire.STREAM_CLOSED, "DATA after the end", number)
        elif not stream.takes_messages and not (stream.is_ended_here and self._connection.is_server):
            raise StreamFault(wire.PROTOCOL_ERROR, "DATA before HEADERS", number)
        self._connection.count_in(stream, len(payload))
        data = wire.without_padding(flags, payload)
        if stream is not None and stream.takes_messages:
            self._feed(stream, data)
        if stream is not None and flags & wire.END_STREAM:
            self._end_of(stream)

    def _feed(self, stream: Stream, data: bytes) -> None:
        messages: list[bytes] = []
        error: StatusError | None = None
        try:
            stream.feed(data, messages)
        except StatusError as raised:
            error = raised
        for message in messages:
            self._connection.tell(Message(stream, message))
        if error is not None:
            self._connection.fail(stream, error.status, error.details)

    def _end_of(self, stream: Stream, status: Status = Status.UNKNOWN, details: str = _NO_STATUS) -> None:
        """The peer sends no more on this stream; a server says how the call ended."""
        connection = self._connection
        if stream.is_over:
            return
        is_heard, stream.is_ended_there, stream.takes_messages = stream.takes_messages, True, False
        if is_heard and stream.awaits_bytes != BETWEEN_MESSAGES:
            connection.fail(stream, Status.INTERNAL, "ended inside a message")
        elif not connection.is_server:
            if not stream.is_ended_here or stream.tail:
                # The server will not read what this side might still send.
                connection.control(wire.rst_stream(stream.number, wire.NO_ERROR))
            connection.end(stream, status, details)
        elif is_heard:
            connection.tell(HalfClosed(stream))

    # ------------------------------------------------------------------ header blocks

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        if not number or not self._connection.is_server:
            self._must_not_be_idle(number, "HEADERS")
        block = wire.without_padding(flags, payload)
        if flags & wire.PRIORITY_FLAG:
            if len(block) < 5:
                raise ConnectionFault(wire.FRAME_SIZE_ERROR, "HEADERS without their priority")
            if wire.number_in(block) & 0x7FFFFFFF == number:
                raise ConnectionFault(wire.PROTOCOL_ERROR, "a stream that depends on itself")
            block = block[5:]
        self._block = (number, flags, bytearray())
        self._add_to_block(flags, block)

    def _continuation(self, flags: int, number: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionFault(wire.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._add_to_block(flags, payload)

    def _add_to_block(self, flags: int, part: bytes) -> None:
        assert self._block is not None
        number, first_flags, block = self._block
        self.is_plain = False
        if len(block) + len(part) > wire.MAX_HEADER_BLOCK:
            raise ConnectionFault(wire.ENHANCE_YOUR_CALM, "a header block is too large")
        block += part
        if flags & wire.END_HEADERS:
            self._block, self.is_plain = None, True
            decoded = headers.decode(self._tables, bytes(block), number, of_request=self._connection.is_server)
            take = self._request if self._connection.is_server else self._response
            take(number, decoded, is_last=bool(first_flags & wire.END_STREAM))

    def _request(self, number: int, decoded: Headers, *, is_last: bool) -> None:
        connection = self._connection
        stream = connection.streams.get(number)
        if stream is not None:
            self._trailers_of_request(stream, decoded, is_last=is_last)
            return
        if not number & 1:
            raise ConnectionFault(wire.PROTOCOL_ERROR, "a client's streams have odd numbers")
        if number <= connection.last_number_in:
            raise ConnectionFault(wire.STREAM_CLOSED, "HEADERS on a stream that has ended")
        connection.last_number_in = number
        if connection.is_going_away or len(connection.streams) >= wire.MAX_STREAMS:
            raise StreamFault(wire.REFUSED_STREAM, "no more streams", number)
        if not decoded.get(b":path") or b":method" not in decoded or b":scheme" not in decoded:
            raise StreamFault(wire.PROTOCOL_ERROR, "a request without method, scheme or path", number)
        if not headers.is_grpc(decoded):
            connection.control(wire.frame(wire.HEADERS, 5, number, headers.NO_GRPC))
            if not is_last:
                connection.control(wire.rst_stream(number, wire.NO_ERROR))
            return
        stream = connection.add(number)
        stream.takes_messages = True
        connection.tell(Called(stream, decoded[b":path"].decode("latin-1")))
        if is_last:
            self._end_of(stream)

    def _trailers_of_request(self, stream: Stream, decoded: Headers, *, is_last: bool) -> None:
        if stream.is_ended_there:
            raise StreamFault(wire.STREAM_CLOSED, "HEADERS after the end", stream.number)
        _must_be_trailers(decoded, stream.number, is_last=is_last)
        self._end_of(stream)

    def _response(self, number: int, decoded: Headers, *, is_last: bool) -> None:
        stream = self._connection.streams.get(number)
        if stream is None:
            return
        if not stream.takes_messages:
            if decoded.get(b":status", b"").startswith(b"1") and not is_last:
                return
            if b":status" not in decoded:
                raise StreamFault(wire.PROTOCOL_ERROR, "an answer without a status", number)
            stream.takes_messages = True
            if not is_last and decoded[b":status"] != b"200":
                # Whoever answers so does not speak gRPC; what it has to say besides is of no use.
                self._connection.fail(stream, *headers.status_of(decoded))
        else:
            _must_be_trailers(decoded, number, is_last=is_last)
        if is_last:
            self._end_of(stream, *headers.status_of(decoded))

    # ------------------------------------------------------------------ the rest

    def _priority(self, _flags: int, number: int, payload: bytes) -> None:
        if not number:
            raise ConnectionFault(wire.PROTOCOL_ERROR, "PRIORITY of no stream")
        if len(payload) != 5:
            raise ConnectionFault(wire.FRAME_SIZE_ERROR, "PRIORITY of another size")
        if wire.number_in(payload) & 0x7FFFFFFF == number:
            raise ConnectionFault(wire.PROTOCOL_ERROR, "a stream that depends on itself")

    def _rst_stream(self, _flags: int, number: int, payload: bytes) -> None:
        self._must_not_be_idle(number, "RST_STREAM")
        if len(payload) != 4:
            raise ConnectionFault(wire.FRAME_SIZE_ERROR, "RST_STREAM of another size")
        if (stream := self._connection.streams.get(number)) is not None:
            code = wire.number_in(payload)
            self._connection.end(stream, headers.status_of_reset(code), f"reset by the other side with code [{code}]")

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(wire.PROTOCOL_ERROR, "SETTINGS of a stream")
        if len(payload) % 6 or (flags & wire.ACK and payload):
            raise ConnectionFault(wire.FRAME_SIZE_ERROR, "SETTINGS of another size")
        if flags & wire.ACK:
            return
        self._has_settings = self.is_plain = True
        for name, value in wire.settings_of(payload):
            self._setting(name, value)
        self._connection.control(wire.frame(wire.SETTINGS, wire.ACK, 0))

    def _setting(self, name: int, value: int) -> None:
        connection = self._connection
        if name == wire.INITIAL_WINDOW_SIZE:
            if value > wire.LARGEST_WINDOW:
                raise ConnectionFault(wire.FLOW_CONTROL_ERROR, f"an initial window of [{value}] bytes")
            for stream in connection.streams.values():
                stream.send_window += value - connection.peer_window
                if stream.send_window > wire.LARGEST_WINDOW:
                    raise ConnectionFault(wire.FLOW_CONTROL_ERROR, "a stream's window is too large")
            connection.peer_window = value
        elif name == wire.MAX_FRAME_SIZE:
            if not wire.DEFAULT_MAX_FRAME <= value <= wire.LARGEST_MAX_FRAME:
                raise ConnectionFault(wire.PROTOCOL_ERROR, f"frames of at most [{value}] bytes")
            connection.peer_max_frame = value
        elif name == wire.MAX_CONCURRENT_STREAMS:
            connection.peer_max_streams = value
        elif name == wire.ENABLE_PUSH and (value > 1 or (value and not connection.is_server)):
            raise ConnectionFault(wire.PROTOCOL_ERROR, f"ENABLE_PUSH is [{value}]")

    def _push_promise(self, _flags: int, _number: int, _payload: bytes) -> None:
        raise ConnectionFault(wire.PROTOCOL_ERROR, "PUSH_PROMISE was not allowed")

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(wire.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(wire.FRAME_SIZE_ERROR, "PING of another size")
        if not flags & wire.ACK:
            self._connection.control(wire.frame(wire.PING, wire.ACK, 0, payload))

    def _goaway(self, _flags: int, number: int, payload: bytes) -> None:
        connection = self._connection
        if number:
            raise ConnectionFault(wire.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise ConnectionFault(wire.FRAME_SIZE_ERROR, "GOAWAY of another size")
        connection.is_going_away = True
        if not connection.is_server:
            last = wire.number_in(payload) & 0x7FFFFFFF
            why = payload[8:200].decode("latin-1")
            for later in [stream for stream in connection.streams.values() if stream.number > last]:
                connection.end(later, Status.UNAVAILABLE, f"the other side goes away: {why}")

    def _window_update(self, _flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(wire.FRAME_SIZE_ERROR, "WINDOW_UPDATE of another size")
        increment = wire.number_in(payload) & 0x7FFFFFFF
        if not number:
            self._connection.send_window += increment
            if not increment or self._connection.send_window > wire.LARGEST_WINDOW:
                raise ConnectionFault(_window_code(increment), f"the connection's window grows by [{increment}]")
            return
        stream = self._connection.streams.get(number)
        if stream is None:
            self._must_not_be_idle(number, "WINDOW_UPDATE")
            return
        stream.send_window += increment
        if not increment or stream.send_window > wire.LARGEST_WINDOW:
            raise StreamFault(_window_code(increment), f"its window grows by [{increment}]", number)

    def _must_not_be_idle(self, number: int, what: str) -> None:
        """What comes for a stream that ended a moment ago is no fault; for one that never began, it is."""
        if not number or self._connection.is_idle(number):
            raise ConnectionFault(wire.PROTOCOL_ERROR, f"{what} on a stream that has not begun")


def _must_be_trailers(decoded: Headers, number: int, *, is_last: bool) -> None:
    """Raises StreamFault: these are no headers that may come after the first ones."""
    if not is_last:
        raise StreamFault(wire.PROTOCOL_ERROR, "trailers that do not end the stream", number)
    if any(name.startswith(b":") for name in decoded):
        raise StreamFault(wire.PROTOCOL_ERROR, "a pseudo header in trailers", number)


def _window_code(increment: int) -> int:
    return wire.FLOW_CONTROL_ERROR if increment else wire.PROTOCOL_ERROR


# By type; of the types beyond, HTTP/2 says to take no notice.
_READERS = (
    Incoming._data,
    Incoming._headers,
    Incoming._priority,
    Incoming._rst_stream,
    Incoming._settings,
    Incoming._push_promise,
    Incoming._ping,
    Incoming._goaway,
    Incoming._window_update,
    Incoming._continuation,
)
