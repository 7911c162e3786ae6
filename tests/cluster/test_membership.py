"""Proves when members agree on who is there, and when nothing more is to be waited for."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from taskfan.cluster.membership import has_manager_to_be, newest, one_that_must_stay, voters_of, what_is_missing
from taskfan.cluster.messages import Holds, Join
from taskfan.node.discovery_node import DiscoveryNode

VOTERS = ("a", "b", "c")


@dataclass
class Seen:
    """A member; its process is named after its node, with the number of its life behind it."""

    id: str
    holds: Holds | None = None
    life: int = 1
    is_running: bool = True
    is_paused: bool = False
    is_cluster_manager_eligible: bool = True

    @property
    def name(self) -> str:
        return self.id.upper()

    @property
    def ephemeral_id(self) -> str:
        return f"{self.id}{self.life}"


def holds(manager: str, *processes: str, term: int = 1, version: int = 1) -> Holds:
    return Holds(term, version, manager, frozenset(processes), VOTERS)


ALL = holds("a", "a1", "b1", "c1")


def test_all_is_well_when_each_knows_the_same_manager_and_all_that_run() -> None:
    assert what_is_missing([Seen("a", ALL), Seen("b", ALL), Seen("c", ALL)]) == ""


@pytest.mark.parametrize(
    ("last", "missing"),
    [
        (Seen("c"), "[C] has not said what it knows"),
        (Seen("c", holds("", "c1")), "[C] has no cluster manager"),
        (Seen("c", holds("a", "a1", "c1")), "[C] does not know all nodes yet"),
        (Seen("c", holds("a", "a1", "b1", "c1", "d1")), "[C] still knows a node that has ended"),
        (Seen("c", ALL, life=2), "[A] does not know all nodes yet"),
        (Seen("c", holds("b", "a1", "b1", "c1")), "there are two cluster managers"),
    ],
)
def test_what_is_missing_is_said(last: Seen, missing: str) -> None:
    assert what_is_missing([Seen("a", ALL), Seen("b", ALL), last]) == missing


def test_one_that_ended_is_waited_for_until_the_others_have_let_it_go() -> None:
    ended = Seen("c", ALL, is_running=False)
    assert what_is_missing([Seen("a", ALL), Seen("b", ALL), ended]) == "[A] still knows a node that has ended"
    left = holds("a", "a1", "b1", version=2)
    assert what_is_missing([Seen("a", left), Seen("b", left), ended]) == ""


@pytest.mark.parametrize("known", [ALL, holds("a", "a1", "b1", version=2)])
def test_one_that_is_paused_may_be_known_or_not(known: Holds) -> None:
    paused = Seen("c", ALL, is_running=False, is_paused=True)
    assert what_is_missing([Seen("a", known), Seen("b", known), paused]) == ""


def test_while_the_manager_is_paused_no_change_is_to_be_waited_for() -> None:
    manager = Seen("a", ALL, is_running=False, is_paused=True)
    new = Seen("d", Holds(0, 0, "", frozenset({"d1"}), ()))
    assert what_is_missing([manager, Seen("b", ALL), Seen("c", ALL), new]) == ""


def test_nor_while_too_few_that_vote_run_for_the_manager_to_change_anything() -> None:
    paused = Seen("b", ALL, is_running=False, is_paused=True)
    assert what_is_missing([Seen("a", ALL), paused, Seen("c", ALL, is_running=False)]) == ""


def test_a_manager_is_waited_for_only_while_enough_run_to_elect_one() -> None:
    none = holds("", "a1", "b1", "c1")
    ended = [Seen(node_id, is_running=False) for node_id in "bc"]
    assert what_is_missing([Seen("a", none), *ended]) == ""
    assert not has_manager_to_be([Seen("a", none), *ended])
    assert what_is_missing([Seen("a", none), Seen("b", none), ended[1]]) == "[A] has no cluster manager"
    assert has_manager_to_be([Seen("a", none), Seen("b", none), ended[1]])


def test_a_node_that_never_was_in_a_cluster_is_waited_for() -> None:
    new = Seen("d", Holds(0, 0, "", frozenset({"d1"}), ()))
    assert what_is_missing([new]) == "[D] has no cluster manager"


def test_the_newest_state_with_a_manager_is_what_is_known_of_the_cluster() -> None:
    lost, before, after = holds("", "a1", term=3), holds("a", "a1", term=1, version=9), holds("b", "a1", term=2)
    assert newest([Seen("a", lost), Seen("b", after), Seen("c", before)]) is after
    assert newest([Seen("a", lost), Seen("c", after, is_running=False)]) is lost
    assert newest([Seen("a", is_running=False)]) is None
    assert voters_of([Seen("a", lost), Seen("b", is_running=False)]) == VOTERS
    # While all stand still what they said last counts.
    assert voters_of([Seen("a", lost, is_running=False)]) == VOTERS


def test_the_others_can_do_without_one_as_long_as_they_are_enough_to_elect() -> None:
    a, b, c = (Seen(node_id, ALL) for node_id in "abc")
    assert one_that_must_stay([a], [a, b, c]) is None
    c.is_running = False
    assert one_that_must_stay([a], [a, b, c]) is a
    assert one_that_must_stay([c], [a, b, c]) is None
    assert one_that_must_stay([Seen("d", ALL)], [a, b, c, Seen("d", ALL)]) is None


def test_of_several_that_leave_each_is_looked_at_as_the_votes_then_are() -> None:
    a, b, c, d, e = (Seen(node_id, ALL) for node_id in "abcde")
    # Three stay voters, one of them gone: both that are left are needed.
    assert one_that_must_stay([a, c], [a, b, c]) is c
    # Others take over the votes of those that left, if they may.
    assert one_that_must_stay([a, c], [a, b, c, d]) is None
    assert one_that_must_stay([a, b, c], [a, b, c, d, e]) is None
    d.is_cluster_manager_eligible = False
    assert one_that_must_stay([a, c], [a, b, c, d]) is c


def test_without_a_majority_there_is_nothing_left_to_lose() -> None:
    a, b = Seen("a", ALL), Seen("b", ALL, is_running=False)
    assert one_that_must_stay([a], [a, b]) is None


def test_of_nodes_that_start_together_only_the_voters_are_told_of_all() -> None:
    nodes = [DiscoveryNode(name, name.upper(), f"{name}1", "h", "h:1", "h:2") for name in "abcd"]

    told, others = Join.of_all(nodes, ("A", "b"), "uuid")
    assert told == Join(nodes, ("A", "b"), "uuid", 4)
    assert others == Join(nodes[:2], ("A", "b"), "uuid", 4)


@pytest.mark.parametrize("initial", [(), ("A", "nobody")])
def test_where_it_is_not_known_who_votes_each_is_told_of_all(initial: tuple[str, ...]) -> None:
    nodes = [DiscoveryNode(name, name.upper(), f"{name}1", "h", "h:1", "h:2") for name in "abcd"]

    assert Join.of_all(nodes, initial, "uuid") == (Join(nodes, initial, "uuid", 4),) * 2
