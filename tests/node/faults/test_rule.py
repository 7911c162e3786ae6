"""Proves which fault rules are taken, and that the error for the others names the field."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskfan.node.faults.rule import FaultRule, InvalidFault, changed, check_rule, read_rule
from taskfan.node.faults.selectors import matches_text, matching_nodes
from tests.node.faults.builders import NODES


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ([], "rule", "map of fields"),
        ({}, "kind", "missing"),
        ({"kind": "lose"}, "kind", "invalid enum value 'lose'. It is one of drop, "),
        ({"kind": "drop", "tow": "*"}, "tow", "bandwidth, seed. Did you mean [to]?"),
        ({"kind": "drop", "task_id": "x"}, "task_id", "is a task id such as "),
        ({"kind": "drop", "parent_task_id": "a:1,-x"}, "parent_task_id", "or a pattern with *; not [-x]"),
        ({"kind": "drop", "actoin": "*"}, "actoin", "no field of a fault rule"),
        ({"kind": "drop", "first": "two"}, "first", "expected"),
        ({"kind": "drop", "first": 0}, "first", "from 1 on"),
        ({"kind": "drop", "every": 0}, "every", "from 1 on"),
        ({"kind": "drop", "after": -1}, "after", "from 0 on"),
        ({"kind": "drop", "budget": 0}, "budget", "from 1 on"),
        ({"kind": "drop", "probability": 0}, "probability", "more than 0"),
        ({"kind": "drop", "probability": 1.5}, "probability", "at most 1"),
        ({"kind": "drop", "action": ""}, "action", "none of them empty"),
        ({"kind": "drop", "to": []}, "to", "none of them empty"),
        ({"kind": "drop", "from": ["a", "-"]}, "from", "none of them empty"),
        ({"kind": "drop", "on": "both"}, "on", "invalid enum value"),
        ({"kind": "drop", "between": ["2s", "1s"]}, "between", "ends before it begins"),
        ({"kind": "drop", "between": ["1", "2s"]}, "between", "time value"),
        ({"kind": "drop", "delay": "1s"}, "delay", "no meaning for kind [drop]"),
        ({"kind": "drop", "error": {"type": "x"}}, "error", "no meaning for kind [drop]"),
        ({"kind": "fail", "error": {"kind": "x"}}, "error", "unknown field"),
        ({"kind": "fail", "error": {"status": 200}}, "error.status", "400 to 599"),
        ({"kind": "fail", "at_once": True}, "at_once", "reply"),
        ({"kind": "delay"}, "delay", "missing"),
        ({"kind": "delay", "delay": "soon"}, "delay", "time value"),
        ({"kind": "delay", "delay": "2d"}, "delay", "at most a day"),
        ({"kind": "delay", "delay": "1s", "distribution": "normal"}, "jitter", "standard deviation"),
        ({"kind": "delay", "delay": "1s", "jitter": "1s", "distribution": "exponential"}, "jitter", "no meaning"),
        ({"kind": "slow"}, "bandwidth", "missing"),
        ({"kind": "slow", "bandwidth": "fast"}, "bandwidth", "bytes a second"),
        ({"kind": "slow", "bandwidth": "0kb"}, "bandwidth", "bytes a second"),
        ({"kind": "refuse", "on": "reply"}, "on", "can only be [request]"),
        ({"kind": "duplicate", "on": "request"}, "on", "can only be [reply]"),
        ({"kind": "cut", "action": "x"}, "action", "spoils whole links"),
        ({"kind": "blackhole", "first": 1}, "first", "spoils whole links"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_with_its_field(values: Any, field: str, words: str) -> None:
    with pytest.raises(InvalidFault) as raised:
        read_rule(values)
    assert raised.value.field == field
    assert str(raised.value).startswith(f"[{field}] ")
    assert words in str(raised.value)
    assert raised.value.http_status == 400


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"kind": "drop", "to": "node9"}, "to", "[node9] matches no node: there are node1, node2, node3, node4"),
        ({"kind": "drop", "from": "zone:z"}, "from", "matches no node"),
        ({"kind": "drop", "from": "node1", "to": "node1"}, "to", "sends to itself"),
        ({"kind": "drop", "to": "node2", "budget": 3}, "budget", "one node named in [from]"),
        ({"kind": "drop", "from": "node1,node2", "budget": 3}, "budget", "one node named in [from]"),
    ],
)
def test_what_only_a_cluster_can_tell_is_checked_against_its_nodes(values: Any, field: str, words: str) -> None:
    with pytest.raises(InvalidFault) as raised:
        check_rule(read_rule(values), NODES)
    assert raised.value.field == field
    assert words in str(raised.value)


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "drop", "from": "node1", "budget": 3},
        {"kind": "drop", "from": "id-1", "to": "zone:b", "budget": 3},
        # One pair, though by patterns.
        {"kind": "drop", "from": "*1", "to": "*2", "budget": 3},
    ],
)
def test_a_budget_is_taken_where_one_member_counts(values: Any) -> None:
    check_rule(read_rule(values), NODES)


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ("*", ["node1", "node2", "node3", "node4"]),
        ("node2", ["node2"]),
        ("id-3", ["node3"]),
        ("zone:a", ["node1", "node2"]),
        ("zone:*", ["node1", "node2", "node3", "node4"]),
        (["node1", "node4"], ["node1", "node4"]),
        ("node1, node4", ["node1", "node4"]),
        ("-node1", ["node2", "node3", "node4"]),
        ("zone:a,-node1", ["node2"]),
        ("-zone:a", ["node3", "node4"]),
        ("node", []),
    ],
)
def test_nodes_are_chosen_by_name_id_wildcard_and_attribute(patterns: Any, names: list[str]) -> None:
    assert [node.name for node in matching_nodes(patterns, NODES)] == names


def test_action_patterns_may_have_exceptions() -> None:
    assert matches_text("*lists[n]", "cluster:monitor/tasks/lists[n]")
    assert not matches_text("*lists", "cluster:monitor/tasks/lists[n]")
    assert matches_text(["*", "-internal:*"], "cluster:monitor/tasks/lists")
    assert not matches_text(["*", "-internal:*"], "internal:admin/tasks/ban")


def test_a_rule_is_written_and_read_without_loss() -> None:
    values = {
        "kind": "delay",
        "from": "node1",
        "to": ["a", "b"],
        "on": "reply",
        "delay": "1s",
        "jitter": "10ms",
        "seed": 7,
    }
    rule = read_rule(values)
    assert msgspec.to_builtins(rule) == values
    assert msgspec.json.decode(msgspec.json.encode(rule), type=FaultRule) == rule


def test_a_changed_rule_is_checked_as_a_whole() -> None:
    rule = read_rule({"kind": "drop", "first": 2, "on": "reply"})
    assert changed(rule, {"first": None, "to": "node2"}) == read_rule({"kind": "drop", "on": "reply", "to": "node2"})
    with pytest.raises(InvalidFault, match=r"\[first\]"):
        changed(rule, {"kind": "cut", "on": None})
    with pytest.raises(InvalidFault, match=r"\[frist\]"):
        changed(rule, {"frist": 1})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELD_NAMES = st.sampled_from([*FaultRule.__struct_encode_fields__])


@settings(deadline=None)
@given(st.dictionaries(FIELD_NAMES, JSON, max_size=6), st.sampled_from(["drop", "fail", "delay", "slow", "cut"]))
def test_whatever_is_sent_is_a_rule_or_an_error_that_names_a_field(values: dict[str, Any], kind: str) -> None:
    known = (*FaultRule.__struct_encode_fields__, "rule")
    try:
        rule = read_rule({**values, "kind": kind})
    except InvalidFault as invalid:
        if invalid.field.split(".")[0].split("[")[0] not in known:
            raise
    else:
        assert read_rule(msgspec.to_builtins(rule)) == rule
