"""A sliced reindex, update by query or delete by query: its slices, and what they come to together. Pure.

Source: OpenSearch `LeaderBulkByScrollTaskState`, `TransportRethrottleAction`.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from taskfan.node.errors import IllegalArgument, TaskfanError
from taskfan.node.index.by_scroll_request import ByScrollRequest
from taskfan.node.index.by_scroll_status import (
    ByScrollResponse,
    ByScrollStatus,
    float32,
    merged_response,
    merged_status,
)
from taskfan.node.index.by_scroll_worker import Worker


class Leader(msgspec.Struct):
    """The slices of one request."""

    slices: int
    reason_cancelled: str | None = None
    _results: dict[int, ByScrollResponse | TaskfanError] = {}

    @property
    def running(self) -> int:
        """How many slices are not done."""
        return self.slices - len(self._results)

    def status(self, live: Iterable[ByScrollStatus] = ()) -> ByScrollStatus:
        """The slices that are done, and of those that run what `live` says, if it is known."""
        parts: list[ByScrollStatus | TaskfanError | None] = [None] * self.slices
        for status in live:
            assert status.slice_id is not None
            parts[status.slice_id] = status
        for number, result in self._results.items():
            parts[number] = result.status if isinstance(result, ByScrollResponse) else result
        return merged_status(parts, self.reason_cancelled)

    def on_slice(self, number: int, result: ByScrollResponse | TaskfanError) -> ByScrollResponse | TaskfanError | None:
        """A slice is done; the outcome of the whole, once all are: the first failure, or all responses merged."""
        assert number not in self._results
        self._results[number] = result
        if self.running:
            return None
        results = [self._results[slice_id] for slice_id in range(self.slices)]
        failures = [found for found in results if isinstance(found, TaskfanError)]
        if failures:
            return failures[0]
        responses = [found for found in results if isinstance(found, ByScrollResponse)]
        return merged_response(responses, self.reason_cancelled)

    def rate_for_each(self, requests_per_second: float) -> float:
        """The share of a new rate for each slice that still runs."""
        assert self.running
        return float32(requests_per_second / self.running)


class ByScrollTask(msgspec.Struct):
    """One task of the three kinds: a leader, a worker, or not yet known which. Source: `BulkByScrollTask`."""

    task_number: int
    leader: Leader | None = None
    worker: Worker | None = None
    reason_cancelled: str | None = None

    def lead(self, slices: int) -> Leader:
        """It is to lead so many slices."""
        assert self.leader is None
        assert self.worker is None
        self.leader = Leader(slices, self.reason_cancelled)
        return self.leader

    def work(self, request: ByScrollRequest, now_ns: int) -> Worker:
        """It is to do the work itself; if it was cancelled before, the worker is too."""
        assert self.leader is None
        assert self.worker is None
        self.worker = Worker.of(request)
        if self.reason_cancelled is not None:
            self.worker.cancel(self.reason_cancelled, now_ns)
        return self.worker

    def cancel(self, reason: str, now_ns: int) -> None:
        """The task was cancelled; the slices of a leader are cancelled as its children, not here."""
        self.reason_cancelled = reason
        if self.leader is not None:
            self.leader.reason_cancelled = reason
        if self.worker is not None:
            self.worker.cancel(reason, now_ns)

    def status(self, now_ns: int) -> ByScrollStatus:
        """What the list of tasks shows."""
        if self.leader is not None:
            return self.leader.status()
        if self.worker is not None:
            return self.worker.status(now_ns)
        return ByScrollStatus(reason_cancelled=self.reason_cancelled)

    def check_rethrottle(self) -> None:
        """Raises `IllegalArgument` while it is not known how the work will be done."""
        if self.leader is None and self.worker is None:
            raise IllegalArgument(
                f"task [{self.task_number}] has not yet been initialized to the point where it knows how to "
                "rethrottle itself"
            )
