"""Starting work: the plan is checked against this cluster, then its first task runs here."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from taskfan.coordinator.example_plans import example_names, example_path
from taskfan.coordinator.work import render_result, render_started, start_work
from taskfan.node.errors import IllegalArgument, TaskfanError
from tests.node.work_cluster import WorkCluster, play

PLAN = {"action": "indices:data/read/search", "description": "root", "duration": {"min": "1s", "max": "9s"}}


def example(name: str) -> dict[str, Any]:
    path = example_path(name)
    assert path is not None
    plan: dict[str, Any] = yaml.safe_load(path.read_text())
    return plan


def test_work_is_started_at_once_and_its_result_waited_for_later() -> None:
    async def story(cluster: WorkCluster) -> tuple[Any, Any]:
        node = cluster.nodes[1]
        children = [{"action": "good", "nodes": "_all"}, {"action": "bad", "outcome": "failure"}]
        plan = {"action": "root", "duration": "2s", "children": children}
        started = await start_work(node, plan, headers={"X-Opaque-Id": "me"}, seed=5)
        assert cluster.now_s == 0
        assert [(str(task.id), dict(task.headers)) for task in node.registry] == [("n1:1", {"X-Opaque-Id": "me"})]
        response = await started.result()
        assert await started.result() == response
        return json.loads(render_started(started)), json.loads(render_result(started, response, 2000))

    began, ended = play(story)
    assert began == {"task": "n1:1"}
    reason = {"type": "illegal_state_exception", "reason": "simulated failure"}
    failure = {"path": "children[1]", "action": "bad", "node": "n1", "reason": reason}
    assert list(ended.items()) == [
        *(("took", 2000), ("task", "n1:1"), ("seed", 5), ("completed", 4), ("failed", 1), ("cancelled", 0)),
        ("failures", [failure]),
    ]


def test_the_seed_is_that_of_the_plan_then_that_of_the_caller_then_zero() -> None:
    async def story(cluster: WorkCluster) -> tuple[list[int], list[float]]:
        seeds, ends = [], []
        for plan, seed in ((PLAN, None), (PLAN, 3), ({**PLAN, "seed": 4}, 3), ({**PLAN, "seed": 0}, 3)):
            began_s = cluster.now_s
            started = await start_work(cluster.nodes[0], plan, headers={}, seed=seed)
            await started.result()
            seeds.append(started.seed)
            ends.append(round(cluster.now_s - began_s, 3))
        return seeds, ends

    seeds, ends = play(story)
    assert seeds == [0, 3, 4, 0]
    assert ends[0] == ends[3]
    assert len(set(ends)) == 3


@pytest.mark.parametrize(
    ("items", "shown"),
    [
        ("_local", ["n1 child"]),
        ("_cluster_manager", ["n0 child"]),
        ("n*,data:false", []),
        (["_all"], ["n0 child", "n1 child", "n2 child"]),
    ],
)
def test_nodes_are_found_as_for_a_list_of_tasks(items: Any, shown: list[str]) -> None:
    async def story(cluster: WorkCluster) -> list[str]:
        child = {"action": "c", "description": "child", "nodes": items}
        started = await start_work(cluster.nodes[1], {"action": "root", "children": [child]}, headers={})
        await started.result()
        return [f"{node} {what}" for event, node, what in cluster.events if (event, what) == ("registered", "child")]

    if shown:
        assert sorted(play(story)) == shown
    else:
        with pytest.raises(IllegalArgument, match=r"^children\[0\]\.nodes: matches no node: \[n\*,data:false\]$"):
            play(story)


def test_a_bad_plan_starts_nothing() -> None:
    async def story(cluster: WorkCluster) -> list[Any]:
        children = [{"action": "good"}, {"action": "bad", "nodes": "data:maybe"}]
        with pytest.raises(IllegalArgument, match=r"^children\[1\]\.nodes: Failed to parse value \[maybe\]"):
            await start_work(cluster.nodes[0], {"action": "root", "children": children}, headers={})
        return cluster.events

    assert play(story) == []


def test_headers_that_are_too_large_are_refused_to_the_caller() -> None:
    async def story(cluster: WorkCluster) -> None:
        with pytest.raises(IllegalArgument, match="maximum size of task headers"):
            await start_work(cluster.nodes[0], PLAN, headers={"X-Opaque-Id": "x" * 9000})

    play(story)


def test_a_cancelled_root_is_the_error_of_the_result() -> None:
    async def story(cluster: WorkCluster) -> None:
        started = await start_work(cluster.nodes[0], PLAN, headers={})
        await cluster.cancel(started.task, reason="channel closed")
        with pytest.raises(TaskfanError, match=r"^cancelled task with reason: channel closed$") as caught:
            await started.result()
        assert (caught.value.kind, caught.value.http_status) == ("task_cancelled_exception", 500)

    play(story)


def test_four_plans_ship_by_name() -> None:
    assert example_names() == ["bulk_with_replicas", "reindex", "search_fan_out", "stubborn_children"]
    assert example_path("nothing_such") is None


@pytest.mark.parametrize("nodes", [1, 3])
@pytest.mark.parametrize("name", ["bulk_with_replicas", "reindex", "search_fan_out"])
def test_an_example_runs_to_its_end_without_a_failure(name: str, nodes: int) -> None:
    async def story(cluster: WorkCluster) -> tuple[int, int, int]:
        started = await start_work(cluster.nodes[0], example(name), headers={})
        response = await started.result()
        assert cluster.now_s < 60
        return response.completed, response.failed, response.cancelled

    # By number of nodes; a replica needs a second one, and the reindex searches on each.
    completed = {"bulk_with_replicas": {1: 7, 3: 10}, "reindex": {1: 21, 3: 25}, "search_fan_out": {1: 14, 3: 14}}
    assert play(story, nodes) == (completed[name][nodes], 0, 0)


def test_the_stubborn_children_of_the_example_outlive_their_cancel() -> None:
    async def story(cluster: WorkCluster) -> list[list[str]]:
        started = await start_work(cluster.nodes[0], example("stubborn_children"), headers={})
        await cluster.clock.sleep(1)
        await cluster.cancel(started.task)
        shown = []
        for seconds in (1, 6, 10):
            await cluster.clock.sleep(seconds)
            shown.append([f"{node.local.name} {task.action}" for node in cluster.nodes for task in node.registry])
        with pytest.raises(TaskfanError, match="by user request"):
            await started.result()
        assert cluster.now_s == pytest.approx(30, abs=0.1)
        return shown

    root, ignores, bulk = "indices:data/read/msearch", "indices:data/read/search[ignores]", "indices:data/write/bulk[s]"
    late = "indices:data/read/search[stops_late]"
    assert play(story) == [
        [f"n0 {root}", f"n0 {late}", f"n0 {ignores}", f"n0 {bulk}", f"n1 {late}", f"n2 {late}"],
        [f"n0 {root}", f"n0 {ignores}", f"n0 {bulk}"],
        [f"n0 {root}", f"n0 {ignores}"],
    ]
