"""Searches over shards: their answers, their trees of tasks, how they are cancelled, and what is left of them."""

from __future__ import annotations

from typing import Any

from taskfan.coordinator.rest.client import Client
from tests.coordinator.index_cluster import IndexCluster, play
from tests.coordinator.rest_cluster import ask, fill, tasks_of, tree_of

SLOW: dict[str, Any] = {"taskfan": {"cost_per_shard_ms": 3000}}
SLOW_TEXT = "indices[i], search_type[QUERY_THEN_FETCH], source[{}]"


def ids(answer: Any) -> list[str]:
    return [hit["_id"] for hit in answer["hits"]["hits"]]


def readers(cluster: IndexCluster) -> int:
    return sum(len(node.readers) for node in cluster.nodes.values())


def test_a_search_over_shards_of_three_nodes_merges_what_they_found() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "i", 10, number_of_shards=3, number_of_replicas=0)
        body = {"query": {"range": {"n": {"gte": 2}}}, "sort": [{"n": "desc"}], "size": 3, "from": 1}
        answer = await ask(cluster, "GET", "/i/_search", body, on="b")
        assert answer.status == 200
        assert ids(answer.json) == ["8", "7", "6"]
        assert answer.json["hits"]["total"] == {"value": 8, "relation": "eq"}
        assert answer.json["hits"]["hits"][0]["sort"] == [8]
        assert answer.json["hits"]["hits"][0]["_source"] == {"n": 8, "word": "w8"}
        assert answer.json["_shards"] == {"total": 3, "successful": 3, "skipped": 0, "failed": 0}
        await cluster.clock.sleep(1)
        assert readers(cluster) == 0

    play(story)


def test_a_slow_search_is_a_task_for_each_shard_below_its_own() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "i", 3, number_of_shards=3, number_of_replicas=0)
        found = cluster.spawn(ask(cluster, "GET", "/i/_search", SLOW, on="a", opaque_id="me"))
        await cluster.until(lambda: len(tasks_of(cluster, "read/search")) == 4)
        holders = {shard: cluster.holder("i", 0, shard) for shard in range(3)}
        lines = tree_of(cluster, "read/search")
        assert lines[0] == f"a transport indices:data/read/search {SLOW_TEXT}"
        assert sorted(lines[1:]) == sorted(
            f"  {node} {'direct' if node == 'a' else 'transport'} indices:data/read/search[phase/query] "
            f"shardId[[i][{shard}]]"
            for shard, node in holders.items()
        )
        assert {task.headers["X-Opaque-Id"] for task in tasks_of(cluster, "read/search")} == {"me"}
        assert [task.cancellable for task in tasks_of(cluster, "read/search")] == [True] * 4
        shard_task = tasks_of(cluster, "[phase/query]")[0]
        assert shard_task.resource_stats is not None
        assert b'"thread_info":{"thread_executions":1,"active_threads":1}' in shard_task.resource_stats()
        assert tasks_of(cluster, "read/search")[0].resource_stats is None
        assert (await found).json["took"] >= 3000

    play(story)


def test_a_search_of_one_shard_fetches_with_its_query() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "i", 12, number_of_shards=1, number_of_replicas=0)
        seen: list[str] = []
        for node in cluster.nodes.values():
            node.add_listener(lambda event, task: seen.append(task.action) if event == "registered" else None)
        answer = await ask(cluster, "GET", "/i/_search?from=10", {"query": {"match_all": {}}}, on="b")
        assert ids(answer.json) == ["10", "11"]
        assert seen == ["indices:data/read/search", "indices:data/read/search[phase/query]"]
        assert readers(cluster) == 0

    play(story)


def test_readers_of_shards_without_shown_hits_are_freed_by_a_task_of_its_own() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "i", 10, number_of_shards=3, number_of_replicas=0)
        seen: list[tuple[str, bool]] = []
        for node in cluster.nodes.values():
            node.add_listener(
                lambda event, task: seen.append((task.action, task.parent.is_set)) if event == "registered" else None
            )
        await ask(cluster, "GET", "/i/_search?size=1", {"sort": ["n"]})
        await cluster.clock.sleep(1)
        assert seen.count(("indices:data/read/search[phase/query]", True)) == 3
        assert seen.count(("indices:data/read/search[phase/fetch/id]", True)) == 1
        assert seen.count(("indices:data/read/search[free_context]", False)) == 2
        assert readers(cluster) == 0

    play(story)


