"""Proves how journals are merged, filtered and shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskfan.cluster.journal_diagram import wrapped
from taskfan.cluster.journal_files import Tail, read_journal
from taskfan.cluster.journal_text import time_of_day
from taskfan.cluster.journal_view import Filter, merge, messages_of, without_routine
from taskfan.cluster.merged_journal import MergedJournal
from taskfan.node.journal import (
    AnyEvent,
    BanSet,
    Entry,
    FaultHit,
    JournalOpened,
    LinkClosed,
    ReplyReceived,
    RequestReceived,
    RequestSent,
    TaskEnded,
    TaskRegistered,
    line_of,
)
from tests.cluster.journaled import JournaledNodes, play


def entry(lamport: int, node: str, event: AnyEvent) -> Entry:
    return Entry(lamport, 0, node, event)


def ended(lamport: int, node: str, number: int = 1) -> Entry:
    return entry(lamport, node, TaskEnded(f"{node}:{number}", "test"))


def test_entries_are_merged_by_time_and_equal_times_in_the_order_of_nodes() -> None:
    first, second = [ended(1, "b"), ended(3, "b"), ended(3, "b", 2)], [ended(1, "a"), ended(2, "a"), ended(3, "a")]
    merged = [(entry.lamport, entry.node) for entry in merge([first, second])]
    assert merged == [(1, "b"), (1, "a"), (2, "a"), (3, "b"), (3, "b"), (3, "a")]


# ---------------------------------------------------------------------- fates that take more than one look

SENT = entry(5, "a", RequestSent("i:1", "i/1", "id-b", "test", parent="id-a:1"))


def fate_of(*entries: Entry) -> tuple[str, str]:
    opened = [entry(1, "a", JournalOpened("id-a", "i")), entry(1, "b", JournalOpened("id-b", "j"))]
    request = messages_of([*opened, *entries])[0]
    assert (request.sender, request.receiver, request.parent) == ("a", "b", "id-a:1")
    return request.fate, request.reason


def test_what_is_neither_received_nor_lost_is_on_its_way() -> None:
    assert fate_of(SENT) == ("on_its_way", "")


def test_the_other_end_of_a_link_tells_of_its_end_when_the_sender_was_killed() -> None:
    closed = entry(9, "b", LinkClosed("i/1", "id-a", "broken: connection reset", incoming=True))
    assert fate_of(SENT, closed) == ("link_closed", "broken: connection reset")


def test_the_end_of_another_link_says_nothing() -> None:
    assert fate_of(SENT, entry(9, "a", LinkClosed("i/2", "id-b", "reset"))) == ("on_its_way", "")


def test_a_link_that_was_never_open_refuses_what_waited_for_it() -> None:
    closed = entry(9, "a", LinkClosed("i/1", "id-b", "not connected: refused", never_opened=True))
    assert fate_of(SENT, closed) == ("refused", "not connected: refused")


def test_a_request_that_was_answered_was_received_though_its_receiver_could_not_write_that_any_more() -> None:
    answered = entry(9, "a", ReplyReceived("i:1", "i/1", "id-b", "test"))
    closed = entry(10, "a", LinkClosed("i/1", "id-b", "broken: connection reset"))
    assert fate_of(SENT, answered, closed) == ("received", "")


def test_a_request_whose_sender_could_not_write_it_any_more_was_received() -> None:
    assert fate_of(entry(9, "b", RequestReceived("i:1", "i/1", "id-a", "test", parent="id-a:1"))) == ("received", "")


# ---------------------------------------------------------------------- filters

FAMILY = [
    entry(1, "a", JournalOpened("id-a", "i")),
    entry(2, "a", TaskRegistered("id-a:1", "work:parent", "transport")),
    entry(3, "a", RequestSent("i:1", "i/1", "id-b", "work:child", parent="id-a:1")),
    entry(4, "a", TaskRegistered("id-a:2", "other", "transport")),
    entry(5, "b", TaskRegistered("id-b:1", "work:child", "transport", parent="id-a:1")),
    entry(6, "b", RequestSent("j:1", "j/1", "id-c", "work:grandchild", parent="id-b:1")),
    entry(7, "a", RequestSent("i:2", "i/1", "id-b", "internal:ban", ban_of="id-a:1")),
    entry(8, "b", BanSet("id-a:1", "by user")),
    entry(9, "a", RequestSent("i:3", "i/1", "id-b", "other", parent="id-a:2")),
    entry(10, "a", ReplyReceived("i:1", "i/1", "id-b", "")),
    entry(11, "b", TaskEnded("id-b:1", "work:child")),
]


@pytest.mark.parametrize(
    ("filter", "passing"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        ({"task": "id-a:1"}, [2, 3, 5, 6, 7, 8, 10, 11]),
        ({"task": "id-b:1"}, [5, 6, 11]),
        ({"task": "id-a:9"}, []),
        ({"action": "work:*"}, [2, 3, 5, 6, 10, 11]),
        ({"action": "other, internal:ban"}, [4, 7, 9]),
        ({"node": "b"}, [5, 6, 8, 11]),
        ({"node": "id-a"}, [1, 2, 3, 4, 7, 9, 10]),
        ({"kind": "task_*"}, [2, 4, 5, 11]),
        ({"kind": "ban_set,reply_received", "task": "id-a:1", "node": "a"}, [10]),
    ],
    ids=str,
)
def test_a_filter_lets_pass_what_it_means(filter: dict[str, str], passing: list[int]) -> None:
    wanted = Filter(**filter)
    assert [entry.lamport for entry in FAMILY if wanted.passes(entry)] == passing
    assert [entry.lamport for entry in MergedJournal(FAMILY, FAMILY).only(**filter)] == passing


# ---------------------------------------------------------------------- files


def test_lines_that_were_set_aside_come_first_and_damaged_ones_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    assert list(read_journal(path)) == []
    lines = [line_of(number, 0, "a", TaskEnded("a:1", "test")) for number in range(4)]
    path.with_name("a.jsonl.1").write_bytes(lines[0] + lines[1])
    path.write_bytes(lines[2] + b'{"lamport":\n' + lines[3] + lines[3][:9])
    assert [entry.lamport for entry in read_journal(path)] == [0, 1, 2, 3]


def test_a_tail_gives_each_line_once_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    tail = Tail(path)
    assert tail.read() == []
    lines = [line_of(number, 0, "a", TaskEnded("a:1", "test")) for number in range(5)]
    path.write_bytes(lines[0] + lines[1][:20])
    assert [entry.lamport for entry in tail.read()] == [0]
    with path.open("ab") as file:
        file.write(lines[1][20:] + lines[2])
    assert [entry.lamport for entry in tail.read()] == [1, 2]
    path.rename(tmp_path / "a.jsonl.1")
    path.write_bytes(lines[3])
    assert [entry.lamport for entry in tail.read()] == [3]
    assert tail.read() == []


# ---------------------------------------------------------------------- what people see


async def lost_ban(nodes: JournaledNodes) -> None:
    """p on a with x on b and y on c, cancelled; the ban to c is lost."""
    await nodes.root("p")
    await nodes.child("x", of="p", to="b")
    await nodes.child("y", of="p", to="c")
    nodes.spoil("a", kind="drop", action="internal:admin/tasks/ban", to="name-of-c", first=1)
    nodes.nodes["a"].cancel(nodes.contexts["p"].task, "by user", wait=False)
    await nodes.clock.sleep(1)
    for name in "xyp":
        nodes.end(name)
        await nodes.clock.sleep(1)


DIAGRAM = """
        name-of-a                     name-of-b                     name-of-c
     2  ● 1 test:hold                 │                             │
     8  ├─ #1 test:hold ──────────────▶                             │
     9  │                             ● 1 of name-of-a:1 test:hold  │
    13  ├─ #2 test:hold ────────────────────────────────────────────▶
    14  ✗ 1 cancelled: by user        │                             │
    14  │                             │                             ● 1 of name-of-a:1 test:hold
    16  ├─ #4 ban ─────────────────────────────────────────────────✗│
        │  dropped by fault spoil     │                             │
    17  ├─ #3 ban ────────────────────▶                             │
    19  │                             ▣ ban of name-of-a:1: by user │
    20  │                             ✗ 1 cancelled: by user        │
    23  │                             ○ 1 ended                     │
    24  ◀── #3 done ──────────────────┤                             │
    28  │                             │                             ○ 1 ended
    30  ◀── #1 done ──────────────────┤                             │
    33  ◀── #2 done ────────────────────────────────────────────────┤
    35  ○ 1 ended                     │                             │
