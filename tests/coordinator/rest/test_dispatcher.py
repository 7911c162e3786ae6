"""The checks that every route shares, in OpenSearch's order, and what each route answers."""

from __future__ import annotations

import gzip
import json
from typing import Any

import cbor2
import pytest
import yaml

from taskfan.coordinator.rest.missing_endpoints import missing_endpoints
from taskfan.coordinator.rest.routes import ROUTES
from tests.coordinator.rest.rest_node import NODE_ID, Response, RestNode, with_node

JSON_TYPE = "application/json; charset=UTF-8"


def ask(method: str, target: str, *fields: str, body: bytes = b"") -> Response:
    """One request to a node of its own."""

    async def story(rest: RestNode) -> Response:
        return await rest.ask(method, target, *fields, body=body)

    return with_node(story)


def reasons(*requests: tuple[str, ...]) -> list[tuple[int, str]]:
    """Status and reason of each answer, of the same node."""

    async def story(rest: RestNode) -> list[tuple[int, str]]:
        answers = []
        for method, target, *fields in requests:
            response = await rest.ask(method, target, *fields)
            error = response.json["error"]
            answers.append((response.status, error if isinstance(error, str) else error["reason"]))
        return answers

    return with_node(story)


# ---------------------------------------------------------------------- routes


def test_every_served_get_without_a_name_in_its_path_answers() -> None:
    async def story(rest: RestNode) -> dict[str, int]:
        paths = [route.template for route in ROUTES if route.method == "GET" and "{" not in route.template]
        return {path: (await rest.ask("GET", path)).status for path in [*paths, "/_taskfan"]}

    statuses = with_node(story)
    # The whole cluster state has parts that taskfan lacks.
    assert statuses.pop("/_cluster/state") == 501
    assert set(statuses.values()) == {200}


def test_each_route_refuses_what_it_does_not_declare_and_names_its_path() -> None:
    async def story(rest: RestNode) -> list[str]:
        paths = [route.template for route in ROUTES if route.method == "GET"]
        paths = [path.replace("{task_id}", "n:1").replace("{", "").replace("}", "") for path in paths]
        answers = [(path, await rest.ask("GET", f"{path}?zzzz=1")) for path in paths]
        expected = "request [{}] contains unrecognized parameter: [zzzz]"
        return [path for path, answer in answers if expected.format(path) not in answer.json["error"]["reason"]]

    assert with_node(story) == []


def test_a_missing_endpoint_is_501_and_names_itself_and_the_list_of_what_is_there() -> None:
    endpoints = list(missing_endpoints())
    assert ("POST", "/_reindex") in endpoints

    async def story(rest: RestNode) -> list[str]:
        wrong = []
        for method, template in endpoints:
            path = template.replace("{", "").replace("}", "")
            answer = await rest.ask(method, f"{path}?anything=1")
            told = f"[{method} {template}] is an endpoint of OpenSearch that taskfan does not serve"
            if answer.status != 501 or (answer.body and told not in answer.json["error"]["reason"]):
                wrong.append(f"{method} {path}: {answer.status}")
        return wrong

    assert with_node(story) == []


def test_what_is_served_is_listed_from_the_table() -> None:
    served = ask("GET", "/_taskfan").json["served"]
    assert {
        "method": "GET",
        "path": "/_tasks/{task_id}",
        "parameters": ["task_id", "wait_for_completion", "timeout"],
    } in served
    assert {entry["path"] for entry in served} == {route.template for route in ROUTES} | {"/_taskfan"}


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/_tasks", "GET"),
        ("HEAD", "/_tasks", "GET"),
        ("PUT", "/_tasks/x/_cancel", "POST"),
        ("GET", "/_tasks/_cancel", "POST"),
        ("POST", "/", "GET,HEAD"),
        ("POST", "/_nosuch", "DELETE,GET,HEAD,PUT"),
        ("POST", "/_update_by_query", "DELETE,GET,HEAD,PUT"),
        ("PATCH", "/_cluster/health", "GET"),
        ("GET", "/_reindex", "POST"),
    ],
)
def test_another_method_is_405_with_those_allowed(method: str, path: str, allow: str) -> None:
    answer = ask(method, f"{path}?a=b")
    assert (answer.status, answer.fields["allow"], answer.fields["content-type"]) == (405, allow, JSON_TYPE)
    if method != "HEAD":
        message = (
            f"Incorrect HTTP method for uri [{path}?a=b] and method [{method}], allowed: [{allow.replace(',', ', ')}]"
        )
        assert answer.json == {"error": message, "status": 405}


