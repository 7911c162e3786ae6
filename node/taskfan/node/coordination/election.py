"""A candidate's way to an election: when to try, and whether enough nodes would vote for it. Pure."""

from __future__ import annotations

from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.coordination.effects import Outbox, Send, TimerKind
from taskfan.node.coordination.messages import Join, PreVoteRequest, PreVoteResponse
from taskfan.node.coordination.peers import Peers
from taskfan.node.coordination.settings import CoordinationSettings
from taskfan.node.coordination.state import CoordinationState


class Election:
    """Pre-voting rounds, each later than the last, until there is a manager.

    A round asks the voters whether they would vote for this node; only when more than half would does it begin a
    new term, so that a node which merely lost its link does not disturb the others.

    Differs: only the voters are asked, as no other pre-vote counts, and a node that has just given its vote
    waits with a round of its own, so that the one who has it can win.
    Source: OpenSearch `ElectionSchedulerFactory`, `PreVoteCollector`.
    """

    def __init__(self, core: CoordinationState, peers: Peers, settings: CoordinationSettings, out: Outbox) -> None:
        self._core, self._peers, self._settings, self._out = core, peers, settings, out
        self._attempts = 0
        # The pre-votes of the round under way, by node id; None between rounds.
        self._pre_votes: dict[str, Join] | None = None
        # The first messages of the round under way have this number or a higher one.
        self._round_begins_at = 0
        # True for the one node that is to win the very first election.
        self.is_eager = False

    def bootstrap(self, *, first: bool) -> None:
        """Begin with the first election of a cluster: one node tries at once, the others let it."""
        self.is_eager = first
        self._schedule(0.0) if first else self.defer()

    def begin(self) -> None:
        """There is no manager any more: try soon, each node at another time."""
        self._attempts = 0
        self._schedule(self._settings.election_initial_timeout_ms)

    def defer(self) -> None:
        """Let somebody else win first."""
        self._pre_votes = None
        if self.may_win():
            duration_ms = self._settings.election_duration_ms
            later_ms = duration_ms + self._settings.election_initial_timeout_ms
            self._out.set_timer(TimerKind.ELECTION, duration_ms, later_ms)

    def stop(self) -> None:
        """There is a manager."""
        self._pre_votes = None
        self.is_eager = False
        self._out.cancel_timer(TimerKind.ELECTION)

    def may_win(self) -> bool:
        """Whether this node may become the manager: it is eligible, and one of the voters."""
        core = self._core
        return core.local.is_cluster_manager_eligible and core.local.id in core.accepted.voters

    def start_round(self) -> None:
        """Ask the voters now, and again later if that leads to nothing."""
        settings = self._settings
        if not self.may_win():
            return
        self._attempts += 1
        longest_ms = settings.election_initial_timeout_ms + self._attempts * settings.election_back_off_time_ms
        self._schedule(min(longest_ms, settings.election_max_timeout_ms), settings.election_duration_ms)
        self._pre_votes = {}
        self._round_begins_at = self._ask(self._core.local).number
        for node in self._voters():
            self._ask(node)

    def met(self, node: DiscoveryNode) -> None:
        """A node is there now. If it was not when it was asked for its first vote, it is asked again."""
        if self.is_eager and self._pre_votes is not None and node.id not in self._pre_votes:
            self._ask(node)

    def answered(self, sent: Send, response: PreVoteResponse) -> bool:
        """Take a pre-vote. Gives whether the election is to begin now."""
        core = self._core
        if self._pre_votes is None or sent.number < self._round_begins_at:
            return False
        if (response.accepted_term, response.accepted_version) > (core.accepted.term, core.accepted.version):
            # It would not vote for this node: it knows a newer state.
            return False
        join = Join(sent.to, core.local.id, core.term, response.accepted_term, response.accepted_version)
        self._pre_votes[sent.to.id] = join
        if not core.accepted.is_quorum(self._pre_votes):
            return False
        self._pre_votes = None
        return True

    def _ask(self, node: DiscoveryNode) -> Send:
        request = PreVoteRequest(self._core.local, self._core.term)
        return self._out.send(node, request, self._settings.request_peers_timeout_ms)

    def _voters(self) -> list[DiscoveryNode]:
        known = (self._peers.get(node_id) for node_id in self._core.accepted.voters)
        return [node for node in known if node is not None]

    def _schedule(self, longest_ms: float, grace_ms: float = 0.0) -> None:
        if self.may_win():
            self._out.set_timer(TimerKind.ELECTION, grace_ms, grace_ms + longest_ms)
