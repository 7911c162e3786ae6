"""Requests of the reindex family are read and refused in the order and the words of a real node."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from taskfan.node.errors import TaskfanError
from taskfan.node.index.active_shards import ActiveShardCount, primary_not_active
from taskfan.node.index.by_scroll_body import read_by_query, read_reindex
from taskfan.node.index.by_scroll_request import (
    AUTO_SLICES,
    ByScrollRequest,
    Kind,
    auto_slices,
    parse_requests_per_second,
    parse_slices,
    with_max_docs_once,
)
from taskfan.node.index.metadata import IndexMetadata, Indices
from taskfan.node.index.reindex_validation import check_number_of_slices, initial_validation
from taskfan.node.index.search_source import Slice
from taskfan.node.index.source_filter import SourceFilter
from tests.node.index.builders import SHARD

SOURCE, DEST = {"index": "golden-src"}, {"index": "golden-dest"}


def reindex(**body: Any) -> ByScrollRequest:
    """The request with such a body, written as the recorded client wrote it."""
    return read_reindex(json.dumps(body).encode())


def raised(call: Callable[[], object]) -> TaskfanError:
    with pytest.raises(TaskfanError) as caught:
        call()
    return caught.value


def test_a_reindex_says_what_it_does() -> None:
    request = reindex(source=SOURCE, dest=DEST)

    assert request.description == "reindex from [golden-src] to [golden-dest]"
    assert (request.indices, request.source.size, request.slices) == (("golden-src",), 1000, 1)
    assert request.requests_per_second == math.inf
    request.validate()


def test_all_fields_of_a_reindex_are_read() -> None:
    source = {
        "index": ["a", "b"],
        "size": 3,
        "query": {"term": {"n": 4}},
        "_source": ["n"],
        "slice": {"id": 0, "max": 2},
    }
    dest = {"index": "d", "op_type": "create", "routing": "=cat", "version_type": "external", "pipeline": "p"}
    script = {"source": "ctx._source.n++"}
    request = reindex(source=source, dest=dest, conflicts="proceed", max_docs=5, script=script)

    assert (request.indices, request.source.size, request.max_docs) == (("a", "b"), 3, 5)
    assert (request.abort_on_conflict, request.source.slice) == (False, Slice(0, 2))
    assert (request.destination.op_type.value, request.destination.routing) == ("create", "=cat")
    assert request.description == (
        "reindex from [a, b] updated with Script{type=inline, lang='painless', idOrCode='ctx._source.n++', "
        "options={}, params={}} to [d]"
    )


@pytest.mark.parametrize(
    ("text", "expected"), [(None, None), ("auto", AUTO_SLICES), ("1", 1), ("5", 5), ("2147483647", 2147483647)]
)
def test_slices_are_a_number_or_auto(text: str | None, expected: int | None) -> None:
    assert parse_slices(text) == expected


@pytest.mark.parametrize(
    ("text", "cause"),
    [("0", None), ("-1", None), ("many", 'For input string: "many"'), ("", 'For input string: ""')],
)
def test_any_other_slices_are_refused(text: str, cause: str | None) -> None:
    error = raised(lambda: parse_slices(text))

    assert error.reason == f'[slices] must be a positive integer or the string "auto", but was [{text}]'
    assert (error.cause.reason if error.cause else None) == cause


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, None), ("-1", math.inf), ("0.01", 0.009999999776482582), ("500", 500.0), ("1e3", 1000.0), ("2f", 2.0)],
)
def test_a_rate_is_a_java_float(text: str | None, expected: float | None) -> None:
    assert parse_requests_per_second(text) == expected


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("0", None),
        ("-2", None),
        ("abc", 'For input string: "abc"'),
        ("fast", 'For input string: "fast"'),
        ("unlimited", 'For input string: "unlimited"'),
        ("", "empty String"),
        ("1_0", 'For input string: "1_0"'),
        ("inf", 'For input string: "inf"'),
    ],
)
def test_any_other_rate_is_refused(text: str, cause: str | None) -> None:
    error = raised(lambda: parse_requests_per_second(text))

    assert error.reason == "[requests_per_second] must be a float greater than 0. Use -1 to disable throttling."
    assert (error.cause.reason if error.cause else None) == cause
    assert error.cause is None or error.cause.kind == "number_format_exception"


@pytest.mark.parametrize(
    ("body", "reason", "cause"),
    [
        ({"source": SOURCE, "dest": DEST, "nosuch": 1}, "[1:71] [reindex] unknown field [nosuch]", None),
        (
            {"max_docs": 0, "source": SOURCE, "dest": DEST},
            "[1:14] [reindex] failed to parse field [max_docs]",
            {"type": "illegal_argument_exception", "reason": "[max_docs] should be >= [slices]"},
        ),
    ],
)
def test_a_body_with_a_fault_is_refused_as_recorded(
    body: dict[str, Any], reason: str, cause: dict[str, Any] | None
) -> None:
    shown = raised(lambda: reindex(**body)).to_object()

    assert (shown["type"], shown["reason"]) == ("x_content_parse_exception", reason)
    assert shown.get("caused_by") == cause


@pytest.mark.parametrize(
    ("raw", "reasons"),
    [
        (
            '{"source":{"index":"sl1"},"dest":{"index":"r2","op_type":"bad"}}',
            [
                "[1:58] [reindex] failed to parse field [dest]",
                "[1:58] [dest] failed to parse field [op_type]",
                "opType must be 'create' or 'index', found: [bad]",
            ],
        ),
        (
            '{"source":{"index":"sl1"},"dest":{"index":"r2","version_type":"bad"}}',
            [
                "[1:63] [reindex] failed to parse field [dest]",
                "[1:63] [dest] failed to parse field [version_type]",
                "No version type match [bad]",
            ],
        ),
        (
            '{"source":{"index":"sl1"},"dest":{"index":"r2","nosuch":1}}',
            ["[1:57] [reindex] failed to parse field [dest]", "[1:48] [dest] unknown field [nosuch]"],
        ),
        (
            '{"source":{"index":"sl1"},"dest":{"index":5}}',
            [
                "[1:43] [reindex] failed to parse field [dest]",
                "[1:43] [dest] index doesn't support values of type: VALUE_NUMBER",
            ],
        ),
        (
            '{"source":{"index":"sl1","nosuch":1},"dest":{"index":"r2"}}',
            ["[1:36] [reindex] failed to parse field [source]", "Unknown key for a VALUE_NUMBER in [nosuch]."],
        ),
        (
            '{"source":{"index":5},"dest":{"index":"r2"}}',
            [
                "[1:21] [reindex] failed to parse field [source]",
                "Expected [index] to be a list or a string but was [5]",
            ],
        ),
        (
            '{"source":5,"dest":{"index":"r2"}}',
            ["[1:11] [reindex] source doesn't support values of type: VALUE_NUMBER"],
        ),
        (
            '{"source":{"index":"sl1"},"dest":{"index":"r2"},"conflicts":"bad"}',
            [
                "[1:61] [reindex] failed to parse field [conflicts]",
                'conflicts may only be "proceed" or "abort" but was [bad]',
            ],
        ),
        (
            '{"source":{"index":"sl1"},"dest":{"index":"r2"},"max_docs":"x"}',
            ["[1:60] [reindex] failed to parse field [max_docs]", 'For input string: "x"'],
        ),
        (
            '{"source":{"index":"sl1","query":{"nosuch":{}}},"dest":{"index":"r2"}}',
            [
                "[1:47] [reindex] failed to parse field [source]",
                "unknown query [nosuch]",
                "[1:20] unknown field [nosuch]",
            ],
        ),
        (
            '{"source":{"index":"sl1","size":-1},"dest":{"index":"r2"}}',
            [
                "[1:35] [reindex] failed to parse field [source]",
                "[size] parameter cannot be negative, found [-1]",
            ],
        ),
        (
            '{"source":{"index":"sl1"},"dest":{"index":"r2"},"script":"x"}',
            ["[1:58] [reindex] script doesn't support values of type: VALUE_STRING"],
        ),
        (
            '{"source":{"index":"sl1"},"dest":{"index":"r2"},"script":{}}',
            [
                "[1:59] [reindex] failed to parse field [script]",
                "must specify either [source] for an inline script or [id] for a stored script",
            ],
        ),
        ("[1]", ["[1:1] [reindex] Expected START_OBJECT but was: START_ARRAY"]),
        ("", ["request body is required"]),
    ],
)
def test_faults_within_a_body_are_named_with_all_their_causes(raw: str, reasons: list[str]) -> None:
    error: TaskfanError | None = raised(lambda: read_reindex(raw.encode()))
    found = []
    while error is not None:
        found.append(error.reason)
        error = error.cause

    assert found == reasons


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"source": SOURCE}, "1: index must be specified;"),
        (
            {"source": {}, "dest": DEST},
            "1: use _all if you really want to copy from all existing indexes;",
        ),
        (
            {"source": {**SOURCE, "from": 1}, "dest": DEST},
            "1: using [from] is not allowed in a scroll context;2: from is not supported in this context;",
        ),
        (
            {"source": SOURCE, "dest": {**DEST, "routing": "bad"}},
            "1: routing must be unset, [keep], [discard] or [=<some new value>];",
        ),
        (
            {"source": {**SOURCE, "_source": False}, "dest": DEST},
            "1: _source:false is not supported in this context;",
        ),
        ({"source": {**SOURCE, "size": 0}, "dest": DEST}, "1: [size] cannot be [0] in a scroll context;"),
    ],
)
def test_a_request_that_contradicts_itself_is_refused(body: dict[str, Any], reason: str) -> None:
    assert raised(reindex(**body).validate).reason == f"Validation Failed: {reason}"


def indices_named(*names: str) -> Indices:
    settings = {"index.number_of_shards": "1", "index.number_of_replicas": "0"}
    return Indices({name: IndexMetadata(name, f"u-{name}", settings) for name in names})


def test_a_reindex_does_not_write_into_what_it_reads() -> None:
    there = indices_named("golden-src", "golden-dest")

    initial_validation(reindex(source=SOURCE, dest=DEST), there)
    initial_validation(reindex(source=SOURCE, dest={"index": "new"}), there)
    for source in (SOURCE, {"index": "golden*"}, {"index": "_all"}):
        error = raised(lambda source=source: initial_validation(reindex(source=source, dest=SOURCE), there))  # type: ignore[misc]
        assert error.reason == (
            "Validation Failed: 1: reindex cannot write into an index its reading from [golden-src];"
        )


def test_a_reindex_from_an_index_that_is_not_there_or_elsewhere_is_refused() -> None:
    missing = raised(lambda: initial_validation(reindex(source=SOURCE, dest=DEST), Indices()))
    remote = reindex(source={**SOURCE, "remote": {"host": "http://x:9200"}}, dest=DEST)

    assert (missing.kind, missing.http_status) == ("index_not_found_exception", 404)
    assert missing.metadata["resource.type"] == "index_or_alias"
    assert raised(lambda: initial_validation(remote, indices_named("golden-src"))).reason == (
        "[x:9200] not allowlisted in reindex.remote.allowlist"
    )


def test_an_index_bears_only_so_many_slices() -> None:
    check_number_of_slices(reindex(source=SOURCE, dest=DEST), indices_named("golden-src"), 1024)
    error = raised(lambda: check_number_of_slices(reindex(source=SOURCE, dest=DEST), indices_named("golden-src"), 1025))

    assert (error.reason or "").startswith("The number of slices [1025] is too large. It must be less than [1024].")


def test_manual_and_automatic_slices_exclude_each_other() -> None:
    request = reindex(source={**SOURCE, "slice": {"id": 0, "max": 2}}, dest=DEST)

    assert raised(replace(request, slices=2).validate).reason == (
        "Validation Failed: 1: can't specify both manual and automatic slicing at the same time;"
    )


def test_the_number_of_documents_is_said_once() -> None:
    request = reindex(max_docs=2, source=SOURCE, dest=DEST)

    assert raised(lambda: with_max_docs_once(request, 1)).reason == (
        "[max_docs] set to two different values [2] and [1]"
    )
    assert raised(lambda: with_max_docs_once(reindex(source=SOURCE, dest=DEST), -5)).reason == (
        "[max_docs] parameter cannot be negative, found [-5]"
    )
    assert with_max_docs_once(request, 2).max_docs == 2


def test_a_slice_gets_its_share_of_the_rate_and_of_the_documents() -> None:
    request = replace(reindex(max_docs=5, source=SOURCE, dest=DEST), requests_per_second=0.02, slices=2)
    sliced = request.for_slice(1, 2)

    assert (sliced.source.slice, sliced.max_docs, sliced.slices) == (Slice(1, 2), 2, 1)
    assert sliced.requests_per_second == parse_requests_per_second("0.01")
    assert not sliced.store_result
    assert request.description == sliced.description


def test_auto_means_as_many_slices_as_the_smallest_index_has_shards() -> None:
    assert [auto_slices(counts) for counts in ({}, {"a": 3, "b": 2}, {"a": 40}, {"a": 1})] == [1, 2, 20, 1]


def test_a_delete_by_query_needs_a_query_and_no_sources() -> None:
    request = read_by_query(Kind.DELETE_BY_QUERY, ("golden-src",), b"")

    assert raised(request.validate).reason == "Validation Failed: 1: query is missing;"
    assert request.source.fetch_source == SourceFilter(False)
    assert request.description == "delete-by-query [golden-src]"
    assert read_by_query(Kind.DELETE_BY_QUERY, ("a", "b"), b'{"query":{"match_all":{}}}').faults() == []


def test_an_update_by_query_reads_its_own_fields_and_those_of_a_search() -> None:
    raw = b'{"max_docs":2,"conflicts":"proceed","query":{"term":{"n":4}},"script":{"source":"ctx.op=\'noop\'"}}'
    request = read_by_query(Kind.UPDATE_BY_QUERY, ("golden-src",), raw)

    assert (request.max_docs, request.abort_on_conflict, request.source.size) == (2, False, 1000)
    assert request.script is not None
    sized = read_by_query(Kind.UPDATE_BY_QUERY, (), b'{"size":2}')
    assert (sized.source.size, sized.max_docs) == (2, -1)
    assert read_by_query(Kind.UPDATE_BY_QUERY, (), b'{"size":0}').faults() == [
        "[size] cannot be [0] in a scroll context"
    ]
    error = raised(lambda: read_by_query(Kind.UPDATE_BY_QUERY, (), b'{"nosuch":2}'))
    assert error.reason == "Unknown key for a VALUE_NUMBER in [nosuch]."
    assert (error.line, error.column) == (1, 11)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("text", "needed"), [(None, 1), ("all", 3), ("0", 0), ("2", 2)])
def test_a_write_waits_for_so_many_copies(text: str | None, needed: int) -> None:
    assert ActiveShardCount.parse(text).needed(3) == needed


def test_too_few_copies_are_named_as_recorded() -> None:
    error = raised(lambda: ActiveShardCount.parse("3").check(SHARD, 1, 3, "4s"))
    assert (error.kind, error.http_status) == ("unavailable_shards_exception", 503)
    assert error.reason == (
        "[golden-dest][0] Not enough active copies to meet shard count of [3] (have 1, needed 3). Timeout: [4s]"
    )
    everyone = raised(lambda: ActiveShardCount.parse("all").check(SHARD, 1, 3, "100ms"))
    assert "shard count of [ALL] (have 1, needed 3)" in (everyone.reason or "")
    assert primary_not_active(SHARD, "100ms").reason == "[golden-dest][0] primary shard is not active Timeout: [100ms]"
    bad = raised(lambda: ActiveShardCount.parse("many"))
    assert bad.reason == "cannot parse ActiveShardCount[many]"
