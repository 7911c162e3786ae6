"""Reads journals from their files: what was written so far, and what is written from now on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from taskfan.cluster.journal_view import merge
from taskfan.cluster.merged_journal import MergedJournal
from taskfan.node.file_journal import set_aside
from taskfan.node.journal import DamagedLine, Entry, entry_of


def read_journal(path: Path) -> Iterator[Entry]:
    """The entries of a node, those that were set aside first; none when there is no file.

    Half a line, of a process that was killed, is passed over.
    """
    for part in (set_aside(path), path):
        with contextlib.suppress(FileNotFoundError), part.open("rb") as file:
            for line in file:
                with contextlib.suppress(DamagedLine):
                    yield entry_of(line)


def read_journals(paths: Sequence[Path]) -> MergedJournal:
    """All journals of a cluster; the order of paths is that of nodes whose times are equal."""
    entries = list(merge([read_journal(path) for path in paths]))
    return MergedJournal(entries, entries)


class Tail:
    """Reads what is appended to a journal."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rest = b""
        self._file_number, self._offset = 0, 0

    def read(self) -> list[Entry]:
        """The entries since the last call; of the first call, all that are in the file."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return []
        with file:
            if (number := _number_of(file.fileno())) != self._file_number:
                # It was set aside, and begins anew. What came at the end of the old one since the last call is lost.
                self._file_number, self._offset, self._rest = number, 0, b""
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        entries = []
        for line in lines:
            with contextlib.suppress(DamagedLine):
                entries.append(entry_of(line))
        return entries


def _number_of(descriptor: int) -> int:
    return os.fstat(descriptor).st_ino
