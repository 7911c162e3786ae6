"""Reindex, update by query and delete by query over nodes: documents, statuses, trees, throttling, cancels, results."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from taskfan.node.action import ActionContext
from taskfan.node.errors import Rejected, TaskfanError
from taskfan.node.task import Task
from tests.coordinator.index_cluster import IndexCluster, play
from tests.coordinator.rest_cluster import ask, fill, tasks_of, tree_of

REINDEX = "indices:data/write/reindex"
BODY: dict[str, Any] = {"source": {"index": "src"}, "dest": {"index": "dest"}}
ONE_BY_ONE: dict[str, Any] = {"source": {"index": "src", "size": 1}, "dest": {"index": "dest"}}
IDLE = {
    "total": 10,
    "updated": 0,
    "created": 1,
    "deleted": 0,
    "batches": 1,
    "version_conflicts": 0,
    "noops": 0,
    "retries": {"bulk": 0, "search": 0},
    "throttled_millis": 0,
    "requests_per_second": 0.5,
    "throttled_until_millis": 2000,
}


async def start(cluster: IndexCluster, target: str, body: Any = None, *, on: str = "a") -> str:
    """Start work that nobody waits for; its task id."""
    separator = "&" if "?" in target else "?"
    answer = await ask(cluster, "POST", f"{target}{separator}wait_for_completion=false", body, on=on)
    assert answer.status == 200, answer.json
    return str(answer.json["task"])


async def status_of(cluster: IndexCluster, task: str, on: str = "a") -> Any:
    answer = await ask(cluster, "GET", f"/_tasks/{task}", on=on)
    assert answer.status == 200, answer.json
    return answer.json["task"]["status"]


async def asleep(cluster: IndexCluster, task: str) -> Any:
    """Wait until it sleeps; its status then, without how long it still does."""

    def sleeps() -> bool:
        running = [found for found in cluster.tasks() if str(found.id) == task]
        return bool(running) and b'"throttled_until_millis":0' not in _status(running[0])

    await cluster.until(sleeps)
    return await status_of(cluster, task)


def _status(task: Task) -> bytes:
    assert task.status is not None
    return task.status()


async def ended(cluster: IndexCluster, task: str, on: str = "a") -> Any:
    answer = await ask(cluster, "GET", f"/_tasks/{task}?wait_for_completion=true&timeout=1000s", on=on)
    assert answer.status == 200, answer.json
    assert answer.json["completed"] is True
    return answer.json


def fail_first(cluster: IndexCluster, action: str, times: int, error: Exception) -> list[int]:
    """Let an action of node a fail so many times. Returns the wall times at which it was asked, in milliseconds."""
    node, asked = cluster.nodes["a"], list[int]()
    known = node._actions[action]

    async def handler(context: ActionContext, request: Any) -> Any:
        asked.append(context.clock.wall_time_ms())
        if len(asked) <= times:
            raise error
        return await known.handler(context, request)

    node._actions[action] = replace(known, handler=handler)
    return asked


async def make(cluster: IndexCluster, count: int = 10, **settings: Any) -> None:
    await fill(cluster, "src", count, **({"number_of_replicas": 0} | settings))
    await cluster.create("dest", number_of_replicas=0)


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


def test_a_result_is_stored_before_its_task_ends_and_found_on_every_node_after_its_own_left() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "src", 10, number_of_replicas=2)
        await cluster.create("dest", number_of_replicas=2)
        task = await start(cluster, "/_reindex", BODY, on="c")
        await cluster.until(lambda: not tasks_of(cluster, REINDEX))
        assert list(cluster.documents(".tasks")) == [task]
        index = cluster.state.indices.metadata[".tasks"]
        assert index.mapping["_meta"] == {"version": 5}
        assert index.settings["index.auto_expand_replicas"] == "0-1"
        await cluster.until(lambda: all(copy.active for copy in cluster.state.indices.routing))
        await cluster.lose("c")
        for on in "ab":
            answer = await ask(cluster, "GET", f"/_tasks/{task}", on=on)
            assert answer.json["completed"] is True
            assert answer.json["task"]["node"] == "c"
            assert answer.json["response"]["created"] == 10
            assert "resource_stats" not in answer.json["task"]
        answer = await ask(cluster, "GET", f"/_tasks/{task}?human")
        assert {"start_time", "running_time"} <= answer.json["task"].keys()
        answer = await ask(cluster, "DELETE", f"/.tasks/_doc/{task}?refresh=true")
        assert answer.json["result"] == "deleted"
        answer = await ask(cluster, "GET", f"/_tasks/{task}")
        assert answer.status == 404
        assert answer.json["error"]["reason"].startswith(f"task [{task}] belongs to the node [c] which isn't part")

    play(story)


def test_a_failure_is_stored_as_an_error() -> None:
    async def story(cluster: IndexCluster) -> None:
        await make(cluster)
        task = await start(cluster, "/_reindex", {"source": {"index": "none"}, "dest": {"index": "dest"}})
        result = await ended(cluster, task)
        assert result["error"]["type"] == "index_not_found_exception"
        assert "response" not in result

    play(story)


def test_a_sliced_reindex_stores_one_result() -> None:
    async def story(cluster: IndexCluster) -> None:
        await make(cluster)
        task = await start(cluster, "/_reindex?slices=3", BODY)
        await ended(cluster, task)
        assert list(cluster.documents(".tasks")) == [task]

    play(story)


def test_only_work_of_the_reindex_family_can_be_rethrottled() -> None:
    async def story(cluster: IndexCluster) -> None:
        await fill(cluster, "src", 3, number_of_replicas=0, taskfan={"cost_per_call_ms": 3000})
        running = cluster.spawn(ask(cluster, "GET", "/src/_search"))
        await cluster.until(lambda: tasks_of(cluster, "read/search"))
        [task, *_] = tasks_of(cluster, "read/search")
        answer = await ask(cluster, "POST", f"/_reindex/{task.id}/_rethrottle?requests_per_second=1", on="b")
        [failure] = answer.json["task_failures"]
        assert failure["reason"]["type"] == "class_cast_exception"
        assert failure["status"] == "INTERNAL_SERVER_ERROR"
        assert answer.json["nodes"] == {}
        await running

    play(story)


def test_a_result_that_is_rejected_is_stored_later_and_its_task_runs_until_then() -> None:
    async def story(cluster: IndexCluster) -> None:
        await make(cluster)
        asked = fail_first(cluster, "indices:data/write/index", 3, Rejected("the queue is full"))
        task = await start(cluster, "/_reindex", BODY)
        await cluster.until(lambda: len(asked) == 3)
        assert [str(found.id) for found in tasks_of(cluster, REINDEX)] == [task]
        assert (await ask(cluster, "GET", f"/_tasks/{task}")).json["completed"] is False
        assert (await ended(cluster, task))["response"]["created"] == 10
        assert [later - earlier for earlier, later in itertools.pairwise(asked)] == [250, 260, 280]

    play(story)


def test_a_result_that_cannot_be_stored_is_lost() -> None:
    async def story(cluster: IndexCluster) -> None:
        await make(cluster)
        asked = fail_first(cluster, "indices:data/write/index", 1, TaskfanError("no"))
        task = await start(cluster, "/_reindex", BODY)
        await cluster.until(lambda: asked and not tasks_of(cluster, REINDEX))
        answer = await ask(cluster, "GET", f"/_tasks/{task}")
        assert answer.status == 404
        assert answer.json["error"]["reason"] == f"task [{task}] isn't running and hasn't stored its results"

    play(story)


def test_a_search_that_is_rejected_is_tried_again_and_counted() -> None:
    async def story(cluster: IndexCluster) -> None:
        await make(cluster)
        asked = fail_first(cluster, "indices:data/read/search", 2, Rejected("the queue is full"))
        answer = await ask(cluster, "POST", "/_reindex", BODY)
        assert answer.json["retries"] == {"bulk": 0, "search": 2}
        assert (answer.json["created"], len(asked)) == (10, 3)

    play(story)


def test_a_bug_in_a_slice_ends_the_leader_with_it() -> None:
    async def story(cluster: IndexCluster) -> None:
        await make(cluster)
        fail_first(cluster, "indices:data/write/bulk", 1, ZeroDivisionError("oh"))
        answer = await ask(cluster, "POST", "/_reindex?slices=2", BODY)
        assert (answer.status, answer.json["error"]["reason"]) == (500, "ZeroDivisionError: oh")

    play(story)


def test_the_404_of_a_missing_result_says_whether_there_is_an_index_of_results() -> None:
    async def story(cluster: IndexCluster) -> None:
        missing = "task [b:77] isn't running and hasn't stored its results"
        answer = await ask(cluster, "GET", "/_tasks/b:77")
        assert answer.json["error"]["root_cause"][0]["type"] == "index_not_found_exception"
        assert (answer.json["error"]["reason"], answer.json["error"]["caused_by"]["index"]) == (missing, ".tasks")
        await make(cluster)
        await ended(cluster, await start(cluster, "/_reindex", BODY))
        answer = await ask(cluster, "GET", "/_tasks/b:77", on="c")
        assert answer.json["error"]["root_cause"] == [{"type": "resource_not_found_exception", "reason": missing}]
        assert "caused_by" not in answer.json["error"]

    play(story)


def test_documents_stored_by_hand_are_answered_as_they_are() -> None:
    async def story(cluster: IndexCluster) -> None:
        await make(cluster)
        await ended(cluster, await start(cluster, "/_reindex", BODY))
        stored = {
            "completed": False,
            "task": {
                "node": "gone",
                "id": 5,
                "type": "transport",
                "action": "x",
                "start_time_in_millis": 0,
                "running_time_in_nanos": 1_500_000,
                "cancellable": True,
                "headers": {"X-Opaque-Id": "me"},
            },
            "response": {"any": "thing"},
        }
        assert (await ask(cluster, "PUT", "/.tasks/_doc/gone:5", stored)).status == 201
        answer = await ask(cluster, "GET", "/_tasks/gone:5?human", on="c")
        assert answer.json["completed"] is False
        assert list(answer.json["task"]) == [
            *("node", "id", "type", "action", "start_time", "start_time_in_millis", "running_time"),
            *("running_time_in_nanos", "cancellable", "cancelled", "headers"),
        ]
        assert (answer.json["task"]["cancelled"], answer.json["task"]["running_time"]) == (False, "1.5ms")
        assert answer.json["response"] == {"any": "thing"}

    play(story)
