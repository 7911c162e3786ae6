"""Proves that over real processes each fault does to each request what it does in memory: the same table."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from taskfan.cluster import Cluster
from tests.faults.outcomes import OPERATIONS, ROWS, Operation, Row, expected, play
from tests.faults.process_story import LIMIT_S, ProcessStory

# Who asks is the manager, which takes a node out of the cluster as soon as its link ends: whether a request finds it
# still there is a race. What that does to real processes is told in `tests/cluster/faults` and `test_elections.py`.
ENDS_THE_LINK = ("cut", "disconnect", "blackhole")
STEADY_ROWS = [row for row in ROWS if row.rule["kind"] not in ENDS_THE_LINK]


@pytest.fixture(scope="module")
def story() -> Iterator[ProcessStory]:
    # Checks at their usual pace: rules strike them too, and quick ones would cost the node its place within a row.
    with Cluster(nodes=3) as cluster:
        made = ProcessStory(cluster)
        yield made
        made.close()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@pytest.mark.parametrize("row", STEADY_ROWS, ids=lambda row: row.name)
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