def test_options_is_answered_for_every_path() -> None:
    answer = ask("OPTIONS", "/_tasks/x?unknown")
    assert (answer.status, answer.body, answer.fields["allow"]) == (200, b"", "GET")
    assert answer.fields["content-type"] == "text/plain; charset=UTF-8"
    assert "allow" not in ask("OPTIONS", "/_nosuch/x/y").fields


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("/_tasks/a/b", "no handler found for uri [/_tasks/a/b] and method [GET]"),
        ("/_nosuch/x/y?a=b", "no handler found for uri [/_nosuch/x/y] and method [GET]"),
        ("/_cat/nosuch", "no handler found for uri [/_cat/nosuch] and method [GET]"),
        ("/a%20b/x/y", "no handler found for uri [/a b/x/y] and method [GET]"),
        ("/a|b/x/y", "invalid uri has been requested"),
    ],
)
def test_a_path_that_leads_nowhere_is_a_400_without_a_status(target: str, told: str) -> None:
    answer = ask("GET", target)
    assert (answer.status, answer.json) == (400, {"error": told})


def test_a_path_that_cannot_be_decoded_is_taken_for_an_unknown_method() -> None:
    assert reasons(("GET", "/_tasks/%zz")) == [(405, "Unexpected HTTP method, allowed: [GET]")]


# ---------------------------------------------------------------------- order of checks

TWO_IDS = ("X-Opaque-Id: a", "X-Opaque-Id: b")
MULTIPLE = "multiple values for single-valued header [X-Opaque-Id]."


def test_each_check_comes_before_the_next() -> None:
    not_boolean = "Failed to parse value [x] as only [true] or [false] are allowed."
    unescaped = "java.lang.IllegalArgumentException: invalid escape sequence `%zz' at index 0 of: %zz"
    assert reasons(
        ("GET", "/_tasks?a=%zz&pretty=x", *TWO_IDS),
        ("GET", "/_tasks?pretty=x&error_trace=x", *TWO_IDS),
        ("GET", "/_tasks?error_trace=x", *TWO_IDS),
        ("POST", "/_tasks?detailed=x", *TWO_IDS),
        ("POST", "/_tasks?detailed=x"),
        ("GET", "/_tasks?detailed=x&foo=1&group_by=x"),
        ("GET", "/_tasks?foo=1&group_by=x"),
        ("GET", "/_tasks?group_by=x&nodes=data:maybe"),
        ("GET", "/_tasks?nodes=data:maybe"),
    ) == [
        (400, unescaped),
        (400, not_boolean),
        (400, not_boolean),
        (400, MULTIPLE),
        (405, "Incorrect HTTP method for uri [/_tasks?detailed=x] and method [POST], allowed: [GET]"),
        (400, not_boolean),
        (400, "request [/_tasks] contains unrecognized parameter: [foo]"),
        (400, "[group_by] must be one of [nodes], [parents] or [none] but was [x]"),
        (400, "Failed to parse value [maybe] as only [true] or [false] are allowed."),
    ]


