"""The coordinating actions, over real nodes in one process under virtual time."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from taskfan.coordinator import ACTIONS
from taskfan.coordinator.cluster_state_action import read_cluster_state
from taskfan.coordinator.grouping import render
from taskfan.coordinator.merge import TasksAnswer
from taskfan.node.errors import IllegalArgument, NumberFormat, TaskfanError, ValidationFailed
from taskfan.node.ids import TaskId
from taskfan.v1 import actions_pb2 as pb
from tests.node import nodes as node_stories
from tests.node.nodes import HOLD, HOLD_PLAIN, Nodes

LIST, CANCEL, GET, HEALTH = (
    "cluster:monitor/tasks/lists",
    "cluster:admin/tasks/cancel",
    "cluster:monitor/task/get",
    "cluster:monitor/health",
)


def play(story: Callable[[Nodes], Awaitable[None]]) -> None:
    async def with_coordinators(nodes: Nodes) -> None:
        for node in nodes.nodes.values():
            for action in ACTIONS:
                node.add_action(action)
        await story(nodes)

    node_stories.play(with_coordinators)


def filter_of(
    *actions: str, nodes: tuple[str, ...] = (), parent: TaskId | None = None, task_id: TaskId | None = None
) -> pb.TaskFilter:
    message = pb.TaskFilter(actions=actions, nodes=nodes)
    if parent is not None:
        message.parent_task_id.CopyFrom(parent.to_wire())
    if task_id is not None:
        message.task_id.CopyFrom(task_id.to_wire())
    return message


async def listed(
    nodes: Nodes, on: str = "a", filter: pb.TaskFilter | None = None, **options: Any
) -> dict[str, list[dict[str, Any]]]:
    """The tasks by node name, with node failures under their cause."""
    answer = await nodes.nodes[on].execute(LIST, pb.ListTasksRequest(filter=filter, **options), headers={"X": "y"})
    return shown(nodes, answer)


def shown(nodes: Nodes, answer: TasksAnswer) -> dict[str, Any]:
    body = json.loads(b"".join(render(answer, "nodes", nodes.state)))
    found = {node_id: list(info["tasks"].values()) for node_id, info in body["nodes"].items()}
    failures = {failure["node_id"]: failure["caused_by"] for failure in body.get("node_failures", ())}
    return found | failures


async def cancelled(nodes: Nodes, filter: pb.TaskFilter, on: str = "a", wait: bool = False) -> TasksAnswer:
    request = pb.CancelTasksRequest(filter=filter, reason="by user request", wait_for_completion=wait)
    answer: TasksAnswer = await nodes.nodes[on].execute(CANCEL, request, headers={})
    return answer


async def got(nodes: Nodes, task_id: TaskId, on: str = "a", **options: Any) -> pb.GetTaskResponse:
    request = pb.GetTaskRequest(task_id=task_id.to_wire(), **options)
    response: pb.GetTaskResponse = await nodes.nodes[on].execute(GET, request, headers={})
    return response


def test_a_list_shows_itself_as_a_parent_with_one_child_on_every_node() -> None:
    async def story(nodes: Nodes) -> None:
        found = await listed(nodes, on="b")
        own, child = found["b"]
        assert (own["action"], own["type"], "parent_task_id" in own) == (LIST, "transport", False)
        assert (child["action"], child["type"]) == (f"{LIST}[n]", "direct")
        assert [(task["action"], task["type"]) for name in "ac" for task in found[name]] == [
            (f"{LIST}[n]", "transport")
        ] * 2
        assert {task["parent_task_id"] for name in "abc" for task in found[name] if task is not own} == {
            f"b:{own['id']}"
        }
        assert all(task["headers"] == {"X": "y"} for name in "abc" for task in found[name])

    play(story)


def test_one_silent_node_is_a_failure_and_costs_no_other_nodes_answer() -> None:
    async def story(nodes: Nodes) -> None:
        await listed(nodes)
        nodes.network.hold("a", "c")
        began_ns = nodes.clock.monotonic_ns()
        found: dict[str, Any] = await listed(nodes, timeout_millis=300)
        assert 0.3 <= (nodes.clock.monotonic_ns() - began_ns) / 1e9 < 0.31
        assert list(found) == ["a", "b", "c"]
        assert found["c"]["type"] == "receive_timeout_transport_exception"
        assert found["c"]["reason"].endswith("timed out after [300ms]")
        nodes.network.release("a", "c")

    play(story)


def test_a_node_that_dies_under_way_is_a_failure_at_once() -> None:
    async def story(nodes: Nodes) -> None:
        await listed(nodes)
        nodes.network.hold("a", "c")
        answer = nodes.spawn(listed(nodes))
        await nodes.clock.sleep(0.1)
        nodes.network.kill("c")
        found = await answer
        assert found["c"] == {
            "type": "node_disconnected_exception",
            "reason": f"[name-of-c][c:9300][{LIST}[n]] disconnected",
        }
        nodes.nodes.pop("c")

    play(story)


def test_a_wait_that_expires_on_a_node_is_that_nodes_failure() -> None:
    async def story(nodes: Nodes) -> None:
        await nodes.root("slow", on="b")
        found: dict[str, Any] = await listed(nodes, filter=filter_of(HOLD), wait_for_completion=True)
        assert found["b"]["type"] == "timeout_exception"
        assert found["b"]["reason"].startswith("Timed out waiting for completion of [")

    play(story)


def test_an_empty_node_id_in_a_parent_counts_on_the_asking_node_only() -> None:
    async def story(nodes: Nodes) -> None:
        await nodes.root("one", on="a")
        await nodes.root("two", on="b")
        found = await listed(nodes, filter=filter_of(HOLD, parent=TaskId("", 5)))
        assert list(found) == ["b"]

    play(story)


def test_a_cancel_by_id_goes_to_its_node_alone_and_answers_with_that_task_alone() -> None:
    async def story(nodes: Nodes) -> None:
        root = await nodes.root("root", on="b")
        child = await nodes.child("child", of="root", to="c")
        answer = await cancelled(nodes, filter_of(task_id=root.id))
        [(node_id, tasks)] = answer.nodes
        assert (node_id, list(tasks.numbers)) == ("b", [root.id.number])
        assert root.cancelled is not None
        assert child.cancelled is not None
        assert child.cancelled.reason == "by user request"

    play(story)


@pytest.mark.parametrize(
    ("task_id", "kind", "reason"),
    [
        (TaskId("z", 1), "no_such_node_exception", "No such node [z]"),
        (TaskId("b", 99), "resource_not_found_exception", "task [b:99] is not found"),
        (TaskId("a", 99), "resource_not_found_exception", "task [a:99] is not found"),
    ],
)
def test_a_cancel_of_what_is_not_there_is_a_node_failure(task_id: TaskId, kind: str, reason: str) -> None:
    async def story(nodes: Nodes) -> None:
        [failure] = (await cancelled(nodes, filter_of(task_id=task_id))).node_failures
        assert (failure.node_id, failure.cause.kind, failure.cause.reason) == (task_id.node_id, kind, reason)

    play(story)


def test_what_cannot_be_cancelled_says_so_before_any_filter_counts() -> None:
    async def story(nodes: Nodes) -> None:
        plain = await nodes.root("plain", on="b", action=HOLD_PLAIN)
        held = await nodes.root("held", on="b")
        reasons = []
        for task in (plain, held):
            [failure] = (await cancelled(nodes, filter_of("nosuch", task_id=task.id))).node_failures
            reasons.append(failure.cause.reason)
        assert reasons == [
            f"task [{plain.id}] doesn't support cancellation",
            f"task [{held.id}] doesn't support this operation",
        ]
        assert (await cancelled(nodes, filter_of(HOLD_PLAIN))).nodes[1][1].numbers == []

    play(story)


def test_a_task_id_together_with_nodes_is_refused() -> None:
    async def story(nodes: Nodes) -> None:
        with pytest.raises(ValidationFailed, match="task id cannot be used together with node ids"):
            await cancelled(nodes, filter_of(nodes=("a",), task_id=TaskId("a", 1)))
        with pytest.raises(IllegalArgument, match="Failed to parse value"):
            await cancelled(nodes, filter_of(nodes=("data:maybe",)))

    play(story)


def test_a_cancel_says_in_its_description_what_it_was_asked() -> None:
    async def story(nodes: Nodes) -> None:
        root = await nodes.root("root", on="b")
        waiting = nodes.spawn(cancelled(nodes, filter_of("x", "test:*", nodes=("b",)), wait=True))
        await nodes.until(lambda: root.cancelled is not None)
        [own] = (await listed(nodes, filter=filter_of(CANCEL), rendering=pb.TaskRendering(detailed=True)))["a"]
        assert own["description"] == (
            "reason[by user request], waitForCompletion[true], taskId[unset], parentTaskId[unset], "
            "nodes[b], actions[x, test:*]"
        )
        nodes.end("root")
        await waiting

    play(story)


@pytest.mark.parametrize("on", ["a", "b", "c"])
def test_a_task_is_found_from_every_node(on: str) -> None:
    async def story(nodes: Nodes) -> None:
        root = await nodes.root("root", on="b")
        response = await got(nodes, root.id, on=on)
        task = json.loads(response.task)
        assert (response.completed, task["node"], task["id"], "resource_stats" in task) == (
            False,
            "b",
            root.id.number,
            True,
        )

    play(story)


def test_waiting_for_a_task_gives_its_last_snapshot_when_nothing_is_stored() -> None:
    async def story(nodes: Nodes) -> None:
        root = await nodes.root("root", on="b")
        waiting = nodes.spawn(got(nodes, root.id, wait_for_completion=True))
        await nodes.clock.sleep(5)
        assert not waiting.done()
        nodes.end("root")
        response = await waiting
        assert (response.completed, json.loads(response.task)["running_time_in_nanos"] >= 5e9) == (True, True)

    play(story)


@pytest.mark.parametrize(("on", "kind"), [("b", "timeout_exception"), ("a", "receive_timeout_transport_exception")])
def test_a_wait_for_one_task_has_its_limit(on: str, kind: str) -> None:
    async def story(nodes: Nodes) -> None:
        root = await nodes.root("root", on="b")
        with pytest.raises(TaskfanError) as caught:
            await got(nodes, root.id, on=on, wait_for_completion=True, timeout_millis=200)
        assert caught.value.kind == kind

    play(story)


@pytest.mark.parametrize("task_id", [TaskId("a", 99), TaskId("b", 99), TaskId("z", 1), TaskId("", 5)])
def test_a_task_that_is_nowhere_is_not_found_for_want_of_an_index_of_results(task_id: TaskId) -> None:
    async def story(nodes: Nodes) -> None:
        with pytest.raises(TaskfanError) as caught:
            await got(nodes, task_id)
        error = caught.value
        assert (error.kind, error.http_status) == ("resource_not_found_exception", 404)
        assert ("isn't part of the cluster" in str(error)) == (task_id.node_id not in "ab" or not task_id.node_id)
        while error.cause is not None:
            error = error.cause
        assert error.kind == "index_not_found_exception"

    play(story)


async def health(nodes: Nodes, on: str, **options: Any) -> pb.ClusterHealthResponse:
    request = pb.ClusterHealthRequest(**{"timeout_millis": 30_000} | options)
    response: pb.ClusterHealthResponse = await nodes.nodes[on].execute(HEALTH, request, headers={})
    return response


def test_health_is_asked_of_the_manager_as_a_child_of_the_same_name() -> None:
    async def story(nodes: Nodes) -> None:
        waiting = nodes.spawn(health(nodes, "b", wait_for_nodes=">=4", timeout_millis=2000))
        await nodes.clock.sleep(0.1)
        found = await listed(nodes, filter=filter_of(HEALTH))
        [child], [parent] = found["a"], found["b"]
        assert (child["parent_task_id"], child["type"]) == (f"b:{parent['id']}", "transport")
        response = await waiting
        assert (response.timed_out, response.number_of_nodes, response.status) == (True, 3, "green")

    play(story)


def test_health_answers_as_soon_as_the_nodes_are_as_many_as_wished() -> None:
    async def story(nodes: Nodes) -> None:
        waiting = nodes.spawn(health(nodes, "b", wait_for_nodes="2"))
        await nodes.clock.sleep(1)
        assert not waiting.done()
        smaller = nodes.without("c")
        for name in "ab":
            nodes.nodes[name].apply_cluster_state(smaller)
        response = await waiting
        assert (response.timed_out, response.number_of_nodes) == (False, 2)

    play(story)


def test_a_wish_that_is_no_number_is_refused_wherever_it_is_read() -> None:
    async def story(nodes: Nodes) -> None:
        with pytest.raises(NumberFormat, match='For input string: "many"'):
            await health(nodes, "a", wait_for_nodes="many")
        with pytest.raises(TaskfanError, match='For input string: "many"') as caught:
            await health(nodes, "b", wait_for_nodes="many")
        assert (caught.value.kind, caught.value.http_status) == ("number_format_exception", 400)

    play(story)


@pytest.mark.parametrize(
    ("wish", "holds"),
    [
        *(("3", True), ("4", False), (">=3", True), (">3", False), ("<4", True), ("<=2", False)),
        *(("ge(3)", True), ("gt(3)", False), ("lt(3)", False), ("le(3)", True)),
    ],
)
def test_a_wish_for_nodes_may_be_a_comparison(wish: str, holds: bool) -> None:
    async def story(nodes: Nodes) -> None:
        assert (await health(nodes, "a", wait_for_nodes=wish, timeout_millis=100)).timed_out is not holds

    play(story)


def test_without_a_manager_health_waits_for_one_and_then_gives_up() -> None:
    async def story(nodes: Nodes) -> None:
        leaderless = replace(nodes.state, version=2, manager_id=None)
        for node in nodes.nodes.values():
            node.apply_cluster_state(leaderless)
        with pytest.raises(TaskfanError) as caught:
            await health(nodes, "b", cluster_manager_timeout_millis=500)
        assert (caught.value.kind, caught.value.http_status) == ("cluster_manager_not_discovered_exception", 503)
        assert (await health(nodes, "b", local=True)).discovered_cluster_manager is False

        waiting = nodes.spawn(health(nodes, "b"))
        await nodes.clock.sleep(1)
        for node in nodes.nodes.values():
            node.apply_cluster_state(replace(leaderless, version=3, manager_id="c"))
        assert (await waiting).discovered_cluster_manager is True

    play(story)


def test_a_manager_that_dies_with_the_request_is_replaced_by_the_next() -> None:
    async def story(nodes: Nodes) -> None:
        waiting = nodes.spawn(health(nodes, "b", wait_for_nodes="2"))
        await nodes.clock.sleep(0.1)
        nodes.network.kill("a")
        await nodes.clock.sleep(0.1)
        smaller = replace(nodes.without("a"), manager_id="c")
        for name in "bc":
            nodes.nodes[name].apply_cluster_state(smaller)
        assert (await waiting).number_of_nodes == 2
        dead = nodes.nodes.pop("a")
        await dead.clock.sleep(31)

    play(story)


def test_the_cluster_state_is_the_managers_unless_the_nodes_own_is_wanted() -> None:
    async def story(nodes: Nodes) -> None:
        nodes.nodes["a"].apply_cluster_state(nodes.without("c"))
        old = nodes.nodes["b"]
        assert len((await read_cluster_state(old, headers={})).nodes) == 2
        assert len((await read_cluster_state(old, headers={}, local=True)).nodes) == 3

    play(story)


def test_every_node_tells_of_itself() -> None:
    async def story(nodes: Nodes) -> None:
        request = pb.NodesInfoRequest(metrics=["http"])
        answer = await nodes.nodes["a"].execute("cluster:monitor/nodes/info", request, headers={})
        assert [(node.id, info["name"], info["http"]["publish_address"]) for node, info in answer.nodes] == [
            (name, f"name-of-{name}", f"{name}:9200") for name in "abc"
        ]
        assert all("transport" not in info for _, info in answer.nodes)

    play(story)
