"""A plan of simulated work is checked as a whole, and what is wrong is named by its path."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskfan.node.errors import IllegalArgument
from taskfan.node.time_value import parse_time_ns
from taskfan.node.work_check import plan_work
from taskfan.node.work_plan import PlannedTask, TaskPlan, draw_ns

NODES = ["n0", "n1", "n2"]
LEAF = {"action": "a"}


def resolve(items: Sequence[str]) -> list[str]:
    if "data:x" in items:
        raise IllegalArgument("Failed to parse value [x] as only [true] or [false] are allowed.")
    return NODES if "_all" in items else [node for node in NODES if node in items]


def planned(**plan: Any) -> PlannedTask:
    return plan_work({"action": "root", **plan}, resolve)[0]


def child(**plan: Any) -> PlannedTask:
    return planned(children=[{"action": "child", **plan}]).children[0]


def refusal(plan: object) -> str:
    with pytest.raises(IllegalArgument) as caught:
        plan_work(plan, resolve)
    assert caught.value.http_status == 400
    return str(caught.value.reason)


def nested(levels: int) -> dict[str, Any]:
    return {"action": "a", "children": [nested(levels - 1)]} if levels > 1 else {"action": "a"}


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (None, "plan: must be an object, but was nothing"),
        ([], "plan: must be an object, but was a list"),
        ("x", "plan: must be an object, but was a text"),
        ({}, "action: is missing"),
        ({"action": 5}, "action: must be a text, but was a whole number"),
        ({"action": ""}, "action: must have 1 to 256 printable characters"),
        ({"action": "a\n"}, "action: must have 1 to 256 printable characters"),
        ({"action": "a", "durations": "1s"}, "durations: no such field. Did you mean [duration]?"),
        ({"action": "a", "zz": 1}, "zz: no such field"),
        ({"action": "a", 5: 1}, "5: must be written as a text"),
        ({"action": "a", "": 1}, '"": no such field'),
        ({"action": "a", "a: b": 1}, '"a: b": no such field'),
        ({"action": "a", "seed": -1}, "seed: must be between 0 and 9007199254740991, but was [-1]"),
        ({"action": "a", "seed": "x"}, "seed: must be a whole number, but was a text"),
        ({"action": "a", "copies": 2}, "copies: the first task runs once and at once, on the node that is asked"),
        ({"action": "a", "nodes": "n1"}, "nodes: the first task runs once and at once, on the node that is asked"),
        ({"action": "a", "children": {}}, "children: must be a list, but was an object"),
        ({"action": "a", "status": "x"}, "status: must be an object, but was a text"),
        ({"action": "a", "duration": 5}, "duration: must be a text or an object, but was a whole number"),
        (
            {"action": "a", "duration": "5"},
            "duration: failed to parse setting [duration] with value [5] as a time value: "
            "unit is missing or unrecognized",
        ),
        (
            {"action": "a", "duration": "1.5s"},
            "duration: failed to parse [1.5s], fractional time values are not supported",
        ),
        ({"action": "a", "duration": "-1"}, "duration: must be between 0 and 1d, but was [-1]"),
        ({"action": "a", "duration": "25h"}, "duration: must be between 0 and 1d, but was [25h]"),
        (
            {"action": "a", "duration": {"min": "2s", "max": "1s"}},
            "duration: [min] must not be more than [max], but was [2s] and [1s]",
        ),
        ({"action": "a", "duration": {"min": "2s"}}, "duration.max: is missing"),
        (
            {"action": "a", "duration": {"min": "2s", "mx": "3s"}},
            "duration.mx: no such field. Did you mean [max]?",
        ),
        (
            {"action": "a", "duration": "until_cancelled", "cancellable": False},
            "duration: [until_cancelled] needs a task that stops when it is cancelled",
        ),
        (
            {"action": "a", "duration": "until_cancelled", "on_cancel": "ignores"},
            "duration: [until_cancelled] needs a task that stops when it is cancelled",
        ),
        (
            {"action": "a", "on_cancel": "stop"},
            "on_cancel: must be one of [stops], [stops_late], [ignores], [fails], but was [stop]",
        ),
        (
            {"action": "a", "cancellable": False, "on_cancel": "fails"},
            "on_cancel: has no meaning for a task that is not cancellable",
        ),
        (
            {"action": "a", "on_cancel": "stops_late"},
            "stops_after: goes with [on_cancel: stops_late]: give both or none",
        ),
        ({"action": "a", "stops_after": "1s"}, "stops_after: goes with [on_cancel: stops_late]: give both or none"),
        ({"action": "a", "failure": {}}, "failure: needs [outcome: failure] or [on_cancel: fails]"),
        (
            {"action": "a", "outcome": "failure", "failure": {"status": 200}},
            "failure.status: must be an HTTP status of an error, but was [200]",
        ),
        (
            {"action": "a", "outcome": "failure", "failure": {"type": "Not This"}},
            "failure.type: must be like [illegal_state_exception], but was [Not This]",
        ),
        (
            {"action": "a", "outcome": "failure", "failure": {"cause": "x"}},
            "failure.cause: no such field",
        ),
    ],
)
def test_what_is_wrong_in_the_first_task_is_named(plan: object, reason: str) -> None:
    assert refusal(plan) == reason


@pytest.mark.parametrize(
    ("child", "reason"),
    [
        ({}, "children[1].action: is missing"),
        ({"action": "a", "node": "n1"}, "children[1].node: no such field. Did you mean [nodes]?"),
        ({"action": "a", "seed": 1}, "children[1].seed: no such field"),
        ({"action": "a", "duration": "5x"}, "children[1].duration: failed to parse setting [duration] with value [5x]"),
        ({"action": "a", "duration": {"min": "x", "max": "1s"}}, "children[1].duration.min: failed to parse"),
        ({"action": "a", "start_after": "2d"}, "children[1].start_after: must be between 0 and 1d, but was [2d]"),
        ({"action": "a", "nodes": "n7,n8"}, "children[1].nodes: matches no node: [n7,n8]"),
        ({"action": "a", "nodes": []}, "children[1].nodes: must name a node; [_all] is every node"),
        ({"action": "a", "nodes": ""}, "children[1].nodes: must name a node; [_all] is every node"),
        ({"action": "a", "nodes": "data:x"}, "children[1].nodes: Failed to parse value [x] as only [true] or [false]"),
        ({"action": "a", "nodes": "n1", "via": "execute"}, "children[1].nodes: must be absent with [via: execute]"),
        ({"action": "a", "except_parent_node": True}, "children[1].except_parent_node: needs [nodes]"),
        ({"action": "a", "copies": 0}, "children[1].copies: must be between 1 and 100000, but was [0]"),
        ({"action": "a", "children": [{"action": "a", "copies": 100_001}]}, "children[1].children[0].copies: must be"),
        (
            {"action": "a", "copies": 1000, "children": [{"action": "a", "copies": 1000}]},
            "children[1].copies: makes 1001000 tasks; a plan has at most 100000",
        ),
        (
            {"action": "a", "nodes": "_all", "children": [{"action": "a", "copies": 50_000}]},
            "children[1].nodes: makes 150003 tasks; a plan has at most 100000",
        ),
    ],
)
def test_what_is_wrong_further_down_is_named_by_its_path(child: dict[str, Any], reason: str) -> None:
    assert refusal({"action": "root", "children": [LEAF, child]}).startswith(reason)


def test_a_plan_has_limits_of_tasks_depth_and_size() -> None:
    half = {"action": "a", "copies": 50_000}
    assert (
        refusal({"action": "a", "children": [half, half]}) == "children: makes 100001 tasks; a plan has at most 100000"
    )
    plan_work(nested(20), resolve)
    path = ".".join(["children[0]"] * 20)
    assert refusal(nested(21)) == f"{path}: is level 21; a plan has at most 20"
    assert "is nested too deeply" in refusal(nested(800))
    assert refusal({"action": "a", "description": "x" * (1 << 20)}) == "plan: is larger than 1048576 bytes"


def test_a_plan_that_refers_to_itself_is_refused() -> None:
    endless: dict[str, Any] = {"action": "a"}
    endless["children"] = [endless]
    assert "is nested too deeply" in refusal(endless)
    # Each level names the next one ten times: small as a text with anchors, endless when written out.
    bomb: Any = LEAF
    for _ in range(15):
        bomb = {"action": "a", "children": [bomb] * 10}
    assert refusal(bomb) == "plan: is larger than 1048576 bytes"


def test_the_defaults_are_those_that_are_documented() -> None:
    task = child()
    assert (task.cancellable, task.cancels_children, task.via, task.sequential) == (True, True, "send", False)
    assert (task.duration, task.start_after, task.stops_after) == ((0, 0), (0, 0), (0, 0))
    assert (task.on_cancel, task.outcome, task.on_child_failure, task.status) == (
        "stops",
        "success",
        "carries_on",
        None,
    )
    assert (task.failure.type, task.failure.reason, task.failure.status) == (
        *("illegal_state_exception", "simulated failure", 500),
    )


def test_times_become_nanoseconds_and_filters_nodes() -> None:
    task = child(duration={"min": "5micros", "max": "2m"}, start_after="3ms", nodes=["n2", "n0"])
    assert (task.duration, task.start_after, task.nodes) == ((5_000, 120_000_000_000), (3_000_000,) * 2, ("n0", "n2"))
    assert child(nodes="n2,n0").nodes == ("n0", "n2")
    assert child(duration="until_cancelled").duration == (86_400_000_000_000,) * 2


def test_copies_are_dealt_to_the_nodes_in_turn() -> None:
    assert child().nodes_of_copies("n1") == ["n1"]
    assert child(copies=2).nodes_of_copies("n1") == ["n1", "n1"]
    assert child(nodes="_all").nodes_of_copies("n1") == ["n0", "n1", "n2"]
    assert child(nodes="_all", copies=5).nodes_of_copies("n1") == ["n0", "n1", "n2", "n0", "n1"]


def test_copies_away_from_the_parent_begin_with_the_node_after_it() -> None:
    away = child(nodes="_all", except_parent_node=True)
    assert away.nodes_of_copies("n1") == ["n2", "n0"]
    assert away.nodes_of_copies("elsewhere") == ["n0", "n1", "n2"]
    assert child(nodes="_all", except_parent_node=True, copies=3).nodes_of_copies("n0") == ["n1", "n2", "n1"]
    assert child(nodes="n1", except_parent_node=True, copies=3).nodes_of_copies("n1") == []


def test_a_drawn_time_depends_on_seed_place_and_purpose_alone() -> None:
    span = (1_000_000_000, 9_000_000_000)
    # Written out, for the same plan must take the same time in every version.
    assert draw_ns(span, 7, "children[0]", "duration") == 1_922_105_235
    assert draw_ns(span, 7, "children[0]", "start_after") == 7_482_747_922
    assert draw_ns(span, 7, "children[1]", "duration") == 4_869_935_437
    assert draw_ns(span, 8, "children[0]", "duration") == 6_180_002_340
    assert draw_ns((5, 5), 7, "", "duration") == 5


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 2**53 - 1), st.text(max_size=20))
def test_a_drawn_time_is_within_its_range(a: int, b: int, seed: int, path: str) -> None:
    least, most = sorted((a, b))
    assert least <= draw_ns((least, most), seed, path, "duration") <= most


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        *(
            ("0", 0),
            ("-1", -1_000_000),
            ("-01", -1_000_000),
            ("7nanos", 7),
            ("7micros", 7_000),
            ("7ms", 7_000_000),
            (" 2S ", 2 * 10**9),
        ),
        *(("3m", 180 * 10**9), ("2h", 7_200 * 10**9), ("1d", 86_400 * 10**9), ("+5s", 5 * 10**9), ("-1s", -(10**9))),
    ],
)
def test_time_values_are_read_as_opensearch_reads_them(text: str, nanoseconds: int) -> None:
    assert parse_time_ns(text, "timeout") == nanoseconds


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "failed to parse setting [t] with value [] as a time value: unit is missing or unrecognized"),
        ("5M", "failed to parse setting [t] with value [5M] as a time value: unit is missing or unrecognized"),
        ("-2s", "failed to parse setting [t] with value [-2s] as a time value: negative durations are not supported"),
        ("xs", "failed to parse [xs]"),
        ("1e3s", "failed to parse [1e3s], fractional time values are not supported"),
    ],
)
def test_other_texts_are_refused_in_opensearchs_words(text: str, reason: str) -> None:
    with pytest.raises(IllegalArgument) as caught:
        parse_time_ns(text, "t")
    assert caught.value.reason == reason


# ---------------------------------------------------------------------- any plan at all

FIELDS = [*TaskPlan.__struct_fields__, "seed", "min", "max", "type", "reason", "zz"]
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.dates() | st.binary(max_size=3)
    | st.sampled_from(["a", "1s", "5ms", "stops", "ignores", "failure", "_all", "n1", "execute", "until_cancelled", ""])
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | SCALARS, inner, max_size=4),
    max_leaves=12,
)
MOSTLY_PLANS = st.recursive(
    st.just(LEAF),
    lambda inner: st.fixed_dictionaries(
        {"action": st.just("a")},
        optional={name: VALUES for name in FIELDS if name not in ("action", "children")}
        | {"children": st.lists(inner, max_size=3)},
    ),
    max_leaves=5,
)


@given(VALUES | MOSTLY_PLANS)
def test_any_value_is_a_plan_or_an_error_that_begins_with_a_path(value: object) -> None:
    reason = "plan: is good"
    try:
        plan_work(value, resolve)
    except IllegalArgument as error:
        reason = str(error.reason)
    name = r"([\w-]+|\".*\")(\[\d+\])*"
    assert re.match(rf"{name}(\.{name})*: \S", reason, re.DOTALL), reason


def test_the_readme_of_the_coordinator_tells_of_every_field() -> None:
    readme = (Path(__file__).parents[2] / "coordinator" / "README.md").read_text()
    section = readme.partition("## A plan of simulated work")[2]
    assert sorted(re.findall(r"^\| `(\w+)` \|", section, re.M)) == sorted(TaskPlan.__struct_fields__)
