"""The requests that work of the reindex family makes: search, scroll, bulk, refresh, and the end of the scroll."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from taskfan.coordinator.bulk import BULK_ACTION
from taskfan.coordinator.scroll import CLEAR_ACTION, SCROLL_ACTION, ClearScrollRequest, ScrollAnswer, ScrollRequest
from taskfan.coordinator.search_request import SearchRequest
from taskfan.node.action import ActionContext
from taskfan.node.actions.search import SEARCH_ACTION
from taskfan.node.errors import TaskfanError
from taskfan.node.index.active_shards import ActiveShardCount
from taskfan.node.index.bulk import BulkRequest, BulkResult, Item
from taskfan.node.index.by_scroll_request import ByScrollRequest
from taskfan.node.index.by_scroll_worker import Page
from taskfan.node.index.documents import OpType, WriteRequest
from taskfan.node.index.search_merge import SearchAnswer
from taskfan.v1 import indices_pb2 as pb

REFRESH_ACTION = "indices:admin/refresh"


class ByScrollCalls:
    """The requests of one worker, each a child of its task but for the last one."""

    def __init__(self, context: ActionContext, request: ByScrollRequest) -> None:
        self._context, self._request = context, request
        self._scroll_id: str | None = None

    async def search(self) -> Page:
        """The first page. Raises what the search raises."""
        request = self._request
        answer: SearchAnswer = await self._context.execute(
            SEARCH_ACTION,
            SearchRequest(
                request.indices,
                request.first_search(),
                request.options,
                scroll_ms=request.scroll_ms,
                routing=request.routing,
                preference=request.preference,
            ),
        )
        return self._page(answer)

    async def next_page(self, extra_keep_alive_ns: int) -> Page:
        """The next page; its scroll is kept for so much longer than usual."""
        assert self._scroll_id is not None
        keep_alive_ms = self._request.scroll_ms + extra_keep_alive_ns // 1_000_000
        answer: ScrollAnswer = await self._context.execute(SCROLL_ACTION, ScrollRequest(self._scroll_id, keep_alive_ms))
        return self._page(answer.answer)

    def _page(self, answer: SearchAnswer) -> Page:
        self._scroll_id = answer.scroll_id or self._scroll_id
        return Page(answer.merged.total or 0, answer.hits, answer.shards.failures, answer.timed_out)

    async def bulk(self, items: Sequence[WriteRequest]) -> list[tuple[OpType, Item]]:
        """Write; what became of each item, in order. Raises when the bulk fails as a whole."""
        request = self._request
        copies = _text_of(request.wait_for_active_shards)
        message = BulkRequest(items, wait_for_active_shards=copies, timeout_ms=request.timeout_ms)
        answer: BulkResult = await self._context.execute(BULK_ACTION, message)
        return answer.items

    async def refresh(self, indices: Sequence[str]) -> None:
        """Let searches see what was written."""
        await self._context.execute(REFRESH_ACTION, pb.BroadcastRequest(indices=indices))

    async def close(self) -> None:
        """End the scroll. It is no child of the task: one that was cancelled could not start it any more.

        Source: OpenSearch `ClientScrollableHitSource.clearScroll`.
        """
        if self._scroll_id is None:
            return
        with contextlib.suppress(TaskfanError):
            # It is forgotten in time anyway.
            await self._context.node.execute(
                CLEAR_ACTION, ClearScrollRequest((self._scroll_id,)), headers=self._context.task.headers
            )


def _text_of(count: ActiveShardCount) -> str:
    return "all" if count.count is None else str(count.count)
