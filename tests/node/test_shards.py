"""Copies of shards follow the cluster state: made, recovered, promoted, removed; on members with real elections."""

from __future__ import annotations

import pytest

from taskfan.node.cluster_state import ClusterState
from taskfan.node.coordination.messages import FailedToCommit, NotClusterManager
from taskfan.node.index import state_changes
from taskfan.node.index.documents import OpType, WriteRequest
from taskfan.node.index.health import cluster_colour
from taskfan.node.index.index_requests import CreateIndexBody
from taskfan.node.index.metadata import ShardTable
from taskfan.node.shards import LocalShard
from tests.node.coordination.membership_cluster import MembershipCluster, play


def body(shards: int, replicas: int) -> CreateIndexBody:
    return CreateIndexBody({"index.number_of_shards": str(shards), "index.number_of_replicas": str(replicas)})


async def create(cluster: MembershipCluster, name: str, shards: int = 1, replicas: int = 1) -> None:
    """Make an index, as the manager."""
    manager = cluster.manager(next(iter(cluster.members))).id
    updates = cluster.members[manager].node.state_updates
    await updates.submit("test", lambda state: state_changes.create_index(state, name, body(shards, replicas), 1))


def colour(cluster: MembershipCluster, name: str) -> str:
    """Of all indices, as one node sees it."""
    indices = cluster.state(name).indices
    return cluster_colour(indices, list(indices.metadata))


def table(cluster: MembershipCluster, on: str, index: str) -> ShardTable:
    return cluster.state(on).indices.routing.shard(index, 0)


def local_shard(cluster: MembershipCluster, node_id: str | None, index: str) -> LocalShard:
    """The copy of shard 0 on a node."""
    assert node_id is not None
    node = cluster.members[node_id].node
    return node.shards.find(node.cluster_state.indices.metadata[index].shard(0))


def indexing(number: int) -> WriteRequest:
    return WriteRequest(OpType.INDEX, "i", str(number), b'{"n":%d}' % number)


def test_an_index_made_by_the_manager_is_green_on_every_node() -> None:
    async def story(cluster: MembershipCluster) -> None:
        await cluster.start()
        await cluster.until_whole()
        await create(cluster, "i", shards=3, replicas=2)
        await cluster.until(lambda: all(colour(cluster, name) == "green" for name in cluster.members), 5)
        assert [len(list(member.node.shards)) for member in cluster.members.values()] == [3, 3, 3]
        states = [cluster.state(name) for name in cluster.members]
        assert states[0] == states[1] == states[2]

    play(story, MembershipCluster())


def test_a_replica_that_is_added_later_has_the_documents_of_its_primary() -> None:
    async def story(cluster: MembershipCluster) -> None:
        await cluster.start()
        await cluster.until_whole()
        await create(cluster, "i", replicas=0)
        await cluster.until(lambda: colour(cluster, "n01") == "green", 5)
        primary = local_shard(cluster, table(cluster, "n01", "i")[0].node_id, "i")
        for number in range(10):
            primary.copy.index(indexing(number))
        updates = cluster.members[cluster.manager("n01").id].node.state_updates
        uuid = cluster.state("n01").indices.metadata["i"].uuid
        changes = {"index.number_of_replicas": "1"}
        await updates.submit("test", lambda state: state_changes.update_settings(state, [uuid], changes, 1))
        await cluster.until(lambda: len(cluster.state("n01").indices.routing.active("i", 0)) == 2, 5)
        replica = local_shard(cluster, table(cluster, "n01", "i")[1].node_id, "i")
        assert replica.copy.all_operations() == primary.copy.all_operations()
        assert replica.copy.document_count == 10

    play(story, MembershipCluster())


def test_a_replica_takes_over_when_the_node_of_the_primary_is_killed() -> None:
    async def story(cluster: MembershipCluster) -> None:
        await cluster.start()
        await cluster.until_whole()
        await create(cluster, "i", replicas=1)
        await cluster.until(lambda: colour(cluster, "n01") == "green", 5)
        killed = table(cluster, "n01", "i")[0].node_id
        replica = table(cluster, "n01", "i")[1].node_id
        assert killed is not None
        await cluster.kill(killed)
        left = next(iter(cluster.members))
        await cluster.until(lambda: colour(cluster, left) == "green" and len(cluster.state(left).nodes) == 2, 60)
        assert table(cluster, left, "i")[0].node_id == replica
        assert local_shard(cluster, replica, "i").copy.primary_term == 2
        assert cluster.state(left).indices.metadata["i"].primary_terms == (2,)

    play(story, MembershipCluster())


def test_an_index_without_replicas_is_red_when_its_node_is_gone() -> None:
    async def story(cluster: MembershipCluster) -> None:
        await cluster.start()
        await cluster.until_whole()
        await create(cluster, "i", replicas=0)
        await cluster.until(lambda: colour(cluster, "n01") == "green", 5)
        killed = table(cluster, "n01", "i")[0].node_id
        assert killed is not None
        await cluster.kill(killed)
        left = next(iter(cluster.members))
        await cluster.until(lambda: colour(cluster, left) == "red", 60)
        await cluster.start(killed)
        await cluster.until_whole(limit_s=60)
        # It has lost its memory with its process, so nothing may take the place of what it had.
        assert colour(cluster, killed) == "red"

    play(story, MembershipCluster())


def test_a_change_that_raises_or_changes_nothing_publishes_nothing() -> None:
    async def story(cluster: MembershipCluster) -> None:
        await cluster.start()
        await cluster.until_whole()
        before = cluster.state("n01")
        updates = cluster.members[cluster.manager("n01").id].node.state_updates

        def fail(state: ClusterState) -> ClusterState:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await updates.submit("test", fail)
        assert await updates.submit("test", lambda state: state)
        assert cluster.state("n01") == before

    play(story, MembershipCluster())


def test_changes_that_come_together_are_published_together() -> None:
    async def story(cluster: MembershipCluster) -> None:
        await cluster.start()
        await cluster.until_whole()
        before = cluster.state("n01").version
        names = [f"i{number}" for number in range(30)]
        made = [cluster.clock.spawn(create(cluster, name, replicas=0), name) for name in names]
        for task in made:
            await task
        assert sorted(cluster.state("n01").indices.metadata) == sorted(names)
        await cluster.until(lambda: colour(cluster, "n01") == "green", 5)
        assert cluster.state("n01").version - before < 10

    play(story, MembershipCluster())


def test_only_the_manager_takes_changes() -> None:
    async def story(cluster: MembershipCluster) -> None:
        await cluster.start()
        await cluster.until_whole()
        manager = cluster.manager("n01").id
        follower = next(name for name in cluster.members if name != manager)
        with pytest.raises(NotClusterManager):
            await cluster.members[follower].node.state_updates.submit("test", lambda state: state)

    play(story, MembershipCluster())


def test_a_change_whose_manager_is_cut_off_fails_and_is_in_no_state() -> None:
    async def story(cluster: MembershipCluster) -> None:
        await cluster.start()
        await cluster.until_whole()
        manager = cluster.manager("n01").id
        others = [name for name in cluster.members if name != manager]
        cluster.silence([manager], others)
        with pytest.raises(FailedToCommit):
            await create(cluster, "lost")
        await cluster.until(lambda: all(cluster.state(name).manager_id in others for name in others), 120)
        cluster.release()
        await cluster.until_whole(limit_s=120)
        assert all("lost" not in cluster.state(name).indices for name in cluster.members)

    play(story, MembershipCluster())
