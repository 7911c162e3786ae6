"""Indices and documents over REST, on a node that is alone: what a client is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from taskfan.node.index.shard import ShardLimits
from tests.coordinator.rest.rest_node import Response, RestNode, with_node

TYPE = "Content-Type: application/json"
Told = tuple[int, Any]


def play(*steps: tuple[str, str, Any]) -> list[Response]:
    """Ask one after the other; a body is a value, bytes, or None."""

    async def story(rest: RestNode) -> list[Response]:
        answers = []
        for method, path, body in steps:
            raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
            answers.append(await rest.ask(method, path, *([TYPE] if raw else []), body=raw))
        return answers

    return with_node(story)


def told(answer: Response) -> Told:
    """Status and body, without what differs from run to run."""
    body = answer.json
    if isinstance(body, dict):
        body.pop("took", None)
    return answer.status, body


def test_an_index_is_made_shown_changed_and_deleted() -> None:
    settings = {"settings": {"index": {"number_of_shards": 2, "number_of_replicas": 0}}}
    made, twice, head, shown, changed, read, deleted, gone = play(
        ("PUT", "/i", settings),
        ("PUT", "/i", None),
        ("HEAD", "/i", None),
        ("GET", "/i?flat_settings", None),
        ("PUT", "/i/_settings", {"index.number_of_replicas": 1, "refresh_interval": "5s"}),
        ("GET", "/i/_settings/index.number_of*?flat_settings", None),
        ("DELETE", "/i", None),
        ("HEAD", "/i", None),
    )
    assert told(made) == (200, {"acknowledged": True, "shards_acknowledged": True, "index": "i"})
    assert (twice.status, twice.json["error"]["type"]) == (400, "resource_already_exists_exception")
    assert (head.status, gone.status) == (200, 404)
    assert shown.json["i"]["settings"]["index.number_of_shards"] == "2"
    assert told(changed) == (200, {"acknowledged": True})
    assert read.json == {"i": {"settings": {"index.number_of_replicas": "1", "index.number_of_shards": "2"}}}
    assert told(deleted) == (200, {"acknowledged": True})


def test_a_document_is_written_read_updated_and_deleted() -> None:
    answers = play(
        ("PUT", "/i", {"settings": {"number_of_replicas": 0}}),
        ("PUT", "/i/_doc/1", {"n": 1, "w": "x"}),
        ("GET", "/i/_doc/1", None),
        ("GET", "/i/_doc/1?_source=n", None),
        ("GET", "/i/_source/1", None),
        ("POST", "/i/_update/1", {"doc": {"n": 2}}),
        ("POST", "/i/_update/1", {"doc": {"n": 2}}),
        ("PUT", "/i/_create/1", {"n": 3}),
        ("DELETE", "/i/_doc/1", None),
        ("GET", "/i/_doc/1", None),
        ("DELETE", "/i/_doc/1", None),
        ("POST", "/i/_update/1", {"doc": {"n": 2}}),
        ("POST", "/i/_update/1", {"doc": {"n": 2}, "doc_as_upsert": True}),
    )
    shards = {"total": 1, "successful": 1, "failed": 0}
    common = {"_index": "i", "_id": "1"}

    def written(version: int, result: str, seq_no: int) -> dict[str, Any]:
        done = {"_version": version, "result": result, "_shards": shards}
        return {**common, **done, "_seq_no": seq_no, "_primary_term": 1}

    found = {**common, "_version": 1, "_seq_no": 0, "_primary_term": 1, "found": True}
    assert [told(answer) for answer in answers[1:7]] == [
        (201, written(1, "created", 0)),
        (200, {**found, "_source": {"n": 1, "w": "x"}}),
        (200, {**found, "_source": {"n": 1}}),
        (200, {"n": 1, "w": "x"}),
        (200, written(2, "updated", 1)),
        (200, {**written(2, "noop", 1), "_shards": {"total": 0, "successful": 0, "failed": 0}}),
    ]
    assert answers[1].fields["location"] == "/i/_doc/1"
    assert answers[7].status == 409
    assert answers[7].json["error"]["reason"] == (
        "[1]: version conflict, document already exists (current version [2])"
    )
    assert [told(answer) for answer in answers[8:11]] == [
        (200, written(3, "deleted", 2)),
        (404, {**common, "found": False}),
        (404, written(4, "not_found", 3)),
    ]
    assert (answers[11].status, answers[11].json["error"]["type"]) == (404, "document_missing_exception")
    assert told(answers[12]) == (201, written(5, "created", 4))


def test_a_bulk_answers_item_by_item() -> None:
    lines = [
        {"index": {"_id": "1"}},
        {"n": 1},
        {"create": {"_id": "1"}},
        {"n": 2},
        {"update": {"_id": "1"}},
        {"doc": {"n": 3}},
        {"delete": {"_id": "2"}},
        {"index": {"_id": "3"}},
        {"n": "no number"},
    ]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    _, answer, read = play(
        ("PUT", "/i", {"settings": {"number_of_replicas": 0}}),
        ("POST", "/i/_bulk?refresh", body),
        ("GET", "/_mget", {"docs": [{"_index": "i", "_id": "1"}, {"_index": "none", "_id": "1"}]}),
    )
    assert (answer.status, answer.json["errors"]) == (200, True)
    done = [next(iter(item.items())) for item in answer.json["items"]]
    assert [(name, item["status"], item.get("result")) for name, item in done] == [
        ("index", 201, "created"),
        ("create", 409, None),
        ("update", 200, "updated"),
        ("delete", 404, "not_found"),
        ("index", 400, None),
    ]
    assert done[4][1]["error"]["type"] == "mapper_parsing_exception"
    first, second = read.json["docs"]
    assert (first["_source"], first["_version"]) == ({"n": 3}, 2)
    assert second["error"]["type"] == "index_not_found_exception"


@pytest.mark.parametrize(
    ("method", "path", "body", "reason"),
    [
        ("PUT", "/i/_doc/1", None, "request body is required"),
        ("PUT", "/i/_doc/1?refresh=soon", {}, "Unknown value for refresh: [soon]."),
        ("PUT", "/i/_doc/1?wait_for_active_shards=x", {}, "cannot parse ActiveShardCount[x]"),
        ("PUT", "/i/_doc/1?version=x", {}, "Failed to parse long parameter [version] with value [x]"),
        ("PUT", "/i/_doc/1?pipeline=p", {}, "pipeline with id [p] does not exist"),
        ("PUT", "/i/_doc/1?op_type=x", {}, "opType must be 'create' or 'index', found: [x]"),
        (
            "PUT",
            "/i?wait_for_active_shards=3",
            None,
            "invalid wait_for_active_shards[3]: cannot be greater than number of shard copies [2]",
        ),
    ],
)
def test_what_a_write_cannot_mean_is_refused(method: str, path: str, body: Any, reason: str) -> None:
    [answer] = play((method, path, body))
    assert (answer.status, answer.json["error"]["reason"]) == (400, reason)


def test_health_tells_of_shards_and_waits_for_a_colour() -> None:
    _, green, missing, shards, yellow, late = play(
        ("PUT", "/i", {"settings": {"number_of_replicas": 0, "number_of_shards": 3}}),
        ("GET", "/_cluster/health?wait_for_status=green", None),
        ("GET", "/_cluster/health/none?timeout=1ms", None),
        ("GET", "/_cluster/health/i?level=indices", None),
        ("PUT", "/i/_settings", {"number_of_replicas": 1}),
        ("GET", "/_cluster/health?wait_for_status=green&timeout=1ms", None),
    )
    assert (green.status, green.json["active_shards"], green.json["active_primary_shards"]) == (200, 3, 3)
    assert (missing.status, missing.json["status"]) == (408, "red")
    assert shards.json["indices"]["i"]["number_of_shards"] == 3
    assert yellow.status == 200
    assert (late.status, late.json["status"], late.json["unassigned_shards"]) == (408, "yellow", 3)
    assert late.json["active_shards_percent_as_number"] == 50.0


def test_the_cluster_state_shows_where_copies_are() -> None:
    _, answer = play(("PUT", "/i", None), ("GET", "/_cluster/state/_all/i", None))
    [[primary, replica]] = answer.json["routing_table"]["indices"]["i"]["shards"].values()
    assert (primary["state"], primary["primary"], replica["state"]) == ("STARTED", True, "UNASSIGNED")
    assert answer.json["metadata"]["indices"]["i"]["primary_terms"] == {"0": 1}
    assert answer.json["routing_nodes"] == {"unassigned": [replica], "nodes": {primary["node"]: [primary]}}


def test_refresh_flush_and_force_merge_count_copies() -> None:
    answers = play(
        ("PUT", "/i", {"settings": {"number_of_shards": 2}}),
        ("POST", "/i/_refresh", None),
        ("POST", "/_flush", None),
        ("POST", "/i/_forcemerge?max_num_segments=1", None),
        ("POST", "/none/_refresh", None),
    )
    assert [answer.json.get("_shards") for answer in answers[1:]] == [
        {"total": 4, "successful": 2, "failed": 0},
        {"total": 4, "successful": 2, "failed": 0},
        {"total": 4, "successful": 2, "failed": 0},
        None,
    ]
    assert answers[4].status == 404


def test_a_shard_that_is_full_refuses_more_in_the_words_of_opensearch() -> None:
    async def story(rest: RestNode) -> list[Response]:
        rest.node.shards.limits = ShardLimits(max_documents=2, max_bytes=100)
        asked = [("PUT", f"/i/_doc/{number}", b"{}") for number in range(3)]
        asked.append(("PUT", "/j/_doc/1", b'{"w":"' + b"x" * 100 + b'"}'))
        return [await rest.ask(method, path, TYPE, body=body) for method, path, body in asked]

    *taken, full, large = with_node(story)
    assert [answer.status for answer in taken] == [201, 201]
    assert told(full)[1]["error"]["reason"] == "number of documents in the index cannot exceed 2"
    assert (full.status, large.status) == (400, 429)
    assert large.json["error"]["type"] == "cluster_block_exception"
