"""Wall time, monotonic time and sleep, so that time can be scaled or simulated."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol


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

    def spawn(self, coroutine: Coroutine[Any, Any, object], name: str) -> asyncio.Task[object]:
        """Run it on its own. The clock keeps it alive and logs what it raises; `close` cancels it."""

    async def close(self) -> None:
        """Cancel what was spawned and still runs, and wait for it to end."""


class SystemClock:
    """The clock of the process. Its timers run on the event loop, so a virtual-time loop makes them virtual."""

    def __init__(self, on_error: Callable[[str, BaseException], None] | None = None) -> None:
        self._on_error = on_error
        # A dict, not a set: tasks are cancelled in the order they were spawned.
        self._spawned: dict[asyncio.Task[object], str] = {}

    def wall_time_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(seconds)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, callback)

    def spawn(self, coroutine: Coroutine[Any, Any, object], name: str) -> asyncio.Task[object]:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._spawned[task] = name
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[object]) -> None:
        name = self._spawned.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None and self._on_error is not None:
            self._on_error(name, error)

    async def close(self) -> None:
        while self._spawned:
            tasks = list(self._spawned)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


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
