"""Gives back to the system what large answers leave free in the process: once for many of them, when they are gone."""

from __future__ import annotations

from taskfan.node.clock import Clock, TimerHandle
from taskfan.node.machine import Machine

# The parts of smaller answers fit into what was free before.
_LARGE_BYTES = 1 << 20
# By then they are written.
_AFTER_S = 1.0


class SpareMemory:
    """A list of ten thousand tasks leaves six megabytes that the C library keeps in case of another one."""

    def __init__(self, clock: Clock, machine: Machine) -> None:
        self._clock, self._machine = clock, machine
        self._timer: TimerHandle | None = None

    def answered(self, size_bytes: int) -> None:
        """An answer of that size was made."""
        if size_bytes >= _LARGE_BYTES and self._timer is None:
            self._timer = self._clock.call_later(_AFTER_S, self._give_back)

    def _give_back(self) -> None:
        self._timer = None
        self._machine.give_back_memory()
