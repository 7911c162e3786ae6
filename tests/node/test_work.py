"""Simulated work: its tasks run, end and take a cancel as their plan says, through the ordinary path."""

from __future__ import annotations

import json
from typing import Any

import pytest

from taskfan.node.task import Task
from taskfan.node.task_json import render
from taskfan.v1 import actions_pb2 as pb
from tests.node.work_cluster import WorkCluster, play

SEARCH, SHARD = "indices:data/read/search", "indices:data/read/search[phase/query]"


def task(description: str, *children: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"action": SEARCH, "description": description, "children": list(children), **more}


# ---------------------------------------------------------------------- running


def test_a_task_is_listed_under_its_plans_action_with_description_status_and_headers() -> None:
    async def story(cluster: WorkCluster) -> dict[str, Any]:
        status = {"phase": "primary", "shards": [1, 2]}
        await cluster.work(task("root", duration="1s", status=status, cancellable=False))
        (root,) = cluster.tasks("root")
        shown: dict[str, Any] = json.loads(render(root, root.start_ns, pb.TaskRendering(detailed=True)))
        await cluster.clock.sleep(1)
        return shown

    shown = play(story)
    assert (shown["node"], shown["action"], shown["type"]) == ("n0", SEARCH, "transport")
    assert shown["status"] == {"phase": "primary", "shards": [1, 2]}
    assert (shown["description"], shown["cancellable"]) == ("root", False)


def test_children_run_where_the_plan_says_with_types_as_in_opensearch() -> None:
    async def story(cluster: WorkCluster) -> list[str]:
        here = task("executed", duration="1s", via="execute")
        everywhere = task("sent", duration="1s", nodes="_all")
        await cluster.work(task("root", here, everywhere))
        await cluster.until(lambda: len(cluster.shown()) == 5)
        running = [task for node in cluster.nodes for task in node.registry]
        shown = [f"{task.id.node_id} {task.type} {task.traits.description} < {task.parent}" for task in running]
        await cluster.clock.sleep(1)
        return shown

    assert play(story) == [
        "n0 transport root < unset",
        "n0 transport executed < n0:1",
        "n0 direct sent < n0:1",
        "n1 transport sent < n0:1",
        "n2 transport sent < n0:1",
    ]


def test_copies_are_dealt_to_the_nodes_in_turn_and_numbered_in_the_description() -> None:
    async def story(cluster: WorkCluster) -> list[str]:
        leaf = task("copy of {n}", duration="1s")
        await cluster.work(task("root", task("shard {n}", leaf, nodes="_all", copies=4)))
        await cluster.until(lambda: len(cluster.shown()) == 9)
        shown = cluster.shown()
        await cluster.clock.sleep(2)
        return shown

    assert play(story) == [
        *("n0 root", "n0 shard 0", "n0 shard 3", "n0 copy of 0", "n0 copy of 3"),
        *("n1 shard 1", "n1 copy of 1", "n2 shard 2", "n2 copy of 2"),
    ]


@pytest.mark.parametrize(
    ("nodes", "replicas"),
    [(3, ["n1 replica 0", "n2 replica 1", "n0 replica 2"]), (1, [])],
    ids=["on the next node", "on none where there is no other"],
)
def test_a_replica_runs_on_another_node_than_its_primary(nodes: int, replicas: list[str]) -> None:
    async def story(cluster: WorkCluster) -> list[str]:
        replica = task("replica {n}", duration="1s", nodes="_all", copies=1, except_parent_node=True)
        await cluster.work(task("root", task("shard {n}", replica, nodes="_all", copies=3)))
        await cluster.clock.sleep(3)
        return [f"{node} {what}" for event, node, what in cluster.events if event == "registered" and "replica" in what]

    assert sorted(play(story, nodes)) == sorted(replicas)


def test_a_parent_ends_after_its_own_time_and_all_its_children() -> None:
    async def story(cluster: WorkCluster) -> list[float]:
        ends = []
        for own, childs in (("3s", "1s"), ("1s", "3s"), ("0", "2s")):
            began_s = cluster.now_s
            await cluster.to_the_end(await cluster.work(task("root", task("child", duration=childs), duration=own)))
            ends.append(round(cluster.now_s - began_s, 3))
        return ends

    assert play(story) == [3.0, 3.0, 2.0]


