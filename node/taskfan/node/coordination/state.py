"""The safety core of coordination: terms, votes, accepting and committing. Pure.

Whatever is called, in whatever order and however often, there is at most one leader in a term, and committed states
form one line. Source: OpenSearch `CoordinationState`, which was proved with TLA+.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.coordination.messages import (
    AcceptedState,
    ApplyCommitRequest,
    CoordinationRejected,
    Join,
    PublishRequest,
    PublishResponse,
)
from taskfan.node.coordination.voting import VotingConfiguration


class Persisted(msgspec.Struct, frozen=True):
    """What a node's next process must know: the term it is in, and the last state it accepted."""

    term: int
    accepted: AcceptedState


class CoordinationState:
    """One node's part. Every method either does what it says or raises `CoordinationRejected` and changes nothing."""

    def __init__(self, local: DiscoveryNode, persisted: Persisted) -> None:
        self.local = local
        self.term = persisted.term
        self.accepted = persisted.accepted
        self.election_won = False
        # By node id: who votes for this node in this term.
        self.join_votes: dict[str, Join] = {}
        # A vote given before a restart may be forgotten by its target; so a term is begun anew.
        self._started_join_since_restart = False
        self._published_version = 0
        self._published_configuration = self.accepted.accepted_configuration
        self._publish_votes: dict[str, None] = {}

    def set_initial_configuration(self, configuration: VotingConfiguration) -> None:
        """Say who votes first. All nodes that are told must be told the same."""
        _require(self.accepted.accepted_configuration.is_empty, "initial configuration already set")
        self.accepted = replace(
            self.accepted, committed_configuration=configuration, accepted_configuration=configuration
        )
        self._published_configuration = configuration

    def handle_start_join(self, source_id: str, term: int) -> Join:
        """Move to a higher term. Gives this node's one vote in it, which is for who asked."""
        _require(term > self.term, f"incoming term {term} not greater than current term {self.term}")
        self.term = term
        self._published_version = 0
        self._published_configuration = self.accepted.accepted_configuration
        self._started_join_since_restart = True
        self.election_won = False
        self.join_votes = {}
        self._publish_votes = {}
        return Join(self.local, source_id, term, self.accepted.term, self.accepted.version)

    def handle_join(self, join: Join) -> bool:
        """Take a vote. Gives whether it is the first of its node in this term; `election_won` may be true now."""
        assert join.target_id == self.local.id
        accepted = self.accepted
        _require(join.term == self.term, f"incoming term {join.term} does not match current term {self.term}")
        _require(self._started_join_since_restart, "ignored join as term has not been incremented yet after reboot")
        _require(
            (join.accepted_term, join.accepted_version) <= (accepted.term, accepted.version),
            f"incoming last accepted version {join.accepted_version} of term {join.accepted_term} is newer than"
            f" version {accepted.version} of term {accepted.term}",
        )
        _require(not accepted.accepted_configuration.is_empty, "no initial configuration yet")
        is_new = join.source.id not in self.join_votes
        self.join_votes[join.source.id] = join
        if not self.election_won and accepted.is_quorum(self.join_votes):
            self.election_won = True
            self._published_version = accepted.version
        return is_new

    def handle_client_value(self, state: AcceptedState) -> None:
        """Begin to publish a state, as the elected leader. Only one is under way at a time."""
        accepted = self.accepted
        _require(self.election_won, "election not won")
        _require(self._published_version == accepted.version, "previous state is not accepted yet")
        _require(state.term == self.term, f"incoming term {state.term} does not match current term {self.term}")
        _require(state.version > accepted.version, f"incoming version {state.version} is not new")
        _require(
            state.accepted_configuration == accepted.accepted_configuration
            or accepted.committed_configuration == accepted.accepted_configuration,
            "only allow reconfiguration while not already reconfiguring",
        )
        _require(
            state.accepted_configuration.has_quorum(self.join_votes),
            "only allow reconfiguration if joinVotes have quorum for new config",
        )
        assert state.committed_configuration == accepted.committed_configuration
        self._published_version = state.version
        self._published_configuration = state.accepted_configuration
        self._publish_votes = {}

    def handle_publish_request(self, request: PublishRequest) -> PublishResponse:
        """Accept a state of this term that is newer than the last."""
        state, accepted = request.state, self.accepted
        _require(state.term == self.term, f"incoming term {state.term} does not match current term {self.term}")
        _require(
            state.term > accepted.term or state.version > accepted.version,
            f"incoming version {state.version} lower or equal to current version {accepted.version}",
        )
        self.accepted = state
        return PublishResponse(state.term, state.version, None)

    def handle_publish_response(self, source: DiscoveryNode, response: PublishResponse) -> ApplyCommitRequest | None:
        """Take an acceptance. Gives the commit, once a majority has accepted, for each that comes then."""
        _require(self.election_won, "election not won")
        _require(response.term == self.term, f"incoming term {response.term} does not match current term {self.term}")
        _require(response.version == self._published_version, f"version {response.version} is not being published")
        self._publish_votes[source.id] = None
        if self.is_publish_quorum(self._publish_votes):
            return ApplyCommitRequest(self.local, self.term, response.version)
        return None

    def is_publish_quorum(self, votes: dict[str, None]) -> bool:
        """Whether the state being published is committed once these have accepted it."""
        committed, published = self.accepted.committed_configuration, self._published_configuration
        return committed.has_quorum(votes) and published.has_quorum(votes)

    def handle_commit(self, commit: ApplyCommitRequest) -> None:
        """Learn that the last accepted state is committed, and with it its configuration."""
        accepted = self.accepted
        _require(commit.term == self.term, f"incoming term {commit.term} does not match current term {self.term}")
        _require(
            (commit.term, commit.version) == (accepted.term, accepted.version),
            f"incoming version {commit.version} of term {commit.term} does not match version {accepted.version}"
            f" of term {accepted.term}",
        )
        if accepted.committed_configuration != accepted.accepted_configuration or not accepted.cluster_uuid_committed:
            self.accepted = replace(
                accepted, committed_configuration=accepted.accepted_configuration, cluster_uuid_committed=True
            )


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise CoordinationRejected(reason)
