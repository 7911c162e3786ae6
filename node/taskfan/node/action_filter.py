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


class _Verdicts(dict[str, bool]):
    """Of each action whether it matches: thousands of tasks have a handful of actions."""

    def __init__(self, matches: Callable[[str], object]) -> None:
        self._matches = matches

    def __missing__(self, action: str) -> bool:
        verdict = self[action] = bool(self._matches(action))
        return verdict


def select(tasks: Iterable[Task], message: pb.TaskFilter) -> list[Task]:
    """The tasks for which the conditions on action and parent hold, in the order given; none of them passes every task.

    Source: OpenSearch `BaseTasksRequest.match`.
    """
    selected = list(tasks)
    if message.HasField("parent_task_id") and (parent := TaskId.from_wire(message.parent_task_id)).is_set:
        selected = [task for task in selected if task.parent == parent]
    if message.actions:
        verdicts = _Verdicts(action_pattern(tuple(message.actions)))
        selected = [task for task in selected if verdicts[task.action]]
    return selected


def passes(task: Task, message: pb.TaskFilter) -> bool:
    """Whether `select` would take it."""
    return bool(select((task,), message))
