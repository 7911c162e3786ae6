"""Proves what fault rules do to requests, replies and links, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from taskfan.node.clock import VirtualClock, VirtualTimeLoop
from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.errors import NodeDisconnected, NodeNotConnected, ReceiveTimeout, TaskfanError
from taskfan.node.faults.decide import NumberedRule
from taskfan.node.faults.faulty_transport import FaultyTransport
from taskfan.node.faults.rule import read_rule
from taskfan.node.memory_transport import MemoryNetwork
from taskfan.node.transport import Answered, InboundLink, Request
from tests.node.transport.world import left_tasks

# A frame takes 1 ms, so a request and its reply take 2.
LATENCY_S = 0.001


def member(name: str) -> DiscoveryNode:
    return DiscoveryNode(f"{name}-id", name, f"{name}-now", "127.0.0.1", f"{name}:9300", "")


class _Echo:
    """Answers with what came, and remembers it."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.received: list[str] = []
        self.links: list[InboundLink] = []

    def receive(self, request: Request, link: InboundLink, answered: Answered) -> None:
        self.received.append(request.payload.decode())
        if link not in self.links:
            self.links.append(link)
        if request.action == "slow":
            self._clock.call_later(1, lambda: answered(request.payload))
        else:
            answered(request.payload)


class Pair:
    """Member a, who asks under rules, and member b, who answers."""

    def __init__(self) -> None:
        self.bugs: list[object] = []
        self.clock = VirtualClock(on_error=lambda name, error: self.bugs.append((name, error)))
        network = MemoryNetwork(self.clock, latency_s=LATENCY_S)
        self.a, self.b = member("a"), member("b")
        self.inner = network.transport(self.a)
        self.transport = FaultyTransport(self.inner)
        self.transport.introduce(self.a)
        self.other = network.transport(self.b)
        self.echo = _Echo(self.clock)
        self.order: list[str] = []

    async def start(self) -> None:
        await self.transport.start(_Echo(self.clock))
        await self.other.start(self.echo)
        await self.send("first")
        self.echo.received.clear()

    def obey(self, *rules: dict[str, Any]) -> None:
        numbered = [NumberedRule("f", number, read_rule(values)) for number, values in enumerate(rules)]
        self.transport.set_rules(numbered)

    async def send(self, text: str, action: str = "echo", timeout_s: float | None = None) -> str:
        return (await self.transport.send(self.b, Request(action, text.encode()), timeout_s=timeout_s)).decode()

    def send_soon(self, text: str, action: str = "echo") -> asyncio.Task[str]:
        async def send() -> str:
            answer = await self.send(text, action)
            self.order.append(answer)
            return answer

        return asyncio.ensure_future(send())

    @property
    def now_s(self) -> float:
        return round(self.clock.monotonic_ns() / 1e9, 6)

    @property
    def hit_counts(self) -> list[int]:
        return [state.hit_count for state in self.transport.states()]

    async def took_s(self, awaited: Awaitable[object]) -> float:
        begun_s = self.now_s
        await awaited
        return round(self.now_s - begun_s, 6)

    async def close(self) -> None:
        await self.transport.close()
        await self.other.close()
        await self.clock.close()


def play(story: Callable[[Pair], Awaitable[None]]) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:

        async def run() -> None:
            pair = Pair()
            await pair.start()
            try:
                async with pair.clock.timeout(3600):
                    await story(pair)
            finally:
                await pair.close()
                assert pair.bugs == []
                assert left_tasks() == []

        runner.run(run())


def test_without_a_rule_the_inner_transport_is_asked_directly() -> None:
    async def story(pair: Pair) -> None:
        assert pair.transport.ask == pair.inner.ask
        pair.obey({"kind": "drop"})
        assert pair.transport.ask != pair.inner.ask
        pair.obey()
        assert pair.transport.ask == pair.inner.ask
        assert pair.inner.before_opening is None

    play(story)


