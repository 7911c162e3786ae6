"""What is wrong with the body of a reindex is told in OpenSearch's words, cause by cause, as a real 3.8.0 answered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from taskfan.node.errors import TaskfanError
from taskfan.node.index.by_scroll_body import read_by_query, read_reindex
from taskfan.node.index.by_scroll_request import Kind
from taskfan.node.index.java_maps import as_hash_map

OF_SOURCE = "[reindex] failed to parse field [source]"


def faults(body: dict[str, Any]) -> list[str | None]:
    """The reasons of an error and of its causes, the outermost first."""
    with pytest.raises(TaskfanError) as caught:
        read_reindex(json.dumps(body, separators=(",", ":")).encode())
    told, error = [], caught.value
    while error is not None:
        told.append(error.reason)
        error = error.cause  # type: ignore[assignment]
    return told


def of_source(**source: Any) -> list[str | None]:
    first, *others = faults({"source": {"index": "d", **source}, "dest": {"index": "e"}})
    assert (first or "").endswith(OF_SOURCE)
    return others


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"id": 5, "max": 2}, ["[1:24] [slice] failed to parse field [id]", "max must be greater than id"]),
        ({"max": 2, "id": 5}, ["[1:24] [slice] failed to parse field [id]", "max must be greater than id"]),
        ({"id": -1, "max": 2}, ["[1:24] [slice] failed to parse field [id]", "id must be greater than or equal to 0"]),
        ({"id": 1, "max": 0}, ["[1:17] [slice] failed to parse field [max]", "max must be greater than 1"]),
        ({"id": "a", "max": 2}, ["[1:24] [slice] failed to parse field [id]", 'For input string: "a"']),
        ({"id": True, "max": 2}, ["[1:24] [slice] id doesn't support values of type: VALUE_BOOLEAN"]),
        ({"field": 5, "id": 2}, ["[1:19] [slice] field doesn't support values of type: VALUE_NUMBER"]),
        ({"foo": 1}, ["[1:11] [slice] unknown field [foo]"]),
    ],
)
def test_a_slice_is_read_field_by_field_in_the_order_of_a_hash_map(given: Any, told: list[str]) -> None:
    assert of_source(slice=given) == told


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, [None]),
        ("x", ["class java.lang.String cannot be cast to class java.util.Map (java.lang.String and java.util.Map are "
               "in module java.base of loader 'bootstrap')"]),
        ({"host": 5}, ["Expected [host] to be a string but was [5]"]),
        ({"host": "a:1/x"}, ["[host] must be of the form [scheme]://[host]:[port](/[pathPrefix])? but was [a:1/x]",
                             "The port was not defined in the [host]: a:1/x"]),
        ({"host": "http://a"}, ["[host] must be of the form [scheme]://[host]:[port](/[pathPrefix])? but was "
                                "[http://a]", "The port was not defined in the [host]: http://a"]),
        ({"host": "http://a:1", "username": 5}, ["Expected [username] to be a string but was [5]"]),
        ({"host": "http://a:1", "headers": {"a": 5}},
         ["Expected [headers] to be an object containing strings but has [a=5]"]),
        ({"host": "http://a:1", "socket_timeout": "x"},
         ["failed to parse setting [socket_timeout] with value [x] as a time value: unit is missing or unrecognized"]),
        ({"host": "http://a:1", "foo": 1}, ["Unsupported fields in [remote]: [foo]"]),
    ],
)  # fmt: skip
def test_a_remote_cluster_is_named_in_full(given: Any, told: list[str | None]) -> None:
    assert of_source(remote=given) == told


@pytest.mark.parametrize("query", ["x", 5, True, []])
def test_a_query_is_an_object(query: Any) -> None:
    kind = {str: "VALUE_STRING", int: "VALUE_NUMBER", bool: "VALUE_BOOLEAN", list: "START_ARRAY"}[type(query)]
    assert of_source(query=query) == [f"Unknown key for a {kind} in [query]."]


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ({"foo": 1}, ["[1:41] [reindex] failed to parse field [script]", "[1:35] [script] unknown field [foo]"]),
        ({"source": 1}, ["[1:44] [reindex] failed to parse field [script]",
                         "[1:44] [script] source doesn't support values of type: VALUE_NUMBER"]),
        ({"source": "x", "params": 1}, ["[1:57] [reindex] failed to parse field [script]",
                                        "[1:57] [script] params doesn't support values of type: VALUE_NUMBER"]),
        ({"id": "x", "lang": "y"}, ["[1:54] [reindex] failed to parse field [script]",
                                    "illegally specified <lang> for a stored script"]),
        ({"lang": "y"}, ["[1:45] [reindex] failed to parse field [script]",
                         "must specify either [source] for an inline script or [id] for a stored script"]),
        ({"source": "a", "id": "b"}, ["[1:53] [reindex] failed to parse field [script]",
                                      "[1:53] [script] failed to parse field [id]",
                                      "must only use one of [source, id] when specifying a script"]),
    ],
)  # fmt: skip
def test_a_script_has_a_source_or_the_name_of_a_stored_one(script: Any, told: list[str]) -> None:
    assert faults({"source": {"index": "d"}, "script": script}) == told


def test_a_destination_that_nearly_names_a_field_is_told_which() -> None:
    told = faults({"dest": {"type": "x"}})
    assert told[1] == "[1:10] [dest] unknown field [type] did you mean [op_type]?"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("99999999999", "Numeric value (99999999999) out of range of `int` (-2147483648 - 2147483647)"),
        ("1e20", "Numeric value (1e20) out of range of `int` (-2147483648 - 2147483647)"),
        ('"99999999999"', "Value [99999999999] is out of range for an integer"),
        ('"x"', 'For input string: "x"'),
    ],
)
def test_a_number_of_documents_has_32_bits(written: str, told: str) -> None:
    with pytest.raises(TaskfanError, match=r"^\[1:13\] \[reindex\] failed to parse field \[max_docs\]$") as caught:
        read_reindex(f'{{"max_docs":{written}}}'.encode())
    assert caught.value.cause is not None
    assert (caught.value.cause.reason or "").partition("\n")[0] == told


@pytest.mark.parametrize("written", ["1.7", '"1.7"', "1", '"1"'])
def test_a_fraction_of_a_document_is_cut_off(written: str) -> None:
    assert read_reindex(f'{{"max_docs":{written}}}'.encode()).max_docs == 1


def test_a_size_that_is_wrong_is_called_size() -> None:
    assert faults({"size": -2}) == [
        "[1:9] [reindex] failed to parse field [size]",
        "[max_docs] parameter cannot be negative, found [-2]",
    ]


@pytest.mark.parametrize("index", ["", ",", [], None])
def test_no_index_to_read_from_is_a_fault_of_validation(index: Any) -> None:
    request = read_reindex(json.dumps({"source": {"index": index}, "dest": {"index": "e"}}).encode())
    assert request.faults() == ["use _all if you really want to copy from all existing indexes"]


def test_an_empty_routing_is_none() -> None:
    request = read_reindex(b'{"source":{"index":"d"},"dest":{"index":"e","routing":""}}')
    assert (request.destination.routing, request.faults()) == (None, [])


@pytest.mark.parametrize("raw", [b"[]", b'"x"', b"5", b"null"])
def test_a_body_of_a_by_query_that_is_no_object_counts_as_empty(raw: bytes) -> None:
    assert read_by_query(Kind.UPDATE_BY_QUERY, ("d",), raw).faults() == []
    assert read_by_query(Kind.DELETE_BY_QUERY, ("d",), raw).faults() == ["query is missing"]


@pytest.mark.parametrize(
    ("raw", "found", "wanted"),
    [(b'{"max_docs":"3"}', "String", "Number"), (b'{"conflicts":4}', "Integer", "String")],
)
def test_a_value_of_the_wrong_class_is_a_failed_cast(raw: bytes, found: str, wanted: str) -> None:
    told = (
        rf"^class java\.lang\.{found} cannot be cast to class java\.lang\.{wanted} \(java\.lang\.{found} and "
        rf"java\.lang\.{wanted} are in module java\.base of loader 'bootstrap'\)$"
    )
    with pytest.raises(TaskfanError, match=told) as caught:
        read_by_query(Kind.UPDATE_BY_QUERY, ("d",), raw)
    assert (caught.value.kind, caught.value.http_status) == ("class_cast_exception", 500)


def test_the_order_of_names_is_that_of_a_java_hash_map() -> None:
    # As `new HashMap<>(…).keySet()` gives them in Java.
    assert list(as_hash_map({"id": 5, "max": 2, "field": 1})) == ["field", "max", "id"]
    assert list(as_hash_map({"term": 1, "match_all": 2})) == ["match_all", "term"]
    nested = as_hash_map({"a": [{"id": 1, "max": 2}]})
    assert list(nested["a"][0]) == ["max", "id"]


def test_the_first_query_of_two_is_that_of_the_hash_map() -> None:
    raw = b'{"query":{"term":{"n":3},"match_all":{}}}'
    with pytest.raises(TaskfanError, match=r"\[match_all\] malformed query"):
        read_by_query(Kind.UPDATE_BY_QUERY, ("d",), raw)
