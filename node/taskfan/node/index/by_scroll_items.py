"""What a reindex, update by query or delete by query writes for each document it found. Pure.

Source: OpenSearch `Reindexer.AsyncIndexBySearchAction`, `TransportUpdateByQueryAction.AsyncIndexBySearchAction`,
`AsyncDeleteByQueryAction`, and their common `ScriptApplier`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from taskfan.node.errors import IllegalArgument, ValidationFailed
from taskfan.node.index.by_scroll_request import ByScrollRequest, Destination, Kind
from taskfan.node.index.documents import MATCH_ANY, OpType, VersionType, WriteRequest
from taskfan.node.index.scripts import Script
from taskfan.node.index.search_phases import FetchedHit
from taskfan.node.index.x_content import read_document


def build_items(request: ByScrollRequest, hits: Sequence[FetchedHit]) -> tuple[list[WriteRequest], int]:
    """The items of one bulk, and how many documents a script left as they are.

    Raises:
        IllegalArgument: a document has no source, or the script asks for what cannot be.
        ScriptFailed: the script failed on a document.
        ValidationFailed: the items contradict themselves.
    """
    items, noops = [], 0
    for hit in hits:
        item: WriteRequest | None = _item(request, hit)
        if request.script is not None and item is not None:
            item = _scripted(request.script, item, hit)
        if item is None:
            noops += 1
        else:
            items.append(item)
    if faults := [fault for item in items if (fault := _fault(item)) is not None]:
        raise ValidationFailed(*faults)
    return items, noops


def _fault(item: WriteRequest) -> str | None:
    """Source: OpenSearch `IndexRequest.validate`."""
    if item.op_type is OpType.CREATE and item.version_type is not VersionType.INTERNAL:
        return "create operations only support internal versioning. use index instead"
    return "pipeline cannot be an empty string" if item.pipeline == "" else None


def _item(request: ByScrollRequest, hit: FetchedHit) -> WriteRequest:
    if request.kind is Kind.DELETE_BY_QUERY:
        return WriteRequest(
            OpType.DELETE,
            hit.index,
            hit.id,
            routing=hit.routing,
            if_seq_no=hit.seq_no,
            if_primary_term=hit.primary_term,
        )
    if hit.source is None:
        raise IllegalArgument(f"[{hit.index}][{hit.id}] didn't store _source")
    if request.kind is Kind.UPDATE_BY_QUERY:
        return WriteRequest(
            OpType.INDEX,
            hit.index,
            hit.id,
            hit.source,
            routing=hit.routing,
            if_seq_no=hit.seq_no,
            if_primary_term=hit.primary_term,
            pipeline=request.pipeline,
        )
    return _copied(request.destination, hit, hit.source)


def _copied(destination: Destination, hit: FetchedHit, source: bytes) -> WriteRequest:
    internal = destination.version_type is VersionType.INTERNAL
    return WriteRequest(
        destination.op_type,
        destination.index or "",
        hit.id,
        source,
        routing=_routing(destination.routing, hit.routing),
        version=MATCH_ANY if internal else hit.version,
        version_type=destination.version_type,
        pipeline=destination.pipeline,
    )


def _routing(rule: str | None, found: str | None) -> str | None:
    if rule is None or rule == "keep":
        return found
    return None if rule == "discard" else rule.removeprefix("=")


def _scripted(script: Script, item: WriteRequest, hit: FetchedHit) -> WriteRequest | None:
    outcome = script.run(read_document(hit.source or b"{}"))
    if outcome.op in ("noop", "none"):
        return None
    if outcome.op == "delete":
        return WriteRequest(OpType.DELETE, item.index, item.id, routing=item.routing)
    source = msgspec.json.encode(outcome.source)
    return WriteRequest(
        item.op_type,
        item.index,
        item.id,
        source,
        routing=item.routing,
        version=item.version,
        version_type=item.version_type,
        if_seq_no=item.if_seq_no,
        if_primary_term=item.if_primary_term,
        pipeline=item.pipeline,
    )
