"""What must be true of coordination at every moment, whatever the network and the nodes do."""

from __future__ import annotations

from taskfan.node.cluster_state import ClusterState
from taskfan.node.coordination.coordinator import Coordinator
from taskfan.node.coordination.messages import AcceptedState
from taskfan.node.coordination.modes import Mode
from taskfan.node.coordination.state import CoordinationState

Place = tuple[int, int]


class Invariants:
    """Follows a cluster from its start, and raises AssertionError at the first thing that must not be."""

    def __init__(self) -> None:
        self.leader_of_term: dict[int, str] = {}
        # By term and version: the state published there, and the place it follows on.
        self.published: dict[Place, AcceptedState] = {}
        self.previous: dict[Place, Place] = {}
        # By version: the term of the one committed state of that version.
        self.line: dict[int, int] = {0: 0}
        # By process: the place of the last state it applied.
        self.applied: dict[str, Place] = {}

    def watch(self, core: CoordinationState) -> None:
        """See what this node publishes."""
        publish = core.handle_client_value

        def watched(state: AcceptedState) -> None:
            publish(state)
            self.publishes(state, core.accepted)

        core.handle_client_value = watched  # type: ignore[method-assign]

    def seen(self, coordinator: Coordinator) -> None:
        """Look at a node after something happened to it."""
        core, local = coordinator.core, coordinator.local
        if coordinator.mode is Mode.LEADER:
            known = self.leader_of_term.setdefault(core.term, local.ephemeral_id)
            assert known == local.ephemeral_id, f"{known} and {local.ephemeral_id} both lead in term {core.term}"
        accepted = core.accepted
        if accepted.version:
            assert self.published[accepted.term, accepted.version].cluster == accepted.cluster
        applied = coordinator.applied
        place, last = (applied.term, applied.version), self.applied.get(local.ephemeral_id, (0, 0))
        assert place >= last, f"{local.ephemeral_id} went back from {last} to {place}"
        self.applied[local.ephemeral_id] = place
        assert core.term >= accepted.term >= applied.term

    def publishes(self, state: AcceptedState, before: AcceptedState) -> None:
        """A leader begins to publish a state, on top of the last one it has accepted."""
        place = (state.term, state.version)
        assert place not in self.published, f"two states of term and version {place}"
        self.published[place], self.previous[place] = state, (before.term, before.version)

    def applies(self, local_id: str, state: ClusterState) -> None:
        """A node makes this its cluster state. Of others it must have heard that it is committed."""
        if state.manager_id == local_id:
            self.committed(state.term, state.version)
        assert self.line.get(state.version) == state.term, f"{local_id} applies {state.term}/{state.version}"

    def committed(self, term: int, version: int) -> None:
        """A state is committed: it and all it follows on are on the one line, for ever."""
        while self.line.get(version) != term:
            assert version not in self.line, (
                f"version {version} is committed in term {self.line[version]} and in term {term}"
            )
            self.line[version] = term
            assert (term, version) in self.previous, f"nobody published {term}/{version}"
            term, version = self.previous[term, version]
