"""Chance that depends on a seed and on what happens, never on when. Pure."""

from __future__ import annotations

import hashlib
import math

from taskfan.node.faults.rule import Distribution

# A normal or exponential delay beyond so many deviations is cut there: every wait has a limit.
_MOST_DEVIATIONS = 10.0


def draw(seed: int, purpose: str, sender: str, to: str, action: str, count: int) -> float:
    """A number from 0 up to, not including, 1: the same for the same arguments, in every process and run.

    Args:
        sender, to: names of nodes, for these are the same from run to run.
        count: how many such messages came before this one.
    """
    text = "\0".join((str(seed), purpose, sender, to, action, str(count)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64


def delay_s(distribution: Distribution, mean_s: float, jitter_s: float, one: float, two: float) -> float:
    """A delay in seconds, never below 0, from two independent draws."""
    if distribution == "exponential":
        return min(-mean_s * math.log1p(-one), _MOST_DEVIATIONS * mean_s)
    if distribution == "normal":
        # Box and Muller's transform.
        deviations = math.sqrt(-2 * math.log1p(-one)) * math.cos(2 * math.pi * two)
        return max(0.0, mean_s + jitter_s * max(-_MOST_DEVIATIONS, min(deviations, _MOST_DEVIATIONS)))
    return max(0.0, mean_s + jitter_s * (2 * one - 1))
