"""The course of one reindex, update by query or delete by query: what to do next, and how far it is. Pure.

A worker is asked what to do (`Effect`), does nothing itself, and is told what came of it. The shell does one thing at
a time: search, sleep, bulk, next page and so on. Only `cancel` and `rethrottle` come in between; they may move the
moment at which a sleep ends (`wake_at_ns`). All times are monotonic nanoseconds.

Source: OpenSearch `AbstractAsyncBulkByScrollAction`, `WorkerBulkByScrollTaskState`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from taskfan.node.errors import TaskfanError
from taskfan.node.index.bulk import Item, ItemDone, ItemFailure
from taskfan.node.index.by_scroll_items import build_items
from taskfan.node.index.by_scroll_request import ALL_DOCS, ByScrollRequest
from taskfan.node.index.by_scroll_status import ByScrollResponse, ByScrollStatus, float32
from taskfan.node.index.documents import OpType, WriteRequest
from taskfan.node.index.errors import ShardSearchFailure
from taskfan.node.index.search_phases import FetchedHit

MAX_THROTTLE_NS = 3_600_000_000_000
# Java rounds a float to an int: no rescheduled sleep is longer than this.
MOST_RESCHEDULED_NS = 2**31 - 1


class StartSearch(msgspec.Struct, frozen=True):
    """Effect: begin the search with its scroll."""


class NextPage(msgspec.Struct, frozen=True):
    """Effect: get the next page of the scroll, and keep the scroll for so much longer than usual."""

    extra_keep_alive_ns: int


class Sleep(msgspec.Struct, frozen=True):
    """Effect: wait until `wake_at_ns` of the worker, which may change meanwhile, then call `woke`."""


class SendBulk(msgspec.Struct, frozen=True):
    """Effect: write these."""

    items: tuple[WriteRequest, ...]


class Refresh(msgspec.Struct, frozen=True):
    """Effect: refresh these indices."""

    indices: tuple[str, ...]


class Finish(msgspec.Struct, frozen=True):
    """Effect: close the scroll, if there is one, then answer."""

    outcome: ByScrollResponse | TaskfanError


Effect = StartSearch | NextPage | Sleep | SendBulk | Refresh | Finish


class Page(msgspec.Struct, frozen=True):
    """One page of the scroll."""

    total: int
    hits: Sequence[FetchedHit]
    failures: tuple[ShardSearchFailure, ...] = ()
    timed_out: bool = False


class _Delay(msgspec.Struct):
    """A sleep as it was scheduled. Rescheduling keeps the rate with which it began."""

    requests_per_second: float
    delay_ns: int
    wake_at_ns: int
    over: bool = False


class Worker(msgspec.Struct):
    """One worker: an unsliced task, or one slice."""

    request: ByScrollRequest
    requests_per_second: float
    slice_id: int | None = None
    reason_cancelled: str | None = None
    total: int = 0
    updated: int = 0
    created: int = 0
    deleted: int = 0
    batches: int = 0
    version_conflicts: int = 0
    noops: int = 0
    bulk_retries: int = 0
    search_retries: int = 0
    throttled_ns: int = 0
    _started_ns: int | None = None
    _delay: _Delay | None = None
    _last_batch: int = 0
    _batch_started_ns: int = 0
    _page: Page | None = None
    _indices: dict[str, None] = {}
    _ending: tuple[tuple[ItemFailure, ...], tuple[ShardSearchFailure, ...], bool] = ((), (), False)

    @classmethod
    def of(cls, request: ByScrollRequest) -> Worker:
        """The worker of a request that is not to be sliced; a manual slice gives it its number."""
        given = request.source.slice
        return cls(request, request.requests_per_second, None if given is None else given.id)

    @property
    def wake_at_ns(self) -> int:
        """When the sleep ends that is going on."""
        return self._delay.wake_at_ns if self._delay is not None else 0

    def status(self, now_ns: int) -> ByScrollStatus:
        """How far it is."""
        return ByScrollStatus(
            self.slice_id,
            self.total,
            self.updated,
            self.created,
            self.deleted,
            self.batches,
            self.version_conflicts,
            self.noops,
            self.bulk_retries,
            self.search_retries,
            self.throttled_ns,
            self.requests_per_second,
            self.reason_cancelled,
            max(0, self.wake_at_ns - now_ns),
        )

    # What comes in between.

    def cancel(self, reason: str, now_ns: int) -> None:
        """The task was cancelled. A sleep ends at once; anything else is finished first."""
        self.reason_cancelled = reason
        self.rethrottle(math.inf, now_ns)

    def rethrottle(self, requests_per_second: float, now_ns: int) -> None:
        """Take another rate. A faster one shortens the sleep, a slower one counts from the next batch on.

        The rest of a sleep is cut to 2147 ms at most, as in OpenSearch, where its length is rounded to an int.
        """
        self.requests_per_second = requests_per_second
        delay = self._delay
        if delay is None or delay.over or requests_per_second < delay.requests_per_second:
            return
        rest_ns = delay.wake_at_ns - now_ns
        new_ns = 0 if rest_ns < 0 else _rescaled(rest_ns, delay.requests_per_second, requests_per_second)
        self._delay = _Delay(delay.requests_per_second, new_ns, now_ns + new_ns)

    # The course of the work.

    def start(self, now_ns: int) -> Effect:
        """The first thing to do."""
        if self.reason_cancelled is not None:
            return self._finish(now_ns)
        self._started_ns = now_ns
        return StartSearch()

    def on_failure(self, error: TaskfanError) -> Effect:
        """The search, a page, a bulk or the refresh failed as a whole."""
        return Finish(error)

    def on_page(self, page: Page, now_ns: int) -> Effect:
        """The search or a further page has answered."""
        if self.reason_cancelled is not None:
            return self._finish(now_ns)
        if page.failures or page.timed_out:
            return self._refresh_and_finish((), page.failures, page.timed_out, now_ns)
        self.total = page.total if self.request.max_docs <= 0 else min(page.total, self.request.max_docs)
        self._page = page
        delay_ns = self._throttle_ns(self._last_batch)
        self._delay = _Delay(self.requests_per_second, delay_ns, now_ns + delay_ns)
        return Sleep()

    def woke(self, now_ns: int) -> Effect:
        """The sleep is over."""
        assert self._delay is not None
        self._delay.over = True
        self.throttled_ns += self._delay.delay_ns
        if self.reason_cancelled is not None:
            return self._finish(now_ns)
        return self._bulk(now_ns)

    def _bulk(self, now_ns: int) -> Effect:
        assert self._page is not None
        self._batch_started_ns = now_ns
        hits = self._page.hits
        if not hits:
            return self._refresh_and_finish((), (), False, now_ns)
        self.batches += 1
        if self.request.max_docs != ALL_DOCS:
            hits = hits[: max(0, self.request.max_docs - self._processed)]
        try:
            items, noops = build_items(self.request, hits)
        except TaskfanError as error:
            return Finish(error)
        self.noops += noops
        if not items:
            return self._batch_done(0, now_ns)
        return SendBulk(tuple(items))

    @property
    def _processed(self) -> int:
        return self.updated + self.created + self.deleted

    def on_bulk(self, items: Sequence[tuple[OpType, Item]], now_ns: int) -> Effect:
        """The bulk has answered."""
        failures = []
        for op_type, item in items:
            if isinstance(item, ItemFailure):
                failures += self._record_failure(item)
            else:
                self._count(op_type, item)
        if self.reason_cancelled is not None:
            return self._finish(now_ns)
        for _, item in items:
            if isinstance(item, ItemDone):
                self._indices[item.answer["_index"]] = None
        if failures:
            return self._refresh_and_finish(tuple(failures), (), False, now_ns)
        if self.request.max_docs != ALL_DOCS and self._processed >= self.request.max_docs:
            return self._refresh_and_finish((), (), False, now_ns)
        return self._batch_done(len(items), now_ns)

    def _record_failure(self, failure: ItemFailure) -> list[ItemFailure]:
        if failure.http_status == 409:
            self.version_conflicts += 1
            if not self.request.abort_on_conflict:
                return []
        return [failure]

    def _count(self, op_type: OpType, item: ItemDone) -> None:
        if op_type is OpType.DELETE:
            self.deleted += 1
        elif op_type is not OpType.UPDATE and item.answer["result"] == "created":
            self.created += 1
        else:
            self.updated += 1

    def _batch_done(self, size: int, now_ns: int) -> Effect:
        if self.reason_cancelled is not None:
            return self._finish(now_ns)
        self._last_batch = size
        # The scroll must outlive the sleep that follows its next page.
        return NextPage(self._throttle_ns(size))

    def _throttle_ns(self, batch_size: int) -> int:
        if self.requests_per_second == math.inf:
            return 0
        seconds = float32(batch_size / self.requests_per_second)
        return min(MAX_THROTTLE_NS, int(float32(float32(1e9) * seconds)))

    def _refresh_and_finish(
        self,
        bulk_failures: tuple[ItemFailure, ...],
        search_failures: tuple[ShardSearchFailure, ...],
        timed_out: bool,
        now_ns: int,
    ) -> Effect:
        self._ending = (bulk_failures, search_failures, timed_out)
        if self.reason_cancelled is not None or not self.request.refresh or not self._indices:
            return self._finish(now_ns)
        return Refresh(tuple(self._indices))

    def refreshed(self, now_ns: int) -> Effect:
        """The indices that were written are refreshed."""
        return self._finish(now_ns)

    def _finish(self, now_ns: int) -> Effect:
        took_ns = 0 if self._started_ns is None else now_ns - self._started_ns
        return Finish(ByScrollResponse(took_ns, self.status(now_ns), *self._ending))


def _rescaled(rest_ns: int, old_rate: float, new_rate: float) -> int:
    """The rest of a sleep at another rate, in the arithmetic of Java's `Math.round(float)`."""
    if new_rate == math.inf:
        return 0
    scaled = float32(float32(float32(rest_ns) * old_rate) / new_rate)
    return min(MOST_RESCHEDULED_NS, math.floor(scaled + 0.5))


def retry_delay_ms(attempt: int) -> int | None:
    """How long to wait before a rejected search or bulk is tried again; None when it is not.

    Source: OpenSearch `BackoffPolicy.exponentialBackoff`, with 500 ms and 11 retries.
    """
    return None if attempt >= 11 else 500 + 10 * (int(math.exp(0.8 * attempt)) - 1)
