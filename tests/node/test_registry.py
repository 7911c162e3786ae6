"""The registry of one node by itself: numbers, headers, order, bans. With others it is in `test_cancellation`."""

from __future__ import annotations

import pytest

from taskfan.node.cancellation import CancelDone, StopTask
from taskfan.node.errors import IllegalArgument, TaskCancelled, TaskfanError
from taskfan.node.failures import TaskFailure
from taskfan.node.ids import UNSET, TaskId
from taskfan.node.registry import TaskRegistry
from taskfan.node.task import PLAIN, CancelledInfo, Task, TaskTraits

CANCELLABLE = TaskTraits(cancellable=True)
PARENT, OTHER = TaskId("m", 7), TaskId("m", 8)


def register(
    registry: TaskRegistry,
    traits: TaskTraits = CANCELLABLE,
    parent: TaskId = UNSET,
    headers: dict[str, str] | None = None,
) -> Task:
    return registry.register(
        "test", type="transport", now_ms=3, now_ns=4, traits=traits, parent=parent, headers=headers
    )


def set_ban(registry: TaskRegistry, parent: TaskId = PARENT) -> object:
    return registry.set_ban(parent, "why", wait=False, parent_node_is_known=True, now_ms=9, caller="ban")


def test_numbers_start_at_one_and_are_never_used_again() -> None:
    registry = TaskRegistry("n")
    first = register(registry)
    registry.unregister(first)
    assert [first.id, register(registry, PLAIN).id] == [TaskId("n", 1), TaskId("n", 2)]


def test_a_task_refused_by_a_ban_uses_up_its_number_and_one_with_large_headers_does_not() -> None:
    registry = TaskRegistry("n")
    set_ban(registry)
    with pytest.raises(TaskCancelled, match=r"^Task cancelled before it started: why$"):
        register(registry, parent=PARENT)
    with pytest.raises(IllegalArgument):
        register(registry, headers={"X-Opaque-Id": "a" * 9_000})
    assert (register(registry).id.number, len(registry)) == (2, 1)


def test_headers_may_be_16384_bytes_at_two_bytes_a_character() -> None:
    registry = TaskRegistry("n")
    name, value = "X-Opaque-Id", "ä" * (8192 - len("X-Opaque-Id"))
    assert register(registry, headers={name: value}).headers == {name: value}
    with pytest.raises(IllegalArgument, match=r"^Request exceeded the maximum size of task headers 16kb$"):
        register(registry, headers={name: value, "a": ""})
    with pytest.raises(IllegalArgument):
        register(registry, headers={"a": "", name: value})


def test_tasks_are_listed_in_the_order_of_their_numbers() -> None:
    registry = TaskRegistry("n")
    tasks = [register(registry, traits) for traits in (CANCELLABLE, PLAIN, CANCELLABLE, PLAIN)]
    registry.unregister(tasks[1])
    assert [task.id.number for task in registry] == [1, 3, 4]
    assert (registry.get(3), registry.get(2), len(registry)) == (tasks[2], None, 3)


def test_a_task_is_unregistered_once() -> None:
    registry = TaskRegistry("n")
    task = register(registry)
    registry.unregister(task)
    with pytest.raises(KeyError):
        registry.unregister(task)


def test_a_ban_stops_running_children_and_refuses_later_ones() -> None:
    registry = TaskRegistry("n")
    child, other = register(registry, parent=PARENT), register(registry, parent=OTHER)
    namesake = register(registry, parent=TaskId("another node", PARENT.number))
    plain = register(registry, PLAIN, parent=PARENT)
    assert set_ban(registry) == [StopTask(child, "why"), CancelDone("ban", None)]
    assert child.cancelled == CancelledInfo("why", 9)
    assert [task.cancelled for task in (other, namesake, plain)] == [None, None, None]
    assert dict(registry.bans) == {PARENT: "why"}
    with pytest.raises(TaskCancelled):
        register(registry, parent=PARENT)
    # Neither a plain child, nor another parent's, nor one without a parent.
    assert register(registry, PLAIN, parent=PARENT).cancelled is None
    assert register(registry, parent=OTHER).cancelled is None
    assert register(registry).cancelled is None

    registry.remove_ban(PARENT)
    registry.remove_ban(PARENT)
    assert register(registry, parent=PARENT).cancelled is None


def test_a_second_ban_replaces_the_reason_for_children_to_come() -> None:
    registry = TaskRegistry("n")
    child = register(registry, parent=PARENT)
    set_ban(registry)
    registry.set_ban(PARENT, "other", wait=False, parent_node_is_known=True, now_ms=10, caller=None)
    assert child.cancelled == CancelledInfo("why", 9)
    with pytest.raises(TaskCancelled, match="other"):
        register(registry, parent=PARENT)


def test_a_ban_of_nobody_bans_nobody() -> None:
    registry = TaskRegistry("n")
    task = register(registry)
    set_ban(registry, UNSET)
    set_ban(registry, TaskId("m", -1))
    assert register(registry, parent=TaskId("m", -1)).cancelled is task.cancelled is None


def test_bans_of_a_node_that_left_are_dropped_and_no_others() -> None:
    registry = TaskRegistry("n")
    for parent in (PARENT, OTHER, TaskId("mm", 7)):
        set_ban(registry, parent)
    registry.node_left("m")
    assert dict(registry.bans) == {TaskId("mm", 7): "why"}


def test_the_flag_keeps_the_first_reason_and_time() -> None:
    registry = TaskRegistry("n")
    task = register(registry)
    first = registry.cancel(task, "first", wait=False, now_ms=100, caller="a")
    second = registry.cancel(task, "second", wait=False, now_ms=200, caller="b")
    assert first == [StopTask(task, "first"), CancelDone("a", None)]
    assert second == [CancelDone("b", None)]
    assert task.cancelled == CancelledInfo("first", 100)


def test_a_token_is_given_back_once() -> None:
    registry = TaskRegistry("n")
    parent = register(registry)
    token = registry.child_started(parent, "m")
    assert registry.child_ended(token) == []
    with pytest.raises(AssertionError):
        registry.child_ended(token)
    assert registry.child_ended(None) == []


def test_a_task_failure_crosses_the_wire_with_its_task_and_reason() -> None:
    failure = TaskFailure(TaskId("n", 4), TaskfanError("why", cause=TaskfanError("below")))
    back = TaskFailure.from_wire(failure.to_wire())
    assert (back.task_id, back.reason.reason) == (TaskId("n", 4), "why")
    assert back.reason.cause is not None
    assert back.reason.cause.reason == "below"


def test_children_are_counted_by_parent_and_node_until_they_are_answered() -> None:
    registry = TaskRegistry("n")
    parent = register(registry)
    tokens = [registry.child_started(parent, node_id) for node_id in ("m", "m", "o")]
    assert registry.child_counts == {parent.id: {"m": 2, "o": 1}}
    for token in tokens:
        registry.child_ended(token)
    assert registry.child_counts == {}
