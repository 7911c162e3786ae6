"""Which routes a path may mean. Pure.

OpenSearch tries a path four times, each time with more freedom for names in braces, and answers 405 when only other
methods fit. Source: OpenSearch `PathTrie`, `RestController.tryAllHandlers`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

import msgspec

Value = TypeVar("Value")


class Freedom(enum.Enum):
    """Where a name in braces may stand for a part of the path. In the order in which they are tried."""

    NOWHERE = enum.auto()
    FIRST = enum.auto()
    LAST = enum.auto()
    ANYWHERE = enum.auto()


class Match(msgspec.Struct, Generic[Value], frozen=True):
    """A path that was found: what is there for each method, and the parts of the path that have a name, undecoded."""

    methods: Mapping[str, Value]
    named: Mapping[str, str]


class _Branch(msgspec.Struct, Generic[Value]):
    name: str | None = None
    methods: dict[str, Value] | None = None
    children: dict[str, _Branch[Value]] = {}
    wildcard: _Branch[Value] | None = None


class PathTrie(Generic[Value]):
    """Values by method and path template such as `/_tasks/{task_id}`."""

    def __init__(self) -> None:
        self._root: _Branch[Value] = _Branch()

    def add(self, method: str, template: str, value: Value) -> None:
        """Each pair of method and template once; a name in braces must be the same for equal beginnings."""
        branch = self._root
        for part in _parts(template):
            if part.startswith("{"):
                name = part.strip("{}")
                branch.wildcard = branch.wildcard or _Branch(name)
                assert branch.wildcard.name == name, template
                branch = branch.wildcard
            else:
                branch = branch.children.setdefault(part, _Branch())
        branch.methods = branch.methods or {}
        assert method not in branch.methods, f"{method} {template}"
        branch.methods[method] = value

    def matches(self, path: str) -> Iterator[Match[Value] | None]:
        """What each of the four tries finds. Trailing slashes do not count."""
        parts = _parts(path)
        for freedom in Freedom:
            named: dict[str, str] = {}
            methods = _find(self._root, parts, 0, named, freedom)
            yield None if methods is None else Match(methods, named)

    def methods(self, path: str) -> list[str]:
        """The methods for which anything is there, in alphabetical order."""
        return sorted({method for match in self.matches(path) if match is not None for method in match.methods})


def _parts(path: str) -> list[str]:
    parts = path.split("/")
    while parts and not parts[-1]:
        parts.pop()
    return parts[1:] if parts and not parts[0] else parts


def _find(
    branch: _Branch[Value], parts: list[str], at: int, named: dict[str, str], freedom: Freedom
) -> dict[str, Value] | None:
    """The methods where `parts` lead from `at` on. `named` may keep names of a way that led nowhere."""
    if at == len(parts):
        return branch.methods
    part, is_last = parts[at], at + 1 == len(parts)
    child, wildcard = branch.children.get(part), branch.wildcard
    may_be_any = freedom is Freedom.ANYWHERE or (
        at == 0 if freedom is Freedom.FIRST else is_last and freedom is Freedom.LAST
    )
    # A literal that ends here without a value gives way to a name, where names are allowed.
    if child is None or (is_last and child.methods is None and wildcard is not None and may_be_any):
        child = wildcard if may_be_any else None
    if child is None:
        return None
    if child is wildcard and child.name is not None:
        named[child.name] = part
    found = _find(child, parts, at + 1, named, freedom)
    if found is None and child is not wildcard and wildcard is not None and freedom is not Freedom.NOWHERE:
        if wildcard.name is not None:
            named[wildcard.name] = part
        found = _find(wildcard, parts, at + 1, named, freedom)
    return found
