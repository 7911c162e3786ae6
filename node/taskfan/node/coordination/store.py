"""Where a node keeps what its next process must know: in memory, or in a file."""

from __future__ import annotations

import os
from typing import Protocol

import msgspec

from taskfan.node.coordination.state import Persisted

# Of a file with its former lines: some states of a large cluster.
_MOST_BYTES = 1 << 20


class StateStore(Protocol):
    """Keeps one value. A node that loses it may vote twice in a term, as any voter that forgets its vote."""

    def load(self) -> Persisted | None:
        """What was saved last; None when nothing was."""

    def save(self, persisted: Persisted) -> None:
        """Keep this instead. It is kept when this returns."""


class MemoryStore:
    """Keeps it as long as the store itself lives."""

    def __init__(self) -> None:
        self._persisted: Persisted | None = None

    def load(self) -> Persisted | None:
        return self._persisted

    def save(self, persisted: Persisted) -> None:
        self._persisted = persisted


class FileStore:
    """Keeps it as the last line of a file; the lines before it are what was kept before.

    A line is added, because to put a new file in place of the old one costs a member that starts a tenth of its time. A
    last line that is not whole is one of a process that was killed in the midst of it, and was not kept yet. It is not
    forced to the disk: a process that is killed has saved it, and a machine that fails ends the whole cluster.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        # How many bytes may be added before the file begins anew.
        self._room_bytes = 0

    def load(self) -> Persisted | None:
        """What was saved last. Raises ValueError, with the path, when the file holds something else."""
        try:
            with open(self._path, "rb") as file:
                *lines, _unfinished = file.read().split(b"\n")
        except FileNotFoundError:
            self._room_bytes = _MOST_BYTES
            return None
        try:
            return msgspec.json.decode(lines[-1], type=Persisted) if lines else None
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise ValueError(f"{self._path} is not a saved cluster state: {error}") from None

    def save(self, persisted: Persisted) -> None:
        """Raises OSError when the file cannot be written."""
        line = msgspec.json.encode(persisted) + b"\n"
        room_bytes, self._room_bytes = self._room_bytes - len(line), 0
        if room_bytes >= 0:
            with open(self._path, "ab") as file:
                file.write(line)
        else:
            room_bytes = _MOST_BYTES - len(line)
            new = f"{self._path}.new"
            with open(new, "wb") as file:
                file.write(line)
            os.replace(new, self._path)
        # Only now: after a line that could not be written whole the file begins anew.
        self._room_bytes = room_bytes
