"""The values of fields: what each type takes, and how it is compared. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from taskfan.node.errors import IllegalArgument, TaskfanError
from taskfan.node.index import dates
from taskfan.node.index.errors import IllegalState, InputCoercion, MapperParsing

WHOLE_NUMBERS = {"byte": 8, "short": 16, "integer": 32, "long": 64}
FRACTIONS = {"half_float", "float", "double", "scaled_float"}
NUMBERS = {*WHOLE_NUMBERS, *FRACTIONS, "unsigned_long"}
TEXTS = {"text", "keyword", "match_only_text", "wildcard", "constant_keyword", "search_as_you_type"}
FIELD_TYPES = {*NUMBERS, *TEXTS, "boolean", "date", "date_nanos", "ip", "binary", "geo_point", "flat_object", "alias"}
_WORD = re.compile(r"\w+(?:['’]\w+)*")
_JAVA_RANGES = {"byte": "byte", "short": "short", "integer": "int", "long": "long"}
_SOURCE = "[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); byte offset: #UNKNOWN]"


def words(text: str) -> list[str]:
    """The words of a text, in lower case. Differs: the standard analyzer's rules for Unicode are not followed."""
    return _WORD.findall(text.lower())


def java_text(value: Any) -> str:
    """A JSON value as Java's `toString` writes it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float():
            return java_double(value)
        case list():
            return f"[{', '.join(map(java_text, value))}]"
        case dict():
            return "{" + ", ".join(f"{name}={java_text(inner)}" for name, inner in value.items()) + "}"
    return str(value)


def java_double(value: float) -> str:
    """A number as `Double.toString` writes it: with an exponent below 0.001 and from ten million on."""
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    mantissa, _, exponent = f"{value:.17e}".partition("e")
    digits = repr(float(value)).replace("-", "").partition("e")[0].replace(".", "").strip("0") or "0"
    sign = "-" if mantissa.startswith("-") else ""
    return f"{sign}{digits[0]}.{digits[1:] or '0'}E{int(exponent)}"


def check_value(name: str, kind: str, value: Any, document_id: str) -> None:
    """Check one value (no array) of a document.

    Raises:
        MapperParsing: the field's type does not take it; the cause says why, in OpenSearch's words.

    Source: OpenSearch `FieldMapper.parse`. Differs: the places in Jackson's messages are unknown here.
    """
    cause = _fault(kind, value)
    if cause is not None:
        preview = f"in document with id '{document_id}'. Preview of field's value: '{java_text(value)}'"
        raise MapperParsing(f"failed to parse field [{name}] of type [{kind}] {preview}", cause=cause)


def _fault(kind: str, value: Any) -> TaskfanError | None:
    if value is None:
        return None
    if kind in TEXTS:
        return IllegalState("Can't get text on a START_OBJECT at 1:1") if isinstance(value, dict) else None
    if kind in NUMBERS:
        return _number_fault(kind, value)
    if kind == "boolean":
        return _boolean_fault(value)
    if kind in ("date", "date_nanos") and not _is_date(value):
        cause = TaskfanError("Failed to parse with all enclosed parsers")
        cause.kind = "date_time_parse_exception"
        shown = java_text(value)
        return IllegalArgument(
            f"failed to parse date field [{shown}] with format [strict_date_optional_time||epoch_millis]", cause=cause
        )
    return None


def _is_date(value: Any) -> bool:
    if isinstance(value, bool | dict):
        return False
    return not isinstance(value, str) or dates.millis_of(value) is not None


def _number_fault(kind: str, value: Any) -> TaskfanError | None:
    if isinstance(value, bool | dict):
        token = "START_OBJECT" if isinstance(value, dict) else f"VALUE_{java_text(value).upper()}"
        return _coercion(f"Current token ({token}) not numeric, cannot use numeric value accessors")
    if isinstance(value, str):
        if not value:
            return None
        number = _number_of(value)
        if number is None:
            return IllegalArgument(f'For input string: "{value}"')
    else:
        number = value
    return _range_fault(kind, number, value)


def _range_fault(kind: str, number: float, value: Any) -> TaskfanError | None:
    if kind not in WHOLE_NUMBERS:
        infinite = isinstance(number, float) and not math.isfinite(number)
        return (
            IllegalArgument(f"[{kind}] supports only finite values, but got [{java_text(number)}]")
            if infinite
            else None
        )
    limit = 1 << WHOLE_NUMBERS[kind] - 1
    if -limit <= number < limit:
        return None
    if isinstance(value, str) or kind in ("byte", "short"):
        return IllegalArgument(
            f"Value [{java_text(value)}] is out of range for a{'n' if kind[0] == 'i' else ''} {kind}"
        )
    return _coercion(f"Numeric value ({value}) out of range of `{_JAVA_RANGES[kind]}` ({-limit} - {limit - 1})")


def _boolean_fault(value: Any) -> TaskfanError | None:
    if isinstance(value, bool) or value in ("true", "false", ""):
        return None
    if isinstance(value, str):
        return IllegalArgument(f"Failed to parse value [{value}] as only [true] or [false] are allowed.")
    token = (
        "START_OBJECT" if isinstance(value, dict) else f"VALUE_NUMBER_{'INT' if isinstance(value, int) else 'FLOAT'}"
    )
    return _coercion(f"Current token ({token}) not of boolean type")


def _coercion(reason: str) -> InputCoercion:
    located = f"{reason}\n at {_SOURCE}"
    return InputCoercion(located, cause=InputCoercion(located))


def _number_of(text: str) -> float | None:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None


def values_at(source: Mapping[str, Any], path: Sequence[str]) -> Iterator[Any]:
    """The values of a document at a path, arrays and nulls taken apart; a name may hold the dots of the path itself."""
    if not path:
        return
    for length in range(1, len(path) + 1):
        found = source.get(".".join(path[:length]))
        if found is not None:
            yield from _inner(found, path[length:])


def _inner(found: Any, rest: Sequence[str]) -> Iterator[Any]:
    if isinstance(found, list):
        for item in found:
            yield from _inner(item, rest)
    elif not rest:
        if found is not None:
            yield found
    elif isinstance(found, dict):
        yield from values_at(found, rest)


def comparable(kind: str, value: Any) -> Any:
    """A value of a document or of a query as its field compares it; None if it cannot be one.

    Numbers become ints or floats, dates milliseconds, booleans 0 and 1, all else text.
    """
    if kind in WHOLE_NUMBERS:
        number = _number_of(value) if isinstance(value, str) else value
        return None if number is None or isinstance(number, dict) else int(number)
    if kind in NUMBERS:
        number = _number_of(value) if isinstance(value, str) else value
        return None if number is None or isinstance(number, dict) else float(number)
    if kind == "boolean":
        return {"true": 1, "false": 0, "": 0}.get(value) if isinstance(value, str) else int(bool(value))
    if kind in ("date", "date_nanos"):
        return dates.millis_of(value) if isinstance(value, str) else int(value)
    return value if isinstance(value, str) else java_text(value)
