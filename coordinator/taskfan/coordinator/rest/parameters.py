"""What a URL says: decoding, and the values of declared parameters. Pure.

Every refusal is OpenSearch's own, word by word. Source: OpenSearch `RestUtils`, `RestRequest`, `BaseRestHandler`,
`TimeValue`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from taskfan.coordinator.grouping import GROUPINGS
from taskfan.node.errors import IllegalArgument, NumberFormat
from taskfan.node.ids import parse_long, parse_task_id
from taskfan.node.time_value import parse_time_ns

_ESCAPE = re.compile(rb"%(%|[0-9a-fA-F]{2})")
# Longer times are cut to this, as Java does.
_LONGEST_MS = 2**63 - 1

# ------------------------------------------------------------------ decoding


def decode(text: str, *, plus_is_blank: bool) -> str:
    """Undo percent encoding. Text without any escape stays as it is, Latin-1 and all.

    Args:
        text: as on the wire, one character for each byte.

    Raises:
        IllegalArgument: a `%` that begins no escape (`%%` is one too).
    """
    if "%" not in text and not (plus_is_blank and "+" in text):
        return text
    raw = text.encode("latin-1")
    if plus_is_blank:
        raw = raw.replace(b"+", b" ")
    _check_escapes(text)
    unescaped = _ESCAPE.sub(lambda m: b"%" if m[1] == b"%" else bytes.fromhex(m[1].decode()), raw)
    return unescaped.decode("utf-8", "replace")


def _check_escapes(text: str) -> None:
    at = text.find("%")
    while at >= 0:
        left = text[at + 1 : at + 3]
        if not left:
            raise IllegalArgument(f"unterminated escape sequence at end of string: {text}")
        if left[0] == "%":
            at = text.find("%", at + 2)
            continue
        if len(left) == 1:
            raise IllegalArgument(f"partial escape sequence at end of string: {text}")
        if not re.fullmatch("[0-9a-fA-F]{2}", left):
            raise IllegalArgument(f"invalid escape sequence `%{left}' at index {at} of: {text}")
        at = text.find("%", at + 3)


def parse_query(query: str) -> dict[str, str]:
    """The parameters of a query; of a repeated one the last value counts. `;` separates as `&` does.

    Raises:
        IllegalArgument: a `%` that begins no escape.
    """
    parameters: dict[str, str] = {}
    for item in query.partition("#")[0].replace(";", "&").split("&"):
        # `=x` is no parameter with an empty name but one called x, as in OpenSearch.
        name, _, value = item.lstrip("=").partition("=")
        if name or value:
            parameters[decode(name, plus_is_blank=True)] = decode(value, plus_is_blank=True)
    return parameters


# ------------------------------------------------------------------ values


def parse_boolean(text: str | None, default: bool) -> bool:
    """A strict boolean; the bare name of a parameter switches it on. Raises IllegalArgument."""
    if text is None:
        return default
    if text in ("", "true"):
        return True
    if text == "false":
        return False
    raise IllegalArgument(f"Failed to parse value [{text}] as only [true] or [false] are allowed.")


def parse_time_ms(text: str | None, name: str) -> int | None:
    """A duration in milliseconds, cut; None when it is not given. `-1` and `0` need no unit.

    Raises:
        IllegalArgument: no or another unit, no whole number, or below -1.
    """
    if text is None:
        return None
    nanos = parse_time_ns(text, name)
    return min(nanos // 1_000_000, _LONGEST_MS) if nanos >= 0 else -(-nanos // 1_000_000)


def split_commas(text: str | None) -> list[str]:
    """The items of a comma list, not trimmed; empty ones at the end vanish."""
    if not text:
        return []
    items = text.split(",")
    while items and not items[-1]:
        items.pop()
    return items


# ------------------------------------------------------------------ declared parameters


class Parameter(msgspec.Struct, frozen=True):
    """One parameter of a route: its name, and what its text means.

    `read` is given None when the parameter is missing. `is_late`: looked at after unknown parameters were
    refused, as OpenSearch does with those that only shape the answer. `is_advised`: named where a parameter that
    nobody knows is like it; OpenSearch does not name those that it first asks after. `beside`: known only in a
    request that has this other one too.
    """

    name: str
    read: Callable[[str | None], Any]
    is_late: bool = False
    is_advised: bool = True
    beside: str | None = None


def boolean(name: str, default: bool = False, *, is_late: bool = False) -> Parameter:
    """True or false; the bare name is true."""
    return Parameter(name, lambda text: parse_boolean(text, default), is_late)


def lenient_boolean(name: str, default: bool | None = None) -> Parameter:
    """True, false, or the default when missing; what is neither is told with its name.

    Source: OpenSearch `XContentMapValues.nodeBooleanValue`.
    """

    def read(text: str | None) -> bool | None:
        try:
            return default if text is None else parse_boolean(text, False)
        except IllegalArgument as error:
            raise IllegalArgument(f"Could not convert [{name}] to boolean", cause=error) from None

    return Parameter(name, read)


def time_ms(name: str) -> Parameter:
    """A duration, in milliseconds; None when missing."""
    return Parameter(name, lambda text: parse_time_ms(text, name))


def comma_list(name: str) -> Parameter:
    """Items; none when missing or empty."""
    return Parameter(name, split_commas)


def text(name: str, *, is_late: bool = False) -> Parameter:
    """As it is; None when missing."""
    return Parameter(name, lambda value: value, is_late)


def parse_number(text: str | None, name: str) -> int | None:
    """A whole number of 64 bits; None when it is not given. Raises IllegalArgument."""
    if text is None:
        return None
    number = parse_long(text)
    if number is None:
        reason = f"Failed to parse long parameter [{name}] with value [{text}]"
        raise IllegalArgument(reason, cause=NumberFormat(f'For input string: "{text}"'))
    return number


def number(name: str, default: int | None = None) -> Parameter:
    """A whole number."""

    def read(value: str | None) -> int | None:
        return default if value is None else parse_number(value, name)

    return Parameter(name, read)


def task_id(name: str) -> Parameter:
    """A `TaskId`; `UNSET` when missing."""
    return Parameter(name, parse_task_id)


def _read_group_by(value: str | None) -> str:
    value = "nodes" if value is None else value
    if value not in GROUPINGS:
        raise IllegalArgument(f"[group_by] must be one of [nodes], [parents] or [none] but was [{value}]")
    return value


GROUP_BY = Parameter("group_by", _read_group_by, is_late=True)
# Known to every route. They are read before anything else: see `dispatcher`.
EVERYWHERE = ("error_trace", "filter_path", "format", "human", "pretty")


def read_parameters(path: str, given: Mapping[str, str], declared: Iterable[Parameter]) -> dict[str, Any]:
    """The values of the declared parameters; the first one that is wrong, in their order, is the one refused.

    Args:
        path: decoded, for the message.
        given: of query and path together.

    Raises:
        IllegalArgument: a wrong value, or parameters that nobody declared.
    """
    declared = tuple(declared)
    values, fault = read_known_parameters(path, given, (known for known in declared if not known.is_late), declared)
    if fault is not None:
        raise fault
    return values | {known.name: known.read(given.get(known.name)) for known in declared if known.is_late}


def read_known_parameters(
    path: str, given: Mapping[str, str], read: Iterable[Parameter], declared: Iterable[Parameter] | None = None
) -> tuple[dict[str, Any], IllegalArgument | None]:
    """The values of some parameters, and the refusal of those that nobody declared.

    Args:
        declared: all that are known; those that are read unless told otherwise.

    Raises:
        IllegalArgument: a wrong value.
    """
    read = tuple(read)
    values = {known.name: known.read(given.get(known.name)) for known in read}
    known = [p for p in (read if declared is None else tuple(declared)) if p.beside is None or p.beside in given]
    known_names = {*EVERYWHERE, *(parameter.name for parameter in known)}
    unknown = sorted(name for name in given if name not in known_names)
    if not unknown:
        return values, None
    hidden = {parameter.name for parameter in known if not parameter.is_advised} - given.keys()
    return values, IllegalArgument(unrecognized(path, unknown, sorted(known_names - hidden)))


def unrecognized(path: str, unknown: list[str], known: list[str]) -> str:
    """What OpenSearch says of unknown parameters, each with the known ones that are like it."""
    plural = "s" if len(unknown) > 1 else ""
    told = []
    for name in unknown:
        scored = sorted((-similarity(name, candidate), candidate) for candidate in known)
        alike = [candidate for score, candidate in scored if -score > 0.5]
        hint = f"any of [{', '.join(alike)}]" if len(alike) > 1 else f"[{alike[0]}]" if alike else ""
        told.append(f"[{name}]" + (f" -> did you mean {hint}?" if hint else ""))
    return f"request [{path}] contains unrecognized parameter{plural}: {', '.join(told)}"


def similarity(one: str, other: str) -> float:
    """1 for equal texts, 0 for entirely different ones. Source: Lucene `LevenshteinDistance`."""
    if not one or not other:
        return float(one == other)
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(other, 1):
            cost = min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
            diagonal, row[j] = row[j], cost
    return 1 - row[-1] / max(len(one), len(other))