def test_a_sequence_runs_entry_after_entry_each_with_all_its_copies_at_once() -> None:
    async def story(cluster: WorkCluster) -> list[tuple[str, str]]:
        query = task("query", duration="1s", copies=2)
        fetch = task("fetch", duration="1s", start_after="2s")
        await cluster.to_the_end(await cluster.work(task("root", query, fetch, sequential=True)))
        assert cluster.now_s == 4.0
        return [(event, what) for event, _, what in cluster.events]

    assert play(story) == [
        *(("registered", what) for what in ("root", "query", "query")),
        *(("unregistered", what) for what in ("query", "query")),
        *(("registered", "fetch"), ("unregistered", "fetch"), ("unregistered", "root")),
    ]


def test_children_in_parallel_start_each_after_its_delay() -> None:
    async def story(cluster: WorkCluster) -> list[str]:
        late, early = task("late", start_after="2s"), task("early", start_after="1s")
        await cluster.to_the_end(await cluster.work(task("root", late, early, task("at once"))))
        assert cluster.now_s == 2.0
        return [what for event, _, what in cluster.events if event == "registered"]

    assert play(story) == ["root", "at once", "early", "late"]


def test_the_same_seed_gives_the_same_tree_and_another_seed_another() -> None:
    plan = task(
        "root",
        task(
            "shard {n}",
            duration={"min": "1s", "max": "9s"},
            start_after={"min": "0", "max": "5s"},
            nodes="_all",
            copies=9,
        ),
        task("late", task("leaf"), duration={"min": "1s", "max": "9s"}),
    )

    def run(seed: int) -> list[tuple[str, str, str]]:
        async def story(cluster: WorkCluster) -> list[tuple[str, str, str]]:
            await cluster.to_the_end(await cluster.work(plan, seed=seed))
            return cluster.events

        return play(story)

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_more_children_than_fit_in_one_turn_all_run() -> None:
    async def story(cluster: WorkCluster) -> int:
        running = await cluster.work(task("root", task("leaf", nodes="_all", copies=1000)))
        return (await cluster.to_the_end(running)).response.completed

    assert play(story) == 1001


# ---------------------------------------------------------------------- failing


def test_a_failed_child_leaves_its_parent_at_work_and_is_told_in_the_result() -> None:
    async def story(cluster: WorkCluster) -> pb.WorkResponse:
        failure = {"type": "circuit_breaking_exception", "reason": "[parent] Data too large", "status": 429}
        bad = task("bad", outcome="failure", failure=failure, nodes=["n1"])
        running = await cluster.work(task("root", task("middle", bad, task("good"), nodes=["n2"]), duration="1s"))
        return (await cluster.to_the_end(running)).response

    response = play(story)
    assert (response.completed, response.failed, response.cancelled) == (3, 1, 0)
    (failure,) = response.failures
    assert (failure.path, failure.node_id, failure.action) == ("children[0].children[0]", "n1", SEARCH)
    error = failure.error
    assert (error.type, error.reason, error.status) == (
        *("circuit_breaking_exception", "[parent] Data too large", "TOO_MANY_REQUESTS"),
    )


def test_a_parent_that_fails_with_its_child_starts_no_more_and_waits_for_the_rest() -> None:
    async def story(cluster: WorkCluster) -> list[str]:
        bad = task("bad", outcome="failure", duration="1s", nodes=["n1"])
        children = (bad, task("long", duration="5s"), task("never", start_after="2s"))
        plan = task("root", *children, on_child_failure="fails", duration="60s")
        running = await cluster.to_the_end(await cluster.work(plan))
        assert cluster.now_s == 5.0
        assert (running.error.kind, running.error.reason) == ("illegal_state_exception", "simulated failure")
        return [what for event, _, what in cluster.events if event == "registered"]

    assert play(story) == ["root", "long", "bad"]


