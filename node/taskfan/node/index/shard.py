"""One copy of one shard: its documents, their versions, and what of them a search sees. Pure.

The primary decides (`index`, `delete`), replicas follow (`apply`). A copy that joins later takes `all_operations`.
Source: OpenSearch `IndexShard`, `InternalEngine`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn

import msgspec

from taskfan.node.errors import IllegalArgument
from taskfan.node.index.documents import (
    MATCH_ANY,
    UNASSIGNED_SEQ_NO,
    Document,
    OpType,
    Result,
    VersionType,
    WriteRequest,
    WriteResult,
)
from taskfan.node.index.errors import ClusterBlocked, ShardId, VersionConflict

# How long a deletion is remembered. Source: `index.gc_deletes`.
TOMBSTONES_KEPT_MS = 60_000


class ShardLimits(msgspec.Struct, frozen=True):
    """What one shard may hold."""

    max_documents: int = 1_000_000
    max_bytes: int = 256 * 1024 * 1024


class ShardCopy(msgspec.Struct):
    """The documents of one copy. Writes come in the order of their sequence numbers, or are put into it.

    The order of documents is that of their last write, as it is within a Lucene index.
    """

    shard: ShardId
    primary_term: int
    limits: ShardLimits = ShardLimits()
    max_seq_no: int = -1
    size_in_bytes: int = 0
    _live: dict[str, Document] = {}
    _tombstones: dict[str, Document] = {}
    _visible: tuple[Document, ...] = ()
    _dirty: bool = False
    _replaced: int = 0
    _replaced_visible: int = 0

    # What is there.

    def get(self, document_id: str) -> Document | None:
        """The document as it is now, whether searches see it yet or not."""
        return self._live.get(document_id)

    @property
    def visible(self) -> Sequence[Document]:
        """What a search sees: the documents as of the last refresh. Never changes once it was given."""
        return self._visible

    @property
    def needs_refresh(self) -> bool:
        """Whether a refresh would show anything new."""
        return self._dirty

    @property
    def document_count(self) -> int:
        """How many documents a search sees."""
        return len(self._visible)

    @property
    def deleted_count(self) -> int:
        """How many replaced or deleted states are still counted, as of the last refresh."""
        return self._replaced_visible

    def refresh(self, now_ms: int) -> bool:
        """Let searches see all writes so far; forget old deletions. Returns whether anything is new."""
        self._forget_tombstones(now_ms)
        if not self._dirty:
            return False
        self._visible = tuple(self._live.values())
        self._replaced_visible = self._replaced
        self._dirty = False
        return True

    def force_merge(self) -> None:
        """Drop what was replaced or deleted from the counts."""
        self._replaced = self._replaced_visible = 0

    def _forget_tombstones(self, now_ms: int) -> None:
        old = [key for key, found in self._tombstones.items() if found.deleted_ms < now_ms - TOMBSTONES_KEPT_MS]
        for key in old:
            del self._tombstones[key]

    # Writes on the primary.

    def index(self, request: WriteRequest, source: bytes | None = None) -> WriteResult:
        """Index or create a document; `source` if it is not that of the request.

        Raises:
            VersionConflict: the document is not in the state that the request expects.
            IllegalArgument: the shard holds as many documents as it may.
            ClusterBlocked: the shard holds as many bytes as it may.
        """
        assert request.id is not None
        current = self._current(request.id)
        version = self._next_version(request, current)
        written = request.source if source is None else source
        self._check_limits(request.id, written, current)
        document = Document(request.id, written, version, self.max_seq_no + 1, self.primary_term, request.routing)
        was_there = current is not None and not current.is_deleted
        self._put(document)
        return WriteResult(document, Result.UPDATED if was_there else Result.CREATED)

    def delete(self, request: WriteRequest, now_ms: int) -> WriteResult:
        """Delete a document; a document that is not there counts as a write too.

        Raises:
            VersionConflict: the document is not in the state that the request expects.
        """
        assert request.id is not None
        current = self._current(request.id)
        version = self._next_version(request, current)
        routing = current.routing if current is not None else request.routing
        document = Document(request.id, None, version, self.max_seq_no + 1, self.primary_term, routing, now_ms)
        was_there = current is not None and not current.is_deleted
        self._put(document)
        return WriteResult(document, Result.DELETED if was_there else Result.NOT_FOUND)

    def _current(self, document_id: str) -> Document | None:
        return self._live.get(document_id) or self._tombstones.get(document_id)

    def _next_version(self, request: WriteRequest, current: Document | None) -> int:
        live = current is not None and not current.is_deleted
        self._check_compare_and_set(request, current if live else None)
        if request.op_type is OpType.CREATE and live:
            assert current is not None
            self._conflict(request, f"document already exists (current version [{current.version}])")
        if request.version_type is not VersionType.INTERNAL:
            self._check_external(request, current)
            return request.version
        if request.version != MATCH_ANY and current is not None and current.version != request.version:
            self._conflict(
                request, f"current version [{current.version}] is different than the one provided [{request.version}]"
            )
        return 1 if current is None else current.version + 1

    def _check_compare_and_set(self, request: WriteRequest, live: Document | None) -> None:
        if request.if_seq_no == UNASSIGNED_SEQ_NO:
            return
        required = f"required seqNo [{request.if_seq_no}], primary term [{request.if_primary_term}]."
        if live is None:
            self._conflict(request, f"{required} but no document was found")
        if (live.seq_no, live.primary_term) != (request.if_seq_no, request.if_primary_term):
            has = f"current document has seqNo [{live.seq_no}] and primary term [{live.primary_term}]"
            self._conflict(request, f"{required} {has}")

    def _check_external(self, request: WriteRequest, current: Document | None) -> None:
        if current is None:
            return
        equal_will_do = request.version_type is VersionType.EXTERNAL_GTE
        if current.version > request.version or (current.version == request.version and not equal_will_do):
            than = "higher than" if equal_will_do else "higher or equal to"
            self._conflict(
                request, f"current version [{current.version}] is {than} the one provided [{request.version}]"
            )

    def _conflict(self, request: WriteRequest, explanation: str) -> NoReturn:
        raise VersionConflict(self.shard, request.id or "", explanation)

    def _check_limits(self, document_id: str, source: bytes, current: Document | None) -> None:
        if document_id not in self._live and len(self._live) >= self.limits.max_documents:
            raise IllegalArgument(f"number of documents in the index cannot exceed {self.limits.max_documents}")
        freed = current.size if current is not None else 0
        if self.size_in_bytes - freed + len(source) + len(document_id) > self.limits.max_bytes:
            raise ClusterBlocked(self.shard.index)

    # Writes that were decided elsewhere.

    def apply(self, document: Document) -> bool:
        """Take over a state that the primary made; an older one than is here changes nothing."""
        current = self._current(document.id)
        if current is not None and current.seq_no >= document.seq_no:
            return False
        in_order = document.seq_no > self.max_seq_no
        self._put(document)
        if not in_order:
            # Documents keep the order of their sequence numbers, whichever came first.
            self._live = {found.id: found for found in sorted(self._live.values(), key=lambda found: found.seq_no)}
        return True

    def all_operations(self) -> list[Document]:
        """Every state, deletions included, by sequence number: what a new copy needs."""
        return sorted([*self._live.values(), *self._tombstones.values()], key=lambda found: found.seq_no)

    def apply_all(self, documents: Iterable[Document]) -> None:
        """Take over the states of another copy."""
        for document in documents:
            self.apply(document)

    def _put(self, document: Document) -> None:
        old = self._live.pop(document.id, None)
        if old is not None:
            self.size_in_bytes -= old.size
            self._replaced += 1
        self._tombstones.pop(document.id, None)
        if document.is_deleted:
            self._tombstones[document.id] = document
        else:
            self._live[document.id] = document
            self.size_in_bytes += document.size
        self.max_seq_no = max(self.max_seq_no, document.seq_no)
        self._dirty = self._dirty or old is not None or not document.is_deleted
