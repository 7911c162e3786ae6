"""Which part of a document an answer shows. Pure.

Source: OpenSearch `FetchSourceContext`, `XContentMapValues.filter`.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from taskfan.node.errors import IllegalArgument


class SourceFilter(msgspec.Struct, frozen=True):
    """Patterns of field names with `*`; no includes means all. With `enabled` false nothing is shown."""

    enabled: bool = True
    includes: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, given: Any) -> SourceFilter:
        """The `_source` of a body: a boolean, a pattern, a list of them, or an object.

        Raises:
            IllegalArgument: it is none of these.
        """
        match given:
            case bool():
                return cls(given)
            case str():
                return cls(True, (given,))
            case list():
                return cls(True, tuple(map(str, given)))
            case dict():
                return cls(
                    True, *(_patterns(given, *names) for names in (("includes", "include"), ("excludes", "exclude")))
                )
        raise IllegalArgument("Expected one of [VALUE_BOOLEAN, VALUE_STRING, START_ARRAY, START_OBJECT]")

    @classmethod
    def from_parameters(cls, source: str | None, includes: str | None, excludes: str | None) -> SourceFilter | None:
        """The URL parameters `_source`, `_source_includes` and `_source_excludes`, or None without any."""
        if source is None and includes is None and excludes is None:
            return None
        if source in ("true", "false"):
            return cls(source == "true", _split(includes), _split(excludes))
        return cls(True, _split(includes) or _split(source), _split(excludes))

    @property
    def shows_all(self) -> bool:
        """Whether a source is shown as it is."""
        return self.enabled and not self.includes and not self.excludes

    def apply(self, source: Mapping[str, Any]) -> dict[str, Any]:
        """The part of a source that is to be shown."""
        return _filtered(source, "", self)

    def _keeps(self, path: str) -> bool:
        return not self.includes or _matches(self.includes, path, below=True)

    def _drops(self, path: str) -> bool:
        return bool(self.excludes) and _matches(self.excludes, path, below=True)

    def _may_hold(self, path: str) -> bool:
        return any(_leads_to(pattern, path) for pattern in self.includes)

    def to_object(self) -> Any:
        """As OpenSearch writes it in the description of a search."""
        return {"includes": list(self.includes), "excludes": list(self.excludes)} if self.enabled else False


def _patterns(given: Mapping[str, Any], *names: str) -> tuple[str, ...]:
    found = next((given[name] for name in names if name in given), ())
    return (found,) if isinstance(found, str) else tuple(found)


def _split(text: str | None) -> tuple[str, ...]:
    return tuple(filter(None, (text or "").split(",")))


@lru_cache(maxsize=1024)
def _compiled(patterns: tuple[str, ...], below: bool) -> re.Pattern[str]:
    tail = r"(?:\..*)?" if below else ""
    each = (re.sub(r"\\Z$|\\z$", "", fnmatch.translate(_escaped(pattern))) + tail for pattern in patterns)
    return re.compile("|".join(f"(?:{pattern})" for pattern in each), re.DOTALL)


def _escaped(pattern: str) -> str:
    # Only the star is special here.
    return pattern.replace("[", "[[]").replace("?", "[?]")


def _matches(patterns: Sequence[str], path: str, *, below: bool) -> bool:
    return _compiled(tuple(patterns), below).fullmatch(path) is not None


def _leads_to(pattern: str, path: str) -> bool:
    """Whether something under `path` could match."""
    heads = pattern.split(".")
    depth = path.count(".") + 1
    if "*" in "".join(heads[:depth]) and heads[-1].startswith("*"):
        return True
    return len(heads) > depth and _matches((".".join(heads[:depth]),), path, below=False)


def _filtered(source: Mapping[str, Any], prefix: str, rule: SourceFilter) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in source.items():
        path = prefix + name
        if rule._drops(path):
            continue
        inner_rule = SourceFilter(True, (), rule.excludes) if rule._keeps(path) else rule
        if isinstance(value, dict) and (inner_rule is not rule or rule._may_hold(path)):
            inner = _filtered(value, f"{path}.", inner_rule)
            if inner or not value or inner_rule is not rule:
                kept[name] = inner
        elif isinstance(value, list) and (inner_rule is not rule or rule._may_hold(path)):
            items = _filtered_items(value, f"{path}.", inner_rule, whole=inner_rule is not rule)
            if items or not value:
                kept[name] = items
        elif inner_rule is not rule or not rule.includes:
            kept[name] = value
    return kept


def _filtered_items(items: list[Any], prefix: str, rule: SourceFilter, *, whole: bool) -> list[Any]:
    found = [_filtered(item, prefix, rule) if isinstance(item, dict) else item for item in items]
    # Of a list that is only kept for what is inside its objects, plain items are not.
    return [item for item in found if whole or (isinstance(item, dict) and item)]
