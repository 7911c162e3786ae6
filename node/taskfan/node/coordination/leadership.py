"""What only the leader does: publish cluster states, one after the other, and see who follows. Pure."""

from __future__ import annotations

import enum

from msgspec.structs import replace

from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.coordination.effects import (
    ChangeCommitted,
    ChangeDone,
    ChangeFailed,
    Failure,
    Outbox,
    Send,
    TimerKind,
)
from taskfan.node.coordination.fault_detection import FollowerChecks
from taskfan.node.coordination.messages import (
    AcceptedState,
    ApplyCommitRequest,
    CoordinationRejected,
    FailedToCommit,
    PublishRequest,
    PublishResponse,
)
from taskfan.node.coordination.publication import Progress, Publication
from taskfan.node.coordination.settings import CoordinationSettings
from taskfan.node.coordination.state import CoordinationState
from taskfan.node.coordination.updates import Change, FollowUp, PendingUpdates, next_state, wanted_configuration


class Ending(enum.Enum):
    """How a publication ended."""

    COMMITTED = "more than half have accepted it"
    FAILED = "more than half did not, or may not have"


class Leadership:
    """Publications, follower checks and what is to be published next.

    Source: OpenSearch `Coordinator.publish` and `CoordinatorPublication`, `LagDetector`.
    """

    def __init__(self, core: CoordinationState, settings: CoordinationSettings, out: Outbox) -> None:
        self._core, self._settings, self._out = core, settings, out
        self.updates = PendingUpdates()
        self.checks = FollowerChecks(core.local, settings, out)
        self.publication: Publication | None = None
        # With what of these it was found that those vote who should.
        self._settled_voting: tuple[AcceptedState, int, int] | None = None
        # The processes in a state, by node id: each follower asks once a second whether it is one of them.
        self._processes: tuple[AcceptedState | None, dict[str, str]] = (None, {})
        # By node id: the version that it must have applied before its timer fires.
        self._lagging: dict[str, int] = {}
        self.follow_up: FollowUp = lambda before, state: state
        # In the state that is being published, and in one that is not any more.
        self._published_changes: list[Change] = []
        self._done: list[ChangeDone] = []
        self._lost: list[Change] = []

    def has(self, node: DiscoveryNode) -> bool:
        """Whether this very process is in the state that was published last."""
        state = self._core.accepted if self.publication is None else self.publication.state
        if self._processes[0] is not state:
            self._processes = state, {known.id: known.ephemeral_id for known in state.cluster}
        return self._processes[1].get(node.id) == node.ephemeral_id

    def stop(self) -> bool:
        """This node leads no more. Gives whether a state that was committed and taken over here is not applied yet."""
        publication, self.publication = self.publication, None
        self.updates.clear()
        self.checks.clear()
        self._out.cancel_timer(TimerKind.PUBLICATION)
        for node_id in self._lagging:
            self._out.cancel_timer(TimerKind.FOLLOWER_LAG, node_id)
        self._lagging = {}
        is_applied = publication is not None and publication.progress(self._core.local.id) is Progress.APPLIED
        self._end_changes(is_committed=is_applied, is_applied_by_all=False)
        self._lost += self.updates.take_changes()
        return is_applied

    # ------------------------------------------------------------------ what is to be published

    def joined(self, node: DiscoveryNode) -> None:
        """A node wants to be taken in; if it is already, it wants to be told."""
        if self.publication is None or not self._is_being_told(self.publication, node):
            self.updates.join(node)

    def left(self, node: DiscoveryNode | None) -> None:
        """A node is gone: it is taken out, and nothing more is awaited from it."""
        if node is not None:
            self.updates.leave(node)
            if self.publication is not None:
                self.publication.moved(node.id, Progress.FAILED)

    def publish_next(self, cluster_uuid: str) -> None:
        """Publish what is pending, unless nothing is, or another state is still on its way."""
        core, out = self._core, self._out
        must_publish = self._must_publish()
        if self.publication is not None or not (must_publish or self.updates.changes):
            return
        joined = dict.fromkeys([*core.join_votes, *self.updates.joining])
        self.checks.rejoined(self.updates.joining)
        nodes = self.updates.take(core.accepted.cluster.nodes)
        state = next_state(core, nodes, cluster_uuid, self._settings)
        cluster = self._changed(state.cluster)
        if not must_publish and cluster.indices is core.accepted.cluster.indices:
            self._end_changes(is_committed=True, is_applied_by_all=True)
            self.settle()
            return
        state = replace(state, cluster=cluster)
        core.handle_client_value(state)
        self.publication = Publication(state)
        self.checks.set_nodes(core.term, nodes, joined)
        request, timeout_ms = PublishRequest(core.local, state), self._settings.publish_timeout_ms
        for node in nodes:
            if node.id in self.checks.faulty:
                self.publication.moved(node.id, Progress.FAILED)
            else:
                out.send(node, request, timeout_ms)
        out.set_timer(TimerKind.PUBLICATION, timeout_ms)

    def _must_publish(self) -> bool:
        core, nodes = self._core, self._core.accepted.cluster.nodes
        if self.updates.is_pending(nodes) or core.accepted.term != core.term:
            return True
        # Who is to vote follows from these, and votes of a term only become more. It is asked after every message and
        # timer: among a hundred idle nodes, to find out anew each time was most of what the leader did.
        basis = (core.accepted, core.term, len(core.join_votes))
        if basis != self._settled_voting:
            if wanted_configuration(core, nodes, self._settings) != core.accepted.accepted_configuration:
                return True
            self._settled_voting = basis
        return False

    # ------------------------------------------------------------------ changes that somebody asked for

    def _changed(self, state: ClusterState) -> ClusterState:
        """The next state after all that is pending."""
        before = self._core.accepted.cluster.nodes
        if state.nodes != before:
            state = self.follow_up(before, state)
        for change in self.updates.take_changes():
            try:
                state = change.update(state)
            except Exception as error:
                # Whatever is wrong with one change, the others and the cluster go on.
                self._out.tell(ChangeFailed(change.number, error))
            else:
                self._published_changes.append(change)
        return state

    def _end_changes(self, *, is_committed: bool, is_applied_by_all: bool) -> None:
        """Remember what became of the changes of a publication, until `settle`."""
        changes, self._published_changes = self._published_changes, []
        if is_committed:
            self._done += [ChangeDone(change.number, is_applied_by_all) for change in changes]
        else:
            self._lost += changes

    def settle(self) -> None:
        """Tell who asked for changes. After the state that has them was applied here."""
        for done in self._done:
            self._out.tell(done)
        for change in self._lost:
            self._out.tell(
                ChangeFailed(change.number, FailedToCommit(f"[{change.source}] is not known to be committed"))
            )
        self._done, self._lost = [], []

    def _is_being_told(self, publication: Publication, node: DiscoveryNode) -> bool:
        return self.has(node) and publication.progress(node.id) is Progress.SENT_PUBLISH

    # ------------------------------------------------------------------ the publication under way

    def accepted(self, sent: Send, response: PublishResponse) -> None:
        """A node has accepted a state; with the one that makes a majority it is committed, and all are told."""
        publication = self._publication_of(sent)
        if publication is None or publication.progress(sent.to.id) is not Progress.SENT_PUBLISH:
            return
        try:
            commit = self._core.handle_publish_response(sent.to, response)
        except CoordinationRejected:
            publication.moved(sent.to.id, Progress.FAILED)
            return
        publication.moved(sent.to.id, Progress.WAITING_FOR_QUORUM)
        if commit is None:
            return
        if publication.commit is None:
            for change in self._published_changes:
                self._out.tell(ChangeCommitted(change.number))
        # The same for all, so that their answers are told from those to other commits.
        publication.commit = commit = publication.commit or commit
        for node_id in publication.at(Progress.WAITING_FOR_QUORUM):
            node = publication.state.cluster.get(node_id)
            assert node is not None
            publication.moved(node_id, Progress.SENT_COMMIT)
            self._out.send(node, commit, self._settings.publish_timeout_ms)

    def applied(self, sent: Send, commit: ApplyCommitRequest) -> None:
        """A node has applied a state; late, perhaps."""
        node_id, publication = sent.to.id, self.publication
        if publication is not None and publication.commit is commit:
            publication.moved(node_id, Progress.APPLIED)
        if commit.term == self._core.term and commit.version >= self._lagging.get(node_id, commit.version + 1):
            del self._lagging[node_id]
            self._out.cancel_timer(TimerKind.FOLLOWER_LAG, node_id)

    def failed(self, sent: Send) -> None:
        """A node was not reached with a state or its commit, or refused it."""
        publication = self.publication
        if publication is not None and (self._publication_of(sent) or publication.commit is sent.request):
            publication.moved(sent.to.id, Progress.FAILED)

    def timed_out(self) -> None:
        """The publication has taken long enough; who has applied it by now, has."""
        if self.publication is not None:
            self.publication.fail_active()

    def ending(self) -> Ending | None:
        """How the publication ended, once; None while it is under way, or there is none."""
        publication = self.publication
        if publication is None:
            return None
        if publication.commit is None and not self._core.is_publish_quorum(publication.possible_votes()):
            publication.fail_active()
        if not publication.is_over:
            return None
        self.publication = None
        self._out.cancel_timer(TimerKind.PUBLICATION)
        self._end_changes(
            is_committed=publication.commit is not None, is_applied_by_all=not publication.at(Progress.FAILED)
        )
        if publication.commit is None:
            return Ending.FAILED
        self._watch_for_lag(publication)
        return Ending.COMMITTED

    def _publication_of(self, sent: Send) -> Publication | None:
        publication, request = self.publication, sent.request
        if publication is None or not isinstance(request, PublishRequest) or request.state is not publication.state:
            return None
        return publication

    # ------------------------------------------------------------------ followers that stay behind

    def _watch_for_lag(self, publication: Publication) -> None:
        for node_id in publication.at(Progress.FAILED):
            if node_id != self._core.local.id and node_id not in self._lagging and node_id not in self.checks.faulty:
                self._lagging[node_id] = publication.state.version
                self._out.set_timer(TimerKind.FOLLOWER_LAG, self._settings.follower_lag_timeout_ms, node_id=node_id)
        for node_id in [*self._lagging]:
            if publication.state.cluster.get(node_id) is None or publication.progress(node_id) is Progress.APPLIED:
                del self._lagging[node_id]
                self._out.cancel_timer(TimerKind.FOLLOWER_LAG, node_id)

    def lagged(self, node_id: str) -> None:
        """A follower answers, but has not applied what it was sent: it is taken out, and will join anew."""
        if self._lagging.pop(node_id, None) is not None:
            self.left(self.checks.give_up(node_id))

    def check_failed(self, sent: Send, failure: Failure) -> None:
        """A follower check has no answer."""
        self.left(self.checks.failed(sent, failure))
