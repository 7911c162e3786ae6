"""How far a reindex, update by query or delete by query is, and what its answer says. Pure.

Source: OpenSearch `BulkByScrollTask.Status`, `BulkByScrollResponse`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import msgspec

from taskfan.node.errors import TaskfanError
from taskfan.node.index.bulk import ItemFailure
from taskfan.node.index.errors import ShardSearchFailure
from taskfan.node.task_json import human_duration


def float32(number: float) -> float:
    """A number as a Java float holds it."""
    if math.isinf(number) or math.isnan(number):
        return number
    try:
        found: float = struct.unpack("f", struct.pack("f", number))[0]
    except OverflowError:
        return math.copysign(math.inf, number)
    return found


def shown_float(number: float) -> float:
    """A Java float as its shortest decimal that is still the same float: 0.01, not 0.009999999776482582."""
    if math.isinf(number) or math.isnan(number):
        return number
    for digits in range(1, 10):
        shorter = float(f"{number:.{digits}g}")
        if float32(shorter) == number:
            return shorter
    return number


class ByScrollStatus(msgspec.Struct, frozen=True):
    """One moment of the work. A leader has `slices`, with None for each that still runs.

    `requests_per_second` is infinite when nothing throttles the work.
    """

    slice_id: int | None = None
    total: int = 0
    updated: int = 0
    created: int = 0
    deleted: int = 0
    batches: int = 0
    version_conflicts: int = 0
    noops: int = 0
    bulk_retries: int = 0
    search_retries: int = 0
    throttled_ns: int = 0
    requests_per_second: float = 0.0
    reason_cancelled: str | None = None
    throttled_until_ns: int = 0
    slices: tuple[ByScrollStatus | TaskfanError | None, ...] = ()

    def to_object(self, *, human: bool = False, created: bool = True, updated: bool = True) -> dict[str, Any]:
        """As a client reads it; `created` and `updated` are left out of the direct answers that cannot have them."""
        shown: dict[str, Any] = {} if self.slice_id is None else {"slice_id": self.slice_id}
        shown["total"] = self.total
        if updated:
            shown["updated"] = self.updated
        if created:
            shown["created"] = self.created
        shown |= {
            "deleted": self.deleted,
            "batches": self.batches,
            "version_conflicts": self.version_conflicts,
            "noops": self.noops,
            "retries": {"bulk": self.bulk_retries, "search": self.search_retries},
            **_duration("throttled", self.throttled_ns, human),
            "requests_per_second": -1.0
            if self.requests_per_second == math.inf
            else shown_float(self.requests_per_second),
        }
        if self.reason_cancelled is not None:
            shown["canceled"] = self.reason_cancelled
        shown |= _duration("throttled_until", self.throttled_until_ns, human)
        if self.slices:
            shown["slices"] = [_slice_object(part, human, created, updated) for part in self.slices]
        return shown


def _duration(name: str, nanoseconds: int, human: bool) -> dict[str, Any]:
    readable = {name: human_duration(nanoseconds)} if human else {}
    return {**readable, f"{name}_millis": nanoseconds // 1_000_000}


def _slice_object(part: ByScrollStatus | TaskfanError | None, human: bool, created: bool, updated: bool) -> Any:
    if part is None:
        return None
    if isinstance(part, TaskfanError):
        return part.to_object()
    return part.to_object(human=human, created=created, updated=updated)


def merged_status(
    slices: Sequence[ByScrollStatus | TaskfanError | None], reason_cancelled: str | None
) -> ByScrollStatus:
    """The status of a leader: sums over the slices that are there; the earliest of their wake-ups."""
    there = [part for part in slices if isinstance(part, ByScrollStatus)]
    rate = 0.0
    for part in there:
        rate = float32(rate + part.requests_per_second)
    return ByScrollStatus(
        None,
        sum(part.total for part in there),
        sum(part.updated for part in there),
        sum(part.created for part in there),
        sum(part.deleted for part in there),
        sum(part.batches for part in there),
        sum(part.version_conflicts for part in there),
        sum(part.noops for part in there),
        sum(part.bulk_retries for part in there),
        sum(part.search_retries for part in there),
        sum(part.throttled_ns for part in there),
        rate,
        reason_cancelled,
        min((part.throttled_until_ns for part in there), default=0),
        tuple(slices),
    )


class ByScrollResponse(msgspec.Struct, frozen=True):
    """What the work came to."""

    took_ns: int
    status: ByScrollStatus
    bulk_failures: tuple[ItemFailure, ...] = ()
    search_failures: tuple[ShardSearchFailure, ...] = ()
    timed_out: bool = False

    @property
    def http_status(self) -> int:
        """The status of the direct answer: 408 if it timed out, the highest of its failures if that is higher.

        Source: OpenSearch `BulkIndexByScrollResponseContentListener`.
        """
        failed = [failure.http_status for failure in self.bulk_failures]
        failed += [failure.cause.http_status for failure in self.search_failures]
        return max([408 if self.timed_out else 200, *failed])

    def to_object(self, *, human: bool = False, created: bool = True, updated: bool = True) -> dict[str, Any]:
        """The body; a stored one is written with `human`, and with all counts whatever the kind of the work."""
        failures: list[dict[str, Any]] = [
            {
                "index": failure.index,
                "id": failure.id,
                "cause": failure.cause.to_object(),
                "status": failure.http_status,
            }
            for failure in self.bulk_failures
        ]
        failures += [
            {
                "index": failure.index,
                "shard": failure.number,
                "node": failure.node_id,
                "status": failure.cause.http_status,
                "reason": failure.cause.to_object(),
            }
            for failure in self.search_failures
        ]
        return {
            "took": self.took_ns // 1_000_000,
            "timed_out": self.timed_out,
            **self.status.to_object(human=human, created=created, updated=updated),
            "failures": failures,
        }


def merged_response(responses: Sequence[ByScrollResponse], reason_cancelled: str | None) -> ByScrollResponse:
    """The response of a leader, of the responses of its slices in order."""
    return ByScrollResponse(
        took_ns=max((response.took_ns for response in responses), default=0),
        status=merged_status([response.status for response in responses], reason_cancelled),
        bulk_failures=tuple(failure for response in responses for failure in response.bulk_failures),
        search_failures=tuple(failure for response in responses for failure in response.search_failures),
        timed_out=any(response.timed_out for response in responses),
    )
