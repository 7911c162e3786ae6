"""What a word that nothing knows may have been meant for. Pure.

Source: OpenSearch `SuggestingErrorOnUnknown`, Lucene `LevenshteinDistance`.
"""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(unknown: str, candidates: Iterable[str]) -> str:
    """` did you mean [x]?`, ` did you mean any of [x, y]?`, or nothing."""
    scored = [(similarity(unknown, candidate), candidate) for candidate in candidates]
    close = [name for _, name in sorted((-score, name) for score, name in scored if score > 0.5)]
    if not close:
        return ""
    return f" did you mean [{close[0]}]?" if len(close) == 1 else f" did you mean any of [{', '.join(close)}]?"


def similarity(one: str, other: str) -> float:
    """One minus the share of characters that must be changed to make one word of the other."""
    longest = max(len(one), len(other))
    return 1.0 if longest == 0 else 1.0 - _distance(one, other) / longest


def _distance(one: str, other: str) -> int:
    before = list(range(len(other) + 1))
    for row, character in enumerate(one, 1):
        line = [row]
        for column, candidate in enumerate(other, 1):
            line.append(min(before[column] + 1, line[-1] + 1, before[column - 1] + (character != candidate)))
        before = line
    return before[-1]
