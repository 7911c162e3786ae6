"""Searches and what they find as bytes that travel between nodes. Pure.

A search is a tree of structs; each is written as its name and its values, so that the one who reads gets the same
tree. Hits are many, and have one type: they are written by msgspec as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from taskfan.node.index import query
from taskfan.node.index.search_phases import FetchedHit, QueryResult, ShardHit
from taskfan.node.index.search_source import SearchSource, Slice
from taskfan.node.index.sorting import Sort
from taskfan.node.index.source_filter import SourceFilter
from taskfan.v1 import search_pb2 as pb

_QUERIES = (
    *(query.MatchAll, query.MatchNone, query.Match, query.Terms, query.Ids, query.Range, query.Exists),
    *(query.Regexp, query.Bool),
)
_CLASSES: dict[str, Any] = {found.__name__: found for found in (*_QUERIES, SearchSource, Slice, Sort, SourceFilter)}
# Where the name of a class stands otherwise, for a plain tuple or list.
_PLAIN = ""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_decode_hits = msgspec.msgpack.Decoder(list[tuple[int, float | None, tuple[Any, ...]]]).decode
decode_fetched = msgspec.msgpack.Decoder(list[FetchedHit]).decode


def encode_source(source: SearchSource) -> bytes:
    """A search as it travels."""
    return _encode(_packed(source))


@lru_cache(maxsize=64)
def decode_source(raw: bytes) -> SearchSource:
    """The search that `encode_source` wrote."""
    source = _unpacked(_decode(raw))
    assert isinstance(source, SearchSource)
    return source


def _packed(value: Any) -> Any:
    name = type(value).__name__
    if name in _CLASSES:
        return [name, *(_packed(getattr(value, field)) for field in value.__struct_fields__)]
    if isinstance(value, list | tuple):
        return [_PLAIN, *map(_packed, value)]
    return value


def _unpacked(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    name, *parts = value
    values = map(_unpacked, parts)
    return tuple(values) if name == _PLAIN else _CLASSES[name](*values)


def encode_hits(hits: Sequence[ShardHit]) -> bytes:
    """Hits of a query phase."""
    return _encode([(hit.place, hit.score, hit.sort) for hit in hits])


def decode_hits(raw: bytes) -> list[ShardHit]:
    """The hits that `encode_hits` wrote."""
    return [ShardHit(*hit) for hit in _decode_hits(raw)] if raw else []


def encode_fetched(hits: Sequence[FetchedHit]) -> bytes:
    """Documents of a fetch phase."""
    return _encode(hits)


def query_result(answer: pb.ShardQueryResult) -> QueryResult:
    """What the query phase of a shard found, of the message that brings it."""
    best = answer.max_score if answer.HasField("max_score") else None
    return QueryResult(answer.total, decode_hits(answer.hits), best)
