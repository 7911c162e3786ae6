"""Nodes and calls for stories about fault rules."""

from __future__ import annotations

from typing import Any

from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.faults.decide import Call, Decision, FaultBook, NumberedRule
from taskfan.node.faults.rule import read_rule


def a_node(number: int, zone: str) -> DiscoveryNode:
    address = f"127.0.0.1:930{number}"
    return DiscoveryNode(f"id-{number}", f"node{number}", "now", "127.0.0.1", address, "", attributes={"zone": zone})


NODES = [a_node(1, "a"), a_node(2, "a"), a_node(3, "b"), a_node(4, "b")]
NODE1, NODE2, NODE3, NODE4 = NODES
LISTS = "cluster:monitor/tasks/lists[n]"


def book(*rules: dict[str, Any], now_s: float = 0.0) -> FaultBook:
    """The rules of one member, set at that time."""
    made = FaultBook()
    made.set_rules([NumberedRule("f", number, read_rule(values)) for number, values in enumerate(rules)], now_s)
    return made


def call(to: DiscoveryNode = NODE2, action: str = LISTS, sender: DiscoveryNode = NODE1, **more: Any) -> Call:
    return Call(sender, to, action, **more)


def struck(decision: Decision) -> bool:
    return bool(decision.request or decision.reply)


def pattern_of(rules: FaultBook, count: int, **more: Any) -> str:
    """Which of so many calls one after the other are spoiled: `x` for these, `.` for the others."""
    return "".join("x" if struck(rules.decide(call(**more), 0.0)) else "." for _ in range(count))
