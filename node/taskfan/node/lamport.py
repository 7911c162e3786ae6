"""Lamport time of one member: the order of what happened in several processes, without their clocks. Pure."""

from __future__ import annotations


class LamportClock:
    """A counter that goes up with everything sent, and past everything received.

    One per member: its transport and its journal share it, so that what was caused has the higher time.
    """

    def __init__(self) -> None:
        self.time = 0

    def tick(self) -> int:
        """The time of what happens now."""
        self.time += 1
        return self.time

    def observe(self, time: int) -> int:
        """The time of receiving something that was sent at `time`."""
        self.time = (time if time > self.time else self.time) + 1
        return self.time
