"""One change of the cluster state, and who waits for it on the manager: no longer than he said."""

from __future__ import annotations

import asyncio

from taskfan.node.action import wake
from taskfan.node.clock import Clock, TimerHandle
from taskfan.node.state_updates import UpdateLimits


class Submission:
    """What is told of a change; the first of it counts.

    `answer` is whether all nodes have applied it, or fails when the change did not come about.
    Source: OpenSearch `MasterService.AckCountDownListener`.
    """

    def __init__(self, clock: Clock, limits: UpdateLimits) -> None:
        self._clock, self._limits = clock, limits
        self._timer: TimerHandle | None = None
        self.answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def committed(self) -> None:
        """It will come about: from now on there is a limit to how long all nodes may take to apply it."""
        limit_s = self._limits.ack_s
        if limit_s is None or self.answer.done():
            return
        if limit_s > 0:
            self._timer = self._clock.call_later(limit_s, lambda: self.done(is_applied_by_all=False))
        else:
            self.done(is_applied_by_all=False)

    def done(self, *, is_applied_by_all: bool) -> None:
        """It is over, or has taken long enough."""
        wake(self.answer, is_applied_by_all)

    def failed(self, error: Exception) -> None:
        """It did not come about, as far as is known."""
        if not self.answer.done():
            self.answer.set_exception(error)

    def close(self) -> None:
        """Nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()
