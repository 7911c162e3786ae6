"""What is refused, and in which words, as a real OpenSearch 3.8.0 of three nodes answered the same requests."""

from __future__ import annotations

import json

import pytest

from tests.coordinator.rest.rest_node import ask

BOTH_TIMEOUTS = "master_timeout=1s&cluster_manager_timeout=1s"
ONLY_ONE = "Please only use one of the request parameters [master_timeout, cluster_manager_timeout]."


def told(method: str, target: str, body: object = None) -> tuple[int, str]:
    """Status and reason of an answer."""
    raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = ask(method, target, "Content-Type: application/json", body=raw)
    error = answer.json.get("error", "")
    return answer.status, error if isinstance(error, str) else error["reason"]


@pytest.mark.parametrize(
    "target", ["/_cluster/health", "/_cluster/state", "/_cluster/settings", "/_cat/nodes", "/_cat/shards"]
)
def test_the_timeout_of_the_manager_has_one_name_at_a_time(target: str) -> None:
    assert told("GET", f"{target}?{BOTH_TIMEOUTS}") == (400, ONLY_ONE)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("wait_for_status=", "No enum constant org.opensearch.cluster.health.ClusterHealthStatus."),
        ("wait_for_events=x", "No enum constant org.opensearch.common.Priority.X"),
        (
            "wait_for_relocating_shards=1",
            "wait_for_relocating_shards has been removed, use wait_for_no_relocating_shards [true/false] instead",
        ),
        ("expand_wildcards=x", "No valid expand wildcard value [x]"),
        ("ignore_unavailable=x", "Could not convert [ignore_unavailable] to boolean"),
        ("allow_no_indices=x", "Could not convert [allow_no_indices] to boolean"),
    ],
)
def test_a_health_checks_what_it_waits_for(query: str, reason: str) -> None:
    assert told("GET", f"/_cluster/health?{query}") == (400, reason)


@pytest.mark.parametrize("events", ["immediate", "languid", "LANGUID"])
def test_a_health_may_wait_for_events_of_a_known_priority(events: str) -> None:
    assert told("GET", f"/_cluster/health?wait_for_events={events}") == (200, "")


@pytest.mark.parametrize(
    ("query", "status", "reason"),
    [
        ("wait_for_metadata_version=1", 200, ""),
        ("wait_for_metadata_version=0", 400, "provided waitForMetadataVersion should be >= 1, but instead is [0]"),
        ("wait_for_metadata_version=x", 400, "Failed to parse long parameter [wait_for_metadata_version] with value "
                                             "[x]"),
    ],
)  # fmt: skip
def test_a_cluster_state_may_wait_for_a_version(query: str, status: int, reason: str) -> None:
    assert told("GET", f"/_cluster/state/version?{query}") == (status, reason)


def test_a_cluster_state_leaves_out_an_index_that_is_not_there() -> None:
    answer = ask("GET", "/_cluster/state/metadata,routing_table/nosuch")
    assert (answer.status, answer.json["routing_table"]) == (200, {"indices": {}})
    assert told("GET", "/_cluster/state/metadata/nosuch?ignore_unavailable=false") == (404, "no such index [nosuch]")


@pytest.mark.parametrize("table", ["indices", "shards", "health", "count", "cluster_manager", "nodes", "tasks"])
def test_every_table_may_be_given_a_timeout(table: str) -> None:
    assert told("GET", f"/_cat/{table}?format=json&timeout=1s&zzzz=1")[1] == (
        f"request [/_cat/{table}] contains unrecognized parameter: [zzzz]"
    )


def test_a_table_of_health_asks_no_manager() -> None:
    for name in ("local=true", "master_timeout=1s", "cluster_manager_timeout=1s"):
        status, reason = told("GET", f"/_cat/health?{name}")
        assert (status, reason.partition(":")[0]) == (
            400,
            "request [/_cat/health] contains unrecognized parameter",
        )


def test_a_table_of_indices_knows_three_colours() -> None:
    assert told("GET", "/_cat/indices?health=x") == (400, "unknown cluster health status [x]")


def test_a_name_that_is_only_asked_after_is_no_advice() -> None:
    head = "contains unrecognized parameter:"
    body = {"source": {"index": "a"}, "dest": {"index": "b"}}
    assert told("POST", "/_reindex?scroll_size=1", body)[1] == f"request [/_reindex] {head} [scroll_size]"
    assert told("GET", "/_cat/nodes?request_timeout=1s")[1] == f"request [/_cat/nodes] {head} [request_timeout]"


