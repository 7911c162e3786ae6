"""Who is to be called at which time, earliest first: the calls to come of a whole node, in one heap. Pure."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Protocol

# Below the time, in a key, stands the number of the call: more than are made in a life.
_NUMBER_BITS = 40
# So few keys of calls that were taken back are not worth a new heap.
_SPARE_KEYS = 64


class Timed(Protocol):
    """Who wants to be called."""

    def time_is_up(self, key: int) -> None:
        """The time has come of the call with this key."""


class TimerHeap:
    """Calls to come, in the order of their times; those of one time in the order in which they were added.

    A call costs no more than a number, its place in a list and one in a dict, for of live tasks there are many. The
    number, the call's key, has its time in front: so it is what the heap compares, too. Times are in milliseconds.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, Timed] = {}
        # All keys of these, and those of calls that were taken back since it was last built.
        self._heap: list[int] = []
        self._number = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, due_ms: int, who: Timed) -> int:
        """Call it then. Gives the key, which is never 0 and no other call's."""
        self._number += 1
        key = due_ms << _NUMBER_BITS | self._number
        self._waiting[key] = who
        heappush(self._heap, key)
        return key

    def remove(self, key: int) -> None:
        """Take a call back; one that was made is no error."""
        if self._waiting.pop(key, None) is not None and len(self._heap) > 2 * len(self._waiting) + _SPARE_KEYS:
            # What is sorted is a heap.
            self._heap = sorted(self._waiting)

    def earliest_ms(self) -> int | None:
        """The time of the next call; None when there is none."""
        while self._heap and self._heap[0] not in self._waiting:
            heappop(self._heap)
        return self._heap[0] >> _NUMBER_BITS if self._heap else None

    def take(self, now_ms: int) -> tuple[int, Timed] | None:
        """The next call whose time has come, and its key; None when that of none has."""
        earliest_ms = self.earliest_ms()
        if earliest_ms is None or earliest_ms > now_ms:
            return None
        key = heappop(self._heap)
        return key, self._waiting.pop(key)

    def clear(self) -> None:
        """Forget all calls."""
        self._waiting.clear()
        self._heap.clear()
