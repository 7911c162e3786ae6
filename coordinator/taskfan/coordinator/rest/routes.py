"""The table of what is served: method, path, parameters, handler. Everything else is derived from it."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from taskfan.coordinator.rest import cat_handlers as cat
from taskfan.coordinator.rest import cluster_handlers as cluster
from taskfan.coordinator.rest import index_handlers as index
from taskfan.coordinator.rest import task_handlers as tasks
from taskfan.coordinator.rest import work_handlers as work
from taskfan.coordinator.rest.errors import NotServed
from taskfan.coordinator.rest.messages import Answer, RestRequest
from taskfan.coordinator.rest.missing_endpoints import missing_endpoints
from taskfan.coordinator.rest.parameters import EVERYWHERE, Parameter
from taskfan.coordinator.rest.paths import PathTrie
from taskfan.node.node import Node

Handler = Callable[[Node, RestRequest], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint.

    Args:
        template: path; a part in braces is a parameter of that name, declared like those of the query.
        parameters: in the order in which OpenSearch reads them. Others are refused.
        help: answers instead of the handler when `help` is asked for; then only what shapes a table may be given.
        reads_body: the body is decoded and handed on. Other routes take a body and do not look at it.
        reads_text: the body is handed on as JSON text.
        works_first: parameters nobody declared are refused by the handler, which has done its work by then.
        pretty_by_default: indented unless told otherwise.
        is_served: False for the endpoints that taskfan lacks: they take any parameter, and answer 501.
    """

    method: str
    template: str
    handler: Handler
    parameters: Sequence[Parameter] = ()
    help: Handler | None = None
    reads_body: bool = False
    reads_text: bool = False
    works_first: bool = False
    pretty_by_default: bool = False
    is_served: bool = field(default=True)


ROUTES: tuple[Route, ...] = (
    Route("GET", "/", cluster.main, pretty_by_default=True),
    Route("HEAD", "/", cluster.main, pretty_by_default=True),
    # Tasks.
    Route("GET", "/_tasks", tasks.list_tasks, tasks.LIST_TASKS_PARAMETERS),
    Route("GET", "/_tasks/{task_id}", tasks.get_task, tasks.GET_TASK_PARAMETERS),
    Route("POST", "/_tasks/_cancel", tasks.cancel_tasks, tasks.CANCEL_TASKS_PARAMETERS),
    Route("POST", "/_tasks/{task_id}/_cancel", tasks.cancel_tasks, tasks.CANCEL_TASKS_PARAMETERS),
    # The cluster.
    Route("GET", "/_nodes", cluster.nodes_info, cluster.NODES_PARAMETERS),
    Route("GET", "/_nodes/{nodeId}", cluster.nodes_info, cluster.NODES_PARAMETERS),
    Route("GET", "/_nodes/{nodeId}/{metrics}", cluster.nodes_info, cluster.NODES_PARAMETERS),
    Route("GET", "/_nodes/{nodeId}/info/{metrics}", cluster.nodes_info, cluster.NODES_PARAMETERS),
    Route("GET", "/_cluster/health", cluster.cluster_health, cluster.HEALTH_PARAMETERS),
    Route("GET", "/_cluster/health/{index}", cluster.cluster_health, cluster.HEALTH_PARAMETERS),
    Route("GET", "/_cluster/state", cluster.cluster_state, cluster.STATE_PARAMETERS),
    Route("GET", "/_cluster/state/{metric}", cluster.cluster_state, cluster.STATE_PARAMETERS),
    Route("GET", "/_cluster/state/{metric}/{indices}", cluster.cluster_state, cluster.STATE_PARAMETERS),
    # Tables.
    Route("GET", "/_cat", cat.cat_list),
    Route("GET", "/_cat/tasks", cat.cat_tasks, cat.CAT_TASKS_PARAMETERS, help=cat.cat_tasks_help),
    Route("GET", "/_cat/nodes", cat.cat_nodes, cat.CAT_NODES_PARAMETERS, help=cat.cat_nodes_help),
    Route("GET", "/_cat/cluster_manager", cat.cat_manager, cat.CAT_MANAGER_PARAMETERS, help=cat.cat_manager_help),
    Route("GET", "/_cat/master", cat.cat_manager, cat.CAT_MANAGER_PARAMETERS, help=cat.cat_manager_help),
    # Indices, of which there are none. PUT is among the missing endpoints.
    Route("GET", "/{index}", index.get_index, index.GET_INDEX_PARAMETERS),
    Route("HEAD", "/{index}", index.get_index, index.GET_INDEX_PARAMETERS),
    Route("DELETE", "/{index}", index.delete_index, index.DELETE_INDEX_PARAMETERS),
    # taskfan's own.
    Route("POST", "/_taskfan/work", work.work, work.WORK_PARAMETERS, reads_body=True),
)


async def served(node: Node, request: RestRequest) -> Answer:
    """`GET /_taskfan`: every route, with its parameters."""
    listed = [
        {"method": route.method, "path": route.template, "parameters": [known.name for known in route.parameters]}
        for route in (*ROUTES, SERVED)
    ]
    return Answer([msgspec.json.encode({"served": listed, "everywhere": EVERYWHERE})])


SERVED = Route("GET", "/_taskfan", served, pretty_by_default=True)


def _missing(method: str, template: str) -> Route:
    async def refuse(node: Node, request: RestRequest) -> Answer:
        raise NotServed(method, template)

    return Route(method, template, refuse, is_served=False)


@functools.cache
def route_table() -> PathTrie[Route]:
    """All routes, and the endpoints that taskfan lacks. One for all: nobody changes it, and forked members share it."""
    table: PathTrie[Route] = PathTrie()
    for route in (*ROUTES, SERVED, *(_missing(*endpoint) for endpoint in missing_endpoints())):
        table.add(route.method, route.template, route)
    return table


# Made once, before members are forked, who then share its memory.
ROUTE_TABLE = route_table()
