"""Proves that seven nodes under random faults and work come out whole and empty: one known seed, and one that is new.

TASKFAN_SOAK_SECONDS says how long each of the two goes on; `scripts/soak` is the same for any time and seed.
"""

from __future__ import annotations

import os
import secrets

import pytest

from tests.soak.soak import SoakFailed, soak

# A minute each, most of which is waiting: the suite has to end within five.
SECONDS = float(os.environ.get("TASKFAN_SOAK_SECONDS", "60"))
# A new seed that failed: the next run takes it again, so that what it found does not vanish with it.
FAILED_SEED = "taskfan/failed_soak_seed"


def test_nothing_is_left_after_random_faults_and_work() -> None:
    soak(SECONDS, 1, print)


def test_nothing_is_left_after_faults_and_work_that_nobody_has_seen(pytestconfig: pytest.Config) -> None:
    cache = pytestconfig.cache
    assert cache is not None
    seed = cache.get(FAILED_SEED, None) or 1 + secrets.randbelow(2**32)
    try:
        soak(SECONDS, seed, print)
    except SoakFailed:
        cache.set(FAILED_SEED, seed)
        raise
    cache.set(FAILED_SEED, None)
