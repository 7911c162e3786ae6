"""Writes from any node: their trees of tasks, what they wait for, and what is left when nodes die."""

from __future__ import annotations

from typing import Any

import pytest

from taskfan.coordinator.bulk import BULK_ACTION, DELETE_ACTION, INDEX_ACTION
from taskfan.node.errors import TaskfanError
from taskfan.node.index.bulk import BulkRequest, ItemDone, ItemFailure
from tests.coordinator.index_cluster import IndexCluster, deleting, indexing, play

SLOW: dict[str, Any] = {"taskfan.cost_per_call_ms": 100}


def test_a_bulk_from_a_node_without_the_shard_is_a_tree_over_three_nodes() -> None:
    async def story(cluster: IndexCluster) -> None:
        await cluster.create("i", number_of_replicas=1, **SLOW)
        primary, replica = cluster.holder("i", 0), cluster.holder("i", 1)
        [asking] = [name for name in "abc" if name not in (primary, replica)]
        await cluster.bulk(indexing("i", "0", b'{"n":0}'), on=asking)
        written = cluster.spawn(cluster.bulk(indexing("i", "1", b'{"n":1}'), deleting("i", "2"), on=asking))
        await cluster.until(lambda: len(cluster.tasks()) == 4)
        described = "requests[2], index[i][0]"
        assert cluster.tree() == [
            f"{asking} transport indices:data/write/bulk requests[2], indices[i]",
            f"  {asking} transport indices:data/write/bulk[s] rerouted {described}",
            f"    {primary} transport indices:data/write/bulk[s] waiting_on_primary {described}",
            f"      {primary} direct indices:data/write/bulk[s][p] primary {described}",
        ]
        await cluster.until(lambda: any(task.action.endswith("[r]") for task in cluster.tasks()))
        assert cluster.tree()[3:] == [
            f"      {primary} direct indices:data/write/bulk[s][p] primary {described}",
            f"      {replica} transport indices:data/write/bulk[s][r] replica {described}",
        ]
        assert [item.http_status for _, item in (await written).items] == [201, 404]

    play(story)


def test_a_bulk_on_the_node_of_the_primary_has_one_task_for_the_shard() -> None:
    async def story(cluster: IndexCluster) -> None:
        await cluster.create("i", number_of_replicas=0, **SLOW)
        primary = cluster.holder("i")
        written = cluster.spawn(cluster.bulk(indexing("i", "1"), on=primary, refresh="true"))
        await cluster.until(lambda: len(cluster.tasks()) == 3)
        described = "requests[1], index[i][0], refresh[IMMEDIATE]"
        assert cluster.tree() == [
            f"{primary} transport indices:data/write/bulk requests[1], indices[i]",
            f"  {primary} transport indices:data/write/bulk[s] waiting_on_primary {described}",
            f"    {primary} direct indices:data/write/bulk[s][p] primary {described}",
        ]
        [(_, item)] = (await written).items
        assert isinstance(item, ItemDone)
        assert item.answer == {
            "_index": "i",
            "_id": "1",
            "_version": 1,
            "result": "created",
            "forced_refresh": True,
            "_shards": {"total": 1, "successful": 1, "failed": 0},
            "_seq_no": 0,
            "_primary_term": 1,
        }

    play(story)


def test_a_java_exception_from_another_node_has_its_name_in_its_reason() -> None:
    async def story(cluster: IndexCluster) -> None:
        await cluster.create("i", number_of_replicas=0)
        primary = cluster.holder("i")
        reasons = {}
        for node in ("a", "b", "c"):
            written = await cluster.bulk(indexing("i", "1", b"[]"), on=node)
            [(_, item)] = written.items
            assert isinstance(item, ItemFailure)
            assert item.cause.cause is not None
            reasons[node] = (item.cause.cause.reason or "").startswith("not_x_content_exception: ")
        assert reasons == {node: node != primary for node in ("a", "b", "c")}

    play(story)


def test_single_writes_that_wait_for_copies_are_trees_without_a_bulk() -> None:
    async def story(cluster: IndexCluster) -> None:
        await cluster.create("i", number_of_replicas=0)
        primary = cluster.holder("i")
        other = "b" if primary != "b" else "c"
        waiting: dict[str, Any] = {"wait_for_active_shards": "3", "timeout_ms": 4000}
        index = BulkRequest([indexing("i", "7", b'{"n": 7}')], **waiting)
        delete = BulkRequest([deleting("i", "1")], **waiting)
        indexed = cluster.spawn(cluster.nodes[other].execute(INDEX_ACTION, index, headers={}))
        deleted = cluster.spawn(cluster.nodes[primary].execute(DELETE_ACTION, delete, headers={}))
        await cluster.clock.sleep(0.5)
        assert sorted(cluster.tree()) == sorted(
            [
                f'{other} transport indices:data/write/index starting index {{[i][7], source[{{"n": 7}}]}}',
                f"  {other} transport indices:data/write/bulk[s] rerouted requests[1], index[i][0]",
                f"    {primary} transport indices:data/write/bulk[s] waiting_for_retry requests[1], index[i][0]",
                f"{primary} transport indices:data/write/delete starting delete {{[i][1]}}",
                f"  {primary} transport indices:data/write/bulk[s] waiting_for_retry requests[1], index[i][0]",
            ]
        )
        reason = "[i][0] Not enough active copies to meet shard count of [3] (have 1, needed 3). Timeout: [4s]"
        began_ns = cluster.clock.monotonic_ns()
        for refused in (indexed, deleted):
            with pytest.raises(TaskfanError) as raised:
                await refused
            assert (raised.value.kind, raised.value.reason) == ("unavailable_shards_exception", reason)
        assert 3.4 < (cluster.clock.monotonic_ns() - began_ns) / 1e9 < 3.6

    play(story)


