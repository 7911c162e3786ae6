"""Bulks and the searches after them answer as those of OpenSearch 3.8.0, step by step.

`recorded/writes_and_searches.json` has several indices of some shards each; on each of them, bulks of random
operations, and searches after each bulk, with the whole answers of a real node.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import msgspec
import pytest

from taskfan.node.errors import TaskfanError
from taskfan.node.index.bulk import (
    BulkDefaults,
    Item,
    ItemDone,
    ItemFailure,
    bulk_answer,
    group_by_shard,
    parse_bulk,
)
from taskfan.node.index.documents import CopyCounts, WriteRequest, write_answer
from taskfan.node.index.errors import ShardId
from taskfan.node.index.mappings import TEXT_WITH_KEYWORD, FieldTypes
from taskfan.node.index.primary_writes import NeedsMapping, write
from taskfan.node.index.search_merge import SearchAnswer, ShardTotals, in_order, merge
from taskfan.node.index.search_phases import ShardTarget, fetch, query_shard
from taskfan.node.index.search_source import read_search
from taskfan.node.index.shard import ShardCopy

RECORDED = json.loads((pathlib.Path(__file__).parent / "recorded/writes_and_searches.json").read_text())
MAPPING: dict[str, Any] = {
    "properties": {
        "b": {"type": "boolean"},
        "f": {"type": "float"},
        "n": {"type": "long"},
        "o": {"properties": {"x": {"type": "long"}}},
        "w": TEXT_WITH_KEYWORD,
    }
}


class Index:
    """An index of some shards, without replicas, all in one place."""

    def __init__(self, shards: int, uuid: str) -> None:
        self.copies = [ShardCopy(ShardId("rr", uuid, number), primary_term=1) for number in range(shards)]

    def bulk(self, raw: bytes, took_ms: int) -> dict[str, Any]:
        requests = parse_bulk(raw, BulkDefaults(index="rr"))
        items: dict[int, Item] = {}
        for group in group_by_shard(list(enumerate(requests)), {"rr": len(self.copies)}):
            for place, request in group.items:
                items[place] = self.write(self.copies[group.shard], request)
        for copy in self.copies:
            copy.refresh(0)
        return bulk_answer(took_ms, [(request.op_type, items[place]) for place, request in enumerate(requests)])

    def write(self, copy: ShardCopy, request: WriteRequest) -> Item:
        try:
            written = write(copy, MAPPING, request, 0)
        except TaskfanError as error:
            return ItemFailure("rr", request.id, error)
        assert not isinstance(written, NeedsMapping)
        answer = write_answer("rr", written.done, CopyCounts(1, 1), forced_refresh=True, get=written.get)
        return ItemDone(answer, written.done.result.http_status)

    def search(self, raw: bytes, took_ms: int) -> dict[str, Any]:
        source, shards = read_search(raw), len(self.copies)
        targets = [ShardTarget(copy.shard, shards, FieldTypes(MAPPING), {}) for copy in self.copies]
        results = [
            query_shard(copy.visible, source, target, scroll=False).top(source.first + source.count)
            for copy, target in zip(self.copies, targets, strict=True)
        ]
        merged = merge(results, source)
        fetched = [
            fetch("rr", copy.visible, merged.wanted_of(number), source) for number, copy in enumerate(self.copies)
        ]
        answer = SearchAnswer(took_ms, ShardTotals(shards, shards), merged, tuple(in_order(merged, fetched)))
        return answer.to_object(source)


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: f"{recorded['shards']} shards")
def test_every_answer_of_a_recorded_index_is_given_again(recorded: dict[str, Any]) -> None:
    index = Index(recorded["shards"], recorded["uuid"])
    for step in recorded["steps"]:
        take = index.bulk if "bulk" in step else index.search
        answer = take(step.get("bulk", step.get("search")).encode(), step["answer"]["took"])

        assert msgspec.json.decode(msgspec.json.encode(answer)) == step["answer"]
