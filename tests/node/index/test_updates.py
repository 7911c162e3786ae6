"""Updates, their scripts and the writes of a primary come to what they come to in a real shard."""

from __future__ import annotations

import json
from typing import Any

import pytest

from taskfan.node.errors import TaskfanError
from taskfan.node.index.documents import OpType, Result, WriteRequest
from taskfan.node.index.primary_writes import NeedsMapping, Written, write
from taskfan.node.index.scripts import Script, parse_script
from taskfan.node.index.shard import ShardCopy
from taskfan.node.index.source_filter import SourceFilter
from taskfan.node.index.updates import merged, read_update
from tests.node.index.builders import NOW_MS, SHARD, deleting, indexing, mapping_of, shard

MAPPING = mapping_of([{"a": "again", "n": 5, "o": {"x": 1}}])


def update(document_id: str, body: dict[str, Any], **more: Any) -> WriteRequest:
    return WriteRequest(OpType.UPDATE, SHARD.index, document_id, json.dumps(body).encode(), **more)


def written(copy: ShardCopy, request: WriteRequest) -> Written:
    done = write(copy, MAPPING, request, NOW_MS)
    assert isinstance(done, Written)
    return done


def test_an_update_changes_what_differs_and_else_does_nothing() -> None:
    copy = shard()
    written(copy, indexing("2", {"a": "again"}))

    changed = written(copy, update("2", {"doc": {"n": 5}}))
    same = written(copy, update("2", {"doc": {"n": 5}}))
    forced = written(copy, update("2", {"doc": {"n": 5}, "detect_noop": False}))
    shown = written(copy, update("2", {"doc": {"n": 6}, "_source": True}))

    assert [(done.done.result, done.done.document.version) for done in (changed, same, forced, shown)] == [
        (Result.UPDATED, 2),
        (Result.NOOP, 2),
        (Result.UPDATED, 3),
        (Result.UPDATED, 4),
    ]
    assert same.replicate is None
    assert shown.get == {"_seq_no": 3, "_primary_term": 1, "found": True, "_source": {"a": "again", "n": 6}}


def test_an_update_of_nothing_is_missing_unless_it_says_what_to_do() -> None:
    copy = shard()
    with pytest.raises(TaskfanError) as caught:
        written(copy, update("88", {"doc": {"n": 5}}))
    assert (caught.value.kind, caught.value.reason) == ("document_missing_exception", "[88]: document missing")

    assert written(copy, update("88", {"doc": {"n": 5}, "doc_as_upsert": True})).done.result is Result.CREATED
    written(copy, update("89", {"doc": {"n": 5}, "upsert": {"n": 1}}))
    document = copy.get("89")
    assert document is not None
    assert document.source == b'{"n":1}'


def test_an_update_that_expects_another_state_conflicts() -> None:
    copy = shard()
    written(copy, indexing("89", {"n": 1}))
    with pytest.raises(TaskfanError) as caught:
        written(copy, update("89", {"doc": {"n": 7}}, if_seq_no=55, if_primary_term=1))

    assert caught.value.reason == (
        "[89]: version conflict, required seqNo [55], primary term [1]. "
        "current document has seqNo [0] and primary term [1]"
    )


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        ({}, "action_request_validation_exception", "Validation Failed: 1: script or doc is missing;"),
        (
            {"doc": {"n": 5}, "script": "ctx.op='noop'"},
            "action_request_validation_exception",
            "Validation Failed: 1: can't provide both script and doc;",
        ),
        ({"nosuch": 1}, "x_content_parse_exception", "[1:2] [UpdateRequest] unknown field [nosuch]"),
    ],
)
def test_a_body_that_is_no_update_is_refused(body: dict[str, Any], kind: str, reason: str) -> None:
    with pytest.raises(TaskfanError) as caught:
        read_update(json.dumps(body).encode()).validate()

    assert (caught.value.kind, caught.value.reason) == (kind, reason)


def test_objects_are_merged_and_the_kinds_of_values_matter() -> None:
    assert merged({"o": {"x": 1, "y": 2}}, {"o": {"y": 3}}) == ({"o": {"x": 1, "y": 3}}, True)
    assert merged({"o": {"x": 1}}, {"o": {"x": 1}}) == ({"o": {"x": 1}}, False)
    assert merged({"n": 1}, {"n": True})[1]
    assert merged({"n": 1}, {"n": 1.0})[1]
    assert merged({}, {"n": None})[1]


def test_a_document_with_new_fields_waits_for_the_mapping_and_changes_nothing() -> None:
    copy = shard()
    needs = write(copy, {}, indexing("1", {"n": 1}), NOW_MS)

    assert needs == NeedsMapping({"properties": {"n": {"type": "long"}}})
    assert (copy.max_seq_no, copy.get("1")) == (-1, None)


@pytest.mark.parametrize(
    ("source", "reason", "cause"),
    [
        (b"", "failed to parse, document is empty", None),
        (b"not json", "failed to parse", "not_x_content_exception"),
        (b'{"a":', "failed to parse", "unexpected_end_of_input_exception"),
    ],
)
def test_a_source_that_is_no_document_fails_to_parse(source: bytes, reason: str, cause: str | None) -> None:
    with pytest.raises(TaskfanError) as caught:
        write(shard(), {}, WriteRequest(OpType.INDEX, "i", "1", source), NOW_MS)

    assert (caught.value.kind, caught.value.reason) == ("mapper_parsing_exception", reason)
    assert (caught.value.cause.kind if caught.value.cause else None) == cause


