"""Candidate, leader or follower: what a node is, and what changes with it. Pure."""

from __future__ import annotations

import enum

from msgspec.structs import replace

from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.coordination import messages as m
from taskfan.node.coordination.effects import Outbox, TimerKind
from taskfan.node.coordination.election import NODES_AT_ONCE, Election
from taskfan.node.coordination.fault_detection import LeaderCheck
from taskfan.node.coordination.leadership import Ending, Leadership
from taskfan.node.coordination.messages import AcceptedState, Join
from taskfan.node.coordination.peers import Peers
from taskfan.node.coordination.settings import CoordinationSettings
from taskfan.node.coordination.state import CoordinationState, Persisted
from taskfan.node.coordination.updates import NO_UUID
from taskfan.node.coordination.voting import VotingConfiguration

# Among so many nodes, each may look for the manager once in `discovery.find_peers_interval`.
_FEW_PEERS = 20


class Mode(enum.Enum):
    """What a node is in its cluster. Source: `Coordinator.Mode`."""

    CANDIDATE = "looks for a manager, or tries to become it"
    LEADER = "is the manager"
    FOLLOWER = "has a manager"


class Modes:
    """The modes of one node, and the ways from one to another. Base of `Coordinator`, which says when."""

    def __init__(
        self,
        local: DiscoveryNode,
        cluster_name: str,
        settings: CoordinationSettings | None = None,
        persisted: Persisted | None = None,
    ) -> None:
        self.local = local
        self.settings = settings or CoordinationSettings()
        nobody = ClusterState(cluster_name, NO_UUID, 0, (), None, 0)
        self._persisted = persisted or Persisted(0, AcceptedState(nobody))
        self.core = CoordinationState(local, self._persisted)
        self.mode = Mode.CANDIDATE
        self.leader: DiscoveryNode | None = None
        # As others see it: until it has joined, a node knows only itself.
        self.applied = replace(nobody, nodes=(local,))
        self._out = Outbox(local)
        self.peers = Peers(local)
        self._election = Election(self.core, self.peers, self.settings, self._out)
        self._leadership = Leadership(self.core, self.settings, self._out)
        self._leader_check = LeaderCheck(local, self.settings, self._out)
        self._max_term_seen = self.core.term
        self._last_join: Join | None = None
        # The leader that was asked to take this node in.
        self._join_asked: str | None = None
        # Who was asked to join in this node's election, and has neither come nor failed.
        self._expected: dict[str, None] = {}
        self._initial: tuple[str, ...] = ()
        self._cluster_uuid = NO_UUID

    # ------------------------------------------------------------------ modes

    def _become_candidate(self) -> None:
        if self.mode is Mode.CANDIDATE:
            return
        self.mode, self.leader, self._join_asked = Mode.CANDIDATE, None, None
        if self._leadership.stop():
            self._apply_accepted()
        self._leadership.settle()
        self._leader_check.set_leader(None)
        if self.applied.manager_id is not None:
            self._apply(replace(self.applied, manager_id=None))
        self._election.begin()
        # Not at once: before, somebody may have been elected, and then there is nothing to look for.
        self._out.set_timer(TimerKind.FIND_PEERS, 2 * self._election.first_within_ms())

    def _become_leader(self) -> None:
        self.mode, self.leader, self._join_asked = Mode.LEADER, self.local, None
        self._election.stop()
        self._out.cancel_timer(TimerKind.FIND_PEERS)
        timeout_ms = self.settings.first_joins_timeout_ms * max(1.0, 2 * len(self._expected) / NODES_AT_ONCE)
        self._out.set_timer(TimerKind.FIRST_JOINS, timeout_ms)

    def _become_follower(self, leader: DiscoveryNode) -> None:
        is_new = self.mode is not Mode.FOLLOWER or self.leader != leader
        self.mode, self.leader, self._join_asked = Mode.FOLLOWER, leader, None
        self._leadership.stop()
        self._leadership.settle()
        self._election.stop()
        self._out.cancel_timer(TimerKind.FIND_PEERS)
        if is_new:
            self._leader_check.set_leader(leader)

    def _lead_on(self) -> None:
        """End a publication that is over, and begin the next one."""
        while self.mode is Mode.LEADER:
            ending = self._leadership.ending()
            if ending is Ending.FAILED:
                self._become_candidate()
                return
            if ending is Ending.COMMITTED:
                self._apply_accepted()
                self._leadership.settle()
                self._see_term(self._max_term_seen)
            if self.mode is not Mode.LEADER or self._leadership.publication is not None:
                return
            if self.core.accepted.term < self.core.term and self._expected:
                # The first state of this leader: those who are on their way are to be in it.
                return
            self._leadership.publish_next(self._cluster_uuid)
            if self._leadership.publication is None:
                return

    def _see_term(self, term: int) -> None:
        """Remember the highest term; a leader moves past it, because nodes in it cannot follow it otherwise."""
        self._max_term_seen = max(self._max_term_seen, term)
        if self.mode is Mode.LEADER and self._max_term_seen > self.core.term and self._leadership.publication is None:
            self._ensure_term(self.local, self._max_term_seen)
            self._start_election()

    def _apply_accepted(self) -> None:
        """Apply the last accepted state, which is committed."""
        state = self.core.accepted.cluster
        state = replace(state, manager_id=None) if self.mode is Mode.CANDIDATE else state
        if state != self.applied:
            self._apply(state)

    def _apply(self, state: ClusterState) -> None:
        self.applied = state
        self._out.apply(state)

    # ------------------------------------------------------------------ looking for a manager

    def _bootstrap(self) -> bool:
        """Set who votes first, once all of them are known. Gives whether that was done now."""
        if not self._initial or not self.core.accepted.accepted_configuration.is_empty:
            return False
        known = [self.local, *self.peers]
        voters = [next((n for n in known if wanted in (n.id, n.name)), None) for wanted in self._initial]
        if any(voter is None for voter in voters):
            return False
        ids = [voter.id for voter in voters if voter is not None]
        self.core.set_initial_configuration(VotingConfiguration.of(dict.fromkeys(ids)))
        self._election.bootstrap(first=ids[0] == self.local.id)
        return True

    def _find_peers(self, count: int) -> None:
        if self.mode is Mode.CANDIDATE:
            for node in self.peers.next_to_ask(count):
                self._ask_for_leader(node)
            # A hundred nodes without a manager must not keep the machine busy with links to one another.
            interval_ms = self.settings.find_peers_interval_ms * max(1.0, len(self.peers) / _FEW_PEERS)
            self._out.set_timer(TimerKind.FIND_PEERS, interval_ms)

    def _ask_for_leader(self, node: DiscoveryNode) -> None:
        self._out.send(node, m.PeersRequest(self.local), self.settings.request_peers_timeout_ms)

    def _start_election(self) -> None:
        """Begin a new term, and ask all nodes for their votes; those who have none join all the same.

        Differs: in OpenSearch only eligible nodes are told, and others find the leader a little later.
        """
        if self.mode is Mode.CANDIDATE and self._election.may_win():
            request = m.StartJoinRequest(self.local, max(self.core.term, self._max_term_seen) + 1)
            self._expected = {node.id: None for node in self.peers}
            for node in (self.local, *self.peers):
                self._out.send(node, request, self.settings.join_timeout_ms)

    def _ensure_term(self, source: DiscoveryNode, term: int) -> None:
        if self.core.term < term:
            self._join_in_term(source, term)

    def _join_in_term(self, target: DiscoveryNode, term: int) -> Join:
        """Vote for a node in a higher term; what this node was before is over."""
        self._last_join = join = self.core.handle_start_join(target.id, term)
        self._max_term_seen = max(self._max_term_seen, term)
        self._become_candidate()
        if target.id != self.local.id:
            self._election.defer(target.id)
        return join

    def _vote_for(self, target: DiscoveryNode, term: int) -> Join | None:
        join = self._last_join
        return join if join is not None and (join.target_id, join.term) == (target.id, term) else None

    def _join(self, leader: DiscoveryNode) -> None:
        self._join_asked = leader.id
        request = m.JoinRequest(self.local, self.core.term, self._vote_for(leader, self.core.term))
        self._out.send(leader, request, self.settings.join_timeout_ms)