"""


def test_a_diagram_shows_the_fan_out_and_the_ban_that_was_lost(tmp_path: Path) -> None:
    entries = play(tmp_path, lost_ban)
    drawn = MergedJournal(entries, entries).diagram("a:1", width=98)
    assert drawn == DIAGRAM.strip("\n")
    assert MergedJournal(entries, entries).diagram("a:77") == ""


TABLE = """
       2  name-of-a  task_registered   name-of-a:1 test:hold
       4  name-of-a  request_sent      #1 → name-of-b test:hold for name-of-a:1 — received
       9  name-of-a  request_sent      #2 → name-of-c test:hold for name-of-a:1 — received
      14  name-of-a  task_cancelled    name-of-a:1 test:hold: by user
      15  name-of-a  request_sent      #3 → name-of-b internal:admin/tasks/ban bans name-of-a:1 — received
      16  name-of-a  fault_hit         spoil: drop request #4 → name-of-c internal:admin/tasks/ban bans name-of-a:1
      24  name-of-a  reply_received    #3 ← name-of-b internal:admin/tasks/ban
      30  name-of-a  reply_received    #1 ← name-of-b test:hold
      33  name-of-a  reply_received    #2 ← name-of-c test:hold
      35  name-of-a  task_ended        name-of-a:1 test:hold
