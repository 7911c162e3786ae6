"""Typed messages as lines of JSON over a Unix socket, for a process that waits for one answer at a time."""

from __future__ import annotations

import socket
import time
from typing import Any, TypeVar

import msgspec

Message = TypeVar("Message")
# The cluster state of a thousand nodes takes a quarter of this.
MAX_LINE_BYTES = 4 << 20

_encoder = msgspec.json.Encoder()


class ChannelClosed(Exception):
    """The other side is gone."""


def encode(message: msgspec.Struct) -> bytes:
    """One line. JSON written by msgspec holds no line breaks of its own."""
    return _encoder.encode(message) + b"\n"


def decode(line: bytes, type: Any) -> Any:
    """The message of one line.

    Raises:
        ChannelClosed: the line is no such message; the other side speaks another version.
    """
    try:
        return msgspec.json.decode(line, type=type)
    except msgspec.DecodeError as error:
        raise ChannelClosed(f"not a message of this version of taskfan: {error}") from None


class BlockingChannel:
    """The end of a process that waits for one answer at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._received = b""

    def send(self, message: msgspec.Struct, *, timeout_s: float = 10.0) -> None:
        """Send one message. Raises ChannelClosed when nobody takes it in time."""
        self._socket.settimeout(timeout_s)
        try:
            self._socket.sendall(encode(message))
        except OSError as error:
            raise ChannelClosed(str(error)) from None

    def receive(self, type: Any, *, timeout_s: float) -> Any:
        """The next message.

        Raises:
            ChannelClosed: the other side is gone, or sent something else.
            TimeoutError: nothing came in time.
        """
        deadline_s = time.monotonic() + timeout_s
        while b"\n" not in self._received:
            self._socket.settimeout(max(deadline_s - time.monotonic(), 0.001))
            try:
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                raise TimeoutError(f"no answer within {timeout_s:g} s") from None
            except OSError as error:
                raise ChannelClosed(str(error)) from None
            if not data:
                raise ChannelClosed("the other side closed the connection")
            self._received += data
            if len(self._received) > MAX_LINE_BYTES:
                raise ChannelClosed("the answer is too long")
        line, _, self._received = self._received.partition(b"\n")
        return decode(line, type)

    def close(self) -> None:
        """Let go. Twice is fine."""
        self._socket.close()
