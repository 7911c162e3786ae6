"""Bulk bodies are read, and their items answered, as a real node does it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskfan.node.errors import IndexNotFound, TaskfanError
from taskfan.node.index.bulk import (
    BulkDefaults,
    Item,
    ItemDone,
    ItemFailure,
    bulk_answer,
    bulk_description,
    group_by_shard,
    item_fault,
    parse_bulk,
)
from taskfan.node.index.documents import CopyCounts, OpType, VersionType, write_answer
from taskfan.node.index.errors import DocumentMissing
from taskfan.node.index.routing import shard_of
from tests.node.index.builders import SHARD, UUID, indexing, shard

IN_B1 = BulkDefaults(index="b1")


def test_all_four_operations_are_read_with_what_they_say() -> None:
    raw = (
        b'{"index":{"_index":"b1","_id":"7","routing":"x"}}\n{"n":1}\n'
        b'{"create":{"_id":"8"}}\r\n{"n":2}\r\n'
        b'{"update":{"_id":"8","retry_on_conflict":2,"_source":true}}\n{"doc":{"n":4}}\n'
        b'\n{"delete":{"_id":9,"if_seq_no":3,"if_primary_term":1}}\n'
        b'{"index":{"version":3,"version_type":"external","_id":"1"}}\n{}\n'
        b'{"index":{}}\n{"auto":1}\n'
    )
    items = parse_bulk(raw, BulkDefaults(index="dflt", routing="r"))

    assert [(item.op_type.value, item.index, item.id, item.routing, item.source) for item in items] == [
        ("index", "b1", "7", "x", b'{"n":1}'),
        ("create", "dflt", "8", "r", b'{"n":2}'),
        ("update", "dflt", "8", "r", b'{"doc":{"n":4}}'),
        ("delete", "dflt", "9", "r", b""),
        ("index", "dflt", "1", "r", b"{}"),
        ("index", "dflt", None, "r", b'{"auto":1}'),
    ]
    assert items[2].retry_on_conflict == 2
    assert items[2].fetch_source.shows_all
    assert (items[3].if_seq_no, items[3].if_primary_term) == (3, 1)
    assert (items[4].version, items[4].version_type) == (3, VersionType.EXTERNAL)
    assert bulk_description(items) == "requests[6], indices[b1, dflt]"


@pytest.mark.parametrize(
    ("raw", "kind", "reason"),
    [
        (b"", "parse_exception", "request body is required"),
        (b"not a bulk", "illegal_argument_exception", r"The bulk request must be terminated by a newline [\n]"),
        (
            b'{"index":{"_id":"1"}}\n{"n":1}',
            "illegal_argument_exception",
            r"The bulk request must be terminated by a newline [\n]",
        ),
        (b"\n", "action_request_validation_exception", "Validation Failed: 1: no requests added;"),
        (
            b'{"index":{"_id":"1"}}\n',
            "action_request_validation_exception",
            "Validation Failed: 1: no requests added;",
        ),
        (
            b'{"nosuch":{"_id":"1"}}\n{"n":1}\n',
            "illegal_argument_exception",
            "Malformed action/metadata line [1], expected one of [create, delete, index, update] but found [nosuch]",
        ),
        (
            b'{"delete":{"_id":"1"}}\n{"index":{"_id":"1","nosuch":3}}\n{"n":1}\n',
            "illegal_argument_exception",
            "Action/metadata line [2] contains an unknown parameter [nosuch]",
        ),
        (
            b"[1]\n",
            "illegal_argument_exception",
            "Malformed action/metadata line [1], expected START_OBJECT but found [START_ARRAY]",
        ),
        (
            b"{}\n",
            "illegal_argument_exception",
            "Malformed action/metadata line [1], expected FIELD_NAME but found [END_OBJECT]",
        ),
        (
            b'{"index":5}\n',
            "illegal_argument_exception",
            "Malformed action/metadata line [1], expected START_OBJECT or END_OBJECT but found [VALUE_NUMBER]",
        ),
        (
            b'{"index":{"_id":[1]}}\n{}\n',
            "illegal_argument_exception",
            "Malformed action/metadata line [1], expected a simple value for field [_id] but found [START_ARRAY]",
        ),
        (
            b'{"index":{"_id":{"a":1}}}\n{}\n',
            "illegal_argument_exception",
            "Malformed action/metadata line [1], expected a simple value for field [_id] but found [START_OBJECT]",
        ),
        (
            b'{"update":{"_id":"1","version":3}}\n{"doc":{"n":1}}\n',
            "illegal_argument_exception",
            "Update requests do not support versioning. Please use `if_seq_no` and `if_primary_term` instead",
        ),
        (
            b'{"update":{"_id":"8"}}\n{"nosuch":{"n":4}}\n',
            "x_content_parse_exception",
            "[1:2] [UpdateRequest] unknown field [nosuch]",
        ),
        (
            b'{"create":{"version":3,"version_type":"external","_id":"9"}}\n{"n":1}\n',
            "action_request_validation_exception",
            "Validation Failed: 1: create operations only support internal versioning. use index instead;",
        ),
    ],
)
def test_a_body_that_is_no_bulk_is_refused_as_a_whole(raw: bytes, kind: str, reason: str) -> None:
    with pytest.raises(TaskfanError) as caught:
        parse_bulk(raw, IN_B1)

    assert (caught.value.kind, caught.value.reason, caught.value.http_status) == (kind, reason, 400)


def test_all_that_is_wrong_with_any_item_is_said_at_once() -> None:
    raw = b'{"index":{"_id":"1"}}\n{"n":1}\n{"delete":{"_index":"b1"}}\n{"update":{"_index":"b1","_id":"1"}}\n{}\n'

    with pytest.raises(TaskfanError) as caught:
        parse_bulk(raw)

    assert caught.value.reason == (
        "Validation Failed: 1: index is missing;2: id is missing;3: script or doc is missing;"
    )


def test_an_empty_id_fails_only_its_item() -> None:
    fault = item_fault(indexing(""))

    assert fault is not None
    assert fault.reason == "if _id is specified it must not be empty"
    assert item_fault(indexing("1")) is None


def test_the_items_of_an_answer_are_those_of_a_real_one() -> None:
    done = shard().index(indexing("1"))
    written = ItemDone(write_answer("b1", done, CopyCounts(1, 1)), done.result.http_status)
    items: list[tuple[OpType, Item]] = [
        (OpType.INDEX, written),
        (OpType.UPDATE, ItemFailure("b1", "9", DocumentMissing(SHARD, "9"))),
        (OpType.DELETE, ItemFailure("nosuchb", "1", IndexNotFound("nosuchb", "index_expression"))),
    ]

    assert bulk_answer(92, items) == {
        "took": 92,
        "errors": True,
        "items": [
            {
                "index": {
                    "_index": "b1",
                    "_id": "1",
                    "_version": 1,
                    "result": "created",
                    "_shards": {"total": 1, "successful": 1, "failed": 0},
                    "_seq_no": 0,
                    "_primary_term": 1,
                    "status": 201,
                }
            },
            {
                "update": {
                    "_index": "b1",
                    "_id": "9",
                    "status": 404,
                    "error": {
                        "type": "document_missing_exception",
                        "reason": "[9]: document missing",
                        "index": "golden-dest",
                        "shard": "0",
                        "index_uuid": UUID,
                    },
                }
            },
            {
                "delete": {
                    "_index": "nosuchb",
                    "_id": "1",
                    "status": 404,
                    "error": {
                        "type": "index_not_found_exception",
                        "reason": "no such index [nosuchb]",
                        "index": "nosuchb",
                        "resource.id": "nosuchb",
                        "resource.type": "index_expression",
                        "index_uuid": "_na_",
                    },
                }
            },
        ],
    }
    assert bulk_answer(1, items[:1])["errors"] is False


def test_items_go_to_the_shards_of_their_routing_and_say_so() -> None:
    items = [indexing("1"), indexing("89"), indexing("88"), indexing("x", routing="1")]
    groups = group_by_shard(list(enumerate(items)), {SHARD.index: 3})

    assert [(group.shard, [place for place, _ in group.items]) for group in groups] == [(2, [0, 3]), (0, [1]), (1, [2])]
    assert groups[0].description() == "requests[2], index[golden-dest][2]"
    assert groups[0].description("wait_for") == "requests[2], index[golden-dest][2], refresh[WAIT_UNTIL]"
    assert groups[1].description("true") == "requests[1], index[golden-dest][0], refresh[IMMEDIATE]"


@given(st.lists(st.text(min_size=1), max_size=40), st.integers(1, 9))
def test_no_document_is_in_two_groups(document_ids: list[str], shards: int) -> None:
    items = [indexing(document_id) for document_id in document_ids]
    groups = group_by_shard(list(enumerate(items)), {SHARD.index: shards})

    assert sorted(place for group in groups for place, _ in group.items) == list(range(len(items)))
    for group in groups:
        assert {shard_of(item.id or "", shards) for _, item in group.items} == {group.shard}
        places = [place for place, _ in group.items]
        assert places == sorted(places)
