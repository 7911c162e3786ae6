"""Finds values inside answers: pointers, tasks of any grouping, captures, and conditions to wait for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

from tests.golden.scenarios import Json


def pointer(document: Json, path: str) -> Json:
    """The value at a JSON pointer, where `*` is the first key or item.

    Raises:
        LookupError, ValueError: there is no such value.
    """
    for part in [p.replace("~1", "/").replace("~0", "~") for p in path.split("/")[1:]]:
        if isinstance(document, dict):
            document = document[next(iter(document), "") if part == "*" else part]
        elif isinstance(document, list):
            document = document[0 if part == "*" else int(part)]
        else:
            raise KeyError(part)
    return document


def is_task(value: Json) -> bool:
    """Whether this is a task object of a list."""
    return isinstance(value, dict) and {"node", "id", "action"} <= value.keys()


def tasks_in(document: Json) -> Iterator[dict[str, Json]]:
    """Every task object of an answer, whatever its grouping."""
    if isinstance(document, dict):
        if is_task(document):
            yield document
        for value in document.values():
            yield from tasks_in(value)
    elif isinstance(document, list):
        for value in document:
            yield from tasks_in(value)


def capture(spec: Json, answer: dict[str, Json]) -> Json:
    """One captured value: a pointer, a header, a regular expression on the text, or a found task.

    Raises:
        LookupError, ValueError, TypeError: the answer has no such value.
    """
    spec = {"pointer": spec} if isinstance(spec, str) else spec
    body = answer.get("body")
    if "pointer" in spec:
        return pointer(body, spec["pointer"])
    if "header" in spec:
        return answer["headers"][spec["header"]]
    if "regex" in spec:
        match = re.search(spec["regex"], body if isinstance(body, str) else json.dumps(body))
        if match is None:
            raise LookupError(spec["regex"])
        return match.group(match.lastindex or 0)
    found = sorted(
        (task for task in tasks_in(body) if all(task.get(k) == v for k, v in spec["find"].items())),
        key=lambda task: (task["node"], task["id"]),
    )
    task = found[spec.get("index", 0)]
    return task[spec["field"]] if "field" in spec else f"{task['node']}:{task['id']}"


def holds(condition: Json, answer: dict[str, Json]) -> bool:
    """Whether the answer meets one condition, or all of a list of them."""
    if isinstance(condition, list):
        return all(holds(one, answer) for one in condition)
    if "status" in condition:
        return bool(answer.get("status") == condition["status"])
    if "tasks" in condition:
        return bool(len(list(tasks_in(answer.get("body")))) == condition["tasks"])
    try:
        value = pointer(answer.get("body"), condition["pointer"])
    except (LookupError, ValueError):
        return condition.get("exists") is False
    tests: dict[str, Callable[[Json], bool]] = {
        "exists": lambda wanted: wanted is True,
        "eq": lambda wanted: bool(value == wanted),
        "ne": lambda wanted: bool(value != wanted),
        "ge": lambda wanted: value is not None and bool(value >= wanted),
        "le": lambda wanted: value is not None and bool(value <= wanted),
        "size": lambda wanted: len(value) == wanted,
    }
    return all(test(condition[name]) for name, test in tests.items() if name in condition)
