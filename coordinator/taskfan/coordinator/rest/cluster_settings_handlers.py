"""Handlers of `/_cluster/settings`. Source: OpenSearch `RestClusterGetSettingsAction`, `…UpdateSettingsAction`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from taskfan.coordinator.cluster_settings import UPDATE_CLUSTER_SETTINGS_ACTION, settings_request
from taskfan.coordinator.rest.manager import MANAGER_TIMEOUTS, ack_timeout_ms, asked_state, manager_timeout_ms
from taskfan.coordinator.rest.messages import Answer, RestRequest
from taskfan.coordinator.rest.parameters import Parameter, boolean, time_ms
from taskfan.node.cluster_settings import read_settings
from taskfan.node.index.settings import shown
from taskfan.node.node import Node

_COMMON = (*MANAGER_TIMEOUTS, boolean("flat_settings", is_late=True))
GET_CLUSTER_SETTINGS_PARAMETERS: tuple[Parameter, ...] = (boolean("local"), boolean("include_defaults"), *_COMMON)
PUT_CLUSTER_SETTINGS_PARAMETERS: tuple[Parameter, ...] = (time_ms("timeout"), *_COMMON)


async def get_settings(node: Node, request: RestRequest) -> Answer:
    """`GET /_cluster/settings`, by default as the cluster manager knows them."""
    given = request.parameters
    state = await asked_state(node, request)
    return _answer({}, state.settings.persistent, state.settings.transient, flat=given["flat_settings"])


async def put_settings(node: Node, request: RestRequest) -> Answer:
    """`PUT /_cluster/settings`: the answer shows what was set."""
    given, change = request.parameters, read_settings(request.raw)
    message = settings_request(change, ack_timeout_ms(given), manager_timeout_ms(given))
    answer = await node.execute(UPDATE_CLUSTER_SETTINGS_ACTION, message, headers=request.headers)
    persistent = {name: value for name, value in change.persistent.items() if value is not None}
    transient = {name: value for name, value in change.transient.items() if value is not None}
    return _answer({"acknowledged": answer.acknowledged}, persistent, transient, flat=given["flat_settings"])


def _answer(
    first: Mapping[str, Any], persistent: Mapping[str, str], transient: Mapping[str, str], *, flat: bool
) -> Answer:
    body = {**first, "persistent": shown(persistent, flat=flat), "transient": shown(transient, flat=flat)}
    return Answer([msgspec.json.encode(body)])
