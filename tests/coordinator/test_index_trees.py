"""Which tasks gets, updates, refreshes and changes of indices are: literal trees, caught while they run."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest

from taskfan.coordinator.broadcast import FORCE_MERGE_ACTION
from taskfan.coordinator.get_document import MULTI_GET_ACTION, MultiGetRequest
from taskfan.coordinator.index_admin import (
    CREATE_INDEX_ACTION,
    DELETE_INDEX_ACTION,
    GET_INDEX_ACTION,
    PUT_MAPPING_ACTION,
    UPDATE_SETTINGS_ACTION,
    create_index_request,
)
from taskfan.coordinator.update import UPDATE
from taskfan.node.actions.get_document import GET_ACTION
from taskfan.node.errors import TaskfanError
from taskfan.node.index.documents import OpType, WriteRequest
from taskfan.node.index.index_requests import CreateIndexBody
from taskfan.node.index.multi_get import GetItem
from taskfan.node.index.wire import requests_to_wire
from taskfan.node.task import Task
from taskfan.v1 import indices_pb2 as pb
from tests.coordinator.index_cluster import IndexCluster, indexing, play

SLOW: dict[str, Any] = {"taskfan.cost_per_call_ms": 100}
ONLY_B: dict[str, Any] = {"routing.allocation.require._id": "b", "number_of_replicas": 0}
ON_B_AND_C: dict[str, Any] = {"routing.allocation.exclude._id": "a", "number_of_replicas": 1}


async def trees(cluster: IndexCluster, running: Awaitable[Any]) -> list[list[str]]:
    """The different trees there were until it ended, each once."""
    answer, seen = cluster.spawn(running), list[list[str]]()
    while not answer.done():
        await cluster.clock.sleep(0.005)
        tree = cluster.tree()
        if tree and (not seen or seen[-1] != tree):
            seen.append(tree)
    await answer
    return seen


async def tallest(cluster: IndexCluster, running: Awaitable[Any]) -> list[str]:
    return max(await trees(cluster, running), key=len)


def test_a_get_is_a_task_here_and_one_where_the_shard_is() -> None:
    async def story(cluster: IndexCluster) -> None:
        await cluster.create("i", **ONLY_B, **SLOW)
        assert await tallest(
            cluster, cluster.nodes["c"].execute(GET_ACTION, pb.GetRequest(index="i", id="1", realtime=True), headers={})
        ) == ["c transport indices:data/read/get", "  b transport indices:data/read/get[s]"]
        assert await tallest(
            cluster, cluster.nodes["b"].execute(GET_ACTION, pb.GetRequest(index="i", id="1", realtime=True), headers={})
        ) == ["b transport indices:data/read/get", "  b direct indices:data/read/get[s]"]

    play(story)


def test_several_gets_have_a_task_for_each_shard() -> None:
    async def story(cluster: IndexCluster) -> None:
        await cluster.create("i", **ONLY_B, number_of_shards=2, **SLOW)
        request = MultiGetRequest([GetItem("i", str(number)) for number in range(6)])
        shard = [
            "  a transport indices:data/read/mget[shard]",
            "    b transport indices:data/read/mget[shard][s]",
        ]
        assert await tallest(cluster, cluster.nodes["a"].execute(MULTI_GET_ACTION, request, headers={})) == [
            "a transport indices:data/read/mget",
            *shard,
            *shard,
        ]

    play(story)


def test_a_refresh_goes_to_each_primary_and_on_to_its_replica() -> None:
    async def story(cluster: IndexCluster) -> None:
        await cluster.create("i", **ON_B_AND_C, **SLOW)
        primary, replica = cluster.holder("i", 0), cluster.holder("i", 1)
        request, described = pb.BroadcastRequest(indices=["i"]), "BasicReplicationRequest{[i][0]}"
        seen = await trees(cluster, cluster.nodes["a"].execute("indices:admin/refresh", request, headers={}))
        above = [
            "a transport indices:admin/refresh",
            f"  a transport indices:admin/refresh[s] rerouted {described}",
            f"    {primary} transport indices:admin/refresh[s] waiting_on_primary {described}",
            f"      {primary} direct indices:admin/refresh[s][p] primary {described}",
        ]
        assert above in seen
        assert [*above, f"      {replica} transport indices:admin/refresh[s][r] replica {described}"] in seen

    play(story)


def test_a_force_merge_is_one_task_for_each_node_with_shards() -> None:
    async def story(cluster: IndexCluster) -> None:
        await cluster.create("i", **ON_B_AND_C, number_of_shards=2, **SLOW)
        request = pb.BroadcastRequest(indices=["i"], description="Force-merge indices [i]")
        assert await tallest(cluster, cluster.nodes["a"].execute(FORCE_MERGE_ACTION, request, headers={})) == [
            "a transport indices:admin/forcemerge Force-merge indices [i]",
            "  b transport indices:admin/forcemerge[n]",
            "  c transport indices:admin/forcemerge[n]",
        ]

    play(story)


def test_an_update_is_no_tree_but_two_tasks_and_a_bulk_that_stand_alone() -> None:
    async def story(cluster: IndexCluster) -> None:
        await cluster.create("i", **ONLY_B, **SLOW)
        await cluster.bulk(indexing("i", "1", b'{"n":1}'))
        item = WriteRequest(OpType.UPDATE, "i", "1", b'{"doc":{"n":2}}')
        request = pb.UpdateRequest(item=requests_to_wire([item]), timeout_millis=60_000, refresh="false")
        described = "requests[1], index[i][0]"
        assert await tallest(cluster, cluster.nodes["c"].execute(UPDATE.name, request, headers={})) == [
            "b transport indices:data/write/update[s]",
            "b transport indices:data/write/bulk requests[1], indices[i]",
            f"  b transport indices:data/write/bulk[s] waiting_on_primary {described}",
            f"    b direct indices:data/write/bulk[s][p] primary {described}",
            "c transport indices:data/write/update",
        ]
        assert cluster.documents("i") == {"1": b'{"n":2}'}

    play(story)


def test_an_update_that_waits_for_copies_gives_up_after_four_times_its_timeout() -> None:
    async def story(cluster: IndexCluster) -> None:
        await cluster.create("i", **ONLY_B)
        await cluster.bulk(indexing("i", "1", b'{"n":1}'))
        item = WriteRequest(OpType.UPDATE, "i", "1", b'{"doc":{"n":2}}')
        request = pb.UpdateRequest(item=requests_to_wire([item]), timeout_millis=2_000, wait_for_active_shards="3")
        began_ns = cluster.clock.monotonic_ns()
        with pytest.raises(TaskfanError, match="Not enough active copies"):
            await cluster.nodes["c"].execute(UPDATE.name, request, headers={})
        assert 8 <= (cluster.clock.monotonic_ns() - began_ns) / 1e9 < 8.1

    play(story)


def test_the_creation_of_an_index_waits_on_the_manager_for_copies_that_never_come() -> None:
    async def story(cluster: IndexCluster) -> None:
        body = CreateIndexBody({"index.number_of_replicas": "2", "index.routing.allocation.require._id": "b"})
        request = create_index_request("i", body, wait_for_active_shards="3", timeout_ms=4_000)
        made = cluster.spawn(cluster.nodes["c"].execute(CREATE_INDEX_ACTION, request, headers={}))
        await cluster.clock.sleep(3.9)
        parent_and_child = ["c transport indices:admin/create", "  a transport indices:admin/create"]
        assert cluster.tree() == parent_and_child
        answer = await made
        assert (answer.acknowledged, answer.shards_acknowledged) == (True, False)

    play(story)


@pytest.mark.parametrize(
    ("action", "request_"),
    [
        (DELETE_INDEX_ACTION, pb.DeleteIndexRequest(indices=["i"])),
        (GET_INDEX_ACTION, pb.GetIndexRequest(indices=["i"])),
        (PUT_MAPPING_ACTION, pb.PutMappingRequest(indices=["i"], mapping=b'{"properties":{"n":{"type":"long"}}}')),
        (UPDATE_SETTINGS_ACTION, pb.UpdateSettingsRequest(indices=["i"], settings=b'{"index.priority":"5"}')),
    ],
)
def test_what_the_manager_answers_is_a_parent_here_and_a_child_there(action: str, request_: Any) -> None:
    async def story(cluster: IndexCluster) -> None:
        await cluster.create("i", **ONLY_B)
        begun: list[Task] = []
        for node in cluster.nodes.values():
            node.add_listener(lambda event, task: begun.append(task) if event == "registered" else None)
        await cluster.nodes["c"].execute(action, request_, headers={})
        parent, child = begun[:2]
        assert [(task.id.node_id, task.type, task.action) for task in begun] == [
            ("c", "transport", action),
            ("a", "transport", action),
        ]
        assert child.parent == parent.id

    play(story)
