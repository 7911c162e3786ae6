"""Results of tasks that are kept, what is answered of those that are not, and work that is tried again."""

from __future__ import annotations

import itertools

from taskfan.node.errors import Rejected, TaskfanError
from tests.coordinator.by_scroll_work import (
    BODY,
    REINDEX,
    ended,
    fail_first,
    make,
    start,
)
from tests.coordinator.index_cluster import IndexCluster, play
from tests.coordinator.rest_cluster import ask, fill, tasks_of


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
