"""Handlers of `/{index}` over a cluster that has no indices.

Source: OpenSearch `IndexNameExpressionResolver`, `RestGetIndicesAction`, `RestDeleteIndexAction`.
"""

from __future__ import annotations

from taskfan.coordinator.rest.cluster_handlers import INDICES_OPTIONS
from taskfan.coordinator.rest.errors import InvalidIndexName
from taskfan.coordinator.rest.messages import Answer, RestRequest
from taskfan.coordinator.rest.parameters import Parameter, boolean, comma_list, time_ms
from taskfan.node.errors import IndexNotFound
from taskfan.node.node import Node

_TIMEOUTS = (time_ms("cluster_manager_timeout"), time_ms("master_timeout"))
GET_INDEX_PARAMETERS: tuple[Parameter, ...] = (
    comma_list("index"),
    *INDICES_OPTIONS,
    boolean("local"),
    *_TIMEOUTS,
    boolean("include_defaults"),
    boolean("flat_settings", is_late=True),
)
DELETE_INDEX_PARAMETERS: tuple[Parameter, ...] = (
    comma_list("index"),
    time_ms("timeout"),
    *_TIMEOUTS,
    *INDICES_OPTIONS,
)


async def get_index(node: Node, request: RestRequest) -> Answer:
    """`GET /{index}` and `HEAD /{index}`. Raises IndexNotFound for each index named, unless that is to be ignored."""
    _resolve(request)
    return Answer([b"{}"])


async def delete_index(node: Node, request: RestRequest) -> Answer:
    """`DELETE /{index}`. Raises as `get_index`."""
    _resolve(request)
    return Answer([b'{"acknowledged":true}'])


def _resolve(request: RestRequest) -> None:
    """Refuse what cannot be resolved to no index at all."""
    given = request.parameters
    for name in given["index"]:
        if name.startswith("_") and name != "_all":
            raise InvalidIndexName(name, "must not start with '_'.")
        is_pattern = "*" in name or name == "_all"
        if not given["allow_no_indices"] if is_pattern else not given["ignore_unavailable"]:
            raise IndexNotFound(name)
