"""What Jackson says of text that is no JSON, in its words and with its offsets in bytes. Pure.

Text is read as far as it is good. Differs: OpenSearch acts on what it has read by then, so that an unknown key before
the fault is what it tells; here the fault is.
Source: Jackson `UTF8StreamJsonParser`, `ParserMinimalBase`, as a real OpenSearch 3.8.0 answered.
"""

from __future__ import annotations

import re
from typing import NoReturn

from taskfan.node.index.errors import JsonUnreadable

_SOURCE = "[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); byte offset: #{}]"
_BLANKS = re.compile(rb"[ \t\r\n]*")
_WORD = re.compile(rb"[\w$-]+")
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_GOOD_TEXT = re.compile(rb'(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*')
_VALUES = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
_NOT_NUMBERS = (b"NaN", b"Infinity", b"INF", b"-Infinity", b"-INF")
_NAMES = {"{": "Object", "[": "Array"}
_CLOSING = {"{": "}", "[": "]"}


class _Fault(Exception):
    def __init__(self, told: str, offset: int, *, is_end: bool = False) -> None:
        super().__init__(told)
        self.told, self.offset, self.is_end = told, offset, is_end


def json_fault(raw: bytes) -> JsonUnreadable:
    """The error for text that is no JSON."""
    try:
        _Reader(raw).read()
        fault = _Fault("Unexpected content after the end of the value", len(raw))
    except _Fault as found:
        fault = found
    kind = "unexpected_end_of_input_exception" if fault.is_end else "json_parse_exception"
    reason = f"{fault.told}\n at {_SOURCE.format(fault.offset)}"
    cause = JsonUnreadable(reason)
    cause.kind = kind if fault.is_end else "stream_read_exception"
    error = JsonUnreadable(reason, cause=cause)
    error.kind = kind
    return error