@pytest.mark.parametrize(
    ("fields", "status", "told"),
    [
        ([], 406, "Content-Type header [] is not supported"),
        (["Content-Type: text/plain"], 406, "Content-Type header [text/plain] is not supported"),
        (
            ["Content-Type: application/x-www-form-urlencoded"],
            406,
            "Content-Type header [application/x-www-form-urlencoded] is not supported",
        ),
        (["Content-Type: json"], 400, "java.lang.IllegalArgumentException: invalid Content-Type header [json]"),
        (
            ["Content-Type: application/json", "Content-Type: application/json"],
            400,
            "java.lang.IllegalArgumentException: only one Content-Type header should be provided",
        ),
    ],
)
def test_a_body_needs_a_type_that_is_known(fields: list[str], status: int, told: str) -> None:
    answer = ask("GET", "/_tasks?detailed=x", *fields, body=b"{}")
    error = answer.json["error"]
    assert (answer.status, error if isinstance(error, str) else error["reason"]) == (status, told)


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/yaml", "application/x-ndjson; charset=utf-8"]
)
def test_a_body_that_nobody_reads_does_not_matter(content_type: str) -> None:
    answer = ask(
        "POST", "/_tasks/_cancel?actions=nosuch", f"Content-Type: {content_type}", "Accept: application/json", body=b"{"
    )
    assert (answer.status, answer.json) == (200, {"nodes": {}})


def test_a_type_without_a_body_is_not_looked_at_unless_it_is_none() -> None:
    assert ask("GET", "/_tasks", "Content-Type: text/plain").status == 200
    assert ask("GET", "/_tasks", "Content-Type: plain").status == 400


# ---------------------------------------------------------------------- headers


def test_opaque_id_and_request_id_go_into_tasks_and_come_back() -> None:
    answer = ask("GET", "/_tasks?group_by=none", "x-opaque-id: me", "X-REQUEST-ID: short", "X-Other: no")
    assert (answer.fields["x-opaque-id"], answer.fields["x-request-id"]) == ("me", "short")
    assert [task["headers"] for task in answer.json["tasks"]] == [{"X-Opaque-Id": "me", "X-Request-Id": "short"}] * 2


def test_every_answer_names_the_version_and_repeats_the_opaque_id() -> None:
    for method, target in [
        ("GET", "/_nosuch/x/y"),
        ("POST", "/_tasks"),
        ("GET", "/_tasks?a=%"),
        ("OPTIONS", "/_tasks"),
    ]:
        answer = ask(method, target, "X-Opaque-Id: me")
        assert answer.fields["x-opensearch-version"] == "OpenSearch/3.8.0 (opensearch)"
        assert answer.fields["x-opaque-id"] == "me"


def test_equal_values_of_a_header_are_one_and_the_first_of_several_comes_back() -> None:
    assert ask("GET", "/", "X-Opaque-Id: a", "X-Opaque-Id: a").fields["x-opaque-id"] == "a"
    answer = ask("GET", "/", "X-Request-Id: a", "X-Request-Id: b")
    assert answer.json == {"error": "multiple values for single-valued header [X-Request-Id].", "status": 400}
    assert answer.fields["x-request-id"] == "a"


def test_an_empty_opaque_id_is_one_and_other_bytes_are_latin_1() -> None:
    assert ask("GET", "/_tasks?group_by=none", "X-Opaque-Id: ").json["tasks"][0]["headers"] == {"X-Opaque-Id": ""}
    answer = ask("GET", "/_tasks?group_by=none", "X-Opaque-Id: \xc3\xa9")
    assert answer.fields["x-opaque-id"] == "\xc3\xa9"
    assert answer.json["tasks"][0]["headers"] == {"X-Opaque-Id": "\xc3\xa9"}


def test_task_headers_that_are_too_large_are_refused_where_tasks_are_registered() -> None:
    field = f"X-Opaque-Id: {'x' * 9000}"
    answer = ask("GET", "/_tasks", field)
    assert answer.json["error"]["reason"] == "Request exceeded the maximum size of task headers 16kb"
    assert answer.fields["x-opaque-id"] == "x" * 9000
    assert ask("POST", "/_tasks", field).status == 405


# ---------------------------------------------------------------------- bodies of answers


