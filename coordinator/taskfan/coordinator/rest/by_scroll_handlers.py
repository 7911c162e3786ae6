"""Handlers of `_reindex`, `_update_by_query`, `_delete_by_query` and their `_rethrottle`.

Source: OpenSearch `AbstractBaseReindexRestHandler`, `RestReindexAction`, `AbstractBulkByQueryRestHandler`,
`RestRethrottleAction`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from taskfan.coordinator.grouping import FORMS, render
from taskfan.coordinator.rest.messages import Answer, RestRequest
from taskfan.coordinator.rest.parameters import GROUP_BY, Parameter, boolean, task_id, text, time_ms
from taskfan.coordinator.rest.search_parameters import (
    SEARCH_PARAMETERS,
    check_search_type,
    indices_options,
    integer,
    optional_boolean,
    with_parameters,
)
from taskfan.node.action import wake
from taskfan.node.actions.rethrottle import RETHROTTLE_ACTION
from taskfan.node.errors import IllegalArgument, TaskfanError
from taskfan.node.index.active_shards import ActiveShardCount
from taskfan.node.index.by_scroll_body import read_by_query, read_reindex
from taskfan.node.index.by_scroll_request import (
    ByScrollRequest,
    Kind,
    parse_conflicts,
    parse_requests_per_second,
    parse_slices,
    with_max_docs_once,
)
from taskfan.node.index.by_scroll_status import ByScrollResponse
from taskfan.node.node import Node
from taskfan.node.task import Task
from taskfan.v1 import actions_pb2
from taskfan.v1.search_pb2 import RethrottleRequest

_COMMON: tuple[Parameter, ...] = (
    boolean("refresh"),
    time_ms("timeout"),
    Parameter("slices", parse_slices),
    Parameter("wait_for_active_shards", lambda value: None if value is None else ActiveShardCount.parse(value)),
    Parameter("requests_per_second", parse_requests_per_second),
    integer("max_docs"),
    boolean("wait_for_completion", default=True),
)


def _no_pipeline(value: str | None) -> None:
    if value is not None:
        raise IllegalArgument(
            "_reindex doesn't support [pipeline] as a query parameter. Specify it in the [dest] object instead."
        )


REINDEX_PARAMETERS: tuple[Parameter, ...] = (
    Parameter("pipeline", _no_pipeline, is_advised=False),
    msgspec.structs.replace(time_ms("scroll"), is_advised=False),
    optional_boolean("require_alias"),
    *_COMMON,
)
_OWN = frozenset([*(known.name for known in _COMMON), "typed_keys", "index"])
BY_QUERY_PARAMETERS: tuple[Parameter, ...] = (
    Parameter("index", lambda value: [name for name in (value or "").split(",") if name]),
    *(replace(known, is_late=False) for known in SEARCH_PARAMETERS if known.name not in _OWN),
    Parameter("conflicts", lambda value: None if value is None else parse_conflicts(value)),
    integer("scroll_size"),
    time_ms("search_timeout"),
    *_COMMON,
)
UPDATE_BY_QUERY_PARAMETERS: tuple[Parameter, ...] = (*BY_QUERY_PARAMETERS, text("pipeline"))


def _read_rate(value: str | None) -> float:
    rate = parse_requests_per_second(value)
    if rate is None:
        raise IllegalArgument("requests_per_second is a required parameter")
    return rate


RETHROTTLE_PARAMETERS: tuple[Parameter, ...] = (
    task_id("taskId"),
    Parameter("requests_per_second", _read_rate),
    GROUP_BY,
)


async def reindex(node: Node, request: RestRequest) -> Answer:
    """`POST /_reindex`."""
    asked = read_reindex(request.raw)
    scroll_ms = request.parameters["scroll"]
    if scroll_ms is not None:
        if scroll_ms < 0:
            raise IllegalArgument(f"duration cannot be negative, was given [{scroll_ms * 1_000_000}]")
        asked = replace(asked, scroll_ms=scroll_ms)
    if request.parameters["require_alias"]:
        asked = replace(asked, destination=replace(asked.destination, require_alias=True))
    return await _run(node, request, with_common(asked, request.parameters))


async def update_by_query(node: Node, request: RestRequest) -> Answer:
    """`POST /{index}/_update_by_query`."""
    return await _run(node, request, _by_query(Kind.UPDATE_BY_QUERY, request))


async def delete_by_query(node: Node, request: RestRequest) -> Answer:
    """`POST /{index}/_delete_by_query`."""
    return await _run(node, request, _by_query(Kind.DELETE_BY_QUERY, request))


def _by_query(kind: Kind, request: RestRequest) -> ByScrollRequest:
    given = request.parameters
    asked = read_by_query(kind, tuple(given["index"]), request.raw)
    timeout = None if given["search_timeout"] is None else f"{given['search_timeout']}ms"
    source = with_parameters(asked.source, {**given, "size": None, "timeout": timeout})
    check_search_type(given["search_type"])
    if given["scroll_size"] is not None:
        if given["scroll_size"] < 0:
            raise IllegalArgument(f"[size] parameter cannot be negative, found [{given['scroll_size']}]")
        source = msgspec.structs.replace(source, size=given["scroll_size"])
    asked = replace(
        asked,
        source=source,
        options=indices_options(given),
        routing=given["routing"],
        preference=given["preference"],
        pipeline=given.get("pipeline"),
    )
    if given["scroll"] is not None:
        asked = replace(asked, scroll_ms=given["scroll"])
    if given["conflicts"] is not None:
        asked = replace(asked, abort_on_conflict=given["conflicts"])
    if given["size"] is not None:
        asked = with_max_docs_once(asked, given["size"])
    return with_common(asked, given)


def with_common(asked: ByScrollRequest, given: Mapping[str, Any]) -> ByScrollRequest:
    """A request with the parameters that all three kinds have. Source: `setCommonOptions`.

    Raises:
        IllegalArgument: the number of documents is wrong, or another one than in the body.
    """
    changes: dict[str, Any] = {"refresh": given["refresh"]}
    for name, field in (
        ("timeout", "timeout_ms"),
        ("slices", "slices"),
        ("wait_for_active_shards", "wait_for_active_shards"),
        ("requests_per_second", "requests_per_second"),
    ):
        if given[name] is not None:
            changes[field] = given[name]
    asked = replace(asked, **changes)
    return asked if given["max_docs"] is None else with_max_docs_once(asked, given["max_docs"])


async def _run(node: Node, request: RestRequest, asked: ByScrollRequest) -> Answer:
    """Wait for the end of the work, or only start it.

    What is only started has begun before unknown parameters are refused, and before a request that contradicts
    itself is: as in OpenSearch, whose handlers start it while they prepare.
    """
    if not request.parameters["wait_for_completion"]:
        task = await _start(node, request, replace(asked, store_result=True))
        asked.validate()
        _refuse_unknown(request)
        return Answer([msgspec.json.encode({"task": str(task.id)})])
    _refuse_unknown(request)
    response: ByScrollResponse = await node.execute(asked.kind.value, asked, headers=request.headers)
    shown = response.to_object(human=request.human, created=asked.kind.shows_created, updated=asked.kind.shows_updated)
    return Answer([msgspec.json.encode(shown)], status=response.http_status)


def _refuse_unknown(request: RestRequest) -> None:
    if request.unrecognized is not None:
        raise request.unrecognized


async def _start(node: Node, request: RestRequest, asked: ByScrollRequest) -> Task:
    """Let it run on its own; its task, once that is registered. Raises when it cannot be."""
    registered: asyncio.Future[Task] = asyncio.get_running_loop().create_future()

    async def run() -> None:
        try:
            await node.execute(
                asked.kind.value, asked, headers=request.headers, registered=lambda task: wake(registered, task)
            )
        except TaskfanError as error:
            # Once it runs, what becomes of it is in its stored result.
            if not registered.done():
                registered.set_exception(error)
        finally:
            registered.cancel()

    node.clock.spawn(run(), asked.kind.value)
    return await registered


async def rethrottle(node: Node, request: RestRequest) -> Answer:
    """`POST …/{taskId}/_rethrottle`."""
    given = request.parameters
    message = RethrottleRequest(
        rendering=actions_pb2.TaskRendering(detailed=True, human=request.human, form=FORMS[given["group_by"]]),
        requests_per_second=given["requests_per_second"],
    )
    if given["taskId"].is_set:
        message.filter.task_id.CopyFrom(given["taskId"].to_wire())
    answer = await node.execute(RETHROTTLE_ACTION, message, headers=request.headers)
    return Answer(render(answer, given["group_by"], node.cluster_state))
