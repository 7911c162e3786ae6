"""One cluster state on its way to all its nodes: who has accepted it, who has applied it. Pure."""

from __future__ import annotations

import enum

from taskfan.node.coordination.messages import AcceptedState, ApplyCommitRequest


class Progress(enum.Enum):
    """How far one node has come."""

    SENT_PUBLISH = "it was asked to accept the state"
    WAITING_FOR_QUORUM = "it has accepted it"
    SENT_COMMIT = "it was told that the state is committed"
    APPLIED = "it has applied it"
    FAILED = "it refused, is gone, or has not answered in time"

    @property
    def is_active(self) -> bool:
        """More is to come from this node."""
        return self not in (Progress.APPLIED, Progress.FAILED)


class Publication:
    """Where a publication stands. Source: OpenSearch `Publication`."""

    def __init__(self, state: AcceptedState) -> None:
        self.state = state
        self.commit: ApplyCommitRequest | None = None
        self._progress = {node.id: Progress.SENT_PUBLISH for node in state.cluster}

    def progress(self, node_id: str) -> Progress:
        """Of one node; who is not in this state has failed."""
        return self._progress.get(node_id, Progress.FAILED)

    def moved(self, node_id: str, progress: Progress) -> None:
        """A node came further. What is over for it stays over."""
        if self.progress(node_id).is_active:
            self._progress[node_id] = progress

    def at(self, *progress: Progress) -> list[str]:
        """The ids of the nodes that have come this far."""
        return [node_id for node_id, reached in self._progress.items() if reached in progress]

    def fail_active(self) -> None:
        """Nothing more is awaited from anybody."""
        for node_id in self._progress:
            self.moved(node_id, Progress.FAILED)

    def possible_votes(self) -> dict[str, None]:
        """Who has accepted it or still may."""
        return dict.fromkeys(self.at(Progress.SENT_PUBLISH, Progress.WAITING_FOR_QUORUM))

    @property
    def is_over(self) -> bool:
        """Everybody has applied it or failed."""
        return not any(progress.is_active for progress in self._progress.values())
