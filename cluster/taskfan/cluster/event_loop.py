"""The event loop of supervisor and members."""

from __future__ import annotations

import asyncio

try:
    import uvloop
except ImportError:
    uvloop = None  # type: ignore[assignment]


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, or asyncio's own where that is not made for: it does the same, slower."""
    return asyncio.new_event_loop() if uvloop is None else uvloop.new_event_loop()