def test_at_most_five_shards_of_a_node_are_asked_at_a_time() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "i", 1, number_of_shards=18, number_of_replicas=0)
        found = cluster.spawn(ask(cluster, "GET", "/i/_search", SLOW))
        await cluster.clock.sleep(1)
        assert len(tasks_of(cluster, "[phase/query]")) == 15
        await cluster.clock.sleep(3)
        assert len(tasks_of(cluster, "[phase/query]")) == 3
        assert (await found).json["_shards"]["successful"] == 18

    play(story)


def test_a_cancelled_search_ends_with_the_reason_after_its_shards_have_noticed() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "i", 3, number_of_shards=3, number_of_replicas=0)
        found = cluster.spawn(ask(cluster, "GET", "/i/_search", SLOW))
        await cluster.until(lambda: len(tasks_of(cluster, "read/search")) == 4)
        [task, *_] = tasks_of(cluster, "read/search")
        await ask(cluster, "POST", f"/_tasks/{task.id}/_cancel", on="c")
        assert len([line for line in tree_of(cluster, "read/search") if "CANCELLED" in line]) == 4
        answer = await found
        cancelled = {
            "type": "task_cancelled_exception",
            "reason": "cancelled task with reason: by user request",
        }
        assert answer.status == 500
        assert answer.json["error"]["root_cause"] == [cancelled]
        assert answer.json["error"]["reason"] == "all shards failed"
        assert answer.json["error"]["phase"] == "query"
        assert len(answer.json["error"]["failed_shards"]) == 1
        assert tasks_of(cluster, "read/search") == []
        await cluster.clock.sleep(0.01)
        assert [dict(node.registry.bans) for node in cluster.nodes.values()] == [{}, {}, {}]

    play(story)


def test_a_client_that_hangs_up_cancels_its_search_and_the_tasks_of_the_shards() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "i", 3, number_of_shards=3, number_of_replicas=0)
        client = Client()
        found = cluster.spawn(ask(cluster, "GET", "/i/_search", SLOW, client=client))
        await cluster.until(lambda: len(tasks_of(cluster, "read/search")) == 4)
        client.gone()
        await cluster.clock.sleep(0.01)
        reasons = [task.cancelled and task.cancelled.reason for task in tasks_of(cluster, "read/search")]
        assert reasons == ["channel closed"] * 4
        await found

    play(story)


def test_a_count_runs_to_its_end_whoever_hangs_up() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "i", 4, number_of_shards=1, number_of_replicas=0, taskfan={"cost_per_call_ms": 500})
        client = Client()
        found = cluster.spawn(ask(cluster, "GET", "/i/_count", client=client))
        await cluster.until(lambda: tasks_of(cluster, "read/search"))
        client.gone()
        answer = await found
        assert answer.json == {"count": 4, "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0}}

    play(story)


def test_a_search_is_cancelled_after_its_interval() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "i", 3, number_of_shards=3, number_of_replicas=0)
        target = "/i/_search?cancel_after_time_interval="
        answer = await ask(cluster, "GET", f"{target}1500ms", SLOW)
        assert answer.status == 500
        reason = "cancelled task with reason: Cancellation timeout of 1.5s is expired"
        assert answer.json["error"]["caused_by"]["reason"] == reason
        assert (await ask(cluster, "GET", f"{target}5s", SLOW)).status == 200
        assert (await ask(cluster, "GET", f"{target}-1", SLOW)).status == 200

    play(story)


