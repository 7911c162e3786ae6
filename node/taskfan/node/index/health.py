"""The colour of an index and of a cluster, and what health answers count. Pure.

Source: OpenSearch `ClusterStateHealth`, `ClusterIndexHealth`, `ClusterShardHealth`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from taskfan.node.index.metadata import IndexMetadata, Indices, ShardRouting, ShardTable

COLOURS = ("green", "yellow", "red")


class ShardCounts(msgspec.Struct, frozen=True):
    """How many copies are in which state."""

    active_primary: int = 0
    active: int = 0
    initializing: int = 0
    unassigned: int = 0

    @classmethod
    def of(cls, copies: Iterable[ShardRouting]) -> ShardCounts:
        """Count some copies."""
        counted = list(copies)
        return cls(
            active_primary=sum(copy.primary and copy.active for copy in counted),
            active=sum(copy.active for copy in counted),
            initializing=sum(copy.state == "INITIALIZING" for copy in counted),
            unassigned=sum(copy.state == "UNASSIGNED" for copy in counted),
        )

    def to_object(self) -> dict[str, int]:
        """As they stand in the object of an index."""
        return {
            "active_primary_shards": self.active_primary,
            "active_shards": self.active,
            "relocating_shards": 0,
            "initializing_shards": self.initializing,
            "unassigned_shards": self.unassigned,
        }


def worst(colours: Iterable[str]) -> str:
    """The colour of a whole: that of its worst part, green if there are none."""
    return max(colours, key=COLOURS.index, default="green")


def shard_colour(copies: ShardTable) -> str:
    """Green with all copies, yellow with the primary, else red.

    A primary that is nowhere because its index was just made counts as yellow: it is on its way.
    """
    if not copies[0].active:
        fresh = copies[0].state == "INITIALIZING" and copies[0].unassigned is not None
        return "yellow" if fresh and copies[0].unassigned and copies[0].unassigned.reason == "INDEX_CREATED" else "red"
    return "green" if all(copy.active for copy in copies) else "yellow"


def index_colour(indices: Indices, name: str) -> str:
    """The colour of one index."""
    return worst(shard_colour(copies) for copies in indices.routing.indices[name])


def cluster_colour(indices: Indices, names: Sequence[str]) -> str:
    """The colour of these indices together."""
    return worst(index_colour(indices, name) for name in names)


def counts(indices: Indices, names: Sequence[str]) -> ShardCounts:
    """The copies of these indices, counted."""
    chosen = set(names)
    return ShardCounts.of(copy for copy in indices.routing if copy.index in chosen)


def active_percent(indices: Indices) -> float:
    """Which part of all copies is active, of all indices whatever was asked for; 100 without any."""
    total = ShardCounts.of(indices.routing)
    copies = total.active + total.initializing + total.unassigned
    return 100.0 if copies == 0 else total.active * 100.0 / copies


def index_object(indices: Indices, index: IndexMetadata, *, with_shards: bool) -> dict[str, Any]:
    """One index of a health answer with `level=indices` or `shards`."""
    shards = indices.routing.indices[index.name]
    shown: dict[str, Any] = {
        "status": index_colour(indices, index.name),
        "number_of_shards": index.number_of_shards,
        "number_of_replicas": index.number_of_replicas,
        **counts(indices, [index.name]).to_object(),
    }
    if with_shards:
        shown["shards"] = {str(number): _shard_object(copies) for number, copies in enumerate(shards)}
    return shown


def _shard_object(copies: ShardTable) -> dict[str, Any]:
    counted = ShardCounts.of(copies).to_object()
    del counted["active_primary_shards"]
    return {"status": shard_colour(copies), "primary_active": copies[0].active, **counted}
