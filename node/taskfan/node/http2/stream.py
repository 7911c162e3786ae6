"""One stream of a connection: what waits to be sent on it, and what has come in of a message. Pure."""

from __future__ import annotations

from collections import deque

from taskfan.node.grpc_status import Status, StatusError
from taskfan.node.http2 import wire
from taskfan.node.waiting_line import EMPTY, lined_up

# Below it, a message is joined with what goes before it; above, copying costs more than another buffer.
JOINED_BYTES = 1 << 16
# Instead of the bytes that a message lacks: nothing of it has come, or less than its prefix.
BETWEEN_MESSAGES, INSIDE_PREFIX = -1, -2


class Stream:
    """State of one stream. What follows from it for the connection, the connection decides.

    `send_window` may be negative: the peer may shrink it below what was sent already.
    """

    __slots__ = (
        "_parts",
        "_pieces",
        "_prefix",
        "awaits_bytes",
        "held_bytes",
        "is_ended_here",
        "is_ended_there",
        "is_over",
        "number",
        "receive_window",
        "send_window",
        "sent_headers",
        "tail",
        "takes_messages",
        "waiting_bytes",
        "wants_room",
    )

    def __init__(self, number: int, send_window: int) -> None:
        self.number = number
        self.send_window, self.receive_window = send_window, wire.STREAM_WINDOW
        # Whether what comes has a meaning: after the first headers, until either side ends it.
        self.takes_messages = False
        self.sent_headers = False
        # `is_ended_there`: the peer sends no more. `is_over`: nothing that comes has a meaning any more.
        self.is_ended_here = self.is_ended_there = self.is_over = False
        # Bytes of messages that were handed out and are still to be read: they are not credited.
        self.held_bytes = 0
        self.waiting_bytes = 0
        # Whether its owner waits to be told that all was written.
        self.wants_room = False
        # What goes last, after all that waits: it needs no room in a window.
        self.tail = b""
        self._pieces: deque[bytes | memoryview] = EMPTY
        # Of a message that has come in part: how much is missing, and what is there.
        self.awaits_bytes = BETWEEN_MESSAGES
        self._prefix = b""
        self._parts: list[bytes] = []

    def put(self, message: bytes) -> None:
        """Let a message wait."""
        size = len(message)
        if size < JOINED_BYTES:
            self._pieces = lined_up(self._pieces, wire.prefix(size) + message)
        else:
            self._pieces = lined_up(self._pieces, wire.prefix(size))
            self._pieces.append(message)
        self.waiting_bytes += size + wire.PREFIX_BYTES

    def take(self, room: int) -> list[bytes | memoryview]:
        """At most so many of the bytes that wait, in order."""
        if self.waiting_bytes <= room:
            taken, room = list(self._pieces), self.waiting_bytes
            self._pieces = EMPTY
        else:
            taken = self._cut(room)
        self.waiting_bytes -= room
        self.send_window -= room
        return taken

    def _cut(self, room: int) -> list[bytes | memoryview]:
        taken: list[bytes | memoryview] = []
        while room:
            piece = self._pieces.popleft()
            if len(piece) > room:
                view = memoryview(piece)
                self._pieces.appendleft(view[room:])
                piece = view[:room]
            taken.append(piece)
            room -= len(piece)
        return taken

    def drop(self) -> None:
        """Forget what waits and what has come in part."""
        self._pieces = EMPTY
        self._parts.clear()
        self.waiting_bytes, self.tail = 0, b""
        self.awaits_bytes, self._prefix = BETWEEN_MESSAGES, b""

    def feed(self, data: bytes, messages: list[bytes]) -> None:
        """Take the payload of a DATA frame, and add the messages that it completes.

        Raises:
            StatusError: a message that gRPC allows but we do not read; the call cannot go on.
        """
        offset, end = 0, len(data)
        while offset < end or self.awaits_bytes == 0:
            if self.awaits_bytes < 0:
                offset = self._read_prefix(data, offset)
                continue
            part = data[offset : offset + self.awaits_bytes]
            offset += len(part)
            self.awaits_bytes -= len(part)
            self._parts.append(part)
            if self.awaits_bytes:
                return
            messages.append(part if len(self._parts) == 1 else b"".join(self._parts))
            self.awaits_bytes, self._parts = BETWEEN_MESSAGES, []

    def _read_prefix(self, data: bytes, offset: int) -> int:
        more = data[offset : offset + wire.PREFIX_BYTES - len(self._prefix)]
        self._prefix += more
        self.awaits_bytes = INSIDE_PREFIX
        if len(self._prefix) == wire.PREFIX_BYTES:
            flag, size = wire.prefix_of(self._prefix)
            self._prefix = b""
            if flag == 1:
                raise StatusError(Status.UNIMPLEMENTED, "compressed messages are not understood")
            if flag:
                raise StatusError(Status.INTERNAL, f"a message begins with [{flag}]")
            if size > wire.MAX_MESSAGE:
                raise StatusError(
                    Status.RESOURCE_EXHAUSTED, f"a message of [{size}] bytes is larger than [{wire.MAX_MESSAGE}]"
                )
            self.awaits_bytes = size
        return offset + len(more)

    def credit(self) -> int:
        """By how much the peer's window may grow again; 0 while that is too little to say.

        Of a message that has come in part the bytes count as read: else one larger than the window never would be.
        """
        increment = wire.STREAM_WINDOW - self.receive_window - self.held_bytes
        if increment < wire.STREAM_WINDOW // 2 or self.is_ended_there or self.is_over:
            return 0
        self.receive_window += increment
        return increment
