"""Proves that over real processes each fault does to each request what it does in memory: the same table."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from taskfan.cluster import Cluster
from tests.faults.outcomes import ASKED, ASKING, MANAGER, OPERATIONS, ROWS, Operation, Row, expected, play
from tests.faults.process_story import LIMIT_S, ProcessStory

# Who asks finds a silent link within seconds. It does not lead, so no follower depends on these checks of its own;
# those of the manager keep their usual pace.
QUICK_CHECKS = {
    "cluster.fault_detection.follower_check.interval": "50ms",
    "cluster.fault_detection.follower_check.timeout": "100ms",
}
NODES = [QUICK_CHECKS if name == ASKING else {} for name in (MANAGER, ASKING, ASKED)]


@pytest.fixture(scope="module")
def story() -> Iterator[ProcessStory]:
    with Cluster(config={"nodes": NODES}) as cluster:
        made = ProcessStory(cluster)
        yield made
        made.close()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_comes_of_it(story: ProcessStory, row: Row, operation: Operation) -> None:
    async def run() -> None:
        try:
            async with asyncio.timeout(LIMIT_S):
                outcome, took_s = await play(story, row, operation)
        finally:
            await story.clean_up()
        assert outcome == expected(row, operation)
        assert took_s >= row.at_least_s

    asyncio.run(run())
