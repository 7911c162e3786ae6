"""How a cluster forms, loses nodes and finds together, in virtual time and with OpenSearch's own settings."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from taskfan.node.coordination import messages as m
from taskfan.node.coordination.coordinator import Coordinator
from taskfan.node.coordination.effects import Effect, Failure, Persist, Send, SetTimer, Timer, TimerKind
from taskfan.node.coordination.modes import Mode
from taskfan.node.coordination.settings import CoordinationSettings
from taskfan.node.coordination.state import Persisted
from tests.node.coordination.simulation import Simulation, node_of


def formed(
    eligible: int = 3, others: int = 0, seed: int = 1, settings: CoordinationSettings | None = None
) -> Simulation:
    simulation = Simulation(seed, eligible, others, settings)
    simulation.start()
    assert simulation.run_until(simulation.is_whole, 5_000), simulation.describe()
    simulation.run_for(2_500)
    return simulation


def took_ms(simulation: Simulation, *names: str, limit_ms: float = 120_000) -> float:
    """How long it is until these, or all, are one cluster."""
    begin_ms = simulation.now_ms
    assert simulation.run_until(lambda: simulation.is_whole(*names), limit_ms), simulation.describe()
    return simulation.now_ms - begin_ms


@pytest.mark.parametrize(("eligible", "others"), [(1, 0), (2, 0), (3, 0), (3, 97), (100, 0)])
def test_nodes_that_start_together_elect_the_first_and_need_few_publications(eligible: int, others: int) -> None:
    simulation = Simulation(1, eligible, others)
    simulation.start()

    # Each message is on its way for up to 2 ms, so this is a dozen of them one after the other.
    assert simulation.run_until(simulation.is_whole, 30)
    assert simulation.leaders() == ["n01"]
    assert simulation.leader().applied.version <= 3
    assert simulation.leader().core.term == 1
    assert simulation.sent <= 10 * (eligible + others)


@pytest.mark.parametrize(("missing", "within_ms", "messages_each"), [(None, 30, 10), ("n01", 5_000, 5)])
def test_who_does_not_vote_first_need_not_be_told_of_more_than_those_who_do(
    missing: str | None, within_ms: float, messages_each: int
) -> None:
    simulation = Simulation(1, 3, 97)
    started = [name for name in simulation.members if name != missing]
    simulation.start(*started, told_of_voters_only=True)

    assert simulation.run_until(lambda: simulation.is_whole(*started), within_ms)
    # They have not asked around, each once in a second, as they would among few.
    assert simulation.sent <= messages_each * len(started)


def test_the_first_node_may_be_missing_when_a_cluster_starts() -> None:
    simulation = Simulation(1, 3)
    simulation.start("n02", "n03")

    assert took_ms(simulation, "n02", "n03") < 2_000
    simulation.start("n01")
    assert took_ms(simulation) < 2_000


def test_nodes_that_start_one_after_the_other_do_not_wait_for_a_round_of_questions() -> None:
    simulation = Simulation(1, 3)
    for name in simulation.members:
        simulation.start(name)
        simulation.run_for(20)

    assert took_ms(simulation) < 30


def test_a_node_that_is_there_and_silent_holds_up_the_others_for_a_moment_only() -> None:
    simulation = Simulation(1, 5)
    simulation.start()
    simulation.pause("n05")

    # Its first state waits 100 ms for those it has asked.
    assert simulation.run_until(lambda: simulation.leader().applied.version > 0 if simulation.leaders() else False, 200)


def test_a_voter_that_stands_alone_leads_again_at_once_when_it_is_restarted() -> None:
    simulation = formed(eligible=1, others=2)
    simulation.kill("n01")
    simulation.run_for(1_000)
    simulation.start("n01")

    assert took_ms(simulation) < 30


def test_a_vote_outlives_its_process() -> None:
    voter = Coordinator(node_of("b"), "test")
    effects = voter.receive(m.StartJoinRequest(node_of("a"), 5)).effects
    kept = next(effect for effect in effects if isinstance(effect, Persist))
    # It is kept before it is given.
    assert effects.index(kept) < min(i for i, effect in enumerate(effects) if isinstance(effect, Send))

    restarted = Coordinator(node_of("b"), "test", persisted=Persisted(kept.term, kept.accepted))
    assert isinstance(restarted.receive(m.StartJoinRequest(node_of("c"), 5)).answer, m.CoordinationRejected)


def test_a_node_without_the_role_joins_and_never_votes() -> None:
    simulation = formed(eligible=1, others=2)

    assert simulation.leader().core.accepted.voters == ("n01",)
    simulation.kill("n01")
    simulation.run_for(60_000)
    assert simulation.leaders() == []


def test_a_killed_node_is_out_at_once_and_comes_back_under_its_id() -> None:
    simulation = formed()
    simulation.kill("n03")

    assert took_ms(simulation, "n01", "n02") < 20
    simulation.start("n03")
    assert took_ms(simulation) < 20
    restarted = simulation.leader().applied.get("n03")
    assert restarted is not None
    assert restarted.ephemeral_id == "n03-2"


def test_a_restarted_node_replaces_its_former_process_even_before_anybody_missed_it() -> None:
    simulation = formed()
    simulation.members["n03"].coordinator = None
    simulation.start("n03")

    assert took_ms(simulation) < 20


def test_when_the_manager_is_killed_another_one_is_elected_within_the_election_timeout() -> None:
    simulation = formed()
    simulation.kill("n01")

    assert took_ms(simulation, "n02", "n03") < 200
    assert simulation.leader().core.term == 2


def test_a_hundred_voters_do_not_fight_over_who_is_next() -> None:
    simulation = formed(eligible=100)
    sent = simulation.sent
    simulation.kill("n01")

    assert took_ms(simulation, *list(simulation.members)[1:]) < 500
    assert simulation.leader().core.term <= 3
    assert simulation.sent - sent < 3_000


def test_a_paused_follower_is_out_after_three_checks_and_back_two_seconds_after_it_goes_on() -> None:
    simulation = formed()
    simulation.pause("n03")

    assert 31_000 < took_ms(simulation, "n01", "n02") < 34_000
    simulation.resume("n03")
    assert took_ms(simulation) < 3_500


def test_a_paused_manager_is_replaced_after_three_checks_and_out_after_three_more() -> None:
    simulation = formed()
    simulation.pause("n01")
    simulation.run_until(lambda: simulation.leaders() != [], 60_000)

    assert simulation.now_ms < 40_000
    assert 60_000 < simulation.now_ms + took_ms(simulation, "n02", "n03") < 70_000
    simulation.resume("n01")
    assert took_ms(simulation) < 3_500


def test_time_scale_shortens_all_of_it() -> None:
    simulation = formed(settings=CoordinationSettings().scaled(0.05))
    simulation.pause("n03")

    assert took_ms(simulation, "n01", "n02") < 2_000
    simulation.resume("n03")
    assert took_ms(simulation) < 300


def test_a_minority_has_no_manager_and_keeps_the_last_state_it_knew() -> None:
    simulation = formed(eligible=5)
    simulation.silence(["n01", "n02"], ["n03", "n04", "n05"])

    took_ms(simulation, "n03", "n04", "n05")
    for name in ("n01", "n02"):
        left = simulation.members[name].coordinator
        assert left is not None
        assert left.mode is Mode.CANDIDATE
        assert left.applied.manager_id is None
        assert sorted(node.id for node in left.applied.nodes) == ["n01", "n02", "n03", "n04", "n05"]
    simulation.heal()
    assert took_ms(simulation) < 15_000


def test_links_that_close_between_two_halves_are_noticed_at_once() -> None:
    simulation = formed(eligible=5)
    simulation.cut(["n01", "n02"], ["n03", "n04", "n05"])

    assert took_ms(simulation, "n03", "n04", "n05") < 500
    simulation.heal()
    assert took_ms(simulation) < 15_000


def test_a_cluster_of_five_that_loses_two_one_by_one_can_lose_a_third() -> None:
    simulation = formed(eligible=5)
    for gone, left in (("n05", 4), ("n04", 3), ("n03", 2)):
        simulation.kill(gone)
        took_ms(simulation, *list(simulation.members)[:left])
        simulation.run_for(1_000)

    simulation.kill("n02")
    simulation.run_for(1_000)
    assert simulation.leaders() == []


def test_a_node_that_merely_lost_its_link_does_not_disturb_the_others() -> None:
    simulation = formed()
    simulation.silence(["n03"], ["n01", "n02"])
    simulation.run_for(120_000)
    simulation.heal()

    took_ms(simulation)
    # Pre-votes that nobody answered began no term.
    assert simulation.leader().core.term == 1


def test_a_follower_that_never_applies_what_it_accepted_is_taken_out_and_joins_anew() -> None:
    simulation = formed()
    leader = simulation.leader()
    simulation.kill("n02")
    took_ms(simulation, "n01", "n03")
    # It takes the next state, but the commit does not get through.
    carry_out = simulation._send

    def lose_commits(member: object, sent: object) -> None:
        if type(sent.request).__name__ != "ApplyCommitRequest":  # type: ignore[attr-defined]
            carry_out(member, sent)  # type: ignore[arg-type]

    simulation._send = lose_commits  # type: ignore[method-assign]
    simulation.start("n02")
    simulation.run_for(20)
    simulation._send = carry_out  # type: ignore[method-assign]
    assert not simulation.is_whole()

    assert 110_000 < took_ms(simulation, limit_ms=130_000) < 125_000
    assert simulation.leader() is leader


def test_checks_carry_no_state() -> None:
    simulation = formed(eligible=3, others=20)
    version, sent = simulation.leader().applied.version, simulation.sent
    simulation.run_for(60_000)

    assert simulation.leader().applied.version == version
    # One check each way and second, and one more: rounds are a little quicker.
    assert simulation.sent - sent <= 2 * 22 * 61


@pytest.mark.parametrize(("followers", "turns"), [(22, 1), (60, 3)])
def test_an_idle_leader_wakes_for_many_followers_together_and_each_of_these_for_it_only(
    followers: int, turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = formed(eligible=3, others=followers - 2)
    fired: list[tuple[str, Timer]] = []
    timer_fired = Coordinator.timer_fired

    def note(self: Coordinator, timer: Timer) -> list[Effect]:
        fired.append((self.local.id, timer))
        return timer_fired(self, timer)

    monkeypatch.setattr(Coordinator, "timer_fired", note)
    sent = simulation.sent
    simulation.run_for(0.985 * 60_000)

    # The leader's one timer asks; no follower's timer comes first, for its own check goes along with its answer.
    assert fired == [("n01", Timer(TimerKind.FOLLOWER_CHECK))] * 60 * turns
    assert simulation.sent - sent == 2 * followers * 60


def test_a_follower_keeps_its_interval_while_others_come_and_go() -> None:
    simulation = formed(eligible=3, others=60)
    asked_ms: list[float] = []
    receive = simulation._receive

    def note(coordinator: Coordinator, *call: Any) -> list[Effect]:
        if coordinator.local.id == "n40" and isinstance(call[-1].request, m.FollowerCheckRequest):
            asked_ms.append(simulation.now_ms)
        return receive(coordinator, *call)

    simulation._receive = note  # type: ignore[assignment, method-assign]
    for number in range(4, 34):
        simulation.kill(f"n{number:02}")
        simulation.run_for(300)
    for number in range(4, 34):
        simulation.start(f"n{number:02}")
        simulation.run_for(300)

    gaps_ms = [later - sooner for sooner, later in itertools.pairwise(asked_ms)]
    assert len(gaps_ms) > 15
    # As it is when nothing happens, and on the wire for up to 2 ms.
    assert all(980 < gap_ms < 990 for gap_ms in gaps_ms), gaps_ms


def follower_of_a_leader() -> tuple[Coordinator, m.FollowerCheckRequest]:
    """A node whose manager has just taken it in, and the check that it will get."""
    simulation = formed()
    follower = simulation.members["n02"].coordinator
    assert follower is not None
    leader = simulation.leader()
    return follower, m.FollowerCheckRequest(leader.local, leader.core.term, follower.local.ephemeral_id)


def sent_in(effects: list[Effect]) -> list[m.Request]:
    return [effect.request for effect in effects if isinstance(effect, Send)]


def test_a_leader_check_goes_along_with_the_answer_to_a_follower_check_once() -> None:
    follower, check = follower_of_a_leader()

    assert sent_in(follower.receive(check).effects) == [m.LeaderCheckRequest(follower.local)]
    assert sent_in(follower.receive(check).effects) == []
    # What its timer would have sent is on its way.
    assert follower.timer_fired(Timer(TimerKind.LEADER_CHECK)) == []


def test_a_leader_check_that_failed_is_repeated_after_an_interval_and_not_sooner() -> None:
    follower, check = follower_of_a_leader()
    (sent,) = (effect for effect in follower.receive(check).effects if isinstance(effect, Send))

    assert follower.failed(sent, Failure.TIMED_OUT) == [SetTimer(Timer(TimerKind.LEADER_CHECK), 1_000, 1_000)]
    assert sent_in(follower.receive(check).effects) == []
    assert len(sent_in(follower.timer_fired(Timer(TimerKind.LEADER_CHECK)))) == 1


def test_a_follower_that_failed_is_checked_again_after_an_interval_of_its_own() -> None:
    leader = formed(eligible=3, others=5).leader()
    checks = [effect for effect in leader.timer_fired(Timer(TimerKind.FOLLOWER_CHECK)) if isinstance(effect, Send)]
    for sent in checks[1:]:
        leader.answered(sent, m.Acknowledged())
    alone = Timer(TimerKind.FOLLOWER_CHECK, checks[0].to.id)

    assert leader.failed(checks[0], Failure.TIMED_OUT) == [SetTimer(alone, 1_000, 1_000)]
    assert len(sent_in(leader.timer_fired(Timer(TimerKind.FOLLOWER_CHECK)))) == len(checks) - 1
    assert [effect.to for effect in leader.timer_fired(alone) if isinstance(effect, Send)] == [checks[0].to]
