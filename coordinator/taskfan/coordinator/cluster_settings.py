"""cluster:admin/settings/update: settings of the whole cluster, changed by its manager.

Source: OpenSearch `TransportClusterUpdateSettingsAction`.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from taskfan.coordinator.manager_action import on_manager, update_limits
from taskfan.node.cluster_settings import SettingsChange
from taskfan.node.cluster_state import ClusterState
from taskfan.node.node import Action, ActionContext
from taskfan.v1.indices_pb2 import IndicesAcknowledged
from taskfan.v1.search_pb2 import ClusterSettingsRequest

UPDATE_CLUSTER_SETTINGS_ACTION = "cluster:admin/settings/update"
_decode = msgspec.json.Decoder(SettingsChange).decode


def settings_request(
    change: SettingsChange, timeout_ms: int | None, manager_timeout_ms: int | None
) -> ClusterSettingsRequest:
    """The message that asks for a change."""
    return ClusterSettingsRequest(
        change=msgspec.json.encode(change),
        timeout_millis=timeout_ms,
        cluster_manager_timeout_millis=manager_timeout_ms,
    )


async def update_settings(context: ActionContext, request: ClusterSettingsRequest) -> IndicesAcknowledged:
    """Change settings. Raises ClusterManagerNotDiscovered, and FailedToCommit."""
    answer: IndicesAcknowledged = await on_manager(context, request, _update_here)
    return answer


async def _update_here(context: ActionContext, request: ClusterSettingsRequest) -> IndicesAcknowledged:
    change = _decode(request.change)

    def update(state: ClusterState) -> ClusterState:
        settings = state.settings.changed(change)
        return state if settings is state.settings else replace(state, settings=settings)

    limits = update_limits(request)
    return IndicesAcknowledged(
        acknowledged=await context.node.state_updates.submit("cluster_update_settings", update, limits)
    )


UPDATE_CLUSTER_SETTINGS = Action(
    UPDATE_CLUSTER_SETTINGS_ACTION, update_settings, ClusterSettingsRequest, IndicesAcknowledged
)
