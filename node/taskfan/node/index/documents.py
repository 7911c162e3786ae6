"""What is written to a shard and what comes of it: requests, documents, results. Pure."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from taskfan.node.errors import IllegalArgument, ValidationFailed

MATCH_ANY = -3
UNASSIGNED_SEQ_NO = -2
UNASSIGNED_PRIMARY_TERM = 0
# The longest id, in bytes of UTF-8. Source: OpenSearch `IndexRequest.validate`.
MAX_ID_LENGTH = 512


class OpType(enum.Enum):
    """What an item of a bulk does. Source: OpenSearch `DocWriteRequest.OpType`."""

    INDEX = "index"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class VersionType(enum.Enum):
    """How the version of a write compares with that of the document. Source: OpenSearch `VersionType`."""

    INTERNAL = "internal"
    EXTERNAL = "external"
    EXTERNAL_GTE = "external_gte"

    @classmethod
    def parse(cls, text: str) -> VersionType:
        """The version type of that name."""
        for kind in cls:
            if text == kind.value or (text == "external_gt" and kind is cls.EXTERNAL):
                return kind
        raise IllegalArgument(f"No version type match [{text}]")


def parse_op_type(text: str) -> OpType:
    """The `op_type` of an index request: `index` or `create`, in any case."""
    try:
        return {"index": OpType.INDEX, "create": OpType.CREATE}[text.lower()]
    except KeyError:
        raise IllegalArgument(f"opType must be 'create' or 'index', found: [{text}]") from None


# On the wire without names: a bulk has thousands.
class WriteRequest(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """One write of one document, before it is known which shard it goes to.

    `source` are the bytes of the document as they came: for an update, those of the request's body. An `id` of None
    is drawn when the write is routed. `seq_no_primary_term` is what the document must have now, or None.

    Source: OpenSearch `IndexRequest`, `DeleteRequest`, `UpdateRequest`.
    """

    op_type: OpType
    index: str
    id: str | None
    source: bytes = b""
    routing: str | None = None
    version: int = MATCH_ANY
    version_type: VersionType = VersionType.INTERNAL
    if_seq_no: int = UNASSIGNED_SEQ_NO
    if_primary_term: int = UNASSIGNED_PRIMARY_TERM
    retry_on_conflict: int = 0
    pipeline: str | None = None
    require_alias: bool = False
    # For an update: which part of the new source its answer shows; None for none.
    fetch_source: Any = None

    def faults(self) -> list[str]:
        """What makes this request invalid, in order. Source: OpenSearch `IndexRequest.validate` and its likes."""
        found = ["index is missing"] if not self.index else []
        if self.op_type is OpType.CREATE and (fault := self._create_fault()):
            return [*found, fault]
        if self.op_type in (OpType.DELETE, OpType.UPDATE):
            found += [] if self.id else ["id is missing"]
        elif self.id is None and (self.version_type is not VersionType.INTERNAL or self.version != MATCH_ANY):
            found.append("an id must be provided if version type or value are set")
        found += self._compare_and_set_faults()
        length = len((self.id or "").encode("utf-8", "surrogatepass"))
        if length > MAX_ID_LENGTH:
            found.append(f"id [{self.id}] is too long, must be no longer than 512 bytes but was: {length}")
        return found

    def _create_fault(self) -> str | None:
        if self.version_type is not VersionType.INTERNAL:
            return "create operations only support internal versioning. use index instead"
        if self.version != MATCH_ANY:
            return "create operations do not support explicit versions. use index instead"
        if self.if_seq_no != UNASSIGNED_SEQ_NO or self.if_primary_term != UNASSIGNED_PRIMARY_TERM:
            return "create operations do not support compare and set. use index instead"
        return None

    def _compare_and_set_faults(self) -> list[str]:
        found = []
        internal = self.version_type is VersionType.INTERNAL
        if not internal and self.version < 0:
            found.append(f"illegal version value [{self.version}] for version type [{self.version_type.name}]")
        if internal and self.version != MATCH_ANY:
            found.append(
                "internal versioning can not be used for optimistic concurrency control. "
                "Please use `if_seq_no` and `if_primary_term` instead"
            )
        compares = self.if_seq_no != UNASSIGNED_SEQ_NO
        if compares and (not internal or self.version != MATCH_ANY):
            found.append("compare and write operations can not use versioning")
        if compares and self.if_primary_term == UNASSIGNED_PRIMARY_TERM:
            found.append("ifSeqNo is set, but primary term is [0]")
        if not compares and self.if_primary_term != UNASSIGNED_PRIMARY_TERM:
            found.append(f"ifSeqNo is unassigned, but primary term is [{self.if_primary_term}]")
        return found

    def validate(self) -> None:
        """Raises `ValidationFailed` with all that is wrong."""
        if found := self.faults():
            raise ValidationFailed(*found)


class Document(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """One state of one document of a shard. A deleted one has no source.

    `source` is what the client sent, byte for byte. `deleted_ms` is when a deletion happened, in wall time.
    """

    id: str
    source: bytes | None
    version: int
    seq_no: int
    primary_term: int
    routing: str | None = None
    deleted_ms: int = 0

    @property
    def is_deleted(self) -> bool:
        """A tombstone: remembered for its version only."""
        return self.source is None

    @property
    def size(self) -> int:
        """Bytes it counts for: its source and its id."""
        return len(self.source or b"") + len(self.id)


class Result(enum.Enum):
    """What became of a write. Source: OpenSearch `DocWriteResponse.Result`."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    NOT_FOUND = "not_found"
    NOOP = "noop"

    @property
    def http_status(self) -> int:
        """The status of a single write with this result."""
        return {Result.CREATED: 201, Result.NOT_FOUND: 404}.get(self, 200)


class WriteResult(msgspec.Struct, frozen=True):
    """A write that was done: the state it made, which is also what the replicas are sent."""

    document: Document
    result: Result


class CopyCounts(msgspec.Struct, frozen=True):
    """How many copies of a shard a write was for, and reached. Source: OpenSearch `ReplicationResponse.ShardInfo`."""

    total: int
    successful: int
    failed: int = 0

    def to_object(self) -> dict[str, int]:
        """As `_shards` of an answer."""
        return {"total": self.total, "successful": self.successful, "failed": self.failed}


def write_answer(
    index: str,
    done: WriteResult,
    copies: CopyCounts,
    *,
    forced_refresh: bool = False,
    get: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The body of the answer to a single write, and with `status` that of one item of a bulk.

    Source: OpenSearch `DocWriteResponse.innerToXContent`.
    """
    document = done.document
    shown: dict[str, Any] = {
        "_index": index,
        "_id": document.id,
        "_version": document.version,
        "result": done.result.value,
    }
    if forced_refresh:
        shown["forced_refresh"] = True
    shown |= {"_shards": copies.to_object(), "_seq_no": document.seq_no, "_primary_term": document.primary_term}
    return shown if get is None else {**shown, "get": get}


def get_answer(index: str, document_id: str, found: Document | None, source: Any = None) -> dict[str, Any]:
    """The body of the answer to a get; `source` is what of the source is to be shown, None for nothing.

    Source: OpenSearch `GetResult.toXContent`.
    """
    if found is None:
        return {"_index": index, "_id": document_id, "found": False}
    shown: dict[str, Any] = {
        "_index": index,
        "_id": document_id,
        "_version": found.version,
        "_seq_no": found.seq_no,
        "_primary_term": found.primary_term,
    }
    if found.routing is not None:
        shown["_routing"] = found.routing
    shown["found"] = True
    return shown if source is None else {**shown, "_source": source}
