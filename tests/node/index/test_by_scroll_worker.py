"""The course of a reindex, its throttle and its answers are those of a recorded one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from taskfan.node.errors import IndexNotFound, TaskfanError
from taskfan.node.index.bulk import ItemDone
from taskfan.node.index.by_scroll_body import read_by_query
from taskfan.node.index.by_scroll_leader import ByScrollTask
from taskfan.node.index.by_scroll_request import Kind
from taskfan.node.index.by_scroll_status import float32
from taskfan.node.index.by_scroll_worker import (
    Finish,
    NextPage,
    Page,
    SendBulk,
    Sleep,
    StartSearch,
    Worker,
)
from taskfan.node.index.documents import Document, OpType
from taskfan.node.index.errors import NoShardAvailable, ShardId, ShardSearchFailure
from taskfan.node.index.scripts import Script
from taskfan.node.index.search_phases import FetchedHit
from tests.node.index.builders import NOW_MS, UUID, hit
from tests.node.index.by_scroll_shell import HITS, MS, S, Shell, finished, request, sleeping


def test_a_reindex_of_ten_documents_answers_as_recorded() -> None:
    shell = Shell(Worker.of(request(source={"size": 1000})), HITS)
    response = finished(shell.run())

    assert response.to_object() == {
        "took": 0,
        "timed_out": False,
        "total": 10,
        "updated": 0,
        "created": 10,
        "deleted": 0,
        "batches": 1,
        "version_conflicts": 0,
        "noops": 0,
        "retries": {"bulk": 0, "search": 0},
        "throttled_millis": 0,
        "requests_per_second": -1.0,
        "throttled_until_millis": 0,
        "failures": [],
    }
    assert list(response.to_object(human=True)) == [
        *("took", "timed_out", "total", "updated", "created", "deleted", "batches", "version_conflicts", "noops"),
        *("retries", "throttled", "throttled_millis", "requests_per_second", "throttled_until"),
        *("throttled_until_millis", "failures"),
    ]
    assert response.http_status == 200
    again = finished(Shell(Worker.of(request(source={"size": 3})), HITS, shell.copy).run())
    assert (again.status.updated, again.status.created, again.status.batches) == (10, 0, 4)


@pytest.mark.parametrize(("max_docs", "size", "batches"), [(3, 1000, 1), (4, 3, 2), (10, 3, 4), (20, 3, 4)])
def test_no_more_documents_are_written_than_were_asked_for(max_docs: int, size: int, batches: int) -> None:
    response = finished(Shell(Worker.of(request(source={"size": size}, max_docs=max_docs)), HITS).run())

    assert (response.status.total, response.status.created) == (min(max_docs, 10), min(max_docs, 10))
    assert response.status.batches == batches


def test_indices_that_were_written_are_refreshed_if_that_was_asked_for() -> None:
    shell = Shell(Worker.of(replace(request(), refresh=True)), HITS)
    shell.run()

    assert shell.refreshed == ("golden-dest",)
    nothing = Shell(Worker.of(replace(request(), refresh=True)), [])
    assert finished(nothing.run()).status.batches == 0
    assert nothing.refreshed == ()


def test_conflicts_end_the_work_and_are_listed() -> None:
    shell = Shell(Worker.of(request()), HITS[4:5])
    shell.run()
    response = finished(Shell(Worker.of(request(dest={"op_type": "create"})), HITS, shell.copy).run())

    assert response.http_status == 409
    assert (response.status.created, response.status.version_conflicts, response.status.batches) == (9, 1, 1)
    assert response.to_object()["failures"] == [
        {
            "index": "golden-dest",
            "id": "4",
            "cause": {
                "type": "version_conflict_engine_exception",
                "reason": "[4]: version conflict, document already exists (current version [1])",
                "index": "golden-dest",
                "shard": "0",
                "index_uuid": UUID,
            },
            "status": 409,
        }
    ]


def test_conflicts_are_only_counted_when_the_work_is_to_proceed() -> None:
    shell = Shell(Worker.of(request()), HITS)
    shell.run()
    proceeding = request(dest={"op_type": "create"}, conflicts="proceed")
    response = finished(Shell(Worker.of(proceeding), HITS, shell.copy).run())

    assert (response.http_status, response.status.version_conflicts, response.bulk_failures) == (200, 10, ())


def test_batches_wait_as_long_as_their_rate_says() -> None:
    throttled = replace(request(source={"size": 5}), requests_per_second=500.0)
    shell = Shell(Worker.of(throttled), [hit(str(number)) for number in range(13)])
    response = finished(shell.run())

    # Nothing before the first batch; the last wait is for the page that turns out empty.
    assert shell.slept_ns == [0, 10 * MS, 10 * MS, 6 * MS]
    assert response.status.throttled_ns == 26 * MS
    assert response.to_object()["requests_per_second"] == 500.0


def test_a_sleeping_worker_shows_the_status_that_was_recorded() -> None:
    worker, now_ns = sleeping()

    assert worker.status(now_ns + 16 * MS).to_object(human=True) == {
        "total": 10,
        "updated": 0,
        "created": 1,
        "deleted": 0,
        "batches": 1,
        "version_conflicts": 0,
        "noops": 0,
        "retries": {"bulk": 0, "search": 0},
        "throttled": "0s",
        "throttled_millis": 0,
        "requests_per_second": 0.01,
        "throttled_until": "1.6m",
        "throttled_until_millis": 99983,
    }


def test_no_batch_waits_for_more_than_an_hour() -> None:
    worker, now_ns = sleeping(rate=0.0001)

    assert worker.wake_at_ns - now_ns == 3600 * S


def test_rates_that_change_move_the_end_of_the_sleep_as_recorded() -> None:
    # The recorded answers and how much later each came: 2146, 2142, 1425, 1138, 567 ms left.
    worker, start_ns = sleeping()
    left = []
    now_ns = start_ns + 14 * MS
    for rate, later_ms in ((0.02, 0), (0.005, 4), (0.015, 4), (0.0125, 2), (0.02, 3)):
        now_ns += later_ms * MS
        worker.rethrottle(float32(rate), now_ns)
        left.append(worker.status(now_ns).to_object()["throttled_until_millis"])

    assert left == [2147, 2143, 1426, 1139, 568]
    assert worker.status(now_ns).to_object()["requests_per_second"] == 0.02


def test_a_rethrottled_sleep_counts_only_from_the_change_on() -> None:
    worker, now_ns = sleeping()
    worker.rethrottle(math.inf, now_ns + 50 * S)

    assert worker.wake_at_ns == now_ns + 50 * S
    assert isinstance(worker.woke(worker.wake_at_ns), SendBulk)
    assert worker.throttled_ns == 0


def test_a_rate_for_a_worker_that_does_not_sleep_counts_from_its_next_batch_on() -> None:
    worker = Worker.of(request())
    worker.start(0)
    worker.rethrottle(2.0, 0)
    worker.on_page(Page(1, HITS[:1]), 1)
    worker.woke(1)

    assert worker.on_bulk([], 2) == NextPage(0)
    assert worker.status(2).requests_per_second == 2.0


def test_a_cancelled_sleeper_wakes_at_once_and_ends_with_what_it_wrote() -> None:
    worker, now_ns = sleeping()
    worker.cancel("by user request", now_ns + 20 * MS)

    assert worker.wake_at_ns == now_ns + 20 * MS
    effect = worker.woke(now_ns + 20 * MS)
    assert isinstance(effect, Finish)
    shown = finished(effect.outcome).to_object()
    assert {key: shown[key] for key in ("took", "created", "batches", "requests_per_second", "canceled")} == {
        "took": 20,
        "created": 1,
        "batches": 1,
        "requests_per_second": -1.0,
        "canceled": "by user request",
    }
    assert list(shown).index("canceled") == list(shown).index("requests_per_second") + 1
    assert (shown["throttled_millis"], shown["failures"]) == (0, [])


@pytest.mark.parametrize("at", [StartSearch, Sleep, SendBulk, NextPage])
def test_whatever_a_worker_does_when_it_is_cancelled_it_ends_after_it(at: type) -> None:
    worker = Worker.of(replace(request(source={"size": 3}), refresh=True))
    shell = Shell(worker, HITS)
    shell.before = lambda effect: worker.cancel("by user request", shell.now_ns) if isinstance(effect, at) else None
    response = finished(shell.run())

    assert response.status.reason_cancelled == "by user request"
    assert response.status.batches <= 1
    assert shell.refreshed == ()
    assert response.status.created == (3 if at in (SendBulk, NextPage) else 0)


def test_a_worker_that_was_cancelled_before_it_began_does_nothing() -> None:
    task = ByScrollTask(7)
    task.cancel("by user request", 5)
    worker = task.work(request(), 5)

    effect = worker.start(5)
    assert isinstance(effect, Finish)
    assert finished(effect.outcome).status.reason_cancelled == "by user request"


def test_a_failure_of_the_search_is_the_answer() -> None:
    error = IndexNotFound("golden-none")
    worker = Worker.of(request())
    worker.start(0)

    assert worker.on_failure(error) == Finish(error)


def test_update_and_delete_by_query_write_only_what_they_have_seen() -> None:
    update = read_by_query(Kind.UPDATE_BY_QUERY, ("golden-dest",), b"")
    delete = read_by_query(Kind.DELETE_BY_QUERY, ("golden-dest",), b'{"query":{"match_all":{}}}')
    shell = Shell(Worker.of(request()), HITS)
    shell.run()
    shell.copy.refresh(NOW_MS)

    def seen() -> list[FetchedHit]:
        return [in_destination(document) for document in shell.copy.visible]

    updated = finished(Shell(Worker.of(update), seen(), shell.copy).run())
    stale = finished(Shell(Worker.of(delete), seen(), shell.copy).run())
    shell.copy.refresh(NOW_MS)
    deleted = finished(Shell(Worker.of(delete), seen(), shell.copy).run())

    assert (updated.status.updated, updated.http_status) == (10, 200)
    assert (stale.status.version_conflicts, stale.http_status) == (10, 409)
    assert stale.to_object()["failures"][3]["cause"]["reason"] == (
        "[3]: version conflict, required seqNo [3], primary term [1]. "
        "current document has seqNo [13] and primary term [1]"
    )
    assert (deleted.status.deleted, deleted.http_status) == (10, 200)
    assert "created" not in deleted.to_object(created=False, updated=False)


def in_destination(document: Document) -> FetchedHit:
    return FetchedHit(
        *("golden-dest", document.id, None, (), document.version, document.seq_no, document.primary_term),
        source=document.source,
    )


def test_a_script_may_change_leave_or_delete_documents() -> None:
    source = "if (ctx._source.n > 6) { ctx.op = 'noop' } else { ctx._source.n += 100 }"
    scripted = replace(request(), script=Script(source))
    shell = Shell(Worker.of(scripted), HITS)
    response = finished(shell.run())

    assert (response.status.created, response.status.noops) == (7, 3)
    changed = shell.copy.get("3")
    assert changed is not None
    assert changed.source == b'{"n":103}'
    deleting = replace(read_by_query(Kind.UPDATE_BY_QUERY, ("golden-dest",), b""), script=Script("ctx.op='delete'"))
    assert finished(Shell(Worker.of(deleting), HITS, shell.copy).run()).status.deleted == 10


def test_a_script_that_is_not_understood_ends_the_work() -> None:
    outcome = Shell(Worker.of(replace(request(), script=Script("def x"))), HITS).run()

    assert isinstance(outcome, TaskfanError)
    assert (outcome.kind, outcome.http_status) == ("script_exception", 400)


@pytest.mark.parametrize(
    ("rule", "found", "expected"),
    [(None, "r", "r"), ("keep", "r", "r"), ("discard", "r", None), ("=cat", "r", "cat"), ("=cat", None, "cat")],
)
def test_the_routing_of_documents_is_kept_dropped_or_replaced(
    rule: str | None, found: str | None, expected: str | None
) -> None:
    dest = {} if rule is None else {"routing": rule}
    shell = Shell(Worker.of(request(dest=dest)), [hit("1", {"n": 1}, routing=found)])
    shell.run()

    document = shell.copy.get("1")
    assert document is not None
    assert document.routing == expected


def test_a_manual_slice_says_its_number_in_the_answer() -> None:
    sliced = request(source={"slice": {"id": 1, "max": 2}})

    assert finished(Shell(Worker.of(sliced), HITS).run()).to_object()["slice_id"] == 1


def test_failing_shards_of_the_search_give_their_status() -> None:
    shard = ShardId("golden-src", UUID, 0)
    failure = ShardSearchFailure(shard, "n1", NoShardAvailable(shard, "gone"))
    worker = Worker.of(request())
    worker.start(0)
    effect = worker.on_page(Page(0, [], (failure,)), 1)

    assert isinstance(effect, Finish)
    response = finished(effect.outcome)
    assert response.http_status == 503
    assert list(response.to_object()["failures"][0]) == ["index", "shard", "node", "status", "reason"]


EVENTS = st.lists(st.tuples(st.sampled_from(["cancel", "rethrottle", "nothing"]), st.floats(0.001, 1000)), max_size=30)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 25), st.integers(1, 7), st.floats(0.01, 1e6) | st.just(math.inf), EVENTS, st.integers(1, 30))
def test_whatever_comes_in_between_every_document_is_written_once_or_the_work_was_cancelled(
    documents: int, size: int, rate: float, events: list[tuple[str, float]], max_docs: int
) -> None:
    hits = [hit(str(number), {"n": number}) for number in range(documents)]
    wanted = replace(request(source={"size": size}, max_docs=max_docs), requests_per_second=float32(rate))
    worker = Worker.of(wanted)
    shell, left = Shell(worker, hits), list(events)

    def between(effect: object) -> None:
        verb, new_rate = left.pop() if left else ("nothing", 0.0)
        if verb == "cancel":
            worker.cancel("by user request", shell.now_ns)
        elif verb == "rethrottle" and worker.reason_cancelled is None:
            worker.rethrottle(float32(new_rate), shell.now_ns)

    shell.before = between
    response = finished(shell.run())
    shell.copy.refresh(NOW_MS)
    written = [document.id for document in shell.copy.visible]

    assert written == [found.id for found in hits[: len(written)]]
    assert response.status.created == len(written)
    if response.status.reason_cancelled is None:
        assert len(written) == min(documents, max_docs)
    assert response.status.throttled_until_ns == 0
    assert all(slept <= 3600 * S for slept in shell.slept_ns)


def test_operations_are_counted_by_what_came_of_them() -> None:
    worker = Worker.of(request())
    worker.start(0)
    worker.on_page(Page(2, HITS[:2]), 0)
    worker.woke(0)
    worker.on_bulk(
        [
            (OpType.UPDATE, ItemDone({"_index": "a", "result": "updated"}, 200)),
            (OpType.INDEX, ItemDone({"_index": "a", "result": "updated"}, 200)),
            (OpType.INDEX, ItemDone({"_index": "a", "result": "created"}, 201)),
            (OpType.DELETE, ItemDone({"_index": "a", "result": "deleted"}, 200)),
        ],
        0,
    )

    found = worker.status(0)
    assert (found.created, found.updated, found.deleted) == (1, 2, 1)
