"""One HTTP/2 connection on the event loop: bytes from the socket to the pure part, and its events to the calls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import cast

from taskfan.node.clock import Clock, TimerHandle
from taskfan.node.grpc_status import Status
from taskfan.node.http2 import wire
from taskfan.node.http2.connection import Connection
from taskfan.node.http2.events import Called, Ended, Event, Message
from taskfan.node.http2.stream import Stream
from taskfan.node.http2_call import Call
from taskfan.node.link_transport import StreamBroken

_log = logging.getLogger(__name__)

# Above it the socket takes no more for now: what waits beyond can still be overtaken.
_MOST_UNSENT_BYTES = 1 << 20
_COPIED_BYTES = 64 << 10
# What was written before a close has this long to be read by the other side.
_LINGER_S = 1.0
# A connection without calls is closed by the side that was called.
_IDLE_S = 300.0
# Frames without a message in a second; a peer that sends more only wants to keep this side busy.
_MOST_CONTROL_FRAMES = 20_000
_SECOND_NS = 1_000_000_000


class Ticks:
    """The turns of the event loop in which the sockets of a transport write, counted for all of them together.

    A read of one of them is a turn of its own, when nothing was written before it: so a node that only answers, and
    asks in return, has no second turn after each.
    """

    def __init__(self) -> None:
        self._number = 0
        self._has_begun = self._is_read = False
        self._late: dict[Http2Socket, None] = {}

    def current(self) -> int:
        """The number of this one."""
        if not self._has_begun:
            self._has_begun = True
            if not self._is_read:
                asyncio.get_running_loop().call_soon(self._end)
        return self._number

    def read_begins(self) -> None:
        """A socket reads. It tells when it has, and nothing else happens meanwhile."""
        self._is_read = not self._has_begun

    def read_ends(self) -> None:
        """It has, and has written what it had."""
        if self._is_read:
            self._is_read = False
            if self._has_begun:
                self._end()

    def flush_at_end(self, socket: Http2Socket) -> None:
        """Let it write what it has when this turn ends."""
        self._late[socket] = None

    def _end(self) -> None:
        self._number += 1
        self._has_begun = False
        late, self._late = self._late, {}
        for socket in late:
            try:
                socket.flush()
            except Exception:
                # What the others have to write must go all the same.
                _log.exception("a connection ends by a bug")
                socket.abort()


class Http2Socket(asyncio.Protocol):
    """Reads, writes and closes. What is sent while it reads goes out together, right after.

    Otherwise the first message of a tick of the loop goes out at once, and all that follow in it together at its end.

    Args:
        ticks: those of the event loop, shared with other sockets.
        on_call: given each call that comes in; None on the side that calls.
        on_lost: called when the socket is closed.
    """

    def __init__(
        self,
        clock: Clock,
        ticks: Ticks,
        on_call: Callable[[Call], None] | None = None,
        on_lost: Callable[[Http2Socket], None] | None = None,
    ) -> None:
        self._clock, self._ticks, self._on_call, self._on_lost = clock, ticks, on_call, on_lost
        self._connection = Connection(is_server=on_call is not None)
        self._calls: dict[Stream, Call] = {}
        # Calls that have something to write when this tick or this read ends.
        self._due: dict[Call, None] = {}
        self._is_reading = False
        # The last tick in which something was written.
        self._last_tick = -1
        self._transport: asyncio.Transport | None = None
        self._timer: TimerHandle | None = None
        self._counted_since_ns = clock.monotonic_ns()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # ------------------------------------------------------------------ for calls

    def call(self, path: str, authority: str) -> Call:
        """Begin a call.

        Raises:
            StreamBroken: the other side takes none.
        """
        stream = self._connection.open(path, authority)
        if stream is None:
            raise StreamBroken("the connection takes no calls")
        call = self._calls[stream] = Call(self, stream, path)
        self.flush_soon(call, at_once=False)
        return call

    def send(self, call: Call, message: bytes) -> None:
        """See `Carrier`."""
        self._connection.send(call.stream, message)

    def flush_soon(self, call: Call, *, at_once: bool = True) -> None:
        """See `Carrier`."""
        self._due[call] = None
        self._write_soon(at_once)

    def offer(self, call: Call, message: bytes) -> bool:
        """See `Carrier`."""
        if self._connection.is_blocked or call.stream.waiting_bytes:
            return False
        self._connection.send(call.stream, message)
        self._write_soon(at_once=True)
        return True

    def hold(self, call: Call, size: int) -> None:
        """See `Carrier`."""
        self._connection.hold(call.stream, size)

    def release(self, call: Call, size: int) -> None:
        """See `Carrier`."""
        self._connection.release(call.stream, size)
        if call.stream.receive_window < wire.STREAM_WINDOW // 2:
            self.flush_soon(call, at_once=False)

    def finish(self, call: Call, status: Status, details: str) -> None:
        """See `Carrier`."""
        self._calls.pop(call.stream, None)
        self._connection.finish(call.stream, status, details)
        self.flush()
        self._await_next_call()

    def give_up(self, call: Call) -> None:
        """See `Carrier`."""
        self._calls.pop(call.stream, None)
        self._connection.reset(call.stream)
        self.flush()

    def close(self, code: int = wire.NO_ERROR, reason: str = "") -> None:
        """End the connection and all calls on it. What was written has a while to be read. Twice is fine."""
        self._act(self._connection.close(code, reason))
        self.flush()

    def abort(self) -> None:
        """Close the socket, whatever has not been read."""
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------------ for the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_MOST_UNSENT_BYTES)
        self._await_next_call()
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._is_reading = True
        self._ticks.read_begins()
        try:
            self._act(self._connection.receive(data))
            if self._connection.control_frames > _MOST_CONTROL_FRAMES:
                self._judge()
        except Exception:
            _log.exception("a connection ends by a bug")
            self._act(self._connection.close(wire.INTERNAL_ERROR, "internal error"))
        finally:
            self._is_reading = False
        try:
            self.flush()
        finally:
            self._ticks.read_ends()

    def pause_writing(self) -> None:
        """The socket takes no more for now."""
        self._connection.is_blocked = True

    def resume_writing(self) -> None:
        """It does again."""
        self._connection.is_blocked = False
        self.flush()

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is closed."""
        self._stop_timer()
        self._transport = None
        self._act(self._connection.lost(f"connection lost: {error or 'closed by the other side'}"))
        self._due.clear()
        if not self.lost.done():
            self.lost.set_result(None)
        if self._on_lost is not None:
            self._on_lost(self)

    # ------------------------------------------------------------------

    def _act(self, events: Iterable[Event]) -> None:
        calls = self._calls
        for event in events:
            call = calls.get(event.stream)
            if type(event) is Message:
                # None: ended from here by an event before this one.
                if call is not None:
                    call.message(event.data)
            elif type(event) is Called:
                self._called(event)
            elif call is None:
                pass
            elif type(event) is Ended:
                del calls[event.stream]
                call.ended(event.status, event.details)
                self._await_next_call()
            else:
                call.half_closed()

    def _called(self, event: Called) -> None:
        assert self._on_call is not None
        self._stop_timer()
        call = self._calls[event.stream] = Call(self, event.stream, event.path)
        self._on_call(call)

    def _write_soon(self, at_once: bool) -> None:
        if self._is_reading:
            return
        tick = self._ticks.current()
        if at_once and tick != self._last_tick:
            self.flush()
        else:
            self._ticks.flush_at_end(self)
        self._last_tick = tick

    def flush(self) -> None:
        """Write what there is, until there is no more or the socket takes none."""
        if self._is_reading or self._transport is None:
            return
        if self._due:
            due, self._due = self._due, {}
            for call in due:
                call.room()
        connection = self._connection
        while output := connection.take_output():
            if len(output) == 1:
                self._transport.write(output[0])
            elif sum(map(len, output)) < _COPIED_BYTES:
                # Cheaper than to hand over many buffers.
                self._transport.write(b"".join(output))
            else:
                self._transport.writelines(output)
            if not connection.drained:
                break
            drained, connection.drained = connection.drained, []
            for stream in drained:
                if (writing := self._calls.get(stream)) is not None:
                    writing.room()
        if connection.is_over and not self._transport.is_closing():
            self._transport.close()
            self._stop_timer()
            # A peer that reads nothing must not keep the socket for ever.
            self._timer = self._clock.call_later(_LINGER_S, self.abort)

    def _judge(self) -> None:
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._counted_since_ns < _SECOND_NS:
            self._act(self._connection.close(wire.ENHANCE_YOUR_CALM, "too many frames without a message"))
        self._counted_since_ns, self._connection.control_frames = now_ns, 0

    def _await_next_call(self) -> None:
        if self._on_call is not None and not self._calls and not self._connection.is_closed:
            self._stop_timer()
            self._timer = self._clock.call_later(_IDLE_S, self._idle)

    def _idle(self) -> None:
        self._connection.go_away()
        self.flush()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
