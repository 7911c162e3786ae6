"""What holds whatever the network does: one manager a term, one line of committed states, one cluster at the end."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.node.coordination.core_cluster import CoreCluster, random_core_history
from tests.node.coordination.random_network import RandomNetwork, reproduce_with

# Ten tests, so that several workers share them; together more than 100,000 steps.
HISTORIES, TESTS = 14, 10


def play(seed: int) -> int:
    """One history. Gives its steps."""
    network = RandomNetwork(seed)
    try:
        network.play()
    except BaseException:
        print(reproduce_with(seed))
        raise
    return network.simulation.steps


@pytest.mark.parametrize("first", range(0, HISTORIES * TESTS, HISTORIES))
def test_a_random_network_never_breaks_the_cluster_for_good(first: int) -> None:
    assert sum(play(seed) for seed in range(first, first + HISTORIES)) > 100_000 // TESTS


def test_nor_does_a_history_that_nobody_has_seen_before() -> None:
    for seed in random.SystemRandom().sample(range(10**9), HISTORIES):
        play(seed)


def test_the_same_seed_gives_the_same_history() -> None:
    logs: list[list[str]] = [[], []]
    for log in logs:
        RandomNetwork(50, log.append).play()
    assert logs[0] == logs[1]
    assert len(logs[0]) > 5


NUMBER = st.integers(0, 1 << 16)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(3, 5), st.lists(st.tuples(NUMBER, NUMBER, NUMBER), min_size=50, max_size=400))
def test_the_core_is_safe_in_any_order_of_any_messages(nodes: int, steps: list[tuple[int, int, int]]) -> None:
    cluster = CoreCluster(nodes)
    for step in steps:
        cluster.step(*step)


def test_random_orders_of_messages_do_elect_and_commit() -> None:
    # Else the proof above would be one of a cluster in which nothing happens.
    clusters = [random_core_history(seed) for seed in range(100)]
    assert sum(len(cluster.leaders) for cluster in clusters) > 100
    assert max(max(cluster.line) for cluster in clusters) >= 5
