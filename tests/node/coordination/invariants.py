"""What must be true of coordination at every moment, whatever the network and the nodes do."""

from __future__ import annotations

from taskfan.node.coordination.coordinator import Coordinator
from taskfan.node.coordination.messages import AcceptedState
from taskfan.node.coordination.modes import Mode

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

    def seen(self, coordinator: Coordinator, before: AcceptedState) -> None:
        """Look at a node after something happened to it; `before` is the state it had accepted until then."""
        core, local = coordinator.core, coordinator.local
        if coordinator.mode is Mode.LEADER:
            known = self.leader_of_term.setdefault(core.term, local.ephemeral_id)
            assert known == local.ephemeral_id, f"{known} and {local.ephemeral_id} both lead in term {core.term}"
        accepted = core.accepted
        if accepted is not before and accepted.version:
            self._accepted(accepted, before, is_own=accepted.cluster.manager_id == local.id)
        applied = coordinator.applied
        place, last = (applied.term, applied.version), self.applied.get(local.ephemeral_id, (0, 0))
        assert place >= last, f"{local.ephemeral_id} went back from {last} to {place}"
        self.applied[local.ephemeral_id] = place
        assert core.term >= accepted.term >= applied.term

    def _accepted(self, accepted: AcceptedState, before: AcceptedState, is_own: bool) -> None:
        place = (accepted.term, accepted.version)
        published = self.published.setdefault(place, accepted)
        assert published.cluster == accepted.cluster, f"two states of term and version {place}"
        assert published.accepted_configuration == accepted.accepted_configuration
        if is_own:
            # A leader that needs nobody else may publish several in one go.
            for version in range(accepted.version, before.version + 1, -1):
                self.previous.setdefault((accepted.term, version), (accepted.term, version - 1))
            self.previous.setdefault((accepted.term, before.version + 1), (before.term, before.version))

    def committed(self, term: int, version: int) -> None:
        """A state is committed: it and all it follows on are on the one line, for ever."""
        while self.line.get(version) != term:
            assert version not in self.line, (
                f"version {version} is committed in term {self.line[version]} and in term {term}"
            )
            self.line[version] = term
            assert (term, version) in self.previous, f"nobody published {term}/{version}"
            term, version = self.previous[term, version]
