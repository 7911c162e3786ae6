"""A link: what its two ends share, and the one that opened it, whose requests wait for answers."""

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
from taskfan.node.transport import Answer, Answered, Request, TransportSettings
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
        """Begin to check the other side, if anybody waits for it; the link is open."""
        self.is_open = True
        if self.context.journal.is_on:
            link_journal.link_opened(self)
        if self.is_needed:
            self._begin_to_look()

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
            self._look_timer = None
        if self.context.journal.is_on:
            link_journal.link_closed(self, reason)
        self.queue.clear()
        if not self.ended.done():
            self.ended.set_result(None)
        self._closed()

    @property
    def is_needed(self) -> bool:
        """Whether anybody here waits for the other side. Who begins to calls `_begin_to_look`, unless that goes on."""
        raise NotImplementedError

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

    def _begin_to_look(self) -> None:
        if self.is_open and not self.is_closed:
            self._look_timer = self.context.clock.call_later(self._checks.interval_s, self._look)

    def _look(self) -> None:
        if not self.is_needed:
            # Among a hundred idle nodes there are ten thousand links, and nobody would hear what becomes of one.
            self._checks.answered()
            self._look_timer = None
            return
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
        # Why it could not be opened; None while that is not known, and once it is open.
        self.not_connected: str | None = None

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
            return too_large(action, "request", size_bytes)
        return Rejected(
            f"rejected execution of [{action}]: [{self.queue.waiting_bytes}] bytes wait to be sent"
            f" to [{self.to.name}][{self.to.transport_address}]"
        )

    def expect(self, request_id: int, action: str, answered: Answered, divert: Answered | None = None) -> Waiting:
        """The second half of `put`: wait for the answer. `divert` gets it instead, and passes it on by `answer`."""
        waiting = self._waiting[request_id] = Waiting(self, request_id, action, answered, divert)
        if self._look_timer is None:
            self._begin_to_look()
        return waiting

    @property
    def is_needed(self) -> bool:
        """Whether a request waits for its answer."""
        return bool(self._waiting)

    def limit(self, request_id: int, timeout_s: float) -> None:
        """Let a request wait no longer than that. Zero or less strikes at once."""
        waiting = self._waiting.get(request_id)
        if waiting is None:
            return
        if timeout_s > 0:
            waiting.timer = self.context.clock.limit(timeout_s, partial(self._time_out, request_id, timeout_s))
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
        self.not_connected = detail
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
            if self.not_connected is None:
                why: TaskfanError = NodeDisconnected(node.name, node.transport_address, waiting.action)
            else:
                why = NodeNotConnected(node.name, node.transport_address, self.not_connected)
            self.answer(waiting.request_id, why)


def too_large(action: str, what: str, size_bytes: int) -> Rejected:
    """Why a request or reply of that size is not sent."""
    return Rejected(f"rejected execution of [{action}]: a {what} of [{size_bytes}] bytes is too large")
