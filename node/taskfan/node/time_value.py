"""Durations as OpenSearch's settings and parameters write them: `500ms`, `2s`, `-1`. Pure."""

from __future__ import annotations

import re

from taskfan.node.errors import IllegalArgument, NumberFormat
from taskfan.node.ids import parse_long

# Longer names first: `ms` ends with `s`, `nanos` and `micros` too.
_UNITS_NS = (
    ("nanos", 1),
    ("micros", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
)


def parse_time_ns(text: str, name: str) -> int:
    """The nanoseconds of a time value; -1 for `-1`, which needs no unit, like `0`.

    Args:
        name: of the setting or parameter, for the error.

    Raises:
        IllegalArgument: no time value; in OpenSearch's words.

    Source: OpenSearch `TimeValue.parseTimeValue`.
    """
    normalized = text.strip().lower()
    for unit, size_ns in _UNITS_NS:
        # A capital M could be meant as months, so it is no unit.
        if normalized.endswith(unit) and not (unit == "m" and not text.endswith("m")):
            number = _number(text, normalized.removesuffix(unit).strip())
            if number < -1:
                raise _unreadable(text, name, "negative durations are not supported")
            return number * size_ns if number >= 0 else -1
    if re.fullmatch("-0*1", normalized):
        return -1
    if re.fullmatch("0+", normalized):
        return 0
    raise _unreadable(text, name, "unit is missing or unrecognized")


def _number(text: str, digits: str) -> int:
    number = parse_long(digits)
    if number is not None:
        return number
    try:
        float(digits)
    except ValueError:
        raise IllegalArgument(f"failed to parse [{text}]", cause=NumberFormat.of(digits)) from None
    raise IllegalArgument(
        f"failed to parse [{text}], fractional time values are not supported", cause=NumberFormat.of(digits)
    )


def _unreadable(text: str, name: str, why: str) -> IllegalArgument:
    return IllegalArgument(f"failed to parse setting [{name}] with value [{text}] as a time value: {why}")
