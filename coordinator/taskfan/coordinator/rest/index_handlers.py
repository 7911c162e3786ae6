"""Handlers of `/{index}`, its settings and mapping, and of what is done to whole indices.

Source: OpenSearch `RestCreateIndexAction`, `RestGetIndicesAction`, `RestDeleteIndexAction`, `RestGetSettingsAction`,
`RestUpdateSettingsAction`, `RestGetMappingAction`, `RestPutMappingAction`, `RestRefreshAction`, `RestForceMergeAction`.
"""

from __future__ import annotations

from typing import Any

import msgspec
from google.protobuf.message import Message

from taskfan.coordinator.broadcast import FLUSH_INDICES, FORCE_MERGE, REFRESH_INDICES
from taskfan.coordinator.index_admin import (
    CREATE_INDEX_ACTION,
    DELETE_INDEX_ACTION,
    GET_INDEX_ACTION,
    GET_MAPPINGS_ACTION,
    GET_SETTINGS_ACTION,
    PUT_MAPPING_ACTION,
    UPDATE_SETTINGS_ACTION,
    create_index_request,
    indices_of,
)
from taskfan.coordinator.index_options import options_to_wire
from taskfan.coordinator.rest.index_parameters import INDICES_OPTIONS, WAIT_FOR_ACTIVE_SHARDS, indices_options
from taskfan.coordinator.rest.manager import MANAGER_TIMEOUTS, ack_timeout_ms, manager_timeout_ms
from taskfan.coordinator.rest.messages import Answer, RestRequest
from taskfan.coordinator.rest.parameters import Parameter, boolean, comma_list, lenient_boolean, number, text, time_ms
from taskfan.node.errors import ValidationFailed
from taskfan.node.index.errors import BodyUnreadable
from taskfan.node.index.index_requests import created_answer, index_object, read_create_index
from taskfan.node.index.metadata import IndexMetadata
from taskfan.node.index.settings import DEFAULTS, flatten, shown
from taskfan.node.index.x_content import read_body, read_document
from taskfan.node.node import Node
from taskfan.v1 import indices_pb2 as pb

_encode = msgspec.json.Encoder().encode
# What changes indices must find at least one.
_OPTIONS_OF_CHANGES: tuple[Parameter, ...] = tuple(
    lenient_boolean(known.name, False) if known.name == "allow_no_indices" else known for known in INDICES_OPTIONS
)
CREATE_INDEX_PARAMETERS: tuple[Parameter, ...] = (
    text("index"),
    time_ms("timeout"),
    *MANAGER_TIMEOUTS,
    WAIT_FOR_ACTIVE_SHARDS,
)
GET_INDEX_PARAMETERS: tuple[Parameter, ...] = (
    comma_list("index"),
    *INDICES_OPTIONS,
    boolean("local"),
    *MANAGER_TIMEOUTS,
    boolean("include_defaults"),
    boolean("flat_settings", is_late=True),
)
DELETE_INDEX_PARAMETERS: tuple[Parameter, ...] = (
    comma_list("index"),
    time_ms("timeout"),
    *MANAGER_TIMEOUTS,
    *INDICES_OPTIONS,
)
GET_SETTINGS_PARAMETERS: tuple[Parameter, ...] = (comma_list("name"), *GET_INDEX_PARAMETERS)
GET_MAPPING_PARAMETERS: tuple[Parameter, ...] = (
    comma_list("index"),
    *INDICES_OPTIONS,
    *MANAGER_TIMEOUTS,
    boolean("local"),
)
PUT_MAPPING_PARAMETERS: tuple[Parameter, ...] = (
    comma_list("index"),
    time_ms("timeout"),
    *MANAGER_TIMEOUTS,
    *_OPTIONS_OF_CHANGES,
    boolean("write_index_only"),
)
PUT_SETTINGS_PARAMETERS: tuple[Parameter, ...] = (
    comma_list("index"),
    time_ms("timeout"),
    boolean("preserve_existing"),
    *MANAGER_TIMEOUTS,
    *_OPTIONS_OF_CHANGES,
    boolean("flat_settings"),
)
REFRESH_PARAMETERS: tuple[Parameter, ...] = (comma_list("index"), *INDICES_OPTIONS)
FLUSH_PARAMETERS: tuple[Parameter, ...] = (
    *REFRESH_PARAMETERS,
    boolean("force"),
    boolean("wait_if_ongoing", default=True),
)
FORCE_MERGE_PARAMETERS: tuple[Parameter, ...] = (
    *REFRESH_PARAMETERS,
    number("max_num_segments", -1),
    boolean("only_expunge_deletes"),
    boolean("flush", default=True),
    boolean("primary_only"),
)


