"""The same as for the core alone, of whole nodes whose messages go over links in memory, under faults of every kind."""

from __future__ import annotations

import functools
import itertools
import random

import pytest

from tests.node.coordination.random_membership import RandomMembership, reproduce_with
from tests.node.coordination.test_mutations import MUTATIONS, breaks, fails

# Ten tests, so that several workers share them; together 100,000 steps.
TESTS, STEPS = 10, 10_000


def play(seed: int) -> int:
    """One history. Gives its steps."""
    history = RandomMembership(seed)
    try:
        history.play()
    except BaseException:
        print(reproduce_with(seed))
        raise
    return history.steps


@pytest.mark.parametrize("number", range(TESTS))
def test_faults_on_links_never_break_a_cluster_for_good(number: int) -> None:
    steps = 0
    for seed in itertools.count(1000 * number):
        steps += play(seed)
        if steps >= STEPS:
            return


def test_nor_do_faults_that_nobody_has_seen_before() -> None:
    for seed in random.SystemRandom().sample(range(10**9), 10):
        play(seed)


def test_the_same_seed_gives_the_same_history() -> None:
    logs: list[list[str]] = [[], []]
    for log in logs:
        RandomMembership(50, log.append).play()
    assert logs[0] == logs[1]
    assert len(logs[0]) > 20


def test_a_history_finds_that_half_of_the_votes_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    breaks(*MUTATIONS["half of the votes are enough"], monkeypatch)
    assert any(fails(functools.partial(play, seed)) for seed in range(50))
