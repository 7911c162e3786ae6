"""The event loop of a member: one that gives back the memory in which nothing is."""

from __future__ import annotations

import asyncio
import ctypes
import mmap
import sys

from taskfan.cluster.event_loop import new_event_loop

_PAGE_BYTES = mmap.PAGESIZE
_EMPTY = bytes(_PAGE_BYTES)
_madvise = ctypes.CDLL(None).madvise
_madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def new_member_loop() -> asyncio.AbstractEventLoop:
    """A new event loop.

    One of uvloop has room for 256 KB to read into, and clears it; most members never read so much at once.
    """
    loop = new_event_loop()
    if sys.platform == "linux":
        _give_back_empty_pages(id(loop), type(loop).__basicsize__)
    return loop


def _give_back_empty_pages(address: int, size_bytes: int) -> None:
    """Within this memory. On Linux such a page is empty again when it is touched, so nobody sees a difference."""
    first = -(-address // _PAGE_BYTES) * _PAGE_BYTES
    for page in range(first, address + size_bytes - _PAGE_BYTES + 1, _PAGE_BYTES):
        if ctypes.string_at(page, _PAGE_BYTES) == _EMPTY:
            _madvise(page, _PAGE_BYTES, mmap.MADV_DONTNEED)
