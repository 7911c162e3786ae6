"""What nodes say to one another about who is the manager and what the cluster state is. Pure.

Each request is one of OpenSearch's actions, named above it; those without an answer of their own are answered by
`Acknowledged`. Any may be refused with `CoordinationRejected`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TypeAlias

import msgspec

from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.coordination.voting import NOBODY, VotingConfiguration
from taskfan.node.errors import TaskfanError


class CoordinationRejected(TaskfanError):
    """What was asked does not fit this node's term, state or mode; the sender is out of date, or this node is."""

    kind = "coordination_state_rejected_exception"


class NotClusterManager(TaskfanError):
    """A change that was asked of a node that is not the manager. Source: `NotClusterManagerException`."""

    kind = "not_cluster_manager_exception"


class FailedToCommit(TaskfanError):
    """A change whose manager lost its place meanwhile. Source: `FailedToCommitClusterStateException`."""

    kind = "failed_to_commit_cluster_state_exception"
    http_status = HTTPStatus.SERVICE_UNAVAILABLE


class ProcessClusterEventTimeout(TaskfanError):
    """A change that waited too long for those before it. Source: `ProcessClusterEventTimeoutException`."""

    kind = "process_cluster_event_timeout_exception"
    http_status = HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(self, source: str, limit: str) -> None:
        super().__init__(f"failed to process cluster event ({source}) within {limit}")


class AcceptedState(msgspec.Struct, frozen=True):
    """A cluster state with the voting configurations in force: what is published, accepted and kept.

    `committed_configuration` is the last that is known to be committed, `accepted_configuration` that of
    this very state; while they differ, a majority of each is needed. Source: `CoordinationMetadata`.
    """

    cluster: ClusterState
    committed_configuration: VotingConfiguration = NOBODY
    accepted_configuration: VotingConfiguration = NOBODY
    # Once true, no state of another cluster is accepted.
    cluster_uuid_committed: bool = False

    @property
    def term(self) -> int:
        """In which it was published; 0 before the first."""
        return self.cluster.term

    @property
    def version(self) -> int:
        """Of the cluster state."""
        return self.cluster.version

    @property
    def voters(self) -> tuple[str, ...]:
        """Everybody whose vote may count now."""
        return tuple(dict.fromkeys([*self.committed_configuration.node_ids, *self.accepted_configuration.node_ids]))

    def is_quorum(self, votes: dict[str, Join]) -> bool:
        """Whether these votes elect a manager."""
        return self.committed_configuration.has_quorum(votes) and self.accepted_configuration.has_quorum(votes)


class Join(msgspec.Struct, frozen=True):
    """A vote: `source` gives it to `target` for this term, and says how new the state is that it has accepted."""

    source: DiscoveryNode
    target_id: str
    term: int
    accepted_term: int
    accepted_version: int


class Acknowledged(msgspec.Struct, frozen=True):
    """It was done, and there is nothing more to say."""


ACKNOWLEDGED = Acknowledged()


class PeersRequest(msgspec.Struct, frozen=True):
    """internal:discovery/request_peers: who is the manager, and who else is there?"""

    source: DiscoveryNode


class PeersResponse(msgspec.Struct, frozen=True):
    """The manager, if there is one, and the eligible nodes known."""

    leader: DiscoveryNode | None
    known_peers: tuple[DiscoveryNode, ...]
    term: int


class PreVoteRequest(msgspec.Struct, frozen=True):
    """internal:cluster/request_pre_vote: would you vote for me? Binds nobody, and changes no term.

    Differs: it says how new the sender's state is, so that of two who ask each other only one goes on.
    """

    source: DiscoveryNode
    term: int
    accepted_term: int
    accepted_version: int


class PreVoteResponse(msgspec.Struct, frozen=True):
    """I have no manager, and this is my state: vote for yourself if yours is as new."""

    term: int
    accepted_term: int
    accepted_version: int


class StartJoinRequest(msgspec.Struct, frozen=True):
    """internal:cluster/coordination/start_join: move to this term and join me."""

    source: DiscoveryNode
    term: int


class JoinRequest(msgspec.Struct, frozen=True):
    """internal:cluster/coordination/join: take me in. With a vote, when this term's is for the one asked."""

    source: DiscoveryNode
    term: int
    join: Join | None


class PublishRequest(msgspec.Struct, frozen=True):
    """internal:cluster/coordination/publish_state: accept this state."""

    source: DiscoveryNode
    state: AcceptedState


class PublishResponse(msgspec.Struct, frozen=True):
    """Accepted; with the vote of this term, if it was not given yet."""

    term: int
    version: int
    join: Join | None


class ApplyCommitRequest(msgspec.Struct, frozen=True):
    """internal:cluster/coordination/commit_state: a majority has accepted it; apply it."""

    source: DiscoveryNode
    term: int
    version: int


class FollowerCheckRequest(msgspec.Struct, frozen=True):
    """internal:coordination/fault_detection/follower_check: are you there, and do you follow me?

    Differs: it names the process that is meant, because here a link may lead to the node's next one.
    """

    source: DiscoveryNode
    term: int
    target_ephemeral_id: str


class LeaderCheckRequest(msgspec.Struct, frozen=True):
    """internal:coordination/fault_detection/leader_check: are you there, and am I one of yours?"""

    source: DiscoveryNode


Request: TypeAlias = (
    PeersRequest
    | PreVoteRequest
    | StartJoinRequest
    | JoinRequest
    | PublishRequest
    | ApplyCommitRequest
    | FollowerCheckRequest
    | LeaderCheckRequest
)
Answer: TypeAlias = Acknowledged | PeersResponse | PreVoteResponse | PublishResponse
