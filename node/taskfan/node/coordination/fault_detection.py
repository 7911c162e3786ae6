"""Whether the nodes that depend on one another are still there: follower checks and the leader check. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.coordination.effects import Failure, Outbox, Send, TimerKind
from taskfan.node.coordination.messages import FollowerCheckRequest, LeaderCheckRequest
from taskfan.node.coordination.settings import CoordinationSettings


class _Checked(msgspec.Struct):
    """One node that is checked, and how often in a row it has failed."""

    node: DiscoveryNode
    # The check whose answer is awaited.
    awaited: Send | None = None
    failures: int = 0


class FollowerChecks:
    """The leader's: each follower is asked in every interval; some failures in a row, or a closed link, are its end.

    Differs: a follower that has just joined is asked after an interval, not at once: its join was an answer already.
    Source: OpenSearch `FollowersChecker`.
    """

    def __init__(self, local: DiscoveryNode, settings: CoordinationSettings, out: Outbox) -> None:
        self._local, self._settings, self._out = local, settings, out
        self._checked: dict[str, _Checked] = {}
        self._term = 0
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
                if node.id in heard_of:
                    self._wait(checked)
                else:
                    self._check(checked)

    def rejoined(self, node_ids: Iterable[str]) -> None:
        """These have joined after they were found to be gone."""
        for node_id in node_ids:
            self.faulty.pop(node_id, None)

    def clear(self) -> None:
        """Check nobody: this node does not lead."""
        self.set_nodes(self._term, (), ())

    def timer_fired(self, node_id: str) -> None:
        """An interval is over."""
        if (checked := self._checked.get(node_id)) is not None and checked.awaited is None:
            self._check(checked)

    def answered(self, sent: Send) -> None:
        """The node is there."""
        checked = self._checked.get(sent.to.id)
        if checked is not None and checked.awaited is sent:
            checked.failures = 0
            self._wait(checked)

    def failed(self, sent: Send, failure: Failure) -> DiscoveryNode | None:
        """No answer. Gives the node if this was once too often."""
        checked = self._checked.get(sent.to.id)
        if checked is None or checked.awaited is not sent:
            return None
        checked.failures += 1
        if failure is Failure.DISCONNECTED or checked.failures >= self._settings.follower_check_retry_count:
            return self._give_up(checked)
        self._wait(checked)
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

    def _wait(self, checked: _Checked) -> None:
        checked.awaited = None
        interval_ms = self._settings.follower_check_interval_ms
        self._out.set_timer(TimerKind.FOLLOWER_CHECK, interval_ms, node_id=checked.node.id)

    def _give_up(self, checked: _Checked) -> DiscoveryNode:
        self._forget(checked)
        self.faulty[checked.node.id] = checked.node
        return checked.node

    def _forget(self, checked: _Checked) -> None:
        del self._checked[checked.node.id]
        self._out.cancel_timer(TimerKind.FOLLOWER_CHECK, checked.node.id)


class LeaderCheck:
    """The follower's: the leader is asked in every interval. Source: OpenSearch `LeaderChecker`."""

    def __init__(self, local: DiscoveryNode, settings: CoordinationSettings, out: Outbox) -> None:
        self._local, self._settings, self._out = local, settings, out
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
            request = LeaderCheckRequest(self._local)
            timeout_ms = self._settings.leader_check_timeout_ms
            self._checked.awaited = self._out.send(self._checked.node, request, timeout_ms)

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

    def _wait(self) -> None:
        self._out.set_timer(TimerKind.LEADER_CHECK, self._settings.leader_check_interval_ms)