class _Reader:
    """Goes through the text token by token, until one is wrong."""

    def __init__(self, raw: bytes) -> None:
        self._raw, self._at = raw, 0
        self._opened: list[str] = []

    def read(self) -> None:
        self._value()
        while self._opened:
            self._after_value()

    def _after_value(self) -> None:
        """What follows a value within an object or list: its end, or a comma and the next value."""
        kind = _NAMES[self._opened[-1]]
        found = self._next()
        if found == "":
            start = _SOURCE.format("UNKNOWN")
            told = f"Unexpected end-of-input: expected close marker for {kind} (start marker at {start})"
            raise _Fault(told, self._at, is_end=True)
        if found in "}]":
            self._close(found)
            return
        if found != ",":
            self._unexpected(f"was expecting comma to separate {kind} entries")
        self._at += 1
        if self._next() == "":
            raise _Fault(f"Unexpected end-of-input within/between {kind} entries", self._at)
        self._entry()

    def _entry(self) -> None:
        if self._opened[-1] == "[":
            self._value()
            return
        if self._next() != '"':
            self._unexpected("was expecting double-quote to start property name")
        self._text("property name")
        if self._next() == "":
            raise _Fault("Unexpected end-of-input within/between Object entries", self._at, is_end=True)
        if self._next() != ":":
            self._unexpected("was expecting a colon to separate property name and value")
        self._at += 1
        self._value()

    def _close(self, found: str) -> None:
        opened = self._opened[-1]
        if found != _CLOSING[opened]:
            where = f"(for {_NAMES[opened]} starting at {_SOURCE.format('UNKNOWN')})"
            raise _Fault(f"Unexpected close marker '{found}': expected '{_CLOSING[opened]}' {where}", self._at)
        self._opened.pop()
        self._at += 1

    def _value(self) -> None:
        match self._next():
            case "":
                kind = _NAMES[self._opened[-1]] if self._opened else "root"
                raise _Fault(f"Unexpected end-of-input within/between {kind} entries", self._at, is_end=True)
            case "{" | "[" as opening:
                self._open(opening)
            case '"':
                self._text("VALUE_STRING")
            case "+":
                self._at += 1
                allow = "enable `JsonReadFeature.ALLOW_LEADING_PLUS_SIGN_FOR_NUMBERS` to allow"
                told = f"in numeric value: JSON spec does not allow numbers to have plus signs: {allow}"
                raise _Fault(f"Unexpected character ('+' (code 43)) {told}", self._at)
            case "]" | "}" as closing if not self._opened:
                raise _Fault(f"Unexpected close marker '{closing}': no open {_opened_by(closing)} to close", self._at)
            case "," | "]" as found if self._opened and (found == "," or self._opened[-1] == "["):
                self._unexpected("expected a value")
            case found if found == "-" or found.isdigit():
                self._number()
            case found if found.isalpha() or found in "_$":
                self._word()
            case _:
                self._unexpected(f"expected a valid value {_VALUES}")

    def _open(self, opening: str) -> None:
        self._opened.append(opening)
        self._at += 1
        found = self._next()
        if found and found != _CLOSING[opening]:
            self._entry()

    def _word(self) -> None:
        found = _WORD.match(self._raw, self._at)
        word = b"" if found is None else found[0]
        if word in _NOT_NUMBERS:
            self._not_a_number(word)
        if word not in (b"true", b"false", b"null"):
            told = f"Unrecognized token '{word.decode('utf-8', 'replace')}': was expecting {_VALUES}"
            raise _Fault(told, self._at)
        self._at += len(word)

    def _not_a_number(self, word: bytes) -> NoReturn:
        allow = "enable `JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS` to allow"
        raise _Fault(f"Non-standard token '{word.decode()}': {allow}", self._at + len(word))

    def _number(self) -> None:
        for word in _NOT_NUMBERS:
            if self._raw.startswith(word, self._at):
                self._not_a_number(word)
        found = _NUMBER.match(self._raw, self._at)
        if found is None:
            self._at += 1
            if self._at == len(self._raw):
                within = "PROPERTY_NAME" if self._opened and self._opened[-1] == "{" else "null"
                raise _Fault(f"Unexpected end-of-input in {within}", self._at, is_end=True)
            self._unexpected("expected digit (0-9) to follow minus sign, for valid numeric value", " in numeric value")
        digits = found[0].lstrip(b"-")
        if digits[:1] == b"0" and digits[1:2].isdigit():
            place = self._at + found[0].index(b"0") + 1
            raise _Fault("Invalid numeric value: Leading zeroes not allowed", place)
        self._at = found.end()
        rest = self._raw[self._at : self._at + 1]
        if rest in (b".", b"e", b"E") and rest:
            fault = "Decimal point" if rest == b"." else "Exponent indicator"
            self._at = min(self._at + 1, len(self._raw) - 1)
            self._unexpected(f"{fault} not followed by a digit", " in numeric value")

    def _text(self, within: str) -> None:
        """A text in quotes."""
        good = _GOOD_TEXT.match(self._raw, self._at + 1)
        assert good is not None
        self._at = good.end()
        rest = self._raw[self._at : self._at + 6]
        if rest[:1] == b'"':
            self._at += 1
        elif not rest:
            raise _Fault(f"Unexpected end-of-input in {within}", self._at, is_end=True)
        elif rest == b"\\":
            raise _Fault("Unexpected end-of-input in character escape sequence", self._at + 1, is_end=True)
        elif rest[:2] == b"\\u":
            self._at += 2 + len(re.match(rb"[0-9a-fA-F]*", rest[2:])[0])  # type: ignore[index]
            self._unexpected("expected a hex-digit for character escape sequence")
        elif rest[:1] == b"\\":
            self._at += 1
            raise _Fault(f"Unrecognized character escape {self._shown()}", self._at)
        else:
            told = f"Illegal unquoted character ((CTRL-CHAR, code {rest[0]}))"
            escaped = "has to be escaped using backslash to be included in"
            what = "string value" if within == "VALUE_STRING" else "name"
            raise _Fault(f"{told}: {escaped} {what}", self._at)

    # ------------------------------------------------------------------ characters

    def _next(self) -> str:
        """The next character that is no blank; empty at the end."""
        found = _BLANKS.match(self._raw, self._at)
        self._at = found.end() if found is not None else self._at
        return self._character()

    def _character(self) -> str:
        return self._raw[self._at : self._at + 4].decode("utf-8", "ignore")[:1]

    def _shown(self) -> str:
        found = self._character()
        return f"'{found}' (code {ord(found) if found else 0})"

    def _unexpected(self, why: str, where: str = "") -> NoReturn:
        raise _Fault(f"Unexpected character ({self._shown()}){where}: {why}", self._at)


def _opened_by(closing: str) -> str:
    return "Object" if closing == "}" else "Array"
