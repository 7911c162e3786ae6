"""Proves that over real processes each fault does to each request what it does in memory: the same table."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from taskfan.cluster import Cluster
from tests.faults.outcomes import OPERATIONS, ROWS, Operation, Row, expected, play
from tests.faults.process_story import LIMIT_S, ProcessStory


@pytest.fixture(scope="module")
def story() -> Iterator[ProcessStory]:
    # Checks fifty times as frequent: a silent link ends after half a second.
    with Cluster(nodes=3, time_scale=0.02) as cluster:
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
