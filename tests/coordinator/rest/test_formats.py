"""Answers in other formats, indented, and compressed."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import cbor2
import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from taskfan.coordinator.rest.errors import FormatNotServed
from taskfan.coordinator.rest.filter_path import PathFilter
from taskfan.coordinator.rest.formats import (
    Options,
    accepted_encoding,
    choose,
    compress,
    decompress,
    of_media_type,
    pretty,
    read_value,
    write,
)
from taskfan.coordinator.rest.messages import Answer

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def test_indented_json_looks_as_jackson_writes_it() -> None:
    value = {"a": {"b": [1, "é/\n"], "c": {}, "d": []}, "e": 100.0, "f": None}
    assert pretty(value).decode() == (
        "{\n"
        '  "a" : {\n'
        '    "b" : [\n'
        "      1,\n"
        '      "é/\\n"\n'
        "    ],\n"
        '    "c" : { },\n'
        '    "d" : [ ]\n'
        "  },\n"
        '  "e" : 100.0,\n'
        '  "f" : null\n'
        "}\n"
    )


@given(JSON)
def test_indented_json_is_the_same_json(value: Any) -> None:
    assert msgspec.json.decode(pretty(value)) == value


def test_json_parts_go_out_as_they_came() -> None:
    parts = [b'{"a":', b"1}"]
    content_type, written = write(Answer(parts), Options(), "json")
    assert content_type == "application/json; charset=UTF-8"
    assert written is parts


def test_a_filter_is_applied_before_the_format() -> None:
    options = Options(filter_path=PathFilter.parse("a"))
    assert write(Answer([b'{"a":1,"b":2}']), options, "json")[1] == [b'{"a":1}']
    assert write(Answer([b'{"a":1,"b":2}']), options, "yaml")[1] == [b"---\na: 1\n"]


def test_yaml_looks_as_jackson_writes_it() -> None:
    value = {"tasks": [{"node": "x", "id": 5, "on": "yes", "headers": {}, "list": []}], "n": None, "b": True}
    content_type, (body,) = write(Answer([msgspec.json.encode(value)]), Options(), "yaml")
    assert content_type == "application/yaml"
    assert body.decode() == (
        '---\ntasks:\n- node: "x"\n  id: 5\n  "on": "yes"\n  headers: {}\n  list: []\nn: null\nb: true\n'
    )


@given(JSON)
def test_yaml_and_cbor_say_the_same_as_json(value: Any) -> None:
    answer = Answer([msgspec.json.encode(value)])
    assert cbor2.loads(write(answer, Options(), "cbor")[1][0]) == value
    assert yaml.safe_load(write(answer, Options(), "yaml")[1][0]) == value


def test_a_rate_in_cbor_has_the_bits_of_a_java_float() -> None:
    body = {"slices": [{"requests_per_second": 0.01}, None], "requests_per_second": -1.0, "other": 0.01}
    [written] = write(Answer([msgspec.json.encode(body)]), Options(), "cbor")[1]
    rate = 0.009999999776482582
    assert cbor2.loads(written) == {
        "slices": [{"requests_per_second": rate}, None],
        "requests_per_second": -1.0,
        "other": 0.01,
    }


def test_smile_is_refused_with_what_to_do() -> None:
    with pytest.raises(FormatNotServed, match="format=json, yaml or cbor"):
        write(Answer([b"{}"]), Options(), "smile")


@pytest.mark.parametrize(
    ("format", "accept", "body_type", "chosen"),
    [
        (None, None, None, "json"),
        ("yaml", "application/cbor", None, "yaml"),
        ("YAML", None, None, "yaml"),
        ("nosuch", "application/cbor", None, "cbor"),
        (None, "application/cbor", None, "cbor"),
        (None, "text/html", None, "json"),
        (None, "text/plain", "application/yaml", "yaml"),
        (None, "*/*", None, "json"),
        ("text", None, "application/json", "json"),
    ],
)
def test_the_format_is_chosen_in_opensearchs_order(
    format: str | None, accept: str | None, body_type: str | None, chosen: str
) -> None:
    assert choose(Options(format=format), accept, body_type) == chosen


@pytest.mark.parametrize(
    ("header", "format"),
    [
        ("application/json", "json"),
        ("Application/JSON; charset=utf-8", "json"),
        ("application/x-ndjson", "json"),
        ("application/*", "json"),
        ("application/vnd.opensearch+json; compatible-with=7", "json"),
        ("application/yaml", "yaml"),
        ("text/json", None),
        ("application/x-www-form-urlencoded", None),
        ("", None),
        (None, None),
    ],
)
def test_a_media_type_names_a_format(header: str | None, format: str | None) -> None:
    assert of_media_type(header) == format


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 5000])
def test_a_body_that_cannot_be_read_is_a_value_error(body: bytes) -> None:
    for format in ("json", "cbor", "smile"):
        with pytest.raises(ValueError, match=r"."):
            read_value(body, format)


# ---------------------------------------------------------------------- compression


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate, br", "gzip"),
        ("gzip;q=0.5, deflate", "deflate"),
        ("gzip;q=0", None),
        ("gzip;q=x", None),
        ("*", "gzip"),
        ("*, gzip;q=0", "deflate"),
        ("*;q=0", None),
        ("br", None),
    ],
)
def test_an_encoding_is_accepted_as_netty_reads_it(header: str | None, encoding: str | None) -> None:
    assert accepted_encoding(header) == encoding


@given(st.lists(st.binary()))
def test_what_is_compressed_is_read_back(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    assert gzip.decompress(b"".join(compress(parts, "gzip"))) == whole
    assert zlib.decompress(b"".join(compress(parts, "deflate"))) == whole
    for encoding in ("gzip", "deflate"):
        assert decompress(b"".join(compress(parts, encoding)), encoding, len(whole)) == whole


def test_a_bare_deflate_stream_is_read_too() -> None:
    compressor = zlib.compressobj(wbits=-15)
    assert decompress(compressor.compress(b"abc") + compressor.flush(), "deflate", 10) == b"abc"


def test_a_small_body_cannot_become_a_large_one() -> None:
    bomb = gzip.compress(bytes(1 << 20))
    assert decompress(bomb, "gzip", (1 << 20) - 1) is None


@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(b"whole", mtime=0)[:-9]])
def test_a_broken_body_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decompress(body, "gzip", 100)
