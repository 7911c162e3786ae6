"""Writes, documents and results of items as they travel between nodes: MessagePack of their values. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from taskfan.node.errors import TaskfanError
from taskfan.node.index.bulk import Item, ItemDone, ItemFailure
from taskfan.node.index.documents import (
    CopyCounts,
    Document,
    Result,
    WriteRequest,
    WriteResult,
    write_answer,
)
from taskfan.node.index.source_filter import SourceFilter
from taskfan.v1 import task_pb2

_encode = msgspec.msgpack.Encoder().encode
_decode_requests = msgspec.msgpack.Decoder(list[WriteRequest]).decode
_decode_documents = msgspec.msgpack.Decoder(list[Document]).decode


class ItemResult(msgspec.Struct, array_like=True, frozen=True):
    """What became of one item on the primary: what its answer shows, or the error, a `taskfan.v1.Error`."""

    id: str
    result: Result | None = None
    version: int = 0
    seq_no: int = 0
    primary_term: int = 0
    get: dict[str, Any] | None = None
    error: bytes = b""


_decode_results = msgspec.msgpack.Decoder(list[ItemResult]).decode


def requests_to_wire(items: Sequence[WriteRequest]) -> bytes:
    """Writes, in order."""
    return _encode(items)


def requests_from_wire(data: bytes) -> list[WriteRequest]:
    """Writes, in order."""
    return [
        item if item.fetch_source is None else msgspec.structs.replace(item, fetch_source=_filter_of(item.fetch_source))
        for item in _decode_requests(data)
    ]


def _filter_of(value: Any) -> SourceFilter:
    return msgspec.convert(value, SourceFilter)


def documents_to_wire(documents: Sequence[Document]) -> bytes:
    """Documents, in order."""
    return _encode(documents)


def documents_from_wire(data: bytes) -> list[Document]:
    """Documents, in order."""
    return _decode_documents(data)


def results_to_wire(results: Sequence[ItemResult]) -> bytes:
    """Results, in the order of the items."""
    return _encode(results)


def results_from_wire(data: bytes) -> list[ItemResult]:
    """Results, in the order of the items."""
    return _decode_results(data)


def done_result(done: WriteResult, get: dict[str, Any] | None) -> ItemResult:
    """The result of an item that was done."""
    document = done.document
    return ItemResult(document.id, done.result, document.version, document.seq_no, document.primary_term, get)


def failed_result(document_id: str | None, error: TaskfanError) -> ItemResult:
    """The result of an item that was not done."""
    return ItemResult(document_id or "", error=error.to_wire().SerializeToString())


def item_of(request: WriteRequest, result: ItemResult, copies: CopyCounts, *, forced_refresh: bool) -> Item:
    """What a client is told of an item."""
    if result.result is None:
        error = TaskfanError.from_wire(task_pb2.Error.FromString(result.error))
        return ItemFailure(request.index, result.id or request.id, error)
    document = Document(result.id, None, result.version, result.seq_no, result.primary_term)
    done = WriteResult(document, result.result)
    answer = write_answer(request.index, done, copies, forced_refresh=forced_refresh, get=result.get)
    return ItemDone(answer, result.result.http_status)
