"""A supervisor whose members note when named functions begin and end: `python -m tests.bench.traced_supervisor`.

It takes the place of `taskfan.cluster.supervisor`, of which it changes nothing but these functions, so a cluster that
is not profiled knows nothing of it. Each member appends what it noted to a file of its own in the directory that the
environment names; times are those of the clock that all processes of a machine share.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from tests.bench.stages import FUNCTIONS, Function, begin, end, holder_of, is_about

DIRECTORY = "TASKFAN_BENCH_TRACE"
# Pairs of what and when; written when there are so many numbers, for a member ends without a word.
MOST_NOTED = 1024


class Notes:
    """What this process noted and has not written yet. The fork server's children begin with none."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._noted = array("q")

    def note(self, what: int) -> None:
        """It happens now."""
        noted = self._noted
        noted.append(what)
        noted.append(time.perf_counter_ns())
        if len(noted) >= MOST_NOTED:
            self._write()

    def _write(self) -> None:
        with (self._directory / f"{os.getpid()}.trace").open("ab") as file:
            self._noted.tofile(file)
        del self._noted[:]


def traced(function: Function, inner: Any, note: Callable[[int], None]) -> Any:
    """The same function, which tells when it begins and ends."""
    begins, ends = begin(function), end(function)
    if inspect.iscoroutinefunction(inner):

        @functools.wraps(inner)
        async def traced_coroutine(*arguments: Any, **named: Any) -> Any:
            if not is_about(function, arguments):
                return await inner(*arguments, **named)
            note(begins)
            try:
                return await inner(*arguments, **named)
            finally:
                note(ends)

        return traced_coroutine

    @functools.wraps(inner)
    def traced_function(*arguments: Any, **named: Any) -> Any:
        if not is_about(function, arguments):
            return inner(*arguments, **named)
        note(begins)
        try:
            return inner(*arguments, **named)
        finally:
            note(ends)

    return traced_function


def main() -> int:
    """Trace, then be the supervisor."""
    notes = Notes(Path(os.environ[DIRECTORY]))
    for function in FUNCTIONS:
        holder, name = holder_of(function)
        replacement = traced(function, getattr(holder, name), notes.note)
        if isinstance(holder, msgspec.Struct):
            # An action is frozen, for everybody else.
            msgspec.structs.force_setattr(holder, name, replacement)
        else:
            setattr(holder, name, replacement)
    from taskfan.cluster import supervisor

    return supervisor.main()


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # As the supervisor itself ends.
    os._exit(status)
