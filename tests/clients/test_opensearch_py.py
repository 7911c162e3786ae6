"""What a user of opensearch-py does with tasks works against a cluster, unchanged."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from opensearchpy.exceptions import NotFoundError, RequestError, TransportError

from taskfan.cluster import Cluster

SEARCH, PHASE = "indices:data/read/search", "indices:data/read/search[phase/query]"
PLAN = {
    "action": SEARCH,
    "description": "indices[logs]",
    "duration": "until_cancelled",
    "children": [{"action": PHASE, "nodes": "_all", "duration": "until_cancelled"}],
}
LIMIT_S = 30.0


def tasks_of(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The tasks of a list by nodes, by their ids."""
    return {task_id: task for node in answer["nodes"].values() for task_id, task in node["tasks"].items()}


@pytest.fixture
def search(client: Any) -> Iterator[str]:
    """The id of a search that runs with one child on each node until it is cancelled."""
    path = "/_taskfan/work"
    headers = {"X-Opaque-Id": "my-search"}
    asked = {"wait_for_completion": "false"}
    started = client.transport.perform_request("POST", path, params=asked, headers=headers, body=PLAN)
    task_id = str(started["task"])
    deadline = time.monotonic() + LIMIT_S
    while len(tasks_of(client.tasks.list(actions=f"{SEARCH}*"))) < 4:
        assert time.monotonic() < deadline, "the children did not start"
    yield task_id
    client.tasks.cancel(actions=f"{SEARCH}*", wait_for_completion=True)


def test_info_and_ping_are_those_of_an_opensearch(client: Any, cluster: Cluster) -> None:
    info = client.info()
    assert info["name"] == cluster.nodes[0].name
    assert info["version"]["distribution"] == "opensearch"
    assert info["version"]["number"].startswith("3.")
    assert client.ping() is True


def test_the_cluster_is_healthy_with_all_its_nodes(client: Any) -> None:
    health = client.cluster.health(wait_for_nodes="3", wait_for_status="green")
    assert (health["status"], health["number_of_nodes"], health["timed_out"]) == ("green", 3, False)


def test_the_list_shows_itself_as_one_task_with_a_child_on_each_node(client: Any, cluster: Cluster) -> None:
    answer = client.tasks.list()
    assert {node["name"] for node in answer["nodes"].values()} == {node.name for node in cluster.nodes}
    tasks = tasks_of(answer)
    roots = [task_id for task_id, task in tasks.items() if task["action"] == "cluster:monitor/tasks/lists"]
    assert len(roots) == 1
    children = [task for task in tasks.values() if task["action"] == "cluster:monitor/tasks/lists[n]"]
    assert [child["parent_task_id"] for child in children] == roots * 3
    assert sorted(child["type"] for child in children) == ["direct", "transport", "transport"]


def test_a_list_by_parents_shows_the_tree(client: Any, search: str) -> None:
    answer = client.tasks.list(actions=[f"{SEARCH}*"], group_by="parents", detailed=True)
    assert list(answer["tasks"]) == [search]
    root = answer["tasks"][search]
    assert (root["action"], root["description"]) == (SEARCH, "indices[logs]")
    assert [child["action"] for child in root["children"]] == [PHASE] * 3
    assert len({child["node"] for child in root["children"]}) == 3


def test_a_list_filters_by_parent_and_node(client: Any, cluster: Cluster, search: str) -> None:
    flat = client.tasks.list(parent_task_id=search, group_by="none")["tasks"]
    assert [(task["action"], task["parent_task_id"]) for task in flat] == [(PHASE, search)] * 3
    on_two = client.tasks.list(nodes=cluster.nodes[1].name, actions=[PHASE])
    assert [node["name"] for node in on_two["nodes"].values()] == [cluster.nodes[1].name]
    assert len(tasks_of(on_two)) == 1


def test_descendants_carry_the_opaque_id_of_the_request_that_began_it_all(client: Any, search: str) -> None:
    tasks = tasks_of(client.tasks.list(actions=f"{SEARCH}*"))
    assert [task["headers"] for task in tasks.values()] == [{"X-Opaque-Id": "my-search"}] * 4


def test_get_shows_a_running_task(client: Any, search: str) -> None:
    answer = client.tasks.get(task_id=search)
    assert answer["completed"] is False
    task = answer["task"]
    assert (f"{task['node']}:{task['id']}", task["action"], task["cancellable"]) == (search, SEARCH, True)


def test_cancel_ends_a_task_and_its_children_everywhere(client: Any, search: str) -> None:
    cancelled = tasks_of(client.tasks.cancel(task_id=search, wait_for_completion=True))
    assert list(cancelled) == [search]
    assert cancelled[search]["cancelled"] is True
    assert client.tasks.list(actions=f"{SEARCH}*")["nodes"] == {}
    with pytest.raises(NotFoundError) as refused:
        client.tasks.get(task_id=search)
    assert (refused.value.status_code, refused.value.error) == (404, "resource_not_found_exception")


def test_cancel_by_action_takes_what_matches_only(client: Any, search: str) -> None:
    cancelled = tasks_of(client.tasks.cancel(actions=SEARCH, wait_for_completion=True))
    assert list(cancelled) == [search]
    assert client.tasks.cancel(actions="*nosuch") == {"nodes": {}}


def test_a_cancel_of_no_task_is_a_failure_inside_the_answer(client: Any, cluster: Cluster) -> None:
    node_id = next(iter(client.tasks.list(nodes="_local")["nodes"]))
    answer = client.tasks.cancel(task_id=f"{node_id}:999999999")
    assert answer["nodes"] == {}
    assert answer["node_failures"][0]["caused_by"] == {
        "type": "resource_not_found_exception",
        "reason": f"task [{node_id}:999999999] is not found",
    }


def test_cat_tasks_comes_as_a_table_and_as_json(client: Any, search: str) -> None:
    rows = [
        line.split() for line in client.cat.tasks(params={"actions": PHASE, "h": "action,parent_task_id"}).splitlines()
    ]
    assert rows == [[PHASE, search]] * 3
    objects = client.cat.tasks(params={"actions": SEARCH, "format": "json", "h": "task_id,x_opaque_id"})
    assert objects == [{"task_id": search, "x_opaque_id": "my-search"}]


def test_a_wrong_parameter_is_a_request_error_with_opensearchs_words(client: Any) -> None:
    with pytest.raises(RequestError, match="must be one of") as refused:
        client.tasks.list(group_by="foo")
    assert (refused.value.status_code, refused.value.error) == (400, "illegal_argument_exception")
    with pytest.raises(RequestError, match="malformed task id"):
        client.tasks.get(task_id="foo")


def test_a_path_nobody_serves_is_an_error_and_never_an_empty_success(client: Any) -> None:
    with pytest.raises(TransportError) as refused:
        client.search(index="logs", body={"query": {"match_all": {}}})
    assert refused.value.status_code in (404, 501)
