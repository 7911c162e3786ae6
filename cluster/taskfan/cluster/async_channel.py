"""Typed messages as lines of JSON over a Unix socket, on an event loop.

Apart from the end that blocks: who only starts a cluster need not wait for asyncio to be imported.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import msgspec

from taskfan.cluster.channel import MAX_LINE_BYTES, ChannelClosed, decode, encode

# What may wait for a reader: some hundred states of a large cluster.
MAX_WAITING_BYTES = 32 << 20


class Channel:
    """The end on an event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, sock: socket.socket) -> Channel:
        """Take over a connected Unix socket."""
        sock.setblocking(False)
        return cls(*await asyncio.open_unix_connection(sock=sock, limit=MAX_LINE_BYTES))

    def send(self, message: msgspec.Struct) -> None:
        """Send one message, without waiting."""
        self.send_line(encode(message))

    def send_line(self, line: bytes) -> None:
        """Send what `encode` made: once for many receivers."""
        if self._writer.is_closing():
            return
        self._writer.write(line)
        if self._writer.transport.get_write_buffer_size() > MAX_WAITING_BYTES:
            # Whoever does not read for so long is beyond help, and sees the end of the channel when it does.
            self._writer.transport.abort()

    async def receive(self, type: Any) -> Any:
        """The next message. Raises ChannelClosed at the end. The caller bounds the wait."""
        try:
            line = await self._reader.readuntil(b"\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
            raise ChannelClosed(str(error)) from None
        return decode(line, type)

    async def close(self) -> None:
        """Send what waits, if the other side takes it within a second, and let go."""
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await self._writer.wait_closed()
