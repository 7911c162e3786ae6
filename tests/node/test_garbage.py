"""Proves that what ends is freed at once: what objects in cycles hold stays until a collection, and those are rare."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from taskfan.node.coordination.messages import CoordinationRejected, PreVoteRequest
from taskfan.node.errors import NodeNotConnected
from tests.faults.memory_story import MemoryStory
from tests.faults.memory_story import play as play_nodes
from tests.node.coordination.membership_cluster import MembershipCluster
from tests.node.coordination.membership_cluster import play as play_members
from tests.node.transport.world import Http2World, MemoryWorld, World, until

TIMES = 10


@contextlib.contextmanager
def no_garbage() -> Iterator[None]:
    """Within the block nothing becomes garbage that only a collection finds."""
    gc.collect()
    gc.disable()
    try:
        yield
        assert gc.collect() == 0
    finally:
        gc.enable()


async def again_and_again(do: Callable[[], Awaitable[Any]]) -> None:
    """The first time makes what is made once."""
    await do()
    with no_garbage():
        for _ in range(TIMES):
            await do()


@pytest.mark.parametrize("world", [MemoryWorld(), Http2World()], ids=["memory", "http2"])
def test_links_that_end_and_links_that_are_refused(world: World) -> None:
    async def story() -> None:
        a, b, gone = await world.member("a"), await world.member("b"), await world.member("gone")
        await world.kill(gone)

        async def open_and_end() -> None:
            await a.send(b)
            a.transport.disconnect("b-id")
            b.handlers.received.clear()
            b.handlers.links.clear()
            await until(world.clock, lambda: not a.transport._carriers and not b.transport._receiving, "it ends")

        async def refused() -> None:
            with contextlib.suppress(NodeNotConnected):
                await a.send(gone)
            await until(world.clock, lambda: not a.transport._carriers, "it ends")

        await again_and_again(open_and_end)
        await again_and_again(refused)

    world.run(story())


def test_a_request_of_coordination_that_is_rejected() -> None:
    async def story(cluster: MembershipCluster) -> None:
        await cluster.start()
        await cluster.until_whole()
        request = PreVoteRequest(cluster.nodes["n02"], 1, 1, 1)
        membership = cluster.members["n01"].membership
        rejections = 0

        async def ask() -> None:
            nonlocal rejections
            try:
                membership._receive(request)
            except CoordinationRejected:
                rejections += 1

        await again_and_again(ask)
        assert rejections == TIMES + 1

    play_members(story, MembershipCluster())


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/_tasks?detailed", None),
        ("GET", "/_tasks/id-2:999", None),
        ("POST", "/_tasks/_cancel?actions=none", None),
        ("POST", "/_taskfan/work", {"action": "a", "children": [{"action": "b", "nodes": "_all", "on_end": "fails"}]}),
        ("POST", "/_taskfan/work", {"action": "a", "duration": "oops"}),
        ("POST", "/_search", {"query": {"oops": {}}}),
        ("POST", "/none/_search", {}),
    ],
)
def test_requests(method: str, path: str, body: dict[str, Any] | None) -> None:
    async def story(story: MemoryStory) -> None:
        await again_and_again(lambda: story.ask(method, path, body))

    play_nodes(story)


def test_work_that_is_cancelled_on_all_nodes() -> None:
    child = {"action": "b", "nodes": "_all", "duration": "1h"}
    plan = {"action": "a", "duration": "until_cancelled", "children": [child]}

    async def story(story: MemoryStory) -> None:
        async def cancel() -> None:
            await story.ask("POST", "/_taskfan/work?wait_for_completion=false", plan)
            await story.sleep(0.1)
            await story.ask("POST", "/_tasks/_cancel?actions=a&wait_for_completion=true")

        await again_and_again(cancel)

    play_nodes(story)


def test_simulated_work_that_ends_in_each_way() -> None:
    ways: list[dict[str, Any]] = [{"outcome": "failure"}, {"nodes": "_all"}, {"via": "execute"}, {"duration": "0"}]
    children = [{"action": "b", "duration": "10ms", "start_after": "5ms"} | way for way in ways]
    plan = {"action": "a", "children": children}

    async def story(story: MemoryStory) -> None:
        await again_and_again(lambda: story.ask("POST", "/_taskfan/work", plan))

    play_nodes(story)
