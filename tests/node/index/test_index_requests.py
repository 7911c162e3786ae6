"""Indices are made and shown, and several documents asked for, as by a real node."""

from __future__ import annotations

import pytest

from taskfan.node.errors import IndexNotFound, TaskfanError
from taskfan.node.index.index_requests import (
    CreateIndexBody,
    created_answer,
    index_object,
    new_index,
    new_tasks_index,
    read_create_index,
)
from taskfan.node.index.mappings import mapping_update
from taskfan.node.index.metadata import Indices
from taskfan.node.index.multi_get import GetItem, failed_get, parse_multi_get
from taskfan.node.index.source_filter import SourceFilter
from tests.node.index.builders import NOW_MS

UUID = "fq29Zvh1RmyMalV8LV5hvw"


def test_an_index_is_shown_as_it_was_made() -> None:
    raw = (
        b'{"settings":{"index":{"number_of_shards":2,"number_of_replicas":0}},'
        b'"mappings":{"properties":{"k":{"type":"keyword"},"n":{"type":"integer"}}},"aliases":{"al":{}}}'
    )
    index = new_index(Indices(), "t1", read_create_index(raw), uuid=UUID, now_ms=1795553999261)

    assert index_object(index) == {
        "aliases": {"al": {}},
        "mappings": {"properties": {"k": {"type": "keyword"}, "n": {"type": "integer"}}},
        "settings": {
            "index": {
                "replication": {"type": "DOCUMENT"},
                "number_of_shards": "2",
                "provided_name": "t1",
                "creation_date": "1795553999261",
                "number_of_replicas": "0",
                "uuid": UUID,
                "version": {"created": "137297827"},
            }
        },
    }
    human = index_object(index, human=True)["settings"]["index"]
    assert human["creation_date_string"] == "2026-11-24T20:59:59.261Z"
    assert human["version"] == {"created": "137297827", "created_string": "3.8.0"}
    assert created_answer("t1", acknowledged=True, shards_acknowledged=True) == {
        "acknowledged": True,
        "shards_acknowledged": True,
        "index": "t1",
    }


def test_an_index_is_not_made_twice_nor_under_the_name_of_an_alias() -> None:
    index = new_index(Indices(), "golden-src", CreateIndexBody(aliases={"al": {}}), uuid=UUID, now_ms=NOW_MS)
    indices = Indices().with_metadata(index)
    for name in ("golden-src", "al"):
        with pytest.raises(TaskfanError) as caught:
            new_index(indices, name, CreateIndexBody(), uuid="other", now_ms=NOW_MS)

        assert caught.value.http_status == 400
        assert caught.value.to_object() == {
            "type": "resource_already_exists_exception",
            "reason": f"index [golden-src/{UUID}] already exists",
            "index": "golden-src",
            "index_uuid": UUID,
        }


@pytest.mark.parametrize(
    ("raw", "kind", "reason"),
    [
        (b'{"nosuch":{}}', "parse_exception", "unknown key [nosuch] for create index"),
        (b'{"settings":5}', "parse_exception", "key [settings] must be an object"),
        (b'{"index":{"number_of_shards":2}}', "parse_exception", "unknown key [index] for create index"),
        (
            b"not json",
            "not_x_content_exception",
            "Compressor detection can only be called on some xcontent bytes or compressed xcontent bytes",
        ),
        (
            b'{"mappings":{"properties":{"a":{"type":"nosuch"}}}}',
            "mapper_parsing_exception",
            "Failed to parse mapping [_doc]: No handler for type [nosuch] declared on field [a]",
        ),
        (
            b'{"settings":{"number_of_shards":0}}',
            "illegal_argument_exception",
            "Failed to parse value [0] for setting [index.number_of_shards] must be >= 1",
        ),
    ],
)
def test_an_index_that_cannot_be_made_is_refused(raw: bytes, kind: str, reason: str) -> None:
    with pytest.raises(TaskfanError) as caught:
        new_index(Indices(), "t2", read_create_index(raw), uuid=UUID, now_ms=NOW_MS)

    assert (caught.value.kind, caught.value.reason, caught.value.http_status) == (kind, reason, 400)


def test_the_index_of_results_takes_a_stored_task_and_nothing_strange() -> None:
    index = new_tasks_index(Indices(), uuid=UUID, now_ms=NOW_MS)
    result = {
        "completed": True,
        "task": {
            **{
                "node": "n",
                "id": 1,
                "type": "transport",
                "action": "a",
                "status": {"total": 10, "retries": {"bulk": 0}},
            },
            **{"description": "d", "start_time_in_millis": 1, "running_time_in_nanos": 1, "cancellable": True},
            **{"cancelled": False, "headers": {"X-Opaque-Id": "x"}},
        },
        "response": {"took": 1, "failures": []},
    }

    assert (index.number_of_shards, index.system) == (1, True)
    assert mapping_update(index.mapping, result, "n:1") is None
    with pytest.raises(TaskfanError, match=r"dynamic introduction of \[nosuch\] within \[_doc\] is not allowed"):
        mapping_update(index.mapping, {"nosuch": 1}, "n:1")


def test_several_documents_may_be_named_in_two_ways() -> None:
    raw = b'{"docs":[{"_index":"d1","_id":"1"},{"_id":2,"routing":"r","_source":["a"]}]}'

    assert parse_multi_get(raw, "d2") == [
        GetItem("d1", "1"),
        GetItem("d2", "2", "r", SourceFilter(True, ("a",))),
    ]
    assert parse_multi_get(b'{"ids":["1","2"]}', "d1") == [GetItem("d1", "1"), GetItem("d1", "2")]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{}", "1: no documents to get;"),
        (b'{"docs":[]}', "1: no documents to get;"),
        (b'{"docs":[{"_id":"1"}]}', "1: index is missing for doc 0;"),
        (b'{"docs":[{"_index":"d1"}]}', "1: id is missing for doc 0;"),
    ],
)
def test_gets_that_name_no_document_are_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(TaskfanError) as caught:
        parse_multi_get(raw, None)

    assert caught.value.reason == f"Validation Failed: {reason}"


def test_a_get_that_failed_stands_among_the_others() -> None:
    shown = failed_get(GetItem("nosuch", "1"), IndexNotFound("nosuch", "index_expression"))

    assert list(shown) == ["_index", "_id", "error"]
    assert shown["error"]["root_cause"] == [IndexNotFound("nosuch", "index_expression").to_object()]