def test_a_lost_message_meets_the_timeout_of_the_request() -> None:
    async def story(pair: Pair) -> None:
        for on, received in (("request", []), ("reply", ["x"])):
            pair.obey({"kind": "drop", "on": on})
            begun_s = pair.now_s
            with pytest.raises(ReceiveTimeout, match=r"timed out after \[500ms\]"):
                await pair.send("x", timeout_s=0.5)
            assert round(pair.now_s - begun_s, 6) == 0.5
            assert pair.echo.received == received

    play(story)


def test_delays_are_exact_and_add_up() -> None:
    async def story(pair: Pair) -> None:
        pair.obey(
            {"kind": "delay", "delay": "100ms"},
            {"kind": "delay", "delay": "10ms"},
            {"kind": "delay", "on": "reply", "delay": "1s"},
        )
        assert await pair.took_s(pair.send("x")) == pytest.approx(1.112)
        assert pair.hit_counts == [1, 1, 1]

    play(story)


def test_a_delay_with_jitter_stays_within_it_and_is_the_same_again() -> None:
    async def story(pair: Pair) -> None:
        rule = {"kind": "delay", "delay": "100ms", "jitter": "50ms", "seed": 3}
        told = []
        for _ in range(2):
            pair.obey()
            pair.obey(rule)
            told.append([await pair.took_s(pair.send("x")) for _ in range(10)])
        assert told[0] == told[1]
        assert len(set(told[0])) > 5
        assert all(0.052 <= took_s <= 0.152 for took_s in told[0])

    play(story)


def test_delayed_requests_do_not_hold_up_others() -> None:
    async def story(pair: Pair) -> None:
        pair.obey({"kind": "delay", "delay": "1s", "first": 1})
        await asyncio.gather(pair.send_soon("late"), pair.send_soon("early"))
        assert pair.order == pair.echo.received == ["early", "late"]

    play(story)


@pytest.mark.parametrize(("on", "received"), [("request", ["2", "1", "3"]), ("reply", ["1", "2", "3"])])
def test_a_message_is_overtaken_by_the_next_one(on: str, received: list[str]) -> None:
    async def story(pair: Pair) -> None:
        pair.obey({"kind": "reorder", "on": on, "first": 1})
        await asyncio.gather(*(pair.send_soon(text) for text in "123"))
        assert pair.echo.received == received
        assert pair.order == ["2", "1", "3"]
        assert pair.hit_counts == [1]

    play(story)


def test_a_message_that_nobody_overtakes_goes_alone_and_is_no_hit() -> None:
    async def story(pair: Pair) -> None:
        pair.obey({"kind": "reorder"})
        assert await pair.took_s(pair.send("x")) == pytest.approx(0.502)
        assert pair.hit_counts == [0]

    play(story)


def test_a_reply_that_comes_twice_is_given_once() -> None:
    async def story(pair: Pair) -> None:
        pair.obey({"kind": "duplicate"})
        assert await pair.send("x") == "x"
        assert (pair.echo.received, pair.hit_counts) == (["x"], [1])

    play(story)


def test_an_error_at_once_comes_while_the_request_runs() -> None:
    async def story(pair: Pair) -> None:
        for at_once, took_s in ((False, 1.002), (True, 0.0)):
            pair.obey({"kind": "fail", "on": "reply", "at_once": at_once, "error": {"type": "x", "reason": "why"}})
            begun_s = pair.now_s
            with pytest.raises(TaskfanError, match="why"):
                await pair.send("x", "slow")
            assert pair.now_s - begun_s == pytest.approx(took_s)
        await pair.clock.sleep(2)
        assert pair.echo.received == ["x", "x"]

    play(story)


def test_a_slow_link_carries_so_many_bytes_a_second_each_way_one_after_the_other() -> None:
    async def story(pair: Pair) -> None:
        pair.obey({"kind": "slow", "bandwidth": "1kb"})
        # Both ways, and a little for the names and numbers of the frames.
        assert 1.9 < await pair.took_s(pair.send("x" * 1000)) < 2.2
        both = asyncio.gather(pair.send("x" * 1000), pair.send("y" * 1000))
        assert 2.9 < await pair.took_s(both) < 3.3

    play(story)


