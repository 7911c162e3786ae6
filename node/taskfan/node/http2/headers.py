"""The header blocks of gRPC calls: written as constants, read with the whole of HPACK. Pure.

What is written are literals that no table remembers: so a block has no state, and is made once.
Source: gRPC over HTTP/2 (PROTOCOL-HTTP2.md), RFC 7541, RFC 9113 section 8.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote

from hpack import Decoder
from hpack.exceptions import HPACKError

from taskfan.node.grpc_status import Status
from taskfan.node.http2 import wire
from taskfan.node.http2.wire import ConnectionFault, StreamFault

Headers = Mapping[bytes, bytes]

_CONTENT_TYPE = b"application/grpc"
# All that may stand in the percent-encoded details as it is.
_PLAIN = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"
_OF_REQUESTS = (b":method", b":scheme", b":path", b":authority")
_OF_RESPONSES = (b":status",)
_OF_HTTP1 = (b"connection", b"transfer-encoding", b"upgrade", b"keep-alive", b"proxy-connection")
_STATUS_OF_HTTP = {
    b"400": Status.INTERNAL,
    b"401": Status.UNAUTHENTICATED,
    b"403": Status.PERMISSION_DENIED,
    b"404": Status.UNIMPLEMENTED,
    b"429": Status.UNAVAILABLE,
    b"502": Status.UNAVAILABLE,
    b"503": Status.UNAVAILABLE,
    b"504": Status.UNAVAILABLE,
}
_STATUS_OF_RESET = {
    wire.REFUSED_STREAM: Status.UNAVAILABLE,
    wire.CANCEL: Status.CANCELLED,
    wire.ENHANCE_YOUR_CALM: Status.RESOURCE_EXHAUSTED,
    wire.INADEQUATE_SECURITY: Status.PERMISSION_DENIED,
}


def block(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A header block of these, in this order."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in pairs)


def _text(text: bytes) -> bytes:
    """A string of HPACK, not Huffman-coded: its length in seven bits or more, and itself."""
    if len(text) < 127:
        return bytes((len(text),)) + text
    size, rest = bytearray((127,)), len(text) - 127
    while rest > 127:
        size.append(rest & 127 | 128)
        rest >>= 7
    size.append(rest)
    return bytes(size) + text


RESPONSE = block(
    [(b":status", b"200"), (b"content-type", _CONTENT_TYPE), (b"grpc-accept-encoding", b"identity")],
)
NO_GRPC = block([(b":status", b"415")])


def request(path: str, authority: str) -> bytes:
    """The headers that begin a call."""
    return block(
        [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", authority.encode()),
            (b"te", b"trailers"),
            (b"content-type", _CONTENT_TYPE),
            (b"user-agent", b"taskfan"),
            (b"grpc-accept-encoding", b"identity"),
        ]
    )


def trailers(status: Status, details: str, *, alone: bool) -> bytes:
    """The headers that end a call; `alone` when no others went before."""
    pairs = [(b":status", b"200"), (b"content-type", _CONTENT_TYPE)] if alone else []
    pairs.append((b"grpc-status", b"%d" % status))
    if details:
        pairs.append((b"grpc-message", quote(details[:4096], safe=_PLAIN).encode()))
    return block(pairs)


class Tables:
    """What HPACK remembers of one direction. Made when it is first needed: what our own side writes needs none."""

    def __init__(self) -> None:
        self._decoder: Decoder | None = None

    def unpack(self, data: bytes) -> Iterable[tuple[bytes, bytes]]:
        """The headers in a block, in order.

        Raises:
            ConnectionFault: it cannot be unpacked, after which no later one could.
        """
        if (plain := _literals(data)) is not None:
            return plain
        if self._decoder is None:
            self._decoder = Decoder(max_header_list_size=wire.MAX_HEADER_BLOCK)
        try:
            return self._decoder.decode(data, raw=True)
        except HPACKError as error:
            raise ConnectionFault(wire.COMPRESSION_ERROR, f"header block: {error}") from None
        except (IndexError, ValueError, OverflowError) as error:
            # Such have come through from blocks that end too early.
            raise ConnectionFault(wire.COMPRESSION_ERROR, f"header block: {error!r}") from None


def _literals(data: bytes) -> list[tuple[bytes, bytes]] | None:
    """The headers of a block like those of `block`, with short texts; None for all others.

    Such a block neither uses nor changes a table, so that nothing is lost when it passes them by.
    """
    pairs, offset, end = [], 0, len(data)
    while offset < end:
        name = offset + 2
        if data[offset] or name > end or (size := data[offset + 1]) > 126 or not size:
            return None
        value = name + size + 1
        if value > end or (length := data[value - 1]) > 126 or value + length > end:
            return None
        offset = value + length
        pairs.append((data[name : value - 1], data[value:offset]))
    return pairs


def decode(tables: Tables, data: bytes, number: int, *, of_request: bool) -> Headers:
    """The headers in a block; of one that comes several times, the last.

    Raises:
        ConnectionFault: it cannot be unpacked, after which no later one could.
        StreamFault: it holds what HTTP/2 forbids.
    """
    return _checked(tables.unpack(data), number, _OF_REQUESTS if of_request else _OF_RESPONSES)


def _checked(pairs: Iterable[tuple[bytes, bytes]], number: int, pseudo: tuple[bytes, ...]) -> Headers:
    headers: dict[bytes, bytes] = {}
    only_plain_follow = False
    for name, value in pairs:
        if name.startswith(b":"):
            if only_plain_follow or name in headers or name not in pseudo:
                raise StreamFault(wire.PROTOCOL_ERROR, f"header {name!r} here", number)
        else:
            only_plain_follow = True
            if name != name.lower() or name in _OF_HTTP1 or (name == b"te" and value != b"trailers"):
                raise StreamFault(wire.PROTOCOL_ERROR, f"header {name!r}", number)
        headers[name] = value
    return headers


def is_grpc(headers: Headers) -> bool:
    """Whether a request is a gRPC call."""
    return headers[b":method"] == b"POST" and headers.get(b"content-type", b"").startswith(_CONTENT_TYPE)


def status_of(headers: Headers) -> tuple[Status, str]:
    """How a call ended, from its trailers, or from the only headers that came."""
    code = headers.get(b"grpc-status")
    if code is None:
        http = headers.get(b":status", b"200")
        if http == b"200":
            return Status.UNKNOWN, "ended without a status"
        return _STATUS_OF_HTTP.get(http, Status.UNKNOWN), f"HTTP status {http.decode('latin-1')}"
    details = unquote(headers.get(b"grpc-message", b"").decode("latin-1"))
    if not code.isdigit() or len(code) > 2 or int(code) > Status.UNAUTHENTICATED:
        return Status.UNKNOWN, details
    return Status(int(code)), details


def status_of_reset(code: int) -> Status:
    """The status that gRPC gives a stream which the other side reset with this code."""
    return _STATUS_OF_RESET.get(code, Status.INTERNAL)
