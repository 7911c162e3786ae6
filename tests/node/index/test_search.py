"""A search over shards finds the same hits as one over all documents, and answers as a real node does."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskfan.node.errors import IllegalArgument, IndexNotFound, TaskfanError
from taskfan.node.index.documents import Document
from taskfan.node.index.errors import QueryShardFailed, SearchPhaseFailed, ShardId, ShardSearchFailure
from taskfan.node.index.index_names import SEARCH_OPTIONS
from taskfan.node.index.multi_search import parse_multi_search
from taskfan.node.index.routing import shard_of
from taskfan.node.index.search_merge import (
    Merged,
    MultiSearchAnswer,
    SearchAnswer,
    ShardTotals,
    check_failures,
    count_answer,
    in_order,
    merge,
)
from taskfan.node.index.search_phases import QueryResult, ShardTarget, fetch, query_pieces, query_shard
from taskfan.node.index.search_source import SearchSource, read_search
from taskfan.node.index.sorting import order_key, parse_sort_parameter
from tests.node.index.builders import SHARD, UUID, documents, target

SOURCES: dict[str, dict[str, Any]] = {
    "0": {"n": 0, "word": "w0", "b": True, "d": "2020-01-02"},
    "1": {"n": 1, "word": "w1", "f": 1.5},
    "2": {"n": 2, "word": "w2", "o": {"x": 1, "y": "z"}},
    "3": {"n": 3, "word": "w3", "tags": ["a", "b"]},
    "4": {"n": 4},
}
ALL_OK = ShardTotals(1, 1)


def search(body: dict[str, Any], shards: int = 1, *, scroll: bool = False, **more: Any) -> dict[str, Any]:
    """The answer to a search, over documents spread as a real index spreads them."""
    source = read_search(json.dumps(body).encode())
    parts = [{key: value for key, value in SOURCES.items() if shard_of(key, shards) == n} for n in range(shards)]
    views = [documents(part) for part in parts]
    where = [target(SOURCES, number, shards) for number in range(shards)]
    results = [query_shard(view, source, at, scroll=scroll) for view, at in zip(views, where, strict=True)]
    merged = merge([result.top(source.first + source.count) for result in results], source, scroll=scroll)
    fetched = [fetch("s1", view, merged.wanted_of(number), source) for number, view in enumerate(views)]
    answer = SearchAnswer(3, ShardTotals(shards, shards), merged, tuple(in_order(merged, fetched)))
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(answer.to_object(source, **more)))
    return found


def test_the_answer_is_that_of_a_real_search_sorted_by_a_field() -> None:
    assert search({"size": 1, "sort": "n"}) == {
        "took": 3,
        "timed_out": False,
        "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0},
        "hits": {
            "total": {"value": 5, "relation": "eq"},
            "max_score": None,
            "hits": [{"_index": "s1", "_id": "0", "_score": None, "_source": SOURCES["0"], "sort": [0]}],
        },
    }


def test_a_search_for_everything_scores_one_and_keeps_the_order_of_the_shards() -> None:
    answer = search({}, shards=3)

    assert list(answer) == ["took", "timed_out", "_shards", "hits"]
    assert list(answer["hits"]) == ["total", "max_score", "hits"]
    assert answer["hits"]["max_score"] == 1.0
    # As recorded: shard 0 has 0, 2, 3 and 4, shard 1 nothing, shard 2 has 1.
    assert [hit["_id"] for hit in answer["hits"]["hits"]] == ["0", "2", "3", "4", "1"]
    assert {hit["_score"] for hit in answer["hits"]["hits"]} == {1.0}


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ([{"n": "desc"}], [("4", [4]), ("3", [3]), ("2", [2]), ("1", [1]), ("0", [0])]),
        ("word.keyword", [("0", ["w0"]), ("1", ["w1"]), ("2", ["w2"]), ("3", ["w3"]), ("4", [None])]),
        (
            [{"word.keyword": {"order": "desc", "missing": "_first"}}],
            [("4", [None]), ("3", ["w3"]), ("2", ["w2"]), ("1", ["w1"]), ("0", ["w0"])],
        ),
        ("f", [("1", [1.5]), ("0", ["Infinity"]), ("2", ["Infinity"]), ("3", ["Infinity"]), ("4", ["Infinity"])]),
        ("d", [("0", [1577923200000]), *((key, [2**63 - 1]) for key in ("2", "3", "4", "1"))]),
        ("b", [("0", [1]), *((key, [2**31 - 1]) for key in ("2", "3", "4", "1"))]),
        ("_id", [(key, [key]) for key in "01234"]),
        (
            [{"nosuch": {"unmapped_type": "long"}}],
            [(key, [2**63 - 1]) for key in ("0", "2", "3", "4", "1")],
        ),
        ("tags.keyword", [("3", ["a"]), *((key, [None]) for key in ("0", "2", "4", "1"))]),
    ],
)
def test_hits_are_sorted_and_show_what_by(sort: Any, expected: list[tuple[str, list[Any]]]) -> None:
    hits = search({"sort": sort}, shards=3)["hits"]["hits"]
    if sort == "f":
        # Equals stand in the order of the shards.
        expected = [expected[0], *sorted(expected[1:], key=lambda found: (shard_of(found[0], 3), found[0]))]

    assert [(hit["_id"], hit["sort"]) for hit in hits] == expected


@pytest.mark.parametrize(
    ("body", "total"),
    [
        ({"size": 0}, {"value": 5, "relation": "eq"}),
        ({"size": 0, "track_total_hits": 2}, {"value": 2, "relation": "gte"}),
        ({"size": 0, "track_total_hits": True}, {"value": 5, "relation": "eq"}),
        ({"size": 0, "track_total_hits": False}, None),
        ({"size": 1, "query": {"term": {"n": 4}}}, {"value": 1, "relation": "eq"}),
    ],
)
def test_hits_are_counted_as_far_as_was_asked(body: dict[str, Any], total: dict[str, Any] | None) -> None:
    assert search(body, shards=3)["hits"].get("total") == total


def test_a_scroll_counts_all_hits_whatever_was_asked() -> None:
    found = search({"size": 1, "track_total_hits": 2}, shards=3, scroll=True)
    assert found["hits"]["total"] == {"value": 5, "relation": "eq"}


def test_a_total_can_be_a_bare_number() -> None:
    assert search({"size": 0}, total_as_int=True)["hits"] == {"total": 5, "max_score": None, "hits": []}


def test_versions_and_parts_of_the_source_are_shown_when_asked_for() -> None:
    body = {"query": {"term": {"n": 2}}, "version": True, "seq_no_primary_term": True, "_source": ["n", "o.x"]}

    assert search(body)["hits"]["hits"] == [
        {
            "_index": "s1",
            "_id": "2",
            "_version": 1,
            "_seq_no": 2,
            "_primary_term": 1,
            "_score": 1.0,
            "_source": {"n": 2, "o": {"x": 1}},
        }
    ]
    assert "_source" not in search({"_source": False})["hits"]["hits"][0]


@pytest.mark.parametrize(
    ("body", "scroll", "kind", "reason"),
    [
        (
            {"from": 10000, "size": 1},
            False,
            "illegal_argument_exception",
            "Result window is too large, from + size must be less than or equal to: [10000] but was [10001]. See the "
            "scroll api for a more efficient way to request large data sets. This limit can be set by changing the "
            "[index.max_result_window] index level setting.",
        ),
        (
            {"size": 10001},
            True,
            "illegal_argument_exception",
            "Batch size is too large, size must be less than or equal to: [10000] but was [10001]. Scroll batch sizes "
            "cost as much memory as result windows so they are controlled by the [index.max_result_window] index "
            "level setting.",
        ),
        (
            {"slice": {"id": 0, "max": 2}},
            False,
            "search_exception",
            "`slice` cannot be used outside of a scroll context or PIT context",
        ),
        (
            {"slice": {"id": 0, "max": 1025}},
            True,
            "illegal_argument_exception",
            "The number of slices [1025] is too large. It must be less than [1024]. This limit can be set by changing "
            "the [index.max_slices_per_scroll] index level setting.",
        ),
        ({"sort": "nosuch"}, False, "query_shard_exception", "No mapping found for [nosuch] in order to sort on"),
    ],
)
def test_a_shard_refuses_what_its_index_does_not_allow(
    body: dict[str, Any], scroll: bool, kind: str, reason: str
) -> None:
    with pytest.raises(TaskfanError) as caught:
        search(body, scroll=scroll)

    assert (caught.value.kind, caught.value.reason) == (kind, reason)


def test_text_is_nothing_to_sort_by() -> None:
    with pytest.raises(IllegalArgument, match="Text fields are not optimised for operations"):
        search({"sort": "word"})


def test_slices_of_a_scroll_part_the_documents() -> None:
    # As recorded: the two slices of three shards.
    parts = [search({"slice": {"id": n, "max": 2}}, shards=3, scroll=True)["hits"]["hits"] for n in range(2)]

    assert sorted(hit["_id"] for part in parts for hit in part) == ["0", "1", "2", "3", "4"]


def test_a_slice_over_a_number_holds_what_it_holds_in_a_real_shard() -> None:
    parts = [
        [hit["_id"] for hit in search({"slice": {"field": "n", "id": n, "max": 3}}, scroll=True)["hits"]["hits"]]
        for n in range(3)
    ]

    assert parts == [["0", "2"], [], ["1", "3", "4"]]


def test_the_search_of_all_shards_fails_with_one_failure_for_each_cause() -> None:
    failures = [
        ShardSearchFailure(ShardId("s1", UUID, n), "node", QueryShardFailed(ShardId("s1", UUID, n), "No mapping found"))
        for n in range(3)
    ]
    with pytest.raises(SearchPhaseFailed) as caught:
        check_failures("query", ShardTotals(3, 0, tuple(failures)))

    cause = {"type": "query_shard_exception", "reason": "No mapping found", "index": "s1", "index_uuid": UUID}
    assert caught.value.http_status == 400
    assert caught.value.to_object() == {
        "type": "search_phase_execution_exception",
        "reason": "all shards failed",
        "phase": "query",
        "grouped": True,
        "failed_shards": [{"shard": 0, "index": "s1", "node": "node", "reason": cause}],
        "caused_by": cause,
    }
    assert [error.to_object() for error in caught.value.root_causes] == [cause]


def test_a_cause_that_is_one_of_javas_is_told_twice() -> None:
    reason = "Result window is too large"
    failed = SearchPhaseFailed("query", "all shards failed", [
        ShardSearchFailure(ShardId("s1", UUID, 0), "node", IllegalArgument(reason))
    ])  # fmt: skip

    cause = {"type": "illegal_argument_exception", "reason": reason}
    assert failed.to_object()["caused_by"] == {**cause, "caused_by": cause}
    assert failed.to_object()["failed_shards"][0]["reason"] == cause
    assert [error.to_object() for error in failed.root_causes] == [cause]


def test_without_any_copy_the_search_is_unavailable_and_names_no_shard() -> None:
    with pytest.raises(SearchPhaseFailed) as caught:
        check_failures("query", ShardTotals(1, 0))

    assert caught.value.http_status == 503
    assert caught.value.to_object() == {
        "type": "search_phase_execution_exception",
        "reason": "all shards failed",
        "phase": "query",
        "grouped": True,
        "failed_shards": [],
    }


def test_one_shard_may_be_missing_unless_all_are_wanted() -> None:
    check_failures("query", ShardTotals(4, 3))
    check_failures("query", ShardTotals(0, 0))
    with pytest.raises(SearchPhaseFailed, match="Partial shards failure"):
        check_failures("query", ShardTotals(4, 3), allow_partial=False)


def test_a_search_without_indices_has_a_score_of_zero() -> None:
    answer = SearchAnswer(0, ShardTotals(0, 0), merge([], SearchSource()))

    assert answer.to_object(SearchSource())["hits"] == {
        "total": {"value": 0, "relation": "eq"},
        "max_score": 0.0,
        "hits": [],
    }


def test_a_count_is_the_total() -> None:
    assert count_answer(Merged((), 2), ALL_OK) == {
        "count": 2,
        "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0},
    }


def test_the_parameter_sort_takes_several_criteria() -> None:
    found = parse_sort_parameter("n:desc,_doc,_score")

    assert [(sort.field, sort.descending) for sort in found] == [("n", True), ("_doc", False), ("_score", True)]


ROWS = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.fixed_dictionaries({"n": st.integers(-5, 5)}, optional={"w": st.sampled_from(["x", "y", "z"])}),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(
    ROWS,
    st.integers(1, 5),
    st.lists(st.sampled_from([{"n": "asc"}, {"n": "desc"}, {"w.keyword": "desc"}, {"w.keyword": "asc"}]), max_size=2),
    st.integers(0, 10),
    st.integers(0, 12),
)
def test_merged_shards_are_sorted_as_all_documents_together(
    rows: dict[str, dict[str, Any]], shards: int, sort: list[dict[str, str]], first: int, count: int
) -> None:
    body = {"sort": [*sort, {"_id": "asc"}], "from": first, "size": count}
    source = read_search(json.dumps(body).encode())
    known = target({**rows, "known": {"n": 1, "w": "x"}})
    everything = query_shard(documents(rows), source, known, scroll=False)
    views: list[list[Document]] = [[] for _ in range(shards)]
    for document in documents(rows):
        views[shard_of(document.id, shards)].append(document)
    results = [query_shard(view, source, known, scroll=False).top(first + count) for view in views]

    merged = merge(results, source)

    found = [views[hit.shard][hit.hit.place].id for hit in merged.hits]
    expected = [documents(rows)[hit.place].id for hit in everything.hits[first : first + count]]
    assert found == expected
    assert merged.total == len(rows)
    keys = [order_key(source.sorts, hit.hit.sort) for hit in merged.hits]
    assert keys == sorted(keys)


def test_a_lost_shard_costs_only_its_own_hits() -> None:
    source = SearchSource()
    view = documents(SOURCES)
    found = query_shard(view, source, target(SOURCES), scroll=False)
    merged = merge([found, None, QueryResult(1, found.hits[:1], 1.0)], source)

    assert [hit.id for hit in in_order(merged, [[], [], fetch("s1", view, merged.wanted_of(2), source)])] == ["0"]


def test_several_searches_are_read_with_what_each_says() -> None:
    raw = b'\n{"index":"s1"}\n{"size":0}\n{}\n{}\n{"index":["a","b"],"ignore_unavailable":true}\n{"size":3}\n'
    items = parse_multi_search(raw, ["dflt"], SEARCH_OPTIONS)

    assert [(item.indices, item.options.ignore_unavailable, item.source.size) for item in items] == [
        (("s1",), False, 0),
        (("dflt",), False, None),
        (("a", "b"), True, 3),
    ]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"index":"s1"}\n{"size":0}', "The msearch request must be terminated by a newline [\n]"),
        (b'{"nosuch":1}\n{"size":0}\n', "key [nosuch] is not supported in the metadata section"),
        (b'\n{"size":0}\n', "key [size] is not supported in the metadata section"),
        (b'{}\n{"query":{"nosuch":{}}}\n', "unknown query [nosuch]"),
    ],
)
def test_searches_that_cannot_be_read_are_refused_together(raw: bytes, reason: str) -> None:
    with pytest.raises(TaskfanError) as caught:
        parse_multi_search(raw, [], SEARCH_OPTIONS)

    assert caught.value.reason == reason


def test_each_of_several_searches_has_its_own_status() -> None:
    answer = MultiSearchAnswer(4)
    answer.add({"took": 3})
    answer.add_failure({"error": IndexNotFound("nosuch").to_object(), "status": 404})

    assert [item["status"] for item in answer.to_object()["responses"]] == [200, 404]


def test_shard_targets_name_their_shard() -> None:
    assert isinstance(target(SOURCES), ShardTarget)
    assert str(SHARD) == "[golden-dest][0]"


def test_a_query_pauses_after_every_thousand_documents_that_it_looks_at() -> None:
    rows: dict[str, dict[str, Any]] = {str(number): {"n": number} for number in range(3500)}
    at = target({"0": {"n": 0}}, 0, 1)
    source = read_search(b'{"query":{"term":{"n":7}}}')
    assert len(list(query_pieces(documents(rows), source, at, scroll=False))) == 3
    assert query_shard(documents(rows), source, at, scroll=False).total == 1
