"""The checks that every route shares, in OpenSearch's order, and the form of answers."""

from __future__ import annotations

import gzip
import json
from typing import Any

import cbor2
import pytest
import yaml

from tests.coordinator.rest.rest_node import Response, RestNode, ask, reasons, with_node

JSON_TYPE = "application/json; charset=UTF-8"


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


@pytest.mark.parametrize("path", ["/_bulk", "/i/_bulk", "/_msearch"])
def test_a_body_of_many_lines_is_json(path: str) -> None:
    answer = ask("POST", path, "Content-Type: application/cbor", "Accept: application/json", body=b"{}\n{}\n")
    told = "Content-Type [CBOR] does not support stream parsing. Use JSON or SMILE instead"
    assert (answer.status, answer.json) == (406, {"error": told, "status": 406})


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


@pytest.mark.parametrize(
    ("request_id", "told"),
    [
        ("", "X-Request-Id should not be null or empty"),
        ("x" * 129, "X-Request-Id length [129] exceeds maximum allowed length [128]"),
    ],
)
def test_a_request_id_is_neither_empty_nor_long(request_id: str, told: str) -> None:
    # Before the path is looked at, and after the options.
    for target in ("/_tasks", "/_nosuch/x/y"):
        answer = ask("GET", target, f"X-Request-Id: {request_id}")
        assert (answer.status, answer.json["error"]["reason"]) == (400, told)
    assert "[x]" in ask("GET", "/_tasks?pretty=x", f"X-Request-Id: {request_id}").json["error"]["reason"]
    assert ask("GET", "/_tasks", f"X-Request-Id: {'x' * 128}").status == 200


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
