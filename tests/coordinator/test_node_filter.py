"""`nodes=` to nodes: every item of the grammar, and how they combine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskfan.coordinator.node_filter import resolve
from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.errors import IllegalArgument


def node(name: str, roles: tuple[str, ...], **attributes: str) -> DiscoveryNode:
    return DiscoveryNode(
        f"id-{name}", name, f"eph-{name}", "127.0.0.1", "127.0.0.1:9300", "127.0.0.1:9200", roles, attributes
    )


MANAGER = node("manager1", ("cluster_manager", "data", "ingest"), zone="eu-1", rack="r1")
DATA = node("data1", ("data", "ml"), zone="eu-2")
FRONT = node("front", ())
STATE = ClusterState("c", "uuid", 1, (MANAGER, DATA, FRONT), manager_id=MANAGER.id)


def names(*items: str, local: DiscoveryNode = FRONT) -> list[str]:
    return [found.name for found in resolve(items, STATE, local.id)]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], ["manager1", "data1", "front"]),
        (["_all"], ["manager1", "data1", "front"]),
        (["_local"], ["front"]),
        (["_master"], ["manager1"]),
        (["_cluster_manager"], ["manager1"]),
        (["id-data1"], ["data1"]),
        (["data1"], ["data1"]),
        (["*r1"], ["manager1"]),
        (["*A*"], []),
        (["127.0.0.*"], ["manager1", "data1", "front"]),
        (["127.0.0.1:9300"], []),
        (["nosuch"], []),
        ([""], []),
        (["data:true"], ["manager1", "data1"]),
        (["data:"], ["manager1", "data1"]),
        (["data:false"], []),
        (["_all", "data:false"], ["front"]),
        (["data:false", "_all"], ["manager1", "data1", "front"]),
        (["cluster_manager:true"], ["manager1"]),
        (["_all", "master:false"], ["data1", "front"]),
        (["ingest:true"], ["manager1"]),
        (["coordinating_only:true"], ["front"]),
        (["_all", "coordinating_only:false"], ["manager1", "data1"]),
        (["ml:true"], ["data1"]),
        (["_all", "ml:false"], ["manager1", "front"]),
        (["search:true"], []),
        (["zone:eu-*"], ["manager1", "data1"]),
        (["z*:*2"], ["data1"]),
        (["rack:r1", "data1"], ["manager1", "data1"]),
        (["_all", "-data1"], ["manager1", "data1", "front"]),
        (["!data1"], []),
        (["data1", "id-data1", "_all"], ["manager1", "data1", "front"]),
    ],
)
def test_each_item_adds_or_removes_the_nodes_it_means(items: list[str], expected: list[str]) -> None:
    assert names(*items) == expected


@pytest.mark.parametrize("item", ["data:maybe", "master:TRUE", "ingest:1", "coordinating_only:yes", "ml:perhaps"])
def test_a_role_with_a_value_that_is_no_boolean_refuses_the_whole_filter(item: str) -> None:
    with pytest.raises(IllegalArgument, match=r"as only \[true\] or \[false\] are allowed"):
        names("_all", item)


def test_without_a_manager_its_items_mean_nobody() -> None:
    state = ClusterState("c", "uuid", 1, (MANAGER, DATA))
    assert resolve(["_master", "_cluster_manager"], state, DATA.id) == []


@given(st.lists(st.text("abdeftmlnoru1_*:-.!", max_size=12), max_size=5))
def test_any_filter_gives_known_nodes_once_each_in_the_order_of_the_state_or_is_refused(items: list[str]) -> None:
    try:
        found = resolve(items, STATE, FRONT.id)
    except IllegalArgument:
        return
    assert found == [known for known in STATE if known in found]
