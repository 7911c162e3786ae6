"""Names that people write with `*`, without what the patterns of actions import. Pure."""

from __future__ import annotations

import re


def matches(pattern: str, name: str) -> bool:
    """Whether a whole name is meant: `*` is any sequence, all else is itself."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name) is not None
