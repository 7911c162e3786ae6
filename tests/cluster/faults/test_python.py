"""Proves the faults of `Cluster` as `with` blocks: they strike, heal, and say when they did not."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from taskfan.cluster import Cluster, ClusterError
from taskfan.cluster.cluster_node import ClusterNode
from taskfan.cluster.faults import FaultNeverFired
from taskfan.cluster.rest_client import RequestFailed, ask
from tests.cluster.processes import wait_until

LISTS = "*lists[n]"
ZONES = {"nodes": [{"node.attr.zone": "a"}, {"node.attr.zone": "a"}, {"node.attr.zone": "b"}]}


@pytest.fixture(scope="module")
def shared() -> Iterator[Cluster]:
    # Checks a hundred times as frequent: a silent link ends after a third of a second.
    with Cluster(config=ZONES, time_scale=0.01) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: Cluster) -> Iterator[Cluster]:
    shared.faults.heal()
    for node in shared.nodes:
        node.start()
    yield shared
    assert shared.faults.all() == []


def failures(cluster: Cluster, node: ClusterNode | None = None, timeout: str | None = None) -> dict[str, str]:
    """Node failures of a list: the type of the cause by the name of the node."""
    answer = cluster.list_tasks(node=node, timeout=timeout)
    names = {node.id: node.name for node in cluster.nodes}
    return {names[f["node_id"]]: f["caused_by"]["type"] for f in answer.get("node_failures", ())}


def test_the_first_two_replies_are_lost_and_each_hit_is_told(cluster: Cluster) -> None:
    second = cluster.nodes[1]
    with cluster.faults.drop(LISTS, from_=cluster.nodes[0], to=second, on="reply", first=2) as fault:
        lost = [failures(cluster, timeout="200ms") for _ in range(3)]
    assert lost == [{second.name: "receive_timeout_transport_exception"}] * 2 + [{}]
    assert fault.hit_count == 2
    assert [(hit["kind"], hit["on"], hit["from"], hit["to"], hit["action"]) for hit in fault.hits] == [
        ("drop", "reply", cluster.nodes[0].name, second.name, "cluster:monitor/tasks/lists[n]")
    ] * 2
    assert failures(cluster) == {}


def test_a_fault_that_spoiled_nothing_fails_the_test_unless_that_was_said(cluster: Cluster) -> None:
    with pytest.raises(FaultNeverFired, match="spoiled nothing") as raised, cluster.faults.drop("no:such"):
        pass
    assert f"REPRODUCE WITH: TASKFAN_SEED={cluster.faults.seed} pytest" in "".join(raised.value.__notes__)
    with cluster.faults.drop("no:such", may_not_fire=True) as fault:
        pass
    assert fault.hits == []


def test_an_error_in_the_block_heals_too_and_says_how_to_reproduce_it(cluster: Cluster) -> None:
    with pytest.raises(ZeroDivisionError) as raised, cluster.faults.drop("no:such", probability=0.5):
        raise ZeroDivisionError
    assert [note.partition("=")[0] for note in raised.value.__notes__] == ["REPRODUCE WITH: TASKFAN_SEED"]
    assert cluster.faults.all() == []


def test_a_fault_that_cannot_be_meant_is_refused_with_its_field(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match=r"\[to\] \[opensearch-node9\] matches no node"):
        cluster.faults.drop(to="opensearch-node9").set()
    with pytest.raises(ClusterError, match=r"\[budget\]"):
        cluster.faults.drop(to="opensearch-node2", budget=1).set()
    with pytest.raises(ClusterError, match=r"\[frist\]"):
        cluster.faults.drop(frist=1).set()  # type: ignore[call-arg]
    with pytest.raises(ClusterError, match=r"\[attribute\]"):
        cluster.faults.by_attribute("rack").set()


def test_an_error_of_ones_own_is_seen_instead_of_the_answer(cluster: Cluster) -> None:
    error = {"type": "circuit_breaking_exception", "reason": "too large", "status": 429}
    with cluster.faults.fail(LISTS, to="*2", error=error) as fault:
        assert failures(cluster) == {cluster.nodes[1].name: "circuit_breaking_exception"}
        fault.change(to="*3")
        assert fault.hit_count == 0
        assert failures(cluster) == {cluster.nodes[2].name: "circuit_breaking_exception"}


def test_a_full_node_rejects_work_and_still_takes_bans(cluster: Cluster) -> None:
    with cluster.faults.full(cluster.nodes[1]):
        assert failures(cluster) == {cluster.nodes[1].name: "rejected_execution_exception"}


def test_a_request_of_one_client_is_spoiled_and_no_other(cluster: Cluster) -> None:
    with cluster.faults.fail(LISTS, to="*2", opaque_id="mine", may_not_fire=True):
        assert failures(cluster) == {}


def test_work_is_chosen_by_its_description(cluster: Cluster) -> None:
    child = {"action": "shard", "nodes": "*", "description": "shard {n}", "copies": 3}
    plan = {"action": "search", "children": [child]}
    with cluster.faults.fail("shard", description="shard 1") as fault:
        cluster.start_work(plan)
        wait_until(lambda: fault.hit_count, "the shard failed")
    assert fault.hit_count == 1


def test_a_node_without_links_is_not_reached_and_reaches_nobody(cluster: Cluster) -> None:
    first, second, _ = cluster.nodes
    with cluster.faults.disconnect(second):
        assert failures(cluster, first).get(second.name, "left") in ("node_not_connected_exception", "left")
        assert second.name not in failures(cluster, second)
    assert failures(cluster, first) == failures(cluster, second) == {}


def test_a_silent_link_ends_when_its_checks_are_not_answered(cluster: Cluster) -> None:
    first, second, _ = cluster.nodes
    failures(cluster, first)
    with cluster.faults.one_way(first, second, kind="blackhole") as fault:
        assert failures(cluster, first).get(second.name, "left") in (
            *("node_disconnected_exception", "node_not_connected_exception", "left"),
        )
    assert fault.hit_count


def test_nodes_of_other_zones_are_cut_off(cluster: Cluster) -> None:
    first, second, third = cluster.nodes
    with cluster.faults.by_attribute("zone"):
        assert second.name not in failures(cluster, first)
        wait_until(lambda: third.id not in cluster.list_tasks(node=first, timeout="1s")["nodes"], "no answer of zone b")


def test_a_slow_link_takes_its_time() -> None:
    # With checks a hundred times as frequent there would be no room for anything else.
    with Cluster(nodes=2) as cluster:
        failures(cluster)
        with cluster.faults.slow(cluster.nodes[1], "1kb"):
            begun_s = time.monotonic()
            assert failures(cluster) == {}
            # Two hundred bytes at the very least.
            assert time.monotonic() - begun_s > 0.1


# What each verb sets: rules that strike nothing, or that nobody notices.
NOTHING, WIDE = {"action": "no:such"}, {"kind": "slow", "bandwidth": "900mb"}
VERBS: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "drop": (NOTHING, [{"kind": "drop", **NOTHING}]),
    "fail": (NOTHING, [{"kind": "fail", **NOTHING}]),
    "delay": ({"delay": "5ms", **NOTHING}, [{"kind": "delay", "delay": "5ms", **NOTHING}]),
    "refuse": (NOTHING, [{"kind": "refuse", **NOTHING}]),
    "hang_up": (NOTHING, [{"kind": "disconnect", **NOTHING}]),
    "duplicate": (NOTHING, [{"kind": "duplicate", **NOTHING}]),
    "reorder": (NOTHING, [{"kind": "reorder", **NOTHING}]),
    "slow": ({"node": "*3", "bandwidth": "900mb"}, [{**WIDE, "from": "*3"}, {**WIDE, "to": "*3"}]),
    "full": ({"node": "*3"}, [{"kind": "refuse", "to": "*3", "action": ["*", "-internal:*"]}]),
}


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_is_the_fault_of_its_name(cluster: Cluster, verb: str) -> None:
    arguments, rules = VERBS[verb]
    with getattr(cluster.faults, verb)(**arguments, may_not_fire=True) as fault:
        assert fault.rules == rules


SHAPES: dict[str, tuple[dict[str, Any], set[tuple[int, int]]]] = {
    "isolate": ({"nodes": "*3"}, {(1, 3), (3, 1), (2, 3), (3, 2)}),
    "halves": ({"nodes": "*1"}, {(1, 2), (2, 1), (1, 3), (3, 1)}),
    "bridge": ({"nodes": "*2"}, {(1, 3), (3, 1)}),
    "one_way": ({"from_": "*1", "to": "*2"}, {(1, 2)}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_spoils_the_links_between_its_parts(cluster: Cluster, shape: str) -> None:
    arguments, links = SHAPES[shape]
    with getattr(cluster.faults, shape)(**arguments, **WIDE) as fault:
        for node in cluster.nodes:
            cluster.list_tasks(node=node)
    numbers = {node.name: number for number, node in enumerate(cluster.nodes, 1)}
    assert {(numbers[hit["from"]], numbers[hit["to"]]) for hit in fault.hits} == links


def test_a_silenced_node_is_taken_for_gone_and_comes_back(cluster: Cluster) -> None:
    first, _, third = cluster.nodes
    with cluster.faults.blackhole(third):
        wait_until(lambda: third.id not in ask(first.url, "GET", "/_cluster/state/nodes", {})["nodes"], "it is out")
    assert failures(cluster, first) == failures(cluster, third) == {}


def test_a_stopped_node_is_started_at_the_end_of_the_block(cluster: Cluster) -> None:
    with cluster.faults.stop(cluster.nodes[2]) as condition:
        assert (condition.node.state, condition.node.pid) == ("stopped", 0)
    assert cluster.nodes[2].state == "running"


def test_a_killed_node_is_back_at_the_end_of_the_block(cluster: Cluster) -> None:
    with cluster.faults.kill(cluster.nodes[2]) as condition:
        assert (condition.node.state, condition.node.pid) == ("stopped", 0)
    assert cluster.nodes[2].state == "running"


def test_a_paused_node_goes_on_at_the_end_of_the_block(cluster: Cluster) -> None:
    with cluster.faults.pause("opensearch-node2") as condition:
        assert condition.node.state == "paused"
        assert failures(cluster, timeout="200ms") == {condition.node.name: "receive_timeout_transport_exception"}
    assert cluster.nodes[1].state == "running"


def test_a_node_that_starts_later_obeys_the_same_rules_and_its_former_hits_are_kept(cluster: Cluster) -> None:
    first, second, _ = cluster.nodes
    with cluster.faults.fail(LISTS, from_=first, to=second) as fault:
        assert failures(cluster, first) == {second.name: "transport_exception"}
        cluster.faults.restart(first)
        counted = fault.hit_count
        assert counted >= 1
        assert failures(cluster, first) == {second.name: "transport_exception"}
        assert fault.hit_count > counted


def test_faults_in_one_another_are_healed_from_the_inner_one_out(cluster: Cluster) -> None:
    with cluster.faults.disconnect(cluster.nodes[2]):
        with cluster.faults.drop(LISTS, to="*2", on="reply") as inner:
            cluster.list_tasks(node=cluster.nodes[0], timeout="100ms")
        assert inner.hit_count


def test_the_same_seed_makes_the_same_story(cluster: Cluster) -> None:
    def story(seed: int) -> list[bool]:
        with Cluster(nodes=2) as other:
            other.faults.seed = seed
            with other.faults.fail(LISTS, to="*2", probability=0.5, may_not_fire=True):
                return [bool(failures(other)) for _ in range(12)]

    assert story(7) == story(7) != story(8)


def test_a_lost_request_waits_until_its_link_ends(cluster: Cluster) -> None:
    first, second, _ = cluster.nodes
    told: list[Any] = []
    with cluster.faults.drop(LISTS, from_=first, to=second) as fault:
        asking = threading.Thread(target=lambda: told.append(failures(cluster, first)))
        asking.start()
        wait_until(lambda: fault.hit_count, "the request is lost")
        with cluster.faults.one_way(first, second):
            asking.join(20)
    assert told == [{second.name: "node_disconnected_exception"}]


def test_a_coroutine_can_use_faults_too(cluster: Cluster) -> None:
    async def story() -> dict[str, str]:
        async with cluster.faults.fail(LISTS, to="*2"):
            return await asyncio.to_thread(failures, cluster)

    assert asyncio.run(story()) == {cluster.nodes[1].name: "transport_exception"}


def test_the_error_of_a_fault_is_the_error_of_a_get(cluster: Cluster) -> None:
    path = f"/_tasks/{cluster.nodes[1].id}:999999"
    fault = cluster.faults.fail("cluster:monitor/task/get", to="*2", error={"type": "io_exception"})
    with fault, pytest.raises(RequestFailed) as raised:
        ask(cluster.nodes[0].url, "GET", path)
    assert raised.value.type == "io_exception"


def test_a_fault_shows_what_it_is_and_how_often_it_struck(cluster: Cluster) -> None:
    fault = cluster.faults.fail(LISTS, from_=cluster.nodes[0], to="*2")
    assert repr(fault) == "<Fault (kind=fail, action=*lists[n], from=opensearch-node1, to=*2), not set>"
    with fault:
        cluster.list_tasks(node=cluster.nodes[0])
        shown = f"<Fault {fault.id} (kind=fail, from=opensearch-node1, to=*2, action=*lists[n]): 1 hit>"
        assert repr(fault) == shown
    assert repr(fault) == shown


def test_a_node_is_killed_while_a_message_to_it_is_held() -> None:
    with Cluster(nodes=3) as cluster, ThreadPoolExecutor() as pool:
        first, second, _ = cluster.nodes
        child = {"action": "demo[n]", "nodes": "_all", "duration": "until_cancelled"}
        task = cluster.start_work({"action": "demo", "children": [child]}, node=first)
        wait_until(lambda: len(cluster.list_tasks(actions="demo[n]")["nodes"]) == 3, "children run everywhere")
        with cluster.faults.delay("5s", action="*tasks/ban", from_=first, to=second) as fault:
            with pytest.raises(ClusterError, match=r"struck 0 times within 0.05 s; 1 were waited for"):
                fault.wait(timeout_s=0.05)
            answer = pool.submit(cluster.cancel_tasks, task, node=first, wait_for_completion=True)
            fault.wait()
            here = cluster.list_tasks(node=second, nodes="_local", actions="demo[n]", group_by="none")["tasks"]
            assert [child["cancelled"] for child in here] == [False], "the ban is not there"
            second.kill()
            [failure] = answer.result(timeout=20)["task_failures"]
        assert failure["reason"]["type"] == "node_disconnected_exception"
