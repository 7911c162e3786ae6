"""Reindex, update by query and delete by query over nodes: documents, statuses, trees, throttling, cancels."""

from __future__ import annotations

from taskfan.node.task import Task
from tests.coordinator.by_scroll_work import (
    BODY,
    IDLE,
    ONE_BY_ONE,
    REINDEX,
    asleep,
    ended,
    make,
    start,
    status_of,
)
from tests.coordinator.index_cluster import IndexCluster, play
from tests.coordinator.rest_cluster import ask, fill, tasks_of, tree_of


def test_a_reindex_copies_all_documents_in_batches_and_answers_with_counts() -> None:
    async def story(cluster: IndexCluster) -> None:
        await make(cluster, number_of_shards=3)
        body = {"source": {"index": "src", "size": 4}, "dest": {"index": "dest"}}
        answer = await ask(cluster, "POST", "/_reindex?refresh=true", body, on="b")
        counts = answer.json
        assert counts.pop("took") >= 0
        assert (answer.status, counts) == (
            200,
            {
                "timed_out": False,
                "total": 10,
                "updated": 0,
                "created": 10,
                "deleted": 0,
                "batches": 3,
                "version_conflicts": 0,
                "noops": 0,
                "retries": {"bulk": 0, "search": 0},
                "throttled_millis": 0,
                "requests_per_second": -1.0,
                "throttled_until_millis": 0,
                "failures": [],
            },
        )
        assert cluster.documents("dest") == cluster.documents("src")
        assert (await ask(cluster, "GET", "/dest/_count")).json["count"] == 10

    play(story)


def test_the_tree_of_a_reindex_changes_from_search_to_bulk_to_scroll() -> None:
    async def story(cluster: IndexCluster) -> None:
        await make(cluster, 2, number_of_shards=1)
        seen: list[str] = []
        kinds = ("reindex", "search", "scroll", "bulk", "refresh")

        def listen(event: str, task: Task) -> None:
            if event == "registered" and any(kind in task.action for kind in kinds):
                parent = next((found.action for found in cluster.tasks() if found.id == task.parent), "-")
                seen.append(f"{task.action} < {parent}" if task.id.node_id == "a" else f"elsewhere {task.action}")

        for node in cluster.nodes.values():
            node.add_listener(listen)
        await ask(cluster, "POST", "/_reindex?refresh=true", ONE_BY_ONE)
        here = [line for line in seen if not line.startswith("elsewhere") and "[" not in line.split(" < ")[0]]
        assert here == [
            f"{REINDEX} < -",
            f"indices:data/read/search < {REINDEX}",
            f"indices:data/write/bulk < {REINDEX}",
            f"indices:data/read/scroll < {REINDEX}",
            f"indices:data/write/bulk < {REINDEX}",
            f"indices:data/read/scroll < {REINDEX}",
            f"indices:admin/refresh < {REINDEX}",
            "indices:data/read/scroll/clear < -",
        ]

    play(story)


def test_the_search_of_a_reindex_is_described_as_it_is_sent() -> None:
    async def story(cluster: IndexCluster) -> None:
        await make(cluster, 2, number_of_shards=1, taskfan={"cost_per_call_ms": 100})
        running = cluster.spawn(ask(cluster, "POST", "/_reindex", BODY))
        await cluster.until(lambda: tasks_of(cluster, "[phase/query]"))
        source = '{"size":1000,"version":false,"seq_no_primary_term":false,"sort":[{"_doc":{"order":"asc"}}]}'
        assert tree_of(cluster, "indices:data")[:2] == [
            f"a transport {REINDEX} reindex from [src] to [dest]",
            f"  a transport indices:data/read/search indices[src], search_type[QUERY_THEN_FETCH], scroll[5m], "
            f"source[{source}]",
        ]
        await running

    play(story)


