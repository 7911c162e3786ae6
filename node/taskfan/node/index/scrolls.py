"""Searches that go on: the ids that clients get, and the readers that a node keeps for them. Pure.

Source: OpenSearch `TransportSearchHelper`, `ReaderContext`, `SearchService`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from taskfan.node.errors import IllegalArgument, Origin, TaskfanError, ValidationFailed
from taskfan.node.index.documents import Document
from taskfan.node.index.errors import SearchContextMissing, TooManyScrolls
from taskfan.node.index.search_phases import QueryResult, ShardTarget
from taskfan.node.index.search_source import SearchSource
from taskfan.node.index.x_content import read_body, token_name
from taskfan.node.task_json import human_duration

_WITH_SESSION = "include_context_uuid"
QUERY_THEN_FETCH, QUERY_AND_FETCH = "queryThenFetch", "queryAndFetch"
# Source: `search.max_keep_alive`, `search.max_open_scroll_context`.
MAX_KEEP_ALIVE_MS, MAX_OPEN_SCROLLS = 24 * 3_600_000, 500


class ContextId(msgspec.Struct, frozen=True):
    """One reader of one node. `session` is new in each process, so that a restarted node knows no old readers."""

    session: str
    number: int
    node_id: str


class ScrollId(msgspec.Struct, frozen=True):
    """What a scroll id says: the readers of the search, in the order of its shards, and the indices as asked for."""

    contexts: tuple[ContextId, ...]
    indices: tuple[str, ...] = ()

    def encode(self) -> str:
        """The id as clients carry it."""
        kind = QUERY_AND_FETCH if len(self.contexts) == 1 else QUERY_THEN_FETCH
        parts = [_text(_WITH_SESSION), _text(kind), _vint(len(self.contexts))]
        for context in self.contexts:
            parts += [_text(context.session), context.number.to_bytes(8, "big"), _text(context.node_id)]
        parts += [b"\1", _vint(len(self.indices)), *map(_text, self.indices)]
        return base64.urlsafe_b64encode(b"".join(parts)).decode()

    @classmethod
    def decode(cls, text: str) -> ScrollId:
        """The id that `text` is.

        Raises:
            IllegalArgument: `Cannot parse scroll id`.
        """
        try:
            reader = _Reader(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
            return reader.scroll_id()
        except (binascii.Error, UnicodeDecodeError, _EndOfInput, ValueError) as error:
            cause = TaskfanError(str(error) or None)
            ended = isinstance(error, _EndOfInput)
            cause.kind = "e_o_f_exception" if ended else IllegalArgument.kind
            cause.origin = Origin.KNOWN
            raise IllegalArgument("Cannot parse scroll id", cause=cause) from None


def _vint(number: int) -> bytes:
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def _text(text: str) -> bytes:
    encoded = text.encode()
    return _vint(len(text)) + encoded


class _EndOfInput(Exception):
    """The bytes ended too soon."""


class _Reader(msgspec.Struct):
    data: bytes
    at: int = 0

    def take(self, count: int) -> bytes:
        left = len(self.data) - self.at
        if count > left:
            raise _EndOfInput(f"attempting to read {count} bytes but only {left} bytes are available" if left else "")
        self.at += count
        return self.data[self.at - count : self.at]

    def vint(self) -> int:
        number = shift = 0
        while True:
            (part,) = self.take(1)
            number |= (part & 0x7F) << shift
            shift += 7
            if part < 0x80:
                return number
            if shift > 28:
                raise ValueError("Invalid vInt")

    def text(self) -> str:
        return self.take(self.vint()).decode()

    def scroll_id(self) -> ScrollId:
        if self.text() == _WITH_SESSION:
            self.text()
        count = self.vint()
        if count > len(self.data):
            raise ValueError("Invalid scroll id")
        contexts = tuple(ContextId(self.text(), int.from_bytes(self.take(8), "big"), self.text()) for _ in range(count))
        indices: tuple[str, ...] = ()
        if self.at < len(self.data) and self.take(1) == b"\1":
            indices = tuple(self.text() for _ in range(self.vint()))
        if self.at != len(self.data):
            raise ValueError("Not all bytes were read")
        return ScrollId(contexts, indices)


def read_scroll_body(raw: bytes) -> dict[str, Any]:
    """The body of a scroll or of its clearing: `scroll_id` and `scroll`.

    Raises:
        IllegalArgument: a key is unknown or its value of another type.
    """
    if not raw.strip():
        return {}
    value = read_body(raw).value
    if not isinstance(value, dict):
        raise IllegalArgument("Malformed content, must start with an object")
    for name, given in value.items():
        listed = name == "scroll_id" and isinstance(given, list)
        if name not in ("scroll_id", "scroll") or not (listed or isinstance(given, str)):
            raise IllegalArgument(
                f"Unknown parameter [{name}] in request body or parameter is of the wrong type[{token_name(given)}] "
            )
    return value


def scroll_ids_to_clear(ids: Sequence[str]) -> list[ScrollId] | None:
    """The scrolls that a clearing means; None for all of them.

    Raises:
        ValidationFailed: none is named.
        IllegalArgument: one is no scroll id.
    """
    if not ids:
        raise ValidationFailed("no scroll ids specified")
    if list(ids) == ["_all"]:
        return None
    return [ScrollId.decode(text) for text in ids]


class ReaderContext(msgspec.Struct):
    """What a node keeps of one shard for a search: the documents as they were when it began.

    A scroll also keeps its hits, of which `position` have been given out.
    """

    number: int
    target: ShardTarget
    documents: Sequence[Document]
    source: SearchSource
    keep_alive_ms: int
    expires_ms: int
    scroll: bool = False
    result: QueryResult | None = None
    position: int = 0
    in_use: int = 0

    def page(self) -> QueryResult:
        """The next hits of a scroll; they count as given out only with `advance`."""
        assert self.result is not None
        hits = self.result.hits[self.position : self.position + self.source.count]
        return QueryResult(self.result.total, hits, self.result.max_score)

    def advance(self, emitted: int) -> None:
        """So many hits of this shard were part of an answer."""
        self.position += emitted


class ReaderContexts(msgspec.Struct):
    """The readers of one node. Times are monotonic milliseconds, given by the caller.

    Args:
        session: new in each process.
        expiry_is_set: whether `expire` is going to be called.
    """

    session: str
    expiry_is_set: bool = False
    _contexts: dict[int, ReaderContext] = {}
    _next: int = 1

    def __len__(self) -> int:
        return len(self._contexts)

    def open(
        self,
        target: ShardTarget,
        documents: Sequence[Document],
        source: SearchSource,
        now_ms: int,
        keep_alive_ms: int,
        *,
        scroll: bool,
    ) -> ReaderContext:
        """A new reader.

        Raises:
            IllegalArgument: it is to be kept for longer than is allowed.
            TooManyScrolls: too many scrolls are open.
        """
        if scroll:
            check_keep_alive(keep_alive_ms)
            if sum(context.scroll for context in self._contexts.values()) >= MAX_OPEN_SCROLLS:
                raise TooManyScrolls(
                    f"Trying to create too many scroll contexts. Must be less than or equal to: [{MAX_OPEN_SCROLLS}]. "
                    "This limit can be set by changing the [search.max_open_scroll_context] setting."
                )
        context = ReaderContext(
            self._next, target, documents, source, keep_alive_ms, now_ms + keep_alive_ms, scroll=scroll
        )
        self._contexts[self._next] = context
        self._next += 1
        return context

    def get(self, session: str, number: int, now_ms: int, keep_alive_ms: int | None = None) -> ReaderContext:
        """A reader that is there; each use, and a new keep-alive, lets it live on.

        Raises:
            SearchContextMissing: it is not, or is of an earlier process.
        """
        context = self._contexts.get(number)
        if context is None or (session and session != self.session):
            raise SearchContextMissing(number)
        if keep_alive_ms is not None:
            check_keep_alive(keep_alive_ms)
            context.keep_alive_ms = keep_alive_ms
        context.expires_ms = now_ms + context.keep_alive_ms
        return context

    def free(self, session: str, number: int) -> bool:
        """Forget a reader; whether it was there."""
        if session and session != self.session:
            return False
        return self._contexts.pop(number, None) is not None

    def free_all_scrolls(self) -> int:
        """Forget all readers of scrolls; how many there were."""
        return self._free([number for number, context in self._contexts.items() if context.scroll])

    def free_index(self, index_uuid: str) -> int:
        """Forget the readers of an index that is gone."""
        return self._free([n for n, context in self._contexts.items() if context.target.shard.index_uuid == index_uuid])

    def keep_only(self, index_uuids: Iterable[str]) -> int:
        """Forget the readers of all other indices: they were deleted. Source: `SearchService.afterIndexRemoved`."""
        there = frozenset(index_uuids)
        return self._free([n for n, found in self._contexts.items() if found.target.shard.index_uuid not in there])

    def expire(self, now_ms: int) -> int:
        """Forget the readers that nobody used for as long as they were to be kept."""
        return self._free([n for n, found in self._contexts.items() if found.expires_ms <= now_ms and not found.in_use])

    def _free(self, numbers: list[int]) -> int:
        for number in numbers:
            del self._contexts[number]
        return len(numbers)


def check_keep_alive(keep_alive_ms: int) -> None:
    """Refuse to keep a reader for longer than a day."""
    if keep_alive_ms > MAX_KEEP_ALIVE_MS:
        asked = human_duration(keep_alive_ms * 1_000_000)
        raise IllegalArgument(
            f"Keep alive for request ({asked}) is too large. It must be less than (1d). This limit can be set by "
            "changing the [search.max_keep_alive] cluster level setting."
        )