@pytest.mark.parametrize(
    ("query", "status", "reason"),
    [
        ("pipeline=x", 400, "_reindex doesn't support [pipeline] as a query parameter. Specify it in the [dest] object "
                            "instead."),
        ("scroll=-1", 400, "duration cannot be negative, was given [-1000000]"),
        ("require_alias=x", 400, "Failed to parse value [x] as only [true] or [false] are allowed."),
        ("require_alias=true", 404, "no such index [b] and [require_alias] request flag is [true] and [b] is not an "
                                    "alias"),
        ("max_docs=", 400, "Failed to parse int parameter [max_docs] with value []"),
    ],
)  # fmt: skip
def test_a_reindex_refuses(query: str, status: int, reason: str) -> None:
    body = {"source": {"index": "a"}, "dest": {"index": "b"}}
    assert told("POST", f"/_reindex?{query}", body) == (status, reason)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("scroll_size=-1", "[size] parameter cannot be negative, found [-1]"),
        ("terminate_after=-1", "terminateAfter must be > 0"),
        ("search_type=x", "No search type for [x]"),
        ("search_type=query_and_fetch", "Unsupported search type [query_and_fetch]"),
        ("allow_no_indices=x", "Could not convert [allow_no_indices] to boolean"),
    ],
)
def test_an_update_by_query_refuses(query: str, reason: str) -> None:
    assert told("POST", f"/i/_update_by_query?{query}", {}) == (400, reason)


@pytest.mark.parametrize("name", ["df=a", "analyzer=a", "default_operator=or", "lenient=true", "analyze_wildcard=true"])
def test_what_stands_beside_a_query_string_is_for_searches_only(name: str) -> None:
    status, reason = told("POST", "/*/_update_by_query", {}), told("POST", f"/*/_update_by_query?{name}", {})
    assert status[0] == 200
    assert reason == (
        400,
        f"request [/*/_update_by_query] contains unrecognized parameter: [{name.partition('=')[0]}]",
    )


def test_only_an_update_by_query_has_a_pipeline() -> None:
    body = {"query": {"match_all": dict[str, int]()}}
    assert told("POST", "/*/_update_by_query?pipeline=_none", {})[0] == 200
    assert told("POST", "/*/_delete_by_query?pipeline=_none", body)[1] == (
        "request [/*/_delete_by_query] contains unrecognized parameter: [pipeline] -> did you mean [search_pipeline]?"
    )


# ---------------------------------------------------------------------- searches and documents


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("preference=_x:3", "no Preference for [_x]"),
        ("batched_reduce_size=1", "batchedReduceSize must be >= 2"),
        ("pre_filter_shard_size=0", "preFilterShardSize must be >= 1"),
        ("track_total_hits=x", "Failed to parse int parameter [track_total_hits] with value [x]"),
        ("track_total_hits=-2", "[track_total_hits] parameter must be positive or equals to -1, got -2"),
        (
            "timeout=1",
            "failed to parse setting [timeout] with value [1] as a time value: unit is missing or unrecognized",
        ),
        ("df=a", "request [/_search] contains unrecognized parameter: [df]"),
        ("lenient=true", "request [/_search] contains unrecognized parameter: [lenient]"),
    ],
)
def test_a_search_refuses(query: str, reason: str) -> None:
    assert told("GET", f"/_search?{query}") == (400, reason)


