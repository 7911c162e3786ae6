"""Proves which cluster state follows when nodes come and go."""

from __future__ import annotations

from taskfan.cluster.membership import first_state, next_state
from taskfan.node.cluster_state import ClusterState, DiscoveryNode


def node(name: str, *roles: str, ephemeral_id: str = "1") -> DiscoveryNode:
    return DiscoveryNode(name, name, ephemeral_id, "127.0.0.1", "127.0.0.1:1", "127.0.0.1:2", roles)


A, B, C = node("a", "data"), node("b", "cluster_manager"), node("c", "cluster_manager", "data")


def start() -> ClusterState:
    return first_state("demo", "uuid", [A, B, C])


def test_the_first_eligible_node_is_the_manager() -> None:
    assert (start().manager, start().version, start().term) == (B, 1, 1)


def test_another_one_leaving_leaves_the_manager_and_its_term() -> None:
    state = next_state(start(), left=["c"])
    assert (state.nodes, state.manager, state.version, state.term) == ((A, B), B, 2, 1)


def test_when_the_manager_leaves_the_next_eligible_one_begins_a_term() -> None:
    state = next_state(start(), left=["b"])
    assert (state.nodes, state.manager, state.version, state.term) == ((A, C), C, 2, 2)


def test_a_former_manager_that_returns_joins_last_and_does_not_take_over() -> None:
    again = node("b", "cluster_manager", ephemeral_id="2")
    state = next_state(next_state(start(), left=["b"]), joined=[again])
    assert (state.nodes, state.manager, state.version, state.term) == ((A, C, again), C, 3, 2)


def test_one_that_joins_again_replaces_what_it_was() -> None:
    again = node("a", "data", ephemeral_id="2")
    assert next_state(start(), joined=[again]).nodes == (B, C, again)


def test_a_manager_that_joins_again_was_away_so_another_one_took_over() -> None:
    again = node("b", "cluster_manager", ephemeral_id="2")
    assert next_state(start(), joined=[again]).manager == C


def test_without_an_eligible_node_there_is_no_manager_until_one_comes() -> None:
    alone = next_state(start(), left=["b", "c"])
    assert (alone.manager_id, alone.term) == (None, 1)
    back = next_state(alone, joined=[C])
    assert (back.manager, back.term, back.version) == (C, 2, 3)


def test_every_state_supersedes_the_one_before() -> None:
    before = start()
    after = next_state(before, left=["b"])
    assert after.supersedes(before)
    assert not before.supersedes(after)
