"""`filter_path` keeps what is asked for, and drops what is left empty."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskfan.coordinator.rest.filter_path import PathFilter
from taskfan.node.errors import IllegalArgument

TASKS = {
    "nodes": {
        "n1": {"name": "one", "tasks": {"n1:1": {"action": "a", "id": 1}, "n1:2": {"action": "b", "id": 2}}},
        "n2": {"name": "two", "tasks": {}},
    },
    "empty": {},
}


def filtered(text: str, value: Any) -> Any:
    wanted = PathFilter.parse(text)
    assert wanted is not None
    return wanted.apply(value)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("nosuch", {}),
        ("nodes.*.name", {"nodes": {"n1": {"name": "one"}, "n2": {"name": "two"}}}),
        ("nodes.n*.name", {"nodes": {"n1": {"name": "one"}, "n2": {"name": "two"}}}),
        ("nodes.*1.name", {"nodes": {"n1": {"name": "one"}}}),
        ("nodes.*.tasks.*.id", {"nodes": {"n1": {"tasks": {"n1:1": {"id": 1}, "n1:2": {"id": 2}}}}}),
        ("**.action", {"nodes": {"n1": {"tasks": {"n1:1": {"action": "a"}, "n1:2": {"action": "b"}}}}}),
        ("nodes.n2", {"nodes": {"n2": {"name": "two", "tasks": {}}}}),
        ("nodes.n2.tasks", {"nodes": {"n2": {"tasks": {}}}}),
        # Nothing is asked for inside of a text.
        ("nodes.*.name.x", {}),
        ("empty", {"empty": {}}),
        ("empty.x", {}),
        (" nodes.n2.name , ,empty", {"nodes": {"n2": {"name": "two"}}, "empty": {}}),
        ("nodes.*.name,-nodes.n1", {"nodes": {"n2": {"name": "two"}}}),
        ("-nodes", {"empty": {}}),
        ("-nodes.*.tasks", {"nodes": {"n1": {"name": "one"}, "n2": {"name": "two"}}, "empty": {}}),
        ("-**.id,-**.name,-empty", {"nodes": {"n1": {"tasks": {"n1:1": {"action": "a"}, "n1:2": {"action": "b"}}}}}),
        ("*", TASKS),
        ("**", TASKS),
    ],
)
def test_what_is_left_of_an_object(text: str, left: Any) -> None:
    assert filtered(text, TASKS) == left


def test_lists_are_looked_through() -> None:
    value = {"tasks": [{"id": 1, "x": 2}, {"x": 3}, 4], "more": [1, 2]}
    assert filtered("tasks.id", value) == {"tasks": [{"id": 1}]}
    assert filtered("-tasks.x", value) == {"tasks": [{"id": 1}, 4], "more": [1, 2]}
    assert filtered("id", [{"id": 1}, {"x": 1}]) == [{"id": 1}]
    assert filtered("nosuch", [{"id": 1}]) is None


def test_names_with_dots_are_asked_for_with_a_backslash() -> None:
    assert filtered(r"resource\.id", {"resource.id": 1, "resource": {"id": 2}}) == {"resource.id": 1}
    assert filtered("resource.id", {"resource.id": 1, "resource": {"id": 2}}) == {"resource": {"id": 2}}


def test_two_stars_stand_for_one_name_or_more() -> None:
    value = {"a": 1, "b": {"a": 2, "c": {"a": 3}}}
    assert filtered("**.a", value) == {"b": {"a": 2, "c": {"a": 3}}}


@pytest.mark.parametrize("text", [None, "", ",", " , "])
def test_nothing_asked_for_is_no_filter(text: str | None) -> None:
    assert PathFilter.parse(text) is None


@pytest.mark.parametrize("text", ["-", "-,- ", "nodes,-"])
def test_to_exclude_what_has_no_name_is_refused(text: str) -> None:
    with pytest.raises(IllegalArgument, match=r"^filters cannot be null or empty$"):
        filtered(text, TASKS)


def test_dots_at_the_end_say_nothing() -> None:
    assert filtered("nodes.n2..", TASKS) == filtered("nodes.n2.", TASKS) == filtered("nodes.n2", TASKS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)
PATHS = st.lists(st.sampled_from(["a", "b", "*", "**", "a*"]), min_size=1, max_size=3).map(".".join)


def leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], str]]:
    """Every value that is no container, and every empty container inside, with the names that lead there."""
    if isinstance(value, dict) and value:
        return [leaf for name, inner in value.items() for leaf in leaves(inner, (*path, name))]
    if isinstance(value, list) and value:
        return [leaf for inner in value for leaf in leaves(inner, path)]
    return [(path, repr(value))]


@given(st.dictionaries(st.sampled_from("abc"), JSON, max_size=3), PATHS)
def test_a_path_and_its_exclusion_share_the_values_between_them(value: dict[str, Any], path: str) -> None:
    kept = leaves(filtered(path, value))
    rest = leaves(filtered(f"-{path}", value))
    scalars = [leaf for leaf in leaves(value) if leaf[1] not in ("{}", "[]")]
    both = [leaf for leaf in kept + rest if leaf[1] not in ("{}", "[]")]
    assert sorted(both) == sorted(scalars)
