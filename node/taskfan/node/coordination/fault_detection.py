"""Whether the nodes that depend on one another are still there: follower checks and the leader check. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.coordination.effects import CancelTimer, Failure, Outbox, Send, SetTimer, Timer, TimerKind
from taskfan.node.coordination.messages import FollowerCheckRequest, LeaderCheckRequest
from taskfan.node.coordination.settings import CoordinationSettings

# So many turns has a round. Each is for so many followers, and for more only when there are more than that makes.
_TURNS = 8
_AT_ONCE = 25
# Rounds are quicker than the interval by more than timers are late. So followers, whose own timers run for all of it,
# are asked just before these fire, and answer and ask in the same wake-up.
_ROUND = 0.985


class _Checked(msgspec.Struct):
    """One node that is checked, and how often in a row it has failed."""

    node: DiscoveryNode
    # The check whose answer is awaited.
    awaited: Send | None = None
    failures: int = 0
    # When in each round a follower is asked.
    turn: int = 0


class FollowerChecks:
    """The leader's: each follower is asked in every interval; some failures in a row, or a closed link, are its end.

    Differs: some are asked together, an interval after they last were and not after their answers; only who has failed
    waits for an interval of its own. So an idle leader does not wake for each of a hundred followers, and still they do
    not all wake at the same time, when somebody wants something else done. One that has just joined is asked when its
    turn comes, not at once: its join was an answer already.
    Source: OpenSearch `FollowersChecker`.
    """

    def __init__(self, local: DiscoveryNode, settings: CoordinationSettings, out: Outbox) -> None:
        self._local, self._settings, self._out = local, settings, out
        self._checked: dict[str, _Checked] = {}
        self._term = 0
        # How many are asked in each turn, and which one comes next, while the timer for that runs.
        self._in_turn = [0] * _TURNS
        self._next_turn: int | None = None
        # Found to be gone, and still in the cluster state that is checked.
        self.faulty: dict[str, DiscoveryNode] = {}

    def set_nodes(self, term: int, nodes: Iterable[DiscoveryNode], heard_of: Collection[str]) -> None:
        """Check these from now on, as the leader of this term, and nobody else.

        Args:
            heard_of: the ids of those that have joined this leader; the others are asked at once.
        """
        self._term = term
        wanted = {node.id: node for node in nodes if node.id != self._local.id}
        for checked in [*self._checked.values()]:
            if wanted.get(checked.node.id) != checked.node:
                self._forget(checked)
        self.faulty = {node.id: node for node in self.faulty.values() if wanted.get(node.id) == node}
        for node in wanted.values():
            if node.id not in self._checked and node.id not in self.faulty:
                self._checked[node.id] = checked = _Checked(node, turn=self._turn_with_room())
                self._in_turn[checked.turn] += 1
                if node.id not in heard_of:
                    self._check(checked)
        if self._checked and self._next_turn is None:
            # The first one after a whole round.
            self._await_turn(0, _TURNS)
        elif not self._checked and self._next_turn is not None:
            self._next_turn = None
            self._out.cancel_timer(TimerKind.FOLLOWER_CHECK)

    def rejoined(self, node_ids: Iterable[str]) -> None:
        """These have joined after they were found to be gone."""
        for node_id in node_ids:
            self.faulty.pop(node_id, None)

    def clear(self) -> None:
        """Check nobody: this node does not lead."""
        self.set_nodes(self._term, (), ())

    def timer_fired(self, node_id: str) -> None:
        """It is time for the next turn, or for a node that has failed."""
        if not node_id and self._next_turn is not None:
            turn = self._next_turn
            for checked in self._checked.values():
                if checked.turn == turn and checked.awaited is None and not checked.failures:
                    self._check(checked)
            self._await_turn(turn, self._steps_after(turn))
        elif (alone := self._checked.get(node_id)) is not None and alone.awaited is None and alone.failures:
            self._check(alone)

    def answered(self, sent: Send) -> None:
        """The node is there."""
        checked = self._checked.get(sent.to.id)
        if checked is not None and checked.awaited is sent:
            checked.awaited, checked.failures = None, 0

    def failed(self, sent: Send, failure: Failure) -> DiscoveryNode | None:
        """No answer. Gives the node if this was once too often."""
        checked = self._checked.get(sent.to.id)
        if checked is None or checked.awaited is not sent:
            return None
        checked.awaited = None
        checked.failures += 1
        if failure is Failure.DISCONNECTED or checked.failures >= self._settings.follower_check_retry_count:
            return self._give_up(checked)
        interval_ms = self._settings.follower_check_interval_ms
        self._out.set_timer(TimerKind.FOLLOWER_CHECK, interval_ms, node_id=checked.node.id)
        return None

    def link_closed(self, node_id: str, ephemeral_id: str) -> DiscoveryNode | None:
        """The link to this process of a node closed. Gives the node if it was checked."""
        checked = self._checked.get(node_id)
        if checked is None or checked.node.ephemeral_id != ephemeral_id:
            return None
        return self._give_up(checked)

    def give_up(self, node_id: str) -> DiscoveryNode | None:
        """A node was found to be of no use, other than by a check. Gives it if it was checked."""
        checked = self._checked.get(node_id)
        return None if checked is None else self._give_up(checked)

    def _check(self, checked: _Checked) -> None:
        request = FollowerCheckRequest(self._local, self._term, checked.node.ephemeral_id)
        checked.awaited = self._out.send(checked.node, request, self._settings.follower_check_timeout_ms)

    def _turn_with_room(self) -> int:
        fewest = min(self._in_turn)
        return next(turn for turn, count in enumerate(self._in_turn) if count < _AT_ONCE or count == fewest)

    def _steps_after(self, turn: int) -> int:
        """How long to the next one that anybody is asked in: a whole round, when that is the same one."""
        return next((steps for steps in range(1, _TURNS) if self._in_turn[(turn + steps) % _TURNS]), _TURNS)

    def _await_turn(self, turn: int, steps: int) -> None:
        self._next_turn = (turn + steps) % _TURNS
        interval_ms = self._settings.follower_check_interval_ms * _ROUND * steps / _TURNS
        self._out.set_timer(TimerKind.FOLLOWER_CHECK, interval_ms)

    def _give_up(self, checked: _Checked) -> DiscoveryNode:
        self._forget(checked)
        self.faulty[checked.node.id] = checked.node
        return checked.node

    def _forget(self, checked: _Checked) -> None:
        del self._checked[checked.node.id]
        self._in_turn[checked.turn] -= 1
        if checked.failures:
            self._out.cancel_timer(TimerKind.FOLLOWER_CHECK, checked.node.id)


class LeaderCheck:
    """The follower's: the leader is asked in every interval.

    Differs: when the leader asks this node meanwhile, the check goes along with the answer, for both to wake once. So
    it is early, at most once for each follower check, and never late; after a failure it waits for all of the interval.
    Source: OpenSearch `LeaderChecker`.
    """

    def __init__(self, local: DiscoveryNode, settings: CoordinationSettings, out: Outbox) -> None:
        self._settings, self._out = settings, out
        # The same each time: it is written once.
        self._request = LeaderCheckRequest(local)
        interval_ms = settings.leader_check_interval_ms
        self._interval = SetTimer(Timer(TimerKind.LEADER_CHECK), interval_ms, interval_ms)
        self._no_interval = CancelTimer(Timer(TimerKind.LEADER_CHECK))
        self._checked: _Checked | None = None

    def set_leader(self, leader: DiscoveryNode | None) -> None:
        """Check this one from now on, beginning after an interval; None: nobody."""
        self._out.cancel_timer(TimerKind.LEADER_CHECK)
        self._checked = None if leader is None else _Checked(leader)
        if leader is not None:
            self._wait()

    def timer_fired(self) -> None:
        """An interval is over."""
        if self._checked is not None and self._checked.awaited is None:
            self._check(self._checked)

    def leader_asked(self, leader: DiscoveryNode) -> None:
        """A node that this one follows has just checked it, and will get its answer."""
        checked = self._checked
        if checked is not None and checked.awaited is None and not checked.failures and checked.node.id == leader.id:
            # Or it would fire while the leader is busy with all the others, and in vain.
            self._out.again(self._no_interval)
            self._check(checked)

    def answered(self, sent: Send) -> None:
        """The leader is there, and this node is one of its."""
        if self._checked is not None and self._checked.awaited is sent:
            self._checked.awaited, self._checked.failures = None, 0
            self._wait()

    def failed(self, sent: Send, failure: Failure) -> bool:
        """No answer, or a refusal. Gives whether this was once too often."""
        if self._checked is None or self._checked.awaited is not sent:
            return False
        self._checked.awaited = None
        self._checked.failures += 1
        if failure is Failure.DISCONNECTED or self._checked.failures >= self._settings.leader_check_retry_count:
            return True
        self._wait()
        return False

    def link_closed(self, node_id: str, ephemeral_id: str) -> bool:
        """The link to this process of a node closed. Gives whether it was the leader's."""
        leader = None if self._checked is None else self._checked.node
        return leader is not None and (leader.id, leader.ephemeral_id) == (node_id, ephemeral_id)

    def _check(self, checked: _Checked) -> None:
        checked.awaited = self._out.send(checked.node, self._request, self._settings.leader_check_timeout_ms)

    def _wait(self) -> None:
        self._out.again(self._interval)
