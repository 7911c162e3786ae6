"""A task as the bytes a client reads: OpenSearch's keys, in its order."""

from __future__ import annotations

import itertools
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskfan.node.ids import UNSET, TaskId
from taskfan.node.task import NO_RESOURCE_STATS, CancelledInfo, Task, TaskTraits
from taskfan.node.task_json import (
    RowKind,
    TaskRow,
    TaskRows,
    human_duration,
    human_durations,
    iso_time,
    join,
    render,
    render_tasks,
)
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
    task.cancel("why", CANCELLED_MS)
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


@settings(derandomize=True, database=None)
@given(
    st.sampled_from([1, 10**3, 10**6, 10**9, 60 * 10**9, 3600 * 10**9, 86_400 * 10**9]),
    st.integers(1, 2000),
    st.integers(-2, 2),
)
def test_a_duration_is_the_cut_text_of_a_float(unit: int, tenths: int, more: int) -> None:
    nanoseconds = max(unit * tenths // 10 + more, 1)
    sizes = {"d": 86_400e9, "h": 3_600e9, "m": 60e9, "s": 1e9, "ms": 1e6, "micros": 1e3, "nanos": 1.0}
    name, size = next((name, size) for name, size in sizes.items() if nanoseconds >= size)
    whole, _, decimals = str(nanoseconds / size).partition(".")
    assert human_duration(nanoseconds) == f"{whole}.{decimals[0]}{name}".replace(".0", "")


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


# ---------------------------------------------------------------------- many tasks

OBJECTS = (pb.TaskRendering.FORM_KEYED, pb.TaskRendering.FORM_LISTED, pb.TaskRendering.FORM_LINES)


def rendered(
    tasks: list[Task], form: pb.TaskRendering.Form.ValueType, *, detailed: bool = False, human: bool = False
) -> str:
    message = render_tasks(tasks, 100, pb.TaskRendering(form=form, detailed=detailed, human=human))
    assert list(message.numbers) == [task.id.number for task in tasks]
    return message.bodies.decode()


def test_each_form_joins_tasks_as_its_reader_needs_them() -> None:
    tasks = [
        search_task(traits=TaskTraits()),
        search_task(traits=TaskTraits(), id=TaskId("N1", 8), parent=TaskId("N2", 3)),
    ]
    one, other = (render(task, 100, pb.TaskRendering()).decode() for task in tasks)
    assert rendered(tasks, pb.TaskRendering.FORM_LISTED) == f"{one},{other}"
    assert rendered(tasks, pb.TaskRendering.FORM_KEYED) == f'"N1:7":{one},"N1:8":{other}'
    assert rendered(tasks, pb.TaskRendering.FORM_LINES) == f'"N1:7":\n\n{one}\n"N1:8":\n"N2:3":\n{other}'


@given(
    st.lists(st.integers(-10, 1 << 62)),
    st.integers(0, 60),
)
def test_many_durations_are_written_as_each_is(nanoseconds: list[int], shift: int) -> None:
    # Shifted, many of them have a unit in common.
    alike = [(1 << shift) + (duration >> (63 - shift)) for duration in nanoseconds]
    for durations in (nanoseconds, alike, alike + nanoseconds[:1]):
        assert human_durations(durations) == list(map(human_duration, durations))


def test_rows_hold_what_a_table_shows_and_what_tasks_share_once() -> None:
    child = {"parent": TaskId("N2", 3), "headers": {"X-Opaque-Id": "mine", "X-Request-Id": "r"}}
    tasks = [search_task(), *(search_task(id=TaskId("N1", number), **child) for number in (8, 9))]
    kinds = [
        RowKind("transport", "indices:data/read/search", "-", "-"),
        RowKind("transport", "indices:data/read/search", "N2:3", "mine"),
    ]
    rows = [TaskRow(7, STARTED_MS, 95, 0), TaskRow(8, STARTED_MS, 95, 1), TaskRow(9, STARTED_MS, 95, 1)]
    assert read_rows(rendered(tasks, pb.TaskRendering.FORM_ROWS)) == TaskRows(kinds, rows)
    detailed = read_rows(rendered(tasks[:1], pb.TaskRendering.FORM_ROWS, detailed=True))
    stats = msgspec.Raw(NO_RESOURCE_STATS)
    assert detailed == TaskRows(kinds[:1], [TaskRow(7, STARTED_MS, 95, 0, "indices[a]", stats)])


def read_rows(text: str) -> TaskRows:
    return msgspec.json.decode(text, type=TaskRows)


@pytest.mark.parametrize(
    ("form", "empty"), [*((form, "") for form in OBJECTS), (pb.TaskRendering.FORM_ROWS, "[[],[]]")]
)
def test_no_tasks_are_nothing(form: pb.TaskRendering.Form.ValueType, empty: str) -> None:
    assert rendered([], form) == empty


SOME = st.sampled_from(["", "a", "%", "100%d", "%%b", "\n", '"', "ü", "\ud800"])
IDS = st.builds(TaskId, st.sampled_from(["N1", "%N", '"']), st.integers(1, 3))
KINDS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["transport", "direct"]),
        "action": SOME,
        "traits": st.builds(TaskTraits, SOME, st.booleans()),
        "parent": st.just(UNSET) | IDS,
        "headers": st.dictionaries(SOME | st.just("X-Opaque-Id"), SOME, max_size=2),
        "cancelled": st.none() | st.builds(CancelledInfo, st.just("why"), st.integers(0, 2)),
        "status": st.none() | st.sampled_from([lambda: b"{}", lambda: b'{"percent":"50%d"}']),
        "start_time_ms": st.integers(0, 2),
        "start_ns": st.integers(0, 99),
    }
)


