"""What coordination wants done: effects, timers, and how a message can fail. Pure."""

from __future__ import annotations

import enum
from typing import NamedTuple, TypeAlias

import msgspec

from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.coordination.messages import AcceptedState, Request


class TimerKind(enum.StrEnum):
    """What a timer is for. The last two run for each node by itself; a follower check for all together too."""

    ELECTION = "election"
    FIND_PEERS = "find peers"
    FIRST_JOINS = "first joins"
    PUBLICATION = "publication"
    LEADER_CHECK = "leader check"
    FOLLOWER_CHECK = "follower check"
    FOLLOWER_LAG = "follower lag"


class Timer(NamedTuple):
    """One of a kind, and for a node where there is one each. Setting it again replaces it."""

    kind: TimerKind
    node_id: str = ""


class Failure(enum.Enum):
    """Why a message has no answer."""

    DISCONNECTED = "no link could be opened, or it closed"
    TIMED_OUT = "no answer in time"
    REJECTED = "the other side refused, or failed"


class Send(msgspec.Struct, frozen=True):
    """Bring this to a node; then call `answered`, or at the latest after `timeout_ms` `failed`, with this value."""

    to: DiscoveryNode
    request: Request
    timeout_ms: float
    # No two of a process are equal, so that an answer finds what it answers.
    number: int


class SetTimer(msgspec.Struct, frozen=True):
    """Call `timer_fired` once, after a time drawn evenly from this range."""

    timer: Timer
    min_ms: float
    max_ms: float


class CancelTimer(msgspec.Struct, frozen=True):
    """Do not call, if it has not fired yet."""

    timer: Timer


class Persist(msgspec.Struct, frozen=True):
    """Keep this for the node's next process. Comes before all messages that depend on it."""

    term: int
    accepted: AcceptedState


class Apply(msgspec.Struct, frozen=True):
    """This is the cluster state now: committed, or the last one known, with the manager gone from it."""

    state: ClusterState


class ChangeCommitted(msgspec.Struct, frozen=True):
    """A change will come about; not all nodes have applied it yet."""

    number: int


class ChangeDone(msgspec.Struct, frozen=True):
    """A change is committed and applied here, or there was nothing to change."""

    number: int
    is_applied_by_all: bool


class ChangeFailed(msgspec.Struct, frozen=True):
    """A change did not come about, or nobody here knows whether it did."""

    number: int
    error: Exception


Effect: TypeAlias = Send | SetTimer | CancelTimer | Persist | Apply | ChangeCommitted | ChangeDone | ChangeFailed


class Outbox:
    """Effects in the order in which they are to be done. What is for the node itself is kept apart."""

    def __init__(self, local: DiscoveryNode) -> None:
        self._local = local
        self._effects: list[Effect] = []
        self._sent = 0
        self.to_itself: list[Send] = []

    def send(self, to: DiscoveryNode, request: Request, timeout_ms: float) -> Send:
        """Send it, to this node too."""
        self._sent += 1
        sent = Send(to, request, timeout_ms, self._sent)
        if to.id == self._local.id:
            self.to_itself.append(sent)
        else:
            self._effects.append(sent)
        return sent

    def set_timer(self, kind: TimerKind, min_ms: float, max_ms: float | None = None, node_id: str = "") -> None:
        """Set a timer; without `max_ms` for exactly that long."""
        self._effects.append(SetTimer(Timer(kind, node_id), min_ms, min_ms if max_ms is None else max_ms))

    def again(self, effect: SetTimer | CancelTimer) -> None:
        """Do with a timer what was done before."""
        self._effects.append(effect)

    def cancel_timer(self, kind: TimerKind, node_id: str = "") -> None:
        """Cancel a timer, set or not."""
        self._effects.append(CancelTimer(Timer(kind, node_id)))

    def apply(self, state: ClusterState) -> None:
        """Make it the cluster state."""
        self._effects.append(Apply(state))

    def tell(self, outcome: ChangeCommitted | ChangeDone | ChangeFailed) -> None:
        """Tell who asked for a change."""
        self._effects.append(outcome)

    def take(self) -> list[Effect]:
        """All effects so far; they are the caller's now."""
        effects, self._effects = self._effects, []
        return effects
