"""Proves what each kind of fault does to lists, gets, cancels, bans and work, in memory and virtual time."""

from __future__ import annotations

import pytest

from tests.faults.memory_story import MemoryStory, play
from tests.faults.outcomes import OPERATIONS, ROWS, Operation, Row, expected
from tests.faults.outcomes import play as play_row


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_comes_of_it(row: Row, operation: Operation) -> None:
    async def story(story: MemoryStory) -> None:
        outcome, took_s = await play_row(story, row, operation)
        assert outcome == expected(row, operation)
        assert took_s >= row.at_least_s

    play(story)
