"""Wall time, monotonic time and sleep, so that time can be scaled or simulated."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar, cast

from taskfan.node.timers import Timers

Answer = TypeVar("Answer")


class TimerHandle(Protocol):
    """A call to come; `cancel` is allowed at any time, twice too."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """All that `node` and `coordinator` know of time, and the only way they start tasks of asyncio."""

    def wall_time_ms(self) -> int:
        """Milliseconds since the epoch."""

    def monotonic_ns(self) -> int:
        """Nanoseconds of a clock that never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """Raise TimeoutError in the block after that long; None never does."""

    def call_later(self, seconds: float, callback: Callable[[], object]) -> TimerHandle:
        """Call once, that much later."""

    def limit(self, seconds: float, callback: Callable[[], object]) -> TimerHandle:
        """The same, for what is nearly always cancelled long before: one that never comes costs the loop nothing."""

    def spawn(self, coroutine: Coroutine[Any, Any, object], name: str) -> asyncio.Task[object]:
        """Run it on its own. The clock keeps it alive and logs what it raises; `close` cancels it."""

    def begin(self, coroutine: Coroutine[Any, Any, Answer], name: str) -> asyncio.Future[Answer]:
        """The same, but its first step is taken now: what never waits is done when this returns, and needed no task.

        Until it first waits it is in no task; a `timeout` there waits until it is in one.
        """

    async def close(self) -> None:
        """Cancel what was spawned and still runs, and wait for it to end."""


class SystemClock:
    """The clock of the process. Its timers run on the event loop, so a virtual-time loop makes them virtual."""

    def __init__(self, on_error: Callable[[str, BaseException], None] | None = None) -> None:
        self._on_error = on_error
        # A dict, not a set: tasks are cancelled in the order they were spawned.
        self._spawned: dict[asyncio.Task[object], str] = {}
        self._limits = Timers(self, keeps_timer=True)

    def wall_time_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        return _TimeoutInTask(seconds)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, callback)

    def limit(self, seconds: float, callback: Callable[[], object]) -> TimerHandle:
        return self._limits.call_later(seconds, callback)

    def spawn(self, coroutine: Coroutine[Any, Any, object], name: str) -> asyncio.Task[object]:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._spawned[task] = name
        task.add_done_callback(self._ended)
        return task

    def begin(self, coroutine: Coroutine[Any, Any, Answer], name: str) -> asyncio.Future[Answer]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Answer] = loop.create_future()
        try:
            waits_for = _first_step(coroutine, loop)
        except StopIteration as end:
            done.set_result(end.value)
        except asyncio.CancelledError:
            done.cancel()
        except Exception as error:
            done.set_exception(error)
            # It is reported here; who wants to know sees it as well.
            done.exception()
            self._report(name, error)
        else:
            return cast("asyncio.Future[Answer]", self.spawn(_Rest(coroutine, waits_for), name))
        return done

    def _ended(self, task: asyncio.Task[object]) -> None:
        name = self._spawned.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._report(name, error)

    def _report(self, name: str, error: BaseException) -> None:
        if self._on_error is not None:
            self._on_error(name, error)

    async def close(self) -> None:
        while self._spawned:
            tasks = list(self._spawned)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._limits.close()


class _TimeoutInTask:
    """`asyncio.timeout`, also in the first step of what was begun: that goes on in a task then."""

    def __init__(self, seconds: float | None) -> None:
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> asyncio.Timeout:
        if asyncio.current_task() is None:
            await asyncio.sleep(0)
        return await self._timeout.__aenter__()

    async def __aexit__(self, *exc_info: Any) -> None:
        await self._timeout.__aexit__(*exc_info)


def _first_step(coroutine: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> Any:
    """Run it until it first waits, in no task. Gives what it waits for; raises StopIteration when it has ended."""
    current = asyncio.current_task(loop)
    if current is None:
        return coroutine.send(None)
    # It must not take itself for the task that begins it: that one's limits and cancels are not its own.
    asyncio.tasks._leave_task(loop, current)
    try:
        return coroutine.send(None)
    finally:
        asyncio.tasks._enter_task(loop, current)


class _Rest(Coroutine[Any, Any, Any]):
    """A coroutine after its first step, for the task that runs what follows: it first waits for what that step did."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], waits_for: object) -> None:
        self._coroutine, self._waits_for = coroutine, waits_for

    def send(self, _value: object, /) -> Any:
        self._leave_the_way()
        waits_for, self._waits_for = self._waits_for, None
        return waits_for

    def throw(self, *error: Any) -> Any:
        self._leave_the_way()
        return self._coroutine.throw(*error)

    def _leave_the_way(self) -> None:
        # From the next time on the coroutine is stepped without a detour.
        setattr(self, "send", self._coroutine.send)  # noqa: B010

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise NotImplementedError("a task steps it")


class VirtualClock(SystemClock):
    """The clock of a `VirtualTimeLoop`: starts at `start_ms` and moves only when everybody waits."""

    def __init__(
        self, start_ms: int = 1_700_000_000_000, on_error: Callable[[str, BaseException], None] | None = None
    ) -> None:
        super().__init__(on_error)
        self._start_ms = start_ms

    def wall_time_ms(self) -> int:
        return self._start_ms + self.monotonic_ns() // 1_000_000

    def monotonic_ns(self) -> int:
        return round(asyncio.get_running_loop().time() * 1e9)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer instead of waiting for it.

    With no timer left and nothing ready it would wait for ever, so it raises: a test that hangs fails at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        selector = self._selector  # type: ignore[attr-defined]
        select = selector.select

        def select_at_once(timeout_s: float | None = None) -> Any:
            ready = select(0)
            if not ready and timeout_s is None:
                raise RuntimeError("nothing is ready and no timer is set: this would wait for ever")
            if not ready and timeout_s:
                self._now_s += timeout_s
            return ready

        selector.select = select_at_once

    def time(self) -> float:
        return self._now_s
