"""Proves that a mesh has all its links before it is ready, and who is not waited for."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from itertools import permutations
from pathlib import Path

import msgspec
import pytest

from taskfan.cluster import Cluster, ClusterError
from taskfan.cluster.cli import _show_links
from taskfan.cluster.mesh import AT_ONCE, Mesh
from taskfan.cluster.mesh_links import links_of, wait_for_links
from taskfan.cluster.messages import Holds, Linked, Progress
from taskfan.node.clock import SystemClock
from taskfan.node.cluster_state import ClusterState
from taskfan.node.discovery_node import DiscoveryNode
from taskfan.node.journal import LinkOpened
from tests.cluster.commands import run


def as_story(test: Callable[[], Coroutine[object, object, None]]) -> Callable[[], None]:
    """Run this test on an event loop."""

    @functools.wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


def opened(cluster: Cluster) -> set[tuple[str, str]]:
    """The links that were opened so far: from which node to which."""
    names = {node.id: node.name for node in cluster.nodes}
    return {
        (entry.node, names[entry.event.peer])
        for entry in cluster.journal(kind="link_opened").entries
        if isinstance(entry.event, LinkOpened) and not entry.event.incoming
    }


def all_pairs(cluster: Cluster) -> set[tuple[str, str]]:
    return set(permutations([node.name for node in cluster.nodes], 2))


def test_a_mesh_is_ready_when_every_node_has_its_link_to_every_other_and_a_node_that_comes_has_them_too() -> None:
    progress: list[Progress] = []
    with Cluster(nodes=4, mesh=True, journal=True).start(progress.append) as cluster:
        assert opened(cluster) == all_pairs(cluster)
        assert progress[-2:] == [Progress("linked", 12, 12), Progress("ready")]
        cluster.add()
        assert opened(cluster) == all_pairs(cluster)
        cluster.nodes[3].restart()
        assert opened(cluster) == all_pairs(cluster)


@pytest.mark.usefixtures("state_home")
@pytest.mark.parametrize("how", ["option", "config file"])
def test_taskfan_up_makes_a_mesh(how: str, tmp_path: Path) -> None:
    config = tmp_path / "cluster.yml"
    config.write_text("cluster:\n  taskfan.mesh: true\n")
    words = ["--mesh"] if how == "option" else ["--config", str(config)]
    assert run("up", "-n", "4", "--any-port", "--journal", "--name", "meshed", *words).exit_code == 0
    try:
        with Cluster.attach("meshed") as cluster:
            assert opened(cluster) == all_pairs(cluster)
    finally:
        run("down", "--name", "meshed")


def test_without_a_mesh_links_are_opened_when_they_are_needed() -> None:
    with Cluster(nodes=4, journal=True) as cluster:
        needed = ("opensearch-node4", "opensearch-node3")
        assert needed not in opened(cluster)
        cluster.list_tasks(node=needed[0])
        assert needed in opened(cluster)


# ---------------------------------------------------------------------- what a member does


def state(version: int, *names: str) -> ClusterState:
    nodes = [
        DiscoveryNode(
            id=name,
            name=name,
            ephemeral_id=f"{name}-process",
            host="",
            transport_address=name,
            http_address="",
            roles=(),
            attributes={},
        )
        for name in names
    ]
    return ClusterState("mesh", "uuid", version, tuple(nodes))


class Links:
    """A transport of which the test says when a link is open, and when it closes."""

    def __init__(self) -> None:
        self.under_way: dict[str, Callable[[str], None]] = {}
        self.asked: list[str] = []

    def on_link_closed(self, listener: Callable[[str, str], None]) -> None:
        self.closed = listener

    def connect(self, to: DiscoveryNode, tell: Callable[[str], None]) -> None:
        self.asked.append(to.id)
        self.under_way[to.id] = tell

    def done(self, node: str, problem: str = "") -> None:
        self.under_way.pop(node)(problem)


def mesh_of(links: Links, told: list[Linked]) -> Mesh:
    return Mesh("b", links, SystemClock(), told.append)  # type: ignore[arg-type]


async def told_by(told: list[Linked]) -> Linked:
    async with asyncio.timeout(10):
        while not told:  # noqa: ASYNC110 - what tells is the code under test
            await asyncio.sleep(0)
    last = told[-1]
    told.clear()
    return last


@as_story
async def test_links_are_opened_from_the_next_node_on_and_what_is_missing_is_told() -> None:
    links, told = Links(), list[Linked]()
    mesh = mesh_of(links, told)
    mesh.take(state(7, "a", "b", "c"))
    assert links.asked == ["c", "a"]
    links.done("a")
    assert await told_by(told) == Linked(7, frozenset({"c-process"}))
    links.done("c", "refused")
    assert await told_by(told) == Linked(7, frozenset(), {"c-process": "refused"})


@as_story
async def test_with_the_next_state_only_what_is_not_there_is_opened() -> None:
    links, told = Links(), list[Linked]()
    mesh = mesh_of(links, told)
    mesh.take(state(1, "a", "b", "c", "d"))
    links.done("a")
    links.done("c")
    links.done("d", "refused")
    links.closed("a", "a-process")
    links.asked.clear()
    mesh.take(state(2, "a", "b", "c", "d", "e"))
    assert links.asked == ["d", "e", "a"]


@as_story
async def test_a_link_that_is_being_opened_is_not_opened_twice_and_the_last_state_counts() -> None:
    links, told = Links(), list[Linked]()
    mesh = mesh_of(links, told)
    mesh.take(state(1, "b", "c", "d"))
    mesh.take(state(2, "b", "d"))
    assert links.asked == ["c", "d"]
    links.done("d")
    assert await told_by(told) == Linked(2, frozenset())
    links.done("c")
    assert await told_by(told) == Linked(2, frozenset())


@as_story
async def test_only_so_many_links_are_opened_at_once() -> None:
    links, told = Links(), list[Linked]()
    names = [f"n{number}" for number in range(AT_ONCE + 5)]
    mesh_of(links, told).take(state(1, "b", *names))
    assert links.asked == names[:AT_ONCE]
    links.done(names[3])
    assert links.asked == names[: AT_ONCE + 1]


# ---------------------------------------------------------------------- what a supervisor makes of it


class Member(msgspec.Struct):
    """A member of a mesh; its process has its name."""

    name: str
    linked: Linked | None
    holds: Holds | None = msgspec.field(default_factory=lambda: Holds(1, 5, "a", frozenset("abc"), ()))
    is_of_mesh: bool = True
    is_running: bool = True
    is_paused: bool = False
    is_cluster_manager_eligible: bool = True

    @property
    def id(self) -> str:
        return self.name

    @property
    def ephemeral_id(self) -> str:
        return self.name


ALL_LINKS = Linked(5, frozenset())


@pytest.mark.parametrize(
    ("last", "links"),
    [
        (Member("c", ALL_LINKS), (0, 6)),
        (Member("c", Linked(5, frozenset("a"))), (1, 6)),
        (Member("c", Linked(4, frozenset())), (2, 6)),
        (Member("c", None), (2, 6)),
        (Member("c", None, is_of_mesh=False), (0, 4)),
        (Member("c", None, is_running=False, is_paused=True), (0, 2)),
    ],
)
def test_links_are_counted_where_they_can_be_waited_for(last: Member, links: tuple[int, int]) -> None:
    assert links_of([Member("a", ALL_LINKS), Member("b", ALL_LINKS), last]) == links


def test_links_to_a_node_that_stands_still_are_not_missing() -> None:
    paused = Member("c", None, is_running=False, is_paused=True)
    assert links_of([Member("a", Linked(5, frozenset("c"))), Member("b", ALL_LINKS), paused]) == (0, 2)


@as_story
async def test_a_link_that_cannot_be_opened_fails_the_start_unless_faults_may_be_why() -> None:
    refused = Member("b", Linked(5, frozenset(), {"c": "connection refused"}))
    members = [Member("a", ALL_LINKS), refused, Member("c", ALL_LINKS)]
    progress: list[Progress] = []
    with pytest.raises(ClusterError, match=r"Node \[b\] cannot open its link to \[c\]: connection refused\."):
        await wait_for_links(members, asyncio.Event(), progress.append, None)
    assert progress == []
    await wait_for_links(members, asyncio.Event(), progress.append, 0.01)
    members[1].linked = Linked(5, frozenset("c"))
    await wait_for_links(members, asyncio.Event(), progress.append, 0.01)
    assert progress == [Progress("linked", 6, 6), Progress("linking", 5, 6), Progress("linked", 5, 6)]


@as_story
async def test_the_last_link_ends_the_wait() -> None:
    members = [Member("a", ALL_LINKS), Member("b", ALL_LINKS), Member("c", Linked(5, frozenset("ab")))]
    news, progress = asyncio.Event(), list[Progress]()
    waiting = asyncio.create_task(wait_for_links(members, news, progress.append, None))
    for missing in ("a", ""):
        await asyncio.sleep(0)
        members[2].linked = Linked(5, frozenset(missing))
        news.set()
    async with asyncio.timeout(10):
        await waiting
    assert progress[-1] == Progress("linked", 6, 6)


def test_on_a_terminal_a_large_mesh_shows_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    for progress in (Progress("loaded"), Progress("linking", 2, 6), Progress("linked", 6, 6)):
        _show_links(progress)
    assert capsys.readouterr().err == ""
    for progress in (Progress("linking", 1200, 9900), Progress("linked", 9900, 9900), Progress("ready")):
        _show_links(progress)
    assert capsys.readouterr().err == f"\rLinks opened: 1,200 of 9,900\r{' ' * 50}\r"
