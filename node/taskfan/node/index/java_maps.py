"""What becomes of a body that OpenSearch reads into a Java map. Pure.

It parses what it writes of the map, so that its errors name places in a text in the map's order; and it takes values
out of the map as if they were of the right class. Source: Java `HashMap`, `String.hashCode`, `ClassCastException`.
"""

from __future__ import annotations

from typing import Any

from taskfan.node.errors import Origin, TaskfanError

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


class _ClassCast(TaskfanError):
    kind = "class_cast_exception"
    origin = Origin.FOREIGN


def class_cast(value: Any, wanted: str) -> TaskfanError:
    """The failure to take a value of JSON for an object of a Java class."""
    names = {
        str: "lang.String",
        bool: "lang.Boolean",
        int: "lang.Integer",
        float: "lang.Double",
        list: "util.ArrayList",
    }
    found = f"java.{names.get(type(value), 'util.HashMap')}"
    where = f"{found} and {wanted} are in module java.base of loader 'bootstrap'"
    return _ClassCast(f"class {found} cannot be cast to class {wanted} ({where})")
