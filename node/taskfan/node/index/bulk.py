"""Bulk requests: their newline-delimited bodies, and the answers to their items. Pure.

Source: OpenSearch `BulkRequestParser`, `BulkRequest`, `BulkItemResponse`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from taskfan.node.errors import IllegalArgument, TaskfanError, ValidationFailed
from taskfan.node.index.documents import (
    MATCH_ANY,
    UNASSIGNED_PRIMARY_TERM,
    UNASSIGNED_SEQ_NO,
    OpType,
    VersionType,
    WriteRequest,
    parse_op_type,
)
from taskfan.node.index.errors import BodyUnreadable
from taskfan.node.index.field_values import java_text
from taskfan.node.index.json_faults import json_fault
from taskfan.node.index.routing import shard_of
from taskfan.node.index.source_filter import SourceFilter
from taskfan.node.index.updates import read_update
from taskfan.node.index.x_content import token_name

_decode = msgspec.json.Decoder().decode
_PARAMETERS = {
    *("_index", "_id", "routing", "op_type", "version", "version_type", "if_seq_no", "if_primary_term"),
    *("retry_on_conflict", "pipeline", "_source", "require_alias"),
}
# A longer source is not shown in the description of a task, in bytes.
MAX_SHOWN_SOURCE = 2048


class BulkDefaults(msgspec.Struct, frozen=True):
    """What the URL of a bulk says for all items that do not say it themselves."""

    index: str | None = None
    routing: str | None = None
    pipeline: str | None = None
    fetch_source: SourceFilter | None = None
    require_alias: bool = False


_NO_DEFAULTS = BulkDefaults()


def parse_bulk(raw: bytes, defaults: BulkDefaults = _NO_DEFAULTS) -> list[WriteRequest]:
    """The items of a bulk body, in order.

    Raises:
        BodyUnreadable: it is empty.
        IllegalArgument: a line is not what it should be, by its number.
        JsonUnreadable: a line of metadata is no JSON.
        XContentParse: the body of an update is none.
        ValidationFailed: the items contradict themselves; all that is wrong with any of them.
    """
    if not raw:
        raise BodyUnreadable("request body is required")
    items = list(_items(raw, defaults))
    faults = [] if items else ["no requests added"]
    for item in items:
        faults += item.faults()
        if item.op_type is OpType.UPDATE:
            faults += read_update(item.source).faults()
    if faults:
        raise ValidationFailed(*faults)
    return items


def _items(raw: bytes, defaults: BulkDefaults) -> Iterator[WriteRequest]:
    lines = raw.split(b"\n")
    # What follows the last newline is a line that has none.
    unterminated = lines.pop()
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if not line.strip():
            continue
        action, metadata = _action_and_metadata(line, number)
        if action == "delete":
            yield _request(OpType.DELETE, metadata, b"", defaults)
            continue
        if number == len(lines):
            # The source is missing: without a newline that is a fault, else the item is passed over.
            break
        source = lines[number].removesuffix(b"\r")
        number += 1
        yield _written(action, metadata, source, defaults)
    if unterminated:
        raise IllegalArgument("The bulk request must be terminated by a newline [\\n]")


def _action_and_metadata(line: bytes, number: int) -> tuple[str, Mapping[str, Any]]:
    malformed = f"Malformed action/metadata line [{number}], expected"
    try:
        value = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise json_fault(line) from None
    if not isinstance(value, dict):
        raise IllegalArgument(f"{malformed} START_OBJECT but found [{token_name(value)}]")
    if not value:
        raise IllegalArgument(f"{malformed} FIELD_NAME but found [END_OBJECT]")
    action, metadata = next(iter(value.items()))
    if action not in ("create", "delete", "index", "update"):
        raise IllegalArgument(f"{malformed} one of [create, delete, index, update] but found [{action}]")
    if not isinstance(metadata, dict):
        raise IllegalArgument(f"{malformed} START_OBJECT or END_OBJECT but found [{token_name(metadata)}]")
    for name, given in metadata.items():
        _check_parameter(name, given, number)
    return action, metadata


def _check_parameter(name: str, given: Any, number: int) -> None:
    if isinstance(given, list) or (isinstance(given, dict) and name != "_source"):
        raise IllegalArgument(
            f"Malformed action/metadata line [{number}], expected a simple value for field [{name}] "
            f"but found [{token_name(given)}]"
        )
    if name not in _PARAMETERS and given is not None:
        raise IllegalArgument(f"Action/metadata line [{number}] contains an unknown parameter [{name}]")


def _written(action: str, metadata: Mapping[str, Any], source: bytes, defaults: BulkDefaults) -> WriteRequest:
    if action == "update":
        versioned = metadata.get("version") is not None or metadata.get("version_type", "internal") != "internal"
        if versioned:
            raise IllegalArgument(
                "Update requests do not support versioning. Please use `if_seq_no` and `if_primary_term` instead"
            )
        return _request(OpType.UPDATE, metadata, source, defaults)
    creates = action == "create" or metadata.get("op_type") == "create"
    return _request(OpType.CREATE if creates else OpType.INDEX, metadata, source, defaults)


def _request(op_type: OpType, metadata: Mapping[str, Any], source: bytes, defaults: BulkDefaults) -> WriteRequest:
    if len(metadata) <= 1 and (not metadata or "_id" in metadata):
        # Most items say nothing but their id.
        return WriteRequest(
            op_type,
            defaults.index or "",
            _text(metadata, "_id", None),
            source,
            routing=defaults.routing,
            pipeline=defaults.pipeline,
            require_alias=defaults.require_alias,
            fetch_source=defaults.fetch_source if op_type is OpType.UPDATE else None,
        )
    shown = metadata.get("_source")
    return WriteRequest(
        op_type,
        _text(metadata, "_index", defaults.index) or "",
        _text(metadata, "_id", None),
        source,
        routing=_text(metadata, "routing", defaults.routing),
        version=_number(metadata, "version", MATCH_ANY),
        version_type=VersionType.parse(str(metadata.get("version_type") or "internal")),
        if_seq_no=_number(metadata, "if_seq_no", UNASSIGNED_SEQ_NO),
        if_primary_term=_number(metadata, "if_primary_term", UNASSIGNED_PRIMARY_TERM),
        retry_on_conflict=_number(metadata, "retry_on_conflict", 0),
        pipeline=_text(metadata, "pipeline", defaults.pipeline),
        require_alias=bool(metadata.get("require_alias", defaults.require_alias)),
        fetch_source=SourceFilter.parse(shown) if shown is not None else defaults.fetch_source,
    )


def _text(metadata: Mapping[str, Any], name: str, default: str | None) -> str | None:
    given = metadata.get(name)
    return default if given is None else java_text(given)


def _number(metadata: Mapping[str, Any], name: str, default: int) -> int:
    given = metadata.get(name)
    if given is None:
        return default
    try:
        return int(given)
    except (TypeError, ValueError):
        raise IllegalArgument(f'For input string: "{given}"') from None


class ItemFailure(msgspec.Struct, frozen=True):
    """One item of a bulk that was not done. Source: OpenSearch `BulkItemResponse.Failure`."""

    index: str
    id: str | None
    cause: TaskfanError

    @property
    def http_status(self) -> int:
        """The status of the item."""
        return self.cause.http_status


class ItemDone(msgspec.Struct, frozen=True):
    """One item of a bulk that was done: its answer, as of a single write."""

    answer: dict[str, Any]
    http_status: int


Item = ItemFailure | ItemDone


def item_object(op_type: OpType, item: Item) -> dict[str, Any]:
    """One entry of `items`. Source: OpenSearch `BulkItemResponse.toXContent`."""
    if isinstance(item, ItemDone):
        return {op_type.value: {**item.answer, "status": item.http_status}}
    failed = {"_index": item.index, "_id": item.id, "status": item.http_status, "error": item.cause.to_object()}
    return {op_type.value: failed}


class BulkRequest(msgspec.Struct, frozen=True):
    """Writes that are asked for together.

    `refresh` is `true`, `wait_for` or `false`. `wait_for_active_shards` is a number, `all`, or empty for one copy.
    `timeout_ms` is how long a shard is waited for.
    """

    items: Sequence[WriteRequest]
    refresh: str = "false"
    wait_for_active_shards: str = ""
    timeout_ms: int = 60_000

    @property
    def description(self) -> str:
        """What its task says it does."""
        return bulk_description(self.items)


class BulkResult(msgspec.Struct, frozen=True):
    """What became of every item, in the order in which they came."""

    took_ms: int
    items: list[tuple[OpType, Item]]


def bulk_answer(took_ms: int, items: list[tuple[OpType, Item]]) -> dict[str, Any]:
    """The body of the answer to a bulk. Source: OpenSearch `BulkResponse.toXContent`."""
    failed = any(isinstance(item, ItemFailure) for _, item in items)
    return {"took": took_ms, "errors": failed, "items": [item_object(op_type, item) for op_type, item in items]}


def item_fault(request: WriteRequest) -> TaskfanError | None:
    """Why an item cannot be routed, though the bulk as a whole is valid. Source: `IndexRequest.process`."""
    return IllegalArgument("if _id is specified it must not be empty") if request.id == "" else None


def bulk_description(items: Sequence[WriteRequest]) -> str:
    """What the task of a bulk says it does. Source: OpenSearch `BulkRequest.getDescription`."""
    return f"requests[{len(items)}], indices[{', '.join(sorted({item.index for item in items}))}]"


def write_description(item: WriteRequest) -> str:
    """What the task of a single write says it does. Source: OpenSearch `IndexRequest.toString`, `DeleteRequest`."""
    where = f"[{item.index}][{'null' if item.id is None else item.id}]"
    if item.op_type is OpType.DELETE:
        return f"delete {{{where}}}"
    length = len(item.source)
    too_long = f"n/a, actual length: [{_size_text(length)}], max length: {_size_text(MAX_SHOWN_SOURCE)}"
    shown = item.source.decode("utf-8", "replace") if length <= MAX_SHOWN_SOURCE else too_long
    return f"index {{{where}, source[{shown}]}}"


def _size_text(size: int) -> str:
    """Source: OpenSearch `ByteSizeValue.toString`."""
    for power, unit in ((3, "gb"), (2, "mb"), (1, "kb")):
        if size >= 1 << 10 * power:
            whole, tenths = divmod(size * 10 >> 10 * power, 10)
            return f"{whole}.{tenths}{unit}" if tenths else f"{whole}{unit}"
    return f"{size}b"


class ShardItems(msgspec.Struct):
    """The items of a bulk that go to one shard, with their places in the bulk."""

    index: str
    shard: int
    items: list[tuple[int, WriteRequest]] = []

    def description(self, refresh: str = "false") -> str:
        """What the task of this part says it does; `refresh` as in the URL. Source: `BulkShardRequest`."""
        suffix = {"true": ", refresh[IMMEDIATE]", "wait_for": ", refresh[WAIT_UNTIL]"}.get(refresh, "")
        return f"requests[{len(self.items)}], index[{self.index}][{self.shard}]{suffix}"


def group_by_shard(items: Sequence[tuple[int, WriteRequest]], shard_counts: Mapping[str, int]) -> list[ShardItems]:
    """The parts of a bulk, one for each shard, in the order in which the shards were met.

    Args:
        items: each with its place in the bulk; ids are drawn, indices are there and concrete.
        shard_counts: how many shards each index has.
    """
    groups: dict[tuple[str, int], ShardItems] = {}
    for place, item in items:
        assert item.id is not None
        shard = shard_of(item.routing if item.routing is not None else item.id, shard_counts[item.index])
        key = (item.index, shard)
        group = groups.get(key)
        if group is None:
            group = groups[key] = ShardItems(item.index, shard)
        group.items.append((place, item))
    return list(groups.values())


def op_type_of(op_type: str | None, default: OpType = OpType.INDEX) -> OpType:
    """The URL parameter `op_type` of a single write."""
    return default if op_type is None else parse_op_type(op_type)
