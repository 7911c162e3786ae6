"""One HTTP connection: its socket, its timer, and the requests on it, which are answered one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from taskfan.coordinator.http.errors import RequestTimeout
from taskfan.coordinator.http.messages import HttpRequest, HttpResponse
from taskfan.coordinator.http.request_reader import RequestReader
from taskfan.coordinator.http.response_writer import CONTINUE, JOINED_BYTES, pieces
from taskfan.node.clock import TimerHandle
from taskfan.node.errors import TaskfanError

if TYPE_CHECKING:
    from taskfan.coordinator.http.server import HttpServer

# So many requests that came at once are answered in a row, before other connections have their turn.
_MOST_IN_A_ROW = 64
# Timers of an event loop may come a little early.
_EARLY_NS = 1_000_000
_NEVER_NS = 1 << 62


class HttpConnection(asyncio.Protocol):
    """Reads requests, has them answered in order, and gives up who neither sends nor reads in time.

    There is one timer, and most requests do not touch it: they move the times that it looks at when it comes.
    """

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._settings, self._clock = server.settings, server.clock
        self._reader = RequestReader(server.settings, server.kept_fields)
        self._session = server.new_session()
        self._transport: asyncio.Transport
        # A request is being answered; what of its answer is not written yet; whether the connection ends with it.
        self._is_answering = False
        self._unwritten: Iterator[list[bytes]] | None = None
        self._closes_after = False
        # The loop over requests that wait: whether it runs, and whether it has let others go first.
        self._is_going_on = self._has_yielded = False
        self._is_writing_paused = self._is_reading_paused = False
        self._is_shutting_down = self._is_refused = self._is_lost = False
        # When the client must have sent what is missing, or its next request, and when it must have read.
        self._read_until_ns = self._written_until_ns = _NEVER_NS
        self._keep_alive_ns = int(server.settings.keep_alive_s * 1e9)
        # What of which request that time is for.
        self._timed_part: tuple[int, str] | None = None
        self._timer: TimerHandle | None = None
        self._timer_at_ns = _NEVER_NS

    # ------------------------------------------------------------------ the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        refusal = self._server.opened(self)
        if refusal is None:
            self._wait_for_request()
        else:
            self._refuse(refusal)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # Requests that wait for their turn have not begun, and never will.
        self._reader.drop()
        self._unwritten = None
        self._server.closed(self)
        if self._is_answering:
            self._session.gone()

    def shutdown(self) -> None:
        """Close when the request that runs, or whose body is coming, is answered; or now."""
        self._is_shutting_down = True
        if not self._is_answering and not self._is_refused and self._reader.part != "body":
            self._close()

    def abort(self) -> None:
        """Close now, whatever runs."""
        self._transport.abort()

    def _close(self) -> None:
        """Close when all is written; there is a limit for that too."""
        self._reader.drop()
        self._transport.close()
        if self._written_until_ns == _NEVER_NS:
            self._expect_written()

    # ------------------------------------------------------------------ receiving

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        reader.feed(data)
        if reader.waiting and not self._is_answering:
            self._go_on()
        if reader.part or reader.waiting or self._timed_part is not None:
            self._follow_reading()

    def _go_on(self) -> None:
        """Answer what waits, in order, until one of them has to be waited for."""
        if self._is_going_on or self._has_yielded:
            return
        self._is_going_on = True
        reader, in_a_row = self._reader, 0
        while reader.waiting and not (self._is_answering or self._is_writing_paused or self._transport.is_closing()):
            if in_a_row == _MOST_IN_A_ROW:
                self._has_yielded = True
                self._clock.call_later(0.0, self._go_on_later)
                break
            in_a_row += 1
            request = reader.take()
            if isinstance(request, TaskfanError):
                self._refuse(request)
            else:
                self._is_answering = True
                self._clock.begin(self._answer(request), "http request")
        self._is_going_on = False

    def _go_on_later(self) -> None:
        self._has_yielded = False
        self._go_on()
        self._follow_reading()

    def _follow_reading(self) -> None:
        """What else follows from the part of a request that came: a word to the client, a limit, a pause."""
        reader = self._reader
        if reader.wants_continue and not self._is_answering and not reader.waiting:
            reader.wants_continue = False
            self._transport.write(CONTINUE)
        self._time_part()
        # Without an earlier request a body is awaited, however large.
        has_enough = reader.has_many_waiting and (self._is_answering or bool(reader.waiting))
        if has_enough and not self._is_reading_paused:
            self._is_reading_paused = True
            self._transport.pause_reading()
        elif not has_enough and self._is_reading_paused:
            self._is_reading_paused = False
            self._transport.resume_reading()

    # ------------------------------------------------------------------ answering

    async def _answer(self, request: HttpRequest) -> None:
        try:
            response = await self._session.answer(request)
        except BaseException:
            # A bug, of which the clock tells, or the end of the clock. There is no answer.
            self.abort()
            raise
        if not self._is_lost:
            self._write(request, response)

    def _write(self, request: HttpRequest, response: HttpResponse) -> None:
        parts = response.parts
        length = sum(map(len, parts))
        self._closes_after = closes = self._is_shutting_down or not request.keep_alive
        head = self._server.writer.head(response, length, closes=closes)
        if request.method == "HEAD":
            parts = ()
        if length < JOINED_BYTES:
            self._transport.write(b"".join((head, *parts)))
            self._answered()
        else:
            self._unwritten = pieces(head, parts)
            self._write_on()

    def _write_on(self) -> None:
        """Write pieces while the client reads them."""
        assert self._unwritten is not None
        for piece in self._unwritten:
            self._transport.writelines(piece)
            if self._is_writing_paused or self._transport.is_closing():
                return
        self._unwritten = None
        self._answered()

    def _answered(self) -> None:
        self._is_answering = False
        if self._closes_after:
            self._close()
            return
        if not self._reader.part:
            self._wait_for_request()
        if self._reader.waiting:
            self._go_on()
        if self._reader.part or self._is_reading_paused:
            self._follow_reading()

    def _refuse(self, error: TaskfanError) -> None:
        """Say what is wrong, and close."""
        if self._transport.is_closing():
            return
        self._is_refused = True
        self._reader.drop()
        response = self._server.refused(error)
        head = self._server.writer.head(response, sum(map(len, response.parts)), closes=True)
        self._transport.write(b"".join((head, *response.parts)))
        # Closing while the client still sends would throw the answer away on its side: it may read first.
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._timed_part = None
        self._read_by(self._settings.linger_s)

    def pause_writing(self) -> None:
        self._is_writing_paused = True
        self._expect_written()

    def resume_writing(self) -> None:
        self._is_writing_paused = False
        if self._transport.is_closing():
            return
        self._written_until_ns = _NEVER_NS
        # Not within this call: a transport of asyncio that is closed in here ends twice.
        self._clock.call_later(0.0, self._go_on_writing)

    def _go_on_writing(self) -> None:
        if self._is_writing_paused or self._transport.is_closing():
            return
        if self._unwritten is not None:
            self._write_on()
        else:
            self._go_on()
            self._follow_reading()

    # ------------------------------------------------------------------ limits of patience

    def _time_part(self) -> None:
        """Have a limit for the part of a request that is missing, from when it began to be missing."""
        reader, settings = self._reader, self._settings
        part = (reader.begun, reader.part) if reader.part else None
        if part == self._timed_part:
            return
        self._timed_part = part
        if part is not None:
            self._read_by(settings.head_timeout_s if reader.part == "head" else settings.body_timeout_s)

    def _wait_for_request(self) -> None:
        self._read_until_ns = until_ns = self._clock.monotonic_ns() + self._keep_alive_ns
        if until_ns < self._timer_at_ns:
            self._set_timer()

    def _read_by(self, limit_s: float) -> None:
        self._read_until_ns = self._clock.monotonic_ns() + int(limit_s * 1e9)
        self._set_timer()

    def _expect_written(self) -> None:
        self._written_until_ns = self._clock.monotonic_ns() + int(self._settings.write_timeout_s * 1e9)
        self._set_timer()

    def _set_timer(self) -> None:
        """Have the timer come by the earlier of the two times; if it comes too early it is set again."""
        at_ns = min(self._read_until_ns, self._written_until_ns)
        if at_ns >= self._timer_at_ns or self._is_lost:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at_ns = at_ns
        delay_s = max(0, at_ns - self._clock.monotonic_ns()) / 1e9
        self._timer = self._clock.call_later(delay_s, self._look)

    def _look(self) -> None:
        """The timer came: who is overdue?"""
        self._timer, self._timer_at_ns = None, _NEVER_NS
        now_ns = self._clock.monotonic_ns() + _EARLY_NS
        if now_ns >= self._written_until_ns:
            self.abort()
            return
        if now_ns >= self._read_until_ns:
            self._read_until_ns = _NEVER_NS
            self._give_up()
        self._set_timer()

    def _give_up(self) -> None:
        """The client did not send in time."""
        part = self._reader.part
        if part and self._is_reading_paused:
            # It is we who do not read on, before an earlier request is answered.
            self._timed_part = None
            self._time_part()
        elif part:
            limit_s = self._settings.head_timeout_s if part == "head" else self._settings.body_timeout_s
            self._reader.refuse(RequestTimeout(part, limit_s))
            if not self._is_answering:
                self._go_on()
        elif not self._is_answering and not self._reader.waiting:
            self._close()
