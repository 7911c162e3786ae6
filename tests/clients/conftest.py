"""A cluster and an opensearch-py client of it, once synchronous and once asynchronous."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from opensearchpy import AsyncOpenSearch, OpenSearch

from taskfan.cluster import Cluster


class Blocking:
    """An asynchronous client used step by step, so that one story fits both kinds."""

    def __init__(self, inner: Any, runner: asyncio.Runner) -> None:
        self._inner, self._runner = inner, runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return found if isinstance(found, str | int | float | None) else Blocking(found, self._runner)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._runner.run(self._finish(args, kwargs))

    async def _finish(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        answer = self._inner(*args, **kwargs)
        return await answer if inspect.isawaitable(answer) else answer


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three nodes for the stories of one file; each story cleans up what it starts."""
    with Cluster(nodes=3) as cluster:
        yield cluster


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Any]:
    """A client of the first node alone, that tries nothing twice."""
    hosts = [cluster.nodes[0].url]
    if request.param == "sync":
        with OpenSearch(hosts, max_retries=0, timeout=30) as client:
            yield client
        return
    with asyncio.Runner() as runner:
        inner = AsyncOpenSearch(hosts, max_retries=0, timeout=30)
        try:
            yield Blocking(inner, runner)
        finally:
            runner.run(inner.close())
