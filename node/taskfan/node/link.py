"""The two ends of a link: requests that wait for answers, requests that run, and the one end of it all."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from functools import partial

import msgspec

from taskfan.node import frames, link_journal
from taskfan.node.clock import Clock, TimerHandle
from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.errors import NodeDisconnected, NodeNotConnected, ReceiveTimeout, Rejected, TaskfanError
from taskfan.node.frame_queue import FrameQueue, queue_it
from taskfan.node.frames import Identity, MalformedFrame
from taskfan.node.journal import NO_JOURNAL, Journal
from taskfan.node.lamport import LamportClock
from taskfan.node.link_checks import LinkChecks, Verdict
from taskfan.node.transport import Answer, Answered, Receiver, Request, TransportSettings
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
    when there is more), and lets go once `ended` is set. A frame that finds none before it in the queue is offered to
    it first. `number` is the Lamport time of the handshake that opened it, which tells it from the other links of that
    incarnation.
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
        self.offer: Callable[[bytes], bool] = queue_it
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
            frame, content = frames.parse(data)
            if content == "fragment":
                whole = self._reassembly.add(frame.fragment)
                if whole is None:
                    return
                frame, content = frames.parse(whole)
            self.context.lamport.observe(frame.lamport_time)
            self._take(frame, content)
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

    def _take(self, frame: pb.Frame, content: str) -> None:
        """Act on a whole frame.

        Raises:
            MalformedFrame: not for this end.
        """
        if content == "check":
            self._put_small(frames.check_reply_frame(self.context.lamport.tick(), frame.check))
        elif content == "check_reply":
            self._checks.answered()
            self._look_again(self._checks.interval_s)
        else:
            raise MalformedFrame(f"[{content}] to the wrong end of a link")

    def _put(self, frame: bytes, *, urgent: bool) -> None:
        """Let a frame go. It is lost on a link that has closed, or is mute."""
        if self.is_mute or self.is_closed:
            return
        if self.queue.waiting_bytes or not self.offer(frame):
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


class Waiting(msgspec.Struct, eq=False):
    """A request without an answer yet: an `Asked`.

    `divert` is given what comes, and says itself what the answer is, and when.
    """

    link: SendingEnd
    request_id: int
    action: str
    answered: Answered
    divert: Answered | None = None
    timer: TimerHandle | None = None

    def forget(self) -> None:
        """Nobody waits for its answer any more; a late one is dropped."""
        self.link.forget(self.request_id)


class SendingEnd(LinkEnd):
    """The end that opened the link: its requests go out, the answers come back.

    Requests may be put before it is open; they wait in the queue.
    """

    is_incoming = False

    def __init__(self, context: LinkContext, to: DiscoveryNode) -> None:
        super().__init__(context, to.id, context.lamport.tick(), context.settings.check_interval_s)
        self.to = to
        self._waiting: dict[int, Waiting] = {}
        # Why it could not be opened; None once it is open.
        self._not_connected: str | None = None

    def __str__(self) -> str:
        return f"to [{self.to.name}][{self.to.transport_address}]"

    def put(self, request_id: int, request: Request, answered: Answered) -> Waiting:
        """Send a request; `answered` is told what comes of it.

        Raises:
            Rejected: too much waits here already, or the request is too large for any link.
        """
        self.write(request_id, request)
        return self.expect(request_id, request.action, answered)

    def write(self, request_id: int, request: Request) -> None:
        """The first half of `put`: let the request go out. Raises Rejected."""
        context, lamport_time = self.context, self.context.lamport.tick()
        frame = frames.request_frame(lamport_time, request_id, request)
        size_bytes, urgent = len(frame), frames.is_urgent(request.action)
        if size_bytes > context.settings.max_message_bytes or not self.queue.has_room(size_bytes, urgent=urgent):
            refusal = self._refusal(request.action, size_bytes)
            if context.journal.is_on:
                link_journal.request_refused(self, request_id, request, refusal)
            raise refusal
        if context.journal.is_on:
            link_journal.request_sent(self, request_id, request, size_bytes, lamport_time)
        self._put(frame, urgent=urgent)

    def _refusal(self, action: str, size_bytes: int) -> Rejected:
        if size_bytes > self.context.settings.max_message_bytes:
            return _too_large(action, "request", size_bytes)
        return Rejected(
            f"rejected execution of [{action}]: [{self.queue.waiting_bytes}] bytes wait to be sent"
            f" to [{self.to.name}][{self.to.transport_address}]"
        )

    def expect(self, request_id: int, action: str, answered: Answered, divert: Answered | None = None) -> Waiting:
        """The second half of `put`: wait for the answer. `divert` gets it instead, and passes it on by `answer`."""
        waiting = self._waiting[request_id] = Waiting(self, request_id, action, answered, divert)
        return waiting

    def limit(self, request_id: int, timeout_s: float) -> None:
        """Let a request wait no longer than that. Zero or less strikes at once."""
        waiting = self._waiting.get(request_id)
        if waiting is None:
            return
        if timeout_s > 0:
            waiting.timer = self.context.clock.call_later(timeout_s, lambda: self._time_out(request_id, timeout_s))
        else:
            self._time_out(request_id, timeout_s)

    def _time_out(self, request_id: int, timeout_s: float) -> None:
        timeout_ms = max(0, round(timeout_s * 1000))
        node, action = self.to, self._waiting[request_id].action
        if self.context.journal.is_on:
            link_journal.request_timed_out(self, request_id, action, timeout_ms)
        _log.info("[%s] gave no answer to [%s] within %d ms", node.name, action, timeout_ms)
        self.answer(request_id, ReceiveTimeout(node.name, node.transport_address, action, request_id, timeout_ms))

    def answer(self, request_id: int, answer: Answer) -> None:
        """Give an answer to who waits for it, if anybody does."""
        if (waiting := self.forget(request_id)) is not None:
            try:
                waiting.answered(answer)
            except Exception:
                # What comes on this link for others, and those who wait when it closes, must be told all the same.
                _log.exception("%s: answer to [%s] %s", self.context.local, waiting.action, self)

    def forget(self, request_id: int) -> Waiting | None:
        """Nobody waits for this answer any more; a late one is dropped. Gives who did."""
        waiting: Waiting | None = self._waiting.pop(request_id, None)
        if waiting is not None and waiting.timer is not None:
            waiting.timer.cancel()
        return waiting

    def refuse(self, detail: str) -> None:
        """It could not be opened."""
        self._not_connected = detail
        self.close(f"not connected: {detail}", logging.INFO)

    def _take(self, frame: pb.Frame, content: str) -> None:
        answer: Answer
        if content == "reply":
            request_id, answer = frame.reply.request_id, frame.reply.payload
        elif content == "failure":
            request_id, answer = frame.failure.request_id, frames.error_of(frame.failure)
        else:
            super()._take(frame, content)
            return
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
        node = self.to
        for waiting in list(self._waiting.values()):
            if self._not_connected is None:
                why: TaskfanError = NodeDisconnected(node.name, node.transport_address, waiting.action)
            else:
                why = NodeNotConnected(node.name, node.transport_address, self._not_connected)
            self.answer(waiting.request_id, why)


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
        self._running += 1
        self.context.clock.begin(self._run(request_id, request), request.action)

    async def _run(self, request_id: int, request: Request) -> None:
        try:
            frame, urgent = await self._answer(request_id, request), frames.is_urgent(request.action)
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


def _too_large(action: str, what: str, size_bytes: int) -> Rejected:
    return Rejected(f"rejected execution of [{action}]: a {what} of [{size_bytes}] bytes is too large")
