"""HTTP on one connection: uvicorn's protocol, with OpenSearch's limits and words, and a limit for every wait.

uvicorn by itself takes a head of any size, keeps a half-sent request for ever, and answers broken ones in its own
words. Its request cycles, flow control and pipelining are used as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httptools
import msgspec
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from taskfan.coordinator.rest.client import Client
from taskfan.coordinator.rest.dispatcher import broken_response
from taskfan.coordinator.rest.errors import RequestTimeout, TooLarge, TooLongHeader, TooLongLine, plain_error
from taskfan.coordinator.rest.plan import Refusal
from taskfan.node.clock import Clock, TimerHandle
from taskfan.node.errors import IllegalArgument, TaskfanError


class HttpSettings(msgspec.Struct, frozen=True):
    """Names and defaults are OpenSearch's where it has them; the waits have a limit here."""

    # http.max_content_length, of a body as sent and as decompressed.
    max_content_bytes: int = 100 << 20
    # http.max_header_size, http.max_initial_line_length
    max_header_bytes: int = 16 << 10
    max_line_bytes: int = 4 << 10
    # From the first byte of a request to the end of its head, and from there to its end.
    head_timeout_s: float = 30.0
    body_timeout_s: float = 300.0
    # A client that does not read its answer.
    write_timeout_s: float = 300.0
    # An open connection without a request. Long, for a client should not find its pooled connections closed.
    keep_alive_s: float = 3600.0
    # How long a refused client may take to read why.
    linger_s: float = 1.0
    # How long running requests may take to end when the server closes.
    close_timeout_s: float = 5.0


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        config: Config,
        state: ServerState,
        settings: HttpSettings,
        clock: Clock,
        on_open: Callable[[HttpProtocol], None],
        on_close: Callable[[HttpProtocol], None],
    ) -> None:
        super().__init__(config, state, {})
        self._settings = settings
        self._clock = clock
        self._on_open, self._on_close = on_open, on_close
        # Which part of a request is being received: "", "head" or "body".
        self._part = ""
        self._part_timer: TimerHandle | None = None
        self._timed_part = ""
        self._write_timer: TimerHandle | None = None
        self._idle_timer: TimerHandle | None = None
        self._header_bytes = 0
        self._fed_head_bytes = 0
        self._content_length = 0
        self._body_bytes = 0
        self._has_body = False
        # The request that is being answered; uvicorn's `cycle` is the latest one received.
        self._running: RequestResponseCycle | None = None
        self._refusal: TaskfanError | None = None
        self._is_refused = False

    # ------------------------------------------------------------------ the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._on_open(self)
        self._wait_for_request()

    def _wait_for_request(self) -> None:
        self._stop_idle_timer()
        self._idle_timer = self._clock.call_later(self._settings.keep_alive_s, self.timeout_keep_alive_handler)

    def _stop_idle_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_write_timer()
        self._stop_idle_timer()
        running, self._running = self._running, None
        for cycle in (running, self.cycle):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        # Requests that wait for their turn have not begun, and never will.
        self.pipeline.clear()
        super().connection_lost(exc)
        self._on_close(self)
        if running is not None:
            client_of(running.scope).gone()

    def shutdown(self) -> None:
        """Close when the request that runs is answered, or now."""
        if self._running is None:
            self.transport.close()
        else:
            self._running.keep_alive = False

    def abort(self) -> None:
        """Close now, whatever runs."""
        self.transport.abort()

    # ------------------------------------------------------------------ receiving

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._stop_idle_timer()
        began_in_head = self._part == "head"
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Not offered here: the request is answered as it is, and nothing after it can be told from data.
            pass
        except httptools.HttpParserError as error:
            self.refuse(self._refusal or _broken(error))
            return
        if began_in_head and self._part == "head":
            # One field that does not end is not told by the parser.
            self._fed_head_bytes += len(data)
            if self._fed_head_bytes > self._settings.max_header_bytes + self._settings.max_line_bytes:
                self.refuse(TooLongHeader(self._settings.max_header_bytes))
                return
        self._watch()

    def _watch(self) -> None:
        """Have a timer for the part of a request that is missing, or for the next request."""
        if self._part != self._timed_part:
            self._stop_timer()
            if self._part:
                settings, self._timed_part = self._settings, self._part
                limit_s = settings.head_timeout_s if self._part == "head" else settings.body_timeout_s
                self._part_timer = self._clock.call_later(limit_s, lambda: self._took_too_long(limit_s))
        if not self._part and self._running is None and not self.transport.is_closing():
            self._wait_for_request()

    def _stop_timer(self) -> None:
        self._timed_part = ""
        if self._part_timer is not None:
            self._part_timer.cancel()
            self._part_timer = None

    def _took_too_long(self, limit_s: float) -> None:
        self._timed_part = ""
        if self._running is not None and self._running is not self.cycle:
            # It is we who do not read on, before an earlier request is answered.
            self._watch()
            return
        self.refuse(RequestTimeout(self._part, limit_s))

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._part = "head"
        self._header_bytes = self._fed_head_bytes = self._content_length = self._body_bytes = 0
        self._has_body = False

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self._settings.max_line_bytes:
            self._refuse_in_parser(TooLongLine(self._settings.max_line_bytes))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value) + 3
        if self._header_bytes > self._settings.max_header_bytes:
            self._refuse_in_parser(TooLongHeader(self._settings.max_header_bytes))
        name = name.lower()
        self.headers.append((name, value))
        if name == b"content-length":
            self._content_length = int(value)
            self._has_body = self._content_length > 0
        elif name == b"transfer-encoding":
            self._has_body = True
        elif name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        self._check_head()
        self._part = "body"
        parser, version = self.parser, self.parser.get_http_version()
        raw_path, _, query = self.url.partition(b"?")
        self.scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "method": parser.get_method().decode("ascii"),
            "scheme": "http",
            "path": raw_path.decode("latin-1"),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": self.headers,
            "client": self.client,
            "server": self.server,
            "extensions": {"taskfan": {"target": self.url, "has_body": self._has_body, "client": Client()}},
        }
        self.cycle = RequestResponseCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and parser.should_keep_alive() and not parser.should_upgrade(),
            on_response=self.on_response_complete,
        )
        if self._running is None:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _check_head(self) -> None:
        settings = self._settings
        if len(self.parser.get_method()) + len(self.url) + len("  HTTP/1.1") > settings.max_line_bytes:
            self._refuse_in_parser(TooLongLine(settings.max_line_bytes))
        if self._content_length > settings.max_content_bytes:
            self._refuse_in_parser(TooLarge(settings.max_content_bytes))

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._settings.max_content_bytes:
            self._refuse_in_parser(TooLarge(self._settings.max_content_bytes))
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._part = ""
        super().on_message_complete()

    # ------------------------------------------------------------------ answering

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self._clock.call_later(self._settings.write_timeout_s, self.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_write_timer()

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        self._clock.spawn(cycle.run_asgi(app), "http request")

    def on_response_complete(self) -> None:
        self._running = None
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif not self._part:
            self._wait_for_request()

    def _refuse_in_parser(self, error: TaskfanError) -> None:
        """Stop the parser; `data_received` then refuses."""
        self._refusal = error
        raise error

    def refuse(self, error: TaskfanError | Refusal) -> None:
        """Say what is wrong, if nothing else is being answered, and close."""
        self._is_refused = True
        self._stop_timer()
        running = self._running
        if running is not None and (running is not self.cycle or not running.more_body or running.response_started):
            # An earlier request, good in itself, is still being answered.
            self.pipeline.clear()
            running.keep_alive = False
            return
        if running is not None:
            # Its handler still waits for the body, and is told that none will come.
            running.disconnected = True
            running.message_event.set()
        self._write_refusal(error)

    def _write_refusal(self, error: TaskfanError | Refusal) -> None:
        response = broken_response(error)
        head = b"".join(b"%b: %b\r\n" % field for field in response.fields)
        self.transport.write(b"".join([STATUS_LINE[response.status], head, b"\r\n", *response.parts]))
        # Closing while the client still sends would throw the answer away on its side: it may read first.
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._part_timer = self._clock.call_later(self._settings.linger_s, self.transport.close)


def client_of(scope: Any) -> Client:
    """Who waits for the answer of a request."""
    client: Client = scope["extensions"]["taskfan"]["client"]
    return client


def _broken(error: httptools.HttpParserError) -> TaskfanError | Refusal:
    """What the parser could not read, in the form of OpenSearch's refusals."""
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return Refusal(405, plain_error("Unexpected HTTP method", 405))
    return IllegalArgument(f"invalid HTTP request: {error}")