"""


def test_a_table_says_what_became_of_each_message(tmp_path: Path) -> None:
    entries = play(tmp_path, lost_ban)
    table = MergedJournal(entries, entries).only(task="a:1", node="name-of-a").table()
    assert table == TABLE.strip("\n")


def test_long_words_of_a_diagram_are_broken_behind_their_parts() -> None:
    assert wrapped("4 of node1:3 indices:data/read/search[phase/query] ends", 20) == [
        "4 of node1:3",
        "indices:data/read/",
        "search[phase/query]",
        "ends",
    ]
    assert wrapped("a" * 25, 10) == ["a" * 10, "a" * 10, "a" * 5]


def test_the_time_of_day_is_that_of_logs() -> None:
    assert time_of_day(1_700_000_000_007) == "22:13:20,007"


# ---------------------------------------------------------------------- what only says that all is well

CHECK = "internal:coordination/fault_detection/follower_check"


def message(number: int, action: str, parent: str = "", *, answered: str | None = "") -> list[Entry]:
    """A request of a to b with its task there, and its reply unless `answered` is None; else that is its failure."""
    request, task, at = f"i:{number}", f"id-b:{number}", 100 * number
    entries = [
        entry(at, "a", RequestSent(request, "i/1", "id-b", action, parent=parent)),
        entry(at + 1, "b", RequestReceived(request, "i/1", "id-a", action, parent=parent)),
        entry(at + 2, "b", TaskRegistered(task, action, "transport", parent)),
    ]
    if answered is not None:
        entries.append(entry(at + 3, "a", ReplyReceived(request, "i/1", "id-b", action, failure=answered)))
    return entries


def test_checks_that_went_well_are_routine_and_those_that_did_not_are_told() -> None:
    well, failed, unanswered = message(1, CHECK), message(2, CHECK, answered="busy"), message(3, CHECK, answered=None)
    other = message(4, "test")
    kept = without_routine([*well, *failed, *unanswered, *other])
    assert [one for one in kept if not isinstance(one.event, TaskRegistered)] == [
        one for one in (*failed, *unanswered, *other) if not isinstance(one.event, TaskRegistered)
    ]
    hit = entry(102, "a", FaultHit("f", 0, "delay", "id-b", on="request", message="i:1", action=CHECK))
    assert without_routine([well[0], hit, *well[1:]])[:2] == [well[0], hit], "a fault struck it"


def test_what_is_asked_under_that_opaque_id_is_routine_with_its_children() -> None:
    asked = entry(1, "a", TaskRegistered("id-a:1", "list", "transport", opaque_id="look"))
    [sent, received, child, answer] = message(1, "list[n]", parent="id-a:1")
    registered = entry(child.lamport, "b", TaskRegistered("id-b:1", "list[n]", "transport", "id-a:1", opaque_id="look"))
    story = [asked, sent, received, registered, answer, entry(900, "a", TaskEnded("id-a:1", "list"))]
    assert without_routine(story, "look") == []
    assert without_routine(story) == story
