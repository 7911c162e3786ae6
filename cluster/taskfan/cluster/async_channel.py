"""Typed messages as lines of JSON over a Unix socket, on an event loop.

Apart from the end that blocks: who only starts a cluster need not wait for asyncio to be imported. A protocol of its
own and not asyncio's streams: their code would cost each member 200 KiB, of pages that it no longer shares.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any, cast

import msgspec

from taskfan.cluster.channel import MAX_LINE_BYTES, ChannelClosed, decode, encode

# What may wait for a reader: some hundred states of a large cluster.
MAX_WAITING_BYTES = 32 << 20
CLOSE_TIMEOUT_S = 1.0


class Channel(asyncio.Protocol):
    """The end on an event loop.

    Args:
        on_open: told of it once it is connected.
    """

    def __init__(self, on_open: Callable[[Channel], object] | None = None) -> None:
        self._on_open = on_open
        self._received = b""
        self._is_paused = self._is_lost = False
        # Who waits until more was received, or the other side is gone.
        self._news: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, sock: socket.socket) -> Channel:
        """Take over a connected Unix socket."""
        sock.setblocking(False)
        _, channel = await asyncio.get_running_loop().create_unix_connection(cls, sock=sock)
        return channel

    # ------------------------------------------------------------------ what the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._on_open is not None:
            self._on_open(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > MAX_LINE_BYTES:
            self._transport.pause_reading()
            self._is_paused = True
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._is_lost = True
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    # ------------------------------------------------------------------ messages

    def send(self, message: msgspec.Struct) -> None:
        """Send one message, without waiting."""
        self.send_line(encode(message))

    def send_line(self, line: bytes) -> None:
        """Send what `encode` made: once for many receivers."""
        if self._transport.is_closing():
            return
        self._transport.write(line)
        if self._transport.get_write_buffer_size() > MAX_WAITING_BYTES:
            # Whoever does not read for so long is beyond help, and sees the end of the channel when it does.
            self._transport.abort()

    async def receive(self, type: Any) -> Any:
        """The next message. Raises ChannelClosed at the end. The caller, of which there is one, bounds the wait."""
        while b"\n" not in self._received:
            if len(self._received) > MAX_LINE_BYTES:
                raise ChannelClosed("the message is too long")
            if self._is_lost:
                raise ChannelClosed("the other side closed the connection")
            await self._more()
        line, _, self._received = self._received.partition(b"\n")
        if self._is_paused and len(self._received) <= MAX_LINE_BYTES:
            self._is_paused = False
            self._transport.resume_reading()
        return decode(line, type)

    async def _more(self) -> None:
        self._news = asyncio.get_running_loop().create_future()
        try:
            await self._news
        finally:
            self._news = None

    async def close(self) -> None:
        """Send what waits, if the other side takes it within a second, and let go."""
        self._transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                while not self._is_lost:
                    await self._more()
