"""A task as the bytes a client reads: OpenSearch's keys, in its order."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskfan.node.ids import UNSET, TaskId
from taskfan.node.task import NO_RESOURCE_STATS, CancelledInfo, Task, TaskTraits
from taskfan.node.task_json import human_duration, iso_time, render, render_tasks
from taskfan.v1 import actions_pb2 as pb

STARTED_MS, CANCELLED_MS = 1_700_000_000_001, 1_795_520_000_000
RUNNING_NS = 489_599_999


def search_task(**changes: object) -> Task:
    values: dict[str, object] = {
        "id": TaskId("N1", 7),
        "type": "transport",
        "action": "indices:data/read/search",
        "start_time_ms": STARTED_MS,
        "start_ns": 5,
        "traits": TaskTraits("indices[a]", cancellable=True),
    }
    return Task(**(values | changes))  # type: ignore[arg-type]


def shown(task: Task, *, detailed: bool = False, human: bool = False) -> str:
    return render(task, 5 + RUNNING_NS, pb.TaskRendering(detailed=detailed, human=human)).decode()


def test_a_plain_task_shows_what_is_always_there() -> None:
    assert shown(search_task(traits=TaskTraits())) == (
        '{"node":"N1","id":7,"type":"transport","action":"indices:data/read/search",'
        '"start_time_in_millis":1700000000001,"running_time_in_nanos":489599999,'
        '"cancellable":false,"cancelled":false,"headers":{}}'
    )


def test_a_task_with_everything_shows_it_in_opensearch_s_order() -> None:
    task = search_task(
        parent=TaskId("N2", 3),
        headers={"X-Opaque-Id": "mine", "X-Request-Id": "r"},
        status=lambda: b'{"phase":"routing"}',
        resource_stats=lambda: b'{"total":{}}',
        cancelled=CancelledInfo("by user request", CANCELLED_MS),
    )
    assert shown(task, detailed=True, human=True) == (
        '{"node":"N1","id":7,"type":"transport","action":"indices:data/read/search","status":{"phase":"routing"},'
        '"description":"indices[a]","start_time":"2023-11-14T22:13:20.001Z","start_time_in_millis":1700000000001,'
        '"running_time":"489.5ms","running_time_in_nanos":489599999,"cancellable":true,"cancelled":true,'
        '"parent_task_id":"N2:3","headers":{"X-Opaque-Id":"mine","X-Request-Id":"r"},"resource_stats":{"total":{}},'
        '"cancellation_time":"20781.4d","cancellation_time_millis":1795520000000}'
    )


BOTH = (False, True)


@pytest.mark.parametrize(("cancellable", "cancelled"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize(("detailed", "human"), list(itertools.product(BOTH, BOTH)))
@pytest.mark.parametrize(("parent", "headers", "status"), list(itertools.product(BOTH, BOTH, BOTH)))
def test_each_key_is_there_exactly_when_it_should_be(
    parent: bool, headers: bool, status: bool, detailed: bool, human: bool, cancellable: bool, cancelled: bool
) -> None:
    task = search_task(
        traits=TaskTraits("", cancellable=cancellable),
        parent=TaskId("N2", 3) if parent else UNSET,
        headers={"X-Opaque-Id": ""} if headers else {},
        status=(lambda: b'{"n":1}') if status else None,
        cancelled=CancelledInfo("why", CANCELLED_MS) if cancelled else None,
    )
    expected: dict[str, object] = {"node": "N1", "id": 7, "type": "transport", "action": "indices:data/read/search"}
    expected |= {"status": {"n": 1}} if detailed and status else {}
    expected |= {"description": ""} if detailed else {}
    expected |= {"start_time": "2023-11-14T22:13:20.001Z"} if human else {}
    expected |= {"start_time_in_millis": STARTED_MS}
    expected |= {"running_time": "489.5ms"} if human else {}
    expected |= {"running_time_in_nanos": RUNNING_NS, "cancellable": cancellable, "cancelled": cancelled}
    expected |= {"parent_task_id": "N2:3"} if parent else {}
    expected |= {"headers": {"X-Opaque-Id": ""} if headers else {}}
    expected |= {"resource_stats": json.loads(NO_RESOURCE_STATS)} if detailed else {}
    expected |= {"cancellation_time": "20781.4d"} if human and cancelled else {}
    expected |= {"cancellation_time_millis": CANCELLED_MS} if cancelled else {}
    # Twice, for the parts that do not change are kept from the first time.
    for _ in range(2):
        assert shown(task, detailed=detailed, human=human) == json.dumps(expected, separators=(",", ":"))


def test_a_task_is_shown_as_it_is_now_each_time() -> None:
    task = search_task()
    first = json.loads(render(task, 10, pb.TaskRendering()))
    task.cancelled = CancelledInfo("why", CANCELLED_MS)
    second = json.loads(render(task, 30, pb.TaskRendering()))
    assert (first["running_time_in_nanos"], first["cancelled"]) == (5, False)
    assert (second["running_time_in_nanos"], second["cancelled"]) == (25, True)
    assert second["cancellation_time_millis"] == CANCELLED_MS


@settings(derandomize=True, database=None)
@given(st.text(), st.text(), st.dictionaries(st.text(), st.text(st.characters(max_codepoint=255))), st.text())
def test_any_text_comes_back_as_it_was(action: str, description: str, headers: dict[str, str], node_id: str) -> None:
    traits = TaskTraits(description, cancellable=True)
    task = search_task(action=action, traits=traits, headers=headers, parent=TaskId(node_id, 4))
    body = json.loads(shown(task, detailed=True, human=True))
    assert (body["action"], body["description"], body["headers"]) == (action, description, headers)
    assert body["parent_task_id"] == f"{node_id}:4"


def test_a_header_of_any_bytes_is_shown_as_latin_1_and_is_valid_utf_8() -> None:
    value = bytes(range(1, 256)).decode("latin-1")
    body = render(search_task(headers={"X-Opaque-Id": value}), 10, pb.TaskRendering())
    assert json.loads(body.decode("utf-8"))["headers"] == {"X-Opaque-Id": value}


def test_half_a_surrogate_pair_costs_itself_and_not_the_list() -> None:
    task = search_task(headers={"X-Opaque-Id": "a\ud800b"}, traits=TaskTraits("\udfff", cancellable=True))
    body = json.loads(render(task, 10, pb.TaskRendering(detailed=True)).decode("utf-8"))
    assert (body["headers"], body["description"]) == ({"X-Opaque-Id": "a?b"}, "?")


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1nanos"),
        (999, "999nanos"),
        (1_000, "1micros"),
        (1_049, "1micros"),
        (1_500, "1.5micros"),
        (999_999, "999.9micros"),
        (1_000_000, "1ms"),
        (489_599_999, "489.5ms"),
        (1_500_000_000, "1.5s"),
        (59_999_999_999, "59.9s"),
        (60_000_000_000, "1m"),
        (90_000_000_000, "1.5m"),
        (3_600_000_000_000, "1h"),
        (86_399_000_000_000, "23.9h"),
        (86_400_000_000_000, "1d"),
        (172_800_000_000_000, "2d"),
        (20_781_481_481_481_481_481, "240526.4d"),
        (2**63 - 1, "106751.9d"),
        # OpenSearch divides floats: what is nearer to the next unit than a float can tell is shown as that.
        (86_399_999_999_999_999, "1000d"),
        (-5, "-5"),
    ],
)
def test_a_duration_is_cut_to_one_decimal_of_its_largest_unit(nanoseconds: int, text: str) -> None:
    assert human_duration(nanoseconds) == text


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (1_700_000_000_999, "2023-11-14T22:13:20.999Z"),
        (1_582_934_400_000, "2020-02-29T00:00:00.000Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
    ],
)
def test_a_moment_is_shown_in_utc_with_milliseconds(time_ms: int, text: str) -> None:
    assert iso_time(time_ms) == text


def test_tasks_of_a_node_travel_as_three_lists_side_by_side() -> None:
    tasks = [search_task(), search_task(id=TaskId("N1", 8), parent=TaskId("N2", 3))]
    rendered = render_tasks(iter(tasks), 10, pb.TaskRendering())
    assert list(rendered.numbers) == [7, 8]
    assert list(rendered.parents) == ["", "N2:3"]
    assert [json.loads(body)["id"] for body in rendered.bodies] == [7, 8]


def test_a_task_on_the_wire_holds_what_its_json_holds() -> None:
    task = search_task(
        parent=TaskId("N2", 3),
        headers={"X-Opaque-Id": "mine"},
        status=lambda: b"{}",
        cancelled=CancelledInfo("why", CANCELLED_MS),
    )
    info = task.to_wire(5 + RUNNING_NS)
    assert (info.task_id, info.parent_task_id) == (task.id.to_wire(), task.parent.to_wire())
    assert (info.action, info.description, dict(info.headers)) == (task.action, "indices[a]", {"X-Opaque-Id": "mine"})
    assert (info.running_time_nanos, info.start_time_millis) == (RUNNING_NS, STARTED_MS)
    assert (info.cancelled, info.cancellation_time_millis, info.status) == (True, CANCELLED_MS, b"{}")
    bare = search_task().to_wire(5)
    assert not bare.HasField("parent_task_id")
    assert not bare.HasField("cancellation_time_millis")