def test_a_throttled_reindex_sleeps_by_its_rate_and_shows_for_how_long() -> None:
    async def story(cluster: IndexCluster) -> None:
        await make(cluster)
        began_s = cluster.clock.monotonic_ns() / 1e9
        task = await start(cluster, "/_reindex?requests_per_second=0.5", ONE_BY_ONE)
        status = await asleep(cluster, task)
        assert 1900 < status.pop("throttled_until_millis") <= 2000
        assert status == {name: value for name, value in IDLE.items() if name != "throttled_until_millis"}
        result = await ended(cluster, task, on="c")
        # After each batch but the last page, which is empty, comes a sleep of two seconds.
        assert result["task"]["status"]["throttled_millis"] == 20_000
        assert 20 <= cluster.clock.monotonic_ns() / 1e9 - began_s < 22
        assert result["response"]["throttled"] == "20s"
        assert cluster.documents("dest") == cluster.documents("src")

    play(story)


def test_a_faster_rate_wakes_a_sleeper_soon_and_a_slower_one_does_not() -> None:
    async def story(cluster: IndexCluster) -> None:
        await make(cluster)
        task = await start(cluster, "/_reindex?requests_per_second=0.01", ONE_BY_ONE)
        await asleep(cluster, task)
        answer = await ask(cluster, "POST", f"/_reindex/{task}/_rethrottle?requests_per_second=0.005", on="b")
        [shown] = answer.json["nodes"]["a"]["tasks"].values()
        assert shown["description"] == "reindex from [src] to [dest]"
        assert shown["status"]["requests_per_second"] == 0.005
        assert shown["status"]["throttled_until_millis"] > 99_000
        answer = await ask(cluster, "POST", f"/_reindex/{task}/_rethrottle?requests_per_second=0.02&group_by=none")
        [shown] = answer.json["tasks"]
        assert 2100 < shown["status"]["throttled_until_millis"] <= 2147
        assert "resource_stats" in shown
        await ask(cluster, "POST", f"/_update_by_query/{task}/_rethrottle?requests_per_second=-1")
        result = await ended(cluster, task)
        assert result["response"]["created"] == 10
        assert result["response"]["requests_per_second"] == -1.0

    play(story)


def test_slices_are_children_on_the_asking_node_and_a_leader_shares_a_new_rate_among_them() -> None:
    async def story(cluster: IndexCluster) -> None:
        await make(cluster)
        task = await start(cluster, "/_reindex?slices=2&requests_per_second=0.02", ONE_BY_ONE, on="b")
        await cluster.until(lambda: len(tasks_of(cluster, REINDEX)) == 3)
        [leader, *slices] = tasks_of(cluster, REINDEX)
        for found in slices:
            await asleep(cluster, str(found.id))
        described = f"{REINDEX} reindex from [src] to [dest]"
        assert tree_of(cluster, REINDEX) == [
            f"b transport {described}",
            f"  b transport {described}",
            f"  b transport {described}",
        ]
        assert (await status_of(cluster, task))["slices"] == [None, None]
        answer = await ask(cluster, "POST", f"/_reindex/{task}/_rethrottle?requests_per_second=0.04", on="c")
        [shown] = answer.json["nodes"]["b"]["tasks"].values()
        assert shown["status"]["requests_per_second"] == 0.04
        assert [found["requests_per_second"] for found in shown["status"]["slices"]] == [0.02, 0.02]
        assert shown["status"]["created"] == 2
        assert "resource_stats" not in shown
        await ask(cluster, "POST", f"/_reindex/{task}/_rethrottle?requests_per_second=-1")
        result = await ended(cluster, task)
        assert str(leader.id) == task
        assert [found["slice_id"] for found in result["response"]["slices"]] == [0, 1]
        assert result["response"]["created"] == 10
        assert cluster.documents("dest") == cluster.documents("src")

    play(story)


def test_as_many_slices_as_the_smallest_index_has_shards_when_that_is_left_open() -> None:
    async def story(cluster: IndexCluster) -> None:
        await make(cluster, number_of_shards=3)
        answer = await ask(cluster, "POST", "/_reindex?slices=auto", BODY)
        assert len(answer.json["slices"]) == 3
        assert answer.json["created"] == 10

    play(story)