@pytest.mark.parametrize(
    ("target", "content_type", "read"),
    [
        ("/_tasks?format=yaml", "application/yaml", yaml.safe_load),
        ("/_tasks?format=cbor", "application/cbor", cbor2.loads),
        ("/_tasks?format=nosuch", JSON_TYPE, json.loads),
        ("/_cat/tasks?format=yaml", "application/yaml", yaml.safe_load),
        ("/_cat/tasks?format=json", JSON_TYPE, json.loads),
        ("/_tasks?group_by=foo&format=yaml", "application/yaml", yaml.safe_load),
        ("/_nosuch/x/y?format=cbor", "application/cbor", cbor2.loads),
    ],
)
def test_answers_and_errors_come_in_the_format_asked_for(target: str, content_type: str, read: Any) -> None:
    answer = ask("GET", target)
    assert answer.fields["content-type"] == content_type
    assert read(answer.body)


def test_smile_is_a_clear_error() -> None:
    answer = ask("GET", "/_tasks?format=smile")
    assert (answer.status, answer.fields["content-type"]) == (406, JSON_TYPE)
    assert answer.json["error"]["type"] == "not_acceptable_exception"


def test_errors_are_indented_and_never_filtered() -> None:
    answer = ask("GET", "/_tasks?group_by=foo&filter_path=error.type&pretty")
    assert answer.body.startswith(b'{\n  "error" : {\n    "root_cause" : [\n')
    assert answer.json["status"] == 400


def test_a_table_is_text_unless_a_format_is_accepted() -> None:
    assert ask("GET", "/_cat/tasks?h=action,type").body.splitlines() == [
        b"cluster:monitor/tasks/lists    transport",
        b"cluster:monitor/tasks/lists[n] direct",
    ]
    assert ask("GET", "/_cat/tasks?h=type", "Accept: application/json").json == [
        {"type": "transport"},
        {"type": "direct"},
    ]
    assert ask("GET", "/_cat/tasks?h=type&format=text", "Accept: application/json").body == b"transport\ndirect\n"
    assert ask("GET", "/_cat/tasks?nodes=nosuch").body == b""


@pytest.mark.parametrize("encoding", ["gzip", "gzip, deflate, br"])
def test_an_answer_is_compressed_when_that_is_accepted(encoding: str) -> None:
    answer = ask("GET", "/", f"Accept-Encoding: {encoding}")
    assert answer.fields["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(answer.body))["name"] == "n1"


def test_head_has_the_length_of_the_body_and_no_body() -> None:
    async def story(rest: RestNode) -> tuple[Response, Response, Response]:
        connection = await rest.connect()
        head = await connection.ask("HEAD", "/", "Accept-Encoding: gzip")
        # On the same connection: what came after the head would be taken for the next answer.
        missing = await connection.ask("HEAD", "/nosuch")
        return head, missing, await connection.ask("GET", "/")

    head, missing, whole = with_node(story)
    assert (head.status, head.fields["content-length"]) == (200, whole.fields["content-length"])
    assert "content-encoding" not in head.fields
    assert missing.status == 404


def test_a_stack_trace_is_given_when_asked_for() -> None:
    error = ask("GET", "/_tasks?error_trace&timeout=5").json["error"]
    assert error["stack_trace"].startswith("illegal_argument_exception: failed to parse setting [timeout]")
    assert error["root_cause"][0]["stack_trace"] == error["stack_trace"]


# ---------------------------------------------------------------------- what routes answer


@pytest.mark.parametrize(
    ("method", "target", "status", "told"),
    [
        ("GET", "/nosuch", 404, "no such index [nosuch]"),
        ("GET", "/a,b", 404, "no such index [a]"),
        ("DELETE", "/nosuch", 404, "no such index [nosuch]"),
        ("GET", "/_nosuch", 400, "Invalid index name [_nosuch], must not start with '_'."),
        ("DELETE", "/a*?allow_no_indices=false", 404, "no such index [a*]"),
    ],
)
def test_there_are_no_indices(method: str, target: str, status: int, told: str) -> None:
    assert reasons((method, target)) == [(status, told)]


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("DELETE", "/.tasks?ignore_unavailable=true", {"acknowledged": True}),
        ("DELETE", "/golden-src,golden-dest?ignore_unavailable=true", {"acknowledged": True}),
        ("DELETE", "/a*", {"acknowledged": True}),
        ("GET", "/a?ignore_unavailable", {}),
        ("GET", "/_all", {}),
    ],
)
def test_nothing_is_done_to_no_indices(method: str, target: str, body: Any) -> None:
    answer = ask(method, target)
    assert (answer.status, answer.json) == (200, body)


