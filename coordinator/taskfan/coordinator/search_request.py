"""What a search over shards is asked to do. Pure. Source: OpenSearch `SearchRequest`."""

from __future__ import annotations

import msgspec

from taskfan.node.index.index_names import SEARCH_OPTIONS, IndicesOptions
from taskfan.node.index.search_source import SearchSource, description
from taskfan.node.task_json import human_duration

# Of one search to one node at a time. Source: OpenSearch `SearchRequest.getMaxConcurrentShardRequests`.
MAX_CONCURRENT_SHARD_REQUESTS = 5


class SearchRequest(msgspec.Struct, frozen=True):
    """A search. `indices` are names as they were given; `scroll_ms` says that it goes on, for so long at a time.

    `cancel_after_ms` is None when the request does not say it, and -1 for never.
    """

    indices: tuple[str, ...] = ()
    source: SearchSource | None = None
    options: IndicesOptions = SEARCH_OPTIONS
    scroll_ms: int | None = None
    routing: str | None = None
    preference: str | None = None
    allow_partial: bool = True
    cancel_after_ms: int | None = None
    max_concurrent_shard_requests: int = MAX_CONCURRENT_SHARD_REQUESTS

    @property
    def description(self) -> str:
        """What its task says it does."""
        scroll = None if self.scroll_ms is None else human_duration(self.scroll_ms * 1_000_000)
        return description(",".join(self.indices), self.source, scroll)
