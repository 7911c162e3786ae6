"""One gRPC call as its user sees it: messages to read and to write, waiting or pushed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from taskfan.node.grpc_status import Status
from taskfan.node.http2.stream import Stream
from taskfan.node.link_transport import StreamBroken
from taskfan.node.waiting_line import EMPTY, lined_up

# A writer waits while more than this waits on its stream; one large message is always taken.
WAITING_BYTES = 1 << 16
# A larger message is not worth the hurry: what waits with it may overtake it until the end of the tick.
AT_ONCE_BYTES = 16 << 10


class Carrier(Protocol):
    """What a call needs of the connection that it is on."""

    def send(self, call: Call, message: bytes) -> None:
        """Let a message wait on the call's stream."""

    def flush_soon(self, call: Call, *, at_once: bool = True) -> None:
        """Ask the call for what it has, and write it: now, if nothing was written in this tick, or at its end."""

    def offer(self, call: Call, message: bytes) -> bool:
        """Write a message as `flush_soon` would, if nothing waits before it. Returns whether it was taken."""

    def hold(self, call: Call, size: int) -> None:
        """A message waits to be read."""

    def release(self, call: Call, size: int) -> None:
        """It was read."""

    def finish(self, call: Call, status: Status, details: str) -> None:
        """The callee's last word."""

    def give_up(self, call: Call) -> None:
        """The caller's: nothing of this call is wanted any more."""


class Call:
    """A `FrameStream` in whole messages: read and write it, or `attach` who is given each message at once.

    `on_last` is called when the other side has sent its last message, `on_end` when the call is over and not from
    here; `on_room` after `flush_soon`, and when what was sent has been written while its stream `wants_room`.
    """

    def __init__(self, carrier: Carrier, stream: Stream, path: str) -> None:
        self.stream, self.path = stream, path
        # `has_last`: nothing more comes. `is_over`: nothing more can be written either.
        self.has_last = self.is_over = False
        self.on_last: Callable[[], None] = _nothing
        self.on_end: Callable[[], None] = _nothing
        self.on_room: Callable[[], None] = _nothing
        self._carrier = carrier
        self._on_message: Callable[[bytes], None] | None = None
        self._inbox: deque[bytes] = EMPTY
        # Why it is over, when that is no good end.
        self.why = ""
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    # ------------------------------------------------------------------ for its user

    async def read(self) -> bytes | None:
        """The next message; None when the other side has sent its last.

        Raises:
            StreamBroken: it ended otherwise.
        """
        while not self._inbox:
            if self.has_last or self.is_over:
                if self.why:
                    raise StreamBroken(self.why)
                return None
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return self._next()

    async def write(self, frame: bytes) -> None:
        """Hand over a message, and wait until another one may follow.

        Raises:
            StreamBroken: the call is over.
        """
        self._must_go_on()
        self._carrier.send(self, frame)
        self._carrier.flush_soon(self)
        while self.stream.waiting_bytes > WAITING_BYTES:
            self.stream.wants_room = True
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer
            self._must_go_on()

    async def close(self) -> None:
        """The callee's end of a call, all is well. What was written still goes."""
        self.finish()

    def finish(self, status: Status = Status.OK, details: str = "") -> None:
        """The callee's end of a call. Twice is fine."""
        if not self.is_over:
            self.is_over = True
            self._carrier.finish(self, status, details)

    def give_up(self) -> None:
        """The caller's end of a call. Twice is fine."""
        if not self.is_over:
            self.is_over = True
            self._carrier.give_up(self)

    def attach(self, on_message: Callable[[bytes], None]) -> None:
        """From now on each message is given to this, at once, instead of being read."""
        self._on_message = on_message
        while self._inbox:
            on_message(self._next())
        self._inbox = EMPTY

    def send(self, message: bytes) -> None:
        """Within `on_room`: hand over a message without waiting."""
        if not self.is_over:
            self._carrier.send(self, message)

    def offer(self, message: bytes) -> bool:
        """Hand over a small message at once, if nothing waits before it. Returns whether it was taken."""
        return not self.is_over and len(message) < AT_ONCE_BYTES and self._carrier.offer(self, message)

    def flush_soon(self, *, at_once: bool = True) -> None:
        """There is more to write: have `on_room` called, at once if nothing was written in this tick."""
        if not self.is_over:
            self._carrier.flush_soon(self, at_once=at_once)

    # ------------------------------------------------------------------ for its connection

    def message(self, data: bytes) -> None:
        """A message came."""
        if self._on_message is not None:
            self._on_message(data)
        else:
            self._inbox = lined_up(self._inbox, data)
            self._carrier.hold(self, len(data))
            _wake(self._reader)

    def room(self) -> None:
        """All that was handed over has been written, or there is something to write."""
        self.on_room()
        _wake(self._writer)

    def half_closed(self) -> None:
        """The other side has sent its last."""
        self.has_last = True
        _wake(self._reader)
        self.on_last()

    def ended(self, status: Status, details: str) -> None:
        """The call is over."""
        if not self.is_over:
            self.is_over = True
            # Who cancels a call has ended it, and means to.
            self.why = "" if status in (Status.OK, Status.CANCELLED) else f"{status.name}: {details}"
            _wake(self._reader)
            _wake(self._writer)
            self.on_end()

    def _next(self) -> bytes:
        message = self._inbox.popleft()
        self._carrier.release(self, len(message))
        return message

    def _must_go_on(self) -> None:
        if self.is_over:
            raise StreamBroken(self.why or "the call has ended")


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _nothing() -> None:
    """Nobody wants to know."""