def test_a_cut_link_closes_and_none_opens_until_it_is_healed() -> None:
    async def story(pair: Pair) -> None:
        under_way = pair.send_soon("x", "slow")
        await pair.clock.sleep(0.1)
        closed: list[str] = []
        pair.inner.on_link_closed(lambda node_id, _: closed.append(node_id))
        pair.obey({"kind": "cut", "to": "b"})
        with pytest.raises(NodeDisconnected):
            await under_way
        with pytest.raises(NodeNotConnected):
            await pair.send("y")
        await pair.clock.sleep(0.1)
        assert closed == ["b-id", "b-id"]
        assert pair.echo.links[0].is_closed
        pair.obey()
        assert await pair.send("z") == "z"

    play(story)


def test_a_black_hole_is_noticed_by_both_ends_when_checks_are_not_answered() -> None:
    async def story(pair: Pair) -> None:
        pair.obey({"kind": "blackhole", "to": "b"})
        begun_s = pair.now_s
        with pytest.raises(NodeDisconnected):
            await pair.send("x")
        # Three checks of a second and ten seconds each.
        assert 32 < pair.now_s - begun_s < 34
        assert pair.echo.received == []
        await pair.clock.sleep(10)
        assert pair.echo.links[0].is_closed

    play(story)


def test_through_a_black_hole_no_link_opens_and_after_it_all_is_well() -> None:
    async def story(pair: Pair) -> None:
        pair.inner.disconnect("b-id")
        pair.obey({"kind": "blackhole", "to": "b"})
        with pytest.raises(NodeNotConnected, match="connect_timeout"):
            await pair.send("x")
        waiting = pair.send_soon("y")
        await pair.clock.sleep(5)
        pair.obey()
        assert await waiting == "y"

    play(story)


def test_what_was_sent_into_a_black_hole_is_lost_even_when_it_heals() -> None:
    async def story(pair: Pair) -> None:
        pair.obey({"kind": "blackhole", "to": "b"})
        lost = pair.send_soon("x")
        await pair.clock.sleep(0.5)
        pair.obey()
        assert await pair.send("y") == "y"
        await pair.clock.sleep(60)
        assert not lost.done()
        pair.inner.disconnect("b-id")
        with pytest.raises(NodeDisconnected):
            await lost

    play(story)


def test_a_rule_on_links_begins_and_ends_at_its_times() -> None:
    async def story(pair: Pair) -> None:
        pair.obey({"kind": "cut", "to": "b", "between": ["1s", "2s"]})
        assert await pair.send("x") == "x"
        await pair.clock.sleep(1.1)
        assert pair.echo.links[0].is_closed
        with pytest.raises(NodeNotConnected):
            await pair.send("y")
        await pair.clock.sleep(1)
        assert await pair.send("z") == "z"

    play(story)


def test_a_link_that_is_closed_by_a_message_opens_again_for_the_next() -> None:
    async def story(pair: Pair) -> None:
        pair.obey({"kind": "disconnect", "first": 1})
        other = pair.send_soon("other", "slow")
        with pytest.raises(NodeDisconnected):
            await other
        assert await pair.send("x") == "x"
        assert len(pair.echo.links) == 2

    play(story)


def test_a_delayed_message_of_a_link_that_closed_meanwhile_goes_nowhere() -> None:
    async def story(pair: Pair) -> None:
        pair.obey({"kind": "delay", "delay": "1s"})
        late = pair.send_soon("x")
        await pair.clock.sleep(0.5)
        pair.inner.disconnect("b-id")
        with pytest.raises(NodeDisconnected):
            await late
        await pair.clock.sleep(5)
        assert pair.echo.received == []

    play(story)


def test_nothing_that_goes_to_itself_is_touched() -> None:
    async def story(pair: Pair) -> None:
        pair.obey({"kind": "drop"}, {"kind": "cut"})
        assert await pair.transport.send(pair.a, Request("echo", b"me"), timeout_s=5) == b"me"
        assert pair.hit_counts[0] == 0

    play(story)
