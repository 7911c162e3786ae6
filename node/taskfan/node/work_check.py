"""Checks a plan of simulated work as a whole, and names by its path the field that is wrong. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from typing import get_args, get_type_hints

import msgspec

from taskfan.node.errors import IllegalArgument, TaskfanError
from taskfan.node.time_value import parse_time_ns
from taskfan.node.work_plan import (
    MAX_ACTION_LENGTH,
    MAX_DEPTH,
    MAX_DURATION,
    MAX_DURATION_NS,
    MAX_PLAN_BYTES,
    MAX_TASKS,
    UNTIL_CANCELLED,
    Failure,
    PlannedTask,
    Range,
    Span,
    TaskPlan,
    WorkPlan,
)

# The ids of the nodes that a node filter matches.
Resolve = Callable[[Sequence[str]], Sequence[str]]
MAX_SEED = (1 << 53) - 1
# Levels of objects and lists inside one another; stops texts that refer to themselves.
_MAX_NESTING = 100
# What has no meaning for a task without parent.
_OF_CHILDREN = ("nodes", "copies", "except_parent_node", "via", "start_after")
_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(TaskPlan)}


def plan_work(plan: object, resolve: Resolve) -> tuple[PlannedTask, int | None]:
    """Check a whole plan.

    Args:
        plan: objects, lists and values, as JSON or YAML gave them.
        resolve: the ids of the nodes that a node filter matches, in the order of the cluster state; may raise
            TaskfanError.

    Returns:
        The first task, and the plan's seed if it has one.

    Raises:
        IllegalArgument: something is wrong; the message begins with the path of the field.
    """
    if isinstance(plan, dict):
        _check_size(plan)
    try:
        read = msgspec.convert(plan, WorkPlan)
    except msgspec.ValidationError as error:
        raise IllegalArgument(_explain(str(error))) from None
    if read.seed is not None and not 0 <= read.seed <= MAX_SEED:
        raise IllegalArgument(f"seed: must be between 0 and {MAX_SEED}, but was [{read.seed}]")
    for name in _OF_CHILDREN:
        if getattr(read, name) != _DEFAULTS[name]:
            raise IllegalArgument(f"{name}: the first task runs once and at once, on the node that is asked")
    planned, tasks = _Check("", resolve, depth=1).planned(read)
    if tasks > MAX_TASKS:
        raise _too_many("children", tasks)
    return planned, read.seed


def _check_size(plan: object) -> None:
    """Refuse what is too large or too deep before anything looks closer: a YAML text may refer to itself."""
    left, waiting = MAX_PLAN_BYTES, [("", plan, 0)]
    while waiting:
        path, value, depth = waiting.pop()
        left -= len(value) + 2 if isinstance(value, str | bytes) else 4
        if depth > _MAX_NESTING:
            raise IllegalArgument(f"{path[:80]}…: is nested too deeply; a plan has at most {MAX_DEPTH} levels")
        if isinstance(value, dict):
            for key, inner in value.items():
                if not isinstance(key, str):
                    raise IllegalArgument(f"{_join(path, _shown(key))}: must be written as a text")
                left -= len(key) + 4
                waiting.append((_join(path, _shown(key)), inner, depth + 1))
        elif isinstance(value, list | tuple):
            waiting += [(f"{path}[{place}]", inner, depth + 1) for place, inner in enumerate(value)]
        if left < 0:
            raise IllegalArgument(f"plan: is larger than {MAX_PLAN_BYTES} bytes")


class _Check:
    """Checks one task of a plan and those below it; `path` is its place."""

    def __init__(self, path: str, resolve: Resolve, depth: int) -> None:
        self._path = path
        self._resolve = resolve
        self._depth = depth

    def planned(self, plan: TaskPlan) -> tuple[PlannedTask, int]:
        """The task, and how many tasks its copies and all below them are at most."""
        if self._depth > MAX_DEPTH:
            raise IllegalArgument(f"{self._path}: is level {self._depth}; a plan has at most {MAX_DEPTH}")
        self._check_words(plan)
        planned = PlannedTask(
            action=plan.action,
            description=plan.description,
            cancellable=plan.cancellable,
            cancels_children=plan.cancels_children,
            nodes=self._nodes(plan),
            copies=plan.copies,
            except_parent_node=plan.except_parent_node,
            via=plan.via,
            start_after=self._span("start_after", plan.start_after),
            duration=self._duration(plan),
            sequential=plan.sequential,
            status=plan.status,
            on_cancel=plan.on_cancel,
            stops_after=self._stops_after(plan),
            outcome=plan.outcome,
            failure=plan.failure or Failure(),
            on_child_failure=plan.on_child_failure,
        )
        tasks, children = 1, []
        for place, child in enumerate(plan.children):
            path = _join(self._path, f"children[{place}]")
            entry, below = _Check(path, self._resolve, self._depth + 1).planned(child)
            children.append(entry)
            tasks += below
        planned.children = tuple(children)
        tasks *= len(planned.nodes or "1") if plan.copies is None else plan.copies
        if tasks > MAX_TASKS and self._path:
            raise _too_many(_join(self._path, "nodes" if plan.copies is None else "copies"), tasks)
        return planned, tasks

    def _fail(self, field: str, what: str) -> IllegalArgument:
        return IllegalArgument(f"{_join(self._path, field)}: {what}")

    def _check_words(self, plan: TaskPlan) -> None:
        if not plan.action or len(plan.action) > MAX_ACTION_LENGTH or not plan.action.isprintable():
            raise self._fail("action", f"must have 1 to {MAX_ACTION_LENGTH} printable characters")
        if not plan.cancellable and plan.on_cancel != "stops":
            raise self._fail("on_cancel", "has no meaning for a task that is not cancellable")
        uses_failure = plan.outcome == "failure" or plan.on_cancel == "fails"
        if plan.failure is not None and not uses_failure:
            raise self._fail("failure", "needs [outcome: failure] or [on_cancel: fails]")
        if plan.failure is not None and not 400 <= plan.failure.status <= 599:
            raise self._fail("failure.status", f"must be an HTTP status of an error, but was [{plan.failure.status}]")
        if plan.failure is not None and re.fullmatch(r"[a-z][a-z0-9_]*", plan.failure.type) is None:
            raise self._fail("failure.type", f"must be like [illegal_state_exception], but was [{plan.failure.type}]")

    def _nodes(self, plan: TaskPlan) -> tuple[str, ...]:
        if plan.copies is not None and not 1 <= plan.copies <= MAX_TASKS:
            raise self._fail("copies", f"must be between 1 and {MAX_TASKS}, but was [{plan.copies}]")
        if plan.nodes is None:
            if plan.except_parent_node:
                raise self._fail("except_parent_node", "needs [nodes]")
            return ()
        if plan.via == "execute":
            raise self._fail("nodes", "must be absent with [via: execute], which runs on the parent's node")
        items = plan.nodes.split(",") if isinstance(plan.nodes, str) else plan.nodes
        if not any(items):
            raise self._fail("nodes", "must name a node; [_all] is every node")
        try:
            nodes = tuple(self._resolve(items))
        except TaskfanError as error:
            raise self._fail("nodes", error.reason or error.kind) from None
        if not nodes:
            raise self._fail("nodes", f"matches no node: [{','.join(items)}]")
        return nodes

    def _duration(self, plan: TaskPlan) -> Span:
        if plan.duration != UNTIL_CANCELLED:
            return self._span("duration", plan.duration)
        if not plan.cancellable or plan.on_cancel == "ignores":
            raise self._fail("duration", f"[{UNTIL_CANCELLED}] needs a task that stops when it is cancelled")
        return MAX_DURATION_NS, MAX_DURATION_NS

    def _stops_after(self, plan: TaskPlan) -> Span:
        if (plan.on_cancel == "stops_late") != (plan.stops_after is not None):
            raise self._fail("stops_after", "goes with [on_cancel: stops_late]: give both or none")
        return (0, 0) if plan.stops_after is None else self._span("stops_after", plan.stops_after)

    def _span(self, field: str, value: str | Range) -> Span:
        if isinstance(value, str):
            time_ns = self._time_ns(field, value)
            return time_ns, time_ns
        least, most = self._time_ns(f"{field}.min", value.min), self._time_ns(f"{field}.max", value.max)
        if least > most:
            raise self._fail(field, f"[min] must not be more than [max], but was [{value.min}] and [{value.max}]")
        return least, most

    def _time_ns(self, field: str, text: str) -> int:
        try:
            time_ns = parse_time_ns(text, field)
        except IllegalArgument as error:
            raise self._fail(field, str(error.reason)) from None
        if not 0 <= time_ns <= MAX_DURATION_NS:
            raise self._fail(field, f"must be between 0 and {MAX_DURATION}, but was [{text}]")
        return time_ns


def _join(path: str, field: str) -> str:
    return f"{path}.{field}" if path and field else path or field


def _shown(key: object) -> str:
    """A key as part of a path; one that is no plain word is put in quotes."""
    text = str(key)[:80]
    return text if re.fullmatch(r"[\w-]+", text) else f'"{text}"'


def _too_many(path: str, tasks: int) -> IllegalArgument:
    return IllegalArgument(f"{path}: makes {tasks} tasks; a plan has at most {MAX_TASKS}")


# ---------------------------------------------------------------------- the words of msgspec's errors

_TYPE_NAMES = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "nothing",
}


def _explain(message: str) -> str:
    """One of msgspec's errors as `path: what is wrong`."""
    what, _, path = message.partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    if found := re.fullmatch(r"Object missing required field `(\w+)`", what):
        return f"{_join(path, found[1])}: is missing"
    if found := re.fullmatch(r"Object contains unknown field `(.*)`", what, re.DOTALL):
        return f"{_join(path, _shown(found[1]))}: no such field{_did_you_mean(path, found[1])}"
    field = path.rpartition(".")[2]
    if found := re.fullmatch(r"Invalid enum value '(.*)'", what, re.DOTALL):
        choices = ", ".join(f"[{choice}]" for choice in get_args(get_type_hints(TaskPlan)[field]))
        return f"{path}: must be one of {choices}, but was [{found[1]}]"
    if found := re.fullmatch(r"Expected `([^`]+)`, got `(\w+)`", what):
        expected = " or ".join(_type_name(name) for name in found[1].split(" | ") if name != "null")
        return f"{path or 'plan'}: must be {expected}, but was {_type_name(found[2])}"
    return f"{path or 'plan'}: {what}"


def _type_name(name: str) -> str:
    return _TYPE_NAMES.get(name, f"a {name}")


def _did_you_mean(path: str, name: str) -> str:
    struct = {"failure": Failure, "duration": Range, "start_after": Range, "stops_after": Range}.get(
        path.rpartition(".")[2], TaskPlan if path else WorkPlan
    )
    near = difflib.get_close_matches(name, struct.__struct_fields__, n=1)
    return f". Did you mean [{near[0]}]?" if near else ""
