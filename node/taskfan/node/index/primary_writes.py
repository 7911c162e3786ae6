"""One write on the primary of its shard, from the request to what the replicas are sent. Pure.

Source: OpenSearch `TransportShardBulkAction.executeBulkItemRequest`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from taskfan.node.index.documents import Document, OpType, Result, WriteRequest, WriteResult
from taskfan.node.index.errors import IllegalState, JsonUnreadable, MapperParsing, NotXContent, VersionConflict
from taskfan.node.index.mappings import mapping_update
from taskfan.node.index.shard import ShardCopy
from taskfan.node.index.source_filter import SourceFilter
from taskfan.node.index.updates import UpdateBody, plan_update, read_update
from taskfan.node.index.x_content import read_document


class NeedsMapping(msgspec.Struct, frozen=True):
    """The document has new fields: the manager must put this into the mapping first, then the write is tried again."""

    addition: dict[str, Any]


class Written(msgspec.Struct, frozen=True):
    """A write that was done. `replicate` is what the replicas take over, None if nothing changed."""

    done: WriteResult
    replicate: Document | None
    # For an update that shows the new source: the `get` of its answer.
    get: dict[str, Any] | None = None


def write(copy: ShardCopy, mapping: Mapping[str, Any], request: WriteRequest, now_ms: int) -> Written | NeedsMapping:
    """Do one write.

    Args:
        copy: the primary; only a write that is done changes it.
        mapping: that of the index, as far as this node knows it.
        now_ms: wall time.

    Raises:
        TaskfanError: why it cannot be done; the failure of the item.
    """
    match request.op_type:
        case OpType.DELETE:
            done = copy.delete(request, now_ms)
            return Written(done, done.document)
        case OpType.UPDATE:
            return _update(copy, mapping, request, now_ms)
    return _index(copy, mapping, request)


def _index(copy: ShardCopy, mapping: Mapping[str, Any], request: WriteRequest) -> Written | NeedsMapping:
    addition = new_fields(mapping, request)
    if addition is not None:
        return NeedsMapping(addition)
    done = copy.index(request)
    return Written(done, done.document)


def new_fields(mapping: Mapping[str, Any], request: WriteRequest) -> dict[str, Any] | None:
    """What a document adds to the mapping.

    Raises:
        MapperParsing: it is no JSON object, or does not suit the mapping.
    """
    if not request.source.strip():
        raise MapperParsing("failed to parse, document is empty")
    try:
        source = read_document(request.source)
    except (NotXContent, JsonUnreadable) as error:
        raise MapperParsing("failed to parse", cause=error) from None
    return mapping_update(mapping, source, request.id or "")


def _update(copy: ShardCopy, mapping: Mapping[str, Any], request: WriteRequest, now_ms: int) -> Written | NeedsMapping:
    body = read_update(request.source)
    current = copy.get(request.id or "")
    check_expected(copy, request, body, current)
    plan = plan_update(request, body, current, copy.shard)
    shows = body.fetch_source if body.fetch_source is not None else request.fetch_source
    if plan.write is None:
        if current is None:
            raise IllegalState(f"[{request.id}] was not written, and is not there")
        done = WriteResult(current, Result.NOOP)
        return Written(done, None, get_object(current, plan.new_source, shows))
    # Nothing comes between reading and writing here, so there is nothing to be tried again.
    written = write(copy, mapping, plan.write, now_ms)
    if isinstance(written, NeedsMapping):
        return written
    return replace(written, get=get_object(written.done.document, plan.new_source, shows))


def check_expected(copy: ShardCopy, request: WriteRequest, body: UpdateBody, current: Document | None) -> None:
    """Refuse an update of a document that is not in the state it expects. Raises VersionConflict."""
    seq_no = body.if_seq_no if body.if_seq_no is not None else request.if_seq_no
    term = body.if_primary_term if body.if_primary_term is not None else request.if_primary_term
    if seq_no < 0 or current is None or (current.seq_no, current.primary_term) == (seq_no, term):
        return
    required = f"required seqNo [{seq_no}], primary term [{term}]."
    has = f"current document has seqNo [{current.seq_no}] and primary term [{current.primary_term}]"
    raise VersionConflict(copy.shard, request.id or "", f"{required} {has}")


def get_object(document: Document, source: Mapping[str, Any], shows: Any) -> dict[str, Any] | None:
    """The `get` of an update's answer: what it asked to be shown of the new source."""
    if not isinstance(shows, SourceFilter) or not shows.enabled:
        return None
    shown = {"_seq_no": document.seq_no, "_primary_term": document.primary_term, "found": True}
    return {**shown, "_source": dict(source) if shows.shows_all else shows.apply(source)}
