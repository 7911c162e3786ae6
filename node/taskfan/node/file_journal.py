"""The journal of a member in a file of bounded size: lines are written in batches, soon after what they tell."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from taskfan.node.clock import Clock, TimerHandle
from taskfan.node.journal import AnyEvent, DamagedLine, JournalClosed, JournalGap, JournalOpened, entry_of, line_of
from taskfan.node.lamport import LamportClock

# What is lost at most when the process is killed.
FLUSH_INTERVAL_S = 0.005
# Events that wait at most; one more, and they are written at once.
MOST_WAITING = 4096
# A file that is longer is set aside, in place of the one that was set aside before.
MAX_BYTES = 64 << 20
# Of the end of a file, in which its last whole line is looked for.
_TAIL_BYTES = 64 << 10


class FileJournal:
    """A `Journal` that appends to `path`. It touches no file before it is switched on.

    Args:
        node_name: how its lines name the node.
        lamport: the one of the member's transport.
        max_bytes: of the file; `path` with `.1` added is as long again at most.
    """

    def __init__(
        self,
        path: Path | str,
        node_name: str,
        node_id: str,
        incarnation: str,
        clock: Clock,
        lamport: LamportClock,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.is_on = False
        self._given_path, self._node_name = path, node_name
        self._opened = JournalOpened(node_id, incarnation)
        self.lamport = lamport
        self._clock, self._max_bytes = clock, max_bytes
        # Made into lines when they are written: whoever has something to note has better things to do.
        self._waiting: list[tuple[int, int, AnyEvent]] = []
        self._timer: TimerHandle | None = None
        self._file: int | None = None
        self._size_bytes = 0
        self._lost = 0
        # Why nothing could be written at the last try; empty when it could.
        self.problem = ""

    @property
    def _path(self) -> Path:
        # Most journals are never switched on: until then no member makes pages of its own by this.
        return Path(self._given_path)

    def append(self, event: AnyEvent, lamport_time: int | None = None) -> None:
        """Note an event: see `Journal.append`."""
        if not self.is_on:
            return
        time = self.lamport.tick() if lamport_time is None else lamport_time
        self._waiting.append((time, self._clock.wall_time_ms(), event))
        if self._timer is None:
            self._timer = self._clock.call_later(FLUSH_INTERVAL_S, self.flush)
        elif len(self._waiting) >= MOST_WAITING:
            self.flush()

    def switch(self, on: bool) -> None:
        """Begin or cease to note what happens. Twice is fine."""
        if on == self.is_on:
            return
        if on:
            self._look_back()
            self.is_on = True
            self.append(self._opened)
        else:
            self.append(JournalClosed())
            self.is_on = False
        self.flush()
        if not on:
            self._close_file()

    def flush(self) -> None:
        """Write what waits. What cannot be written is counted, and the number noted once writing works again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        if self._lost:
            waiting.insert(0, (waiting[0][0], waiting[0][1], JournalGap(self._lost)))
        lines = b"".join(line_of(time, now_ms, self._node_name, event) for time, now_ms, event in waiting)
        try:
            self._write(lines, *waiting[0][:2])
            self._lost, self.problem = 0, ""
        except OSError as error:
            # A full disk must not end the member. The file is looked at anew: it may end with half a line.
            self.problem = error.strerror or str(error)
            self._lost += len(waiting) - (self._lost > 0)
            self._close_file()

    def _write(self, lines: bytes, lamport_time: int, now_ms: int) -> None:
        if self._file is not None and self._size_bytes + len(lines) > self._max_bytes:
            self._close_file()
            self._path.replace(set_aside(self._path))
            lines = line_of(lamport_time, now_ms, self._node_name, self._opened) + lines
        if self._file is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._size_bytes = os.fstat(self._file).st_size
            if self._size_bytes and not _tail(self._path).endswith(b"\n"):
                # Of a process that was killed while it wrote: half a line, which readers pass over.
                lines = b"\n" + lines
        rest = memoryview(lines)
        while rest:
            written = os.write(self._file, rest)
            self._size_bytes += written
            rest = rest[written:]

    def _look_back(self) -> None:
        """Go on after the Lamport time of an earlier process of this node: it is the cause of all that follows."""
        for line in reversed(_tail(self._path).splitlines()):
            with contextlib.suppress(DamagedLine):
                self.lamport.observe(entry_of(line).lamport)
                return

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def set_aside(path: Path) -> Path:
    """Where the lines before those of this file are."""
    return path.with_name(f"{path.name}.1")


def _tail(path: Path) -> bytes:
    """The end of a file; nothing when there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _TAIL_BYTES, 0))
            return file.read()
    except OSError:
        return b""