def test_a_setting_of_the_cluster_limits_searches_that_do_not_say_otherwise() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "i", 3, number_of_shards=2, number_of_replicas=0)
        settings = {"persistent": {"search.cancel_after_time_interval": "700ms"}}
        answer = await ask(cluster, "PUT", "/_cluster/settings", settings, on="b")
        nested = {"search": {"cancel_after_time_interval": "700ms"}}
        assert answer.json == {"acknowledged": True, "persistent": nested, "transient": {}}
        assert (await ask(cluster, "GET", "/_cluster/settings", on="c")).json["persistent"] == nested
        answer = await ask(cluster, "GET", "/i/_search", SLOW, on="c")
        reason = "cancelled task with reason: Cancellation timeout of 700ms is expired"
        assert answer.json["error"]["caused_by"]["reason"] == reason
        assert (await ask(cluster, "GET", "/i/_search?cancel_after_time_interval=-1", SLOW)).status == 200
        # Of several searches each has its own limit; the one that is switched off goes on.
        lines = b'{}\n{"taskfan":{"cost_per_shard_ms":3000}}\n{"cancel_after_time_interval":"-1"}\n'
        answer = await ask(cluster, "POST", "/i/_msearch", lines + b'{"taskfan":{"cost_per_shard_ms":3000}}\n')
        assert [item["status"] for item in answer.json["responses"]] == [500, 200]
        await ask(cluster, "PUT", "/_cluster/settings", {"persistent": {"search.*": None}})
        assert (await ask(cluster, "GET", "/i/_search", SLOW)).status == 200
        answer = await ask(cluster, "PUT", "/_cluster/settings", {"transient": {"nosuch.thing": 1}})
        assert answer.json["error"]["reason"] == "transient setting [nosuch.thing], not recognized"

    play(story)


def test_another_copy_answers_for_one_that_fails() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "i", 5, number_of_shards=1, number_of_replicas=1)
        primary, replica = cluster.holder("i", 0), cluster.holder("i", 1)
        [asking] = [name for name in "abc" if name not in (primary, replica)]
        cluster.network.cut(asking, primary)
        for _ in range(2):
            answer = await ask(cluster, "GET", "/i/_search", on=asking)
            assert answer.json["_shards"] == {"total": 1, "successful": 1, "skipped": 0, "failed": 0}
            assert len(ids(answer.json)) == 5
        cluster.network.heal(asking, primary)

    play(story)


def test_a_search_tells_which_shards_failed_or_fails_where_it_wants_all() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "i", 9, number_of_shards=3, number_of_replicas=0)
        lost = next(name for name in "bc" if name in {cluster.holder("i", 0, shard) for shard in range(3)})
        cluster.network.cut("a", lost)
        answer = await ask(cluster, "GET", "/i/_search")
        shards = answer.json["_shards"]
        assert (answer.status, shards["total"], shards["successful"], shards["failed"]) == (200, 3, 2, 1)
        assert shards["failures"][0]["node"] == lost
        assert shards["failures"][0]["reason"]["type"] == "node_not_connected_exception"
        answer = await ask(cluster, "GET", "/i/_search?allow_partial_search_results=false")
        assert answer.json["error"]["reason"] == "Partial shards failure"
        cluster.network.heal("a", lost)
        await cluster.clock.sleep(1)
        assert readers(cluster) == 0

    play(story)


def test_a_scroll_gives_every_document_once_and_ends_when_it_is_cleared() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "i", 23, number_of_shards=3, number_of_replicas=0)
        answer = await ask(cluster, "POST", "/i/_search?scroll=1m", {"size": 5, "sort": ["n"]})
        found, scroll_id = ids(answer.json), answer.json["_scroll_id"]
        while page := ids((answer := await ask(cluster, "POST", "/_search/scroll", {"scroll_id": scroll_id})).json):
            assert answer.json["hits"]["total"]["value"] == 23
            found += page
        assert found == [str(number) for number in range(23)]
        assert readers(cluster) == 3
        answer = await ask(cluster, "DELETE", "/_search/scroll", {"scroll_id": scroll_id})
        assert (answer.status, answer.json) == (200, {"succeeded": True, "num_freed": 3})
        assert readers(cluster) == 0
        assert (await ask(cluster, "DELETE", "/_search/scroll", {"scroll_id": scroll_id})).status == 404
        answer = await ask(cluster, "POST", "/_search/scroll", {"scroll_id": scroll_id})
        assert answer.status == 404
        assert answer.json["error"]["root_cause"][0]["type"] == "search_context_missing_exception"
        assert answer.json["error"]["failed_shards"][0]["index"] is None

    play(story)


def test_a_scroll_that_nobody_reads_is_forgotten_after_its_time() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "i", 5, number_of_shards=1, number_of_replicas=0)
        await ask(cluster, "POST", "/i/_search?scroll=90s", {"size": 2})
        await cluster.clock.sleep(61)
        assert readers(cluster) == 1
        await cluster.clock.sleep(60)
        assert readers(cluster) == 0

    play(story)