async def create_index(node: Node, request: RestRequest) -> Answer:
    """`PUT /{index}`."""
    given = request.parameters
    body = read_create_index(request.raw)
    message = create_index_request(
        given["index"],
        body,
        wait_for_active_shards=given["wait_for_active_shards"],
        timeout_ms=ack_timeout_ms(given),
        manager_timeout_ms=manager_timeout_ms(given),
    )
    done = await node.execute(CREATE_INDEX_ACTION, message, headers=request.headers)
    acknowledged, shards = done.acknowledged, done.shards_acknowledged
    return Answer([_encode(created_answer(done.index, acknowledged=acknowledged, shards_acknowledged=shards))])


async def delete_index(node: Node, request: RestRequest) -> Answer:
    """`DELETE /{index}`. Raises IndexNotFound for each index named, unless that is to be ignored."""
    given = request.parameters
    if not given["index"]:
        raise ValidationFailed("index / indices is missing")
    message = pb.DeleteIndexRequest(
        indices=given["index"],
        options=options_to_wire(indices_options(given)),
        timeout_millis=ack_timeout_ms(given),
        cluster_manager_timeout_millis=manager_timeout_ms(given),
    )
    return await _acknowledged(node, request, DELETE_INDEX_ACTION, message)


async def _acknowledged(node: Node, request: RestRequest, action: str, message: Message) -> Answer:
    done = await node.execute(action, message, headers=request.headers)
    return Answer([_encode({"acknowledged": done.acknowledged})])


# ------------------------------------------------------------------ what indices are


async def _read(node: Node, request: RestRequest, action: str) -> list[IndexMetadata]:
    given = request.parameters
    message = pb.GetIndexRequest(
        indices=given["index"],
        options=options_to_wire(indices_options(given)),
        local=given["local"],
        cluster_manager_timeout_millis=manager_timeout_ms(given),
    )
    return indices_of(await node.execute(action, message, headers=request.headers))


async def get_index(node: Node, request: RestRequest) -> Answer:
    """`GET /{index}` and `HEAD /{index}`. Raises IndexNotFound for each index named, unless that is to be ignored."""
    given = request.parameters
    body: dict[str, Any] = {}
    for index in await _read(node, request, GET_INDEX_ACTION):
        body[index.name] = index_object(index, human=request.human, flat=given["flat_settings"])
        if given["include_defaults"]:
            body[index.name]["defaults"] = _defaults(index, given["flat_settings"])
    return Answer([_encode(body)])


def _defaults(index: IndexMetadata, flat: bool) -> dict[str, Any]:
    return shown({name: value for name, value in DEFAULTS.items() if name not in index.settings}, flat=flat)


async def get_settings(node: Node, request: RestRequest) -> Answer:
    """`GET /{index}/_settings`, with names of settings or without."""
    given = request.parameters
    names = [name for name in given["name"] if name != "_all"]
    body: dict[str, Any] = {}
    for index in await _read(node, request, GET_SETTINGS_ACTION):
        settings = shown(index.settings, flat=given["flat_settings"], patterns=tuple(names))
        if settings or not names:
            body[index.name] = {"settings": settings}
        if given["include_defaults"] and index.name in body:
            body[index.name]["defaults"] = _defaults(index, given["flat_settings"])
    return Answer([_encode(body)])


