"""Mappings are checked, grow with the documents, and refuse what does not suit them."""

from __future__ import annotations

from typing import Any

import pytest

from taskfan.node.errors import IllegalArgument
from taskfan.node.index.errors import MapperParsing, StrictDynamicMapping
from taskfan.node.index.field_values import java_double, words
from taskfan.node.index.mappings import FieldTypes, checked_mapping, failed_to_parse, mapping_update, merged
from tests.node.index.builders import mapping_of

TEXT = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}
LONG, FLOAT, DATE = {"type": "long"}, {"type": "float"}, {"type": "date"}


def test_a_document_makes_the_mapping_that_it_makes_in_a_real_index() -> None:
    source = {
        **{"a": "Hello World", "n": 1, "f": 1.5, "b": True, "d": "2020-01-01"},
        **{"o": {"x": 1, "y": ["q", "r"]}, "e": [], "z": None},
    }

    assert mapping_of([source]) == {
        "properties": {
            "a": TEXT,
            "b": {"type": "boolean"},
            "d": DATE,
            "f": FLOAT,
            "n": LONG,
            "o": {"properties": {"x": LONG, "y": TEXT}},
        }
    }


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("2020", TEXT),
        ("2020-01", DATE),
        ("2020-01-02T03", DATE),
        ("2020-01-02T03:04", DATE),
        ("2020-01-02T03:04:05Z", DATE),
        ("2020-01-02T03:04:05.678+01:00", DATE),
        ("2020-13-02", TEXT),
        ("2020-1-2", TEXT),
        ("2020-01-02 03:04:05", TEXT),
        ("12", TEXT),
        ("20201", TEXT),
        (
            "2020/01/02",
            {
                "type": "date",
                "format": "yyyy/MM/dd HH:mm:ss||yyyy/MM/dd||epoch_millis",
                "print_format": "yyyy/MM/dd HH:mm:ss",
            },
        ),
    ],
)
def test_some_texts_look_like_dates(text: str, field: dict[str, Any]) -> None:
    assert mapping_of([{"x": text}])["properties"]["x"] == field


def test_names_with_dots_are_objects() -> None:
    assert mapping_of([{"a.b": "x", "a.c": {"d": 1}}]) == {
        "properties": {"a": {"properties": {"b": TEXT, "c": {"properties": {"d": LONG}}}}}
    }


def test_a_document_without_new_fields_changes_nothing() -> None:
    mapping = mapping_of([{"n": 1, "o": {"x": 1}}])

    assert mapping_update(mapping, {"n": 1.7, "o": {"x": "12"}, "e": []}, "2") is None
    assert mapping_update(mapping, {"o": {"y": 1}}, "2") == {"properties": {"o": {"properties": {"y": LONG}}}}


def test_a_strict_mapping_takes_no_new_field_and_a_false_one_ignores_it() -> None:
    with pytest.raises(StrictDynamicMapping) as caught:
        mapping_update({"dynamic": "strict"}, {"b": 1}, "1")

    assert caught.value.reason == "mapping set to strict, dynamic introduction of [b] within [_doc] is not allowed"
    assert mapping_update({"dynamic": "false"}, {"b": 1}, "1") is None


@pytest.mark.parametrize(
    ("known", "source", "reason", "cause"),
    [
        (
            {"n": LONG},
            {"n": "notnumber"},
            "failed to parse field [n] of type [long] in document with id '1'. Preview of field's value: 'notnumber'",
            {"type": "illegal_argument_exception", "reason": 'For input string: "notnumber"'},
        ),
        (
            {"b": {"type": "boolean"}},
            {"b": "x"},
            "failed to parse field [b] of type [boolean] in document with id '1'. Preview of field's value: 'x'",
            {
                "type": "illegal_argument_exception",
                "reason": "Failed to parse value [x] as only [true] or [false] are allowed.",
            },
        ),
        (
            {"ymd": DATE},
            {"ymd": True},
            "failed to parse field [ymd] of type [date] in document with id '1'. Preview of field's value: 'true'",
            {
                "type": "illegal_argument_exception",
                "reason": "failed to parse date field [true] with format [strict_date_optional_time||epoch_millis]",
                "caused_by": {
                    "type": "date_time_parse_exception",
                    "reason": "Failed to parse with all enclosed parsers",
                },
            },
        ),
        (
            {"s": {"type": "short"}},
            {"s": "70000"},
            "failed to parse field [s] of type [short] in document with id '1'. Preview of field's value: '70000'",
            {"type": "illegal_argument_exception", "reason": "Value [70000] is out of range for a short"},
        ),
        (
            {"ob": {"properties": {"a": LONG}}},
            {"ob": 1},
            "object mapping for [ob] tried to parse field [ob] as object, but found a concrete value",
            None,
        ),
        (
            {},
            {"_id": "x"},
            "failed to parse field [_id] of type [_id] in document with id '1'. Preview of field's value: 'x'",
            {
                "type": "mapper_parsing_exception",
                "reason": "Field [_id] is a metadata field and cannot be added inside a document. Use the index API "
                "request parameters.",
            },
        ),
        (
            {},
            {"a..b": "x"},
            "failed to parse",
            {
                "type": "illegal_argument_exception",
                "reason": "object field starting or ending with a [.] makes object resolution ambiguous: [a..b]",
            },
        ),
        (
            {},
            {"": "x"},
            "failed to parse",
            {"type": "illegal_argument_exception", "reason": "field name cannot be an empty string"},
        ),
    ],
)
def test_a_value_that_does_not_suit_its_field_is_refused(
    known: dict[str, Any], source: dict[str, Any], reason: str, cause: dict[str, Any] | None
) -> None:
    with pytest.raises(MapperParsing) as caught:
        mapping_update({"properties": known}, source, "1")

    assert caught.value.reason == reason
    assert caught.value.to_object().get("caused_by") == cause


