"""Whether members agree on who is there, as far as that can be waited for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from taskfan.cluster.messages import Holds
from taskfan.node.coordination.settings import CoordinationSettings
from taskfan.node.coordination.voting import VotingConfiguration, reconfigured


class Seen(Protocol):
    """A member as its supervisor sees it."""

    @property
    def name(self) -> str: ...

    @property
    def id(self) -> str:
        """Its node's."""

    @property
    def ephemeral_id(self) -> str:
        """Its process's."""

    @property
    def is_running(self) -> bool:
        """It has a process that does not stand still."""

    @property
    def is_paused(self) -> bool: ...

    @property
    def is_cluster_manager_eligible(self) -> bool: ...

    @property
    def holds(self) -> Holds | None:
        """What it said last of the cluster."""


def has_manager_to_be(members: Sequence[Seen]) -> bool:
    """Whether a manager is there, or can be elected by those that run."""
    running = frozenset(member.id for member in members if member.is_running)
    told = [member.holds for member in members if member.is_running and member.holds is not None]
    return any(holds.manager_id for holds in told) or any(_can_elect(holds, running) for holds in told)


def one_that_must_stay(leaving: Sequence[Seen], members: Sequence[Seen]) -> Seen | None:
    """The first of these, which leave one after the other for good, without which the others could elect nobody.

    None when all may leave, or nobody can be elected as it is. Who votes follows those who are left, as the manager
    will have it; where that depends on who the next manager is, the first of those that vote is taken for it.
    """
    known = newest(members)
    running = [member for member in members if member.is_running]
    if known is None:
        return None
    voters = VotingConfiguration(known.voters)
    for member in leaving:
        left = [other for other in running if other.id != member.id]
        if voters.has_quorum([other.id for other in running]) and not voters.has_quorum([other.id for other in left]):
            return member
        running, eligible = left, [other.id for other in left if other.is_cluster_manager_eligible]
        manager = known.manager_id if known.manager_id in eligible else next(filter(voters.__contains__, eligible), "")
        size = CoordinationSettings().max_voting_nodes
        voters = reconfigured(voters, eligible, manager, auto_shrink=True, max_size=size)
    return None


def what_is_missing(members: Sequence[Seen]) -> str:
    """What is still to come until all members that run know who is there; nothing when no more is to come.

    All is well when each has the same manager, and knows all that run and none that ended. A member that is paused may
    still be known. No more is to come while the manager itself is paused, or while too few that vote run: who is
    there cannot change then.
    """
    if _cannot_change(members):
        return ""
    running = [member for member in members if member.is_running]
    must_know = frozenset(member.ephemeral_id for member in running)
    may_know = must_know | frozenset(member.ephemeral_id for member in members if member.is_paused)
    managers: dict[str, None] = {}
    for member in running:
        holds = member.holds
        if holds is None:
            return f"[{member.name}] has not said what it knows"
        if not holds.manager_id:
            return f"[{member.name}] has no cluster manager"
        if not must_know <= holds.processes:
            return f"[{member.name}] does not know all nodes yet"
        if not holds.processes <= may_know:
            return f"[{member.name}] still knows a node that has ended"
        managers[holds.manager_id] = None
    return "" if len(managers) < 2 else "there are two cluster managers"


def _cannot_change(members: Sequence[Seen]) -> bool:
    """Whether the manager is paused, or too few that vote run, to elect one or to let it change anything."""
    known = newest(members)
    if known is None or not known.voters:
        return False
    if any(member.is_paused and member.id == known.manager_id for member in members):
        return True
    return not _can_elect(known, frozenset(member.id for member in members if member.is_running))


def newest(members: Sequence[Seen]) -> Holds | None:
    """What is known of the cluster: the newest state that has a manager, or the newest there is."""
    return _newest(member for member in members if member.is_running)


def voters_of(members: Sequence[Seen]) -> tuple[str, ...]:
    """Ids of those whose votes decide: of what is known, or while none runs of what any of them said last."""
    known = newest(members) or _newest(members)
    return () if known is None else known.voters


def _newest(members: Iterable[Seen]) -> Holds | None:
    told = [member.holds for member in members if member.holds is not None]
    return max(told, key=lambda holds: (bool(holds.manager_id), holds.term, holds.version), default=None)


def _can_elect(holds: Holds, running: frozenset[str]) -> bool:
    return 2 * sum(voter in running for voter in holds.voters) > len(holds.voters)
