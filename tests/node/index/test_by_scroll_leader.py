"""A sliced reindex shows and answers what a recorded one does."""

from __future__ import annotations

import math
from typing import Any

import pytest

from taskfan.node.errors import IllegalArgument, IndexNotFound
from taskfan.node.index.by_scroll_leader import ByScrollTask, Leader
from taskfan.node.index.by_scroll_status import ByScrollResponse, ByScrollStatus, float32, merged_status, shown_float
from taskfan.node.index.by_scroll_worker import (
    retry_delay_ms,
)
from tests.node.index.by_scroll_shell import MS


def status(slice_id: int, **more: Any) -> ByScrollStatus:
    return ByScrollStatus(slice_id, requests_per_second=float32(0.01), **more)


def test_a_leader_shows_null_for_each_slice_that_runs_and_sums_over_those_that_are_done() -> None:
    leader = Leader(2)
    assert leader.status().to_object() == {
        "total": 0,
        "updated": 0,
        "created": 0,
        "deleted": 0,
        "batches": 0,
        "version_conflicts": 0,
        "noops": 0,
        "retries": {"bulk": 0, "search": 0},
        "throttled_millis": 0,
        "requests_per_second": 0.0,
        "throttled_until_millis": 0,
        "slices": [None, None],
    }
    done = ByScrollResponse(5 * MS, ByScrollStatus(1, total=3, created=3, batches=3, requests_per_second=math.inf))
    assert leader.on_slice(1, done) is None
    assert leader.running == 1

    shown = leader.status().to_object()
    assert (shown["total"], shown["created"], shown["requests_per_second"]) == (3, 3, -1.0)
    assert [part and part["slice_id"] for part in shown["slices"]] == [None, 1]


def test_the_answer_to_a_rethrottle_has_what_the_slices_say_of_themselves() -> None:
    leader = Leader(2)
    live = [status(n, total=5, throttled_until_ns=2146 * MS + n) for n in (0, 1)]

    shown = leader.status(live).to_object()
    assert (shown["total"], shown["requests_per_second"], shown["throttled_until_millis"]) == (10, 0.02, 2146)
    assert leader.rate_for_each(0.04) == float32(0.02)


def test_the_slices_end_in_one_answer_or_in_the_first_failure() -> None:
    responses = [
        ByScrollResponse((9 - n) * MS, status(n, total=n + 1, created=n + 1, throttled_ns=MS)) for n in range(3)
    ]
    leader = Leader(3)
    leader.on_slice(2, responses[2])
    leader.on_slice(0, responses[0])
    merged = leader.on_slice(1, responses[1])

    assert isinstance(merged, ByScrollResponse)
    shown = merged.to_object()
    assert (shown["took"], shown["total"], shown["throttled_millis"]) == (9, 6, 3)
    assert [part["slice_id"] for part in shown["slices"]] == [0, 1, 2]

    failing = Leader(2)
    failing.on_slice(1, IndexNotFound("b"))
    assert failing.status().to_object()["slices"][1]["type"] == "index_not_found_exception"
    assert isinstance(failing.on_slice(0, IllegalArgument("a")), IllegalArgument)


def test_a_task_knows_only_later_what_it_is() -> None:
    task = ByScrollTask(12)

    assert task.status(0).to_object()["requests_per_second"] == 0.0
    with pytest.raises(IllegalArgument) as caught:
        task.check_rethrottle()
    assert caught.value.reason == (
        "task [12] has not yet been initialized to the point where it knows how to rethrottle itself"
    )
    leader = task.lead(2)
    task.check_rethrottle()
    task.cancel("by user request", 0)
    assert leader.status().to_object()["canceled"] == "by user request"


def test_slices_that_were_cancelled_do_not_mark_their_leader() -> None:
    cancelled = merged_status([status(0, reason_cancelled="by user request")], None).to_object()

    assert "canceled" not in cancelled
    assert cancelled["slices"][0]["canceled"] == "by user request"


def test_rejected_work_is_tried_again_ever_more_slowly_and_not_for_ever() -> None:
    delays = [retry_delay_ms(attempt) for attempt in range(12)]

    assert delays[:4] == [500, 510, 530, 600]
    assert delays[11] is None


def test_a_java_float_is_shown_as_short_as_it_can_be() -> None:
    assert [shown_float(float32(number)) for number in (0.01, 0.1, 1 / 3, 1000, 0.005)] == [
        *(0.01, 0.1, 0.33333334, 1000.0, 0.005),
    ]
