"""Changes of the cluster state: who asks is told once all nodes have them, or when he waits no longer."""

from __future__ import annotations

import errno
import os

import pytest
from msgspec.structs import replace

from taskfan.node.cluster_state import ClusterState
from taskfan.node.coordination.messages import ProcessClusterEventTimeout
from taskfan.node.coordination.state import Persisted
from taskfan.node.coordination.store import MemoryStore
from taskfan.node.state_updates import NO_LIMITS, UpdateLimits
from tests.node.coordination.membership_cluster import MembershipCluster, play


def change(state: ClusterState) -> ClusterState:
    """Something that must be published."""
    return replace(state, indices=replace(state.indices))


async def started(cluster: MembershipCluster) -> None:
    """A whole cluster, whose first node is the manager."""
    await cluster.start()
    await cluster.until_whole()
    assert cluster.manager("n01").id == "n01"


async def submitted(cluster: MembershipCluster, limits: UpdateLimits = NO_LIMITS) -> tuple[bool | str, float]:
    """What becomes of a change, and after how many seconds that is told."""
    begin_ns = cluster.clock.monotonic_ns()
    answer: bool | str
    try:
        answer = await cluster.members["n01"].node.state_updates.submit("a change", change, limits)
    except ProcessClusterEventTimeout as error:
        answer = str(error.reason)
    return answer, round((cluster.clock.monotonic_ns() - begin_ns) / 1e9, 1)


def test_a_change_that_all_nodes_apply_is_acknowledged() -> None:
    async def story(cluster: MembershipCluster) -> None:
        await started(cluster)
        before = cluster.state("n03").version
        assert await submitted(cluster, UpdateLimits(start_s=1, ack_s=1)) == (True, 0.0)
        assert cluster.state("n03").version == before + 1

    play(story, MembershipCluster())


@pytest.mark.parametrize("ack_s", [0, -1])
def test_who_gives_the_nodes_no_time_is_told_at_once_and_the_change_comes_about(ack_s: float) -> None:
    async def story(cluster: MembershipCluster) -> None:
        await started(cluster)
        before = cluster.state("n03").version
        assert await submitted(cluster, UpdateLimits(ack_s=ack_s)) == (False, 0.0)
        await cluster.until(lambda: cluster.state("n03").version == before + 1, 1)

    play(story, MembershipCluster())


def test_a_silent_node_holds_up_who_waits_no_longer_than_he_said() -> None:
    async def story(cluster: MembershipCluster) -> None:
        await started(cluster)
        before = cluster.state("n02").version
        cluster.silence(["n03"], ["n01", "n02"])
        assert await submitted(cluster, UpdateLimits(ack_s=2)) == (False, 2.0)
        # Who hears of it has it; the manager applies it last of all, when it waits for nobody any more.
        assert (cluster.state("n02").version, cluster.state("n01").version) == (before + 1, before)
        refusal = "failed to process cluster event (a change) within 500ms"
        assert await submitted(cluster, UpdateLimits(start_s=0.5)) == (refusal, 0.5)
        # The refused one is not made later.
        await cluster.until(lambda: cluster.state("n01").version > before, 31)
        assert cluster.state("n01").version == before + 1

    play(story, MembershipCluster())


def test_who_sets_no_limit_waits_for_the_end_of_the_publication() -> None:
    async def story(cluster: MembershipCluster) -> None:
        await started(cluster)
        cluster.silence(["n03"], ["n01", "n02"])
        answer, waited_s = await submitted(cluster)
        assert answer is False
        assert waited_s == pytest.approx(30, abs=1)

    play(story, MembershipCluster())


class FullStore(MemoryStore):
    """On a disk without room."""

    def save(self, persisted: Persisted) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("full", ["n01", "n02"])
def test_a_node_that_cannot_save_the_state_takes_part_all_the_same(full: str) -> None:
    async def story(cluster: MembershipCluster) -> None:
        cluster.stores[full] = FullStore()
        await started(cluster)
        assert await submitted(cluster) == (True, 0.0)

    play(story, MembershipCluster())


def test_a_node_that_is_gone_does_not_acknowledge() -> None:
    async def story(cluster: MembershipCluster) -> None:
        await started(cluster)
        cluster.silence(["n03"], ["n01", "n02"])
        asked = cluster.clock.spawn(submitted(cluster, UpdateLimits(ack_s=20)), "submit")
        await cluster.clock.sleep(1)
        await cluster.kill("n03")
        assert await asked == (False, 1.0)

    play(story, MembershipCluster())
