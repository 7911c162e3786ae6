"""Which tasks a request means: action patterns and direct parent. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from taskfan.node.ids import TaskId
from taskfan.node.task import Task
from taskfan.v1 import actions_pb2 as pb


@lru_cache(maxsize=128)
def action_pattern(patterns: tuple[str, ...]) -> Callable[[str], object]:
    """A test whether any of the patterns matches a whole text: `*` is any sequence, all else is itself.

    Source: OpenSearch `Regex.simpleMatch`.
    """
    if len(patterns) == 1 and "*" not in patterns[0]:
        return patterns[0].__eq__
    return re.compile("|".join(map(_expression, patterns)), re.DOTALL).fullmatch


def _expression(pattern: str) -> str:
    first, *rest = map(re.escape, pattern.split("*"))
    if not rest:
        return first
    # Each part is taken where it first occurs, and never looked for again: that loses nothing, and a pattern
    # of many stars cannot make the search explode.
    return first + "".join(f"(?>.*?{part})" for part in rest[:-1] if part) + ".*" + rest[-1]


def task_filter(message: pb.TaskFilter) -> Callable[[Task], bool]:
    """A test for the conditions on action and parent, all of which must hold; none passes every task.

    Source: OpenSearch `BaseTasksRequest.match`.
    """
    matches = action_pattern(tuple(message.actions)) if message.actions else None
    parent = TaskId.from_wire(message.parent_task_id)
    # Thousands of tasks have a handful of actions.
    known: dict[str, bool] = {}

    def passes(task: Task) -> bool:
        if parent.is_set and task.parent != parent:
            return False
        if matches is None:
            return True
        verdict = known.get(task.action)
        if verdict is None:
            verdict = known[task.action] = bool(matches(task.action))
        return verdict

    return passes


def select(tasks: Iterable[Task], message: pb.TaskFilter) -> list[Task]:
    """The tasks that pass, in the order given."""
    if not message.actions and not TaskId.from_wire(message.parent_task_id).is_set:
        return list(tasks)
    return list(filter(task_filter(message), tasks))
