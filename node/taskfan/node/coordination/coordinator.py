"""One node's part in coordination: what it does about each message, answer and timer. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.coordination import messages as m
from taskfan.node.coordination.effects import ChangeFailed, Effect, Failure, Persist, Send, Timer, TimerKind
from taskfan.node.coordination.messages import CoordinationRejected, Join
from taskfan.node.coordination.modes import Mode, Modes
from taskfan.node.coordination.state import Persisted
from taskfan.node.coordination.updates import MAX_PENDING_CHANGES, Change, FollowUp
from taskfan.node.errors import Rejected


class Outcome(msgspec.Struct, frozen=True):
    """What came of a request: effects, to be carried out first, and the answer or refusal that goes back."""

    effects: list[Effect]
    answer: m.Answer | CoordinationRejected


class Coordinator(Modes):
    """Feed it requests, answers, failures and timers, one at a time; carry out the effects of each in order.

    No answer and no timer is relied on: whatever is lost, late or doubled, nodes that can reach each other come
    together. The voting configuration follows the eligible nodes as in OpenSearch (`reconfigured`), and is not fixed,
    because nodes are added and removed while a cluster runs, and those added later must be able to take over.

    Source: OpenSearch `Coordinator`.
    """

    # ------------------------------------------------------------------ what the shell calls

    def start(
        self,
        seeds: Iterable[DiscoveryNode],
        initial_cluster_manager_nodes: Iterable[str],
        cluster_uuid: str,
        expected_nodes: int = 0,
    ) -> list[Effect]:
        """Look for the others.

        Args:
            seeds: nodes that may be there; one that is in the cluster is enough.
            initial_cluster_manager_nodes: names or ids of those who vote in the first election of the cluster, the
                same for all who are told; the first one is to win. Of no effect once there was an election. Empty
                for nodes that join an existing cluster.
            cluster_uuid: for the cluster, if this node is its first manager.
            expected_nodes: how many there are to be, if that is more than `seeds`: the more, the rarer each one asks.

        Source: `cluster.initial_cluster_manager_nodes`, OpenSearch `ClusterBootstrapService`.
        """
        self.peers.add_seeds(seeds)
        self.peers.expected = expected_nodes
        self.peers.heard_of(self.core.accepted.cluster)
        self._initial, self._cluster_uuid = tuple(initial_cluster_manager_nodes), cluster_uuid
        if not self._bootstrap():
            self._election.begin()
        # Where all begin together, the first to be elected will find the others, and they need not look at once.
        self._find_peers(self._peers_asked_first())
        return self._drain()

    def _peers_asked_first(self) -> int:
        if not self._initial:
            return self.settings.peers_asked_at_once
        # Who votes says that it is there now.
        return 1 if self._election.may_win() else 0

    def receive(self, request: m.Request) -> Outcome:
        """Answer a request of another node."""
        answer: m.Answer | CoordinationRejected
        try:
            answer = self._handle(request)
        except CoordinationRejected as rejection:
            # As a value: its traceback would hold this frame, and this frame holds it.
            answer = rejection.with_traceback(None)
        return Outcome(self._drain(), answer)

    def answered(self, sent: Send, answer: m.Answer) -> list[Effect]:
        """Take the answer to what was sent."""
        self._on_answer(sent, answer)
        return self._drain()

    def failed(self, sent: Send, failure: Failure) -> list[Effect]:
        """What was sent has no answer, and a late one will not be given."""
        self._on_failure(sent, failure)
        return self._drain()

    def timer_fired(self, timer: Timer) -> list[Effect]:
        """Its time has come."""
        match timer.kind:
            case TimerKind.ELECTION:
                self._election.start_round()
            case TimerKind.FIND_PEERS:
                self._find_peers(self.settings.peers_asked_at_once)
            case TimerKind.FIRST_JOINS:
                self._expected.clear()
            case TimerKind.LEADER_CHECK:
                self._leader_check.timer_fired()
            case TimerKind.FOLLOWER_CHECK:
                self._leadership.checks.timer_fired(timer.node_id)
            case TimerKind.FOLLOWER_LAG:
                self._leadership.lagged(timer.node_id)
            case TimerKind.PUBLICATION:
                self._leadership.timed_out()
        return self._drain()

    def link_closed(self, node_id: str, ephemeral_id: str) -> list[Effect]:
        """The link from here to this process of a node closed, or could not be opened: a check that failed for good."""
        if self._leader_check.link_closed(node_id, ephemeral_id):
            self._become_candidate()
        self._leadership.left(self._leadership.checks.link_closed(node_id, ephemeral_id))
        return self._drain()

    def submit(self, change: Change) -> list[Effect]:
        """Make a change of the cluster state. What became of it is told once, by `ChangeDone` or `ChangeFailed`.

        That it is committed may be told before, by `ChangeCommitted`.

        Source: OpenSearch `MasterService.submitStateUpdateTasks`.
        """
        pending = self._leadership.updates.changes
        if self.mode is not Mode.LEADER:
            refusal: Exception = m.NotClusterManager(f"[{self.local.name}] is not the cluster manager")
            self._out.tell(ChangeFailed(change.number, refusal))
        elif len(pending) >= MAX_PENDING_CHANGES:
            self._out.tell(ChangeFailed(change.number, Rejected(f"[{len(pending)}] changes are pending")))
        else:
            pending.append(change)
        return self._drain()

    def withdraw(self, number: int) -> bool:
        """Take a change back. Gives whether it was not too late: then nothing is told of it."""
        return self._leadership.updates.withdraw(number)

    def set_follow_up(self, follow_up: FollowUp) -> None:
        """What else of the cluster state changes when its nodes do. A pure function, but for the time it knows."""
        self._leadership.follow_up = follow_up

    def _drain(self) -> list[Effect]:
        """Deliver what this node says to itself, and give what else is to be done."""
        while True:
            if self.mode is Mode.LEADER:
                self._lead_on()
            if not self._out.to_itself:
                break
            sent = self._out.to_itself.pop(0)
            try:
                answer = self._handle(sent.request)
            except CoordinationRejected:
                self._on_failure(sent, Failure.REJECTED)
            else:
                self._on_answer(sent, answer)
        effects = self._out.take()
        if self.core.term != self._persisted.term or self.core.accepted is not self._persisted.accepted:
            self._persisted = Persisted(self.core.term, self.core.accepted)
            effects.insert(0, Persist(self.core.term, self.core.accepted))
        return effects

    # ------------------------------------------------------------------ requests of others, and of this node

    def _handle(self, request: m.Request) -> m.Answer:
        """The answer; raises CoordinationRejected."""
        self.peers.met(request.source)
        # The checks first: they are most of all that comes.
        match request:
            case m.FollowerCheckRequest():
                self._on_follower_check(request)
            case m.LeaderCheckRequest():
                self._on_leader_check(request)
            case m.PeersRequest():
                return self._on_peers_request(request)
            case m.PreVoteRequest():
                return self._on_pre_vote(request)
            case m.StartJoinRequest():
                self._join_in_term(request.source, request.term)
                self._join(request.source)
            case m.JoinRequest():
                self._on_join(request)
            case m.PublishRequest():
                return self._on_publish(request)
            case m.ApplyCommitRequest():
                self._on_commit(request)
        return m.ACKNOWLEDGED

    def _on_peers_request(self, request: m.PeersRequest) -> m.PeersResponse:
        self._bootstrap()
        self._election.met(request.source)
        return m.PeersResponse(self.leader, self.peers.eligible(), self.core.term)

    def _on_pre_vote(self, request: m.PreVoteRequest) -> m.PreVoteResponse:
        self._see_term(request.term)
        if self.leader is not None and self.leader.id != request.source.id:
            raise CoordinationRejected(f"rejecting pre-vote as there is already a leader [{self.leader.name}]")
        if self._election.is_deferring_to_other_than(request.source.id):
            raise CoordinationRejected("rejecting pre-vote as another node is being elected")
        if self._election.outranks(request):
            raise CoordinationRejected("rejecting pre-vote as this node is asking for them itself")
        if self.mode is Mode.CANDIDATE and request.source.id != self.local.id:
            self._election.would_vote()
        accepted = self.core.accepted
        return m.PreVoteResponse(self.core.term, accepted.term, accepted.version)

    def _on_join(self, request: m.JoinRequest) -> None:
        self._see_term(request.term)
        if self.mode is Mode.FOLLOWER:
            raise CoordinationRejected(f"[{self.local.name}] is not the leader")
        was_won = self.core.election_won
        if request.join is not None:
            self._take_vote(request.join)
        self._leadership.joined(request.source)
        self._expected.pop(request.source.id, None)
        if self.core.election_won and not was_won:
            self._become_leader()

    def _take_vote(self, join: Join) -> None:
        if join.target_id != self.local.id:
            raise CoordinationRejected(f"vote of [{join.source.name}] is for [{join.target_id}]")
        if join.term > self.core.term:
            self._take_vote(self._join_in_term(self.local, join.term))
        try:
            self.core.handle_join(join)
        except CoordinationRejected:
            # Once the election is won it takes the node in, whatever its vote is worth.
            if not self.core.election_won:
                raise

    def _on_publish(self, request: m.PublishRequest) -> m.PublishResponse:
        source, state, accepted = request.source, request.state, self.core.accepted
        if source.id == self.local.id and self.mode is not Mode.LEADER:
            raise CoordinationRejected("no longer leading this publication's term")
        local = state.cluster.get(self.local.id)
        if local is None or local.ephemeral_id != self.local.ephemeral_id:
            raise CoordinationRejected(f"another process of [{self.local.name}] is meant")
        if accepted.cluster_uuid_committed and accepted.cluster.cluster_uuid != state.cluster.cluster_uuid:
            raise CoordinationRejected(f"state of another cluster [{state.cluster.cluster_uuid}]")
        self._ensure_term(source, state.term)
        response = self.core.handle_publish_request(request)
        for node in state.cluster:
            self.peers.met(node)
        if source.id != self.local.id:
            self._become_follower(source)
        return replace(response, join=self._vote_for(source, state.term))

    def _on_commit(self, request: m.ApplyCommitRequest) -> None:
        self.core.handle_commit(request)
        # The leader applies it when the publication is over, so that it is never ahead of who it answers for.
        if request.source.id != self.local.id:
            self._apply_accepted()

    def _on_follower_check(self, request: m.FollowerCheckRequest) -> None:
        if request.target_ephemeral_id != self.local.ephemeral_id:
            raise CoordinationRejected(f"another process of [{self.local.name}] is meant")
        core = self.core
        if request.term != core.term:
            self._ensure_term(request.source, request.term)
        if request.term != core.term:
            raise CoordinationRejected(f"current term is [{core.term}]")
        if core.accepted.cluster.term < core.term:
            # It has not come to a state of this term, but there is a leader.
            self._become_follower(request.source)
        elif self.mode is not Mode.FOLLOWER and self._join_asked != request.source.id:
            raise CoordinationRejected("received check from faulty cluster-manager")
        elif self.mode is Mode.FOLLOWER:
            self._leader_check.leader_asked(request.source)

    def _on_leader_check(self, request: m.LeaderCheckRequest) -> None:
        if self.mode is not Mode.LEADER:
            raise CoordinationRejected(f"[{self.local.name}] is not the leader")
        if not self._leadership.has(request.source):
            raise CoordinationRejected(f"[{request.source.name}] has been removed from the cluster")

    # ------------------------------------------------------------------ what became of the node's own requests

    def _on_answer(self, sent: Send, answer: m.Answer) -> None:
        request = sent.request
        match answer:
            case m.Acknowledged():
                if isinstance(request, m.LeaderCheckRequest):
                    self._leader_check.answered(sent)
                elif isinstance(request, m.FollowerCheckRequest):
                    self._leadership.checks.answered(sent)
                elif isinstance(request, m.ApplyCommitRequest):
                    self._leadership.applied(sent, request)
            case m.PeersResponse():
                self._on_peers(sent.to, answer)
            case m.PreVoteResponse():
                self._see_term(answer.term)
                if self.mode is Mode.CANDIDATE and self._election.answered(sent, answer):
                    self._start_election()
            case m.PublishResponse():
                if answer.join is not None and self.mode is Mode.LEADER and answer.join.target_id == self.local.id:
                    self._take_vote(answer.join)
                self._leadership.accepted(sent, answer)

    def _on_peers(self, node: DiscoveryNode, answer: m.PeersResponse) -> None:
        self.peers.heard_of(answer.known_peers)
        if self._bootstrap() or self.mode is not Mode.CANDIDATE or answer.leader is None:
            return
        if answer.leader.id == self.local.id:
            # It has not noticed yet that this node does not lead any more.
            return
        self.peers.heard_of([answer.leader])
        if answer.leader.id == node.id:
            self._ensure_term(answer.leader, answer.term)
            self._join(answer.leader)
        else:
            self._ask_for_leader(answer.leader)

    def _on_failure(self, sent: Send, failure: Failure) -> None:
        match sent.request:
            case m.FollowerCheckRequest():
                self._leadership.check_failed(sent, failure)
            case m.LeaderCheckRequest():
                if self._leader_check.failed(sent, failure):
                    self._lose(sent.to, failure)
            case m.PublishRequest() | m.ApplyCommitRequest():
                self._leadership.failed(sent)
            case m.PreVoteRequest():
                self._election.failed(sent)
            case m.StartJoinRequest():
                self._expected.pop(sent.to.id, None)
            case m.JoinRequest():
                self._join_asked = None
            case m.PeersRequest():
                self.peers.unreachable(sent.to.id, keep=self.core.accepted.voters)
            case _:
                pass

    def _lose(self, leader: DiscoveryNode, failure: Failure) -> None:
        self._become_candidate()
        if failure is Failure.REJECTED:
            # It is there, but has taken this node out.
            self._ask_for_leader(leader)