def test_what_stands_beside_a_query_string_is_known_beside_one() -> None:
    assert told("GET", "/_search?q=*&df=a&lenient=true&default_operator=and") == (200, "")


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "reason"),
    [
        ("PUT", "/i/_doc/1?if_seq_no=-1", {}, 400, "sequence numbers must be non negative. got [-1]."),
        ("DELETE", "/i/_doc/1?if_seq_no=-5", None, 400, "sequence numbers must be non negative. got [-5]."),
        ("GET", "/i/_source/1?version=1", None, 400,
         "request [/i/_source/1] contains unrecognized parameter: [version]"),
        ("POST", "/_bulk?batch_size=1", b"{}\n", 400, "request [/_bulk] contains unrecognized parameter: [batch_size]"),
        ("POST", "/i/_update/1?retry_on_conflict=x", {"doc": {}}, 400,
         "Failed to parse int parameter [retry_on_conflict] with value [x]"),
        ("POST", "/i/_update/1?retry_on_conflict=2&if_seq_no=1&if_primary_term=1", {"doc": {}}, 400,
         "Validation Failed: 1: compare and write operations can not be retried;"),
        ("POST", "/i/_update/1?require_alias=true", {"doc": {}}, 404,
         "no such index [i] and [require_alias] request flag is [true] and [i] is not an alias"),
    ],
)  # fmt: skip
def test_a_document_request_refuses(method: str, target: str, body: object, status: int, reason: str) -> None:
    assert told(method, target, body) == (status, reason)


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "reason"),
    [
        ("DELETE", "/", None, 400, "Validation Failed: 1: index / indices is missing;"),
        ("PUT", "/i/_mapping", b"true", 400, "Compressor detection can only be called on some xcontent bytes or "
                                             "compressed xcontent bytes"),
        ("PUT", "/i*/_mapping", {"properties": {}}, 404, "no such index [i*]"),
        ("PUT", "/i*/_settings", {"number_of_replicas": 0}, 404, "no such index [i*]"),
        ("POST", "/_mget", None, 400, "request body or source parameter is required"),
        ("POST", "/i/_update/1", None, 400, "Validation Failed: 1: script or doc is missing;"),
        ("PUT", "/_cluster/settings", None, 400, "request body is required"),
        ("GET", "//_tasks/a/b/c", None, 400, "no handler found for uri [/a/b/c] and method [GET]"),
        ("GET", "http://localhost/_tasks", None, 400, "no handler found for uri [/_tasks] and method [GET]"),
        ("POST", "/_msearch", b"null\n", 400, "Validation Failed: 1: no requests added;"),
        ("POST", "/_msearch", b"true\n", 400, "Validation Failed: 1: no requests added;"),
    ],
)  # fmt: skip
def test_a_request_about_indices_refuses(method: str, target: str, body: object, status: int, reason: str) -> None:
    assert told(method, target, body) == (status, reason)


# ---------------------------------------------------------------------- settings of the cluster, and tables


@pytest.mark.parametrize(
    ("settings", "status", "reason"),
    [
        ({"foo": {}}, 400, "Validation Failed: 1: no settings to update;"),
        ({"persistent": 5}, 500, "class java.lang.Integer cannot be cast to class java.util.Map (java.lang.Integer and "
                                 "java.util.Map are in module java.base of loader 'bootstrap')"),
        ({"persistent": {"nosuch.setting": 1}}, 400, "persistent setting [nosuch.setting], not recognized"),
        ({"transient": {"node.name": "x"}}, 400, "transient setting [node.name], not dynamically updateable"),
        ({"persistent": {"cluster.name": "x"}}, 400, "persistent setting [cluster.name], not dynamically updateable"),
        ({"persistent": {"cluster.max_shards_per_node": "abc"}}, 400,
         "Failed to parse value [abc] for setting [cluster.max_shards_per_node]"),
        ({"persistent": {"cluster.max_shards_per_node": -5}}, 400,
         "Failed to parse value [-5] for setting [cluster.max_shards_per_node] must be >= 1"),
        ({"persistent": {"search.default_search_timeout": "x"}}, 400,
         "failed to parse setting [search.default_search_timeout] with value [x] as a time value: unit is missing or "
         "unrecognized"),
        ({"persistent": {"task_resource_tracking.enabled": "x"}}, 400,
         "Failed to parse value [x] as only [true] or [false] are allowed."),
    ],
)  # fmt: skip
def test_a_setting_of_the_cluster_is_refused(settings: object, status: int, reason: str) -> None:
    assert told("PUT", "/_cluster/settings", settings) == (status, reason)


def test_a_setting_that_nothing_knows_is_a_settings_exception() -> None:
    answer = ask(
        "PUT", "/_cluster/settings", "Content-Type: application/json", body=b'{"persistent":{"nosuch.setting":1}}'
    )
    assert answer.json["error"]["type"] == "settings_exception"


def test_what_only_shapes_text_is_not_read_for_other_formats() -> None:
    reason = "Failed to parse value [x] as only [true] or [false] are allowed."
    assert told("GET", "/_cat/tasks?v=x&s=nosuch")[1] == reason
    assert ask("GET", "/_cat/tasks?v=x&format=json").status == 200


def test_times_are_shown_or_not_only_where_there_are_some() -> None:
    reason = "Failed to parse value [x] as only [true] or [false] are allowed."
    assert told("GET", "/_cat/tasks?ts=x&format=json")[1] == reason
    assert ask("GET", "/_cat/tasks?ts=x&h=action").status == 200
    assert ask("GET", "/_cat/nodes?ts=x").status == 200
