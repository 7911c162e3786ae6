"""HTTP/2 frames as bytes: their numbers, our limits, and how they are written. Pure.

Source: RFC 9113, sections 4 to 7.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Types of frames.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
# Flags; ACK is that of SETTINGS and PING.
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY_FLAG = 0x1, 0x1, 0x4, 0x8, 0x20
# Parameters of SETTINGS.
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)
# Error codes of RST_STREAM and GOAWAY.
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR = range(
    7
)
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY = range(7, 13)

DEFAULT_WINDOW: Final = 65_535
DEFAULT_MAX_FRAME: Final = 16_384
LARGEST_MAX_FRAME: Final = 0xFFFFFF
LARGEST_WINDOW: Final = 0x7FFFFFFF
LARGEST_STREAM: Final = 0x7FFFFFFF

# What one side may send on a stream before it is credited.
STREAM_WINDOW: Final = 1 << 20
# More than the streams that are read slowly take together, or one of them would block the others.
CONNECTION_WINDOW: Final = 16 << 20
# Large frames cost less for large messages: measured, 256 KiB halve the time of 100 KB.
OUR_MAX_FRAME: Final = 1 << 18
# gRPC's own default.
MAX_MESSAGE: Final = 4 << 20
# A header block with its continuations, as it comes and unpacked.
MAX_HEADER_BLOCK: Final = 1 << 16
MAX_STREAMS: Final = 1024

HEAD_BYTES: Final = 9
PREFIX_BYTES: Final = 5
_HEAD = struct.Struct(">HBBBL")
_PREFIX = struct.Struct(">BL")
_NUMBER = struct.Struct(">L")
# A frame's head and, in the same look, the prefix of the message it may hold.
HEAD_AND_PREFIX: Final = struct.Struct(">HBBBLBL")
HEAD: Final = _HEAD


class ConnectionFault(Exception):
    """The peer broke a rule that ends the connection; `code` goes into GOAWAY."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class StreamFault(Exception):
    """The peer broke a rule that ends one stream; `code` goes into RST_STREAM."""

    def __init__(self, code: int, text: str, number: int) -> None:
        super().__init__(text)
        self.code, self.number = code, number


def head(size: int, type: int, flags: int, stream: int) -> bytes:
    """The nine bytes before a frame's payload."""
    return _HEAD.pack(size >> 8, size & 0xFF, type, flags, stream)


def frame(type: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return head(len(payload), type, flags, stream) + payload


def prefix(size: int) -> bytes:
    """gRPC's five bytes before a message: not compressed, and so long."""
    return _PREFIX.pack(0, size)


def prefix_of(data: bytes) -> tuple[int, int]:
    """The flag and the size that such a prefix says."""
    flag, size = _PREFIX.unpack(data)
    return flag, size


def number_in(payload: bytes, offset: int = 0) -> int:
    """The 32 bits there."""
    return int(_NUMBER.unpack_from(payload, offset)[0])


def settings(values: Mapping[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HL", name, value) for name, value in values.items()))


def settings_of(payload: bytes) -> list[tuple[int, int]]:
    """The parameters in a SETTINGS frame, whose size has been checked, in order."""
    return list(struct.iter_unpack(">HL", payload))


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, _NUMBER.pack(increment))


def rst_stream(stream: int, code: int) -> bytes:
    """A RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, _NUMBER.pack(code))


def goaway(last_stream: int, code: int, text: str) -> bytes:
    """A GOAWAY frame; its text is for people."""
    return frame(GOAWAY, 0, 0, _NUMBER.pack(last_stream) + _NUMBER.pack(code) + text.encode()[:200])


def without_padding(flags: int, payload: bytes) -> bytes:
    """What a DATA or HEADERS frame carries besides padding.

    Raises:
        ConnectionFault: there is more padding than frame.
    """
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(PROTOCOL_ERROR, "more padding than frame")
    return payload[1 : len(payload) - payload[0]]