@pytest.mark.parametrize(
    "source", [{"n": 1.9}, {"n": "12"}, {"n": ""}, {"n": None}, {"n": [[1]]}, {"n": []}, {"d": 12}, {"b": "false"}]
)
def test_values_that_can_be_read_as_the_type_are_taken(source: dict[str, Any]) -> None:
    mapping = {"properties": {"n": LONG, "d": DATE, "b": {"type": "boolean"}}}

    assert mapping_update(mapping, source, "1") is None


def test_a_mapping_is_given_back_sorted() -> None:
    properties = {"n": {"type": "nested"}, "a": {"properties": {"b": LONG}}, "d": {"type": "date", "format": "yyyy"}}
    more = {"_meta": {"x": 1}, "date_detection": False, "_source": {"enabled": True}, "dynamic": False}
    given = {"properties": properties, **more}

    checked = checked_mapping(given)

    assert list(checked) == ["dynamic", "_meta", "date_detection", "properties"]
    assert checked["dynamic"] == "false"
    assert list(checked["properties"].items()) == [
        ("a", {"properties": {"b": {"type": "long"}}}),
        ("d", {"type": "date", "format": "yyyy"}),
        ("n", {"type": "nested"}),
    ]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"properties": {"a": {"type": "nosuch"}}}, "No handler for type [nosuch] declared on field [a]"),
        ({"properties": {"a": {}}}, "No type specified for field [a]"),
        ({"nosuch": 1}, "Root mapping definition has unsupported parameters:  [nosuch : 1]"),
        ({"nosuch": {}}, "Root mapping definition has unsupported parameters:  [nosuch : {}]"),
        (
            {"properties": {"a": {"type": "keyword", "nosuch": 1}}},
            "unknown parameter [nosuch] on mapper [a] of type [keyword]",
        ),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(MapperParsing) as caught:
        checked_mapping(given)

    assert caught.value.reason == reason
    assert failed_to_parse(caught.value).to_object() == {
        "type": "mapper_parsing_exception",
        "reason": f"Failed to parse mapping [_doc]: {reason}",
        "caused_by": {"type": "mapper_parsing_exception", "reason": reason},
    }


def test_an_object_that_is_not_enabled_is_shown_and_never_looked_at() -> None:
    checked = checked_mapping(
        {"properties": {"o": {"type": "object", "enabled": False}, "p": {"properties": {"a": LONG}}}}
    )

    assert checked["properties"] == {"o": {"type": "object", "enabled": False}, "p": {"properties": {"a": LONG}}}
    assert mapping_update(checked, {"o": {"any": [{"thing": 1}]}}, "1") is None
    assert FieldTypes(checked).get("o") is None


def test_a_field_keeps_its_type() -> None:
    with pytest.raises(IllegalArgument) as caught:
        merged({"properties": {"a": {"type": "keyword"}}}, {"properties": {"a": LONG}})

    assert caught.value.reason == "mapper [a] cannot be changed from type [keyword] to [long]"
    assert merged({"properties": {"a": {"type": "keyword"}}}, {"properties": {"c": LONG}}) == {
        "properties": {"a": {"type": "keyword"}, "c": LONG}
    }


def test_every_field_and_sub_field_can_be_found_by_its_full_name() -> None:
    fields = FieldTypes(mapping_of([{"o": {"word": "w"}, "n": 1}]))

    found = fields.get("o.word.keyword")
    assert found is not None
    assert (found.path, found.type, found.ignore_above) == (("o", "word"), "keyword", 256)
    assert fields.get("o") is None
    assert [field.name for field in fields.under("o")] == ["o.word", "o.word.keyword"]


def test_words_are_in_lower_case_and_numbers_look_as_in_java() -> None:
    assert words("Quick brown-Fox's 2") == ["quick", "brown", "fox's", "2"]
    shown = [java_double(number) for number in (1.0, 1e30, 1.5e7, 0.0001, -2.5)]
    assert shown == ["1.0", "1.0E30", "1.5E7", "1.0E-4", "-2.5"]
