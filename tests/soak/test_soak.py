"""Proves that seven nodes under random faults and work come out whole and empty: one known seed, and one that is new.

TASKFAN_SOAK_SECONDS says how long each of the two goes on; `scripts/soak` is the same for any time and seed.
"""

from __future__ import annotations

import os
import secrets

import pytest

from tests.soak.soak import soak

# Two or three rounds: the suite has to end within minutes. A minute each is TASKFAN_SOAK_SECONDS=60.
SECONDS = float(os.environ.get("TASKFAN_SOAK_SECONDS", "20"))


@pytest.mark.parametrize("seed", [1, None], ids=["known", "new"])
def test_nothing_is_left_after_random_faults_and_work(seed: int | None) -> None:
    soak(SECONDS, secrets.randbelow(2**32) if seed is None else seed, print)
