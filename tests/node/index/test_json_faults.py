"""What is wrong with JSON is told in Jackson's words, at its place, as a real OpenSearch 3.8.0 told it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskfan.node.index.json_faults import json_fault

NO_COMMA = "was expecting comma to separate Object entries"
NO_QUOTE = "was expecting double-quote to start property name"
END, BAD = "unexpected_end_of_input_exception", "json_parse_exception"
OBJECT_OPEN = "Unexpected end-of-input: expected close marker for Object (start marker at [S #UNKNOWN])"
VALUES = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"


def told(raw: bytes) -> tuple[str, str, int]:
    """Kind, reason and offset."""
    error = json_fault(raw)
    text = (error.reason or "").replace(
        "[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); byte offset: ", "[S "
    )
    reason, _, offset = text.rpartition("\n at [S #")
    return error.kind, reason, int(offset.rstrip("]"))


@pytest.mark.parametrize(
    ("raw", "kind", "reason", "offset"),
    [
        ("{", END, OBJECT_OPEN, 1),
        ('{"a"', END, "Unexpected end-of-input within/between Object entries", 4),
        ('{"a":', END, "Unexpected end-of-input within/between Object entries", 5),
        ('{"a":1', END, OBJECT_OPEN, 6),
        ('{"a":{"b":1}', END, OBJECT_OPEN, 12),
        ('{"a":[', END, OBJECT_OPEN.replace("Object", "Array"), 6),
        ('{"a":1,', BAD, "Unexpected end-of-input within/between Object entries", 7),
        ('{"a":"x', END, "Unexpected end-of-input in VALUE_STRING", 7),
        ('{"a', END, "Unexpected end-of-input in property name", 3),
        ('{"a\\', END, "Unexpected end-of-input in character escape sequence", 4),
        ('{"a":-', END, "Unexpected end-of-input in PROPERTY_NAME", 6),
        ("-", END, "Unexpected end-of-input in null", 1),
        ('{"a":1,}', BAD, "Unexpected character ('}' (code 125)): " + NO_QUOTE, 7),
        ("{'a':1}", BAD, "Unexpected character (''' (code 39)): " + NO_QUOTE, 1),
        ("{a:1}", BAD, "Unexpected character ('a' (code 97)): " + NO_QUOTE, 1),
        ("{,}", BAD, "Unexpected character (',' (code 44)): " + NO_QUOTE, 1),
        ('{"a" 1}', BAD, "Unexpected character ('1' (code 49)): was expecting a colon to separate property name and "
                         "value", 5),
        ('{"a":1 "b":2}', BAD, "Unexpected character ('\"' (code 34)): " + NO_COMMA, 7),
        ('{"a":1;}', BAD, "Unexpected character (';' (code 59)): " + NO_COMMA, 6),
        ('{"a":"b"c}', BAD, "Unexpected character ('c' (code 99)): " + NO_COMMA, 8),
        ('{"a":1x}', BAD, "Unexpected character ('x' (code 120)): " + NO_COMMA, 6),
        ('{"a":[1 2]}', BAD, "Unexpected character ('2' (code 50)): was expecting comma to separate Array entries", 8),
        ('{"a":[1,]}', BAD, "Unexpected character (']' (code 93)): expected a value", 8),
        ('{"a":,}', BAD, "Unexpected character (',' (code 44)): expected a value", 5),
        ('{"a":]}', BAD, f"Unexpected character (']' (code 93)): expected a valid value {VALUES}", 5),
        ('{"a":.5}', BAD, f"Unexpected character ('.' (code 46)): expected a valid value {VALUES}", 5),
        ("'x'", BAD, f"Unexpected character (''' (code 39)): expected a valid value {VALUES}", 0),
        ("}", BAD, "Unexpected close marker '}': no open Object to close", 0),
        ("]", BAD, "Unexpected close marker ']': no open Array to close", 0),
        ('{"a":[1,2}', BAD, "Unexpected close marker '}': expected ']' (for Array starting at [S #UNKNOWN])", 9),
        ('{"a":1]', BAD, "Unexpected close marker ']': expected '}' (for Object starting at [S #UNKNOWN])", 6),
        ('{"a":tru}', BAD, f"Unrecognized token 'tru': was expecting {VALUES}", 5),
        ('{"a":true1}', BAD, f"Unrecognized token 'true1': was expecting {VALUES}", 5),
        ('{"a":"é","b":x}', BAD, f"Unrecognized token 'x': was expecting {VALUES}", 14),
        ("abc", BAD, f"Unrecognized token 'abc': was expecting {VALUES}", 0),
        ('{"a":01}', BAD, "Invalid numeric value: Leading zeroes not allowed", 6),
        ('{"a":+1}', BAD, "Unexpected character ('+' (code 43)) in numeric value: JSON spec does not allow numbers to "
                          "have plus signs: enable `JsonReadFeature.ALLOW_LEADING_PLUS_SIGN_FOR_NUMBERS` to allow", 6),
        ('{"a":-}', BAD, "Unexpected character ('}' (code 125)) in numeric value: expected digit (0-9) to follow minus "
                         "sign, for valid numeric value", 6),
        ('{"a":1.}', BAD, "Unexpected character ('}' (code 125)) in numeric value: Decimal point not followed by a "
                          "digit", 7),
        ('{"a":1.', BAD, "Unexpected character ('.' (code 46)) in numeric value: Decimal point not followed by a "
                         "digit", 6),
        ('{"a":1e}', BAD, "Unexpected character ('}' (code 125)) in numeric value: Exponent indicator not followed by "
                          "a digit", 7),
        ('{"a":NaN}', BAD, "Non-standard token 'NaN': enable `JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS` to allow", 8),
        ('{"a":-Infinity}', BAD, "Non-standard token '-Infinity': enable `JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS` "
                                 "to allow", 14),
        ('{"a":"\\x"}', BAD, "Unrecognized character escape 'x' (code 120)", 7),
        ('{"a":"\\u12"}', BAD, "Unexpected character ('\"' (code 34)): expected a hex-digit for character escape "
                               "sequence", 10),
        ('{"a":"x\ny"}', BAD, "Illegal unquoted character ((CTRL-CHAR, code 10)): has to be escaped using backslash to "
                              "be included in string value", 7),
    ],
)  # fmt: skip
def test_a_fault_is_told_in_jacksons_words(raw: str, kind: str, reason: str, offset: int) -> None:
    assert told(raw.encode()) == (kind, reason, offset)


def test_the_cause_of_a_bad_character_is_one_of_reading() -> None:
    for raw, kind in ((b"{a:1}", "stream_read_exception"), (b"{", END)):
        error = json_fault(raw)
        assert error.cause is not None
        assert (error.cause.kind, error.cause.reason) == (kind, error.reason)


@given(st.binary(max_size=30) | st.text(alphabet='{}[]",:1-+.eE\\utrfalsnb \n', max_size=30).map(str.encode))
def test_any_text_that_is_no_json_has_a_fault(raw: bytes) -> None:
    try:
        msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        assert json_fault(raw).reason