def test_a_child_on_a_node_that_left_the_cluster_fails() -> None:
    async def story(cluster: WorkCluster) -> pb.WorkResponse:
        running = await cluster.work(task("root", task("child", nodes=["n2"], start_after="1s")))
        state = cluster.state
        cluster.nodes[0].apply_cluster_state(type(state)("taskfan", "uuid", 2, state.nodes[:2], state.manager_id))
        return (await cluster.to_the_end(running)).response

    response = play(story)
    assert (response.completed, response.failed) == (1, 1)
    assert response.failures[0].error.reason == "No such node [n2]"


def test_the_result_tells_the_first_failures_in_the_order_of_the_plan() -> None:
    async def story(cluster: WorkCluster) -> pb.WorkResponse:
        # The last copies fail first.
        children = [task("bad", outcome="failure", copies=9, start_after=f"{30 - entry}s") for entry in range(30)]
        return (await cluster.to_the_end(await cluster.work(task("root", *children)))).response

    response = play(story)
    assert response.failed == 270
    assert [failure.path for failure in response.failures] == [
        *(f"children[0].copies[{copy}]" for copy in range(9)),
        "children[1].copies[0]",
    ]


# ---------------------------------------------------------------------- cancelling


def test_a_cancel_reaches_the_whole_tree_and_each_task_ends_with_its_reason() -> None:
    async def story(cluster: WorkCluster) -> None:
        leaf = task("leaf", duration="until_cancelled", nodes="_all")
        running = await cluster.work(task("root", task("middle", leaf, nodes=["n1", "n2"])))
        await cluster.until(lambda: len(cluster.shown()) == 9)
        began_s = cluster.now_s
        await cluster.cancel(running.task, wait=True, reason="channel closed")
        await cluster.to_the_end(running)
        assert cluster.now_s - began_s < 0.02
        assert (running.error.kind, running.error.reason) == (
            *("task_cancelled_exception", "cancelled task with reason: channel closed"),
        )

    play(story)


def test_a_cancelled_parent_stays_listed_until_its_stubborn_children_have_ended() -> None:
    async def story(cluster: WorkCluster) -> None:
        late = task("late", duration="60s", on_cancel="stops_late", stops_after="5s", nodes=["n1"])
        deaf = task("deaf", duration="10s", on_cancel="ignores", nodes=["n2"])
        plain = task("plain", duration="20s", cancellable=False, nodes=["n1"])
        running = await cluster.work(task("root", late, deaf, plain, task("good", duration="60s")))
        await cluster.clock.sleep(1)
        await cluster.cancel(running.task)
        await cluster.clock.sleep(1)
        assert cluster.shown() == ["n0 root", "n1 late", "n1 plain", "n2 deaf"]
        assert [bool(task.cancelled) for node in cluster.nodes for task in node.registry] == [True, True, False, True]
        await cluster.clock.sleep(5)
        assert cluster.shown() == ["n0 root", "n1 plain", "n2 deaf"]
        await cluster.clock.sleep(5)
        assert cluster.shown() == ["n0 root", "n1 plain"]
        await cluster.to_the_end(running)
        assert 20 <= cluster.now_s < 20.1
        assert running.error.kind == "task_cancelled_exception"

    play(story)


def test_a_task_that_fails_on_cancel_ends_at_once_with_its_own_error() -> None:
    async def story(cluster: WorkCluster) -> pb.WorkResponse:
        failing = task(
            "failing", duration="until_cancelled", on_cancel="fails", nodes=["n1"], failure={"reason": "ouch"}
        )
        running = await cluster.work(task("root", failing, duration="1s"))
        await cluster.until(lambda: cluster.tasks("failing"))
        await cluster.cancel(cluster.tasks("failing")[0])
        return (await cluster.to_the_end(running)).response

    response = play(story)
    assert (response.completed, response.failed, response.cancelled) == (1, 1, 0)
    assert response.failures[0].error.reason == "ouch"


