"""`filter_path`: which parts of an answer are wanted. Pure.

As in OpenSearch, lists are looked through, a container that ends up empty vanishes with its name, and `**` stands
for one name or more. Source: OpenSearch `FilterPath`, `FilterPathBasedFilter`; Jackson `FilteringGeneratorDelegate`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from taskfan.node.action_filter import action_pattern
from taskfan.node.errors import IllegalArgument

_NOTHING = object()
_ESCAPED = re.compile(r"\\(.)")
# A dot that no backslash takes away: names may contain dots.
_DOT = re.compile(r"(?<!\\)\.")

Path = tuple[str, ...]


class PathFilter(msgspec.Struct, frozen=True):
    """The paths of one `filter_path`; both kinds may be given, then both must pass.

    `excludes` is None where a `-` was given and nothing to exclude.
    """

    includes: tuple[Path, ...]
    excludes: tuple[Path, ...] | None

    @classmethod
    def parse(cls, text: str | None) -> PathFilter | None:
        """None when nothing is to be filtered. Items are trimmed, empty ones ignored."""
        items = [item.strip() for item in (text or "").split(",") if item.strip()]
        includes = tuple(_path(item) for item in items if not item.startswith("-"))
        excluded = [item[1:].strip() for item in items if item.startswith("-")]
        excludes = tuple(_path(item) for item in excluded if item)
        return cls(includes, excludes or (None if excluded else ())) if items else None

    def apply(self, value: Any) -> Any:
        """What is left of a JSON value; at least an empty object, or None of a list: then nothing is written.

        Raises:
            IllegalArgument: something was to be excluded, but nothing is named.
        """
        if self.excludes is None:
            raise IllegalArgument("filters cannot be null or empty")
        empty: Any = None if isinstance(value, list) else {}
        if self.includes:
            value = _filtered(value, self.includes, including=True)
        if self.excludes and value is not _NOTHING:
            value = _filtered(value, self.excludes, including=False)
        return empty if value is _NOTHING else value


def _path(item: str) -> Path:
    parts = _DOT.split(item.strip())
    # Dots at the end say nothing.
    while len(parts) > 1 and not parts[-1]:
        parts.pop()
    return tuple(_ESCAPED.sub(r".", part) for part in parts)


def _filtered(value: Any, paths: Sequence[Path], *, including: bool) -> Any:
    if isinstance(value, dict):
        return _filtered_object(value, paths, including)
    if isinstance(value, list):
        kept = [left for item in value if (left := _filtered(item, paths, including=including)) is not _NOTHING]
        return kept or _NOTHING
    return _NOTHING if including else value


def _filtered_object(value: dict[str, Any], paths: Sequence[Path], including: bool) -> Any:
    kept = {}
    for name, inner in value.items():
        further = _below(name, paths)
        if further is None:
            left = inner if including else _NOTHING
        elif not further:
            left = _NOTHING if including else inner
        else:
            left = _filtered(inner, further, including=including)
        if left is not _NOTHING:
            kept[name] = left
    return kept or _NOTHING


def _below(name: str, paths: Sequence[Path]) -> list[Path] | None:
    """What the paths ask of the value of that name; None when one of them ends here: it means all of it."""
    further: list[Path] = []
    for path in paths:
        first, rest = path[0], path[1:]
        if first not in ("*", "**") and not action_pattern((first,))(name):
            continue
        if not rest:
            return None
        if first == "**":
            further.append(path)
        further.append(rest)
    return further
