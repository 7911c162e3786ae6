"""The frames that wait to be written on one link: who goes first, and how many bytes may wait. No I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from taskfan.node.frames import fragments
from taskfan.node.transport import MAX_FRAME_BYTES
from taskfan.node.waiting_line import EMPTY, lined_up


class _Large:
    """A frame that goes in fragments; its bytes count as waiting until the last is taken."""

    def __init__(self, frame: bytes, message_id: int) -> None:
        self.size_bytes = len(frame)
        self._fragments: Iterator[bytes] = fragments(frame, message_id)
        self._following: bytes | None = next(self._fragments)

    def take(self) -> bytes:
        """The next fragment."""
        assert self._following is not None
        fragment, self._following = self._following, next(self._fragments, None)
        return fragment

    @property
    def is_done(self) -> bool:
        return self._following is None


def queue_it(_frame: bytes) -> bool:
    """For a link whose frames nobody takes but from the queue."""
    return False


class FrameQueue:
    """Urgent frames first; of the others, small ones in order, and between two of them a fragment of a large one.

    A frame is taken in while fewer than `limit_bytes` wait with it (an urgent one: twice that), or when
    nothing waits: so one that is larger than the limit gets through as well, alone.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self.waiting_bytes = 0
        self._urgent: deque[bytes] = EMPTY
        self._small: deque[bytes] = EMPTY
        self._large: deque[_Large] = EMPTY
        self._large_is_next = False
        self._messages = 0
        # Who would put a frame and found no room, in that order.
        self._line: deque[tuple[bytes, Callable[[], object]]] = EMPTY

    def has_room(self, size_bytes: int, *, urgent: bool = False) -> bool:
        """Whether a frame of that size may be put now. Nobody but an urgent one overtakes those in line."""
        if urgent:
            return self._fits(size_bytes, 2 * self._limit_bytes)
        return not self._line and self._fits(size_bytes, self._limit_bytes)

    def put(self, frame: bytes, *, urgent: bool = False) -> None:
        """Add a frame. Whoever calls has asked `has_room`."""
        self.waiting_bytes += len(frame)
        if len(frame) <= MAX_FRAME_BYTES:
            if urgent:
                self._urgent = lined_up(self._urgent, frame)
            else:
                self._small = lined_up(self._small, frame)
            return
        self._messages += 1
        if not urgent:
            self._large = lined_up(self._large, _Large(frame, self._messages))
            return
        pieces = list(fragments(frame, self._messages))
        self.waiting_bytes += sum(map(len, pieces)) - len(frame)
        self._urgent = deque([*self._urgent, *pieces])

    def put_when_room(self, frame: bytes, taken: Callable[[], object]) -> None:
        """Add a frame once there is room for it, after those that stand in line already; then call `taken`."""
        self._line = lined_up(self._line, (frame, taken))
        self._admit()

    def take(self) -> bytes | None:
        """The frame to write next; None when nothing waits."""
        frame = self._next()
        if self._line:
            self._admit()
        return frame

    def clear(self) -> None:
        """Forget all that waits, because nothing will be written any more; who stands in line is told."""
        self._urgent = self._small = self._large = EMPTY
        self.waiting_bytes = 0
        line, self._line = self._line, EMPTY
        for _frame, taken in line:
            taken()

    def _fits(self, size_bytes: int, limit_bytes: int) -> bool:
        return not self.waiting_bytes or self.waiting_bytes + size_bytes <= limit_bytes

    def _next(self) -> bytes | None:
        if self._urgent:
            frame = self._urgent.popleft()
        elif self._small and not (self._large and self._large_is_next):
            frame = self._small.popleft()
            if not self._small:
                # Before a link is open its first frames wait, and often none after those.
                self._small = EMPTY
            self._large_is_next = True
        elif self._large:
            self._large_is_next = False
            return self._next_fragment(self._large.popleft())
        else:
            return None
        self.waiting_bytes -= len(frame)
        return frame

    def _next_fragment(self, large: _Large) -> bytes:
        fragment = large.take()
        if large.is_done:
            self.waiting_bytes -= large.size_bytes
        else:
            # To the end of the line: large frames take turns too.
            self._large.append(large)
        return fragment

    def _admit(self) -> None:
        while self._line and self._fits(len(self._line[0][0]), self._limit_bytes):
            frame, taken = self._line.popleft()
            self.put(frame)
            taken()
