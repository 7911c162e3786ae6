"""Where a node keeps what its next process must know: in memory, or in a file."""

from __future__ import annotations

import os
import pathlib
from typing import Protocol

import msgspec

from taskfan.node.coordination.state import Persisted


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
    """Keeps it in a file, which is whole at every moment.

    It is not forced to the disk: a process that is killed has saved it, and a machine that fails ends the
    whole cluster.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    def load(self) -> Persisted | None:
        """What was saved last. Raises ValueError, with the path, when the file holds something else."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return msgspec.json.decode(data, type=Persisted)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise ValueError(f"{self._path} is not a saved cluster state: {error}") from None

    def save(self, persisted: Persisted) -> None:
        """Raises OSError when the file cannot be written."""
        new = self._path.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(persisted))
        os.replace(new, self._path)
