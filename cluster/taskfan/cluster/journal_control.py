"""The supervisor's hand on the journals of members: switches them, and has them written."""

from __future__ import annotations

import asyncio
import itertools

from taskfan.cluster.channel import encode
from taskfan.cluster.errors import ClusterError
from taskfan.cluster.member_process import MemberProcess
from taskfan.cluster.messages import TellJournal
from taskfan.cluster.running_cluster import RunningCluster, all_of

# A member answers at once unless the machine is very busy.
MEMBER_TIMEOUT_S = 10.0


class JournalControl:
    """Tells members about their journals. One that does not run yet does as it was told when it starts."""

    def __init__(self, cluster: RunningCluster) -> None:
        self._cluster = cluster
        self._numbers = itertools.count(1)

    async def tell(self, node: str = "", *, on: bool | None = None) -> None:
        """Have what waits written by a node, or by all; with `on` switch its journal. Returns when that is done.

        Raises:
            ClusterError: there is no such node, it gave no answer, or what is switched on cannot be written.
        """
        members = [self._cluster.find(node)] if node else self._cluster.members
        number = next(self._numbers)
        line = encode(TellJournal(number, on))
        for member in members:
            if on is not None:
                member.journal_on = on
            # One that is paused does it when it goes on, and is not waited for.
            member.send_line(line)
        try:
            async with asyncio.timeout(MEMBER_TIMEOUT_S):
                await all_of(
                    member.until(lambda member: member.journal_told >= number or member.state != "running")
                    for member in members
                )
        except TimeoutError:
            late = [m.config.name for m in members if m.journal_told < number and m.state == "running"]
            raise ClusterError(f"No word on journals from {', '.join(late)} within {MEMBER_TIMEOUT_S:g} s.") from None
        if on:
            self._check_written([member for member in members if member.journal_problem])

    def _check_written(self, failed: list[MemberProcess]) -> None:
        if failed:
            names = ", ".join(member.name for member in failed)
            raise ClusterError(
                f"The journal of {names} cannot be written: {failed[0].journal_problem}. What happens is noted as soon "
                f"as {failed[0].journal_path} can be written; what was lost until then is counted there."
            )
