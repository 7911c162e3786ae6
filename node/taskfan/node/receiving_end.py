"""The end of a link that another node opened: requests that run, and their answers."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from taskfan.node import frames, link_journal
from taskfan.node.errors import Rejected, TaskfanError
from taskfan.node.frames import Identity
from taskfan.node.link import LinkContext, LinkEnd, too_large
from taskfan.node.transport import Receiver, Request
from taskfan.v1 import transport_pb2 as pb

_log = logging.getLogger(__name__)


class ReceivingEnd(LinkEnd):
    """The end that was opened by another node: its requests come in and run, the answers go out. An `InboundLink`."""

    is_incoming = True

    def __init__(self, context: LinkContext, opener: Identity, number: int, receiver: Receiver) -> None:
        # Twice the opener's interval: normally its checks are heard, and none is needed the other way.
        super().__init__(context, opener.node_id, number, 2 * context.settings.check_interval_s)
        self.incarnation_id = opener.incarnation_id
        self._receiver = receiver
        self._running = 0
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._callback_numbers = itertools.count()

    def __str__(self) -> str:
        return f"from [{self.node_id}]"

    def on_close(self, callback: Callable[[], None]) -> Callable[[], object]:
        """Call once when it ends (at once, if it has). Returns a call that takes this back."""
        if self.is_closed:
            callback()
            return lambda: None
        number = next(self._callback_numbers)
        self._callbacks[number] = callback
        return partial(self._callbacks.pop, number, None)

    def _take(self, frame: pb.Frame, content: str) -> None:
        if content != "request":
            super()._take(frame, content)
            return
        message = frame.request
        request_id, request = message.request_id, frames.request_of(message)
        if self.context.journal.is_on:
            link_journal.request_received(self, request_id, request)
        limit = self.context.settings.max_inbound_requests
        if self._running >= limit:
            full = Rejected(f"rejected execution of [{request.action}]: [{limit}] requests of this link run already")
            self._put_small(self._failure_frame(request_id, request, full))
            return
        try:
            answer = self._receiver.receive(request, self)
            reply = self._reply(request_id, request, answer) if isinstance(answer, bytes) else None
        except Exception as error:
            reply = self._failure_of(request_id, request, error)
        if reply is not None and self.queue.has_room(len(reply)):
            self._put(reply, urgent=frames.is_urgent(request.action))
        else:
            self._running += 1
            self.context.clock.begin(self._run(request_id, request, reply or answer), request.action)

    async def _run(self, request_id: int, request: Request, answer: Awaitable[bytes] | bytes) -> None:
        """Wait for the payload of the reply, and for room; for room alone, when that is the whole frame already."""
        try:
            frame = answer if isinstance(answer, bytes) else await self._answer(request_id, request, answer)
            urgent = frames.is_urgent(request.action)
            if self.queue.has_room(len(frame), urgent=urgent):
                self._put(frame, urgent=urgent)
            else:
                await self._put_when_room(frame)
        except asyncio.CancelledError:
            # Whoever asked must not wait for ever because this side stops the work.
            if not self.is_closed:
                stopped = TaskfanError(f"[{request.action}] was stopped")
                self._put_small(self._failure_frame(request_id, request, stopped))
            raise
        finally:
            self._running -= 1

    async def _answer(self, request_id: int, request: Request, answer: Awaitable[bytes]) -> bytes:
        """Wait for the end of a request. Gives the frame that answers it."""
        # No error is kept in a local: it knows this frame, and the two would hold the task until the next gc.
        try:
            return self._reply(request_id, request, await answer)
        except Exception as error:
            return self._failure_of(request_id, request, error)

    def _reply(self, request_id: int, request: Request, payload: bytes) -> bytes:
        """The frame of an answer. Raises Rejected: too large for any link."""
        lamport_time = self.context.lamport.tick()
        frame = frames.reply_frame(lamport_time, request_id, payload)
        if len(frame) > self.context.settings.max_message_bytes:
            raise too_large(request.action, "reply", len(frame))
        if self.context.journal.is_on:
            link_journal.reply_sent(self, request_id, request.action, "", len(frame), lamport_time)
        return frame

    def _failure_of(self, request_id: int, request: Request, error: Exception) -> bytes:
        """The frame of an answer that is a failure; a bug is logged, and made one."""
        if not isinstance(error, TaskfanError):
            _log.error("%s: [%s] %s failed", self.context.local, request.action, self, exc_info=error)
            error = TaskfanError(f"{type(error).__name__}: {error}")
        return self._failure_frame(request_id, request, error)

    def _failure_frame(self, request_id: int, request: Request, error: TaskfanError) -> bytes:
        """The frame of an answer that is a failure."""
        lamport_time = self.context.lamport.tick()
        frame = frames.failure_frame(lamport_time, request_id, error)
        if self.context.journal.is_on:
            link_journal.reply_sent(self, request_id, request.action, error.kind, len(frame), lamport_time)
        return frame

    async def _put_when_room(self, frame: bytes) -> None:
        room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.queue.put_when_room(frame, lambda: None if room.done() else room.set_result(None))
        await room

    def _closed(self) -> None:
        callbacks, self._callbacks = self._callbacks, {}
        for callback in callbacks.values():
            try:
                callback()
            except Exception:
                _log.exception("%s: on the close of link %s", self.context.local, self)