def test_a_cancelled_sleeper_ends_at_once_and_keeps_what_it_did() -> None:
    async def story(cluster: IndexCluster) -> None:
        await make(cluster)
        task = await start(cluster, "/_reindex?requests_per_second=0.01", ONE_BY_ONE)
        await asleep(cluster, task)
        answer = await ask(cluster, "POST", f"/_tasks/{task}/_cancel?wait_for_completion=true", on="c")
        assert list(answer.json["nodes"]["a"]["tasks"]) == [task]
        result = await ended(cluster, task, on="b")
        assert result["task"]["cancelled"] is True
        assert result["task"]["status"]["canceled"] == "by user request"
        assert (result["response"]["created"], result["response"]["canceled"]) == (1, "by user request")
        assert len(cluster.documents("dest")) == 1

    play(story)


def test_cancelling_a_leader_cancels_its_slices_and_cancelling_a_slice_only_that() -> None:
    async def story(cluster: IndexCluster) -> None:
        await make(cluster)
        task = await start(cluster, "/_reindex?slices=2&requests_per_second=0.02", ONE_BY_ONE)
        await cluster.until(lambda: len(tasks_of(cluster, REINDEX)) == 3)
        [_, first, second] = tasks_of(cluster, REINDEX)
        for found in (first, second):
            await asleep(cluster, str(found.id))
        await ask(cluster, "POST", f"/_tasks/{first.id}/_cancel?wait_for_completion=true")
        status = await status_of(cluster, task)
        assert "canceled" not in status
        assert status["slices"][0]["canceled"] == "by user request"
        assert status["slices"][1] is None
        await ask(cluster, "POST", f"/_tasks/{task}/_cancel?wait_for_completion=true")
        result = await ended(cluster, task)
        assert result["response"]["canceled"] == "by user request"
        assert [found["canceled"] for found in result["response"]["slices"]] == ["by user request"] * 2
        assert len(cluster.documents("dest")) == 2

    play(story)


def test_a_reindex_cancelled_while_its_search_runs_fails_with_that_search() -> None:
    async def story(cluster: IndexCluster) -> None:
        await make(cluster, taskfan={"cost_per_call_ms": 5000})
        task = await start(cluster, "/_reindex", BODY)
        await cluster.until(lambda: tasks_of(cluster, "[phase/query]"))
        await ask(cluster, "POST", f"/_tasks/{task}/_cancel?wait_for_completion=true")
        result = await ended(cluster, task)
        assert result["error"]["type"] == "search_phase_execution_exception"
        assert result["error"]["caused_by"]["reason"] == "cancelled task with reason: by user request"
        assert cluster.documents("dest") == {}

    play(story)


def test_a_bulk_that_was_sent_is_finished_before_a_cancelled_reindex_ends() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "src", 10, number_of_replicas=0)
        await cluster.create("dest", number_of_replicas=0, taskfan={"cost_per_call_ms": 4000})
        task = await start(cluster, "/_reindex", BODY)
        await cluster.until(lambda: tasks_of(cluster, "bulk[s][p]"))
        await ask(cluster, "POST", f"/_tasks/{task}/_cancel")
        await cluster.clock.sleep(1)
        assert (await status_of(cluster, task))["canceled"] == "by user request"
        assert [found.cancelled for found in tasks_of(cluster, "bulk")] == [None] * len(tasks_of(cluster, "bulk"))
        result = await ended(cluster, task)
        assert (result["response"]["created"], result["response"]["canceled"]) == (10, "by user request")
        assert len(cluster.documents("dest")) == 10

    play(story)


