"""Cat tables row by row: what the cells say counts, not their padding nor, without `s=`, their order."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable

from tests.golden.masks import NOISE
from tests.golden.scenarios import Json

DURATION = re.compile(r"-?\d+(\.\d)?(d|h|m|s|ms|micros|nanos)")
CELLS = (
    (re.compile(r"1\d{12}"), "<millis>"),
    (re.compile(r"\d\d:\d\d:\d\d"), "<hms>"),
    (re.compile(r"\d+\.\d+\.\d+(-SNAPSHOT)?"), "<version>"),
    (re.compile(r"\d+"), "<int>"),
    (DURATION, "<duration>"),
)


class CatRows:
    """Normalises the rows of one scenario; `names` and `text` are those of its normaliser."""

    def __init__(self, nodes: list[Json], names: Callable[[str], str], text: Callable[[str], str]) -> None:
        self._names, self._text = names, text
        self._starts = {node["id"][:4]: node["label"] for node in nodes}
        self._ports = {node["transport"].rsplit(":", 1)[-1]: node["label"] for node in nodes}

    def table(self, path: str, text: str) -> Json:
        """A table that was answered as text."""
        lines = [line.split() for line in text.splitlines()]
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query, keep_blank_values=True)
        if "help" in query or not text.endswith("\n"):
            return {"lines": [" ".join(line) for line in lines]}
        head = lines[:1] if query.get("v", ["false"])[-1] in ("", "true") else []
        rest = [line for line in lines[len(head) :] if not any(NOISE.match(cell) for cell in line)]
        if "s" not in query:
            rest.sort(key=self._rank)
        return {"head": head, "rows": [" ".join(map(self._cell, line)) for line in rest]}

    def objects(self, rows: list[Json]) -> Json:
        """A table that was answered as a list of objects."""
        kept = [row for row in rows if not any(NOISE.match(str(cell)) for cell in row.values())]
        kept.sort(key=lambda row: self._rank([f"{k} {v}" for k, v in sorted(row.items())]))
        return [{k: self._cell(v) if isinstance(v, str) else v for k, v in row.items()} for row in kept]

    def _rank(self, cells: list[str]) -> tuple[str, str]:
        """What a row says without the numbers, which differ from run to run; then the row itself."""
        row = self._names(" ".join(cells))
        for start, label in self._starts.items():
            row = re.sub(rf"(?<!\S){re.escape(start)}(?!\S)", label, row)
        plain = re.sub(r"\d+(\.\d+)?(d|h|m|s|ms|micros|nanos)?(?!\S)", "#", row)
        return plain, re.sub(r"\d+", lambda m: m[0].zfill(20), row)

    def _cell(self, cell: str) -> str:
        if cell in self._starts:
            return f"<{self._starts[cell]} start>"
        if cell in self._ports:
            return f"<{self._ports[cell]} port>"
        return next((mark for pattern, mark in CELLS if pattern.fullmatch(cell)), None) or self._text(cell)
