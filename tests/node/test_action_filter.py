"""Which tasks a request means."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskfan.node.action_filter import action_pattern, select
from taskfan.node.ids import UNSET, TaskId
from taskfan.node.task import Task
from taskfan.v1 import actions_pb2 as pb

SEARCH, QUERY, BULK = "indices:data/read/search", "indices:data/read/search[phase/query]", "indices:data/write/bulk[s]"


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("*", [SEARCH, QUERY, BULK, ""]),
        ("**", [SEARCH, QUERY, BULK, ""]),
        ("", [""]),
        (SEARCH, [SEARCH]),
        ("*search", [SEARCH]),
        ("*search*", [SEARCH, QUERY]),
        ("indices:*read*[phase*]", [QUERY]),
        # Everything but the star stands for itself.
        ("*[s]", [BULK]),
        ("indices.data*", []),
        ("*bul?[s]", []),
        # Case counts, and the whole action must match.
        ("*SEARCH*", []),
        ("search", []),
        # A part may not be used by two stars.
        ("*bulk[s]*[s]", []),
    ],
)
def test_a_pattern_matches_whole_actions_by_its_stars(pattern: str, matching: list[str]) -> None:
    matches = action_pattern((pattern,))
    assert [action for action in (SEARCH, QUERY, BULK, "") if matches(action)] == matching


def test_one_of_several_patterns_is_enough() -> None:
    matches = action_pattern(("*bulk*", "nosuch", SEARCH))
    assert [bool(matches(action)) for action in (SEARCH, QUERY, BULK)] == [True, False, True]


def simple_match(pattern: str, text: str) -> bool:
    """As slow and as plain as it can be said."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(simple_match(pattern[1:], text[start:]) for start in range(len(text) + 1))
    return bool(text) and text[0] == pattern[0] and simple_match(pattern[1:], text[1:])


@settings(derandomize=True, database=None)
@given(st.text("ab*\n[", max_size=8), st.text("ab\n[", max_size=8))
def test_a_pattern_matches_what_its_stars_can_stand_for(pattern: str, text: str) -> None:
    assert bool(action_pattern((pattern, "never"))(text)) is simple_match(pattern, text)


def test_a_pattern_of_many_stars_costs_no_more_than_its_length() -> None:
    # Trying every way to share 40 letters among 30 stars would take longer than the universe has.
    matches = action_pattern(("*a" * 30 + "b", "other"))
    assert not matches("a" * 40)
    assert re.fullmatch("a*b", "a" * 40 + "b")
    assert matches("a" * 40 + "b")


def task(number: int, action: str, parent: TaskId = UNSET) -> Task:
    return Task(TaskId("n", number), "transport", action, 0, 0, parent=parent)


def test_conditions_are_joined_and_the_order_stays() -> None:
    parent = TaskId("m", 7)
    tasks = [task(1, BULK), task(2, SEARCH, parent), task(3, BULK, parent), task(4, BULK, TaskId("n", 7))]

    def numbers(**filter: object) -> list[int]:
        return [task.id.number for task in select(tasks, pb.TaskFilter(**filter))]  # type: ignore[arg-type]

    assert numbers() == [1, 2, 3, 4]
    assert numbers(actions=["*bulk*"]) == [1, 3, 4]
    assert numbers(parent_task_id=parent.to_wire()) == [2, 3]
    assert numbers(actions=["*bulk*"], parent_task_id=parent.to_wire()) == [3]
    assert numbers(actions=["nosuch"]) == []
    # `node:-1` counts as unset; `:7` is an id like others, though no task has such a parent.
    assert numbers(parent_task_id=TaskId("m", -1).to_wire()) == [1, 2, 3, 4]
    assert numbers(parent_task_id=TaskId("", 7).to_wire()) == []
