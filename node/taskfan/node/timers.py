"""Calls to come of one node, all on one timer of its clock: a task that lives long costs the event loop nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from taskfan.node.timer_heap import Timed, TimerHeap

if TYPE_CHECKING:
    from taskfan.node.clock import Clock, TimerHandle

log = logging.getLogger("taskfan.node")

_MS = 1_000_000


class Timers:
    """Calls at whole milliseconds of the clock: never too early, and as fine as the timers of an event loop are.

    Args:
        keeps_timer: when no call is left the timer stays set, and wakes once in vain. For calls that are nearly always
            taken back, long before their time: those do not touch the event loop then.
    """

    def __init__(self, clock: Clock, *, keeps_timer: bool = False) -> None:
        self._clock, self._keeps_timer = clock, keeps_timer
        self._heap = TimerHeap()
        # For the earliest call, or for an earlier one that was taken back.
        self._timer: TimerHandle | None = None
        self._set_for_ms = 0

    def call(self, delay_ns: int, who: Timed) -> int:
        """Call it once, that much later. Gives the key of the call."""
        due_ms = -(-(self._clock.monotonic_ns() + delay_ns) // _MS)
        key = self._heap.add(due_ms, who)
        if self._timer is None or due_ms < self._set_for_ms:
            self._set()
        return key

    def cancel(self, key: int) -> None:
        """Take a call back; one that was made is no error."""
        self._heap.remove(key)
        if not self._keeps_timer and not self._heap:
            self._set()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> TimerHandle:
        """As that of a clock."""
        later = _Later(self, callback)
        later.key = self.call(round(seconds * 1e9), later)
        return later

    def close(self) -> None:
        """Call nobody any more."""
        self._heap.clear()
        self._set()

    def _set(self) -> None:
        """Have the timer wake for the earliest call, and for none when there is none."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due_ms = self._heap.earliest_ms()
        if due_ms is not None:
            self._set_for_ms = due_ms
            self._timer = self._clock.call_later((due_ms * _MS - self._clock.monotonic_ns()) / 1e9, self._wake)

    def _wake(self) -> None:
        # A timer of the loop may come early by as much as it is rounded.
        now_ms = (self._clock.monotonic_ns() + _MS // 2) // _MS
        # What is set meanwhile needs no timer yet.
        self._set_for_ms = 0
        while (call := self._heap.take(now_ms)) is not None:
            key, who = call
            try:
                who.time_is_up(key)
            except Exception:
                # The others' times have come all the same.
                log.exception("a call whose time had come")
        self._set()


class _Later(msgspec.Struct, eq=False):
    """A call to come that can be taken back."""

    timers: Timers
    callback: Callable[[], object]
    key: int = 0

    def cancel(self) -> None:
        self.timers.cancel(self.key)

    def time_is_up(self, key: int) -> None:
        self.callback()
