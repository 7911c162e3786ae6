"""Who votes, as nodes come and go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskfan.node.coordination.voting import VotingConfiguration, reconfigured

NAMES = [f"n{number}" for number in range(9)]


def after(current: str, live: str, *, leader: str = "a", auto_shrink: bool = True, max_size: int = 99) -> str:
    """Who votes next, each node by a letter."""
    wanted = reconfigured(VotingConfiguration.of(current), live, leader, auto_shrink=auto_shrink, max_size=max_size)
    return "".join(wanted.node_ids)


@pytest.mark.parametrize(
    ("current", "live", "wanted"),
    [
        ("abc", "abc", "abc"),
        # An even number of nodes tolerates no more losses than the odd number below it.
        ("abc", "abcd", "abc"),
        ("abc", "abcde", "abcde"),
        ("abcde", "abcd", "abc"),
        # Never below three automatically: the third seat keeps a dead node.
        ("abcde", "abc", "abc"),
        ("abc", "ab", "abc"),
        ("abc", "abd", "abd"),
        ("abc", "a", "abc"),
        # It had never three.
        ("ab", "ab", "a"),
        ("a", "ab", "a"),
        ("a", "abc", "abc"),
    ],
)
def test_the_configuration_follows_the_live_nodes_as_in_opensearch(current: str, live: str, wanted: str) -> None:
    assert after(current, live) == wanted


def test_the_leader_is_preferred_then_who_votes_already() -> None:
    assert after("abcde", "abde", leader="e") == "abe"
    assert after("bcd", "abcd", leader="a") == "abc"


def test_without_auto_shrink_nobody_loses_the_vote_until_others_take_the_seat() -> None:
    assert after("abcde", "abc", auto_shrink=False) == "abcde"
    assert after("abcde", "abcfg", auto_shrink=False) == "abcfg"


def test_no_more_vote_than_allowed() -> None:
    assert after("abc", "abcdefghi", max_size=5) == "abcde"
    assert after("abcdefg", "abcdefg", max_size=5) == "abcde"


def test_no_node_is_more_than_half_of_nobody() -> None:
    assert not VotingConfiguration().has_quorum({"a": None})
    assert not VotingConfiguration.of("ab").has_quorum({"a": None})
    assert VotingConfiguration.of("abc").has_quorum({"a": None, "c": None})


@given(st.sets(st.sampled_from(NAMES), min_size=1), st.sets(st.sampled_from(NAMES), min_size=1), st.booleans())
def test_a_new_configuration_can_always_decide_at_once(current: set[str], live: set[str], auto_shrink: bool) -> None:
    before, leader = VotingConfiguration.of(current), min(live)
    wanted = reconfigured(before, live, leader, auto_shrink=auto_shrink, max_size=7)

    if wanted != before:
        assert wanted.has_quorum(live)
        assert leader in wanted
        assert len(wanted.node_ids) % 2 == 1 or not auto_shrink
        assert len(wanted.node_ids) <= 7
    # And then it stays as it is.
    assert reconfigured(wanted, live, leader, auto_shrink=auto_shrink, max_size=7) == wanted
