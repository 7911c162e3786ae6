"""The table of what is served: method, path, parameters, handler. Everything else is derived from it."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from taskfan.coordinator.rest import by_scroll_handlers as by_scroll
from taskfan.coordinator.rest import cat_handlers as cat
from taskfan.coordinator.rest import cat_index_handlers as cats
from taskfan.coordinator.rest import cluster_handlers as cluster
from taskfan.coordinator.rest import cluster_settings_handlers as settings
from taskfan.coordinator.rest import document_handlers as documents
from taskfan.coordinator.rest import index_handlers as index
from taskfan.coordinator.rest import search_handlers as searches
from taskfan.coordinator.rest import task_handlers as tasks
from taskfan.coordinator.rest import work_handlers as work
from taskfan.coordinator.rest.errors import NotServed
from taskfan.coordinator.rest.messages import Answer, RestRequest
from taskfan.coordinator.rest.missing_endpoints import missing_endpoints
from taskfan.coordinator.rest.parameters import EVERYWHERE, Parameter
from taskfan.coordinator.rest.paths import PathTrie
from taskfan.coordinator.rest.search_parameters import COUNT_PARAMETERS, SEARCH_PARAMETERS
from taskfan.node.node import Node

Handler = Callable[[Node, RestRequest], Awaitable[Answer]]


class Route(msgspec.Struct, frozen=True):
    """One endpoint.

    Args:
        template: path; a part in braces is a parameter of that name, declared like those of the query.
        parameters: in the order in which OpenSearch reads them. Others are refused.
        help: answers instead of the handler when `help` is asked for; then only what shapes a table may be given,
            and `help_parameters`.
        reads_body: the body is decoded and handed on. Other routes take a body and do not look at it.
        reads_text: the body is handed on as JSON text.
        reads_stream: the body is a line of JSON after the other, so of formats only those will do that can be cut so.
        works_first: parameters nobody declared are refused by the handler, which has done its work by then.
        pretty_by_default: indented unless told otherwise.
        is_served: False for the endpoints that taskfan lacks: they take any parameter, and answer 501.
    """

    method: str
    template: str
    handler: Handler
    parameters: Sequence[Parameter] = ()
    help: Handler | None = None
    help_parameters: Sequence[Parameter] = ()
    reads_body: bool = False
    reads_text: bool = False
    reads_stream: bool = False
    works_first: bool = False
    pretty_by_default: bool = False
    is_served: bool = True


def _for_methods(methods: str, template: str, handler: Handler, parameters: Sequence[Parameter]) -> tuple[Route, ...]:
    """The same endpoint for several methods; its body is handed on as text."""
    return tuple(Route(method, template, handler, parameters, reads_text=True) for method in methods.split(","))


def _with_index(methods: str, path: str, handler: Handler, parameters: Sequence[Parameter]) -> tuple[Route, ...]:
    """An endpoint for all indices, and the same for those that the path names."""
    return tuple(
        route
        for template in (path, "/{index}" + path)
        for route in _for_methods(methods, template, handler, parameters)
    )


def _with_stream(methods: str, path: str, handler: Handler, parameters: Sequence[Parameter]) -> tuple[Route, ...]:
    """As `_with_index`, for a body of many lines."""
    routes = _with_index(methods, path, handler, parameters)
    return tuple(msgspec.structs.replace(route, reads_stream=True) for route in routes)


def _by_scroll(template: str, handler: Handler, parameters: Sequence[Parameter]) -> Route:
    return Route("POST", template, handler, parameters, reads_text=True, works_first=True)


ROUTES: tuple[Route, ...] = (
    Route("GET", "/", cluster.main, pretty_by_default=True),
    Route("HEAD", "/", cluster.main, pretty_by_default=True),
    # OpenSearch has it, and refuses it, for no index is named.
    Route("DELETE", "/", index.delete_index, index.DELETE_INDEX_PARAMETERS),
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
    Route("GET", "/_cluster/settings", settings.get_settings, settings.GET_CLUSTER_SETTINGS_PARAMETERS),
    *_for_methods("PUT", "/_cluster/settings", settings.put_settings, settings.PUT_CLUSTER_SETTINGS_PARAMETERS),
    Route("GET", "/_cluster/state", cluster.cluster_state, cluster.STATE_PARAMETERS),
    Route("GET", "/_cluster/state/{metric}", cluster.cluster_state, cluster.STATE_PARAMETERS),
    Route("GET", "/_cluster/state/{metric}/{indices}", cluster.cluster_state, cluster.STATE_PARAMETERS),
    # Tables.
    Route("GET", "/_cat", cat.cat_list),
    Route(
        *("GET", "/_cat/tasks", cat.cat_tasks, cat.CAT_TASKS_PARAMETERS),
        help=cat.cat_tasks_help,
        help_parameters=cat.TASKS_HELP,
    ),
    Route("GET", "/_cat/nodes", cat.cat_nodes, cat.CAT_NODES_PARAMETERS, help=cat.cat_nodes_help),
    Route("GET", "/_cat/cluster_manager", cat.cat_manager, cat.CAT_MANAGER_PARAMETERS, help=cat.cat_manager_help),
    Route("GET", "/_cat/master", cat.cat_manager, cat.CAT_MANAGER_PARAMETERS, help=cat.cat_manager_help),
    Route("GET", "/_cat/health", cats.cat_health, cats.CAT_HEALTH_PARAMETERS, help=cats.cat_health_help),
    *(
        Route("GET", f"/_cat/{name}{names}", handler, parameters, help=help, help_parameters=of_help)
        for name, handler, parameters, help, of_help in (
            ("indices", cats.cat_indices, cats.CAT_INDICES_PARAMETERS, cats.cat_indices_help, cats.INDICES_HELP),
            ("shards", cats.cat_shards, cats.CAT_SHARDS_PARAMETERS, cats.cat_shards_help, ()),
            ("count", cats.cat_count, cats.CAT_COUNT_PARAMETERS, cats.cat_count_help, ()),
        )
        for names in ("", "/{index}")
    ),
    # Indices.
    Route("GET", "/{index}", index.get_index, index.GET_INDEX_PARAMETERS),
    Route("HEAD", "/{index}", index.get_index, index.GET_INDEX_PARAMETERS),
    Route("DELETE", "/{index}", index.delete_index, index.DELETE_INDEX_PARAMETERS),
    *_for_methods("PUT", "/{index}", index.create_index, index.CREATE_INDEX_PARAMETERS),
    *_with_index("GET", "/_settings", index.get_settings, index.GET_SETTINGS_PARAMETERS),
    *_with_index("GET", "/_settings/{name}", index.get_settings, index.GET_SETTINGS_PARAMETERS),
    *_with_index("PUT", "/_settings", index.put_settings, index.PUT_SETTINGS_PARAMETERS),
    Route("GET", "/{index}/_setting/{name}", index.get_settings, index.GET_SETTINGS_PARAMETERS),
    *_with_index("GET", "/_mapping", index.get_mapping, index.GET_MAPPING_PARAMETERS),
    *_with_index("GET", "/_mappings", index.get_mapping, index.GET_MAPPING_PARAMETERS),
    *_for_methods("PUT,POST", "/{index}/_mapping", index.put_mapping, index.PUT_MAPPING_PARAMETERS),
    *_for_methods("PUT,POST", "/{index}/_mappings", index.put_mapping, index.PUT_MAPPING_PARAMETERS),
    *_with_index("GET,POST", "/_refresh", index.refresh, index.REFRESH_PARAMETERS),
    *_with_index("GET,POST", "/_flush", index.flush, index.FLUSH_PARAMETERS),
    *_with_index("POST", "/_forcemerge", index.force_merge, index.FORCE_MERGE_PARAMETERS),
    # Documents.
    *_with_stream("POST,PUT", "/_bulk", documents.bulk, documents.BULK_PARAMETERS),
    *_with_index("GET,POST", "/_mget", documents.multi_get, documents.MULTI_GET_PARAMETERS),
    *_for_methods("POST", "/{index}/_doc", documents.index_document, documents.INDEX_PARAMETERS),
    *_for_methods("PUT,POST", "/{index}/_doc/{id}", documents.index_document, documents.INDEX_PARAMETERS),
    *_for_methods("PUT,POST", "/{index}/_create/{id}", documents.create_document, documents.INDEX_PARAMETERS),
    *_for_methods("POST", "/{index}/_update/{id}", documents.update_document, documents.UPDATE_PARAMETERS),
    *_for_methods("GET,HEAD", "/{index}/_doc/{id}", documents.get_document, documents.GET_PARAMETERS),
    *_for_methods("GET,HEAD", "/{index}/_source/{id}", documents.get_source, documents.GET_SOURCE_PARAMETERS),
    *_for_methods("DELETE", "/{index}/_doc/{id}", documents.delete_document, documents.DELETE_PARAMETERS),
    # Searches.
    *_with_index("GET,POST", "/_search", searches.search, SEARCH_PARAMETERS),
    *_with_stream("GET,POST", "/_msearch", searches.multi_search, searches.MULTI_SEARCH_PARAMETERS),
    *_with_index("GET,POST", "/_count", searches.count, COUNT_PARAMETERS),
    *_for_methods("GET,POST", "/_search/scroll", searches.scroll, searches.SCROLL_PARAMETERS),
    *_for_methods("GET,POST", "/_search/scroll/{scroll_id}", searches.scroll, searches.SCROLL_PARAMETERS),
    *_for_methods("DELETE", "/_search/scroll", searches.clear_scroll, searches.CLEAR_SCROLL_PARAMETERS),
    *_for_methods("DELETE", "/_search/scroll/{scroll_id}", searches.clear_scroll, searches.CLEAR_SCROLL_PARAMETERS),
    # Documents written as a search finds them.
    _by_scroll("/_reindex", by_scroll.reindex, by_scroll.REINDEX_PARAMETERS),
    _by_scroll("/{index}/_update_by_query", by_scroll.update_by_query, by_scroll.UPDATE_BY_QUERY_PARAMETERS),
    _by_scroll("/{index}/_delete_by_query", by_scroll.delete_by_query, by_scroll.BY_QUERY_PARAMETERS),
    *(
        Route("POST", f"/{kind}/{{taskId}}/_rethrottle", by_scroll.rethrottle, by_scroll.RETHROTTLE_PARAMETERS)
        for kind in ("_reindex", "_update_by_query", "_delete_by_query")
    ),
    # taskfan's own.
    Route("POST", "/_taskfan/work", work.work, work.WORK_PARAMETERS, reads_body=True),
    Route("GET", "/_taskfan/held", work.held),
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
