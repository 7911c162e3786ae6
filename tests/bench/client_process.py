"""The client in a process of its own, so that what the bench does besides is no part of what it times."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
# Longer than anything that is measured in one go.
LIMIT_S = 300.0


class ClientProcess:
    """Runs functions of `http_client` in one other process, one after the other."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=_begin)

    def __enter__(self) -> ClientProcess:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._pool.shutdown()

    def run(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Have it done there, and wait for it. Raises what it raises."""
        return self._pool.submit(work, *arguments, **named).result(LIMIT_S)


def _begin() -> None:
    # A collection in the client would show as a slow answer of the server.
    gc.disable()
