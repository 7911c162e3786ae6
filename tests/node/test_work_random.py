"""Whatever plan runs, and whoever cancels whatever in it, all of it ends and nothing is left."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.node.work_cluster import Running, WorkCluster, play

TIMES = st.sampled_from(["0", "1ms", "2ms", "3ms", "50ms"]) | st.just({"min": "0", "max": "20ms"})
CANCELS = st.sampled_from(
    [
        {"on_cancel": "stops"},
        {"on_cancel": "stops", "duration": "until_cancelled"},
        {"on_cancel": "stops_late", "stops_after": "4ms"},
        {"on_cancel": "ignores"},
        {"on_cancel": "fails"},
        {"cancellable": False},
    ]
)
PLACES = st.sampled_from(
    [
        {},
        {"via": "execute"},
        {"nodes": "_all"},
        {"nodes": ["n1"]},
        {"nodes": "_all", "copies": 2},
        {"nodes": "_all", "copies": 1, "except_parent_node": True},
    ]
)


def merged(*parts: dict[str, Any]) -> dict[str, Any]:
    """One dictionary; earlier parts win over later ones."""
    return {name: value for part in reversed(parts) for name, value in part.items()}


def tasks(children: st.SearchStrategy[list[dict[str, Any]]]) -> st.SearchStrategy[dict[str, Any]]:
    own = st.fixed_dictionaries(
        {"action": st.just("work"), "duration": TIMES, "children": children},
        optional={
            "sequential": st.booleans(),
            "cancels_children": st.booleans(),
            "outcome": st.sampled_from(["success", "failure"]),
            "on_child_failure": st.sampled_from(["carries_on", "fails"]),
        },
    )
    return st.builds(merged, CANCELS, own)


CHILDREN = st.recursive(
    st.builds(merged, tasks(st.just([])), PLACES),
    lambda inner: st.builds(merged, tasks(st.lists(inner, max_size=3)), PLACES, st.builds(dict, start_after=TIMES)),
    max_leaves=6,
)
PLANS = tasks(st.lists(CHILDREN, max_size=3))
# When, which of the tasks that run then, and whether to wait.
CANCEL_CALLS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 30), st.booleans()), max_size=5)
Events = list[tuple[str, str, str]]


async def to_the_end_by_cancels(cluster: WorkCluster, running: Running) -> None:
    """Some tasks have no other end, and in a sequence the next one may be of that kind too."""
    for _ in range(100):
        await cluster.clock.sleep(1)
        if running.ended.is_set():
            return
        for task in [task for node in cluster.nodes for task in node.registry if task.cancellable]:
            await cluster.cancel(task)
    raise AssertionError(f"still runs: {cluster.shown()}")


async def run_and_cancel(cluster: WorkCluster, plan: dict[str, Any], calls: list[tuple[int, int, bool]]) -> Events:
    running = await cluster.work(plan)

    async def cancel(at_ms: int, which: int, wait: bool) -> None:
        await cluster.clock.sleep(at_ms / 1000)
        found = [task for node in cluster.nodes for task in node.registry if task.cancellable]
        if found:
            await cluster.cancel(found[which % len(found)], wait=wait)

    for at_ms, which, wait in calls:
        cluster.clock.spawn(cancel(at_ms, which, wait), "cancel")
    await to_the_end_by_cancels(cluster, running)
    return cluster.events


@settings(max_examples=60, deadline=None)
@given(PLANS, CANCEL_CALLS)
def test_all_tasks_end_and_no_ban_stays(plan: dict[str, Any], calls: list[tuple[int, int, bool]]) -> None:
    # `play` looks for what is left.
    events = play(lambda cluster: run_and_cancel(cluster, plan, calls))
    kinds = [kind for kind, _, _ in events]
    assert kinds.count("registered") == kinds.count("unregistered") > 0


@settings(max_examples=25, deadline=None)
@given(PLANS, CANCEL_CALLS)
def test_the_same_plan_and_cancels_happen_the_same_way_twice(
    plan: dict[str, Any], calls: list[tuple[int, int, bool]]
) -> None:
    first, second = (play(lambda cluster: run_and_cancel(cluster, plan, calls)) for _ in range(2))
    assert first == second


@settings(max_examples=40, deadline=None)
@given(PLANS, st.integers(0, 12), st.sampled_from(["n1", "n2"]))
def test_a_broken_link_leaves_no_task_behind_either(plan: dict[str, Any], at_ms: int, node: str) -> None:
    async def story(cluster: WorkCluster) -> None:
        running = await cluster.work(plan)
        await cluster.clock.sleep(at_ms / 1000)
        cluster.network.cut("n0", node)
        await cluster.clock.sleep(0.01)
        cluster.network.heal("n0", node)
        await to_the_end_by_cancels(cluster, running)
        await cluster.until(lambda: not cluster.shown(), limit_s=10)

    play(story)
