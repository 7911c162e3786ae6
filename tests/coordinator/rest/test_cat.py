"""Tables as OpenSearch prints them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from taskfan.coordinator.merge import TasksAnswer
from taskfan.coordinator.rest.cat import (
    CAT_PARAMETERS,
    Cell,
    Column,
    ColumnTable,
    Duration,
    Size,
    Table,
    cell_text,
    help_of,
    text_of,
    values_of,
)
from taskfan.coordinator.rest.cat_tables import manager_table, node_table, task_table
from taskfan.coordinator.rest.errors import UnknownSortKey
from taskfan.coordinator.rest.parameters import read_parameters
from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.task_json import RowKind, TaskRow, TaskRows
from taskfan.v1 import task_pb2

COLUMNS = (
    Column("name", ("n",), "its name"),
    Column("count", ("c", "x"), "how many", is_right_aligned=True),
    Column("timestamp", ("ts",), "when"),
    Column("time_ns", ("time",), "exactly", by_default=False),
    Column("time", ("time", "x"), "about"),
    Column("last", (), "the end"),
)
TABLE = Table(
    COLUMNS,
    [
        ["b", 5, "10:00:00", 1, Duration(1_500_000), None],
        ["aaaa", 10, "11:00:00", 2, Duration(20_000_000_000), "z"],
        ["c", 7, "12:00:00", 3, Duration(0), "yy"],
    ],
)


def given(**query: str) -> dict[str, Any]:
    return read_parameters("/_cat/x", query, CAT_PARAMETERS)


def lines(**query: str) -> list[str]:
    return text_of(TABLE, given(**query)).decode().split("\n")


def test_columns_are_padded_and_the_last_is_not() -> None:
    assert lines() == [
        "b     5 10:00:00 1.5ms ",
        "aaaa 10 11:00:00 20s   z",
        "c     7 12:00:00 0s    yy",
        "",
    ]


def test_the_header_counts_for_the_widths() -> None:
    assert lines(v="", h="count,name") == ["count name", "    5 b", "   10 aaaa", "    7 c", ""]


def test_a_column_that_is_last_and_right_aligned_is_padded() -> None:
    assert lines(h="name,count") == ["b     5", "aaaa 10", "c     7", ""]


@pytest.mark.parametrize(
    ("asked", "heading"),
    [
        ("name", "name"),
        ("n", "n"),
        ("name,name,n", "name n"),
        ("nosuch,name", "name"),
        ("nosuch", ""),
        ("", ""),
        ("t*", "timestamp time_ns time"),
        ("*st*", "timestamp last"),
        # A name wins over aliases, and of aliases the last one.
        ("time", "time"),
        ("x", "x"),
        # A pattern that fits an alias shows the column's own name.
        ("c*", "count"),
        ("ts*", "timestamp"),
    ],
)
def test_columns_are_asked_for_by_name_alias_or_pattern(asked: str, heading: str) -> None:
    assert lines(v="true", h=asked)[0].split() == heading.split()


def test_of_several_columns_with_an_alias_the_last_is_shown() -> None:
    assert values_of(TABLE, given(h="x"))[0] == {"x": "1.5ms"}


def test_no_column_left_is_an_empty_line_for_each_row() -> None:
    assert lines(v="", h="nosuch") == ["", "", "", "", ""]


def test_timestamps_can_be_hidden() -> None:
    assert "10:00:00" not in "".join(lines(ts="false"))
    assert "10:00:00" not in "".join(lines(ts="false", h="timestamp,name"))


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("name", "aaaa b c"),
        ("name:desc", "c b aaaa"),
        ("name:asc", "aaaa b c"),
        # Numbers by value, and times by length.
        ("count", "b c aaaa"),
        ("c:desc", "aaaa c b"),
        ("time", "c b aaaa"),
        # Empty cells come first.
        ("last", "b c aaaa"),
        ("last:desc", "aaaa c b"),
        ("", "b aaaa c"),
    ],
)
def test_rows_are_sorted_by_value(key: str, names: str) -> None:
    assert [line.split()[0] for line in lines(s=key)[:-1]] == names.split()


def test_further_keys_decide_between_equal_rows() -> None:
    table = Table(COLUMNS[:2], [["a", 2], ["b", 1], ["a", 1]])
    assert text_of(table, given(s="name:desc,count", h="name,count")) == b"b 1\na 1\na 2\n"


@pytest.mark.parametrize("key", ["nosuch", "name:sideways", "name,nosuch"])
def test_an_unknown_sort_key_is_told(key: str) -> None:
    with pytest.raises(UnknownSortKey, match=rf"Unable to sort by unknown sort key `{key.split(',')[-1]}`"):
        text_of(TABLE, given(s=key))


def test_values_are_texts_or_null() -> None:
    assert values_of(TABLE, given(h="name,count,last"))[0] == {"name": "b", "count": "5", "last": None}


@pytest.mark.parametrize(
    ("cell", "query", "shown"),
    [
        (Duration(1_234_567), {}, "1.2ms"),
        (Duration(1_234_567), {"time": "nanos"}, "1234567"),
        (Duration(1_234_567), {"time": "micros"}, "1234"),
        (Duration(1_999_999_999), {"time": "s"}, "1"),
        (Duration(1_234_567), {"time": "weeks"}, "1.2ms"),
        (Size(0), {}, "0b"),
        (Size(1023), {}, "1023b"),
        (Size(1536), {}, "1.5kb"),
        (Size(5 << 30), {}, "5gb"),
        (Size(1536), {"bytes": "b"}, "1536"),
        (Size(5 << 20), {"bytes": "kb"}, "5120"),
        (Size(5 << 20), {"bytes": "m"}, "5"),
        (Size(1536), {"bytes": "x"}, "1.5kb"),
        (None, {}, ""),
    ],
)
def test_units_are_asked_for(cell: Cell, query: dict[str, str], shown: str) -> None:
    assert cell_text(cell, given(**query)) == shown


def test_help_shows_names_aliases_and_descriptions() -> None:
    assert help_of(COLUMNS[:2]).decode() == "name  | n   | its name\ncount | c,x | how many\n"


# ---------------------------------------------------------------------- OpenSearch's tables


def member(name: str, roles: tuple[str, ...] = ("cluster_manager", "data", "ingest")) -> DiscoveryNode:
    return DiscoveryNode(
        f"{name}-node-id", name, "e", "127.0.0.1", f"127.0.0.1:930{len(name)}", "127.0.0.1:9200", roles
    )


STATE = ClusterState("c", "u", 1, (member("one"), member("coordinator", ())), "one-node-id")


Row = tuple[TaskRow, RowKind]


def task(number: int, start_ms: int, parent: str = "-", opaque_id: str = "-") -> Row:
    return TaskRow(number, start_ms, 1500, 0), RowKind("transport", f"a{number}", parent, opaque_id)


def tasks_of(node: str, *found: Row) -> tuple[str, task_pb2.RenderedTasks]:
    rows = [msgspec.structs.replace(row, kind=place) for place, (row, _) in enumerate(found)]
    bodies = msgspec.json.encode(TaskRows([kind for _, kind in found], rows))
    return node, task_pb2.RenderedTasks(numbers=[row.number for row in rows], bodies=bodies)


def test_tasks_come_after_their_parents_each_level_by_time() -> None:
    answer = TasksAnswer(
        [
            tasks_of("gone", task(9, 50)),
            tasks_of(
                "one-node-id",
                task(1, 100),
                task(2, 300, "one-node-id:1"),
                task(3, 200, "one-node-id:1", "me"),
                task(4, 250, "one-node-id:3"),
            ),
        ]
    )
    shown = text_of(task_table(answer, STATE, detailed=False), given(h="id,pti,timestamp,running_time,ni,ip,po,n,x"))
    assert [line.split() for line in shown.decode().splitlines()] == [
        ["9", "-", "00:00:00", "1.5micros", "gone", "-", "-", "-", "-"],
        ["1", "-", "00:00:00", "1.5micros", "one-", "127.0.0.1", "9303", "one", "-"],
        ["3", "one-node-id:1", "00:00:00", "1.5micros", "one-", "127.0.0.1", "9303", "one", "me"],
        ["4", "one-node-id:3", "00:00:00", "1.5micros", "one-", "127.0.0.1", "9303", "one", "-"],
        ["2", "one-node-id:1", "00:00:00", "1.5micros", "one-", "127.0.0.1", "9303", "one", "-"],
    ]


def test_resource_stats_are_shown_indented_and_only_when_asked_for() -> None:
    row, kind = task(1, 100)
    row = msgspec.structs.replace(row, resource_stats=msgspec.Raw(b'{"total":{"cpu_time_in_nanos":5}}'))
    table = task_table(TasksAnswer([tasks_of("one-node-id", (row, kind))]), STATE, detailed=True)
    assert "nanos" not in text_of(table, given()).decode()
    assert values_of(table, given(h="id,resource_stats")) == [
        {"id": "1", "resource_stats": '{\n  "total" : {\n    "cpu_time_in_nanos" : 5\n  }\n}'}
    ]


def test_a_chain_of_many_parents_is_no_matter() -> None:
    chain = [task(number, number, f"n:{number - 1}" if number else "-") for number in range(3000)]
    table = task_table(TasksAnswer([tasks_of("n", *chain)]), STATE, detailed=True)
    assert table.cells(0) == list(range(3000))


def test_nodes_show_roles_by_letters_and_names_and_who_is_manager() -> None:
    stats = {
        "os": {"cpu": {"percent": 7, "load_average": {"1m": 0.5, "5m": 1, "15m": 2.345}}, "mem": {"used_percent": 9}}
    }
    table = node_table(STATE, {"one-node-id": {}}, {"one-node-id": stats}, full_id=False)
    assert values_of(table, given(h="id,port,ram.percent,cpu,load_1m,l,r,rs,m,n")) == [
        {
            **{"id": "one-", "port": "9303", "ram.percent": "9", "cpu": "7", "load_1m": "0.50", "l": "2.35"},
            **{"r": "dim", "rs": "cluster_manager,data,ingest", "m": "*", "n": "one"},
        },
        {
            **{"id": "coor", "port": "93011", "ram.percent": None, "cpu": None, "load_1m": None, "l": None},
            **{"r": "-", "rs": "-", "m": "-", "n": "coordinator"},
        },
    ]


@pytest.mark.parametrize(
    ("state", "row"),
    [
        (STATE, ["one-node-id", "127.0.0.1", "127.0.0.1", "one"]),
        (ClusterState("c", "u", 1, (member("one"),)), ["-", "-", "-", "-"]),
    ],
)
def test_the_manager_is_one_row(state: ClusterState, row: list[str]) -> None:
    assert list(manager_table(state).rows) == [row]


def test_every_table_can_be_asked_for_help() -> None:
    tables: list[Callable[[], Table | ColumnTable]] = [
        lambda: task_table(TasksAnswer(), STATE, detailed=True),
        lambda: node_table(STATE, {}, {}, full_id=True),
        lambda: manager_table(STATE),
    ]
    for table in tables:
        columns = table().columns
        assert help_of(columns).decode().count("\n") == len(columns)