def test_a_deletion_needs_no_mapping() -> None:
    assert written(shard(), deleting("1")).done.result is Result.NOT_FOUND


@pytest.mark.parametrize(
    ("source", "params", "expected", "op"),
    [
        ("ctx._source.n = 7", {}, {"n": 7, "a": "x"}, "index"),
        ("ctx._source.n += 2; ctx._source['b'] = ctx._source.a;", {}, {"n": 3, "a": "x", "b": "x"}, "index"),
        ("ctx._source.n++", {}, {"n": 2, "a": "x"}, "index"),
        ("ctx._source.n -= params.by", {"by": 4}, {"n": -3, "a": "x"}, "index"),
        ("ctx._source.remove('a')", {}, {"n": 1}, "index"),
        ("ctx.op = 'noop'", {}, {"n": 1, "a": "x"}, "noop"),
        ('ctx.op="delete"', {}, {"n": 1, "a": "x"}, "delete"),
        ("if (ctx._source.n == 1) { ctx.op = 'delete' } else { ctx.op = 'noop'; }", {}, {"n": 1, "a": "x"}, "delete"),
        (
            "if (ctx._source.n > 1) { ctx.op = 'delete' } else { ctx._source.a += '!' }",
            {},
            {"n": 1, "a": "x!"},
            "index",
        ),
        ("ctx._source.a = 'a; b'", {}, {"n": 1, "a": "a; b"}, "index"),
    ],
)
def test_a_small_script_does_what_it_says(
    source: str, params: dict[str, Any], expected: dict[str, Any], op: str
) -> None:
    before = {"n": 1, "a": "x"}
    outcome = Script(source, params=params).run(before)

    assert (outcome.source, outcome.op) == (expected, op)
    assert before == {"n": 1, "a": "x"}


@pytest.mark.parametrize("source", ["def x = 1", "ctx._source.n = foo()", "for (;;) {}", "ctx.op", "while(true){}"])
def test_a_script_that_is_not_understood_is_named(source: str) -> None:
    with pytest.raises(TaskfanError) as caught:
        Script(source).check()

    assert (caught.value.kind, caught.value.reason, caught.value.http_status) == (
        "script_exception",
        "compile error",
        400,
    )
    assert caught.value.cause is not None
    assert "not understood here" in (caught.value.cause.reason or "")
    assert caught.value.metadata["lang"] == "painless"


@pytest.mark.parametrize(
    ("given", "kind", "reason"),
    [
        (5, "illegal_argument_exception", "Script value should be a String or a Map"),
        ({"x": 1}, "parse_exception", "Expected one of [source] or [id] fields, but found none"),
    ],
)
def test_what_is_no_script_is_refused(given: Any, kind: str, reason: str) -> None:
    with pytest.raises(TaskfanError) as caught:
        parse_script(given)

    assert (caught.value.kind, caught.value.reason) == (kind, reason)


def test_a_stored_script_is_not_found_when_it_is_to_run() -> None:
    with pytest.raises(TaskfanError, match=r"unable to find script \[x\] in cluster state") as caught:
        parse_script({"id": "x"}).check()

    assert caught.value.http_status == 404


def test_another_language_is_not_supported() -> None:
    with pytest.raises(TaskfanError, match=r"script_lang not supported \[nosuch\]"):
        parse_script({"source": "x", "lang": "nosuch"}).check()


def test_a_script_is_described_as_a_real_one() -> None:
    script = parse_script({"source": "ctx._source.n++", "params": {"a": 1}})

    assert str(script) == ("Script{type=inline, lang='painless', idOrCode='ctx._source.n++', options={}, params={a=1}}")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (True, {"n": 2, "o": {"x": 1, "y": "z"}, "l": [{"a": 1, "b": 2}, 3]}),
        ("n", {"n": 2}),
        (["o.x", "n"], {"n": 2, "o": {"x": 1}}),
        ({"includes": ["n", "o.*"], "excludes": ["o.y"]}, {"n": 2, "o": {"x": 1}}),
        ({"excludes": "o"}, {"n": 2, "l": [{"a": 1, "b": 2}, 3]}),
        ("l.a", {"l": [{"a": 1}]}),
        ("*.y", {"o": {"y": "z"}}),
        ("nosuch", {}),
        ({"excludes": ["*"]}, {}),
    ],
)
def test_a_source_is_cut_to_what_was_asked_for(given: Any, expected: dict[str, Any]) -> None:
    source = {"n": 2, "o": {"x": 1, "y": "z"}, "l": [{"a": 1, "b": 2}, 3]}

    assert SourceFilter.parse(given).apply(source) == expected


def test_the_parameters_of_a_url_make_the_same_filter() -> None:
    assert SourceFilter.from_parameters(None, None, None) is None
    assert SourceFilter.from_parameters("false", None, None) == SourceFilter(False)
    assert SourceFilter.from_parameters("a,b", None, "c") == SourceFilter(True, ("a", "b"), ("c",))
    assert SourceFilter.from_parameters("true", "a", None) == SourceFilter(True, ("a",))
