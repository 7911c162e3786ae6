"""The table of routes: what is served, what is not, and what the routes around tasks answer."""

from __future__ import annotations

import gzip
import json
import re
import urllib.parse
from typing import Any

import cbor2
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskfan.coordinator.rest.missing_endpoints import missing_endpoints
from taskfan.coordinator.rest.parameters import EVERYWHERE, text
from taskfan.coordinator.rest.routes import ROUTES, Route
from tests.coordinator.rest.rest_node import NODE_ID, RestNode, ask, reasons, with_node

JSON_TYPE = "application/json; charset=UTF-8"


# ---------------------------------------------------------------------- routes


def test_every_served_get_without_a_name_in_its_path_answers() -> None:
    async def story(rest: RestNode) -> dict[str, int]:
        paths = [route.template for route in ROUTES if route.method == "GET" and "{" not in route.template]
        return {path: (await rest.ask("GET", path)).status for path in [*paths, "/_taskfan"]}

    statuses = with_node(story)
    # These need a body.
    assert [statuses.pop(path) for path in ("/_mget", "/_msearch", "/_search/scroll")] == [400, 400, 400]
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
    assert ("GET", "/_cluster/stats") in endpoints

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
        ("POST", "/", "DELETE,GET,HEAD"),
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


def test_the_cluster_state_is_told_whole_or_in_parts() -> None:
    told = {"cluster_name", "cluster_uuid"}
    whole = ask("GET", "/_cluster/state").json
    assert " ".join(whole) == (
        "cluster_name cluster_uuid version state_uuid master_node cluster_manager_node "
        "blocks nodes metadata routing_table routing_nodes"
    )
    assert whole["blocks"] == {}
    assert ask("GET", "/_cluster/state/_all").json == whole
    part = ask("GET", "/_cluster/state/nodes,cluster_manager_node,nosuch").json
    assert set(part) == {*told, "nodes", "cluster_manager_node"}
    assert part["cluster_manager_node"] == NODE_ID
    assert part["nodes"][NODE_ID]["name"] == "n1"
    assert set(ask("GET", "/_cluster/state/nosuch").json) == told


def test_help_takes_only_what_shapes_a_table() -> None:
    assert ask("GET", "/_cat/tasks?help&v").body.count(b"\n") == 15
    assert reasons(("GET", "/_cat/tasks?help&actions=x"), ("GET", "/_cat/indices?help&local")) == [
        (400, "request [/_cat/tasks] contains unrecognized parameter: [actions]"),
        (400, "request [/_cat/indices] contains unrecognized parameter: [local]"),
    ]


def test_help_takes_what_changes_the_columns_or_the_rows() -> None:
    assert ask("GET", "/_cat/tasks?help&detailed").body.count(b"\n") == 17
    assert ask("GET", "/_cat/indices?help&health=no_colour").status == 200


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


ODD = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["", "true", "-1", "unset", "_all", "*", "a:b:c", "n:1", ":5", "9223372036854775807d", "%zz", "a,,b"]
    ),
)
QUERIES = st.dictionaries(st.sampled_from(range(20)), ODD, max_size=3)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(ROUTES), ODD, QUERIES), min_size=1, max_size=20))
def test_no_value_of_a_parameter_is_a_bug(requests: list[tuple[Route, str, dict[int, str]]]) -> None:
    async def story(rest: RestNode) -> list[str]:
        bugs = []
        for route, part, chosen in requests:
            names = [known.name for known in (*route.parameters, *map(text, EVERYWHERE))]
            query = {names[at % len(names)]: value for at, value in chosen.items()}
            # Nothing is to be waited for here.
            query = query | ({"timeout": "0"} if "timeout" in names else {"wait_for_completion": "false"})
            path = re.sub(r"\{\w+\}", urllib.parse.quote(part, safe=":*,") or "x", route.template)
            answer = await rest.ask(route.method, f"{path}?{urllib.parse.urlencode(query)}")
            if answer.status == 500 and b"sort key" not in answer.body:
                bugs.append(f"{route.method} {path} {query}: {answer.body.decode()}")
        return bugs

    assert with_node(story) == []
