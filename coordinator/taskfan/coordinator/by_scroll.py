"""indices:data/write/reindex, update/byquery and delete/byquery: many documents written as a search finds them.

What to do next is decided by `taskfan.node.index.by_scroll_worker` and `by_scroll_leader`; here it is done: searches,
scrolls, bulks and slices as child tasks, sleeps by the clock.
Source: OpenSearch `TransportReindexAction`, `Reindexer`, `BulkByScrollParallelizationHelper`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from taskfan.coordinator.by_scroll_calls import ByScrollCalls
from taskfan.coordinator.stored_results import store_result
from taskfan.node.action import Action, ActionContext, wake
from taskfan.node.actions.rethrottle import RunningByScroll
from taskfan.node.errors import TaskfanError
from taskfan.node.index.bulk import Item, ItemFailure
from taskfan.node.index.by_scroll_leader import ByScrollTask
from taskfan.node.index.by_scroll_request import AUTO_SLICES, ByScrollRequest, Kind, auto_slices
from taskfan.node.index.by_scroll_status import ByScrollResponse
from taskfan.node.index.by_scroll_worker import (
    Effect,
    Finish,
    NextPage,
    Page,
    Refresh,
    SendBulk,
    Sleep,
    StartSearch,
    Worker,
    retry_delay_ms,
)
from taskfan.node.index.documents import OpType, WriteRequest
from taskfan.node.index.index_names import resolve
from taskfan.node.index.reindex_validation import check_number_of_slices, initial_validation
from taskfan.node.task import TaskTraits

log = logging.getLogger("taskfan.reindex")

TOO_MANY_REQUESTS = 429


async def by_scroll(context: ActionContext, request: ByScrollRequest) -> ByScrollResponse:
    """Do all of the work, here or in slices; a result that is to be kept is stored before this ends.

    Raises:
        ValidationFailed: the request contradicts itself; this is never stored.
        TaskfanError: a search, a bulk or a slice failed as a whole, or the result could not be stored.
    """
    work = _Work(context, request)
    forget_cancel = context.on_stop(work.cancel)
    try:
        request.validate()
        try:
            response = await work.run()
        except TaskfanError as error:
            if request.store_result:
                await store_result(context, error=error)
            raise
        if request.store_result:
            await store_result(context, response=response)
        return response
    finally:
        forget_cancel()


class _Work:
    """The run of one task: a leader, or a worker."""

    def __init__(self, context: ActionContext, request: ByScrollRequest) -> None:
        self._context, self._request = context, request
        self._state = ByScrollTask(context.task.id.number)
        self._changed: asyncio.Future[None] | None = None
        task = context.task
        task.work = RunningByScroll(self._state, self._wake)
        task.status = lambda: self._status(human=False)
        task.human_status = lambda: self._status(human=True)

    def _now_ns(self) -> int:
        return self._context.clock.monotonic_ns()

    def _status(self, *, human: bool) -> bytes:
        return msgspec.json.encode(self._state.status(self._now_ns()).to_object(human=human))

    def cancel(self, reason: str) -> None:
        """The task was cancelled."""
        self._state.cancel(reason, self._now_ns())
        self._wake()

    def _wake(self) -> None:
        """A sleep may have another end now."""
        if self._changed is not None:
            wake(self._changed, None)

    async def run(self) -> ByScrollResponse:
        """Raises what fails as a whole."""
        request, indices = self._request, self._context.node.cluster_state.indices
        initial_validation(request, indices)
        slices = request.slices
        if slices == AUTO_SLICES:
            found = resolve(indices, request.indices, request.options)
            slices = auto_slices({index.name: index.number_of_shards for index in found})
        if slices > 1:
            return await self._lead(slices)
        worker = self._state.work(request, self._now_ns())
        return await self._work(worker)

    # ------------------------------------------------------------------ a leader

    async def _lead(self, slices: int) -> ByScrollResponse:
        context, request = self._context, self._request
        leader = self._state.lead(slices)
        check_number_of_slices(request, context.node.cluster_state.indices, slices)
        parts = [request.for_slice(number, slices) for number in range(slices)]
        ended: asyncio.Future[ByScrollResponse | TaskfanError] = asyncio.get_running_loop().create_future()

        async def run(number: int, part: ByScrollRequest) -> None:
            result: ByScrollResponse | TaskfanError
            try:
                result = await context.execute(request.kind.value, part)
            except TaskfanError as error:
                result = error
            except Exception as bug:
                # Who leads waits for every slice, and must hear of this one too.
                log.exception("slice %d of [%s]", number, context.task.id)
                result = TaskfanError(f"{type(bug).__name__}: {bug}")
            outcome = leader.on_slice(number, result)
            if outcome is not None:
                wake(ended, outcome)

        for number, part in enumerate(parts):
            context.clock.spawn(run(number, part), request.kind.value)
        outcome = await ended
        if isinstance(outcome, TaskfanError):
            raise outcome
        return outcome

    # ------------------------------------------------------------------ a worker

    async def _work(self, worker: Worker) -> ByScrollResponse:
        calls = ByScrollCalls(self._context, self._request)
        if self._request.script is not None:
            # Also where it will have nothing to do.
            self._request.script.check()
        effect = worker.start(self._now_ns())
        try:
            while not isinstance(effect, Finish):
                try:
                    effect = await self._do(worker, calls, effect)
                except TaskfanError as error:
                    effect = worker.on_failure(error)
        finally:
            await calls.close()
        if isinstance(effect.outcome, TaskfanError):
            raise effect.outcome
        return effect.outcome

    async def _do(self, worker: Worker, calls: ByScrollCalls, effect: Effect) -> Effect:
        match effect:
            case StartSearch():
                page = await self._with_retries(worker, calls.search)
                return worker.on_page(page, self._now_ns())
            case NextPage(extra_keep_alive_ns):
                page = await self._with_retries(worker, lambda: calls.next_page(extra_keep_alive_ns))
                return worker.on_page(page, self._now_ns())
            case Sleep():
                await self._sleep(worker)
                return worker.woke(self._now_ns())
            case SendBulk(items):
                return worker.on_bulk(await self._bulk(worker, calls, items), self._now_ns())
            case Refresh(indices):
                await calls.refresh(indices)
                return worker.refreshed(self._now_ns())
        raise AssertionError(effect)

    async def _sleep(self, worker: Worker) -> None:
        """Until the worker says; a cancel or another rate may change its mind."""
        while (rest_ns := worker.wake_at_ns - self._now_ns()) > 0:
            self._changed = asyncio.get_running_loop().create_future()
            changed = self._changed
            timer = self._context.clock.call_later(rest_ns / 1e9, lambda: wake(changed, None))  # noqa: B023
            try:
                await changed
            finally:
                timer.cancel()
                self._changed = None

    async def _with_retries(self, worker: Worker, call: Callable[[], Awaitable[Page]]) -> Page:
        """Try a search again as long as it is rejected for want of room."""
        attempt = 0
        while True:
            try:
                return await call()
            except TaskfanError as error:
                delay_ms = retry_delay_ms(attempt)
                if error.http_status != TOO_MANY_REQUESTS or delay_ms is None:
                    raise
            attempt += 1
            worker.search_retries += 1
            await self._context.clock.sleep(delay_ms / 1000)

    async def _bulk(
        self, worker: Worker, calls: ByScrollCalls, items: Sequence[WriteRequest]
    ) -> list[tuple[OpType, Item]]:
        """Write; items that were rejected for want of room are tried again. Source: OpenSearch `Retry`."""
        results = await calls.bulk(items)
        attempt = 0
        while rejected := [place for place, (_, item) in enumerate(results) if _is_rejected(item)]:
            delay_ms = retry_delay_ms(attempt)
            if delay_ms is None:
                break
            attempt += 1
            worker.bulk_retries += 1
            await self._context.clock.sleep(delay_ms / 1000)
            again = await calls.bulk([items[place] for place in rejected])
            for place, result in zip(rejected, again, strict=True):
                results[place] = result
        return results


def _is_rejected(item: Item) -> bool:
    return isinstance(item, ItemFailure) and item.http_status == TOO_MANY_REQUESTS


def _traits(request: ByScrollRequest) -> TaskTraits:
    return TaskTraits(request.description, cancellable=True)


BY_SCROLL_ACTIONS = tuple(Action(kind.value, by_scroll, ByScrollRequest, traits=_traits) for kind in Kind)
