"""Queries are read with OpenSearch's words for their faults, and match what they match in a real index."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from taskfan.node.errors import TaskfanError
from taskfan.node.index.mappings import FieldTypes
from taskfan.node.index.matching import Candidate, bind
from taskfan.node.index.regexps import compile_regexp
from taskfan.node.index.search_source import description, read_count_body, read_search
from taskfan.node.index.suggestions import did_you_mean
from tests.node.index.builders import SHARD, documents, mapping_of

SOURCES: dict[str, dict[str, Any]] = {
    "0": {"n": 0, "word": "w0", "t": "Quick brown Fox", "b": True, "d": "2020-01-02"},
    "1": {"n": 1, "word": "w1", "t": "lazy dog", "f": 1.5},
    "2": {"n": 2, "word": "w2", "o": {"x": 1, "y": "z"}},
    "3": {"n": 3, "word": "w3", "tags": ["a", "b"]},
    "4": {"n": 4},
}
FIELDS = FieldTypes(mapping_of(list(SOURCES.values())))


def found(query: dict[str, Any]) -> dict[str, float]:
    """The ids that match, with their scores."""
    source = read_search(json.dumps({"query": query}).encode())
    assert source.query is not None
    bound = bind(source.query, FIELDS, SHARD)
    scores = {document.id: bound.matcher(Candidate(document)) for document in documents(SOURCES)}
    return {document_id: score for document_id, score in scores.items() if score is not None}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"match_all": {}}, ["0", "1", "2", "3", "4"]),
        ({"match_none": {}}, []),
        ({"match": {"t": "quick DOG"}}, ["0", "1"]),
        ({"match": {"t": {"query": "quick fox", "operator": "and"}}}, ["0"]),
        ({"match": {"t": {"query": "quick dog", "operator": "and"}}}, []),
        ({"match": {"t": {"query": "quick fox dog", "minimum_should_match": 2}}}, ["0"]),
        ({"match": {"n": 1}}, ["1"]),
        ({"term": {"word": "w1"}}, ["1"]),
        ({"term": {"t": "Quick"}}, []),
        ({"term": {"word.keyword": {"value": "w1"}}}, ["1"]),
        ({"term": {"n": 1}}, ["1"]),
        ({"term": {"n": "1"}}, ["1"]),
        ({"term": {"n": 1.5}}, []),
        ({"term": {"b": "true"}}, ["0"]),
        ({"term": {"_id": "3"}}, ["3"]),
        ({"term": {"_index": "golden-dest"}}, ["0", "1", "2", "3", "4"]),
        ({"term": {"nosuch": 1}}, []),
        ({"terms": {"n": [1, 2]}}, ["1", "2"]),
        ({"terms": {"tags.keyword": ["b", "c"]}}, ["3"]),
        ({"ids": {"values": ["1", "2", "9"]}}, ["1", "2"]),
        ({"range": {"n": {"gte": 1, "lt": 3}}}, ["1", "2"]),
        ({"range": {"n": {"gt": 1, "lte": 3}}}, ["2", "3"]),
        ({"range": {"n": {"from": 1, "to": 3, "include_upper": False}}}, ["1", "2"]),
        ({"range": {"d": {"gte": "2020-01-01"}}}, ["0"]),
        ({"range": {"d": {"lt": "2020-01-02"}}}, []),
        ({"range": {"word.keyword": {"gte": "w2"}}}, ["2", "3"]),
        ({"exists": {"field": "f"}}, ["1"]),
        ({"exists": {"field": "o"}}, ["2"]),
        ({"exists": {"field": "o.y"}}, ["2"]),
        ({"exists": {"field": "nosuch"}}, []),
        ({"regexp": {"word.keyword": "w[0-2]"}}, ["0", "1", "2"]),
        ({"regexp": {"word.keyword": "w"}}, []),
        ({"bool": {}}, ["0", "1", "2", "3", "4"]),
        ({"bool": {"must_not": {"term": {"n": 4}}}}, ["0", "1", "2", "3"]),
        ({"bool": {"filter": [{"range": {"n": {"gte": 2}}}], "must_not": [{"ids": {"values": ["3"]}}]}}, ["2", "4"]),
        ({"bool": {"should": [{"term": {"n": 1}}, {"term": {"n": 2}}]}}, ["1", "2"]),
        ({"bool": {"should": [{"term": {"n": 1}}], "filter": [{"match_all": {}}]}}, ["0", "1", "2", "3", "4"]),
        (
            {"bool": {"should": [{"term": {"n": 1}}, {"exists": {"field": "f"}}], "minimum_should_match": 2}},
            ["1"],
        ),
        (
            {"bool": {"should": [{"term": {"n": 1}}, {"exists": {"field": "n"}}], "minimum_should_match": "100%"}},
            ["1"],
        ),
    ],
)
def test_a_query_matches_these_documents(query: dict[str, Any], expected: list[str]) -> None:
    assert list(found(query)) == expected


@pytest.mark.parametrize(
    ("query", "score"),
    [
        ({"match_all": {}}, 1.0),
        ({"term": {"n": 1}}, 1.0),
        ({"bool": {"filter": [{"term": {"n": 1}}]}}, 0.0),
        ({"bool": {"must_not": {"term": {"n": 4}}}}, 0.0),
        ({"bool": {"must": [{"term": {"n": 1}}], "should": [{"term": {"n": 1}}]}}, 2.0),
    ],
)
def test_clauses_that_score_are_added_and_filters_are_not(query: dict[str, Any], score: float) -> None:
    assert found(query)["1"] == score


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ('{"aggs":{}}', "[aggs] is a part of searches of OpenSearch that taskfan does not have; it has query, from, "),
        ('{"query":{"prefix":{"a":"b"}}}', "[prefix] is a query of OpenSearch that taskfan does not have; it has "),
    ],
)
def test_what_only_opensearch_has_is_refused_as_such(raw: str, reason: str) -> None:
    with pytest.raises(TaskfanError) as caught:
        read_search(raw.encode())
    assert (caught.value.kind, caught.value.http_status) == ("not_implemented_exception", 501)
    assert str(caught.value.reason).startswith(reason)


@pytest.mark.parametrize(
    ("raw", "kind", "reason", "place"),
    [
        ('{"query":{"nosuch":{"a":1}}}', "parsing_exception", "unknown query [nosuch]", (1, 20)),
        (
            '{"query":{"matchall":{"a":1}}}',
            "parsing_exception",
            "unknown query [matchall] did you mean any of [match_all, match]?",
            (1, 22),
        ),
        (
            '{"query":{"match_al":{"a":1}}}',
            "parsing_exception",
            "unknown query [match_al] did you mean any of [match_all, match, match_none, match_phrase]?",
            (1, 22),
        ),
        (
            '{"query":{"bool":{"must":[{"nosuch":{"a":1}}]}}}',
            "x_content_parse_exception",
            "[1:37] [bool] failed to parse field [must]",
            (1, 37),
        ),
        (
            '{"query":{"bool":{"nosuch":[{"match_all":{}}]}}}',
            "x_content_parse_exception",
            "[1:19] [bool] unknown field [nosuch]",
            (1, 19),
        ),
        (
            '{"query":{}}',
            "illegal_argument_exception",
            "query malformed, empty clause found at [1:11]",
            None,
        ),
        ('{"query":[]}', "parsing_exception", "Unknown key for a START_ARRAY in [query].", (1, 10)),
        ('{"query":{"term":{}}}', "illegal_argument_exception", "field name is null or empty", None),
        (
            '{"query":{"term":{"a":1,"b":2}}}',
            "parsing_exception",
            "[term] query doesn't support multiple fields, found [a] and [b]",
            (1, 29),
        ),
        (
            '{"query":{"term":5}}',
            "parsing_exception",
            "[term] query malformed, no start_object after query name",
            (1, 18),
        ),
        (
            '{"query":{"match_all":{"x":1}}}',
            "parsing_exception",
            "[1:24] [match_all] unknown field [x]",
            (1, 28),
        ),
        (
            '{"query":{"match_all":{}, "term":{}}}',
            "parsing_exception",
            "[match_all] malformed query, expected [END_OBJECT] but found [FIELD_NAME]",
            (1, 27),
        ),
        (
            '{"query":{"range":{"n":{"gte":1,"nosuch":3}}}}',
            "parsing_exception",
            "[range] query does not support [nosuch]",
            (1, 42),
        ),
        (
            '{"query":{"regexp":{"word.keyword":{"value":"w0","nosuch":1}}}}',
            "parsing_exception",
            "[regexp] query does not support [nosuch]",
            (1, 59),
        ),
        ('{"nosuch":1}', "parsing_exception", "Unknown key for a VALUE_NUMBER in [nosuch].", (1, 11)),
        ('{"size":-1}', "illegal_argument_exception", "[size] parameter cannot be negative, found [-1]", None),
        ('{"from":-1}', "illegal_argument_exception", "[from] parameter cannot be negative, found [-1]", None),
        ('{"size":"x"}', "number_format_exception", 'For input string: "x"', None),
        (
            '{"slice":{"id":2,"max":2}}',
            "x_content_parse_exception",
            "[1:24] [slice] failed to parse field [max]",
            (1, 24),
        ),
    ],
)
def test_a_search_that_cannot_be_read_is_refused_with_the_place(
    raw: str, kind: str, reason: str, place: tuple[int, int] | None
) -> None:
    with pytest.raises(TaskfanError) as caught:
        read_search(raw.encode())

    error = caught.value
    assert (error.kind, error.reason, error.http_status) == (kind, reason, 400)
    assert (getattr(error, "line", None), getattr(error, "column", None)) == (place or (None, None))


def test_an_unknown_query_is_shown_as_by_a_real_node() -> None:
    with pytest.raises(TaskfanError) as caught:
        read_search(b'{"query":{"nosuch":{"a":1}}}')

    assert caught.value.to_object() == {
        "type": "parsing_exception",
        "reason": "unknown query [nosuch]",
        "line": 1,
        "col": 20,
        "caused_by": {"type": "named_object_not_found_exception", "reason": "[1:20] unknown field [nosuch]"},
    }


def test_a_fault_within_a_bool_keeps_its_cause() -> None:
    with pytest.raises(TaskfanError) as caught:
        read_search(b'{"query":{"bool":{"must":[{"nosuch":{"a":1}}]}}}')

    assert caught.value.to_object() == {
        "type": "x_content_parse_exception",
        "reason": "[1:37] [bool] failed to parse field [must]",
        "caused_by": {
            "type": "parsing_exception",
            "reason": "unknown query [nosuch]",
            "line": 1,
            "col": 37,
            "caused_by": {"type": "named_object_not_found_exception", "reason": "[1:37] unknown field [nosuch]"},
        },
    }


def test_a_count_takes_nothing_but_a_query() -> None:
    assert read_count_body(b"").size == 0
    with pytest.raises(TaskfanError, match=r"request does not support \[size\]"):
        read_count_body(b'{"size":1}')


@pytest.mark.parametrize(
    ("query", "reason", "cause"),
    [
        ({"term": {"n": "x"}}, 'failed to create query: For input string: "x"', "number_format_exception"),
        (
            {"regexp": {"n": {"value": "1"}}},
            "Can only use regexp queries on keyword and text fields - not on [n] which is of type [long]",
            None,
        ),
        (
            {"regexp": {"word.keyword": {"value": "(w"}}},
            "failed to create query: expected ')' at position 2",
            "illegal_argument_exception",
        ),
    ],
)
def test_a_query_that_the_fields_do_not_allow_fails_on_the_shard(
    query: dict[str, Any], reason: str, cause: str | None
) -> None:
    with pytest.raises(TaskfanError) as caught:
        found(query)

    assert (caught.value.kind, caught.value.reason, caught.value.http_status) == ("query_shard_exception", reason, 400)
    assert (caught.value.cause.kind if caught.value.cause is not None else None) == cause


def test_a_regular_expression_costs_twice_as_much_for_each_character_that_it_looks_ahead() -> None:
    costs = [compile_regexp(f"(w|x)*w(w|x){{{ahead}}}", 1_000_000).work_units for ahead in (8, 9, 10, 11)]

    assert [round(after / before, 1) for before, after in itertools.pairwise(costs)] == [2.2, 2.2, 2.2]
    assert compile_regexp("(w|x)*w(w|x){14}", 1_000_000).work_units == 278_529
    assert compile_regexp("w[0-2]").work_units == 3


def test_a_regular_expression_that_costs_too_much_is_refused() -> None:
    with pytest.raises(TaskfanError) as caught:
        compile_regexp("(w|x)*w(w|x){14}")

    assert caught.value.kind == "too_complex_to_determinize_exception"
    assert (caught.value.reason or "").endswith("would require more than 10000 effort.")


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("a.c", "abc", "ac"),
        ("ab?c+", "acc", "ab"),
        ("(ab|cd)*", "abcdab", "abc"),
        ("", "", "a"),
        ("a{2,3}", "aaa", "a"),
        ("a{2,}", "aaaaa", "a"),
        ("[^a-c]", "d", "b"),
        (r"a\.b", "a.b", "axb"),
        ('"a.b"', "a.b", "axb"),
        ("(a*)*b", "aaab", "a" * 200),
    ],
)
def test_a_regular_expression_matches_whole_values(pattern: str, matching: str, other: str) -> None:
    compiled = compile_regexp(pattern)

    assert compiled.matches(matching)
    assert not compiled.matches(other)


def test_a_search_describes_itself_as_a_real_one() -> None:
    regexp = {"word.keyword": {"value": "(w|x)*", "max_determinized_states": 1000000}}
    source = read_search(json.dumps({"query": {"bool": {"should": [{"regexp": regexp}]}}, "sort": "n"}).encode())

    assert description("golden-src", source) == (
        'indices[golden-src], search_type[QUERY_THEN_FETCH], source[{"query":{"bool":{"should":[{"regexp":'
        '{"word.keyword":{"value":"(w|x)*","flags_value":255,"max_determinized_states":1000000,"boost":1.0}}}],'
        '"adjust_pure_negative":true,"boost":1.0}},"sort":[{"n":{"order":"asc"}}]}]'
    )
    assert description("a,b", None, "1m") == "indices[a,b], search_type[QUERY_THEN_FETCH], scroll[1m], source[]"


def test_words_that_are_far_from_all_get_no_advice() -> None:
    assert did_you_mean("zzzz", ["match", "term"]) == ""
    assert did_you_mean("trem", ["match", "term"]) == ""
    assert did_you_mean("terms_", ["match", "terms"]) == " did you mean [terms]?"