def test_an_index_is_made_by_the_first_write_and_gets_its_fields() -> None:
    async def story(cluster: IndexCluster) -> None:
        result = await cluster.bulk(indexing("new", None, b'{"n":1}'), indexing("Upper", "1"), on="b")
        [(_, done), (_, refused)] = result.items
        assert isinstance(done, ItemDone)
        assert len(done.answer["_id"]) == 20
        assert isinstance(refused, ItemFailure)
        assert refused.cause.reason == "Invalid index name [Upper], must be lowercase"
        mapping = cluster.state.indices.metadata["new"].mapping
        assert mapping == {"properties": {"n": {"type": "long"}}}

    play(story)


def test_a_write_waits_until_a_replica_has_taken_the_place_of_a_lost_primary() -> None:
    async def story(cluster: IndexCluster) -> None:
        await cluster.create("i", number_of_replicas=1, **{"routing.allocation.exclude._id": "a"})
        await cluster.bulk(*(indexing("i", str(number), b'{"n":%d}' % number) for number in range(20)), refresh="true")
        primary, replica = cluster.holder("i", 0), cluster.holder("i", 1)
        held = cluster.spawn(cluster.bulk(indexing("i", "20", b'{"n":20}')))
        await cluster.lose(primary)
        [(_, item)] = (await held).items
        assert isinstance(item, ItemDone)
        assert cluster.holder("i") == replica
        assert sorted(map(int, cluster.documents("i"))) == list(range(21))
        assert item.answer["_primary_term"] in (1, 2)

    play(story)


def test_a_replica_that_cannot_be_reached_is_given_up_before_the_write_counts() -> None:
    async def story(cluster: IndexCluster) -> None:
        await cluster.create("i", number_of_replicas=1, **{"routing.allocation.exclude._id": "a"})
        replica = cluster.holder("i", 1)
        local = cluster.nodes[replica].shards.find(cluster.state.indices.metadata["i"].shard(0))
        # Its process has lost the copy, and the cluster does not know it yet.
        cluster.nodes[replica].shards._shards.clear()
        before = local.allocation_id
        [(_, item)] = (await cluster.bulk(indexing("i", "1"))).items
        assert isinstance(item, ItemDone)
        assert item.answer["_shards"] == {"total": 2, "successful": 1, "failed": 1}
        assert all(copy.allocation_id != before for copy in cluster.state.indices.routing)
        await cluster.until(lambda: all(copy.active for copy in cluster.state.indices.routing))

    play(story)


def test_a_write_that_only_one_replica_got_is_on_no_copy_or_on_all_after_its_primary_is_lost() -> None:
    async def story(cluster: IndexCluster) -> None:
        await cluster.create("i", number_of_replicas=2)
        primary, heir, other = (cluster.holder("i", copy) for copy in range(3))
        cluster.network.hold(primary, heir)
        cluster.spawn(cluster.bulk(indexing("i", "1"), on=primary, refresh="true"))
        shard = cluster.state.indices.metadata["i"].shard(0)
        await cluster.until(lambda: cluster.nodes[other].shards.copy(shard).get("1") is not None)
        await cluster.lose(primary)
        await cluster.clock.sleep(1)
        assert cluster.holder("i") == heir
        copies = [cluster.nodes[name].shards.copy(shard).all_operations() for name in (heir, other)]
        assert copies == [[], []]

    play(story)


def test_wait_for_refresh_answers_when_searches_see_the_write() -> None:
    async def story(cluster: IndexCluster) -> None:
        await cluster.create("i", number_of_replicas=1, refresh_interval="5s")
        began_ns = cluster.clock.monotonic_ns()
        await cluster.bulk(indexing("i", "1"), refresh="wait_for")
        assert 4.9 < (cluster.clock.monotonic_ns() - began_ns) / 1e9 < 5.2
        for copy in (0, 1):
            holder = cluster.nodes[cluster.holder("i", copy)]
            assert holder.shards.copy(cluster.state.indices.metadata["i"].shard(0)).document_count == 1

    play(story)


def test_a_cancel_does_not_reach_a_bulk() -> None:
    async def story(cluster: IndexCluster) -> None:
        await cluster.create("i", **SLOW)
        written = cluster.spawn(cluster.bulk(indexing("i", "1")))
        await cluster.until(lambda: any(task.action == BULK_ACTION for task in cluster.tasks()))
        assert [task.cancellable for task in cluster.tasks()] == [False] * len(cluster.tasks())
        await written

    play(story)
