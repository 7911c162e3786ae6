"""What every action gets from its node: a task of the right type, headers, counted children, an end."""

from __future__ import annotations

import logging

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from taskfan.node.action import Action, ActionContext
from taskfan.node.errors import (
    ActionNotFound,
    NodeDisconnected,
    ReceiveTimeout,
    TaskCancelled,
    TaskfanError,
    TransportError,
)
from taskfan.node.task import Task
from taskfan.node.transport import Answered, InboundLink, Request
from tests.node.nodes import BUG, FAIL, HOLD, HOLD_PLAIN, Nodes, play


def test_the_type_of_a_task_tells_how_its_request_arrived() -> None:
    async def story(nodes: Nodes) -> None:
        root = await nodes.root("root")
        executed = nodes.spawn(nodes.contexts["root"].execute(HOLD, StringValue(value="executed")))
        here, there = await nodes.child("here", "root", "a"), await nodes.child("there", "root", "b")

        assert (root.type, nodes.contexts["executed"].task.type) == ("transport", "transport")
        assert (here.type, there.type) == ("direct", "transport")
        assert [here.parent, there.parent, nodes.contexts["executed"].task.parent] == [root.id] * 3
        nodes.end("executed")
        assert (await executed).value == "executed has ended"

    play(story)


def test_headers_are_inherited_by_all_descendants_on_all_nodes() -> None:
    async def story(nodes: Nodes) -> None:
        await nodes.root("root", headers={"X-Opaque-Id": "mine"})
        tasks = [
            await nodes.child("b", "root", "b"),
            await nodes.child("c", "b", "c"),
            await nodes.child("a", "c", "a"),
        ]
        assert [dict(task.headers) for task in tasks] == [{"X-Opaque-Id": "mine"}] * 3

    play(story)


def test_children_are_counted_until_they_answer_fail_time_out_or_are_cut_off() -> None:
    async def story(nodes: Nodes) -> None:
        await nodes.root("root")
        for name in ("b1", "b2", "b3"):
            await nodes.child(name, "root", "b")
        await nodes.child("here", "root", "a")
        assert nodes.outstanding("root") == {"b": 3, "a": 1}

        nodes.end("b1")
        nodes.end("here")
        await nodes.until(lambda: nodes.outstanding("root") == {"b": 2})
        nodes.end("b2", TaskfanError("no"))
        await nodes.until(lambda: nodes.outstanding("root") == {"b": 1})
        slow = nodes.ask("slow", "root", "b", timeout_s=2)
        with pytest.raises(ReceiveTimeout, match=r"^\[name-of-b\]\[b:9300\]\[test:hold\] request_id \[\d+\] timed out"):
            await slow
        assert nodes.outstanding("root") == {"b": 1}
        cut_off = nodes.ask("cut off", "root", "b")
        await nodes.started("cut off")
        nodes.network.cut("a", "b")
        with pytest.raises(NodeDisconnected, match=r"^\[name-of-b\]\[b:9300\]\[test:hold\] disconnected$"):
            await cut_off
        assert nodes.outstanding("root") == {}

    play(story)


def test_only_tasks_that_can_be_cancelled_count_their_children() -> None:
    async def story(nodes: Nodes) -> None:
        await nodes.root("root", action=HOLD_PLAIN)
        await nodes.child("b", "root", "b")
        assert nodes.outstanding("root") == {}

    play(story)


@pytest.mark.parametrize("to", ["a", "b"])
def test_a_failure_and_a_bug_of_a_handler_come_back_and_leave_no_task(to: str) -> None:
    async def story(nodes: Nodes) -> None:
        await nodes.root("root")
        with pytest.raises(TaskfanError, match=r"^x fails$"):
            await nodes.ask("x", "root", to, FAIL)
        with pytest.raises(TaskfanError, match=r"^ZeroDivisionError: x$"):
            await nodes.ask("x", "root", to, BUG)
        assert [task.action for node in nodes.nodes.values() for task in node.registry] == [HOLD]
        assert nodes.outstanding("root") == {}

    play(story)


