"""A fault in a body is named with its place, as OpenSearch names it."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskfan.node.index.errors import BodyUnreadable, JsonUnreadable, NotXContent
from taskfan.node.index.x_content import Path, read_body, read_document

REINDEX = '{"source": {"index": "golden-src"}, "dest": {"index": "golden-dest"}, "nosuch": 1}'
_SOURCE = "[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); byte offset: #%s]"


@pytest.mark.parametrize(
    ("raw", "path", "part", "place"),
    [
        (REINDEX, ("nosuch",), "key", (1, 71)),
        ('{"max_docs": 0, "source": {}}', ("max_docs",), "value", (1, 14)),
        ('{"query":{}}', ("query",), "end", (1, 11)),
        ('{"a":[1,\n {"b":2}]}', ("a", 1, "b"), "value", (2, 7)),
        ('{"a":{"b":1},"b":2}', ("b",), "value", (1, 18)),
        ('{"a":1}', ("nosuch",), "key", (1, 1)),
    ],
)  # fmt: skip
def test_every_part_of_a_body_has_a_place(raw: str, path: Path, part: object, place: tuple[int, int]) -> None:
    assert read_body(raw.encode()).place(path, part) == place  # type: ignore[arg-type]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(min_size=1), JSON, min_size=1, max_size=4))
def test_the_place_of_a_value_is_where_its_text_begins(value: dict[str, object]) -> None:
    raw = json.dumps(value, indent=1, ensure_ascii=False).encode("utf-8", "replace")
    body = read_body(raw)
    name, found = list(body.value.items())[-1]
    line, column = body.place((name,))

    rest = b"\n".join(raw.split(b"\n")[line - 1 :])[column - 1 :]
    assert json.loads(rest[: len(rest.rstrip()) - 1]) == found


def test_an_empty_body_is_missing() -> None:
    with pytest.raises(BodyUnreadable, match="request body is required"):
        read_body(b"")


@pytest.mark.parametrize(
    ("raw", "kind", "reason"),
    [
        (
            b"not json",
            "json_parse_exception",
            "Unrecognized token 'not': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or "
            "'false')\n at " + _SOURCE % 0,
        ),
        (
            b'{"query":',
            "unexpected_end_of_input_exception",
            "Unexpected end-of-input within/between Object entries\n at " + _SOURCE % 9,
        ),
        (
            b'{"a":1',
            "unexpected_end_of_input_exception",
            "Unexpected end-of-input: expected close marker for Object (start marker at "
            + _SOURCE % "UNKNOWN"
            + ")\n at "
            + _SOURCE % 6,
        ),
    ],
)
def test_text_that_is_no_json_gets_the_words_of_jackson(raw: bytes, kind: str, reason: str) -> None:
    with pytest.raises(JsonUnreadable) as caught:
        read_body(raw)

    assert (caught.value.kind, caught.value.reason, caught.value.http_status) == (kind, reason, 400)
    assert caught.value.cause is not None
    assert caught.value.cause.reason == reason


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(BodyUnreadable, JsonUnreadable):
        assert read_body(raw).raw == raw


@pytest.mark.parametrize("raw", [b"not json", b"[1]", b"5"])
def test_a_document_must_be_an_object(raw: bytes) -> None:
    with pytest.raises(NotXContent, match="Compressor detection can only be called on some xcontent bytes"):
        read_document(raw)
