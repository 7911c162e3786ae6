"""Dates as the default date field reads them. Pure.

Source: OpenSearch `DateFormatters`, formats `strict_date_optional_time` and `epoch_millis`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ISO = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)"
    r"(?:T(?:(?P<hour>\d\d)(?::(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?)?"
    r"(?P<zone>Z|[+-]\d\d:?(?:\d\d)?)?)?)?)?)?"
)
_SLASHED = re.compile(
    r"(?P<year>\d{4})/(?P<month>\d\d)/(?P<day>\d\d)(?: (?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d))?"
)


def millis_of(text: str) -> int | None:
    """Milliseconds since 1970 of an ISO date, or of digits that are such a number; None for any other text."""
    found = _ISO.fullmatch(text) or _SLASHED.fullmatch(text)
    if found is None:
        digits = text.removeprefix("-")
        return int(text) if digits.isascii() and digits.isdigit() else None
    parts = found.groupdict()
    year, month, day = (int(parts[unit] or 1) for unit in ("year", "month", "day"))
    hour, minute, second = (int(parts[unit] or 0) for unit in ("hour", "minute", "second"))
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=_zone(parts.get("zone")))
    except ValueError:
        return None
    fraction_ms = int((parts.get("fraction") or "").ljust(3, "0")[:3])
    return (moment - _EPOCH) // timedelta(milliseconds=1) + fraction_ms


def _zone(text: str | None) -> timezone:
    if text in (None, "Z"):
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)


def detected(text: str) -> str | None:
    """The kind of date a new field holds whose first value is `text`: `iso`, `slashed`, or None.

    A year alone is no date. Source: OpenSearch `RootObjectMapper.Defaults.DYNAMIC_DATE_TIME_FORMATTERS`.
    """
    # Most text is no date: one look at its first character and its length decides.
    if not text[:1].isdigit() or len(text) < 7 or millis_of(text) is None:
        return None
    if _ISO.fullmatch(text):
        return "iso"
    return "slashed" if _SLASHED.fullmatch(text) else None
