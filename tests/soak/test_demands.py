"""Proves that the soak's demands can fail: a ban that stays for no reason, and memory that grows."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from taskfan.cluster import ClusterNode
from taskfan.cluster.merged_journal import MergedJournal
from taskfan.node.journal import entry_of
from tests.soak.demands import growth_bytes, unexplained

UNBAN = {"message": "m", "link": "l", "action": "ban", "ban_of": "a-id:7", "unban": True}
SENT = {"node": "a", "kind": "request_sent", "to": "b-id", **UNBAN}
RECEIVED = {"node": "b", "kind": "request_received", "from": "a-id", **UNBAN}
DROPPED = {"node": "a", "kind": "fault_hit", "fault": "f", "rule": 0, "spoils": "drop", "to": "b-id", "on": "request"}
CLOSED = {"node": "a", "kind": "link_closed", "link": "l", "peer": "b-id", "reason": "gone"}
LEFT = {"node": "a", "kind": "state_applied", "version": 2, "term": 1, "removed": ["b-id"]}


def stays(*events: dict[str, Any]) -> list[str]:
    """What is said of a ban of a:7 that stayed on b, when this was noted."""
    opened = {"node": "a", "kind": "journal_opened", "node_id": "a-id", "incarnation": "i"}
    lines = [{"lamport": at, "time_ms": at, **event} for at, event in enumerate((opened, *events), 1)]
    entries = [entry_of(json.dumps(line).encode()) for line in lines]
    b = cast(ClusterNode, SimpleNamespace(id="b-id", name="b"))
    return unexplained([(b, "a-id:7")], MergedJournal(entries, entries))


@pytest.mark.parametrize("noted", [[], [SENT, RECEIVED], [CLOSED]], ids=["never sent", "received", "another's link"])
def test_a_ban_that_stays_for_no_reason_is_an_error(noted: list[dict[str, Any]]) -> None:
    assert stays(*noted) == ["b bans a-id:7, whose unban nothing spoiled"]


@pytest.mark.parametrize(
    "noted", [[SENT, {**DROPPED, **UNBAN}], [SENT, CLOSED], [LEFT]], ids=["dropped", "link closed", "node left"]
)
def test_a_ban_whose_unban_was_lost_may_stay(noted: list[dict[str, Any]]) -> None:
    assert stays(*noted) == []


def test_memory_grows_by_the_difference_of_late_and_early_rounds_that_count() -> None:
    assert growth_bytes([1] * 10 + [100] * 12) == 0
    assert growth_bytes([1] * 10 + [100] * 6 + [150] * 6) == 50
    assert growth_bytes([1] * 21) == 0