def test_who_asks_without_a_task_is_told_answers_failures_and_what_is_no_answer() -> None:
    async def story(nodes: Nodes) -> None:
        await nodes.root("root")
        context, told = nodes.contexts["root"], list[object]()
        for action, name in ((HOLD, "held"), (FAIL, "x"), (BUG, "y")):
            request = context.request(action, StringValue(value=name))
            context.ask(nodes.members["b"], request, told.append)
        await nodes.started("held")
        assert nodes.outstanding("root") == {"b": 3}

        nodes.end("held")
        await nodes.until(lambda: len(told) == 3)
        failed, bug, held = told
        assert isinstance(failed, TaskfanError)
        assert isinstance(bug, TaskfanError)
        assert held == StringValue(value="held has ended")
        assert nodes.outstanding("root") == {}

        setattr(nodes.nodes["b"], "receive", garbage)  # noqa: B010
        context.ask(nodes.members["b"], context.request(HOLD, StringValue()), told.append)
        await nodes.until(lambda: len(told) == 4)
        assert isinstance(told[3], TaskfanError)
        assert told[3].reason is not None
        assert told[3].reason.startswith("DecodeError")

    def garbage(_request: Request, _link: InboundLink, answered: Answered) -> None:
        answered(b"\xff")

    play(story)


def test_a_cancelled_task_asks_no_more() -> None:
    async def story(nodes: Nodes) -> None:
        root = await nodes.root("root")
        context, told = nodes.contexts["root"], list[object]()
        nodes.nodes["a"].cancel(root, "enough", wait=False)
        context.ask(nodes.members["b"], context.request(HOLD, StringValue(value="x")), told.append)
        assert [type(answer) for answer in told] == [TransportError]

    play(story)


def test_a_bug_of_an_executed_handler_leaves_no_task() -> None:
    async def story(nodes: Nodes) -> None:
        with pytest.raises(ZeroDivisionError):
            await nodes.nodes["a"].execute(BUG, StringValue(value="x"), headers={})
        assert len(nodes.nodes["a"].registry) == 0

    play(story)


@pytest.mark.parametrize("to", ["a", "b"])
def test_an_unknown_action_is_refused_in_opensearch_s_words(to: str) -> None:
    async def story(nodes: Nodes) -> None:
        await nodes.root("root")
        with pytest.raises(ActionNotFound, match=r"^No handler for action \[test:nosuch\]$"):
            await nodes.ask("x", "root", to, "test:nosuch")
        assert nodes.outstanding("root") == {}

    play(story)


def test_a_local_child_that_is_too_slow_is_not_waited_for_and_runs_on() -> None:
    async def story(nodes: Nodes) -> None:
        await nodes.root("root")
        answer = nodes.ask("slow", "root", "a", timeout_s=2)
        with pytest.raises(
            ReceiveTimeout, match=r"^\[name-of-a\]\[a:9300\]\[test:hold\] request_id \[1\] timed out af"
        ):
            await answer
        assert [task.action for task in nodes.nodes["a"].registry] == [HOLD, HOLD]
        assert nodes.outstanding("root") == {}

    play(story)


def test_a_limit_of_nothing_leaves_what_this_node_knows_without_waiting() -> None:
    async def story(nodes: Nodes) -> None:
        await nodes.root("root")
        with pytest.raises(TaskfanError, match=r"^x fails$"):
            await nodes.ask("x", "root", "a", FAIL, timeout_s=0)
        with pytest.raises(ReceiveTimeout, match=r"timed out after \[0ms\]$"):
            await nodes.ask("x", "root", "b", FAIL, timeout_s=-0.001)

    play(story)


def test_a_listener_hears_of_each_registration_cancel_and_end_also_when_another_one_fails() -> None:
    async def story(nodes: Nodes) -> None:
        heard: list[tuple[str, str]] = []

        def broken(event: str, task: Task) -> None:
            raise ZeroDivisionError(event)

        node = nodes.nodes["a"]
        take_back = node.add_listener(broken)
        node.add_listener(lambda event, task: heard.append((event, task.action)))
        task = await nodes.root("root")
        await node.cancel(task, "by user request", wait=False)
        nodes.end("root")
        await node.end_of(task)
        assert heard == [("registered", HOLD), ("cancelled", HOLD), ("unregistered", HOLD)]
        take_back()

    play(story)


def test_the_end_of_a_task_can_be_awaited_by_many_and_given_up() -> None:
    async def story(nodes: Nodes) -> None:
        node, task = nodes.nodes["a"], await nodes.root("root")
        waiters = [node.end_of(task) for _ in range(3)]
        waiters[0].cancel()
        await nodes.clock.sleep(0)
        assert len(node.runner._waiting_for_end[task.id.number]) == 2

        nodes.end("root")
        await waiters[1]
        await waiters[2]
        assert node.end_of(task).done()

    play(story)


