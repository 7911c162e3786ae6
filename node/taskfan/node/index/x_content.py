"""JSON bodies: their values, and the line and column of any part of them for the words of an error. Pure.

A body is decoded as a whole and quickly. Only when something in it is wrong is it read again, token by token, to
find the place of what was wrong: OpenSearch parses as a stream and names the place of its current token.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

import msgspec

from taskfan.node.errors import IllegalArgument, NumberFormat, TaskfanError
from taskfan.node.index.errors import BodyUnreadable, JsonUnreadable, NotXContent, ParsingFailed, XContentParse
from taskfan.node.index.json_faults import json_fault
from taskfan.node.index.suggestions import did_you_mean

Path = tuple[str | int, ...]
Part = Literal["key", "value", "end"]

_decode = msgspec.json.Decoder().decode
_SOURCE = "[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); byte offset: #{}]"
_TOKEN = re.compile(rb'[ \t\r\n]*(?:([{}\[\],:])|("(?:[^"\\]|\\.)*")|([^\s{}\[\],:"]+))', re.DOTALL)


class Place(NamedTuple):
    """Where a token begins; both count from 1, the column in bytes."""

    line: int
    column: int


def token_name(value: Any) -> str:
    """What OpenSearch calls the token a value begins with. Source: `XContentParser.Token`."""
    match value:
        case None:
            return "VALUE_NULL"
        case bool():
            return "VALUE_BOOLEAN"
        case int() | float():
            return "VALUE_NUMBER"
        case str():
            return "VALUE_STRING"
        case list():
            return "START_ARRAY"
    return "START_OBJECT"


class Body(msgspec.Struct, frozen=True):
    """One JSON text: its value, and where its parts are."""

    raw: bytes
    value: Any

    def place(self, path: Path, part: Part = "value") -> Place:
        """Where the key, the value or the closing bracket at `path` is; the beginning if there is no such part."""
        offset = next((at for at, *found in _parts(self.raw) if found == [path, part]), 0)
        return self._place_of(offset)

    def extent(self, path: Path) -> tuple[int, int]:
        """Where the number, word or text at `path` begins and ends, in bytes from 0."""
        offset = next(at for at, *found in _parts(self.raw) if found == [path, "value"])
        return offset, offset + len(next(_tokens(self.raw[offset:]))[1])

    def _place_of(self, offset: int) -> Place:
        return Place(self.raw.count(b"\n", 0, offset) + 1, offset - (self.raw.rfind(b"\n", 0, offset) + 1) + 1)

    def parsing_failed(
        self, reason: str, path: Path, part: Part = "value", cause: TaskfanError | None = None
    ) -> ParsingFailed:
        """A `parsing_exception` at a part of this body."""
        return ParsingFailed(reason, *self.place(path, part), cause=cause)

    def x_content_parse(
        self, reason: str, path: Path, part: Part = "value", cause: TaskfanError | None = None
    ) -> XContentParse:
        """An `x_content_parse_exception` at a part of this body; its reason begins with the place."""
        return XContentParse(reason, *self.place(path, part), cause=cause)


def unknown_field(body: Body, parser: str, path: Path, known: Iterable[str]) -> XContentParse:
    """The refusal of a field that a parser does not know, with those it knows that are like it."""
    advice = did_you_mean(str(path[-1]), known)
    return body.x_content_parse(f"[{parser}] unknown field [{path[-1]}]{advice}", path, "key")


_INT_MAX = 2**31 - 1


def whole_number(body: Body, path: Path, value: Any) -> int:
    """A number of 32 bits, or a text that reads as one; a fraction is cut off.

    Raises:
        NumberFormat: the text is no number.
        IllegalArgument, JsonUnreadable: it has more than 32 bits.

    Source: OpenSearch `AbstractXContentParser.intValue`.
    """
    if isinstance(value, str):
        number = _parsed_number(value)
        if not -_INT_MAX - 1 <= number <= _INT_MAX:
            raise IllegalArgument(f"Value [{value}] is out of range for an integer")
        return int(number)
    if not -_INT_MAX - 1 <= value <= _INT_MAX:
        start, end = body.extent(path)
        told = f"Numeric value ({body.raw[start:end].decode()}) out of range of `int` (-2147483648 - 2147483647)"
        raise _coercion(_coercion(None, told, end), told, end)
    return int(value)


def _coercion(cause: JsonUnreadable | None, told: str, end: int) -> JsonUnreadable:
    error = JsonUnreadable(f"{told}\n at {_SOURCE.format(end)}", cause=cause)
    error.kind = "input_coercion_exception"
    return error


def _parsed_number(text: str) -> float:
    try:
        number = float(text) if "_" not in text else math.nan
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise NumberFormat.of(text.strip())
    return number


def read_body(raw: bytes) -> Body:
    """Decode a JSON body.

    Raises:
        BodyUnreadable: it is empty.
        JsonUnreadable: it is no JSON, in Jackson's words.
    """
    if not raw:
        raise BodyUnreadable("request body is required")
    try:
        return Body(raw, _decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise json_fault(raw) from None


def read_document(raw: bytes) -> dict[str, Any]:
    """Decode the source of a document, which is a JSON object.

    Raises:
        NotXContent: it does not begin as one.
        JsonUnreadable: it begins as one but is none.
    """
    if not raw.lstrip().startswith(b"{"):
        raise NotXContent
    try:
        value: dict[str, Any] = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise json_fault(raw) from None
    return value


def _tokens(raw: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while (found := _TOKEN.match(raw, position)) is not None:
        yield found.start(found.lastindex or 0), found[found.lastindex or 0]
        position = found.end()


def _parts(raw: bytes) -> Iterator[tuple[int, Path, Part]]:
    """Every key, value and closing bracket with its offset and path. Expects JSON."""
    path: list[str | int] = []
    opened: list[bytes] = []
    key_next = False
    for offset, token in _tokens(raw):
        match token:
            case b"{" | b"[":
                yield offset, tuple(path), "value"
                opened.append(token)
                key_next = token == b"{"
                path.append(0 if token == b"[" else "")
            case b"}" | b"]":
                opened.pop()
                path.pop()
                yield offset, tuple(path), "end"
            case b",":
                key_next = opened[-1] == b"{"
                if not key_next:
                    path[-1] = int(path[-1]) + 1
            case b":":
                key_next = False
            case _ if key_next:
                path[-1] = _decode(token)
                yield offset, tuple(path), "key"
            case _:
                yield offset, tuple(path), "value"
