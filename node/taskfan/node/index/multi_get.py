"""Several gets in one request. Pure. Source: OpenSearch `MultiGetRequest`, `MultiGetResponse`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from taskfan.node.errors import TaskfanError, ValidationFailed
from taskfan.node.index.errors import BodyUnreadable
from taskfan.node.index.field_values import java_text
from taskfan.node.index.source_filter import SourceFilter
from taskfan.node.index.x_content import Body, read_body, token_name

_KEYS = ("_index", "_id", "routing", "_source", "version", "version_type", "stored_fields")


class GetItem(msgspec.Struct, frozen=True):
    """One get of several."""

    index: str
    id: str
    routing: str | None = None
    fetch_source: SourceFilter | None = None


def parse_multi_get(raw: bytes, index: str | None, fetch_source: SourceFilter | None = None) -> list[GetItem]:
    """The gets of a body; `index` and `fetch_source` of the URL are for those that do not say it.

    Raises:
        BodyUnreadable, JsonUnreadable: it is none.
        ParsingFailed: a key is unknown.
        ValidationFailed: there is no document, or an index or id is missing.
    """
    if not raw:
        raise BodyUnreadable("request body or source parameter is required")
    body = read_body(raw)
    given = _documents(body) if isinstance(body.value, dict) else []
    items = [
        GetItem(
            java_text(entry["_index"]) if entry.get("_index") is not None else index or "",
            java_text(entry["_id"]) if entry.get("_id") is not None else "",
            None if entry.get("routing") is None else java_text(entry["routing"]),
            SourceFilter.parse(entry["_source"]) if "_source" in entry else fetch_source,
        )
        for entry in given
    ]
    _validate(items)
    return items


def _documents(body: Body) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, value in body.value.items():
        if name not in ("docs", "ids") or not isinstance(value, list):
            raise body.parsing_failed(
                f"unknown key [{name}] for a {token_name(value)}, expected [docs] or [ids]", (name,)
            )
        for place, entry in enumerate(value):
            if name == "ids":
                found.append({"_id": entry})
                continue
            for key in entry:
                if key not in _KEYS:
                    reason = f"Failed to parse multi get request. unknown field [{key}]"
                    raise body.parsing_failed(reason, (name, place, key))
            found.append(entry)
    return found


def _validate(items: Sequence[GetItem]) -> None:
    faults = [] if items else ["no documents to get"]
    for number, item in enumerate(items):
        if not item.index:
            faults.append(f"index is missing for doc {number}")
        if not item.id:
            faults.append(f"id is missing for doc {number}")
    if faults:
        raise ValidationFailed(*faults)


def failed_get(item: GetItem, error: TaskfanError) -> dict[str, Any]:
    """One get that failed, in the answer to several."""
    cause = {"root_cause": [error.to_object()], **error.to_object()}
    return {"_index": item.index, "_id": item.id, "error": cause}
