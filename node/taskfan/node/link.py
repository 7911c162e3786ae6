"""The two ends of a link: requests that wait for answers, requests that run, and the one end of it all."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable

import msgspec

from taskfan.node import frames, link_journal
from taskfan.node.clock import Clock, TimerHandle
from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.errors import (
    NodeDisconnected,
    NodeNotConnected,
    ReceiveTimeout,
    Rejected,
    TaskfanError,
)
from taskfan.node.frame_queue import FrameQueue
from taskfan.node.frames import Identity, MalformedFrame
from taskfan.node.journal import NO_JOURNAL, Journal
from taskfan.node.lamport import LamportClock
from taskfan.node.link_checks import LinkChecks, Verdict
from taskfan.node.transport import Receiver, Request, TransportSettings
from taskfan.v1 import transport_pb2 as pb

_log = logging.getLogger(__name__)


class LinkContext(msgspec.Struct, frozen=True):
    """What all links of one member share."""

    local: Identity
    clock: Clock
    settings: TransportSettings
    lamport: LamportClock
    journal: Journal = NO_JOURNAL


class LinkEnd:
    """What both ends share: frames in and out, checks, and closing. Knows nothing of what carries the frames.

    Whoever carries them calls `receive` with what comes in, writes what `queue.take` gives (`frame_put` is called
    when there is more), and lets go once `ended` is set. `number` is the Lamport time of the handshake that opened
    it, which tells it from the other links of that incarnation.
    """

    is_incoming: bool

    def __init__(self, context: LinkContext, node_id: str, number: int, check_interval_s: float) -> None:
        settings = context.settings
        self.context = context
        self.node_id = node_id
        self.number = number
        self.is_open = False
        # Known once the handshake is done.
        self.incarnation_id = ""
        self.is_closed = False
        # Nothing passes, neither way: a fault that the checks are to notice.
        self.is_mute = False
        self.queue = FrameQueue(settings.queue_bytes)
        self.frame_put: Callable[[], None] = lambda: None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # No sender lets more than this wait, so no more can be under way.
        self._reassembly = frames.Reassembly(2 * settings.queue_bytes + settings.max_message_bytes)
        self._checks = LinkChecks(check_interval_s, settings.check_timeout_s, settings.check_retry_count)
        self._look_timer: TimerHandle | None = None
        self._check_numbers = itertools.count(1)

    def watch(self) -> None:
        """Begin to check the other side; the link is open."""
        self.is_open = True
        if self.context.journal.is_on:
            link_journal.link_opened(self)
        self._look_timer = self.context.clock.call_later(self._checks.interval_s, self._look)

    def receive(self, data: bytes) -> None:
        """Take one frame. A malformed one closes the link; what comes after the close is dropped."""
        if self.is_closed or self.is_mute:
            return
        self._checks.heard = True
        try:
            frame = frames.parse(data)
            if frame.HasField("fragment"):
                whole = self._reassembly.add(frame.fragment)
                if whole is None:
                    return
                frame = frames.parse(whole)
            self.context.lamport.observe(frame.lamport_time)
            self._take(frame)
        except MalformedFrame as error:
            self.close(f"malformed frame: {error}", logging.WARNING)

    def close(self, reason: str, level: int = logging.DEBUG) -> None:
        """End it, for this reason, which goes to the log. Only the first call counts."""
        if self.is_closed:
            return
        self.is_closed = True
        _log.log(level, "%s: link %s closed: %s", self.context.local, self, reason)
        if self._look_timer is not None:
            self._look_timer.cancel()
        if self.context.journal.is_on:
            link_journal.link_closed(self, reason)
        self.queue.clear()
        if not self.ended.done():
            self.ended.set_result(None)
        self._closed()

    def _closed(self) -> None:
        """Tell those who depend on this link. Called once."""
        raise NotImplementedError

    def _take(self, frame: pb.Frame) -> None:
        """Act on a whole frame.

        Raises:
            MalformedFrame: not for this end.
        """
        if frame.HasField("check"):
            self._put_small(frames.check_reply_frame(self.context.lamport.tick(), frame.check))
        elif frame.HasField("check_reply"):
            self._checks.answered()
            self._look_again(self._checks.interval_s)
        else:
            raise MalformedFrame(f"[{frame.WhichOneof('content')}] to the wrong end of a link")

    def _put(self, frame: bytes, *, urgent: bool) -> None:
        if not self.is_mute:
            self.queue.put(frame, urgent=urgent)
            self.frame_put()

    def _put_small(self, frame: bytes) -> None:
        """Put a frame that the other side asked for, without waiting: the reader may not."""
        if self.queue.has_room(len(frame), urgent=True):
            self._put(frame, urgent=True)
        else:
            self.close("it asks and does not read the answers", logging.WARNING)

    def _look(self) -> None:
        verdict, wait_s = self._checks.look()
        if verdict is Verdict.GIVE_UP:
            self.close(f"no answer to {self._checks.retry_count} checks", logging.WARNING)
            return
        if verdict is Verdict.CHECK:
            self._put_small(frames.check_frame(self.context.lamport.tick(), next(self._check_numbers)))
        self._look_again(wait_s)

    def _look_again(self, wait_s: float) -> None:
        if self._look_timer is not None and not self.is_closed:
            self._look_timer.cancel()
            self._look_timer = self.context.clock.call_later(wait_s, self._look)


Answer = bytes | TaskfanError


class _Waiting(msgspec.Struct, frozen=True):
    """A request without an answer yet. `divert` is given what comes, and says itself what the answer is, and when."""

    action: str
    answer: asyncio.Future[bytes]
    divert: Callable[[Answer], None] | None


class SendingEnd(LinkEnd):
    """The end that opened the link: its requests go out, the answers come back.

    Requests may be put before it is open; they wait in the queue.
    """

    is_incoming = False

    def __init__(self, context: LinkContext, to: DiscoveryNode) -> None:
        super().__init__(context, to.id, context.lamport.tick(), context.settings.check_interval_s)
        self.to = to
        self._waiting: dict[int, _Waiting] = {}
        # Why it could not be opened; None once it is open.
        self._not_connected: str | None = None

    def __str__(self) -> str:
        return f"to [{self.to.name}][{self.to.transport_address}]"

    def put(self, request_id: int, request: Request) -> asyncio.Future[bytes]:
        """Send a request. The future is its answer, until `forget`.

        Raises:
            Rejected: too much waits here already, or the request is too large for any link.
        """
        self.write(request_id, request)
        return self.expect(request_id, request.action)

    def write(self, request_id: int, request: Request) -> None:
        """The first half of `put`: let the request go out. Raises Rejected."""
        lamport_time = self.context.lamport.tick()
        frame = frames.request_frame(lamport_time, request_id, request)
        urgent = frames.is_urgent(request.action)
        refusal = self._refusal(request.action, len(frame), urgent)
        if refusal is not None:
            if self.context.journal.is_on:
                link_journal.request_refused(self, request_id, request, refusal)
            raise refusal
        if self.context.journal.is_on:
            link_journal.request_sent(self, request_id, request, len(frame), lamport_time)
        self._put(frame, urgent=urgent)

    def _refusal(self, action: str, size_bytes: int, urgent: bool) -> Rejected | None:
        if size_bytes > self.context.settings.max_message_bytes:
            return _too_large(action, "request", size_bytes)
        if self.queue.has_room(size_bytes, urgent=urgent):
            return None
        return Rejected(
            f"rejected execution of [{action}]: [{self.queue.waiting_bytes}] bytes wait to be sent"
            f" to [{self.to.name}][{self.to.transport_address}]"
        )

    def expect(
        self, request_id: int, action: str, divert: Callable[[Answer], None] | None = None
    ) -> asyncio.Future[bytes]:
        """The second half of `put`: wait for the answer. `divert` gets it instead, and passes it on by `answer`."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = _Waiting(action, answer, divert)
        return answer

    def answer(self, request_id: int, answer: Answer) -> None:
        """Give an answer to who waits for it, if anybody does."""
        waiting = self._waiting.pop(request_id, None)
        if waiting is None:
            return
        if isinstance(answer, TaskfanError):
            _fail(waiting, answer)
        elif not waiting.answer.done():
            waiting.answer.set_result(answer)

    def time_out(self, request_id: int, timeout_s: float) -> None:
        """Fail a request that waited long enough."""
        if (waiting := self._waiting.pop(request_id, None)) is not None:
            timeout_ms = max(0, round(timeout_s * 1000))
            node, action = self.to, waiting.action
            if self.context.journal.is_on:
                link_journal.request_timed_out(self, request_id, action, timeout_ms)
            _log.info("[%s] gave no answer to [%s] within %d ms", node.name, action, timeout_ms)
            _fail(waiting, ReceiveTimeout(node.name, node.transport_address, action, request_id, timeout_ms))

    def forget(self, request_id: int) -> None:
        """Nobody waits for this answer any more; a late one is dropped."""
        self._waiting.pop(request_id, None)

    def refuse(self, detail: str) -> None:
        """It could not be opened."""
        self._not_connected = detail
        self.close(f"not connected: {detail}", logging.INFO)

    def _take(self, frame: pb.Frame) -> None:
        if frame.HasField("reply"):
            self._answered(frame.reply.request_id, frame.reply.payload)
        elif frame.HasField("failure"):
            self._answered(frame.failure.request_id, frames.error_of(frame.failure))
        else:
            super()._take(frame)

    def _answered(self, request_id: int, answer: Answer) -> None:
        waiting = self._waiting.get(request_id)
        if waiting is None or waiting.divert is None:
            self.deliver(request_id, answer)
        else:
            waiting.divert(answer)

    def deliver(self, request_id: int, answer: Answer) -> None:
        """A reply that came is here now: give it to who waits for it."""
        if self.context.journal.is_on:
            waiting = self._waiting.get(request_id)
            link_journal.reply_received(self, request_id, None if waiting is None else waiting.action, answer)
        self.answer(request_id, answer)

    def _closed(self) -> None:
        node, (unanswered, self._waiting) = self.to, (self._waiting, {})
        for waiting in unanswered.values():
            if self._not_connected is None:
                _fail(waiting, NodeDisconnected(node.name, node.transport_address, waiting.action))
            else:
                _fail(waiting, NodeNotConnected(node.name, node.transport_address, self._not_connected))


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

    def on_close(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call once when it ends (at once, if it has). Returns a call that takes this back."""
        if self.is_closed:
            callback()
            return lambda: None
        number = next(self._callback_numbers)
        self._callbacks[number] = callback

        def take_back() -> None:
            self._callbacks.pop(number, None)

        return take_back

    def _take(self, frame: pb.Frame) -> None:
        if not frame.HasField("request"):
            super()._take(frame)
            return
        request_id, request = frame.request.request_id, frames.request_of(frame.request)
        if self.context.journal.is_on:
            link_journal.request_received(self, request_id, request)
        limit = self.context.settings.max_inbound_requests
        if self._running >= limit:
            full = Rejected(f"rejected execution of [{request.action}]: [{limit}] requests of this link run already")
            self._put_small(self._failure_frame(request_id, request, full))
            return
        self._running += 1
        self.context.clock.begin(self._run(request_id, request), request.action)

    async def _run(self, request_id: int, request: Request) -> None:
        try:
            await self._reply(await self._answer(request_id, request), frames.is_urgent(request.action))
        except asyncio.CancelledError:
            # Whoever asked must not wait for ever because this side stops the work.
            if not self.is_closed:
                stopped = TaskfanError(f"[{request.action}] was stopped")
                self._put_small(self._failure_frame(request_id, request, stopped))
            raise
        finally:
            self._running -= 1

    async def _answer(self, request_id: int, request: Request) -> bytes:
        """Run a request. Gives the frame that answers it."""
        # No error is kept in a local: it knows this frame, and the two would hold the task until the next gc.
        try:
            payload = await self._receiver.receive(request, self)
            lamport_time = self.context.lamport.tick()
            frame = frames.reply_frame(lamport_time, request_id, payload)
            if len(frame) > self.context.settings.max_message_bytes:
                raise _too_large(request.action, "reply", len(frame))
            if self.context.journal.is_on:
                link_journal.reply_sent(self, request_id, request.action, "", len(frame), lamport_time)
            return frame
        except TaskfanError as error:
            return self._failure_frame(request_id, request, error)
        except Exception as bug:
            _log.exception("%s: [%s] %s failed", self.context.local, request.action, self)
            return self._failure_frame(request_id, request, TaskfanError(f"{type(bug).__name__}: {bug}"))

    def _failure_frame(self, request_id: int, request: Request, error: TaskfanError) -> bytes:
        """The frame of an answer that is a failure."""
        lamport_time = self.context.lamport.tick()
        frame = frames.failure_frame(lamport_time, request_id, error)
        if self.context.journal.is_on:
            link_journal.reply_sent(self, request_id, request.action, error.kind, len(frame), lamport_time)
        return frame

    async def _reply(self, frame: bytes, urgent: bool) -> None:
        """Put an answer, and wait until there is room for it. Dropped when the link has closed."""
        if self.is_closed:
            return
        if self.queue.has_room(len(frame), urgent=urgent):
            self._put(frame, urgent=urgent)
            return
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


def _fail(waiting: _Waiting, error: TaskfanError) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)


def _too_large(action: str, what: str, size_bytes: int) -> Rejected:
    return Rejected(f"rejected execution of [{action}]: a {what} of [{size_bytes}] bytes is too large")
