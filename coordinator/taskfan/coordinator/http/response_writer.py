"""Answers as bytes: the head from what all of its kind share, the body in pieces that are never joined whole. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from http import HTTPStatus

from taskfan.coordinator.http.messages import Field, HttpResponse

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# A big answer is written in pieces of about this size, each when the last one has gone.
_PIECE_BYTES = 256 << 10
# Answers and parts below this size are joined: above it a copy costs more than one more buffer of the socket.
JOINED_BYTES = 32 << 10


class ResponseWriter:
    """Writes the answers of one server; `fields` stand in each of them."""

    def __init__(self, fields: Sequence[Field] = ()) -> None:
        self._fields = _lines(fields)

    def head(self, response: HttpResponse, content_length: int, *, closes: bool) -> bytes:
        """Status line and fields, with the empty line behind them."""
        start = _start(self._fields, response.status, response.content_type)
        if not closes and not response.fields:
            return b"%b%d\r\n\r\n" % (start, content_length)
        more = _lines(response.fields) + (b"connection: close\r\n" if closes else b"")
        return b"%b%d\r\n%b\r\n" % (start, content_length, more)


# Kinds of answers are few, and known to the program.
@lru_cache(128)
def _start(fields: bytes, status: int, content_type: str) -> bytes:
    phrase = HTTPStatus(status).phrase.encode()
    constant = fields + b"content-type: %b\r\n" % content_type.encode()
    return b"HTTP/1.1 %d %b\r\n%bcontent-length: " % (status, phrase, constant)


def _lines(fields: Sequence[Field]) -> bytes:
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def pieces(head: bytes, parts: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Buffers to write at once, some at a time: small parts joined to few, large ones as they are."""
    small, small_bytes = [head], len(head)
    for part in parts:
        if len(part) < JOINED_BYTES:
            small.append(part)
            small_bytes += len(part)
            if small_bytes >= _PIECE_BYTES:
                yield [b"".join(small)]
                small, small_bytes = [], 0
        else:
            yield [b"".join(small), part]
            small, small_bytes = [], 0
    if small:
        yield [b"".join(small)]
