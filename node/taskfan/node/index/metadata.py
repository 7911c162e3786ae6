"""What all nodes know of the indices: their metadata and where their shards are. Values of the cluster state. Pure.

Both travel as msgspec: structs of text, numbers, tuples and dicts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from taskfan.node.index.errors import ShardId
from taskfan.node.index.settings import HIDDEN, NUMBER_OF_REPLICAS, NUMBER_OF_SHARDS

State = Literal["UNASSIGNED", "INITIALIZING", "STARTED"]
TASKS_INDEX = ".tasks"


class IndexMetadata(msgspec.Struct, frozen=True):
    """One index. Source: OpenSearch `IndexMetadata`.

    `primary_terms` has one number for each shard, and grows whenever another copy becomes the primary.
    `in_sync` has, for each shard, the allocation ids of the copies that have every acknowledged write.
    """

    name: str
    uuid: str
    settings: dict[str, str]
    mapping: dict[str, Any] = {}
    aliases: dict[str, dict[str, Any]] = {}
    primary_terms: tuple[int, ...] = ()
    in_sync: tuple[tuple[str, ...], ...] = ()
    system: bool = False

    @property
    def number_of_shards(self) -> int:
        """How many primaries it has."""
        return int(self.settings[NUMBER_OF_SHARDS])

    @property
    def number_of_replicas(self) -> int:
        """How many more copies each shard is to have."""
        return int(self.settings[NUMBER_OF_REPLICAS])

    @property
    def hidden(self) -> bool:
        """Whether wildcards leave it out."""
        return self.settings.get(HIDDEN) == "true"

    def shard(self, number: int) -> ShardId:
        """The id of one shard."""
        return ShardId(self.name, self.uuid, number)

    def with_settings(self, changes: Mapping[str, str]) -> IndexMetadata:
        """The same index with other settings."""
        return replace(self, settings={**self.settings, **changes})

    def with_term_bumped(self, number: int) -> IndexMetadata:
        """The same index after one shard got another primary."""
        terms = tuple(term + (shard == number) for shard, term in enumerate(self.primary_terms))
        return replace(self, primary_terms=terms)

    def with_in_sync(self, number: int, allocation_ids: tuple[str, ...]) -> IndexMetadata:
        """The same index with other copies of one shard in sync."""
        in_sync = tuple(allocation_ids if shard == number else known for shard, known in enumerate(self.in_sync))
        return replace(self, in_sync=in_sync)


class UnassignedInfo(msgspec.Struct, frozen=True):
    """Why a copy is nowhere, and since when (wall time). Source: OpenSearch `UnassignedInfo`."""

    reason: str
    at_ms: int


class ShardRouting(msgspec.Struct, frozen=True):
    """One copy of one shard; one that is nowhere has no node and no allocation id. Source: `ShardRouting`."""

    index: str
    shard: int
    primary: bool
    state: State = "UNASSIGNED"
    node_id: str | None = None
    allocation_id: str | None = None
    unassigned: UnassignedInfo | None = None

    @property
    def active(self) -> bool:
        """Whether it takes reads and writes."""
        return self.state == "STARTED"

    def on(self, node_id: str, allocation_id: str) -> ShardRouting:
        """This copy when a node begins to make it."""
        return replace(self, state="INITIALIZING", node_id=node_id, allocation_id=allocation_id)

    def started(self) -> ShardRouting:
        """This copy when it is ready."""
        return replace(self, state="STARTED", unassigned=None)

    def gone(self, reason: str, now_ms: int) -> ShardRouting:
        """This copy when its node lost it."""
        return ShardRouting(self.index, self.shard, self.primary, unassigned=UnassignedInfo(reason, now_ms))


# The copies of one shard, the primary first.
ShardTable = tuple[ShardRouting, ...]


class RoutingTable(msgspec.Struct, frozen=True):
    """Where every copy of every shard is: index name to its shards, each a tuple with the primary first."""

    indices: dict[str, tuple[ShardTable, ...]] = {}

    def __iter__(self) -> Iterator[ShardRouting]:
        return (copy for shards in self.indices.values() for shard in shards for copy in shard)

    def shard(self, index: str, number: int) -> ShardTable:
        """The copies of one shard."""
        return self.indices[index][number]

    def primary(self, index: str, number: int) -> ShardRouting:
        """The primary of one shard, active or not."""
        return self.indices[index][number][0]

    def active(self, index: str, number: int) -> list[ShardRouting]:
        """The copies of one shard that take reads and writes."""
        return [copy for copy in self.indices[index][number] if copy.active]

    def on_node(self, node_id: str) -> list[ShardRouting]:
        """The copies that a node has or makes."""
        return [copy for copy in self if copy.node_id == node_id]

    def with_shard(self, index: str, number: int, copies: ShardTable) -> RoutingTable:
        """The same table with other copies of one shard."""
        shards = self.indices[index]
        return self.with_index(index, (*shards[:number], copies, *shards[number + 1 :]))

    def with_index(self, index: str, shards: tuple[ShardTable, ...]) -> RoutingTable:
        """The same table with an index put in."""
        return RoutingTable({**self.indices, index: shards})

    def without_index(self, index: str) -> RoutingTable:
        """The same table without an index."""
        return RoutingTable({name: shards for name, shards in self.indices.items() if name != index})


class Indices(msgspec.Struct, frozen=True):
    """All indices of a cluster: what they are and where. This is what the cluster state holds."""

    metadata: dict[str, IndexMetadata] = {}
    routing: RoutingTable = RoutingTable()

    def __contains__(self, name: object) -> bool:
        return name in self.metadata

    def get(self, name: str) -> IndexMetadata | None:
        """The index of that name, or the one its alias names; None if there is none."""
        found = self.metadata.get(name)
        if found is not None:
            return found
        return next((index for index in self.metadata.values() if name in index.aliases), None)

    def with_metadata(self, index: IndexMetadata) -> Indices:
        """The same indices with one changed or added."""
        return Indices({**self.metadata, index.name: index}, self.routing)

    def with_routing(self, routing: RoutingTable) -> Indices:
        """The same indices elsewhere."""
        return Indices(self.metadata, routing)

    def without(self, name: str) -> Indices:
        """The same indices but one."""
        metadata = {key: index for key, index in self.metadata.items() if key != name}
        return Indices(metadata, self.routing.without_index(name))
