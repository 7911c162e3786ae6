"""How long coordination waits for what: OpenSearch's settings and defaults. Pure."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

# A scaled time is never shorter: below, a busy machine would look like a dead one.
_LEAST_INTERVAL_MS = 10.0
_LEAST_TIMEOUT_MS = 100.0
_LEAST_ELECTION_MS = 20.0


class CoordinationSettings(msgspec.Struct, frozen=True):
    """Times in milliseconds. The name of OpenSearch's setting stands above each."""

    # cluster.fault_detection.follower_check.interval, .timeout, .retry_count
    follower_check_interval_ms: float = 1_000
    follower_check_timeout_ms: float = 10_000
    follower_check_retry_count: int = 3
    # cluster.fault_detection.leader_check.interval, .timeout, .retry_count
    leader_check_interval_ms: float = 1_000
    leader_check_timeout_ms: float = 10_000
    leader_check_retry_count: int = 3
    # cluster.publish.timeout
    publish_timeout_ms: float = 30_000
    # cluster.follower_lag.timeout
    follower_lag_timeout_ms: float = 90_000
    # cluster.election.initial_timeout, .back_off_time, .max_timeout, .duration
    election_initial_timeout_ms: float = 100
    election_back_off_time_ms: float = 100
    election_max_timeout_ms: float = 10_000
    election_duration_ms: float = 500
    # cluster.join.timeout
    join_timeout_ms: float = 60_000
    # discovery.find_peers_interval, discovery.request_peers_timeout
    find_peers_interval_ms: float = 1_000
    request_peers_timeout_ms: float = 3_000
    # cluster.auto_shrink_voting_configuration
    auto_shrink_voting_configuration: bool = True
    # Not of OpenSearch, where all eligible nodes vote: each candidate opens a link to each voter, and between
    # 100 processes on one machine that takes longer than the election.
    max_voting_nodes: int = 21
    # Nor this: so long a new leader waits with its first state for nodes it has asked to join and that can still
    # come, so that all are in one state; each state costs a message to every node. Of more than ten nodes, as much
    # for each ten.
    first_joins_timeout_ms: float = 100
    # Nor this: who looks for the manager asks so many nodes in each round, and others in the next, instead of all.
    peers_asked_at_once: int = 3

    def scaled(self, time_scale: float) -> CoordinationSettings:
        """All times multiplied by this, down to what a busy machine still keeps. 1 changes nothing."""

        def times(value_ms: float, least_ms: float) -> float:
            return max(value_ms * time_scale, min(value_ms, least_ms))

        return replace(
            self,
            follower_check_interval_ms=times(self.follower_check_interval_ms, _LEAST_INTERVAL_MS),
            follower_check_timeout_ms=times(self.follower_check_timeout_ms, _LEAST_TIMEOUT_MS),
            leader_check_interval_ms=times(self.leader_check_interval_ms, _LEAST_INTERVAL_MS),
            leader_check_timeout_ms=times(self.leader_check_timeout_ms, _LEAST_TIMEOUT_MS),
            publish_timeout_ms=times(self.publish_timeout_ms, _LEAST_TIMEOUT_MS),
            follower_lag_timeout_ms=times(self.follower_lag_timeout_ms, _LEAST_TIMEOUT_MS),
            election_initial_timeout_ms=times(self.election_initial_timeout_ms, _LEAST_ELECTION_MS),
            election_back_off_time_ms=times(self.election_back_off_time_ms, _LEAST_ELECTION_MS),
            election_max_timeout_ms=times(self.election_max_timeout_ms, _LEAST_TIMEOUT_MS),
            election_duration_ms=times(self.election_duration_ms, _LEAST_TIMEOUT_MS),
            join_timeout_ms=times(self.join_timeout_ms, _LEAST_TIMEOUT_MS),
            find_peers_interval_ms=times(self.find_peers_interval_ms, _LEAST_INTERVAL_MS),
            request_peers_timeout_ms=times(self.request_peers_timeout_ms, _LEAST_TIMEOUT_MS),
        )
