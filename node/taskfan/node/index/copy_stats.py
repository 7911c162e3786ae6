"""How many documents a copy of a shard has, and how large it is. Pure."""

from __future__ import annotations

import msgspec


class CopyStats(msgspec.Struct, frozen=True, array_like=True):
    """One copy of a shard. `size_bytes` are those of its documents."""

    index: str
    shard: int
    node_id: str
    primary: bool
    document_count: int
    deleted_count: int
    size_bytes: int
