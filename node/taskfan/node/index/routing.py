"""Which shard a document belongs to, and which part of a shard a slice of a search sees. Pure."""

from __future__ import annotations

import base64
import re
from functools import lru_cache

from taskfan.node.index.murmur3 import hash_text, murmur3_32

_SLICE_SEED = 7919
_NUMERIC = re.compile(r"[0-9]+")
_BASE64_URL = re.compile(r"[0-9A-Za-z_-]*")
# First bytes that say how the id behind them is written.
_NUMERIC_MARK, _UTF8_MARK, _BASE64_ESCAPE = 0xFE, 0xFF, 0xFD


def routing_num_shards(number_of_shards: int) -> int:
    """How many shards ids are hashed to before they are folded onto the real ones, so that an index could be split.

    Source: OpenSearch `MetadataCreateIndexService.calculateNumRoutingShards`.
    """
    splits = 10 - (number_of_shards - 1).bit_length()
    return number_of_shards << max(1, splits)


@lru_cache(maxsize=4096)
def _routing_factor(number_of_shards: int) -> tuple[int, int]:
    routing_shards = routing_num_shards(number_of_shards)
    return routing_shards, routing_shards // number_of_shards


def shard_of(routing: str, number_of_shards: int) -> int:
    """The number of the shard for a routing value, which is the id of the document unless another was given.

    Source: OpenSearch `OperationRouting.generateShardId`.
    """
    routing_shards, factor = _routing_factor(number_of_shards)
    return hash_text(routing) % routing_shards // factor


def slice_has_shard(slice_id: int, slice_max: int, shard: int, number_of_shards: int) -> bool:
    """Whether a slice asks this shard at all. Source: OpenSearch `SliceBuilder.shardMatches`."""
    if slice_max >= number_of_shards:
        return slice_id % number_of_shards == shard
    return shard % slice_max == slice_id


def slice_within_shard(slice_id: int, slice_max: int, shard: int, number_of_shards: int) -> tuple[int, int] | None:
    """The slice that remains within a shard that the slice has: `(id, max)`, or None for all of the shard.

    Source: OpenSearch `SliceBuilder.toFilter`.
    """
    if number_of_shards == 1:
        return slice_id, slice_max
    if slice_max < number_of_shards:
        return None
    slices_in_shard = slice_max // number_of_shards + (slice_max % number_of_shards > slice_id % number_of_shards)
    return None if slices_in_shard == 1 else (slice_id // number_of_shards, slices_in_shard)


def id_in_slice(document_id: str, slice_id: int, slice_max: int) -> bool:
    """Whether a slice over `_id` holds this document. Source: OpenSearch `TermsSliceQuery`."""
    return murmur3_32(encode_id(document_id), _SLICE_SEED) % slice_max == slice_id


def encode_id(document_id: str) -> bytes:
    """An id as it is indexed: digits two to a byte, URL-safe base64 as its bytes, else UTF-8.

    Source: OpenSearch `Uid.encodeId`.
    """
    if _NUMERIC.fullmatch(document_id):
        padded = document_id if len(document_id) % 2 == 0 else document_id + "f"
        return bytes([_NUMERIC_MARK]) + bytes.fromhex(padded)
    if (raw := _from_base64(document_id)) is not None:
        return raw if raw[0] < _BASE64_ESCAPE else bytes([_BASE64_ESCAPE]) + raw
    return bytes([_UTF8_MARK]) + document_id.encode("utf-8", "surrogatepass")


def _from_base64(text: str) -> bytes | None:
    """The bytes of which this is the one URL-safe base64 form without padding, or None."""
    if len(text) % 4 == 1 or not _BASE64_URL.fullmatch(text):
        return None
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    # Bits that the bytes do not need must be zero, or the text could not be got back.
    return raw if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() == text else None
