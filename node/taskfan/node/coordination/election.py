"""A candidate's way to an election: when to try, and whether enough nodes would vote for it. Pure."""

from __future__ import annotations

from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.coordination.effects import Outbox, Send, TimerKind
from taskfan.node.coordination.messages import Join, PreVoteRequest, PreVoteResponse
from taskfan.node.coordination.peers import Peers
from taskfan.node.coordination.settings import CoordinationSettings
from taskfan.node.coordination.state import CoordinationState

# So many tries fit into `cluster.election.initial_timeout`.
_VOTERS_IN_INITIAL_TIMEOUT = 5
# So many nodes are reached in `cluster.election.duration`, on one machine that does other things too.
NODES_AT_ONCE = 20


class Election:
    """Pre-voting rounds, each later than the last, until there is a manager.

    A round asks the voters whether they would vote for this node; only when more than half would does it begin a
    new term, so that a node which merely lost its link does not disturb the others.

    Differs: only the voters are asked, as no other pre-vote counts, and a node that has just given its vote
    waits with a round of its own, so that the one who has it can win. And where many vote, their first tries
    are spread over a longer time: a round opens links to all voters, which takes a while on one machine.
    Source: OpenSearch `ElectionSchedulerFactory`, `PreVoteCollector`.
    """

    def __init__(self, core: CoordinationState, peers: Peers, settings: CoordinationSettings, out: Outbox) -> None:
        self._core, self._peers, self._settings, self._out = core, peers, settings, out
        # Since there was a manager: rounds, and votes given to others.
        self._attempts = 0
        # Who has this node's vote, and is given time to win with it.
        self._deferring_to: str | None = None
        # The pre-votes of the round under way, by node id; None between rounds.
        self._pre_votes: dict[str, Join] | None = None
        # Who has not answered in it.
        self._awaited: dict[str, None] = {}
        # The first messages of the round under way have this number or a higher one.
        self._round_begins_at = 0
        # True for the one node that is to win the very first election.
        self.is_eager = False

    def bootstrap(self, *, first: bool) -> None:
        """Begin with the first election of a cluster: one node tries at once, the others let it."""
        self.is_eager = first
        self._schedule(0.0) if first else self.defer(None)

    def begin(self) -> None:
        """There is no manager any more: try soon, each node at another time."""
        self._attempts = 0
        self._schedule(self.first_within_ms())

    def defer(self, candidate_id: str | None) -> None:
        """Let somebody else win first: this candidate, if it has this node's vote."""
        self._pre_votes, self._deferring_to = None, candidate_id
        self._attempts += 1
        self._schedule_next()

    def is_deferring_to_other_than(self, node_id: str) -> bool:
        """Whether somebody else has this node's vote, and still has time to win."""
        return self._deferring_to not in (None, node_id)

    def outranks(self, request: PreVoteRequest) -> bool:
        """Whether this node, asking for pre-votes itself, goes on, and the other one is to give way."""
        if self._pre_votes is None:
            return False
        accepted, source = self._core.accepted, request.source
        mine, other = (accepted.term, accepted.version), (request.accepted_term, request.accepted_version)
        return mine > other or (mine == other and self._core.local.id < source.id)

    def would_vote(self) -> None:
        """Somebody else was told that this node would vote for it: let it try first, but not for long."""
        if self._core.term == 0:
            # All begin together, and it is known who is to win.
            self.defer(None)
        else:
            self._pre_votes = None
            self._schedule(self.first_within_ms(), self.first_within_ms())

    def stop(self) -> None:
        """There is a manager."""
        self._pre_votes = self._deferring_to = None
        self.is_eager = False
        self._out.cancel_timer(TimerKind.ELECTION)

    def may_win(self) -> bool:
        """Whether this node may become the manager: it is eligible, and one of the voters."""
        core = self._core
        return core.local.is_cluster_manager_eligible and core.local.id in core.accepted.voters

    def start_round(self) -> None:
        """Ask the voters now, and again later if that leads to nothing."""
        if not self.may_win():
            return
        self._attempts += 1
        self._schedule_next()
        self._pre_votes, self._awaited, self._deferring_to = {}, {}, None
        self._round_begins_at = self._ask(self._core.local).number
        for node in self._voters():
            self._ask(node)

    def met(self, node: DiscoveryNode) -> None:
        """A node is there now. If it was not when it was asked for its first vote, it is asked again."""
        if self.is_eager and self._pre_votes is not None and node.id not in self._pre_votes:
            self._ask(node)

    def failed(self, sent: Send) -> None:
        """A voter did not answer, or refused."""
        if sent.number >= self._round_begins_at:
            self._awaited.pop(sent.to.id, None)
            self._end_round_without_hope()

    def answered(self, sent: Send, response: PreVoteResponse) -> bool:
        """Take a pre-vote. Gives whether the election is to begin now."""
        core = self._core
        if self._pre_votes is None or sent.number < self._round_begins_at:
            return False
        self._awaited.pop(sent.to.id, None)
        if (response.accepted_term, response.accepted_version) > (core.accepted.term, core.accepted.version):
            # It would not vote for this node: it knows a newer state.
            self._end_round_without_hope()
            return False
        join = Join(sent.to, core.local.id, core.term, response.accepted_term, response.accepted_version)
        self._pre_votes[sent.to.id] = join
        if not core.accepted.is_quorum(self._pre_votes):
            self._end_round_without_hope()
            return False
        self._pre_votes = None
        return True

    def _schedule_next(self) -> None:
        """Try again once this election had its time, a little later with each that leads to nothing."""
        settings = self._settings
        longest_ms = self.first_within_ms() + self._attempts * settings.election_back_off_time_ms
        # Who wins has to reach all nodes before anybody else tries.
        times = max(self._crowd(), len(self._peers) / NODES_AT_ONCE)
        self._schedule(min(longest_ms, settings.election_max_timeout_ms), settings.election_duration_ms * times)

    def first_within_ms(self) -> float:
        """In which time each node has tried to win once it lost its manager, or somebody has won."""
        if self._core.accepted.voters == (self._core.local.id,):
            return 0.0
        return min(self._settings.election_initial_timeout_ms * self._crowd(), self._settings.election_max_timeout_ms)

    def _crowd(self) -> float:
        """The more voters there are, the more time is needed for one of them to be alone in trying, and to win."""
        return max(1.0, len(self._core.accepted.voters) / _VOTERS_IN_INITIAL_TIMEOUT)

    def _end_round_without_hope(self) -> None:
        if not self._awaited and not self.is_eager:
            self._pre_votes = None

    def _ask(self, node: DiscoveryNode) -> Send:
        self._awaited[node.id] = None
        accepted = self._core.accepted
        request = PreVoteRequest(self._core.local, self._core.term, accepted.term, accepted.version)
        return self._out.send(node, request, self._settings.request_peers_timeout_ms)

    def _voters(self) -> list[DiscoveryNode]:
        known = (self._peers.get(node_id) for node_id in self._core.accepted.voters)
        return [node for node in known if node is not None]

    def _schedule(self, longest_ms: float, grace_ms: float = 0.0) -> None:
        if self.may_win():
            self._out.set_timer(TimerKind.ELECTION, grace_ms, grace_ms + longest_ms)
