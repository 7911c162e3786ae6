"""Durations as OpenSearch's settings and parameters write them: `500ms`, `2s`, `-1`. Pure."""

from __future__ import annotations

import re

from taskfan.node.errors import IllegalArgument, NumberFormat
from taskfan.node.ids import parse_long

# In the order in which they are looked for: `ms` ends with `s`, and so do `nanos` and `micros`.
_UNITS_NS = {
    "nanos": 1,
    "micros": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
# Java's Double.parseDouble, after lower-casing.
_DOUBLE = re.compile(
    r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?[fd]?|[+-]?0x([0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)p[+-]?\d+[fd]?"
)
# What Java's String.trim takes off.
_JAVA_BLANKS = "".join(map(chr, range(0x21)))


def parse_time_ns(text: str, name: str) -> int:
    """The nanoseconds of a time value. `0` and `-1` need no unit; `-1` is one millisecond less than nothing.

    Args:
        name: of the setting or parameter, for the error.

    Raises:
        IllegalArgument: no or another unit, no whole number, or below -1; in OpenSearch's words.

    Source: OpenSearch `TimeValue.parseTimeValue`.
    """
    normalized = text.lower().strip(_JAVA_BLANKS)
    unit = _unit_of(text, normalized)
    if unit is not None:
        return _whole_number(text, normalized.removesuffix(unit).strip(_JAVA_BLANKS), name) * _UNITS_NS[unit]
    if re.fullmatch("-0*1", normalized):
        return -1_000_000
    if re.fullmatch("0+", normalized):
        return 0
    raise _unreadable(text, name, "unit is missing or unrecognized")


def _unit_of(text: str, normalized: str) -> str | None:
    # Only minutes are told apart by case, for `M` means months elsewhere; so they look at the text as given.
    return next((unit for unit in _UNITS_NS if (text if unit == "m" else normalized).endswith(unit)), None)


def _whole_number(text: str, digits: str, name: str) -> int:
    number = parse_long(digits)
    if number is None:
        fraction = ", fractional time values are not supported" if _DOUBLE.fullmatch(digits) else ""
        raise IllegalArgument(
            f"failed to parse [{text}]{fraction}", cause=NumberFormat(f'For input string: "{digits}"')
        )
    if number < -1:
        raise _unreadable(text, name, "negative durations are not supported")
    return number


def _unreadable(text: str, name: str, why: str) -> IllegalArgument:
    return IllegalArgument(f"failed to parse setting [{name}] with value [{text}] as a time value: {why}")