def test_a_cancel_of_one_child_leaves_its_parent_and_siblings_alone() -> None:
    async def story(cluster: WorkCluster) -> pb.WorkResponse:
        children = [task(f"child {number}", duration="5s", nodes=[f"n{number}"]) for number in range(3)]
        running = await cluster.work(task("root", *children))
        await cluster.until(lambda: len(cluster.shown()) == 4)
        await cluster.cancel(cluster.tasks("child 1")[0], wait=True)
        assert cluster.shown() == ["n0 root", "n0 child 0", "n2 child 2"]
        return (await cluster.to_the_end(running)).response

    response = play(story)
    assert (response.completed, response.failed, response.cancelled) == (3, 0, 1)


def test_a_cancelled_task_that_works_on_is_refused_its_later_children() -> None:
    async def story(cluster: WorkCluster) -> list[tuple[str, str]]:
        plan = task("root", task("late", start_after="5s", nodes=["n1"]), on_cancel="ignores")
        running = await cluster.work(plan)
        await cluster.cancel(running.task)
        response = (await cluster.to_the_end(running)).response
        assert (response.completed, response.cancelled) == (1, 1)
        error = response.failures[0].error
        return [(error.type, error.reason), (error.caused_by.type, error.caused_by.reason)]

    refused = "The parent task was cancelled, shouldn't start any child tasks, by user request"
    assert play(story) == [("transport_exception", "failure to send"), ("task_cancelled_exception", refused)]


def test_a_cancel_that_does_not_descend_lets_the_children_end_by_themselves() -> None:
    async def story(cluster: WorkCluster) -> None:
        plan = task("root", task("child", duration="3s", nodes=["n1"]), cancels_children=False, duration="60s")
        running = await cluster.work(plan)
        await cluster.until(lambda: cluster.tasks("child"))
        await cluster.cancel(running.task)
        await cluster.clock.sleep(0.1)
        assert [task.cancelled for task in cluster.tasks("child")] == [None]
        await cluster.to_the_end(running)
        assert 3 <= cluster.now_s < 3.1
        assert running.error.kind == "task_cancelled_exception"

    play(story)


def test_children_whose_turn_had_not_come_do_not_start_after_a_cancel() -> None:
    async def story(cluster: WorkCluster) -> list[str]:
        children = task("now", duration="1s"), task("next"), task("last")
        running = await cluster.work(task("root", *children, task("delayed", start_after="9s"), sequential=True))
        await cluster.until(lambda: cluster.tasks("now"))
        await cluster.cancel(running.task)
        await cluster.to_the_end(running)
        return [what for event, _, what in cluster.events if event == "registered"]

    assert play(story) == ["root", "now"]


def test_a_task_that_is_cancelled_as_soon_as_it_is_registered_ends_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async def story(cluster: WorkCluster) -> str | None:
        node = cluster.nodes[0]

        def cancel(event: str, task: Task) -> None:
            if event == "registered":
                node.cancel(task, "too soon", wait=False)

        node.add_listener(cancel)
        running = await cluster.work(task("root", task("child", duration="1s"), duration="until_cancelled"))
        return (await cluster.to_the_end(running)).error.reason

    assert play(story) == "cancelled task with reason: too soon"
    assert caplog.text == ""


def test_children_end_when_the_link_that_brought_them_closes() -> None:
    async def story(cluster: WorkCluster) -> pb.WorkResponse:
        running = await cluster.work(
            task("root", task("child", duration="until_cancelled", nodes=["n1"]), duration="1s")
        )
        await cluster.until(lambda: cluster.tasks("child"))
        cluster.network.cut("n0", "n1")
        await cluster.until(lambda: not cluster.tasks("child"))
        assert ("cancelled", "n1", "child") in cluster.events
        return (await cluster.to_the_end(running)).response

    response = play(story)
    assert (response.completed, response.failed) == (1, 1)
    assert response.failures[0].error.type == "node_disconnected_exception"


def test_nothing_runs_longer_than_a_day() -> None:
    async def story(cluster: WorkCluster) -> float:
        await cluster.to_the_end(await cluster.work(task("root", duration="until_cancelled")), limit_s=90_000)
        return cluster.now_s

    assert play(story, nodes=1) == 86_400.0
