"""Handlers of `/_bulk`, `/_mget` and `/{index}/_doc` and its like: documents, one or several.

Source: OpenSearch `RestBulkAction`, `RestIndexAction`, `RestDeleteAction`, `RestUpdateAction`, `RestGetAction`,
`RestMultiGetAction`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from taskfan.coordinator.bulk import BULK_ACTION, DELETE_ACTION, INDEX_ACTION
from taskfan.coordinator.get_document import MULTI_GET_ACTION, GotItem, MultiGetRequest, document_of
from taskfan.coordinator.rest.index_parameters import (
    DEFAULT_TIMEOUT_MS,
    REFRESH,
    SOURCE_PARAMETERS,
    VERSION_TYPE,
    WAIT_FOR_ACTIVE_SHARDS,
    source_filter,
)
from taskfan.coordinator.rest.messages import Answer, RestRequest
from taskfan.coordinator.rest.parameters import Parameter, boolean, number, parse_number, text, time_ms
from taskfan.coordinator.rest.search_parameters import integer
from taskfan.coordinator.update import UPDATE
from taskfan.node.actions.get_document import GET_ACTION
from taskfan.node.errors import IllegalArgument, ResourceNotFound, TaskfanError, ValidationFailed
from taskfan.node.index.bulk import BulkDefaults, BulkRequest, BulkResult, ItemDone, bulk_answer, op_type_of, parse_bulk
from taskfan.node.index.documents import (
    MATCH_ANY,
    UNASSIGNED_PRIMARY_TERM,
    UNASSIGNED_SEQ_NO,
    Document,
    OpType,
    WriteRequest,
    get_answer,
)
from taskfan.node.index.errors import BodyUnreadable, NotAnAlias, root_cause
from taskfan.node.index.multi_get import parse_multi_get
from taskfan.node.index.source_filter import SourceFilter
from taskfan.node.index.updates import read_update
from taskfan.node.index.wire import requests_to_wire
from taskfan.node.index.x_content import read_document
from taskfan.node.node import Node
from taskfan.v1 import indices_pb2 as pb

_encode = msgspec.json.Encoder().encode


def _sequence_number(value: str | None) -> int:
    found = parse_number(value, "if_seq_no")
    if found is not None and found < 0 and found != UNASSIGNED_SEQ_NO:
        raise IllegalArgument(f"sequence numbers must be non negative. got [{found}].")
    return UNASSIGNED_SEQ_NO if found is None else found


_COMPARE_AND_SET = (
    Parameter("if_seq_no", _sequence_number),
    number("if_primary_term", UNASSIGNED_PRIMARY_TERM),
)
INDEX_PARAMETERS: tuple[Parameter, ...] = (
    text("index"),
    text("id"),
    text("routing"),
    text("pipeline"),
    time_ms("timeout"),
    REFRESH,
    number("version", MATCH_ANY),
    VERSION_TYPE,
    *_COMPARE_AND_SET,
    boolean("require_alias"),
    text("op_type"),
    WAIT_FOR_ACTIVE_SHARDS,
)
DELETE_PARAMETERS: tuple[Parameter, ...] = (
    text("index"),
    text("id"),
    text("routing"),
    time_ms("timeout"),
    REFRESH,
    number("version", MATCH_ANY),
    VERSION_TYPE,
    *_COMPARE_AND_SET,
    WAIT_FOR_ACTIVE_SHARDS,
)
UPDATE_PARAMETERS: tuple[Parameter, ...] = (
    text("index"),
    text("id"),
    text("routing"),
    time_ms("timeout"),
    REFRESH,
    WAIT_FOR_ACTIVE_SHARDS,
    boolean("doc_as_upsert"),
    *SOURCE_PARAMETERS,
    integer("retry_on_conflict"),
    number("version"),
    text("version_type"),
    *_COMPARE_AND_SET,
    boolean("require_alias"),
)
GET_PARAMETERS: tuple[Parameter, ...] = (
    text("index"),
    text("id"),
    boolean("refresh"),
    text("routing"),
    text("preference"),
    boolean("realtime", default=True),
    text("stored_fields"),
    number("version", MATCH_ANY),
    VERSION_TYPE,
    *SOURCE_PARAMETERS,
)
GET_SOURCE_PARAMETERS: tuple[Parameter, ...] = tuple(
    known for known in GET_PARAMETERS if known.name not in ("version", "version_type", "stored_fields")
)
MULTI_GET_PARAMETERS: tuple[Parameter, ...] = (
    text("index"),
    boolean("refresh"),
    text("preference"),
    boolean("realtime", default=True),
    text("routing"),
    text("stored_fields"),
    *SOURCE_PARAMETERS,
)
BULK_PARAMETERS: tuple[Parameter, ...] = (
    text("index"),
    text("routing"),
    *SOURCE_PARAMETERS,
    text("pipeline"),
    boolean("require_alias"),
    WAIT_FOR_ACTIVE_SHARDS,
    time_ms("timeout"),
    REFRESH,
)


# ------------------------------------------------------------------ writes


async def bulk(node: Node, request: RestRequest) -> Answer:
    """`POST /_bulk`. Raises what makes it no bulk at all."""
    given = request.parameters
    defaults = BulkDefaults(
        given["index"], given["routing"], given["pipeline"], source_filter(given), given["require_alias"]
    )
    items = parse_bulk(request.raw, defaults)
    result: BulkResult = await node.execute(BULK_ACTION, _bulk_request(items, given), headers=request.headers)
    return Answer([_encode(bulk_answer(result.took_ms, result.items))])


def _bulk_request(items: list[WriteRequest], given: Mapping[str, Any]) -> BulkRequest:
    timeout = given["timeout"]
    timeout_ms = DEFAULT_TIMEOUT_MS if timeout is None else timeout
    return BulkRequest(items, given["refresh"], given["wait_for_active_shards"], timeout_ms)


async def index_document(node: Node, request: RestRequest) -> Answer:
    """`PUT /{index}/_doc/{id}`, and `POST /{index}/_doc` for a document that gets its id here."""
    default = OpType.CREATE if request.parameters["id"] is None else OpType.INDEX
    return await _index(node, request, op_type_of(request.parameters["op_type"], default))


async def create_document(node: Node, request: RestRequest) -> Answer:
    """`PUT /{index}/_create/{id}`. Raises IllegalArgument for another `op_type`."""
    given = request.parameters["op_type"]
    if given is not None and given.lower() != "create":
        raise IllegalArgument(f"opType must be 'create', found: [{given}]")
    return await _index(node, request, OpType.CREATE)


async def _index(node: Node, request: RestRequest, op_type: OpType) -> Answer:
    given = request.parameters
    if not request.raw:
        raise BodyUnreadable("request body is required")
    item = WriteRequest(
        op_type,
        given["index"],
        given["id"],
        request.raw,
        routing=given["routing"],
        version=given["version"],
        version_type=given["version_type"],
        if_seq_no=given["if_seq_no"],
        if_primary_term=given["if_primary_term"],
        pipeline=given["pipeline"],
        require_alias=given["require_alias"],
    )
    item.validate()
    return await _single_write(node, request, INDEX_ACTION, item)


async def delete_document(node: Node, request: RestRequest) -> Answer:
    """`DELETE /{index}/_doc/{id}`; 404 when there is none."""
    given = request.parameters
    item = WriteRequest(
        OpType.DELETE,
        given["index"],
        given["id"],
        routing=given["routing"],
        version=given["version"],
        version_type=given["version_type"],
        if_seq_no=given["if_seq_no"],
        if_primary_term=given["if_primary_term"],
    )
    item.validate()
    return await _single_write(node, request, DELETE_ACTION, item)


async def _single_write(node: Node, request: RestRequest, action: str, item: WriteRequest) -> Answer:
    message = _bulk_request([item], request.parameters)
    result: BulkResult = await node.execute(action, message, headers=request.headers)
    [(_, done)] = result.items
    assert isinstance(done, ItemDone), "a single write raises its failure"
    return _written(done.answer, done.http_status, item.routing)


def _written(answer: Mapping[str, Any], status: int, routing: str | None) -> Answer:
    headers = {}
    if status == 201:
        location = f"/{quote(answer['_index'], safe='')}/_doc/{quote(answer['_id'], safe='')}"
        headers["Location"] = location if routing is None else f"{location}?routing={quote(routing, safe='')}"
    return Answer([_encode(answer)], status=status, headers=headers)


async def update_document(node: Node, request: RestRequest) -> Answer:
    """`POST /{index}/_update/{id}`."""
    given = request.parameters
    if given["version"] is not None or given["version_type"] is not None:
        raise ValidationFailed(
            "internal versioning can not be used for optimistic concurrency control. "
            "Please use `if_seq_no` and `if_primary_term` instead"
        )
    if given["retry_on_conflict"] and given["if_seq_no"] != UNASSIGNED_SEQ_NO:
        raise ValidationFailed("compare and write operations can not be retried")
    body = request.raw
    item = WriteRequest(
        OpType.UPDATE,
        given["index"],
        given["id"],
        body,
        routing=given["routing"],
        if_seq_no=given["if_seq_no"],
        if_primary_term=given["if_primary_term"],
        retry_on_conflict=given["retry_on_conflict"] or 0,
        require_alias=given["require_alias"],
        fetch_source=source_filter(given),
    )
    item.validate()
    read = read_update(body)
    read.validate()
    named = node.cluster_state.indices.get(item.index)
    if item.require_alias and (named is None or named.name == item.index):
        raise NotAnAlias(item.index)
    if given["doc_as_upsert"] and not read.doc_as_upsert:
        item = msgspec.structs.replace(item, source=_encode({**msgspec.json.decode(body), "doc_as_upsert": True}))
    timeout = given["timeout"]
    message = pb.UpdateRequest(
        item=requests_to_wire([item]),
        refresh=given["refresh"],
        wait_for_active_shards=given["wait_for_active_shards"],
        timeout_millis=DEFAULT_TIMEOUT_MS if timeout is None else timeout,
    )
    done: pb.UpdateResponse = await node.execute(UPDATE.name, message, headers=request.headers)
    return _written(msgspec.json.decode(done.answer), done.status, item.routing)


# ------------------------------------------------------------------ reads


async def get_document(node: Node, request: RestRequest) -> Answer:
    """`GET /{index}/_doc/{id}`, and HEAD; 404 when it is not there."""
    found = await _get(node, request)
    given = request.parameters
    document = document_of(found)
    body = get_answer(
        found.index, found.id, document, None if document is None else shown(document, source_filter(given))
    )
    return Answer([_encode(body)], status=200 if found.found else 404)


async def get_source(node: Node, request: RestRequest) -> Answer:
    """`GET /{index}/_source/{id}`, and HEAD: the source by itself. Raises ResourceNotFound."""
    found = await _get(node, request)
    document = document_of(found)
    source = None if document is None else shown(document, source_filter(request.parameters))
    if source is None:
        raise ResourceNotFound(f"Document not found [{found.index}]/[{found.id}]")
    return Answer([_encode(source)])


async def _get(node: Node, request: RestRequest) -> pb.GetResponse:
    given = request.parameters
    message = pb.GetRequest(
        index=given["index"],
        id=given["id"],
        routing=given["routing"] or "",
        has_routing=given["routing"] is not None,
        realtime=given["realtime"],
        refresh=given["refresh"],
        preference=given["preference"] or "",
    )
    found: pb.GetResponse = await node.execute(GET_ACTION, message, headers=request.headers)
    return found


def shown(document: Document, wanted: SourceFilter | None) -> Any:
    """What of a source is shown: the bytes as they came, an object, or None for nothing."""
    assert document.source is not None
    if wanted is None or wanted.shows_all:
        return msgspec.Raw(document.source)
    return wanted.apply(read_document(document.source)) if wanted.enabled else None


async def multi_get(node: Node, request: RestRequest) -> Answer:
    """`GET /_mget`, and POST: each document, or why there is none."""
    given = request.parameters
    items = parse_multi_get(request.raw, given["index"], source_filter(given))
    message = MultiGetRequest(items, given["refresh"])
    got: list[GotItem] = await node.execute(MULTI_GET_ACTION, message, headers=request.headers)
    return Answer([_encode({"docs": [_item_object(item) for item in got]})])


def _item_object(got: GotItem) -> dict[str, Any]:
    """One entry of `docs`. Source: OpenSearch `MultiGetResponse.toXContent`."""
    if got.failure is not None:
        told = got.failure.to_object()
        told = {"root_cause": [_without_cause(root_cause(got.failure))], **told}
        return {"_index": got.index, "_id": got.item.id, "error": told}
    source = None if got.document is None else shown(got.document, got.item.fetch_source)
    return get_answer(got.index, got.item.id, got.document, source)


def _without_cause(error: TaskfanError) -> dict[str, Any]:
    told = error.to_object()
    told.pop("caused_by", None)
    return told
