"""How far a mesh is with its links, as its supervisor sees it, and waiting for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from taskfan.cluster.errors import ClusterError
from taskfan.cluster.membership import Seen
from taskfan.cluster.messages import Linked, Progress

LOOK_INTERVAL_S = 0.02


class Meshed(Seen, Protocol):
    """A member that may be part of a mesh."""

    @property
    def is_of_mesh(self) -> bool:
        """Whether it opens its links to all others."""

    @property
    def linked(self) -> Linked | None:
        """What it said last of its links."""


async def wait_for_links(
    members: Sequence[Meshed], news: asyncio.Event, on_progress: Callable[[Progress], None], timeout_s: float | None
) -> None:
    """Return when the mesh of these has its links, as far as they can be had.

    Args:
        news: set when a member has told something, or has ended.
        timeout_s: limit while faults may keep links from being opened; None is the caller's, and each has to open.

    Raises:
        ClusterError: a link could not be opened.
    """
    missing, wanted = links_of(members)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while missing:
                on_progress(Progress("linking", wanted - missing, wanted))
                news.clear()
                await news.wait()
                # Many tell at the same time, and a look is at all of them.
                await asyncio.sleep(LOOK_INTERVAL_S)
                missing, wanted = links_of(members)
    if timeout_s is None and (problem := next(_problems(members), None)):
        raise ClusterError(problem)
    on_progress(Progress("linked", wanted - missing, wanted))


def links_of(members: Sequence[Meshed]) -> tuple[int, int]:
    """How many links are to come, and how many there will be then. Those of and to a member that stands still do not
    count: nobody can wait for them.
    """
    running = _running(members)
    missing = wanted = 0
    for member in members:
        if member.is_running and member.is_of_mesh and member.holds is not None:
            others = [node for node in member.holds.processes if node in running and node != member.ephemeral_id]
            linked = member.linked
            wanted += len(others)
            # Of the nodes of a newer state it has not told yet.
            is_told = linked is not None and linked.version >= member.holds.version
            missing += len([node for node in others if linked is None or not is_told or node in linked.missing])
    return missing, wanted


def _problems(members: Sequence[Meshed]) -> Iterator[str]:
    running = _running(members)
    for member in members:
        if member.is_running and member.linked is not None:
            for node, reason in member.linked.failed.items():
                if node in running:
                    yield f"Node [{member.name}] cannot open its link to [{running[node]}]: {reason}."


def _running(members: Sequence[Meshed]) -> dict[str, str]:
    """Names by ephemeral id."""
    return {member.ephemeral_id: member.name for member in members if member.is_running}
