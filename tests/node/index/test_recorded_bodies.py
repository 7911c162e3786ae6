"""Bodies are read or refused as OpenSearch 3.8.0 read or refused them.

`recorded/bodies.json` has one request a line, sent to a real node of one process: which kind it was, the index of its
URL, its body, and the error of the answer without its root causes, or null where the body was good.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from taskfan.node.errors import TaskfanError
from taskfan.node.index.bulk import BulkDefaults, parse_bulk
from taskfan.node.index.by_scroll_body import read_by_query, read_reindex
from taskfan.node.index.by_scroll_request import Kind
from taskfan.node.index.search_source import read_count_body, read_search
from taskfan.node.index.updates import UpdateBody, read_update

RECORDED: list[dict[str, Any]] = json.loads((pathlib.Path(__file__).parent / "recorded/bodies.json").read_text())
READERS: dict[str, Callable[[bytes, str | None], object]] = {
    "search": lambda raw, index: read_search(raw),
    "count": lambda raw, index: read_count_body(raw),
    "bulk": lambda raw, index: parse_bulk(raw, BulkDefaults(index=index)),
    "update": lambda raw, index: (read_update(raw) if raw else UpdateBody()).validate(),
    "reindex": lambda raw, index: read_reindex(raw).validate(),
    "update_by_query": lambda raw, index: read_by_query(Kind.UPDATE_BY_QUERY, (index or "",), raw).validate(),
    "delete_by_query": lambda raw, index: read_by_query(Kind.DELETE_BY_QUERY, (index or "",), raw).validate(),
}


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: f"{recorded['kind']} {recorded['body'][:60]!r}")
def test_a_body_is_read_or_refused_as_by_a_real_node(recorded: dict[str, Any]) -> None:
    error = None
    try:
        READERS[recorded["kind"]](recorded["body"].encode(), recorded["index"])
    except TaskfanError as caught:
        error = caught.to_object()

    assert error == recorded["error"]


def test_good_and_bad_bodies_of_every_kind_were_recorded() -> None:
    assert {entry["kind"] for entry in RECORDED} == set(READERS)
    assert len([entry for entry in RECORDED if entry["error"] is not None]) > 90