def test_health_has_its_keys_in_order_and_is_408_when_it_waited_in_vain() -> None:
    answer = ask("GET", "/_cluster/health?wait_for_nodes=9&timeout=1ms&human")
    assert answer.status == 408
    assert list(answer.json)[:4] == ["cluster_name", "status", "timed_out", "number_of_nodes"]
    assert list(answer.json)[-4:] == [
        "task_max_waiting_in_queue",
        "task_max_waiting_in_queue_millis",
        "active_shards_percent",
        "active_shards_percent_as_number",
    ]
    assert ask("GET", "/_cluster/health?filter_path=status,timed_out").json == {"status": "green", "timed_out": False}


@pytest.mark.parametrize(
    ("target", "sections"),
    [
        ("/_nodes/http", ["http"]),
        ("/_nodes/_all/transport", ["transport"]),
        ("/_nodes/_local/info/http,transport", ["transport", "http"]),
        ("/_nodes/_local/nosuch", []),
        ("/_nodes/_local", ["transport", "http", "plugins", "modules"]),
    ],
)
def test_sections_of_nodes_are_chosen_by_the_path(target: str, sections: list[str]) -> None:
    told = ask("GET", target).json
    assert told["_nodes"] == {"total": 1, "successful": 1, "failed": 0}
    known = ["settings", "os", "process", "transport", "http", "plugins", "modules"]
    assert [name for name in told["nodes"][NODE_ID] if name in known] == sections


def test_parts_of_the_cluster_state_are_told_and_others_are_501() -> None:
    assert ask("GET", "/_cluster/state/cluster_manager_node").json["cluster_manager_node"] == NODE_ID
    assert ask("GET", "/_cluster/state/nodes").json["nodes"][NODE_ID]["name"] == "n1"
    assert ask("GET", "/_cluster/state/nodes,metadata").status == 501


def test_help_takes_only_what_shapes_a_table() -> None:
    assert ask("GET", "/_cat/tasks?help&v").body.count(b"\n") == 15
    assert reasons(("GET", "/_cat/tasks?help&detailed")) == [
        (400, "request [/_cat/tasks] contains unrecognized parameter: [detailed]")
    ]


def test_work_is_started_from_a_body_of_any_type_compressed_or_not() -> None:
    plan = {"action": "test", "duration": "1ms"}
    bodies = [
        (["Content-Type: application/json"], json.dumps(plan).encode()),
        (["Content-Type: application/yaml", "Accept: application/json"], yaml.safe_dump(plan).encode()),
        (["Content-Type: application/cbor", "Accept: application/json"], cbor2.dumps(plan)),
        (["Content-Type: application/json", "Content-Encoding: gzip"], gzip.compress(json.dumps(plan).encode())),
    ]

    async def story(rest: RestNode) -> list[Any]:
        return [(await rest.ask("POST", "/_taskfan/work", *fields, body=body)).json for fields, body in bodies]

    assert [answer["completed"] for answer in with_node(story)] == [1] * 4


@pytest.mark.parametrize(
    ("fields", "body", "status"),
    [
        (["Content-Type: application/json"], b"{", 400),
        (["Content-Type: application/json"], b'{"nosuch":1}', 400),
        (["Content-Type: application/json", "Content-Encoding: gzip"], b"{}", 400),
        ([], b"", 400),
    ],
)
def test_work_that_cannot_be_read_is_refused(fields: list[str], body: bytes, status: int) -> None:
    assert ask("POST", "/_taskfan/work", *fields, body=body).status == status
