"""Proves that members of real processes notice who goes, stands still and comes, and always say who is manager."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from taskfan.cluster import Cluster, ClusterError, ClusterNode
from taskfan.cluster.rest_client import RequestFailed, ask
from tests.cluster.processes import wait_until

# A silent node is out after two thirds of a second, a silent manager after a little more than one.
TIME_SCALE = 0.02


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=3, time_scale=TIME_SCALE) as cluster:
        yield cluster


def managers(cluster: Cluster, node: ClusterNode) -> list[str]:
    """Names of the nodes that `GET /_cat/nodes` marks."""
    return [row["name"] for row in cat_nodes(node) if row["cluster_manager"] == "*"]


def cat_nodes(node: ClusterNode) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = ask(node.url, "GET", "/_cat/nodes", {"format": "json"})
    return rows


def names(node: ClusterNode) -> list[str]:
    """The nodes that one of them knows, by `GET /_cluster/state/nodes`."""
    state = ask(node.url, "GET", "/_cluster/state/nodes", {"local": True})
    return sorted(known["name"] for known in state["nodes"].values())


def listed(cluster: Cluster, node: ClusterNode) -> list[str]:
    """The nodes that a list through one of them reached."""
    answer = cluster.list_tasks(node=node, actions="cluster:monitor/tasks/lists*")
    assert "node_failures" not in answer
    return sorted(of_node["name"] for of_node in answer["nodes"].values())


def health(node: ClusterNode, **parameters: Any) -> dict[str, Any]:
    answer: dict[str, Any] = ask(node.url, "GET", "/_cluster/health", parameters)
    return answer


def test_a_killed_follower_is_out_and_lists_do_not_ask_it(cluster: Cluster) -> None:
    first, second, third = cluster.nodes
    third.kill()
    for node in (first, second):
        assert names(node) == listed(cluster, node) == [first.name, second.name]
        assert managers(cluster, node) == [first.name]
    assert health(second, wait_for_nodes=2, timeout="10s")["timed_out"] is False


def test_after_a_killed_manager_another_one_is_marked(cluster: Cluster) -> None:
    first, second, third = cluster.nodes
    assert first.status.is_manager
    first.kill()
    (manager,) = managers(cluster, second)
    assert manager in (second.name, third.name)
    assert managers(cluster, third) == [manager]
    assert [node.name for node in cluster.nodes if node.status.is_manager] == [manager]
    assert ask(third.url, "GET", "/_cat/cluster_manager", {"format": "json"})[0]["node"] == manager
    assert listed(cluster, second) == [second.name, third.name]


def test_a_node_that_stops_by_itself_leaves_at_once(cluster: Cluster) -> None:
    first, second, third = cluster.nodes
    third.stop()
    assert names(first) == names(second) == [first.name, second.name]


def test_a_restarted_node_keeps_its_id_and_numbers_its_tasks_from_one(cluster: Cluster) -> None:
    first, second, third = cluster.nodes
    for _ in range(50):
        cluster.list_tasks(node=third)
    third.restart()
    for node in cluster.nodes:
        assert names(node) == [first.name, second.name, third.name]
    answer = cluster.list_tasks(nodes=third.id, actions="cluster:monitor/tasks/lists[n]")
    (task,) = answer["nodes"][third.id]["tasks"].values()
    assert task["id"] < 50


def test_a_restarted_manager_comes_back_as_a_follower(cluster: Cluster) -> None:
    first, second, _ = cluster.nodes
    first.restart()
    (manager,) = managers(cluster, second)
    assert manager != first.name
    assert managers(cluster, first) == [manager]


def test_a_paused_follower_is_out_after_its_checks_and_back_when_it_goes_on(cluster: Cluster) -> None:
    first, second, third = cluster.nodes
    third.pause()
    wait_until(lambda: names(first) == names(second) == [first.name, second.name], "it is out")
    third.resume()
    for node in cluster.nodes:
        assert listed(cluster, node) == [first.name, second.name, third.name]


def test_a_paused_manager_is_replaced_and_follows_when_it_goes_on(cluster: Cluster) -> None:
    first, second, third = cluster.nodes
    first.pause()
    wait_until(lambda: names(second) == names(third) == [second.name, third.name], "the old one is out")
    first.resume()
    (manager,) = managers(cluster, second)
    assert manager != first.name
    for node in cluster.nodes:
        assert managers(cluster, node) == [manager]
        assert names(node) == [first.name, second.name, third.name]


def test_without_a_majority_there_is_no_manager_but_lists_go_on(cluster: Cluster) -> None:
    first, second, third = cluster.nodes
    second.kill()
    third.kill()
    with pytest.raises(RequestFailed) as failed:
        health(first, cluster_manager_timeout="100ms")
    assert (failed.value.status, failed.value.type) == (503, "cluster_manager_not_discovered_exception")
    for path in ("_cluster/state", "_cluster/settings", "_cat/nodes", "_cat/cluster_manager", "_cat/shards"):
        with pytest.raises(RequestFailed, match="cluster_manager_not_discovered_exception"):
            ask(first.url, "GET", f"/{path}", {"cluster_manager_timeout": "100ms"})
    assert health(first, local=True)["discovered_cluster_manager"] is False
    # The last known state stays: a node that is in it and gone is a failure.
    answer = cluster.list_tasks(node=first)
    assert list(answer["nodes"]) == [first.id]
    assert [failure["caused_by"]["type"] for failure in answer["node_failures"]] == ["node_not_connected_exception"]
    with pytest.raises(ClusterError, match="no manager: too few"):
        cluster.wait_until_ready()


def test_a_cluster_whose_nodes_were_all_stopped_comes_back_one_by_one(cluster: Cluster) -> None:
    before = ask(cluster.url, "GET", "/", {})["cluster_uuid"]
    for node in cluster.nodes:
        node.stop()
    for node in cluster.nodes:
        node.start()
    assert len(managers(cluster, cluster.nodes[0])) == 1
    assert names(cluster.nodes[2]) == [node.name for node in cluster.nodes]
    assert ask(cluster.url, "GET", "/", {})["cluster_uuid"] == before


def test_a_node_that_is_added_is_one_of_them_and_one_that_is_removed_is_forgotten(cluster: Cluster) -> None:
    added = cluster.add("data-1", **{"node.roles": ["data"], "node.attr.zone": "b"})
    assert [node.name for node in cluster.nodes][3:] == ["data-1"]
    assert listed(cluster, added) == names(cluster.nodes[1]) == ["data-1", *(n.name for n in cluster.nodes[:3])]
    assert [row["node.role"] for row in cat_nodes(added) if row["name"] == "data-1"] == ["d"]
    added.remove()
    assert "data-1" not in names(cluster.nodes[0])
    assert [node.name for node in cluster.nodes] == [f"opensearch-node{n}" for n in (1, 2, 3)]
    with pytest.raises(ClusterError, match="was removed"):
        added.status  # noqa: B018


def test_the_manager_can_be_removed_and_a_node_added_in_its_place_votes_like_it(cluster: Cluster) -> None:
    first, second, third = cluster.nodes
    first.remove()
    fourth = cluster.add()
    assert fourth.name == "opensearch-node1"
    assert fourth.id != first.id
    second.kill()
    assert managers(cluster, fourth) in ([third.name], [fourth.name])


def test_a_node_is_not_removed_when_the_rest_could_elect_nobody(cluster: Cluster) -> None:
    first, second, third = cluster.nodes
    third.kill()
    with pytest.raises(ClusterError, match=rf"Node \[{second.name}\] has to stay"):
        second.remove()
    assert names(first) == [first.name, second.name]


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("opensearch-node1", {}, "are both named"),
        ("a/b", {}, "node.name"),
        ("x", {"node.role": "data"}, "unknown setting"),
        ("x", {"cluster.name": "other"}, "belongs to the whole cluster"),
    ],
)
def test_a_node_that_cannot_be_meant_is_not_added(name: str, settings: dict[str, object], reason: str) -> None:
    with Cluster(nodes=1) as cluster:
        with pytest.raises(ClusterError, match=reason):
            cluster.add(name, **settings)
        assert len(cluster.nodes) == 1
