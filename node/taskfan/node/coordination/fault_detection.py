"""Whether the nodes that depend on one another are still there: follower checks and the leader check. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.coordination.effects import Failure, Outbox, Send, SetTimer, Timer, TimerKind
from taskfan.node.coordination.messages import FollowerCheckRequest, LeaderCheckRequest
from taskfan.node.coordination.settings import CoordinationSettings

# Rounds are this much quicker than the interval, so that followers, whose own timers run for all of it, are asked just
# before these fire, and answer and ask in the same wake-up.
_ROUND = 0.99


class _Checked(msgspec.Struct):
    """One node that is checked, and how often in a row it has failed."""

    node: DiscoveryNode
    # The check whose answer is awaited.
    awaited: Send | None = None
    failures: int = 0


class FollowerChecks:
    """The leader's: each follower is asked in every interval; some failures in a row, or a closed link, are its end.

    Differs: all are asked in one turn, an interval after the last one and not after their answers; only who has failed
    waits for an interval of its own. Idle, the leader wakes for a hundred followers about as often as for one. One that
    has just joined is asked with the others, not at once: its join was an answer already.
    Source: OpenSearch `FollowersChecker`.
    """

    def __init__(self, local: DiscoveryNode, settings: CoordinationSettings, out: Outbox) -> None:
        self._local, self._settings, self._out = local, settings, out
        self._checked: dict[str, _Checked] = {}
        self._term = 0
        # Whether the timer of the next round runs.
        self._has_rounds = False
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
                self._checked[node.id] = checked = _Checked(node)
                if node.id not in heard_of:
                    self._check(checked)
        if self._checked and not self._has_rounds:
            self._await_round()
        elif not self._checked and self._has_rounds:
            self._has_rounds = False
            self._out.cancel_timer(TimerKind.FOLLOWER_CHECK)

    def rejoined(self, node_ids: Iterable[str]) -> None:
        """These have joined after they were found to be gone."""
        for node_id in node_ids:
            self.faulty.pop(node_id, None)

    def clear(self) -> None:
        """Check nobody: this node does not lead."""
        self.set_nodes(self._term, (), ())

    def timer_fired(self, node_id: str) -> None:
        """It is time for the next round, or for a node that has failed."""
        if not node_id:
            self._await_round()
            for checked in self._checked.values():
                if checked.awaited is None and not checked.failures:
                    self._check(checked)
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

    def _await_round(self) -> None:
        self._has_rounds = True
        self._out.set_timer(TimerKind.FOLLOWER_CHECK, _ROUND * self._settings.follower_check_interval_ms)

    def _give_up(self, checked: _Checked) -> DiscoveryNode:
        self._forget(checked)
        self.faulty[checked.node.id] = checked.node
        return checked.node

    def _forget(self, checked: _Checked) -> None:
        del self._checked[checked.node.id]
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
            # Its timer may run on: with the answer it is set anew.
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
        self._out.set_again(self._interval)
