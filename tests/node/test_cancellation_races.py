"""Each race of a cancel in every order: all ways in which messages and events can follow one another are walked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.node.fake_network import FakeNetwork
from tests.node.story import play


def walk(start: list[str], events: list[str]) -> set[str]:
    """Play every order of the events and of the messages they cause; `Watch` checks each step and each end.

    Every state is left by every way out of it, but only once, however many orders lead to it. Tasks
    end only while they run. Returns every line that was logged somewhere.
    """
    seen: set[tuple[object, ...]] = set()
    lines: set[str] = set()
    todo = [(start, events)]
    while todo:
        steps, left = todo.pop()
        network = replay(steps)
        state = (*snapshot(network), *sorted(left))
        if state in seen:
            continue
        seen.add(state)
        ways = list(ways_on(network, left))
        todo += [([*steps, step], [event for event in left if event != used]) for step, used in ways]
        network.settle()
        lines.update(network.log)
    return lines


def replay(steps: list[str]) -> FakeNetwork:
    network = FakeNetwork("A", "B", "C")
    for step in steps:
        play(network, step)
        network.watch.check()
    return network


def ways_on(network: FakeNetwork, left: list[str]) -> Iterator[tuple[str, str]]:
    """Possible steps, each with the event it uses up."""
    messages = [request for request in network.movable if request.sender in network.registries]
    for text in dict.fromkeys(request.text for request in messages):
        yield f"deliver {text}", ""
    for event in left:
        match event.split():
            case ["end", name]:
                if name in network.running:
                    yield event, event
            case ["cancel", name, *_]:
                if network.tasks[name].id.node_id in network.registries:
                    yield event, event
            case ["give", "up", name]:
                if any(r.about == name and r.kind == "child" and r.open for r in network.requests):
                    yield event, event
            case ["lose" | "refuse" as order, "any"]:
                for request in messages:
                    if request.sender != request.to:
                        yield f"{order} {request.text}", event
            case _:
                yield event, event


def snapshot(network: FakeNetwork) -> tuple[object, ...]:
    """All that can matter for what follows."""
    calls = [
        (
            node,
            number,
            call.caller.name if hasattr(call.caller, "name") else "",
            tuple(call.pending),
            call.failure is None,
        )
        for node, registry in network.registries.items()
        for number, holder in registry._holders.items()
        if holder.cancellation is not None
        for call in holder.cancellation.calls
    ]
    return (
        *sorted((request.text, request.state, request.open, request.failure is None) for request in network.requests),
        *sorted((name, task.cancelled is not None) for name, task in network.tasks.items() if network.runs(task)),
        *sorted(calls),
        *((caller.name, len(caller.told)) for caller in network.callers),
        *((node, *registry.bans) for node, registry in network.registries.items()),
        *network.came_by,
    )


ONE_CHILD = ["start p on A", "send c of p to B"]
GRANDCHILD = [*ONE_CHILD, "deliver A>B child c", "send g of c to C"]
CANCELS = ["cancel p for user", "cancel p for user, wait"]
FAILURES = {"lose": "node_disconnected_exception", "refuse": "rejected_execution_exception"}


BY_USER = "c is cancelled: by user request"
REFUSED = "c is refused: Task cancelled before it started: by user request"
DISCONNECTED = "user is told: node_disconnected_exception"


@pytest.mark.parametrize("cancel", CANCELS)
@pytest.mark.parametrize("kind", ["", ", leaf"])
@pytest.mark.parametrize("node", ["A", "B"])
def test_a_child_may_come_before_during_and_after_the_ban(node: str, kind: str, cancel: str) -> None:
    seen = walk(["start p on A", f"send c of p to {node}{kind}"], [cancel, "end p", "end c"])
    assert {"c starts", BY_USER, REFUSED, f"A>{node} unban p", "user is told"} <= seen


@pytest.mark.parametrize("cancel", CANCELS)
def test_a_plain_child_runs_on_whenever_it_comes(cancel: str) -> None:
    seen = walk(["start p on A", "send c of p to B, plain"], [cancel, "end p", "end c"])
    assert {"c starts", "A>B ban p", "A>B unban p", "user is told"} <= seen
    assert not {BY_USER, REFUSED} & seen


@pytest.mark.parametrize("cancel", CANCELS)
def test_a_parent_that_stops_alone_lets_its_child_live_in_every_order(cancel: str) -> None:
    seen = walk(["start p on A, leaf", "send c of p to B"], [cancel, "end p", "end c"])
    assert {"c starts", "p is cancelled: by user request", "user is told"} <= seen
    assert not {BY_USER, REFUSED, "A>B ban p"} & seen


@pytest.mark.parametrize("cancel", CANCELS)
def test_a_grandchild_may_come_before_during_and_after_the_bans(cancel: str) -> None:
    seen = walk(GRANDCHILD, [cancel, "end p", "end c", "end g"])
    refused = "g is refused: Task cancelled before it started: by user request"
    assert {"g starts", "g is cancelled: by user request", refused, "B>C unban c", "user is told"} <= seen


@pytest.mark.parametrize("first", CANCELS)
@pytest.mark.parametrize("second", ["cancel p for second", "cancel p for second, wait", "cancel c for second"])
def test_a_second_cancel_may_come_at_each_point(first: str, second: str) -> None:
    seen = walk([*ONE_CHILD, "deliver A>B child c"], [first, second, "end p", "end c"])
    assert {BY_USER, "user is told", "second is told", "A>B unban p"} <= seen


@pytest.mark.parametrize("cancel", CANCELS)
def test_a_link_may_close_in_each_state(cancel: str) -> None:
    seen = walk(ONE_CHILD, [cancel, "close A>B", "end p", "end c"])
    assert {BY_USER, REFUSED, "c is cancelled: channel was closed", "user is told", DISCONNECTED} <= seen


@pytest.mark.parametrize("cancel", CANCELS)
def test_the_node_of_the_child_may_go_in_each_state(cancel: str) -> None:
    for event in ("kill B", "A forgets B"):
        seen = walk(ONE_CHILD, [cancel, event, "end p", "end c"])
        assert {BY_USER, REFUSED, "user is told", DISCONNECTED, "child c fails: disconnected"} <= seen


@pytest.mark.parametrize("cancel", CANCELS)
def test_the_node_of_the_parent_may_go_in_each_state(cancel: str) -> None:
    seen = walk(ONE_CHILD, [cancel, "kill A", "end c"])
    assert {BY_USER, REFUSED, "c is cancelled: channel was closed"} <= seen
    # Only forgotten, its link still brings bans and children: there OpenSearch lets a late child start.
    seen = walk(ONE_CHILD, [cancel, "B forgets A", "end p", "end c"])
    assert {BY_USER, REFUSED, "user is told"} <= seen


@pytest.mark.parametrize("cancel", CANCELS)
def test_the_wait_for_a_child_may_end_in_each_state(cancel: str) -> None:
    seen = walk(ONE_CHILD, [cancel, "give up c", "end p", "end c"])
    assert {BY_USER, REFUSED, "c is given up", "user is told"} <= seen


@pytest.mark.parametrize("cancel", CANCELS)
@pytest.mark.parametrize("spoil", ["lose", "refuse"])
def test_each_message_may_be_spoiled_at_each_depth(spoil: str, cancel: str) -> None:
    seen = walk(GRANDCHILD, [cancel, f"{spoil} any", "end p", "end c", "end g"])
    failed = "rejected" if spoil == "refuse" else "disconnected"
    assert {f"ban p fails: {failed}", f"ban c fails: {failed}", f"child g fails: {failed}"} <= seen
    assert {"user is told", "user is told: " + FAILURES[spoil]} <= seen


@pytest.mark.parametrize("second", ["cancel p for second", "cancel p for second, wait"])
@pytest.mark.parametrize("spoil", ["lose", "refuse"])
def test_a_second_cancel_makes_good_for_a_spoiled_one_or_fails_by_itself(spoil: str, second: str) -> None:
    seen = walk([*ONE_CHILD, "deliver A>B child c"], ["cancel p for user", second, f"{spoil} any", "end p", "end c"])
    assert {"user is told", "second is told"} <= seen
    assert {f"{who} is told: {FAILURES[spoil]}" for who in ("user", "second")} <= seen
