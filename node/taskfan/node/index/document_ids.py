"""Ids for documents that come without one: 20 characters that grow with time. Pure."""

from __future__ import annotations

import base64
import hashlib

import msgspec


class DocumentIds(msgspec.Struct):
    """The ids that one node gives. Unique as long as `address` is the node's own.

    Args:
        address: six bytes that differ from node to node.
        sequence: where to start counting; a random number, so that a restarted node does not repeat itself.

    Source: OpenSearch `TimeBasedUUIDGenerator`.
    """

    address: bytes
    sequence: int
    _last_ms: int = 0

    def __post_init__(self) -> None:
        assert len(self.address) == 6

    @classmethod
    def of_process(cls, node_id: str, ephemeral_id: str) -> DocumentIds:
        """Those of one process of a node, told from all others by the ids of the node and of the process."""
        address = hashlib.blake2b(node_id.encode(), digest_size=6).digest()
        start = hashlib.blake2b(ephemeral_id.encode(), digest_size=3).digest()
        return cls(address, int.from_bytes(start, "big"))

    def next(self, now_ms: int) -> str:
        """A new id; `now_ms` is wall time, and may go backwards."""
        self.sequence = self.sequence + 1 & 0xFFFFFF
        self._last_ms = max(self._last_ms, now_ms) + (self.sequence == 0)
        sequence, time = self.sequence.to_bytes(3, "little"), (self._last_ms & 0xFFFFFFFFFFFF).to_bytes(6, "little")
        # What differs from one id to the next comes first and last, as in OpenSearch, where it makes indexing quick.
        parts = bytes([sequence[0], sequence[2], *time[2:6]]) + self.address + bytes([time[1], sequence[1], time[0]])
        return base64.urlsafe_b64encode(parts).decode()