def test_nothing_is_kept_of_an_index_that_is_deleted_before_or_while_it_is_searched() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "i", 10, number_of_shards=3, number_of_replicas=0)
        await ask(cluster, "POST", "/i/_search?scroll=1h", {"size": 1}, on="a")
        assert readers(cluster) == 3
        slow = cluster.spawn(ask(cluster, "POST", "/i/_search?scroll=1h", {"size": 1, **SLOW}, on="a"))
        await cluster.until(lambda: len(tasks_of(cluster, "[phase/query]")) == 3)
        await ask(cluster, "DELETE", "/i", on="b")
        assert readers(cluster) == 0
        assert (await slow).status == 404
        assert readers(cluster) == 0

    play(story)


def test_a_page_of_a_scroll_is_a_task_with_one_for_each_shard() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "i", 9, number_of_shards=3, number_of_replicas=0)
        first = await ask(cluster, "POST", "/i/_search?scroll=1m", {"size": 1, **SLOW})
        scroll_id = first.json["_scroll_id"]
        body = {"scroll_id": scroll_id, "scroll": "2m"}
        page = cluster.spawn(ask(cluster, "POST", "/_search/scroll", body))
        await cluster.until(lambda: len(tasks_of(cluster, "/scroll")) == 4)
        lines = tree_of(cluster, "/scroll")
        assert lines[0] == f"a transport indices:data/read/scroll scrollId[{scroll_id}], scroll[Scroll{{keepAlive=2m}}]"
        assert {line.split()[2] for line in lines[1:]} == {"indices:data/read/search[phase/query/scroll]"}
        assert (await page).status == 200

    play(story)


def test_several_searches_run_as_children_and_end_each_in_its_own_way() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "i", 4, number_of_shards=1, number_of_replicas=0)
        lines = b'{}\n{"taskfan":{"cost_per_shard_ms":2000}}\n{"index":"none"}\n{}\n{}\n{"size":1}\n'
        found = cluster.spawn(ask(cluster, "POST", "/i/_msearch?max_concurrent_searches=1", lines))
        await cluster.until(lambda: tasks_of(cluster, "[phase/query]"))
        item = "indices[i], search_type[QUERY_THEN_FETCH], source[{}]"
        none = "indices[none], search_type[QUERY_THEN_FETCH], source[{}]"
        last = 'indices[i], search_type[QUERY_THEN_FETCH], source[{"size":1}]'
        join = "indices:data/read/msearch["
        assert tree_of(cluster, "data/read")[:2] == [
            f"a transport indices:data/read/msearch ,{item}{join}{none}{join}{last}]",
            f"  a transport indices:data/read/search {item}",
        ]
        answer = await found
        assert [item["status"] for item in answer.json["responses"]] == [200, 404, 200]
        assert answer.json["responses"][1]["error"]["type"] == "index_not_found_exception"
        assert len(answer.json["responses"][2]["hits"]["hits"]) == 1

    play(story)


def test_searches_of_a_cancelled_request_that_have_not_begun_do_not_begin() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "i", 4, number_of_shards=1, number_of_replicas=0)
        lines = b'{}\n{"taskfan":{"cost_per_shard_ms":9000}}\n{}\n{}\n'
        found = cluster.spawn(ask(cluster, "POST", "/i/_msearch?max_concurrent_searches=1", lines))
        await cluster.until(lambda: tasks_of(cluster, "[phase/query]"))
        [task] = tasks_of(cluster, "msearch")
        await ask(cluster, "POST", f"/_tasks/{task.id}/_cancel")
        reasons = [item["error"]["root_cause"][0]["reason"] for item in (await found).json["responses"]]
        assert reasons == ["cancelled task with reason: by user request", "Parent task was cancelled"]

    play(story)


def test_an_unknown_query_is_refused_by_its_name_and_place() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "i", 1)
        answer = await ask(cluster, "GET", "/i/_search", b'{"query":{"nosuch":{}}}')
        assert answer.status == 400
        assert answer.json["error"]["type"] == "parsing_exception"
        assert answer.json["error"]["reason"] == "unknown query [nosuch]"
        answer = await ask(cluster, "GET", "/none/_search")
        assert (answer.status, answer.json["error"]["type"]) == (404, "index_not_found_exception")

    play(story)
