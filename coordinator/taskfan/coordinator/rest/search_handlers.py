"""Handlers of `_search`, `_msearch`, `_count` and `_search/scroll`.

Source: OpenSearch `RestSearchAction`, `RestMultiSearchAction`, `RestCountAction`, `RestSearchScrollAction`,
`RestClearScrollAction`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import msgspec

from taskfan.coordinator.multi_search import MULTI_SEARCH_ACTION, MultiSearchOutcome, MultiSearchRequest
from taskfan.coordinator.rest.errors import envelope
from taskfan.coordinator.rest.messages import Answer, RestRequest
from taskfan.coordinator.rest.parameters import Parameter, boolean, comma_list, parse_time_ms, text, time_ms
from taskfan.coordinator.rest.search_parameters import (
    EXPANSION,
    INDEX,
    indices_options,
    integer,
    query_of_text,
    search_request,
    with_total_as_int,
)
from taskfan.coordinator.scroll import CLEAR_ACTION, SCROLL_ACTION, ClearScrollRequest, ScrollAnswer, ScrollRequest
from taskfan.coordinator.search_request import MAX_CONCURRENT_SHARD_REQUESTS, SearchRequest
from taskfan.node.actions.search import SEARCH_ACTION
from taskfan.node.errors import IllegalArgument, TaskfanError, ValidationFailed
from taskfan.node.index.multi_search import SearchItem, parse_multi_search
from taskfan.node.index.scrolls import read_scroll_body
from taskfan.node.index.search_merge import MultiSearchAnswer, SearchAnswer, count_answer
from taskfan.node.index.search_source import SearchSource, read_count_body, read_search
from taskfan.node.node import Node

_encode = msgspec.json.Encoder().encode
MULTI_SEARCH_PARAMETERS: tuple[Parameter, ...] = (
    INDEX,
    *EXPANSION,
    text("search_type"),
    integer("max_concurrent_searches"),
    time_ms("cancel_after_time_interval"),
    integer("pre_filter_shard_size"),
    integer("max_concurrent_shard_requests"),
    boolean("ccs_minimize_roundtrips", default=True),
    boolean("typed_keys", is_late=True),
    boolean("rest_total_hits_as_int", is_late=True),
)
SCROLL_PARAMETERS: tuple[Parameter, ...] = (
    text("scroll_id"),
    time_ms("scroll"),
    boolean("rest_total_hits_as_int", is_late=True),
)
CLEAR_SCROLL_PARAMETERS: tuple[Parameter, ...] = (comma_list("scroll_id"),)


async def _while_client_waits(node: Node, request: RestRequest, action: str, message: Any) -> Any:
    """Run an action; a client that goes away cancels it."""
    with contextlib.ExitStack() as stack:
        return await node.execute(
            action,
            message,
            headers=request.headers,
            registered=lambda task: stack.enter_context(request.client.cancels(node, task)),
        )


async def search(node: Node, request: RestRequest) -> Answer:
    """`_search`."""
    given = request.parameters
    message = search_request(given, read_search(request.raw))
    answer: SearchAnswer = await _while_client_waits(node, request, SEARCH_ACTION, message)
    return _answer(answer, message.source, given)


def _answer(answer: SearchAnswer, source: SearchSource | None, given: Mapping[str, Any]) -> Answer:
    shown = answer.to_object(source or SearchSource(), total_as_int=given["rest_total_hits_as_int"])
    return Answer([_encode(shown)])


async def count(node: Node, request: RestRequest) -> Answer:
    """`_count`: a search that shows no hits. It runs to its end, whoever waits."""
    given = request.parameters
    source = read_count_body(request.raw)
    if given["q"] is not None:
        source = msgspec.structs.replace(source, query=query_of_text(given["q"]))
    message = SearchRequest(
        tuple(given["index"]),
        source,
        indices_options(given),
        routing=given["routing"],
        preference=given["preference"],
    )
    answer: SearchAnswer = await node.execute(SEARCH_ACTION, message, headers=request.headers)
    return Answer([_encode(count_answer(answer.merged, answer.shards))])


async def multi_search(node: Node, request: RestRequest) -> Answer:
    """`_msearch`."""
    given = request.parameters
    most = given["max_concurrent_searches"]
    if most is not None and most < 1:
        raise IllegalArgument("maxConcurrentSearchRequests must be positive")
    total_as_int = given["rest_total_hits_as_int"]
    items = parse_multi_search(request.raw, given["index"], indices_options(given))
    searches = tuple(_item_request(item, given, total_as_int) for item in items)
    outcome: MultiSearchOutcome = await _while_client_waits(
        node, request, MULTI_SEARCH_ACTION, MultiSearchRequest(searches, most)
    )
    shown = MultiSearchAnswer(outcome.took_ms)
    for item, found in zip(searches, outcome.outcomes, strict=True):
        if isinstance(found, TaskfanError):
            shown.add_failure(envelope(found))
        else:
            shown.add(found.to_object(item.source or SearchSource(), total_as_int=total_as_int))
    return Answer([_encode(shown.to_object())])


def _item_request(item: SearchItem, given: Mapping[str, Any], total_as_int: bool) -> SearchRequest:
    cancel_after_ms = given["cancel_after_time_interval"]
    if item.cancel_after is not None:
        cancel_after_ms = parse_time_ms(item.cancel_after, "cancel_after_time_interval")
    return SearchRequest(
        item.indices,
        with_total_as_int(item.source, total_as_int),
        item.options,
        allow_partial=item.allow_partial,
        cancel_after_ms=cancel_after_ms,
        max_concurrent_shard_requests=given["max_concurrent_shard_requests"] or MAX_CONCURRENT_SHARD_REQUESTS,
    )


async def scroll(node: Node, request: RestRequest) -> Answer:
    """`_search/scroll`: the next page. What the body says counts before the URL."""
    given, body = request.parameters, read_scroll_body(request.raw)
    scroll_id = body.get("scroll_id", given["scroll_id"])
    if isinstance(scroll_id, list):
        scroll_id = ",".join(scroll_id)
    keep_alive_ms = parse_time_ms(body["scroll"], "scroll") if "scroll" in body else given["scroll"]
    if not scroll_id:
        raise ValidationFailed("scrollId is missing")
    message = ScrollRequest(scroll_id, keep_alive_ms)
    found: ScrollAnswer = await node.execute(SCROLL_ACTION, message, headers=request.headers)
    return _answer(found.answer, found.source, given)


async def clear_scroll(node: Node, request: RestRequest) -> Answer:
    """`DELETE /_search/scroll`: the end of scrolls. 404 when none of them was there."""
    body = read_scroll_body(request.raw)
    ids = body.get("scroll_id", request.parameters["scroll_id"])
    message = ClearScrollRequest((ids,) if isinstance(ids, str) else tuple(ids))
    freed: int = await node.execute(CLEAR_ACTION, message, headers=request.headers)
    shown = {"succeeded": True, "num_freed": freed}
    return Answer([_encode(shown)], status=200 if freed else 404)