@settings(derandomize=True, database=None)
@given(st.lists(KINDS, max_size=6), st.booleans(), st.booleans())
def test_tasks_are_shown_together_as_each_is_shown_alone(
    changes: list[dict[str, object]], detailed: bool, human: bool
) -> None:
    # Few values each, so that some are alike and share what they have in common, and others nearly.
    tasks = [search_task(id=TaskId("N%1", number), **change) for number, change in enumerate(changes, 1)]
    rendering = pb.TaskRendering(detailed=detailed, human=human)
    # The others are new ones, which share nothing yet.
    alone = [search_task(id=TaskId("N%1", number), **change) for number, change in enumerate(changes, 1)]
    bodies = [render(task, 100, rendering).decode() for task in alone]
    shown = {form: rendered(tasks, form, detailed=detailed, human=human) for form in pb.TaskRendering.Form.values()}
    assert shown[pb.TaskRendering.FORM_LISTED] == ",".join(bodies)
    keyed = [f'"N%1:{number}":{body}' for number, body in enumerate(bodies, 1)]
    assert shown[pb.TaskRendering.FORM_KEYED] == ",".join(keyed)
    lines = shown[pb.TaskRendering.FORM_LINES].split("\n")
    assert lines[2::3] == bodies
    parents = [json.loads(f"[{line.removesuffix(':')}]") for line in lines[1::3]]
    assert parents == [[str(task.parent)] if task.parent.is_set else [] for task in tasks]
    table = read_rows(shown[pb.TaskRendering.FORM_ROWS])
    assert [(row.number, row.start_time_ms) for row in table.rows] == [
        (task.id.number, task.start_time_ms) for task in tasks
    ]
    assert [[table.kinds[row.kind].parent] for row in table.rows] == [parent or ["-"] for parent in parents]
    assert join(tasks, [body.encode() for body in bodies], rendering).bodies.decode() == ",".join(keyed)


def test_alike_tasks_share_what_they_have_in_common() -> None:
    tasks = [search_task(id=TaskId("N1", number), traits=TaskTraits(f"{number}")) for number in range(3)]
    rendered(tasks, pb.TaskRendering.FORM_KEYED)
    assert tasks[0].kind is tasks[1].kind is tasks[2].kind is not None


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
