"""Brings what has ended to who waits for it, if somebody still does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from taskfan.node.action import wake
from taskfan.node.clock import Clock
from taskfan.node.errors import TaskfanError

log = logging.getLogger("taskfan.node")


async def answer_within(timeout_s: float, running: Coroutine[Any, Any, Any], clock: Clock, name: str) -> Any:
    """What a coroutine returns or raises, if it does so in time. The limit is that of who waits; the work goes on.

    Raises:
        TimeoutError: it did not.
    """
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    clock.spawn(_answer_when_done(running, answer), name)
    try:
        async with clock.timeout(max(timeout_s, 0)):
            return await answer
    except TimeoutError:
        if answer.done() and not answer.cancelled():
            # A limit of nothing strikes at once, but not before what is known without waiting.
            return answer.result()
        raise


async def _answer_when_done(running: Coroutine[Any, Any, Any], answer: asyncio.Future[Any]) -> None:
    """Give what a coroutine returns or raises to who may still wait for it; a late answer is dropped."""
    try:
        value = await running
    except asyncio.CancelledError:
        answer.cancel()
        raise
    except Exception as error:
        if not answer.done():
            answer.set_exception(error)
        elif not isinstance(error, TaskfanError):
            log.exception("failed after the wait for it had ended")
    else:
        wake(answer, value)


async def tell(run: Callable[[], Awaitable[Any]], answered: Callable[[Any], object], name: str) -> None:
    """Run a handler, and tell what it gives, or why it gives nothing: an error, that of a bug too.

    Raises:
        CancelledError: the clock closes. It is told all the same, for whoever asked must not wait for ever.
    """
    # No error is kept in a local: it knows this frame, and the two would hold the task until the next gc.
    try:
        outcome = await run()
    except asyncio.CancelledError:
        answered(TaskfanError(f"[{name}] was stopped"))
        raise
    except TaskfanError as error:
        answered(error)
    except Exception as error:
        answered(of_bug(error, name))
    else:
        answered(outcome)


def of_bug(bug: Exception, name: str) -> TaskfanError:
    """A bug costs its answer, and nothing else: the error that is told instead. It goes to the log."""
    log.error("[%s] failed", name, exc_info=bug)
    return TaskfanError(f"{type(bug).__name__}: {bug}")


def wait_for(number: int, waiting: dict[int, list[asyncio.Future[None]]]) -> asyncio.Future[None]:
    """Wait among those that wait for this number."""
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting.setdefault(number, []).append(waiter)

    def forget(gone: asyncio.Future[None]) -> None:
        # Who gave up must not stay until what it waits for comes, which may be never.
        others = waiting.get(number)
        if others is not None and gone.cancelled():
            others.remove(gone)
            if not others:
                del waiting[number]

    waiter.add_done_callback(forget)
    return waiter


def finish(caller: object, failure: TaskfanError | None) -> None:
    """Wake who waits for a cancel; None is somebody who does not."""
    if not isinstance(caller, asyncio.Future) or caller.done():
        return
    if failure is None:
        caller.set_result(None)
    else:
        caller.set_exception(failure)
        # Who stopped waiting meanwhile does not hear of it, and that is nothing to complain of.
        caller.exception()
