"""Calls to come: by time, those of one time in the order they were set, and all on one timer of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskfan.node.clock import TimerHandle, VirtualClock, VirtualTimeLoop
from taskfan.node.timer_heap import TimerHeap
from taskfan.node.timers import Timers

MS, DAY_NS = 1_000_000, 86_400_000_000_000


class Note:
    """Notes when it is called."""

    def __init__(self, name: str, noted: list[str], then: Callable[[], object] = lambda: None) -> None:
        self.name, self._noted, self._then = name, noted, then

    def time_is_up(self, key: int) -> None:
        self._noted.append(self.name)
        self._then()


class CountingClock(VirtualClock):
    """Counts the timers of the loop that are set."""

    def __init__(self) -> None:
        super().__init__()
        self.timers: list[TimerHandle] = []

    def call_later(self, seconds: float, callback: Callable[[], object]) -> TimerHandle:
        timer = super().call_later(seconds, callback)
        self.timers.append(timer)
        return timer


def taken(heap: TimerHeap, now_ms: int) -> list[str]:
    names = []
    while (call := heap.take(now_ms)) is not None:
        assert isinstance(call[1], Note)
        names.append(call[1].name)
    return names


def add(heap: TimerHeap, due_ms: int, name: str) -> int:
    return heap.add(due_ms, Note(name, []))


# ---------------------------------------------------------------------- the heap


def test_calls_are_taken_by_time_and_those_of_one_time_in_the_order_they_were_added() -> None:
    heap = TimerHeap()
    for due_ms, name in ((7, "late"), (5, "first"), (5, "second"), (3, "early"), (5, "third")):
        add(heap, due_ms, name)
    assert (heap.earliest_ms(), taken(heap, 2)) == (3, [])
    assert taken(heap, 5) == ["early", "first", "second", "third"]
    assert (heap.earliest_ms(), taken(heap, 100), heap.earliest_ms(), len(heap)) == (7, ["late"], None, 0)


def test_a_call_that_was_taken_back_is_not_made_and_taking_back_one_that_was_made_is_no_error() -> None:
    heap = TimerHeap()
    first, second = add(heap, 1, "first"), add(heap, 2, "second")
    heap.remove(first)
    heap.remove(first)
    assert (heap.earliest_ms(), taken(heap, 9)) == (2, ["second"])
    heap.remove(second)
    assert len(heap) == 0


def test_an_end_that_is_far_away_stays_behind_all_others() -> None:
    heap = TimerHeap()
    add(heap, 400 * 86_400_000, "in more than a year")
    for due_ms in range(1000, 0, -1):
        add(heap, due_ms, str(due_ms))
    assert taken(heap, 1000) == [str(due_ms) for due_ms in range(1, 1001)]
    assert taken(heap, 400 * 86_400_000) == ["in more than a year"]


def test_what_is_taken_back_does_not_stay_until_its_time() -> None:
    heap = TimerHeap()
    add(heap, 1, "stays")
    for _ in range(10_000):
        heap.remove(add(heap, 86_400_000, "goes"))
    assert len(heap._heap) < 100
    assert taken(heap, 1) == ["stays"]


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans())), st.lists(st.integers(0, 25)))
def test_it_is_a_sorted_list_of_what_was_not_taken_back(calls: list[tuple[int, bool]], looks: list[int]) -> None:
    heap = TimerHeap()
    keys = [add(heap, due_ms, f"{due_ms} {number:03}") for number, (due_ms, _) in enumerate(calls)]
    kept = [(due_ms, f"{due_ms} {number:03}") for number, (due_ms, stays) in enumerate(calls) if stays]
    for key, (_, stays) in zip(keys, calls, strict=True):
        if not stays:
            heap.remove(key)
    for now_ms in sorted(looks):
        due = sorted(call for call in kept if call[0] <= now_ms)
        kept = [call for call in kept if call[0] > now_ms]
        assert taken(heap, now_ms) == [name for _, name in due]
        assert len(heap) == len(kept)


# ---------------------------------------------------------------------- on the clock


def play(story: Callable[[Timers, CountingClock, list[str]], object]) -> tuple[list[str], int, float]:
    """Set what a story sets, and let time pass until nothing is to come. Gives what was noted, how many timers of the
    loop that took, and when the last one came."""
    noted: list[str] = []
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        clock = CountingClock()

        async def main() -> None:
            timers = Timers(clock)
            story(timers, clock, noted)
            while timers._heap:
                await clock.sleep(0.5)
            assert timers._timer is None

        runner.run(main())
        return noted, len(clock.timers), runner.get_loop().time()


def test_calls_of_one_millisecond_take_one_timer_of_the_loop() -> None:
    def story(timers: Timers, _clock: CountingClock, noted: list[str]) -> None:
        for number in range(100):
            timers.call(MS, Note(str(number), noted))
        timers.call(2 * MS - 1, Note("at the next", noted))

    assert play(story)[:2] == ([*map(str, range(100)), "at the next"], 2)


def test_a_call_is_never_early_and_an_earlier_one_that_is_set_later_comes_first() -> None:
    def story(timers: Timers, clock: CountingClock, noted: list[str]) -> None:
        def check(least_ns: int) -> Callable[[], object]:
            return lambda: noted.append(f"after {clock.monotonic_ns() >= least_ns}")

        timers.call(3_000_001, Note("later", noted, check(3_000_001)))
        timers.call(999_999, Note("sooner", noted, check(999_999)))

    assert play(story)[0] == ["sooner", "after True", "later", "after True"]


def test_a_call_may_set_and_take_back_others() -> None:
    def story(timers: Timers, _clock: CountingClock, noted: list[str]) -> None:
        keys: list[int] = []

        def change() -> None:
            timers.cancel(keys[0])
            timers.call(MS, Note("new", noted))

        timers.call(MS, Note("first", noted, change))
        keys.append(timers.call(MS, Note("taken back", noted)))
        timers.call(DAY_NS, Note("last", noted))

    assert play(story)[0] == ["first", "new", "last"]


def test_one_that_fails_keeps_no_other_from_being_called(caplog: pytest.LogCaptureFixture) -> None:
    def story(timers: Timers, _clock: CountingClock, noted: list[str]) -> None:
        timers.call(MS, Note("broken", noted, lambda: 1 / 0))
        timers.call(MS, Note("whole", noted))

    assert play(story)[0] == ["broken", "whole"]
    assert "ZeroDivisionError" in caplog.text


def test_when_all_are_taken_back_no_timer_is_left() -> None:
    def story(timers: Timers, clock: CountingClock, noted: list[str]) -> None:
        keys = [timers.call(DAY_NS, Note("never", noted)) for _ in range(3)]
        for key in keys:
            timers.cancel(key)
        timers.call(DAY_NS, Note("closed", noted))
        timers.close()

    noted, _, ended_s = play(story)
    assert (noted, ended_s) == ([], 0.0)
