"""Copies of shards are spread over the nodes, and survive those that leave as far as they can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.index.allocation import (
    check_shard_limit,
    create_index,
    nodes_left,
    reroute,
    set_replicas,
    shard_failed,
    shard_started,
)
from taskfan.node.index.errors import SettingsInvalid
from taskfan.node.index.health import active_percent, cluster_colour, counts, index_object
from taskfan.node.index.metadata import IndexMetadata, Indices
from taskfan.node.index.settings import new_index_settings
from tests.node.index.builders import NOW_MS, node

NODES = [node("n1"), node("n2"), node("n3")]


def ids() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"a{next(numbers)}"


def index(name: str, shards: int = 1, replicas: int = 0, **settings: str) -> IndexMetadata:
    given = {"index.number_of_shards": str(shards), "index.number_of_replicas": str(replicas)}
    given |= {f"index.{key.replace('__', '.')}": value for key, value in settings.items()}
    return IndexMetadata(name, f"u-{name}", new_index_settings(given, name=name, uuid=f"u-{name}", now_ms=NOW_MS))


def start_all(indices: Indices) -> Indices:
    """Every copy that a node makes is ready."""
    for copy in list(indices.routing):
        if copy.state == "INITIALIZING" and copy.allocation_id is not None:
            indices = shard_started(indices, copy.index, copy.shard, copy.allocation_id)
    return indices


def settled(indices: Indices, nodes: Sequence[DiscoveryNode], new_id: Callable[[], str]) -> Indices:
    """Primaries first, then their replicas."""
    for _ in range(3):
        indices = start_all(reroute(indices, nodes, NOW_MS, new_id))
    return indices


def places(indices: Indices) -> list[tuple[str, int, str, str | None]]:
    return [(copy.index, copy.shard, "p" if copy.primary else "r", copy.node_id) for copy in indices.routing]


def test_shards_spread_over_the_nodes_and_no_node_has_two_copies_of_one() -> None:
    indices = settled(create_index(Indices(), index("i", shards=3, replicas=1), NOW_MS), NODES, ids())

    assert places(indices) == [
        ("i", 0, "p", "n1"),
        ("i", 0, "r", "n2"),
        ("i", 1, "p", "n2"),
        ("i", 1, "r", "n1"),
        ("i", 2, "p", "n3"),
        ("i", 2, "r", "n1"),
    ]
    for number in range(3):
        copies = indices.routing.shard("i", number)
        assert len({copy.node_id for copy in copies}) == 2
    assert cluster_colour(indices, ["i"]) == "green"
    assert indices.metadata["i"].primary_terms == (1, 1, 1)


def test_a_replica_waits_for_its_primary() -> None:
    indices = create_index(Indices(), index("i", replicas=1), NOW_MS)
    once = reroute(indices, NODES, NOW_MS, ids())

    assert [copy.state for copy in once.routing] == ["INITIALIZING", "UNASSIGNED"]
    assert cluster_colour(once, ["i"]) == "yellow"
    assert cluster_colour(indices, ["i"]) == "red"


def test_one_node_leaves_the_replicas_nowhere_and_the_index_yellow() -> None:
    indices = settled(create_index(Indices(), index("i", shards=3, replicas=1), NOW_MS), NODES[:1], ids())

    assert cluster_colour(indices, ["i"]) == "yellow"
    assert active_percent(indices) == 50.0
    assert index_object(indices, indices.metadata["i"], with_shards=False) == {
        "status": "yellow",
        "number_of_shards": 3,
        "number_of_replicas": 1,
        "active_primary_shards": 3,
        "active_shards": 3,
        "relocating_shards": 0,
        "initializing_shards": 0,
        "unassigned_shards": 3,
    }


def test_settings_keep_an_index_to_nodes() -> None:
    one_each = index("a", shards=4, routing__allocation__total_shards_per_node="1")
    pinned = index("b", shards=2, replicas=1, routing__allocation__require___name="n3")
    without = index("c", shards=3, routing__allocation__exclude___name="n1,n2")
    indices = Indices()
    for made in (one_each, pinned, without):
        indices = create_index(indices, made, NOW_MS)
    indices = settled(indices, [node("m", roles=("cluster_manager",)), *NODES], ids())

    assert sorted((copy.node_id or "-") for copy in indices.routing if copy.index == "a") == ["-", "n1", "n2", "n3"]
    assert [copy.node_id for copy in indices.routing if copy.index == "b"] == ["n3", None, "n3", None]
    assert [copy.node_id for copy in indices.routing if copy.index == "c"] == ["n3", "n3", "n3"]


def test_when_a_primary_leaves_its_replica_takes_over_in_a_higher_term() -> None:
    new_id = ids()
    indices = settled(create_index(Indices(), index("i", replicas=1), NOW_MS), NODES, new_id)
    primary = indices.routing.primary("i", 0)
    replica = indices.routing.shard("i", 0)[1]
    left = nodes_left(indices, [primary.node_id or ""], NOW_MS + 5)

    promoted = left.routing.primary("i", 0)
    assert (promoted.node_id, promoted.allocation_id, promoted.active) == (replica.node_id, replica.allocation_id, True)
    assert left.metadata["i"].primary_terms == (2,)
    assert left.metadata["i"].in_sync == ((replica.allocation_id,),)
    assert cluster_colour(left, ["i"]) == "yellow"
    lost = left.routing.shard("i", 0)[1]
    assert lost.unassigned is not None
    assert (lost.state, lost.unassigned.reason, lost.unassigned.at_ms) == ("UNASSIGNED", "NODE_LEFT", NOW_MS + 5)

    again = settled(left, [found for found in NODES if found.id != primary.node_id], new_id)
    assert cluster_colour(again, ["i"]) == "green"
    assert again.metadata["i"].primary_terms == (2,)


def test_when_all_copies_are_lost_no_empty_one_takes_their_place() -> None:
    new_id = ids()
    indices = settled(create_index(Indices(), index("i", replicas=1), NOW_MS), NODES[:2], new_id)
    left = settled(nodes_left(indices, ["n1", "n2"], NOW_MS), NODES, new_id)

    assert [copy.state for copy in left.routing] == ["UNASSIGNED", "UNASSIGNED"]
    assert cluster_colour(left, ["i"]) == "red"


def test_a_replica_that_failed_is_out_of_sync_and_is_made_anew() -> None:
    new_id = ids()
    indices = settled(create_index(Indices(), index("i", replicas=1), NOW_MS), NODES, new_id)
    primary, replica = indices.routing.shard("i", 0)
    failed = shard_failed(indices, "i", 0, replica.allocation_id or "", "ALLOCATION_FAILED", NOW_MS)

    assert failed.metadata["i"].in_sync == ((primary.allocation_id,),)
    assert failed.metadata["i"].primary_terms == (1,)
    assert cluster_colour(settled(failed, NODES, new_id), ["i"]) == "green"


def test_replicas_follow_the_number_of_nodes_when_they_are_to() -> None:
    new_id = ids()
    tasks = index(".tasks", auto_expand_replicas="0-1")
    alone = settled(create_index(Indices(), tasks, NOW_MS), NODES[:1], new_id)
    together = settled(alone, NODES, new_id)

    assert (alone.metadata[".tasks"].number_of_replicas, cluster_colour(alone, [".tasks"])) == (0, "green")
    assert (together.metadata[".tasks"].number_of_replicas, cluster_colour(together, [".tasks"])) == (1, "green")


def test_fewer_replicas_go_where_they_are_missed_least() -> None:
    new_id = ids()
    indices = settled(create_index(Indices(), index("i", replicas=2), NOW_MS), NODES[:2], new_id)
    fewer = set_replicas(indices, "i", 1, NOW_MS)

    assert [copy.state for copy in fewer.routing] == ["STARTED", "STARTED"]
    assert counts(set_replicas(fewer, "i", 2, NOW_MS), ["i"]).unassigned == 1


def test_too_many_shards_are_refused() -> None:
    with pytest.raises(SettingsInvalid) as caught:
        check_shard_limit(Indices(), index("many", shards=1000, replicas=5), NODES[:1], 1000)

    assert caught.value.reason == (
        "Validation Failed: 1: this action would add [6000] total LOCAL_ONLY shards, but this cluster currently has "
        "[0]/[1000] maximum LOCAL_ONLY shards open;"
    )


def test_indices_travel_as_json_and_come_back_the_same() -> None:
    indices = settled(create_index(Indices(), index("i", shards=2, replicas=1), NOW_MS), NODES, ids())

    assert msgspec.json.decode(msgspec.json.encode(indices), type=Indices) == indices
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(indices), type=Indices) == indices


@given(
    st.integers(1, 5),
    st.integers(0, 3),
    st.lists(st.tuples(st.sampled_from(["leave", "join", "settle"]), st.integers(0, 4)), max_size=12),
)
def test_whoever_comes_and_goes_no_rule_of_allocation_is_broken(
    shards: int, replicas: int, events: list[tuple[str, int]]
) -> None:
    everyone, new_id = [node(f"n{number}") for number in range(5)], ids()
    there = everyone[:3]
    indices = settled(create_index(Indices(), index("i", shards, replicas), NOW_MS), there, new_id)
    terms = indices.metadata["i"].primary_terms
    for verb, number in events:
        if verb == "leave":
            there = [found for found in there if found is not everyone[number]]
            indices = nodes_left(indices, [everyone[number].id], NOW_MS)
        elif verb == "join" and everyone[number] not in there:
            there = [*there, everyone[number]]
        else:
            indices = settled(indices, there, new_id)
        for shard in range(shards):
            copies = indices.routing.shard("i", shard)
            holders = [copy.node_id for copy in copies if copy.node_id is not None]
            assert len(set(holders)) == len(holders)
            assert set(holders) <= {found.id for found in there}
            assert [copy.primary for copy in copies] == [True] + [False] * replicas
            assert copies[0].active or not any(copy.active for copy in copies)
            active = {copy.allocation_id for copy in copies if copy.active}
            assert active <= set(indices.metadata["i"].in_sync[shard]) or not active
        assert all(new >= old for new, old in zip(indices.metadata["i"].primary_terms, terms, strict=True))
        terms = indices.metadata["i"].primary_terms
