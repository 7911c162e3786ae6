"""The next cluster state: who joined, who left, and who votes from now on. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from msgspec.structs import replace

from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.coordination.messages import AcceptedState
from taskfan.node.coordination.settings import CoordinationSettings
from taskfan.node.coordination.state import CoordinationState
from taskfan.node.coordination.voting import VotingConfiguration, reconfigured

NO_UUID = "_na_"
# How many changes may wait for the next state.
MAX_PENDING_CHANGES = 10_000


class Change(msgspec.Struct, frozen=True, eq=False):
    """A change of the cluster state that somebody asked the leader for.

    `update` is a pure function: it is given the next state, with its term and version, and gives another one; the
    same object when there is nothing to change. What it raises is told to who asked, and changes nothing.
    Source: OpenSearch `ClusterStateTaskExecutor`.
    """

    number: int
    source: str
    update: Callable[[ClusterState], ClusterState]


# Given the nodes before, and the state with those that are there now: the state with everything else fitted to them.
FollowUp = Callable[[tuple[DiscoveryNode, ...], ClusterState], ClusterState]


class PendingUpdates:
    """What the leader has not published yet. All that is pending goes into one state, so joins come in batches.

    Source: OpenSearch `JoinTaskExecutor`, `NodeRemovalClusterStateTaskExecutor`.
    """

    def __init__(self) -> None:
        # By node id; the latest process of a node is the one that counts.
        self.joining: dict[str, DiscoveryNode] = {}
        self.leaving: dict[str, DiscoveryNode] = {}
        self.changes: list[Change] = []

    def clear(self) -> None:
        """Forget all but the changes, for somebody waits for these."""
        self.joining.clear()
        self.leaving.clear()

    def join(self, node: DiscoveryNode) -> None:
        """It is to be in the next state."""
        self.joining[node.id] = node
        self.leaving.pop(node.id, None)

    def leave(self, node: DiscoveryNode) -> None:
        """This process is not to be in the next state; another one of that node may."""
        if _same_process(self.joining.get(node.id), node):
            del self.joining[node.id]
        self.leaving[node.id] = node

    def is_pending(self, nodes: tuple[DiscoveryNode, ...]) -> bool:
        """Whether anything is to be published: any join, or the end of one of these nodes."""
        if self.joining or not self.leaving:
            return bool(self.joining)
        return any(_same_process(self.leaving.get(node.id), node) for node in nodes)

    def take_changes(self) -> list[Change]:
        """The changes, in the order in which they came; none is pending then."""
        changes, self.changes = self.changes, []
        return changes

    def withdraw(self, number: int) -> bool:
        """Forget a change. Gives whether it was still pending."""
        before = len(self.changes)
        self.changes = [change for change in self.changes if change.number != number]
        return len(self.changes) < before

    def take(self, nodes: tuple[DiscoveryNode, ...]) -> tuple[DiscoveryNode, ...]:
        """The nodes after all that is pending, in the order in which they joined; nothing is pending then.

        Who joins replaces the former process of the node, and who had its address.
        """
        joining, leaving = dict(self.joining), dict(self.leaving)
        self.clear()
        addresses = {node.transport_address for node in joining.values()}

        def stays(node: DiscoveryNode) -> bool:
            if node.id in joining:
                return _same_process(joining[node.id], node)
            return not _same_process(leaving.get(node.id), node) and node.transport_address not in addresses

        kept = tuple(node for node in nodes if stays(node))
        known = {node.id for node in kept}
        return (*kept, *(node for node in joining.values() if node.id not in known))


def next_state(
    core: CoordinationState, nodes: tuple[DiscoveryNode, ...], cluster_uuid: str, settings: CoordinationSettings
) -> AcceptedState:
    """The state of one version more, with these nodes, published by this node in its term.

    Differs: a change of who votes goes along with the change that makes it wanted, where OpenSearch publishes
    twice; both have to pass the same conditions.
    """
    accepted = core.accepted
    cluster = replace(
        accepted.cluster,
        version=accepted.version + 1,
        term=core.term,
        nodes=nodes,
        manager_id=core.local.id,
        cluster_uuid=cluster_uuid if accepted.cluster.cluster_uuid == NO_UUID else accepted.cluster.cluster_uuid,
    )
    voting = wanted_configuration(core, nodes, settings)
    return replace(accepted, cluster=cluster, accepted_configuration=voting)


def wanted_configuration(
    core: CoordinationState, nodes: tuple[DiscoveryNode, ...], settings: CoordinationSettings
) -> VotingConfiguration:
    """Who is to vote, as far as a change is allowed now. Source: OpenSearch `Coordinator.improveConfiguration`."""
    current = core.accepted.accepted_configuration
    if core.accepted.committed_configuration != current:
        return current
    # As in OpenSearch only those that have joined in this term: with them the change can be carried through.
    live = [node.id for node in nodes if node.is_cluster_manager_eligible and _has_joined(core.join_votes, node)]
    auto_shrink, max_size = settings.auto_shrink_voting_configuration, settings.max_voting_nodes
    wanted = reconfigured(current, live, core.local.id, auto_shrink=auto_shrink, max_size=max_size)
    return wanted if wanted.has_quorum(core.join_votes) else current


def _has_joined(join_votes: Mapping[str, object], node: DiscoveryNode) -> bool:
    return node.id in join_votes


def _same_process(a: DiscoveryNode | None, b: DiscoveryNode) -> bool:
    return a is not None and a.ephemeral_id == b.ephemeral_id
