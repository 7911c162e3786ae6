"""Cancels, bans and lists between real nodes: what their actions do, and what links and cluster states do to them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from taskfan.node.actions.cancel_tasks import CANCEL_ACTION
from taskfan.node.actions.list_tasks import LIST_ACTION
from taskfan.node.errors import IllegalArgument, NodeDisconnected, TaskfanError, TaskNotFound, Timeout
from taskfan.node.ids import TaskId
from taskfan.node.task import Task
from taskfan.v1 import actions_pb2 as pb
from tests.node.nodes import HOLD, HOLD_PLAIN, Nodes, play

BY_USER = "by user request"


def cancel_request(task: Task | None = None, *, wait: bool = False, **filter: object) -> pb.CancelTasksRequest:
    request = pb.CancelTasksRequest(
        reason=BY_USER,
        wait_for_completion=wait,
        filter=pb.TaskFilter(**filter),  # type: ignore[arg-type]
    )
    if task is not None:
        request.filter.task_id.CopyFrom(task.id.to_wire())
    return request


def cancel(
    nodes: Nodes, on: str, request: pb.CancelTasksRequest, headers: Mapping[str, str] | None = None
) -> asyncio.Future[pb.NodeTasksResponse]:
    return nodes.spawn(nodes.nodes[on].execute(f"{CANCEL_ACTION}[n]", request, headers=headers or {}))


def shown(response: pb.NodeTasksResponse) -> list[tuple[int, bool]]:
    return [(body["id"], body["cancelled"]) for body in bodies(response)]


def bodies(response: pb.NodeTasksResponse) -> list[dict[str, Any]]:
    return list(json.loads(b"{%b}" % response.tasks.bodies).values())


def test_a_cancel_bans_where_children_are_and_unbans_when_all_have_ended() -> None:
    async def story(nodes: Nodes) -> None:
        root = await nodes.root("root")
        child, grandchild = await nodes.child("b", "root", "b"), await nodes.child("c", "b", "c")

        assert shown(await cancel(nodes, "a", cancel_request(root))) == [(1, True)]
        assert [task.cancelled is not None for task in (root, child, grandchild)] == [True, True, True]
        assert (nodes.bans("a"), nodes.bans("b")) == ({}, {str(root.id): BY_USER})
        assert nodes.bans("c") == {str(child.id): BY_USER}
        for name in ("c", "b", "root"):
            nodes.end(name)
        await nodes.until(lambda: nodes.bans("b") == nodes.bans("c") == {})

    play(story)


def test_a_child_on_the_wire_is_cancelled_by_the_ban_behind_it() -> None:
    async def story(nodes: Nodes) -> None:
        root = await nodes.root("root")
        await nodes.child("first", "root", "b")
        nodes.network.hold("a", "b")
        answer = nodes.ask("early", "root", "b")
        await nodes.clock.sleep(1)
        cancelled = cancel(nodes, "a", cancel_request(root))
        nodes.network.release("a", "b")
        await cancelled
        assert nodes.contexts["early"].task.cancelled is not None
        nodes.end("early")
        assert (await answer).value == "early has ended"

    play(story)


def test_a_child_that_waits_to_be_written_is_overtaken_by_the_ban_and_refused() -> None:
    async def story(nodes: Nodes) -> None:
        root = await nodes.root("root")
        # Nothing is written before the other node has answered the first frame of the link.
        nodes.network.hold("a", "b")
        late, plain = nodes.ask("late", "root", "b"), nodes.ask("plain", "root", "b", HOLD_PLAIN)
        await nodes.clock.sleep(1)
        cancelled = cancel(nodes, "a", cancel_request(root))
        await nodes.clock.sleep(1)
        nodes.network.release("a", "b")
        await cancelled
        with pytest.raises(TaskfanError, match=f"^Task cancelled before it started: {BY_USER}$") as refused:
            await late
        assert refused.value.kind == "task_cancelled_exception"
        assert "late" not in nodes.contexts
        assert (await nodes.started("plain")).cancelled is None
        nodes.end("plain")
        await plain

    play(story)


def test_a_cancel_that_waits_answers_when_the_whole_tree_has_ended() -> None:
    async def story(nodes: Nodes) -> None:
        root = await nodes.root("root")
        await nodes.child("b", "root", "b")
        await nodes.child("c", "b", "c")
        waiting = cancel(nodes, "a", cancel_request(root, wait=True))
        for name in ("c", "b"):
            await nodes.clock.sleep(5)
            assert not waiting.done()
            nodes.end(name)
        await nodes.clock.sleep(5)
        assert not waiting.done()
        # Another one that does not wait is answered meanwhile.
        assert shown(await cancel(nodes, "a", cancel_request(root))) == [(1, True)]
        nodes.end("root")
        assert shown(await waiting) == [(1, True)]

    play(story)


def test_bans_are_tasks_in_the_name_of_who_cancels() -> None:
    async def story(nodes: Nodes) -> None:
        root = await nodes.root("root", headers={"X-Opaque-Id": "of the task"})
        await nodes.child("b", "root", "b")
        waiting = cancel(nodes, "a", cancel_request(root, wait=True), {"X-Opaque-Id": "of the cancel"})
        await nodes.until(lambda: len(nodes.nodes["b"].registry) == 2)
        ban = list(nodes.nodes["b"].registry)[-1]
        assert (ban.action, ban.type, ban.parent.is_set, ban.cancellable) == (
            *("internal:admin/tasks/ban", "transport"),
            *(False, False),
        )
        assert dict(ban.headers) == {"X-Opaque-Id": "of the cancel"}
        await nodes.end_all()
        await waiting

    play(story)


def test_cancel_of_one_task_fails_in_opensearch_s_words() -> None:
    async def story(nodes: Nodes) -> None:
        await nodes.root("plain", action=HOLD_PLAIN)
        root = await nodes.root("root")
        plain = nodes.contexts["plain"].task
        missing = pb.CancelTasksRequest(filter=pb.TaskFilter(task_id=TaskId("a", 999).to_wire()))
        with pytest.raises(TaskNotFound, match=r"^task \[a:999\] is not found$"):
            await cancel(nodes, "a", missing)
        with pytest.raises(IllegalArgument, match=r"^task \[a:1\] doesn't support cancellation$"):
            await cancel(nodes, "a", cancel_request(plain, actions=["nosuch"]))
        with pytest.raises(IllegalArgument, match=r"^task \[a:2\] doesn't support this operation$"):
            await cancel(nodes, "a", cancel_request(root, actions=["nosuch"]))
        assert root.cancelled is None

    play(story)


def test_cancel_by_filter_takes_what_can_be_cancelled_and_says_nothing_of_the_rest() -> None:
    async def story(nodes: Nodes) -> None:
        root = await nodes.root("root")
        await nodes.root("plain", action=HOLD_PLAIN)
        b1, b2 = await nodes.child("b1", "root", "b"), await nodes.child("b2", "root", "b")
        await nodes.child("b3", "root", "b", HOLD_PLAIN)
        by_parent = cancel_request(parent_task_id=root.id.to_wire())
        assert shown(await cancel(nodes, "b", by_parent)) == [(b1.id.number, True), (b2.id.number, True)]
        assert (root.cancelled, nodes.bans("b")) == (None, {})
        assert shown(await cancel(nodes, "a", cancel_request(actions=["nosuch*"]))) == []
        assert shown(await cancel(nodes, "a", cancel_request(actions=["test:*"]))) == [(root.id.number, True)]

    play(story)


def test_a_node_that_goes_during_a_cancel_makes_a_task_failure_of_a_cancelled_task() -> None:
    async def story(nodes: Nodes) -> None:
        root = await nodes.root("root")
        answer = nodes.ask("b", "root", "b")
        await nodes.started("b")
        nodes.network.hold("a", "b")
        waiting = cancel(nodes, "a", cancel_request(root))
        await nodes.clock.sleep(5)
        assert root.cancelled is not None
        assert not waiting.done()
        nodes.network.cut("a", "b")
        response = await waiting
        (failure,) = response.task_failures
        assert (response.tasks.bodies, failure.task_id.number) == (b"", root.id.number)
        assert failure.reason.reason == "[name-of-b][b:9300][internal:admin/tasks/ban] disconnected"
        with pytest.raises(NodeDisconnected):
            await answer
        nodes.network.release("a", "b")
        nodes.network.heal("a", "b")

    play(story)


def test_a_link_that_closes_cancels_what_it_brought_if_that_can_be_cancelled() -> None:
    async def story(nodes: Nodes) -> None:
        root = await nodes.root("root")
        child, plain = await nodes.child("b", "root", "b"), await nodes.child("plain", "root", "b", HOLD_PLAIN)
        grandchild = await nodes.child("c", "b", "c")
        here = await nodes.child("here", "root", "a")
        nodes.network.cut("a", "b")
        await nodes.until(lambda: grandchild.cancelled)
        assert child.cancelled is not None
        assert child.cancelled.reason == "channel was closed"
        assert grandchild.cancelled is not None
        assert grandchild.cancelled.reason == "channel was closed"
        assert [task.cancelled for task in (root, plain, here)] == [None, None, None]
        nodes.network.heal("a", "b")

    play(story)


def test_a_cluster_state_without_a_node_drops_its_bans_and_its_link() -> None:
    async def story(nodes: Nodes) -> None:
        root = await nodes.root("root", on="c")
        child = await nodes.child("b", "root", "b")
        answer = nodes.ask("back", "b", "c")
        await nodes.started("back")
        await cancel(nodes, "c", cancel_request(root))
        assert (nodes.bans("b"), nodes.bans("c")) == ({"c:1": BY_USER}, {str(child.id): BY_USER})

        nodes.nodes["b"].apply_cluster_state(nodes.without("c"))
        assert nodes.bans("b") == {}
        with pytest.raises(NodeDisconnected):
            await answer
        # To b, node c is nobody now, and whoever it bans: the ban is not kept, but what runs is cancelled.
        await nodes.nodes["b"].ban(root.id, BY_USER, wait=False)
        assert nodes.bans("b") == {}
        nodes.nodes["c"].registry.remove_ban(child.id)

    play(story)


def test_a_waiter_that_disappears_leaves_the_cancel_to_its_course() -> None:
    async def story(nodes: Nodes) -> None:
        root = await nodes.root("root")
        await nodes.child("b", "root", "b")
        node = nodes.nodes["a"]
        impatient, patient = node.cancel(root, BY_USER, wait=True), node.cancel(root, BY_USER, wait=True)
        impatient.cancel()
        ban = nodes.clock.spawn(nodes.nodes["b"].ban(root.id, BY_USER, wait=True), "ban")
        await nodes.until(lambda: nodes.bans("b"))
        ban.cancel()
        await nodes.end_all()
        await patient
        assert nodes.bans("b") == {}

    play(story)


def lists(nodes: Nodes, request: pb.ListTasksRequest, on: str = "a") -> asyncio.Future[pb.NodeTasksResponse]:
    return nodes.spawn(nodes.nodes[on].execute(f"{LIST_ACTION}[n]", request, headers={}))


def test_a_list_shows_the_tasks_that_match_in_the_order_of_their_numbers() -> None:
    async def story(nodes: Nodes) -> None:
        root = await nodes.root("root")
        await nodes.child("here", "root", "a")
        response = await lists(nodes, pb.ListTasksRequest())
        assert list(response.tasks.numbers) == [1, 2, 3]
        shown = [(body["action"], body.get("parent_task_id")) for body in bodies(response)]
        assert shown == [(HOLD, None), (HOLD, "a:1"), (f"{LIST_ACTION}[n]", None)]
        children = pb.ListTasksRequest(filter=pb.TaskFilter(parent_task_id=root.id.to_wire()))
        assert list((await lists(nodes, children)).tasks.numbers) == [2]

    play(story)


def test_a_list_that_waits_shows_the_tasks_it_waited_for() -> None:
    async def story(nodes: Nodes) -> None:
        await nodes.root("first")
        await nodes.root("second")
        waiting = lists(nodes, pb.ListTasksRequest(wait_for_completion=True))
        for name in ("second", "first"):
            await nodes.clock.sleep(5)
            assert not waiting.done()
            nodes.end(name)
        response = await waiting
        assert list(response.tasks.numbers) == [1, 2, 3]
        # Measured at the end, not when it was chosen.
        assert bodies(response)[0]["running_time_in_nanos"] >= 10 * 10**9

    play(story)


@pytest.mark.parametrize(("timeout_ms", "expected_s"), [(300, 0.3), (None, 30.0), (0, 0.0), (-1, 0.0)])
def test_a_list_that_waits_too_long_fails_as_a_whole(timeout_ms: int | None, expected_s: float) -> None:
    async def story(nodes: Nodes) -> None:
        await nodes.root("first")
        before_ns = nodes.clock.monotonic_ns()
        request = pb.ListTasksRequest(wait_for_completion=True, timeout_millis=timeout_ms)
        words = r"^Timed out waiting for completion of \[org.opensearch.tasks.CancellableTask@[0-9a-f]+\]$"
        with pytest.raises(Timeout, match=words):
            await lists(nodes, request)
        assert (nodes.clock.monotonic_ns() - before_ns) / 1e9 == pytest.approx(expected_s, abs=0.001)
        assert nodes.nodes["a"].runner._waiting_for_end == {}

    play(story)


def test_lists_that_wait_do_not_wait_for_one_another() -> None:
    async def story(nodes: Nodes) -> None:
        await nodes.root("root")
        both = [lists(nodes, pb.ListTasksRequest(wait_for_completion=True)) for _ in range(2)]
        await nodes.clock.sleep(1)
        nodes.end("root")
        assert [len((await answer).tasks.numbers) for answer in both] == [2, 3]

    play(story)