def test_update_and_delete_by_query_change_what_the_query_finds() -> None:
    async def story(cluster: IndexCluster) -> None:
        await make(cluster, number_of_shards=2)
        body = {"query": {"range": {"n": {"lt": 4}}}, "script": {"source": "ctx._source.word = 'new'"}}
        answer = await ask(cluster, "POST", "/src/_update_by_query?refresh=true", body)
        assert (answer.status, answer.json["updated"], "created" in answer.json) == (200, 4, False)
        answer = await ask(cluster, "GET", "/src/_search", {"query": {"term": {"word": "new"}}})
        assert sorted(hit["_id"] for hit in answer.json["hits"]["hits"]) == ["0", "1", "2", "3"]
        body = {"query": {"range": {"n": {"gte": 2}}}}
        answer = await ask(cluster, "POST", "/src/_delete_by_query?refresh=true&max_docs=5", body)
        assert (answer.json["deleted"], "updated" in answer.json) == (5, False)
        assert (await ask(cluster, "GET", "/src/_count")).json["count"] == 5

    play(story)


def test_conflicts_end_the_work_with_409_or_are_counted() -> None:
    async def story(cluster: IndexCluster) -> None:
        await make(cluster)
        create = {"source": {"index": "src"}, "dest": {"index": "dest", "op_type": "create"}}
        only = {"source": {"index": "src", "query": {"term": {"n": 4}}}, "dest": {"index": "dest"}}
        assert (await ask(cluster, "POST", "/_reindex", only)).json["created"] == 1
        answer = await ask(cluster, "POST", "/_reindex", create)
        assert (answer.status, answer.json["created"], answer.json["version_conflicts"]) == (409, 9, 1)
        assert [failure["id"] for failure in answer.json["failures"]] == ["4"]
        answer = await ask(cluster, "POST", "/_reindex", {**create, "conflicts": "proceed"})
        assert (answer.status, answer.json["version_conflicts"], answer.json["failures"]) == (200, 10, [])

    play(story)


def test_work_begins_though_a_parameter_is_refused() -> None:
    async def story(cluster: IndexCluster) -> None:
        await make(cluster)
        answer = await ask(cluster, "POST", "/_reindex?wait_for_completion=false&nosuch=1", BODY)
        assert answer.status == 400
        assert answer.json["error"]["reason"] == "request [/_reindex] contains unrecognized parameter: [nosuch]"
        await cluster.until(lambda: len(cluster.documents("dest")) == 10)
        answer = await ask(cluster, "POST", "/_reindex?nosuch=1", {**BODY, "dest": {"index": "other"}})
        assert answer.status == 400
        await cluster.clock.sleep(5)
        assert "other" not in cluster.state.indices

    play(story)


def test_only_work_of_the_reindex_family_can_be_rethrottled() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "src", 3, number_of_replicas=0, taskfan={"cost_per_call_ms": 3000})
        running = cluster.spawn(ask(cluster, "GET", "/src/_search"))
        await cluster.until(lambda: tasks_of(cluster, "read/search"))
        [task, *_] = tasks_of(cluster, "read/search")
        found = "class org.opensearch.action.search.SearchTask cannot be cast to class "
        # Java's own exception loses its class on the wire, and keeps its name.
        for node, told in (("a", found), ("b", f"class_cast_exception: {found}")):
            answer = await ask(cluster, "POST", f"/_reindex/{task.id}/_rethrottle?requests_per_second=1", on=node)
            [failure] = answer.json["task_failures"]
            assert failure["reason"]["type"] == "class_cast_exception"
            assert failure["reason"]["reason"].startswith(told)
            assert failure["status"] == "INTERNAL_SERVER_ERROR"
            assert answer.json["nodes"] == {}
        await running


def test_a_language_that_no_script_runs_in_is_refused_even_where_there_is_nothing_to_do() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "src", 1, number_of_replicas=0)
        body = {"query": {"match_none": {}}, "script": {"lang": "nosuch", "source": "x"}}
        answer = await ask(cluster, "POST", "/src/_update_by_query", body)
        assert (answer.status, answer.json["error"]["reason"]) == (400, "script_lang not supported [nosuch]")

    play(story)