def test_who_gives_up_waiting_for_a_cluster_state_is_forgotten() -> None:
    async def story(nodes: Nodes) -> None:
        node = nodes.nodes["a"]
        seen = node.cluster_state
        impatient = nodes.clock.spawn(node.newer_cluster_state(seen), "impatient")
        patient = nodes.spawn(node.newer_cluster_state(seen))
        await nodes.until(lambda: len(node._waiting_for_state) == 2)
        impatient.cancel()
        await nodes.until(lambda: len(node._waiting_for_state) == 1)

        node.apply_cluster_state(nodes.without("c"))
        assert await patient is node.cluster_state is await node.newer_cluster_state(seen)
        assert node.cluster_state.get("c") is None

    play(story)


def test_an_older_cluster_state_is_ignored() -> None:
    async def story(nodes: Nodes) -> None:
        node, old = nodes.nodes["a"], nodes.state
        node.apply_cluster_state(nodes.without("c"))
        node.apply_cluster_state(old)
        assert node.cluster_state is nodes.state

    play(story)


def test_a_callback_that_fails_on_a_cancel_keeps_no_other_from_being_called(caplog: pytest.LogCaptureFixture) -> None:
    async def story(nodes: Nodes) -> None:
        task = await nodes.root("root")
        await nodes.child("b", "root", "b")
        told: list[str] = []

        def broken(reason: str) -> None:
            raise ZeroDivisionError(reason)

        nodes.contexts["root"].on_stop(broken)
        nodes.contexts["root"].on_stop(told.append)
        take_back = nodes.contexts["root"].on_stop(lambda reason: told.append("taken back"))
        take_back()
        await nodes.nodes["a"].cancel(task, "by user request", wait=False)
        assert told == ["by user request"]
        assert nodes.contexts["b"].task.cancelled is not None
        # Who comes later is called at once.
        nodes.contexts["root"].on_stop(told.append)
        assert told == ["by user request", "by user request"]

    with caplog.at_level(logging.ERROR):
        play(story)
    assert "stopping [a:1]" in caplog.text


def test_a_sleep_ends_early_when_the_task_is_cancelled() -> None:
    async def story(nodes: Nodes) -> None:
        task = await nodes.root("root")
        whole = nodes.spawn(nodes.contexts["root"].sleep_unless_cancelled(5))
        long = nodes.spawn(nodes.contexts["root"].sleep_unless_cancelled(1_000))
        assert await whole is True
        before_ns = nodes.clock.monotonic_ns()
        await nodes.nodes["a"].cancel(task, "by user request", wait=False)
        assert await long is False
        assert nodes.clock.monotonic_ns() - before_ns < 10**9

    play(story)


def test_a_cancelled_task_sends_and_executes_no_more() -> None:
    async def story(nodes: Nodes) -> None:
        task = await nodes.root("root")
        await nodes.nodes["a"].cancel(task, "by user request", wait=False)
        words = "The parent task was cancelled, shouldn't start any child tasks, by user request"
        with pytest.raises(TransportError, match=r"^failure to send$") as refused:
            await nodes.ask("late", "root", "b")
        assert refused.value.cause is not None
        assert (refused.value.cause.kind, refused.value.cause.reason) == ("task_cancelled_exception", words)
        with pytest.raises(TaskCancelled, match=words):
            await nodes.contexts["root"].execute(HOLD, StringValue(value="late"))

    play(story)


def test_an_action_may_run_under_another_name_and_without_a_response_only_at_home() -> None:
    async def story(nodes: Nodes) -> None:
        async def answer(context: ActionContext, request: StringValue) -> str:
            return context.task.action

        for node in nodes.nodes.values():
            node.add_action(Action("test:home", answer, StringValue))
        await nodes.root("root")
        context = nodes.contexts["root"]
        assert await context.send(nodes.members["a"], "test:name", StringValue(), handler="test:home") == "test:name"
        assert await context.execute("test:name", StringValue(), handler="test:home") == "test:name"
        with pytest.raises(TaskfanError, match="answers on its own node only"):
            await context.send(nodes.members["b"], "test:home", StringValue())

    play(story)
