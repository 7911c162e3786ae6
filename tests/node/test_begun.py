"""Actions that are begun and told, without a task of asyncio that waits: they are tasks like all others."""

from __future__ import annotations

from typing import ClassVar

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from taskfan.node.action import Action, Begun
from taskfan.node.errors import ActionNotFound, TaskCancelled, TaskfanError, TransportError
from taskfan.node.task import TaskTraits
from tests.node.nodes import BUG, FAIL, HOLD, Nodes, play

BEGIN = "test:begin"


def test_who_begins_an_action_is_told_its_response_its_failure_and_its_bug() -> None:
    async def story(nodes: Nodes) -> None:
        await nodes.root("root")
        context, told = nodes.contexts["root"], list[object]()
        for action, name in ((HOLD, "held"), (FAIL, "x"), (BUG, "y")):
            context.begin(action, StringValue(value=name), told.append, type="direct")
        assert (nodes.contexts["held"].task.type, nodes.outstanding("root")) == ("direct", {"a": 1})
        failed, bug = told
        assert isinstance(failed, TaskfanError)
        assert isinstance(bug, TaskfanError)
        assert (failed.reason, bug.reason) == ("x fails", "ZeroDivisionError: y")

        nodes.end("held")
        await nodes.until(lambda: len(told) == 3)
        assert told[2] == StringValue(value="held has ended")
        assert nodes.outstanding("root") == {}

    play(story)


def test_what_may_not_begin_is_raised_and_counted_no_more() -> None:
    async def story(nodes: Nodes) -> None:
        root = await nodes.root("root")
        context, told = nodes.contexts["root"], list[object]()
        with pytest.raises(ActionNotFound):
            context.begin("test:nosuch", StringValue(), told.append, type="transport")
        nodes.nodes["a"].cancel(root, "enough", wait=False)
        with pytest.raises(TaskCancelled):
            context.begin(HOLD, StringValue(value="x"), told.append, type="transport")
        with pytest.raises(TransportError, match=r"^failure to send$"):
            context.begin(HOLD, StringValue(value="x"), told.append, type="direct")
        assert (told, nodes.outstanding("root")) == ([], {})

    play(story)


class Held(Begun):
    """The work of an action that only the test ends."""

    begun: ClassVar[dict[str, Held]]
    stopped: ClassVar[list[str]]

    def start(self, request: StringValue) -> None:
        self.begun[request.value] = self
        if request.value == "bug":
            raise ZeroDivisionError(request.value)
        if request.value == "at once":
            self.end(request)

    def cancel(self, reason: str) -> None:
        self.stopped.append(reason)


def add_held(nodes: Nodes) -> None:
    Held.begun, Held.stopped = {}, []
    traits = TaskTraits(cancellable=True)
    for node in nodes.nodes.values():
        node.add_action(Action(BEGIN, Held, StringValue, StringValue, lambda _: traits))


@pytest.mark.parametrize("to", ["a", "b"])
def test_an_action_that_begins_is_answered_when_it_says_so_at_once_or_later(to: str) -> None:
    async def story(nodes: Nodes) -> None:
        add_held(nodes)
        await nodes.root("root")
        assert await nodes.ask("at once", "root", to, BEGIN) == StringValue(value="at once")
        with pytest.raises(TaskfanError, match=r"^ZeroDivisionError: bug$"):
            await nodes.ask("bug", "root", to, BEGIN)
        later, failing = nodes.ask("later", "root", to, BEGIN), nodes.ask("failing", "root", to, BEGIN)
        await nodes.until(lambda: len(Held.begun) == 4)
        assert nodes.outstanding("root") == {to: 2}
        Held.begun["failing"].end(TaskfanError("no"))
        Held.begun["later"].end(StringValue(value="at last"))
        assert await later == StringValue(value="at last")
        with pytest.raises(TaskfanError, match=r"^no$"):
            await failing
        assert nodes.outstanding("root") == {}

    play(story)


def test_what_has_begun_is_told_of_a_cancel_and_runs_on_until_it_ends() -> None:
    async def story(nodes: Nodes) -> None:
        add_held(nodes)
        root = await nodes.root("root")
        answer = nodes.ask("x", "root", "b", BEGIN)
        await nodes.until(lambda: Held.begun)
        await nodes.nodes["a"].cancel(root, "enough", wait=False)
        assert Held.stopped == ["enough"]
        assert Held.begun["x"].task in list(nodes.nodes["b"].registry)
        Held.begun["x"].end(TaskCancelled("stopped"))
        with pytest.raises(TaskfanError, match=r"^stopped$"):
            await answer

    play(story)


def test_a_node_that_closes_lets_go_of_what_has_begun_and_who_asked_is_not_told() -> None:
    async def story(nodes: Nodes) -> None:
        add_held(nodes)
        node, told = nodes.nodes["a"], list[object]()
        node.begin(BEGIN, StringValue(value="x"), told.append, headers={})
        node.close()
        assert len(node.registry) == 0
        Held.begun["x"].end(StringValue())
        assert told == []

    play(story)
