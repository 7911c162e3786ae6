"""Proves that whatever faults strike lists, work and cancels, a healed cluster has nothing left but lost unbans."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskfan.node.faults.decide import NumberedRule
from taskfan.node.faults.rule import read_rule
from tests.faults.memory_story import MemoryStory, play

NODES = [f"opensearch-node{number}" for number in (1, 2, 3)]
ACTIONS = ["*", "*lists*", "*tasks/ban", "*tasks/cancel*", "work*"]
TIMES = st.sampled_from(["0s", "1ms", "20ms", "3s"])


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    """Any rule that can be meant."""
    kinds = ["drop", "fail", "delay", "refuse", "disconnect", "duplicate", "reorder", "cut", "blackhole", "slow"]
    rule: dict[str, Any] = {"kind": draw(st.sampled_from(kinds)), "to": draw(st.sampled_from(["*", *NODES]))}
    kind = rule["kind"]
    if kind in ("cut", "blackhole", "slow"):
        if draw(st.booleans()):
            rule["between"] = ["100ms", draw(st.sampled_from(["200ms", "20s"]))]
    else:
        rule |= {"action": draw(st.sampled_from(ACTIONS)), "seed": draw(st.integers(0, 9))}
        rule |= {"probability": draw(st.sampled_from([0.3, 1.0])), "every": draw(st.integers(1, 3))}
    if kind in ("drop", "fail", "delay", "disconnect", "reorder"):
        rule["on"] = draw(st.sampled_from(["request", "reply"]))
    if kind == "fail" and rule["on"] == "reply":
        rule["at_once"] = draw(st.booleans())
    if kind == "delay":
        rule |= {"delay": draw(TIMES), "jitter": draw(TIMES)}
    if kind == "slow":
        rule["bandwidth"] = draw(st.sampled_from(["500b", "50kb"]))
    return rule


def plan(depth: int, duration: str) -> dict[str, Any]:
    """A task with a child on every node, and so on."""
    children = [{**plan(depth - 1, duration), "nodes": "_all"}] if depth else []
    return {"action": f"work{depth}", "duration": duration, "children": children}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(rules(), min_size=1, max_size=4), st.sampled_from(["1s", "until_cancelled"]), st.booleans())
def test_nothing_is_left(drawn: list[dict[str, Any]], duration: str, wait: bool) -> None:
    async def story(story: MemoryStory) -> None:
        await story.set_rules(
            [NumberedRule("random", number, read_rule(values)) for number, values in enumerate(drawn)]
        )
        asked = [asyncio.ensure_future(story.ask("POST", "/_taskfan/work", plan(2, duration)))]
        for moment_s in (0.0, 0.05, 0.5):
            await story.sleep(moment_s)
            asked.append(asyncio.ensure_future(story.ask("GET", "/_tasks?timeout=1s&detailed")))
            cancel = f"/_tasks/_cancel?actions=work2&wait_for_completion={str(wait).lower()}"
            asked.append(asyncio.ensure_future(story.ask("POST", cancel)))
        await story.sleep(10)

        await story.set_rules([])
        # What was lost for good is only given up when its link ends.
        for transport in story.transports:
            for member in story.state:
                transport.disconnect(member.id)
        cancels = [story.ask("POST", "/_tasks/_cancel?actions=work*") for _ in range(2)]
        # Each task has a limit of its own, and so has each wait.
        for future in (*asked, *cancels):
            await future
        await story.sleep(60)

        for node in story.nodes:
            registry = node.registry
            assert [task.action for task in registry] == []
            assert (registry._holders, registry._children) == ({}, {})
            assert (node.runner._waiting_for_end, len(node.timers._heap)) == ({}, 0)

    play(story)
