"""How many active copies a write waits for. Pure. Source: OpenSearch `ActiveShardCount`."""

from __future__ import annotations

import msgspec

from taskfan.node.errors import IllegalArgument, NumberFormat
from taskfan.node.ids import parse_long
from taskfan.node.index.errors import ShardId, UnavailableShards


class ActiveShardCount(msgspec.Struct, frozen=True):
    """So many copies, or with None all of them."""

    count: int | None

    @classmethod
    def parse(cls, text: str | None) -> ActiveShardCount:
        """The parameter `wait_for_active_shards`; without one, one copy.

        Raises:
            IllegalArgument: it is neither `all` nor a number that is not negative.
        """
        if text is None:
            return cls(1)
        if text == "all":
            return cls(None)
        number = parse_long(text)
        if number is None:
            raise IllegalArgument(
                f"cannot parse ActiveShardCount[{text}]", cause=NumberFormat(f'For input string: "{text}"')
            )
        if number < 0:
            raise IllegalArgument("shard count cannot be a negative value")
        return cls(number)

    def __str__(self) -> str:
        return "ALL" if self.count is None else str(self.count)

    def needed(self, copies: int) -> int:
        """How many of so many copies must be active."""
        return copies if self.count is None else self.count

    def check(self, shard: ShardId, active: int, copies: int, timeout: str) -> None:
        """Refuse a write for which too few copies are active; `timeout` is what it waited, as the client wrote it.

        Raises:
            UnavailableShards: in the words of OpenSearch's `ReplicationOperation`.
        """
        needed = self.needed(copies)
        if active < needed:
            raise UnavailableShards(
                f"{shard} Not enough active copies to meet shard count of [{self}] (have {active}, needed {needed}). "
                f"Timeout: [{timeout}]"
            )


def primary_not_active(shard: ShardId, timeout: str) -> UnavailableShards:
    """A write whose primary did not become active in time."""
    return UnavailableShards(f"{shard} primary shard is not active Timeout: [{timeout}]")
