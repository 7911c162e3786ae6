"""The parameters of searches, and what they change of a search's body. Pure.

Source: OpenSearch `RestSearchAction`, `IndicesOptions.fromRequest`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec.structs

from taskfan.coordinator.rest.parameters import (
    Parameter,
    boolean,
    comma_list,
    lenient_boolean,
    parse_time_ms,
    text,
    time_ms,
)
from taskfan.coordinator.search_request import MAX_CONCURRENT_SHARD_REQUESTS, SearchRequest
from taskfan.node.errors import IllegalArgument, NumberFormat
from taskfan.node.ids import parse_long
from taskfan.node.index.index_names import IndicesOptions, split_names
from taskfan.node.index.query import Match, MatchAll, Query
from taskfan.node.index.search_source import SearchSource
from taskfan.node.index.sorting import parse_sort_parameter
from taskfan.node.index.source_filter import SourceFilter


def integer(name: str) -> Parameter:
    """A whole number of 32 bits; None when missing."""

    def read(value: str | None) -> int | None:
        if value is None:
            return None
        number = parse_long(value)
        if number is None or not -(2**31) <= number < 2**31:
            reason = f"Failed to parse int parameter [{name}] with value [{value}]"
            raise IllegalArgument(reason, cause=NumberFormat(f'For input string: "{value}"'))
        return number

    return Parameter(name, read)


def optional_boolean(name: str) -> Parameter:
    """True, false, or None when missing."""
    given = boolean(name)
    return Parameter(name, lambda value: None if value is None else given.read(value))


def _at_least(name: str, least: int, told: str) -> Parameter:
    known = integer(name)

    def read(value: str | None) -> int | None:
        given: int | None = known.read(value)
        if given is not None and given < least:
            raise IllegalArgument(f"{told} must be >= {least}")
        return given

    return Parameter(name, read)


def _preference(value: str | None) -> str | None:
    """Source: OpenSearch `Preference.parse`."""
    if value is not None and value.startswith("_") and value.partition(":")[0] not in _PREFERENCES:
        raise IllegalArgument(f"no Preference for [{value.partition(':')[0]}]")
    return value


def _search_timeout(value: str | None) -> str | None:
    parse_time_ms(value, "timeout")
    return value


def _track_total_hits(value: str | None) -> int | bool | None:
    if value is None:
        return None
    if value in ("", "true", "false"):
        return value != "false"
    number: int = integer("track_total_hits").read(value)
    if number < -1:
        raise IllegalArgument(f"[track_total_hits] parameter must be positive or equals to -1, got {number}")
    return number


_PREFERENCES = frozenset(
    [
        *("_shards", "_prefer_nodes", "_local", "_primary", "_replica", "_primary_first", "_replica_first"),
        *("_only_local", "_only_nodes", "_search_replica"),
    ]
)
PREFERENCE = Parameter("preference", _preference)
INDEX = Parameter("index", split_names)
EXPANSION: tuple[Parameter, ...] = (
    lenient_boolean("ignore_unavailable"),
    lenient_boolean("allow_no_indices"),
    text("expand_wildcards"),
    lenient_boolean("ignore_throttled"),
)
_QUERY_STRING: tuple[Parameter, ...] = (
    text("q"),
    *(
        msgspec.structs.replace(known, beside="q")
        for known in (
            *(text(name) for name in ("df", "analyzer", "default_operator")),
            *(boolean(name) for name in ("analyze_wildcard", "lenient")),
        )
    ),
)
# Those that stand for a part of the body.
_SOURCE: tuple[Parameter, ...] = (
    *_QUERY_STRING,
    integer("from"),
    integer("size"),
    optional_boolean("explain"),
    optional_boolean("version"),
    optional_boolean("seq_no_primary_term"),
    Parameter("timeout", _search_timeout),
    integer("terminate_after"),
    text("_source"),
    text("_source_includes"),
    text("_source_excludes"),
    comma_list("stored_fields"),
    comma_list("docvalue_fields"),
    optional_boolean("track_scores"),
    Parameter("track_total_hits", _track_total_hits),
    text("sort"),
    text("stats"),
)
_REQUEST: tuple[Parameter, ...] = (
    _at_least("batched_reduce_size", 2, "batchedReduceSize"),
    _at_least("pre_filter_shard_size", 1, "preFilterShardSize"),
    integer("max_concurrent_shard_requests"),
    boolean("allow_partial_search_results", default=True),
    boolean("phase_took"),
    text("search_type"),
    optional_boolean("request_cache"),
    time_ms("scroll"),
    text("routing"),
    PREFERENCE,
    *EXPANSION,
    boolean("ccs_minimize_roundtrips", default=True),
    time_ms("cancel_after_time_interval"),
    text("search_pipeline"),
)
_SHAPE: tuple[Parameter, ...] = (
    boolean("typed_keys", is_late=True),
    boolean("rest_total_hits_as_int", is_late=True),
    boolean("include_named_queries_score", is_late=True),
)
SEARCH_PARAMETERS: tuple[Parameter, ...] = (INDEX, *_REQUEST, *_SOURCE, *_SHAPE)
COUNT_PARAMETERS: tuple[Parameter, ...] = (
    INDEX,
    *EXPANSION,
    text("min_score"),
    PREFERENCE,
    text("routing"),
    integer("terminate_after"),
    *_QUERY_STRING,
)


def indices_options(given: Mapping[str, Any]) -> IndicesOptions:
    """How the names of a request are read."""
    return IndicesOptions.from_parameters(
        given["ignore_unavailable"], given["allow_no_indices"], given["expand_wildcards"]
    )


def with_parameters(source: SearchSource, given: Mapping[str, Any]) -> SearchSource:
    """A search with what its URL says of it.

    Raises:
        IllegalArgument: a value does not do.
    """
    changes: dict[str, Any] = {}
    if given["q"] is not None:
        changes["query"] = query_of_text(given["q"])
    for name, field in (("from", "from_"), ("size", "size"), ("terminate_after", "terminate_after")):
        if given[name] is not None:
            if given[name] < 0:
                raise IllegalArgument(_negative(name, given[name]))
            changes[field] = given[name]
    for name in ("version", "seq_no_primary_term", "timeout"):
        if given[name] is not None:
            changes[name] = given[name]
    shown = SourceFilter.from_parameters(given["_source"], given["_source_includes"], given["_source_excludes"])
    if shown is not None:
        changes["fetch_source"] = shown
    if given["track_total_hits"] is not None:
        changes["track_total_hits"] = given["track_total_hits"]
    if given["sort"] is not None:
        changes["sort"] = parse_sort_parameter(given["sort"])
    return msgspec.structs.replace(source, **changes) if changes else source


def _negative(name: str, value: int) -> str:
    if name == "terminate_after":
        return "terminateAfter must be > 0"
    return f"[{name}] parameter cannot be negative, found [{value}]"


def check_search_type(given: str | None) -> None:
    """Raises IllegalArgument. Source: OpenSearch `SearchType.fromString`."""
    if given in ("query_and_fetch", "dfs_query_and_fetch"):
        raise IllegalArgument(f"Unsupported search type [{given}]")
    if given not in (None, "query_then_fetch", "dfs_query_then_fetch"):
        raise IllegalArgument(f"No search type for [{given}]")


def query_of_text(query: str) -> Query:
    """The query that `q` is.

    Raises:
        IllegalArgument: it is more than `*` or `field:words`, which is all that is known here.
    """
    if query in ("*", "*:*"):
        return MatchAll()
    field, colon, words = query.partition(":")
    if not colon or not field.replace(".", "").replace("_", "").replace("-", "").isalnum() or "*" in words:
        raise IllegalArgument(f"of a query string only [*] and [field:words] are known, not [{query}]")
    return Match(field, words.strip('"'))


def with_total_as_int(source: SearchSource, total_as_int: bool) -> SearchSource:
    """A search whose total is to be a number: it must be counted, or not at all.

    Raises:
        IllegalArgument: it is counted up to a limit.
    """
    upto = source.track_total_hits
    if not total_as_int or upto is True or upto is False or upto == -1:
        return source
    if upto is None:
        return msgspec.structs.replace(source, track_total_hits=True)
    raise IllegalArgument(
        "[rest_total_hits_as_int] cannot be used if the tracking of total hits is not accurate, got " + str(upto)
    )


def search_request(given: Mapping[str, Any], source: SearchSource) -> SearchRequest:
    """The request that parameters and body make.

    Raises:
        IllegalArgument: a value does not do.
    """
    most = given["max_concurrent_shard_requests"]
    if most is not None and most < 1:
        raise IllegalArgument("maxConcurrentShardRequests must be >= 1")
    check_search_type(given["search_type"])
    source = with_total_as_int(with_parameters(source, given), given.get("rest_total_hits_as_int", False))
    return SearchRequest(
        tuple(given["index"]),
        source,
        indices_options(given),
        scroll_ms=given["scroll"],
        routing=given["routing"],
        preference=given["preference"],
        allow_partial=given["allow_partial_search_results"],
        cancel_after_ms=given["cancel_after_time_interval"],
        max_concurrent_shard_requests=most or MAX_CONCURRENT_SHARD_REQUESTS,
    )
