"""The order in which a Java hash map gives back what was put into it. Pure.

OpenSearch reads some bodies into such maps and parses what it writes of them, so that its errors name places in a text
of this order. Source: Java `HashMap`, `String.hashCode`.
"""

from __future__ import annotations

from typing import Any

_FIRST_TABLE = 16


def as_hash_map(value: Any) -> Any:
    """The same JSON value with the names of all its objects in the order of a hash map."""
    if isinstance(value, list):
        return [as_hash_map(item) for item in value]
    if not isinstance(value, dict):
        return value
    size = _FIRST_TABLE
    while len(value) * 4 > size * 3:
        size *= 2
    # Names in the same place of the table stay as they came.
    names = sorted(value, key=lambda name: _spread(name) & (size - 1))
    return {name: as_hash_map(value[name]) for name in names}


def _spread(name: str) -> int:
    code = 0
    units = name.encode("utf-16-be")
    for at in range(0, len(units), 2):
        code = (code * 31 + (units[at] << 8) + units[at + 1]) & 0xFFFFFFFF
    return code ^ (code >> 16)
