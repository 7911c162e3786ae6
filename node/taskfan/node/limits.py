"""Calls to come that are nearly always cancelled, such as the limits of requests, under one timer of the loop."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

_NEVER_S = float("inf")
# So many that were cancelled may always stay until their time.
_FEW_CANCELLED = 100


class Limit:
    """A call to come. One that is cancelled keeps its place until its time, and holds nothing."""

    __slots__ = ("_limits", "callback", "is_due")

    def __init__(self, limits: Limits, callback: Callable[[], object]) -> None:
        self._limits = limits
        self.callback: Callable[[], object] | None = callback
        self.is_due = False

    def cancel(self) -> None:
        """Do not call. Twice is fine, and too late as well."""
        if self.callback is not None:
            self.callback = None
            if not self.is_due:
                self._limits.cancelled()

    def strike(self) -> None:
        """Of `Limits`: its time has come."""
        callback, self.callback = self.callback, None
        if callback is not None:
            callback()


class Limits:
    """Calls that are nearly always cancelled, under one timer of the loop: it comes rarely, and looks what is due."""

    def __init__(self) -> None:
        # When, by the loop's time; a number, so that limits are never compared; and what.
        self._heap: list[tuple[float, int, Limit]] = []
        self._numbers = itertools.count()
        self._cancelled = 0
        # Set for the soonest, and when that is.
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_s = _NEVER_S

    def __len__(self) -> int:
        """How many there are, those included that were cancelled and still hold their place."""
        return len(self._heap)

    def add(self, loop: asyncio.AbstractEventLoop, seconds: float, callback: Callable[[], object]) -> Limit:
        """Call so many seconds later, unless it is cancelled before."""
        at_s, limit = loop.time() + seconds, Limit(self, callback)
        heapq.heappush(self._heap, (at_s, next(self._numbers), limit))
        if at_s < self._timer_at_s:
            self._set_timer(loop, at_s)
        return limit

    def cancelled(self) -> None:
        """One more has nothing to call. When those are the most they are dropped, so that they are never many."""
        self._cancelled += 1
        if self._cancelled > _FEW_CANCELLED and 2 * self._cancelled > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def _set_timer(self, loop: asyncio.AbstractEventLoop, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at_s = at_s
        self._timer = loop.call_at(at_s, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        heap, at_s = self._heap, self._timer_at_s
        self._timer, self._timer_at_s = None, _NEVER_S
        while heap and (heap[0][0] <= at_s or heap[0][2].callback is None):
            limit = heapq.heappop(heap)[2]
            if limit.callback is None:
                self._cancelled -= 1
            else:
                # Each by itself, so that one that fails keeps none of the others.
                limit.is_due = True
                loop.call_soon(limit.strike)
        if heap:
            self._set_timer(loop, heap[0][0])
