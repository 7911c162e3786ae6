"""Proves that a journal's file holds every event once, in order, stays within its bound, and survives what kills it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from taskfan.node.clock import VirtualClock, VirtualTimeLoop
from taskfan.node.file_journal import FLUSH_INTERVAL_S, MOST_WAITING, FileJournal, set_aside
from taskfan.node.journal import (
    KINDS,
    BanRemoved,
    DamagedLine,
    Entry,
    JournalGap,
    JournalOpened,
    RequestReceived,
    RequestSent,
    as_json,
    entry_of,
    line_of,
)
from taskfan.node.lamport import LamportClock


class Keeper:
    """One process of a node that keeps a journal under virtual time."""

    def __init__(self, path: Path, incarnation: str = "first", max_bytes: int = 1 << 20) -> None:
        self.path, self.clock, self.lamport = path, VirtualClock(), LamportClock()
        self.journal = FileJournal(path, "node1", "id-1", incarnation, self.clock, self.lamport, max_bytes)

    def note(self, parent: str) -> None:
        self.journal.append(BanRemoved(parent))


def play(story: Callable[[], Awaitable[None]]) -> None:
    loop = VirtualTimeLoop()
    try:
        loop.run_until_complete(story())
    finally:
        loop.close()


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def noted(path: Path) -> list[str]:
    """What `Keeper.note` was told, as far as it is in the file."""
    events = [entry_of(line).event for line in lines(path)]
    return [event.parent for event in events if isinstance(event, BanRemoved)]


def test_a_line_is_one_json_object_and_says_what_the_event_says() -> None:
    event = RequestSent("i:7", "i/1", "id-2", "test:action", parent="id-1:3", size=12)
    line = line_of(4, 1_700_000_000_000, 'node "1"\n', event)
    assert line.count(b"\n") == 1
    entry = entry_of(line)
    assert (entry.lamport, entry.time_ms, entry.node, entry.event) == (4, 1_700_000_000_000, 'node "1"\n', event)
    assert as_json(entry) == {
        "lamport": 4,
        "time_ms": 1_700_000_000_000,
        "node": 'node "1"\n',
        "kind": "request_sent",
        "message": "i:7",
        "link": "i/1",
        "to": "id-2",
        "action": "test:action",
        "parent": "id-1:3",
        "bytes": 12,
    }


def test_every_kind_of_event_comes_back_as_it_was_written() -> None:
    assert "request_sent" in KINDS
    assert len(set(KINDS)) == len(KINDS) == 20
    event = RequestReceived("i:7", "i/1", "id-2", "test:action")
    assert as_json(Entry(1, 2, "n", event))["from"] == "id-2"
    assert entry_of(line_of(1, 2, "n", event)).kind == "request_received"


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b'{"lamport":1,"time_ms":2,"node":"n","kind":"unheard_of"}', b"\xff"]
)
def test_what_is_no_line_is_said_to_be_damaged(line: bytes) -> None:
    with pytest.raises(DamagedLine):
        entry_of(line)


def test_nothing_is_touched_before_the_journal_is_switched_on(tmp_path: Path) -> None:
    async def story() -> None:
        keeper = Keeper(tmp_path / "deep" / "node1.jsonl")
        keeper.note("lost")
        keeper.journal.flush()
        assert not keeper.path.parent.exists()
        assert keeper.lamport.time == 0
        keeper.journal.switch(True)
        keeper.note("kept")
        keeper.journal.switch(False)
        keeper.note("lost, too")
        keeper.journal.flush()
        assert noted(keeper.path) == ["kept"]
        assert [entry_of(line).kind for line in lines(keeper.path)] == [
            "journal_opened",
            "ban_removed",
            "journal_closed",
        ]
        assert keeper.path.stat().st_mode & 0o077 == 0

    play(story)


def test_lines_are_written_soon_and_at_once_when_too_many_wait(tmp_path: Path) -> None:
    async def story() -> None:
        keeper = Keeper(tmp_path / "node1.jsonl")
        keeper.journal.switch(True)
        keeper.note("a")
        assert noted(keeper.path) == []
        await keeper.clock.sleep(FLUSH_INTERVAL_S)
        assert noted(keeper.path) == ["a"]
        for _ in range(MOST_WAITING):
            keeper.note("b")
        assert len(noted(keeper.path)) == 1 + MOST_WAITING

    play(story)


def test_each_event_has_a_time_of_its_own(tmp_path: Path) -> None:
    async def story() -> None:
        keeper = Keeper(tmp_path / "node1.jsonl")
        keeper.journal.switch(True)
        keeper.note("a")
        keeper.journal.append(BanRemoved("sent"), keeper.lamport.tick())
        keeper.lamport.observe(40)
        keeper.note("b")
        keeper.journal.flush()
        assert [entry_of(line).lamport for line in lines(keeper.path)] == [1, 2, 3, 42]

    play(story)


def test_a_file_stays_within_its_bound_and_the_one_before_is_kept(tmp_path: Path) -> None:
    async def story() -> None:
        keeper = Keeper(tmp_path / "node1.jsonl", max_bytes=2000)
        keeper.journal.switch(True)
        for number in range(100):
            keeper.note(str(number))
            keeper.journal.flush()
        keeper.journal.switch(False)
        both = [set_aside(keeper.path), keeper.path]
        assert all(path.stat().st_size <= 2000 for path in both)
        kept = [text for path in both for text in noted(path)]
        assert kept == [str(number) for number in range(100 - len(kept), 100)]
        for path in both:
            assert isinstance(entry_of(lines(path)[0]).event, JournalOpened), "each file says whose it is"

    play(story)


def test_the_next_process_goes_on_after_the_time_of_the_last_and_after_half_a_line(tmp_path: Path) -> None:
    async def story() -> None:
        first = Keeper(tmp_path / "node1.jsonl")
        first.lamport.observe(500)
        first.journal.switch(True)
        first.note("a")
        first.journal.flush()
        with first.path.open("ab") as file:
            file.write(b'{"lamport":503,"ti')
        second = Keeper(first.path, incarnation="second")
        second.journal.switch(True)
        second.note("b")
        second.journal.flush()
        whole = [line for line in lines(first.path) if line.endswith(b"}\n")]
        assert [entry_of(line).lamport for line in whole] == sorted(entry_of(line).lamport for line in whole)
        assert entry_of(whole[-1]).lamport > 502
        assert len(whole) == len(lines(first.path)) - 1, "the half line stands alone"

    play(story)


def test_events_that_cannot_be_written_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        keeper = Keeper(tmp_path / "node1.jsonl")
        keeper.journal.switch(True)
        write, is_full = os.write, True

        def write_or_not(descriptor: int, data: memoryview) -> int:
            if is_full:
                write(descriptor, data[:10])
                raise OSError(28, "No space left on device")
            return write(descriptor, data)

        monkeypatch.setattr(os, "write", write_or_not)
        for text in "abc":
            keeper.note(text)
            keeper.journal.flush()
        is_full = False
        keeper.note("d")
        keeper.journal.flush()
        kept = []
        for line in lines(keeper.path):
            try:
                kept.append(entry_of(line).event)
            except DamagedLine:
                continue
        assert kept[1:] == [JournalGap(3), BanRemoved("d")]

    play(story)
