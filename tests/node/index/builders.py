"""What several tests of indices begin with: a shard, an index, some nodes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.errors import TaskfanError
from taskfan.node.index.documents import Document, OpType, WriteRequest
from taskfan.node.index.errors import ShardId
from taskfan.node.index.mappings import FieldTypes, mapping_update, merged
from taskfan.node.index.search_phases import FetchedHit, ShardTarget
from taskfan.node.index.shard import ShardCopy, ShardLimits

UUID = "rGdtv760TbOSFbf_vBVxYg"
SHARD = ShardId("golden-dest", UUID, 0)
NOW_MS = 1_795_516_612_273


def shard(limits: ShardLimits | None = None) -> ShardCopy:
    """An empty primary."""
    return ShardCopy(SHARD, primary_term=1, limits=limits or ShardLimits())


def indexing(document_id: str, source: Mapping[str, Any] | None = None, **more: Any) -> WriteRequest:
    """A request to index one document."""
    return WriteRequest(OpType.INDEX, SHARD.index, document_id, json.dumps(source or {}).encode(), **more)


def deleting(document_id: str, **more: Any) -> WriteRequest:
    """A request to delete one document."""
    return WriteRequest(OpType.DELETE, SHARD.index, document_id, **more)


def documents(sources: Mapping[str, Mapping[str, Any]]) -> list[Document]:
    """Documents as a search sees them."""
    return [
        Document(document_id, json.dumps(source, separators=(",", ":")).encode(), 1, place, 1)
        for place, (document_id, source) in enumerate(sources.items())
    ]


def mapping_of(sources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mapping that documents make when they come one after another."""
    mapping: dict[str, Any] = {}
    for source in sources:
        addition = mapping_update(mapping, source, "1")
        mapping = mapping if addition is None else merged(mapping, addition)
    return mapping


def target(sources: Mapping[str, Mapping[str, Any]], number: int = 0, shards: int = 1) -> ShardTarget:
    """The shard that holds such documents, its fields known."""
    fields = FieldTypes(mapping_of(list(sources.values())))
    return ShardTarget(ShardId("s1", UUID, number), shards, fields, {})


def hit(document_id: str, source: Mapping[str, Any] | None = None, **more: Any) -> FetchedHit:
    """A document that a search gave back."""
    raw = json.dumps(source or {}).encode()
    return FetchedHit("golden-src", document_id, None, (), 1, 0, 1, source=raw, **more)


def node(name: str, *, roles: tuple[str, ...] = ("data",)) -> DiscoveryNode:
    """A node of that name, which is its id too."""
    return DiscoveryNode(name, name, f"e-{name}", "127.0.0.1", "127.0.0.1:9300", "127.0.0.1:9200", roles)


def object_of(error: TaskfanError) -> dict[str, Any]:
    """What a client reads of an error."""
    return error.to_object()
