"""Updates of a document by a part of it: what is to be written, if anything. Pure.

Source: OpenSearch `UpdateRequest`, `UpdateHelper`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from taskfan.node.errors import IllegalArgument, TaskfanError, ValidationFailed
from taskfan.node.index import scripts
from taskfan.node.index.documents import Document, OpType, WriteRequest
from taskfan.node.index.errors import DocumentMissing, ShardId
from taskfan.node.index.source_filter import SourceFilter
from taskfan.node.index.x_content import Body, read_body, read_document, token_name

_encode = msgspec.json.Encoder().encode
_FIELDS = {
    *("script", "scripted_upsert", "upsert", "doc", "doc_as_upsert", "detect_noop", "_source", "if_seq_no"),
    "if_primary_term",
}


class UpdateBody(msgspec.Struct, frozen=True):
    """The body of an update. `doc` and `upsert` are parts of documents; `script` is compiled."""

    doc: Mapping[str, Any] | None = None
    upsert: Mapping[str, Any] | None = None
    script: scripts.Script | None = None
    doc_as_upsert: bool = False
    scripted_upsert: bool = False
    detect_noop: bool = True
    fetch_source: SourceFilter | None = None
    if_seq_no: int | None = None
    if_primary_term: int | None = None

    def faults(self) -> list[str]:
        """What makes this body invalid."""
        found = []
        if self.doc is None and self.script is None:
            found.append("script or doc is missing")
        if self.doc is not None and self.script is not None:
            found.append("can't provide both script and doc")
        if self.doc_as_upsert and self.doc is None:
            found.append("doc must be specified if doc_as_upsert is enabled")
        return found

    def validate(self) -> None:
        """Raises `ValidationFailed` with all that is wrong."""
        if found := self.faults():
            raise ValidationFailed(*found)


def read_update(raw: bytes) -> UpdateBody:
    """The body of an update as it came.

    Raises:
        XContentParse: a field is unknown or of another type.
        IllegalArgument: the script is none that is understood here.
    """
    if not raw:
        return UpdateBody()
    body = read_body(raw)
    if not isinstance(body.value, dict):
        found = token_name(body.value)
        raise body.x_content_parse(f"[UpdateRequest] Expected START_OBJECT but was: {found}", ())
    for name in body.value:
        if name not in _FIELDS:
            raise body.x_content_parse(f"[UpdateRequest] unknown field [{name}]", (name,), "key")
    return _read_fields(body)


def _read_fields(body: Body) -> UpdateBody:
    value = body.value
    for name in ("doc", "upsert"):
        if name in value and not isinstance(value[name], dict):
            found = token_name(value[name])
            raise body.x_content_parse(f"[UpdateRequest] {name} doesn't support values of type: {found}", (name,))
    return UpdateBody(
        doc=value.get("doc"),
        upsert=value.get("upsert"),
        script=scripts.parse_script(value["script"]) if "script" in value else None,
        doc_as_upsert=_flag(body, "doc_as_upsert", False),
        scripted_upsert=_flag(body, "scripted_upsert", False),
        detect_noop=_flag(body, "detect_noop", True),
        fetch_source=SourceFilter.parse(value["_source"]) if "_source" in value else None,
        if_seq_no=value.get("if_seq_no"),
        if_primary_term=value.get("if_primary_term"),
    )


def _flag(body: Body, name: str, default: bool) -> bool:
    given = body.value.get(name, default)
    if given in (True, False, "true", "false"):
        return given in (True, "true")
    cause = IllegalArgument(f"Failed to parse value [{given}] as only [true] or [false] are allowed.")
    raise body.x_content_parse(f"[UpdateRequest] failed to parse field [{name}]", (name,), cause=cause)


class UpdatePlan(msgspec.Struct, frozen=True):
    """What an update comes to. Without a `write` the document stays as it is, and the answer is `noop`."""

    write: WriteRequest | None
    new_source: Mapping[str, Any]


def plan_update(request: WriteRequest, body: UpdateBody, current: Document | None, shard: ShardId) -> UpdatePlan:
    """What to write for an update, given the document as it is now.

    Raises:
        DocumentMissing: there is none, and the update says nothing for that case.
        TaskfanError: the script failed.
    """
    if current is None:
        return _plan_upsert(request, body, shard)
    assert current.source is not None
    old = read_document(current.source)
    if body.script is not None:
        return _plan_script(request, body.script, current, old)
    assert body.doc is not None
    new, changed = merged(old, body.doc)
    if not changed and body.detect_noop:
        return UpdatePlan(None, new)
    return UpdatePlan(_write(request, current, OpType.INDEX, _encode(new)), new)


def _plan_upsert(request: WriteRequest, body: UpdateBody, shard: ShardId) -> UpdatePlan:
    new = body.doc if body.doc_as_upsert else body.upsert
    if new is None:
        raise DocumentMissing(shard, request.id or "")
    if body.script is not None and body.scripted_upsert:
        outcome = body.script.run(dict(new))
        if outcome.op != "create" and outcome.op != "index":
            return UpdatePlan(None, outcome.source)
        new = outcome.source
    return UpdatePlan(_create(request, _encode(new)), new)


def _plan_script(request: WriteRequest, script: scripts.Script, current: Document, old: dict[str, Any]) -> UpdatePlan:
    try:
        outcome = script.run(old)
    except TaskfanError as error:
        raise IllegalArgument("failed to execute script", cause=error) from None
    if outcome.op == "delete":
        return UpdatePlan(_write(request, current, OpType.DELETE, b""), outcome.source)
    if outcome.op in ("none", "noop"):
        return UpdatePlan(None, outcome.source)
    return UpdatePlan(_write(request, current, OpType.INDEX, _encode(outcome.source)), outcome.source)


def _write(request: WriteRequest, current: Document, op_type: OpType, source: bytes) -> WriteRequest:
    # Between reading and writing another write may come: it then conflicts, and the update is tried again.
    return WriteRequest(
        op_type,
        request.index,
        request.id,
        source,
        routing=current.routing,
        if_seq_no=current.seq_no,
        if_primary_term=current.primary_term,
    )


def _create(request: WriteRequest, source: bytes) -> WriteRequest:
    return WriteRequest(OpType.CREATE, request.index, request.id, source, routing=request.routing)


def merged(old: Mapping[str, Any], changes: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """A document with a part put over it, objects within objects, and whether anything differs.

    Source: OpenSearch `XContentHelper.update`.
    """
    new = dict(old)
    changed = False
    for name, value in changes.items():
        before = new.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            new[name], inner_changed = merged(before, value)
            changed = changed or inner_changed
        else:
            # 1 and true are not the same, nor are 1 and 1.0.
            changed = changed or name not in old or type(before) is not type(value) or before != value
            new[name] = value
    return new, changed
