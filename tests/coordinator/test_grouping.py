"""An answer as a JSON body: grouped by nodes, by parents and not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskfan.coordinator.grouping import GroupBy, render
from taskfan.coordinator.merge import TasksAnswer, merge
from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.errors import NodeDisconnected, NoSuchNode, TaskNotFound
from taskfan.node.failures import NodeFailure, TaskFailure
from taskfan.node.ids import TaskId
from taskfan.v1 import actions_pb2 as pb
from taskfan.v1 import task_pb2

NODE = DiscoveryNode("A", "node-a", "eph", "127.0.0.1", "127.0.0.1:9300", "127.0.0.1:9200", ("data",), {"zone": "z"})
BARE = DiscoveryNode("B", 'odd"%d name', "eph", "127.0.0.1", "127.0.0.1:9301", "127.0.0.1:9201", (), {})
STATE = ClusterState("c", "uuid", 1, (NODE, BARE), manager_id="A")


Entries = Sequence[tuple[int, str]]


def tasks(node_id: str, entries: Entries, group_by: GroupBy = "nodes") -> task_pb2.RenderedTasks:
    """Tasks as a node renders them for a grouping, given by their numbers and parents."""
    join = {
        "nodes": lambda: b",".join(b'"%b:%d":{"id":%d}' % (node_id.encode(), number, number) for number, _ in entries),
        "none": lambda: b",".join(b'{"id":%d}' % number for number, _ in entries),
        "parents": lambda: b"\n".join(
            b'"%b:%d":\n%b\n{"id":%d}'
            % (node_id.encode(), number, b'"%b":' % parent.encode() if parent else b"", number)
            for number, parent in entries
        ),
    }
    return task_pb2.RenderedTasks(numbers=[number for number, _ in entries], bodies=join[group_by]())


def answer(group_by: GroupBy, nodes: Sequence[tuple[str, Entries]]) -> TasksAnswer:
    return TasksAnswer([(node_id, tasks(node_id, entries, group_by)) for node_id, entries in nodes])


def body(found: TasksAnswer, group_by: GroupBy) -> Any:
    return json.loads(b"".join(render(found, group_by, STATE)))


def test_by_nodes_each_node_with_tasks_shows_itself_and_them() -> None:
    found = answer("nodes", [("A", [(1, ""), (2, "A:1")]), ("B", [(1, "A:1")]), ("gone", [(9, "")])])
    assert body(found, "nodes") == {
        "nodes": {
            "A": {
                "name": "node-a",
                "transport_address": "127.0.0.1:9300",
                "host": "127.0.0.1",
                "ip": "127.0.0.1:9300",
                "roles": ["data"],
                "attributes": {"zone": "z"},
                "tasks": {"A:1": {"id": 1}, "A:2": {"id": 2}},
            },
            "B": {
                "name": 'odd"%d name',
                "transport_address": "127.0.0.1:9301",
                "host": "127.0.0.1",
                "ip": "127.0.0.1:9301",
                "roles": [],
                "tasks": {"B:1": {"id": 1}},
            },
            "gone": {"tasks": {"gone:9": {"id": 9}}},
        }
    }


def test_by_nodes_a_node_without_tasks_is_left_out() -> None:
    assert list(body(answer("nodes", [("A", []), ("B", [(1, "")])]), "nodes")["nodes"]) == ["B"]


def test_by_parents_children_stand_in_their_parent_wherever_they_ran() -> None:
    found = answer("parents", [("A", [(1, ""), (2, "B:1")]), ("B", [(1, "A:1"), (2, "A:1"), (3, "far:7")])])
    assert body(found, "parents") == {
        "tasks": {
            "A:1": {"id": 1, "children": [{"id": 1, "children": [{"id": 2}]}, {"id": 2}]},
            "B:3": {"id": 3},
        }
    }


def test_ungrouped_tasks_come_in_the_order_of_nodes_and_numbers() -> None:
    assert body(answer("none", [("A", [(1, ""), (2, "")]), ("B", [(1, "")])]), "none") == {
        "tasks": [{"id": 1}, {"id": 2}, {"id": 1}]
    }


@pytest.mark.parametrize(
    ("group_by", "empty"), [("nodes", {"nodes": {}}), ("parents", {"tasks": {}}), ("none", {"tasks": []})]
)
def test_nothing_is_an_empty_object_or_list(group_by: GroupBy, empty: dict[str, Any]) -> None:
    assert body(TasksAnswer(), group_by) == empty
    assert body(answer(group_by, [("A", [])]), group_by) == empty


def test_failures_come_first_and_only_when_there_are_any() -> None:
    failed = TasksAnswer(
        task_failures=[TaskFailure(TaskId("A", 7), NodeDisconnected("b", "127.0.0.1:1", "internal:admin/tasks/ban"))],
        node_failures=[NodeFailure("N", NoSuchNode("N")), NodeFailure("A", TaskNotFound("A:9"))],
    )
    shown = body(failed, "none")
    assert list(shown) == ["task_failures", "node_failures", "tasks"]
    assert shown["task_failures"] == [
        {
            "task_id": 7,
            "node_id": "A",
            "status": "INTERNAL_SERVER_ERROR",
            "reason": {
                "type": "node_disconnected_exception",
                "reason": "[b][127.0.0.1:1][internal:admin/tasks/ban] disconnected",
            },
        }
    ]
    assert shown["node_failures"] == [
        {
            "type": "failed_node_exception",
            "reason": "Failed node [N]",
            "node_id": "N",
            "caused_by": {"type": "no_such_node_exception", "reason": "No such node [N]", "node_id": "N"},
        },
        {
            "type": "failed_node_exception",
            "reason": "Failed node [A]",
            "node_id": "A",
            "caused_by": {"type": "resource_not_found_exception", "reason": "task [A:9] is not found"},
        },
    ]


def test_merging_keeps_the_order_in_which_nodes_were_asked() -> None:
    failed = NodeFailure("B", NoSuchNode("B"))
    stuck = TaskFailure(TaskId("C", 3), TaskNotFound("C:3"))
    merged = merge(
        [
            ("C", pb.NodeTasksResponse(tasks=tasks("C", [(3, "")]), task_failures=[stuck.to_wire()])),
            ("B", failed),
            ("A", pb.NodeTasksResponse(tasks=tasks("A", [(1, "")]))),
        ],
        asking_node_id="A",
    )
    assert [node_id for node_id, _ in merged.nodes] == ["C", "A"]
    assert merged.node_failures == [failed]
    assert [(failure.task_id, failure.reason.reason) for failure in merged.task_failures] == [
        (TaskId("C", 3), "task [C:3] is not found")
    ]


@given(
    st.lists(
        st.tuples(st.sampled_from("AB"), st.integers(1, 9), st.sampled_from("ABC"), st.integers(0, 9)),
        unique_by=lambda entry: entry[:2],
        max_size=16,
    )
)
def test_every_grouping_shows_every_task_once(entries: list[tuple[str, int, str, int]]) -> None:
    # A parent always has the smaller number, as it has in a cluster, so there are no circles.
    by_node: dict[str, list[tuple[int, str]]] = {"A": [], "B": []}
    for node_id, number, parent_node, parent in entries:
        by_node[node_id].append((number, f"{parent_node}:{parent}" if 0 < parent < number else ""))
    shown: dict[GroupBy, Any] = {
        group_by: body(answer(group_by, list(by_node.items())), group_by) for group_by in get_args(GroupBy)
    }
    by_nodes = sum(len(node["tasks"]) for node in shown["nodes"]["nodes"].values())
    by_parents = json.dumps(shown["parents"]).count('"id":')
    assert by_nodes == by_parents == len(shown["none"]["tasks"]) == len(entries)


def test_a_chain_of_ten_thousand_generations_is_rendered() -> None:
    chain = [(number, f"A:{number - 1}" if number > 1 else "") for number in range(1, 10_001)]
    text = b"".join(render(answer("parents", [("A", chain)]), "parents", STATE))
    assert text.startswith(b'{"tasks":{"A:1":{"id":1,"children":[{"id":2,"children":[')
    assert text.count(b'"children":[') == text.count(b"]}") == 9_999
