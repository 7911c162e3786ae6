"""Paths find their routes as in OpenSearch's trie, and 405 is told from 400."""

from __future__ import annotations

import pytest

from taskfan.coordinator.rest.paths import PathTrie


def trie() -> PathTrie[str]:
    table: PathTrie[str] = PathTrie()
    for method, template in [
        ("GET", "/"),
        ("GET", "/_tasks"),
        ("GET", "/_tasks/{task_id}"),
        ("POST", "/_tasks/_cancel"),
        ("POST", "/_tasks/{task_id}/_cancel"),
        ("POST", "/_update_by_query/{task_id}/_rethrottle"),
        ("GET", "/{index}"),
        ("PUT", "/{index}"),
        ("POST", "/{index}/_search"),
    ]:
        table.add(method, template, f"{method} {template}")
    return table


def found(method: str, path: str) -> tuple[str, dict[str, str]] | None:
    """The first of the four tries that leads to the method."""
    for match in trie().matches(path):
        if match is not None and method in match.methods:
            return match.methods[method], dict(match.named)
    return None


@pytest.mark.parametrize(
    ("method", "path", "template", "named"),
    [
        ("GET", "/", "GET /", {}),
        ("GET", "", "GET /", {}),
        ("GET", "/_tasks", "GET /_tasks", {}),
        ("GET", "/_tasks/", "GET /_tasks", {}),
        ("GET", "/_tasks///", "GET /_tasks", {}),
        ("GET", "/_tasks/n:1", "GET /_tasks/{task_id}", {"task_id": "n:1"}),
        ("GET", "/_tasks/n%3A1/", "GET /_tasks/{task_id}", {"task_id": "n%3A1"}),
        ("POST", "/_tasks/_cancel", "POST /_tasks/_cancel", {}),
        ("POST", "/_tasks/n:1/_cancel", "POST /_tasks/{task_id}/_cancel", {"task_id": "n:1"}),
        ("GET", "/anything", "GET /{index}", {"index": "anything"}),
        ("GET", "/_update_by_query", "GET /{index}", {"index": "_update_by_query"}),
        ("POST", "/a/_search", "POST /{index}/_search", {"index": "a"}),
        ("POST", "/_tasks/_search", "POST /{index}/_search", {"index": "_tasks"}),
    ],
)
def test_a_path_finds_its_route(method: str, path: str, template: str, named: dict[str, str]) -> None:
    match = found(method, path)
    assert match is not None
    assert match[0] == template
    assert named.items() <= match[1].items()


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/_tasks", ["GET"]),
        ("/_tasks/x", ["GET"]),
        ("/_tasks/_cancel", ["POST"]),
        ("/_tasks/x/_cancel", ["POST"]),
        ("/_nosuch", ["GET", "PUT"]),
        ("/_tasks/a/b", []),
        ("/_nosuch/x/y", []),
        ("//_tasks", []),
    ],
)
def test_the_methods_of_a_path_are_those_of_all_tries(path: str, methods: list[str]) -> None:
    assert trie().methods(path) == methods
