"""The end of a link that another node opened: requests that run, and their answers."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from functools import partial

from taskfan.node import frames, link_journal
from taskfan.node.errors import Rejected, TaskfanError
from taskfan.node.frames import Identity
from taskfan.node.link import LinkContext, LinkEnd, too_large
from taskfan.node.transport import Answer, Receiver
from taskfan.v1 import transport_pb2 as pb

_log = logging.getLogger(__name__)


class _Received:
    """A request that runs here: to be called once, with its answer. Small, for it lives as long as its task."""

    __slots__ = ("_action", "_link", "_request_id")

    def __init__(self, link: ReceivingEnd, request_id: int, action: str) -> None:
        self._link, self._request_id, self._action = link, request_id, action

    def __call__(self, answer: Answer) -> None:
        self._link.reply(self._request_id, self._action, answer)


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

    @property
    def is_needed(self) -> bool:
        """Whether a request runs, or an answer waits to be read: who asked may be gone."""
        return self._running > 0 or self.queue.waiting_bytes > 0

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
            self._put_small(self._failure_frame(request_id, request.action, full))
            return
        self._running += 1
        self._receiver.receive(request, self, _Received(self, request_id, request.action))
        if self._running and self._look_timer is None:
            self._begin_to_look()

    def reply(self, request_id: int, action: str, answer: Answer) -> None:
        """Send what came of a request, when there is room for it."""
        frame, urgent = self._answer_frame(request_id, action, answer), frames.is_urgent(action)
        if self.queue.has_room(len(frame), urgent=urgent):
            self._put(frame, urgent=urgent)
            self._one_ended()
        else:
            self.queue.put_when_room(frame, self._one_ended)

    def _one_ended(self) -> None:
        self._running -= 1

    def _answer_frame(self, request_id: int, action: str, answer: Answer) -> bytes:
        if isinstance(answer, TaskfanError):
            return self._failure_frame(request_id, action, answer)
        lamport_time = self.context.lamport.tick()
        frame = frames.reply_frame(lamport_time, request_id, answer)
        if len(frame) > self.context.settings.max_message_bytes:
            return self._failure_frame(request_id, action, too_large(action, "reply", len(frame)))
        if self.context.journal.is_on:
            link_journal.reply_sent(self, request_id, action, "", len(frame), lamport_time)
        return frame

    def _failure_frame(self, request_id: int, action: str, error: TaskfanError) -> bytes:
        lamport_time = self.context.lamport.tick()
        frame = frames.failure_frame(lamport_time, request_id, error)
        if self.context.journal.is_on:
            link_journal.reply_sent(self, request_id, action, error.kind, len(frame), lamport_time)
        return frame

    def _closed(self) -> None:
        callbacks, self._callbacks = self._callbacks, {}
        for callback in callbacks.values():
            try:
                callback()
            except Exception:
                _log.exception("%s: on the close of link %s", self.context.local, self)