async def get_mapping(node: Node, request: RestRequest) -> Answer:
    """`GET /{index}/_mapping`."""
    indices = await _read(node, request, GET_MAPPINGS_ACTION)
    return Answer([_encode({index.name: {"mappings": index.mapping} for index in indices})])


async def put_mapping(node: Node, request: RestRequest) -> Answer:
    """`PUT /{index}/_mapping`. Raises what makes the mapping unfit."""
    given = request.parameters
    if not request.raw:
        raise BodyUnreadable("request body is required")
    mapping = read_document(request.raw)
    message = pb.PutMappingRequest(
        indices=given["index"],
        options=options_to_wire(indices_options(given)),
        mapping=_encode(mapping),
        timeout_millis=ack_timeout_ms(given),
        cluster_manager_timeout_millis=manager_timeout_ms(given),
    )
    return await _acknowledged(node, request, PUT_MAPPING_ACTION, message)


async def put_settings(node: Node, request: RestRequest) -> Answer:
    """`PUT /{index}/_settings`: settings as an object, under `settings` or not. Raises what makes one unfit."""
    given = request.parameters
    body = read_body(request.raw).value
    settings = body if isinstance(body, dict) else {}
    if isinstance(settings.get("settings"), dict):
        settings = settings["settings"]
    flat: dict[str, str | None] = {**flatten(settings), **_removed(settings)}
    if not flat:
        raise ValidationFailed("no settings to update")
    message = pb.UpdateSettingsRequest(
        indices=given["index"],
        options=options_to_wire(indices_options(given)),
        settings=_encode(flat),
        preserve_existing=given["preserve_existing"],
        timeout_millis=ack_timeout_ms(given),
        cluster_manager_timeout_millis=manager_timeout_ms(given),
    )
    return await _acknowledged(node, request, UPDATE_SETTINGS_ACTION, message)


def _removed(settings: dict[str, Any], prefix: str = "") -> dict[str, None]:
    """The settings that a null takes away, by their full names."""
    found: dict[str, None] = {}
    for name, value in settings.items():
        full = f"{prefix}{name}"
        if isinstance(value, dict):
            found |= _removed(value, f"{full}.")
        elif value is None:
            found[full if full.startswith("index.") else f"index.{full}"] = None
    return found


# ------------------------------------------------------------------ refresh, flush, force merge


async def refresh(node: Node, request: RestRequest) -> Answer:
    """`POST /{index}/_refresh`."""
    return await _broadcast(node, request, REFRESH_INDICES.name)


async def flush(node: Node, request: RestRequest) -> Answer:
    """`POST /{index}/_flush`."""
    return await _broadcast(node, request, FLUSH_INDICES.name)


async def force_merge(node: Node, request: RestRequest) -> Answer:
    """`POST /{index}/_forcemerge`."""
    given = request.parameters
    if given["only_expunge_deletes"] and given["max_num_segments"] != -1:
        raise ValidationFailed(
            "cannot set only_expunge_deletes and max_num_segments at the same time, those two parameters are mutually "
            "exclusive"
        )
    flags = {"onlyExpungeDeletes": "only_expunge_deletes", "flush": "flush", "primaryOnly": "primary_only"}
    told = "".join(f", {name}[{'true' if given[key] else 'false'}]" for name, key in flags.items())
    segments = given["max_num_segments"]
    description = f"Force-merge indices [{', '.join(given['index'])}], maxSegments[{segments}]{told}"
    return await _broadcast(node, request, FORCE_MERGE.name, description)


async def _broadcast(node: Node, request: RestRequest, action: str, description: str = "") -> Answer:
    given = request.parameters
    message = pb.BroadcastRequest(
        indices=given["index"], options=options_to_wire(indices_options(given)), description=description
    )
    done: pb.BroadcastResponse = await node.execute(action, message, headers=request.headers)
    counts: dict[str, Any] = {"total": done.total, "successful": done.successful, "failed": done.failed}
    if done.failures:
        counts["failures"] = [msgspec.Raw(failure) for failure in done.failures]
    return Answer([_encode({"_shards": counts})])
