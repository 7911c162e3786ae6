"""opensearch-py's own helpers for documents, and its calls of the reindex family, work against a cluster unchanged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opensearchpy import AsyncOpenSearch, OpenSearch, helpers

from taskfan.cluster import Cluster

LIMIT_S = 30.0
COUNT = 250


def documents(count: int = COUNT, index: str = "src") -> list[dict[str, Any]]:
    return [{"_index": index, "_id": str(number), "n": number, "word": f"w{number}"} for number in range(count)]


@pytest.fixture
def indices(client: Any) -> Iterator[Any]:
    """A client of a cluster that has the two indices of these stories, empty."""
    for name in ("src", "dest"):
        client.indices.create(index=name, body={"settings": {"number_of_shards": 2, "number_of_replicas": 1}})
    yield client
    client.tasks.cancel(actions="indices:data/write/*", wait_for_completion=True)
    client.indices.delete(index="src,dest,many", ignore_unavailable=True)


@pytest.fixture
def filled(indices: Any) -> Any:
    """The same, where `src` has its documents."""
    lines = [line for found in documents() for line in ({"index": {"_id": found["_id"]}}, {"n": found["n"]})]
    answer = indices.bulk(index="src", body=lines, refresh=True)
    assert answer["errors"] is False
    return indices


def wait_until_stored(client: Any, task: str) -> Any:
    deadline = time.monotonic() + LIMIT_S
    while not (found := client.tasks.get(task_id=task))["completed"]:
        assert time.monotonic() < deadline, "it did not end"
        time.sleep(0.02)
    return found


def test_helpers_index_and_scan_all_documents(cluster: Cluster) -> None:
    with OpenSearch([node.url for node in cluster.nodes]) as client:
        try:
            assert helpers.bulk(client, documents(index="many"), refresh=True) == (COUNT, [])
            results = list(helpers.streaming_bulk(client, documents(index="many"), chunk_size=70))
            assert {found["index"]["result"] for _, found in results} == {"updated"}
            actions = [{"_op_type": "delete", "_index": "many", "_id": str(number)} for number in range(100)]
            assert all(ok for ok, _ in helpers.parallel_bulk(client, actions, thread_count=3, chunk_size=20))
            client.indices.refresh(index="many")
            found = helpers.scan(client, index="many", query={"query": {"match_all": {}}}, size=40)
            assert sorted(int(hit["_id"]) for hit in found) == list(range(100, COUNT))
            assert helpers.reindex(client, "many", "dest") == (COUNT - 100, 0)
            client.indices.refresh(index="dest")
            assert client.count(index="dest")["count"] == COUNT - 100
        finally:
            client.indices.delete(index="many,dest", ignore_unavailable=True)


def test_asynchronous_helpers_index_and_scan_all_documents(cluster: Cluster) -> None:
    async def story() -> None:
        async with AsyncOpenSearch([node.url for node in cluster.nodes]) as client:
            try:
                assert await helpers.async_bulk(client, documents(index="many"), refresh=True) == (COUNT, [])
                found = [hit["_source"]["n"] async for hit in helpers.async_scan(client, index="many", size=33)]
                assert sorted(found) == list(range(COUNT))
                assert await helpers.async_reindex(client, "many", "dest") == (COUNT, 0)
            finally:
                await client.indices.delete(index="many,dest", ignore_unavailable=True)

    asyncio.run(story())


def test_an_item_that_cannot_be_written_is_told_by_the_helper(cluster: Cluster) -> None:
    with OpenSearch([cluster.nodes[0].url]) as client:
        try:
            twice = [{"_op_type": "create", "_index": "many", "_id": "1", "n": 1}] * 2
            done, errors = helpers.bulk(client, twice, raise_on_error=False)
            assert (done, [error["create"]["status"] for error in errors]) == (1, [409])
        finally:
            client.indices.delete(index="many", ignore_unavailable=True)


def test_a_reindex_is_watched_to_its_stored_end(filled: Any) -> None:
    body = {"source": {"index": "src"}, "dest": {"index": "dest"}}
    task = filled.reindex(body=body, wait_for_completion=False, refresh=True)["task"]
    found = wait_until_stored(filled, task)
    assert found["response"]["created"] == COUNT
    assert filled.count(index="dest")["count"] == COUNT
    assert filled.get(index=".tasks", id=task)["_source"]["completed"] is True


def test_a_throttled_reindex_is_let_go(filled: Any) -> None:
    body = {"source": {"index": "src", "size": 50}, "dest": {"index": "dest"}}
    task = filled.reindex(body=body, wait_for_completion=False, requests_per_second=0.1)["task"]
    deadline = time.monotonic() + LIMIT_S
    while not filled.tasks.get(task_id=task)["task"]["status"]["throttled_until_millis"]:
        assert time.monotonic() < deadline, "it does not sleep"
        time.sleep(0.01)
    assert filled.tasks.get(task_id=task)["task"]["status"]["created"] == 50
    shown = filled.reindex_rethrottle(task_id=task, requests_per_second=-1)
    [(node, _)] = shown["nodes"].items()
    assert task.startswith(node)
    assert wait_until_stored(filled, task)["response"]["created"] == COUNT


def test_update_and_delete_by_query_answer_with_their_counts(filled: Any) -> None:
    query = {"query": {"range": {"n": {"lt": 30}}}}
    updated = filled.update_by_query(index="src", body=query, refresh=True)
    assert (updated["updated"], updated["version_conflicts"]) == (30, 0)
    deleted = filled.delete_by_query(index="src", body=query, refresh=True)
    assert deleted["deleted"] == 30
    assert filled.count(index="src")["count"] == COUNT - 30
    task = filled.delete_by_query(index="src", body={"query": {"match_all": {}}}, wait_for_completion=False)["task"]
    assert wait_until_stored(filled, task)["response"]["deleted"] == COUNT - 30


def test_a_search_with_a_sort_and_a_scroll_by_hand(filled: Any) -> None:
    first = filled.search(index="src", body={"size": 100, "sort": ["n"]}, scroll="1m")
    found = [hit["_source"]["n"] for hit in first["hits"]["hits"]]
    scroll_id = first["_scroll_id"]
    while page := filled.scroll(body={"scroll_id": scroll_id, "scroll": "1m"})["hits"]["hits"]:
        found += [hit["_source"]["n"] for hit in page]
    assert found == list(range(COUNT))
    assert filled.clear_scroll(scroll_id=scroll_id)["succeeded"] is True
    several = filled.msearch(index="src", body=[{}, {"size": 1}, {}, {"query": {"term": {"n": 7}}}])
    assert [answer["hits"]["total"]["value"] for answer in several["responses"]] == [COUNT, 1]
