"""Whose votes decide: voting configurations, and how they follow the nodes that come and go. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable

import msgspec


class VotingConfiguration(msgspec.Struct, frozen=True):
    """The nodes of which more than half must agree, by id and sorted. Source: `CoordinationMetadata`."""

    node_ids: tuple[str, ...] = ()

    @classmethod
    def of(cls, node_ids: Iterable[str]) -> VotingConfiguration:
        """Of these nodes, in any order."""
        return cls(tuple(sorted(node_ids)))

    def __contains__(self, node_id: object) -> bool:
        return node_id in self.node_ids

    @property
    def is_empty(self) -> bool:
        """Nobody votes yet: the cluster was not bootstrapped."""
        return not self.node_ids

    def has_quorum(self, votes: Container[str]) -> bool:
        """Whether these are the votes of more than half. Nobody is more than half of an empty configuration."""
        return 2 * sum(node_id in votes for node_id in self.node_ids) > len(self.node_ids)


NOBODY = VotingConfiguration()


def reconfigured(
    current: VotingConfiguration, live: Iterable[str], leader_id: str, *, auto_shrink: bool, max_size: int
) -> VotingConfiguration:
    """The best configuration for the eligible nodes that live; `current` when there is none that they could carry.

    It has an odd number of nodes, and at least three once it had three: the leader first, then who is in it
    already, then other live nodes, and dead ones only to fill up. So a cluster of five that loses two, one after the
    other is noticed, still has a manager when it loses a third. As in OpenSearch, two nodes cannot do
    without the one that votes.

    Differs: never more than `max_size` vote.
    Source: OpenSearch `Reconfigurator`.
    """
    alive = sorted(set(live))
    live_inside = [node_id for node_id in alive if node_id in current]
    live_outside = [node_id for node_id in alive if node_id not in current]
    dead_inside = [node_id for node_id in current.node_ids if node_id not in alive]
    size = min(_target_size(len(alive), len(current.node_ids), auto_shrink), max_size)
    leader = [leader_id] if leader_id in alive else []
    by_preference = dict.fromkeys([*leader, *live_inside, *live_outside, *dead_inside])
    chosen = VotingConfiguration.of(list(by_preference)[:size])
    return chosen if chosen.has_quorum(alive) else current


def _target_size(live: int, current: int, auto_shrink: bool) -> int:
    odd = live if live % 2 else live - 1
    if not auto_shrink:
        return max(odd, current)
    if live >= 3:
        return odd
    return 1 if current < 3 else 3
