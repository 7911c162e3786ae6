"""MurmurHash3 (x86, 32 bit), as OpenSearch hashes ids, routing values and slices. Pure."""

from __future__ import annotations

import struct

_C1, _C2, _MASK = 0xCC9E2D51, 0x1B873593, 0xFFFFFFFF


def murmur3_32(data: bytes, seed: int = 0) -> int:
    """The hash as a signed 32-bit number. Source: Lucene `StringHelper.murmurhash3_x86_32`."""
    h = seed & _MASK
    blocks_end = len(data) & ~3
    for k in struct.unpack_from(f"<{blocks_end // 4}I", data):
        k = k * _C1 & _MASK
        k = (k << 15 | k >> 17) * _C2 & _MASK
        h ^= k
        h = (h << 13 | h >> 19) * 5 + 0xE6546B64 & _MASK
    if blocks_end != len(data):
        k = int.from_bytes(data[blocks_end:], "little") * _C1 & _MASK
        h ^= (k << 15 | k >> 17) * _C2 & _MASK
    h = _finish(h ^ len(data))
    return h - 0x100000000 if h & 0x80000000 else h


def _finish(h: int) -> int:
    h = (h ^ h >> 16) * 0x85EBCA6B & _MASK
    h = (h ^ h >> 13) * 0xC2B2AE35 & _MASK
    return h ^ h >> 16


def hash_text(text: str) -> int:
    """The hash of a routing value or id: over its UTF-16 code units, low byte first.

    Source: OpenSearch `Murmur3HashFunction.hash(String)`.
    """
    return murmur3_32(text.encode("utf-16-le", "surrogatepass"))


def mix(number: int) -> int:
    """A 64-bit number stirred into a signed 32-bit one. Source: OpenSearch `BitMixer.mix(long)`."""
    z = number & 0xFFFFFFFFFFFFFFFF
    z = (z ^ z >> 32) * 0x4CD6944C5CC20B6D & 0xFFFFFFFFFFFFFFFF
    z = (z ^ z >> 29) * 0xFC12C5B19D3259E9 & 0xFFFFFFFFFFFFFFFF
    h = (z ^ z >> 32) & _MASK
    return h - 0x100000000 if h & 0x80000000 else h
