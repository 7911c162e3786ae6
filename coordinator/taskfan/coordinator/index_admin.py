"""indices:admin/create, delete, get, mapping/put, settings/update and their like: what the cluster manager answers.

Source: OpenSearch `TransportCreateIndexAction`, `AutoCreateAction`, `TransportDeleteIndexAction`,
`TransportGetIndexAction`, `TransportPutMappingAction`, `TransportUpdateSettingsAction`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from taskfan.coordinator.index_options import options_from_wire
from taskfan.coordinator.manager_action import on_manager, update_limits
from taskfan.node.actions.bulk_shard import AUTO_PUT_MAPPING_ACTION
from taskfan.node.cluster_state import ClusterState
from taskfan.node.errors import IllegalArgument
from taskfan.node.index import state_changes
from taskfan.node.index.active_shards import ActiveShardCount
from taskfan.node.index.index_names import resolve
from taskfan.node.index.index_requests import CreateIndexBody, tasks_index_body
from taskfan.node.index.metadata import TASKS_INDEX, IndexMetadata
from taskfan.node.node import Action, ActionContext
from taskfan.node.state_updates import Update
from taskfan.v1 import indices_pb2 as pb

CREATE_INDEX_ACTION = "indices:admin/create"
AUTO_CREATE_ACTION = "indices:admin/auto_create"
DELETE_INDEX_ACTION = "indices:admin/delete"
GET_INDEX_ACTION = "indices:admin/get"
GET_SETTINGS_ACTION = "indices:monitor/settings/get"
GET_MAPPINGS_ACTION = "indices:admin/mappings/get"
PUT_MAPPING_ACTION = "indices:admin/mapping/put"
UPDATE_SETTINGS_ACTION = "indices:admin/settings/update"
# How long a change waits for all nodes, and the creation of an index for its shards, unless it says otherwise.
DEFAULT_TIMEOUT_MS = 30_000

_decode_body = msgspec.msgpack.Decoder(CreateIndexBody).decode
_decode_indices = msgspec.msgpack.Decoder(list[IndexMetadata]).decode


def create_index_request(
    index: str,
    body: CreateIndexBody,
    *,
    wait_for_active_shards: str = "",
    timeout_ms: int | None = None,
    manager_timeout_ms: int | None = None,
) -> pb.CreateIndexRequest:
    """The request that makes an index."""
    return pb.CreateIndexRequest(
        index=index,
        body=msgspec.msgpack.encode(body),
        wait_for_active_shards=wait_for_active_shards,
        timeout_millis=timeout_ms,
        cluster_manager_timeout_millis=manager_timeout_ms,
    )


def auto_create_request(index: str, timeout_ms: int) -> pb.CreateIndexRequest:
    """The request that makes an index because something is to be written to it.

    `timeout_ms` is for finding the manager, and for the changes before it.
    """
    body = tasks_index_body() if index == TASKS_INDEX else CreateIndexBody()
    return create_index_request(index, body, manager_timeout_ms=timeout_ms)


# ------------------------------------------------------------------ create


async def create_index(context: ActionContext, request: pb.CreateIndexRequest) -> pb.CreateIndexResponse:
    """Make an index, and wait for all nodes and for its shards; who waits for them in vain is told so.

    Raises:
        TaskfanError: the name, the settings, the mapping or the number of copies is refused.
        ClusterManagerNotDiscovered: there is no manager to ask.
        ProcessClusterEventTimeout: earlier changes took too long.
    """
    answer: pb.CreateIndexResponse = await on_manager(context, request, _create_here)
    return answer


async def _create_here(context: ActionContext, request: pb.CreateIndexRequest) -> pb.CreateIndexResponse:
    name, body, now_ms = request.index, _decode_body(request.body), context.clock.wall_time_ms()
    count = ActiveShardCount.parse(request.wait_for_active_shards or None)

    def create(state: ClusterState) -> ClusterState:
        made = state_changes.create_index(state, name, body, now_ms, system=name == TASKS_INDEX)
        copies = 1 + made.indices.metadata[name].number_of_replicas
        if count.needed(copies) > copies:
            raise IllegalArgument(
                f"invalid wait_for_active_shards[{count}]: cannot be greater than number of shard copies [{copies}]"
            )
        return made

    is_automatic = context.task.action == AUTO_CREATE_ACTION
    source = f"auto create [{name}]" if is_automatic else f"create-index [{name}], cause [api]"
    if not await context.node.state_updates.submit(source, create, update_limits(request)):
        return pb.CreateIndexResponse(index=name)
    index = context.node.cluster_state.indices.metadata.get(name)
    timeout_ms = request.timeout_millis if request.HasField("timeout_millis") else DEFAULT_TIMEOUT_MS
    is_active = index is None or await _wait_for_shards(context, index, count, timeout_ms)
    return pb.CreateIndexResponse(acknowledged=True, shards_acknowledged=is_active, index=name)


async def _wait_for_shards(
    context: ActionContext, index: IndexMetadata, count: ActiveShardCount, timeout_ms: int
) -> bool:
    """Whether so many copies of each shard are active in time. Source: OpenSearch `ActiveShardsObserver`."""
    node = context.node
    try:
        async with context.clock.timeout(max(timeout_ms, 0) / 1000):
            while not _enough(state := node.cluster_state, index, count):
                await node.newer_cluster_state(state)
    except TimeoutError:
        return _enough(node.cluster_state, index, count)
    return True


def _enough(state: ClusterState, index: IndexMetadata, count: ActiveShardCount) -> bool:
    current = state.indices.metadata.get(index.name)
    if current is None or current.uuid != index.uuid:
        # It was deleted meanwhile; nothing is left to wait for.
        return True
    tables = state.indices.routing.indices[index.name]
    return all(sum(copy.active for copy in table) >= count.needed(len(table)) for table in tables)


# ------------------------------------------------------------------ delete, mapping, settings


async def delete_index(context: ActionContext, request: pb.DeleteIndexRequest) -> pb.IndicesAcknowledged:
    """Delete indices. Raises IndexNotFound, and as `on_manager`."""
    return await _acknowledged(context, request, _delete_here)


async def _delete_here(context: ActionContext, request: pb.DeleteIndexRequest) -> pb.IndicesAcknowledged:
    now_ms = context.clock.wall_time_ms()
    found = _found(context, request)
    if not found:
        return pb.IndicesAcknowledged(acknowledged=True)
    uuids = [index.uuid for index in found]
    return await _submit(
        *(context, request, f"delete-index [{', '.join(map(_shown, found))}]"),
        lambda state: state_changes.delete_indices(state, uuids, now_ms),
    )


async def put_mapping(context: ActionContext, request: pb.PutMappingRequest) -> pb.IndicesAcknowledged:
    """Add fields to the mapping of indices. Raises IndexNotFound, IllegalArgument, MapperParsing."""
    return await _acknowledged(context, request, _put_mapping_here)


async def _put_mapping_here(context: ActionContext, request: pb.PutMappingRequest) -> pb.IndicesAcknowledged:
    found, mapping = _found(context, request), msgspec.json.decode(request.mapping)
    uuids = [index.uuid for index in found]
    return await _submit(
        *(context, request, f"put-mapping {','.join(map(_shown, found))}"),
        lambda state: state_changes.put_mapping(state, uuids, mapping),
    )


async def update_settings(context: ActionContext, request: pb.UpdateSettingsRequest) -> pb.IndicesAcknowledged:
    """Change settings of indices. Raises IndexNotFound, SettingsFailed, IllegalArgument."""
    return await _acknowledged(context, request, _update_settings_here)


async def _update_settings_here(context: ActionContext, request: pb.UpdateSettingsRequest) -> pb.IndicesAcknowledged:
    found, settings = _found(context, request), msgspec.json.decode(request.settings)
    now_ms, keep, uuids = context.clock.wall_time_ms(), request.preserve_existing, [index.uuid for index in found]
    return await _submit(
        *(context, request, f"update-settings [{', '.join(map(_shown, found))}]"),
        lambda state: state_changes.update_settings(state, uuids, settings, now_ms, preserve_existing=keep),
    )


async def _submit(context: ActionContext, request: Any, source: str, update: Update) -> pb.IndicesAcknowledged:
    """Have it made, and tell whether all nodes have it in time."""
    acknowledged = await context.node.state_updates.submit(source, update, update_limits(request))
    return pb.IndicesAcknowledged(acknowledged=acknowledged)


async def _acknowledged(context: ActionContext, request: Any, run: Any) -> pb.IndicesAcknowledged:
    answer: pb.IndicesAcknowledged = await on_manager(context, request, run)
    return answer


def _found(context: ActionContext, request: Any) -> list[IndexMetadata]:
    return resolve(context.node.cluster_state.indices, list(request.indices), options_from_wire(request))


def _shown(index: IndexMetadata) -> str:
    return f"[{index.name}/{index.uuid}]"


# ------------------------------------------------------------------ get


async def get_index(context: ActionContext, request: pb.GetIndexRequest) -> pb.GetIndexResponse:
    """What indices are, by default as the manager knows them. Raises IndexNotFound, and as `on_manager`."""
    if request.local:
        return await _get_here(context, request)
    answer: pb.GetIndexResponse = await on_manager(context, request, _get_here)
    return answer


async def _get_here(context: ActionContext, request: pb.GetIndexRequest) -> pb.GetIndexResponse:
    found = resolve(context.node.cluster_state.indices, list(request.indices), options_from_wire(request))
    return pb.GetIndexResponse(indices=msgspec.msgpack.encode(found))


def indices_of(response: pb.GetIndexResponse) -> list[IndexMetadata]:
    """The indices of an answer."""
    return _decode_indices(response.indices)


CREATE_INDEX, AUTO_CREATE = (
    Action(name, create_index, pb.CreateIndexRequest, pb.CreateIndexResponse)
    for name in (CREATE_INDEX_ACTION, AUTO_CREATE_ACTION)
)
DELETE_INDEX = Action(DELETE_INDEX_ACTION, delete_index, pb.DeleteIndexRequest, pb.IndicesAcknowledged)
PUT_MAPPING, AUTO_PUT_MAPPING = (
    Action(name, put_mapping, pb.PutMappingRequest, pb.IndicesAcknowledged)
    for name in (PUT_MAPPING_ACTION, AUTO_PUT_MAPPING_ACTION)
)
UPDATE_SETTINGS = Action(UPDATE_SETTINGS_ACTION, update_settings, pb.UpdateSettingsRequest, pb.IndicesAcknowledged)
GET_INDEX, GET_SETTINGS, GET_MAPPINGS = (
    Action(name, get_index, pb.GetIndexRequest, pb.GetIndexResponse)
    for name in (GET_INDEX_ACTION, GET_SETTINGS_ACTION, GET_MAPPINGS_ACTION)
)
INDEX_ADMIN_ACTIONS = (
    *(CREATE_INDEX, AUTO_CREATE, DELETE_INDEX, PUT_MAPPING, AUTO_PUT_MAPPING, UPDATE_SETTINGS),
    *(GET_INDEX, GET_SETTINGS, GET_MAPPINGS),
)
