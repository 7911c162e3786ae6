"""What a clock begins: its first step at once, in no task of others, and the rest on its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from taskfan.node.clock import TimerHandle, VirtualClock, VirtualTimeLoop

Story = Callable[[VirtualClock, list[str]], Coroutine[Any, Any, None]]


def play(story: Story) -> tuple[list[str], list[tuple[str, str]]]:
    """Play a story on virtual time. Gives what it noted, and the errors that the clock reported."""
    seen: list[str] = []
    errors: list[tuple[str, str]] = []
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        clock = VirtualClock(on_error=lambda name, error: errors.append((name, repr(error))))

        async def main() -> None:
            await story(clock, seen)
            await clock.close()

        runner.run(main())
    return seen, errors


def test_what_never_waits_is_done_at_once() -> None:
    async def story(clock: VirtualClock, seen: list[str]) -> None:
        async def work() -> int:
            seen.append("worked")
            return 7

        done = clock.begin(work(), "work")
        assert seen == ["worked"]
        assert done.done()
        assert done.result() == 7

    assert play(story) == (["worked"], [])


def test_what_waits_goes_on_by_itself() -> None:
    async def story(clock: VirtualClock, seen: list[str]) -> None:
        async def work() -> str:
            seen.append("first")
            await clock.sleep(1)
            seen.append("second")
            await asyncio.sleep(0)
            return "result"

        done = clock.begin(work(), "work")
        seen.append("begun")
        assert await done == "result"

    assert play(story) == (["first", "begun", "second"], [])


@pytest.mark.parametrize("waits", [False, True])
def test_what_it_raises_is_reported_and_given_to_who_asks(waits: bool) -> None:
    async def story(clock: VirtualClock, seen: list[str]) -> None:
        async def work() -> None:
            if waits:
                await clock.sleep(1)
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await clock.begin(work(), "work")

    assert play(story) == ([], [("work", "ValueError('no')")])


@pytest.mark.parametrize("waits", [False, True])
def test_a_cancel_inside_is_no_error(waits: bool) -> None:
    async def story(clock: VirtualClock, seen: list[str]) -> None:
        async def work() -> None:
            if waits:
                await clock.sleep(1)
            raise asyncio.CancelledError

        done = clock.begin(work(), "work")
        with pytest.raises(asyncio.CancelledError):
            await done

    assert play(story) == ([], [])


def test_it_can_be_cancelled_where_it_first_waits() -> None:
    async def story(clock: VirtualClock, seen: list[str]) -> None:
        async def work() -> None:
            try:
                await clock.sleep(100)
            except asyncio.CancelledError:
                seen.append("cancelled")
                await clock.sleep(1)
                seen.append("cleaned up")
                raise

        done = clock.begin(work(), "work")
        done.cancel()
        with pytest.raises(asyncio.CancelledError):
            await done
        assert clock.monotonic_ns() == 1_000_000_000

    assert play(story) == (["cancelled", "cleaned up"], [])


def test_closing_the_clock_cancels_it() -> None:
    async def story(clock: VirtualClock, seen: list[str]) -> None:
        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("ended")

        clock.begin(work(), "work")

    assert play(story) == (["ended"], [])


def test_its_first_step_is_in_no_task_and_the_rest_in_its_own() -> None:
    async def story(clock: VirtualClock, seen: list[str]) -> None:
        outside = asyncio.current_task()

        async def work() -> None:
            assert asyncio.current_task() is None
            await clock.sleep(0)
            assert asyncio.current_task() not in (None, outside)
            seen.append("looked")

        await clock.begin(work(), "work")
        assert asyncio.current_task() is outside

    assert play(story) == (["looked"], [])


def test_a_limit_set_in_the_first_step_strikes_its_own_task_only() -> None:
    async def story(clock: VirtualClock, seen: list[str]) -> None:
        async def work() -> None:
            try:
                async with clock.timeout(1):
                    await clock.sleep(10)
            except TimeoutError:
                seen.append(f"struck after {clock.monotonic_ns() / 1e9:g} s")

        begun = clock.begin(work(), "work")
        await clock.sleep(5)
        assert begun.done()
        seen.append("the other went on")

    assert play(story) == (["struck after 1 s", "the other went on"], [])


def test_it_begins_from_a_callback_as_well() -> None:
    async def story(clock: VirtualClock, seen: list[str]) -> None:
        async def work() -> None:
            async with clock.timeout(5):
                await clock.sleep(1)
            seen.append("done")

        begun: list[asyncio.Future[None]] = []
        clock.call_later(1, lambda: begun.append(clock.begin(work(), "work")))
        await clock.sleep(1.5)
        await begun[0]

    assert play(story) == (["done"], [])


def test_limits_strike_in_the_order_of_their_times_and_not_when_they_were_cancelled() -> None:
    async def story(clock: VirtualClock, seen: list[str]) -> None:
        def note(what: str) -> Callable[[], None]:
            return lambda: seen.append(f"{what} at {clock.monotonic_ns() / 1e9:g} s")

        clock.limit(10, note("late"))
        cancelled = clock.limit(5, note("cancelled"))
        clock.limit(5, note("soon"))
        clock.limit(5, note("as soon"))
        clock.limit(1, cancelled.cancel)
        await clock.sleep(20)
        clock.limit(1, note("much later"))
        await clock.sleep(2)

    assert play(story) == (["soon at 5 s", "as soon at 5 s", "late at 10 s", "much later at 21 s"], [])


def test_a_limit_may_cancel_one_that_is_due_with_it_and_one_that_fails_keeps_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(clock: VirtualClock, seen: list[str]) -> None:
        clock.limit(1, lambda: 1 / 0)
        clock.limit(1, lambda: other.cancel())
        other = clock.limit(1, lambda: seen.append("other"))
        clock.limit(1, lambda: seen.append("last"))
        await clock.sleep(2)

    assert play(story) == (["last"], [])
    assert "ZeroDivisionError" in caplog.text


def test_limits_that_are_cancelled_touch_the_event_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(clock: VirtualClock, seen: list[str]) -> None:
        call_later = clock.call_later

        def note(seconds: float, callback: Callable[[], object]) -> TimerHandle:
            seen.append(f"in {seconds:g} s")
            return call_later(seconds, callback)

        monkeypatch.setattr(clock, "call_later", note)
        for _ in range(1_000):
            clock.limit(30, lambda: seen.append("struck")).cancel()
            await clock.sleep(0.001)

    assert play(story) == (["in 30 s"], [])
