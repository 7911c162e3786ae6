"""What the transport in memory adds, and what only virtual time can show exactly."""

from __future__ import annotations

import asyncio

import pytest

from taskfan.node import frames
from taskfan.node.clock import VirtualTimeLoop
from taskfan.node.errors import NodeDisconnected, NodeNotConnected, ReceiveTimeout
from taskfan.node.link_transport import StreamBroken
from taskfan.node.transport import InboundLink, Request, TransportSettings
from tests.node.transport.world import MemoryWorld, identity_of, left_tasks, until


@pytest.fixture
def world() -> MemoryWorld:
    """Here it is always memory."""
    return MemoryWorld()


def now_s(world: MemoryWorld) -> float:
    return world.clock.monotonic_ns() / 1e9


async def test_what_is_held_is_delivered_in_order_when_it_is_released(world: MemoryWorld) -> None:
    a, b = await world.member("a"), await world.member("b")
    await a.send(b)
    world.network.hold("a-id", "b-id")
    waiting = [a.send_soon(b, payload) for payload in (b"1", b"2", b"3")]
    await world.clock.sleep(1)
    with pytest.raises(ReceiveTimeout):
        await a.send(b, b"4", timeout_s=5)
    assert len(b.handlers.received) == 1
    world.network.release("a-id", "b-id")
    assert await asyncio.gather(*waiting) == [b"1", b"2", b"3"]
    await until(world.clock, lambda: len(b.handlers.received) == 5, "the late one was lost")
    assert [request.payload for request in b.handlers.received] == [b"", b"1", b"2", b"3", b"4"]


async def test_a_cut_breaks_both_directions_until_it_is_healed(world: MemoryWorld) -> None:
    a, b, c = await world.member("a"), await world.member("b"), await world.member("c")
    await asyncio.gather(a.send(b), b.send(a), a.send(c))
    waiting = a.send_soon(b)
    world.network.cut("b-id", "a-id")
    with pytest.raises(NodeDisconnected):
        await waiting
    for sender, to in ((a, b), (b, a)):
        with pytest.raises(NodeNotConnected, match=r"Node not connected$"):
            await sender.send(to)
    assert await a.send(c, b"others") == b"others"
    world.network.heal("a-id", "b-id")
    assert await a.send(b, b"healed") == b"healed"


async def test_a_frame_takes_the_latency_of_the_network_each_way(world: MemoryWorld) -> None:
    a, b = await world.member("a"), await world.member("b")
    await a.send(b)
    world.network.latency_s = 0.25
    before = now_s(world)
    await asyncio.gather(*(a.send(b) for _ in range(10)))
    assert now_s(world) - before == pytest.approx(0.5)


async def test_two_members_at_one_address_are_refused(world: MemoryWorld) -> None:
    a, b = await world.member("a"), await world.member("b", start=False)
    b.transport._address = a.node.transport_address  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="is in use"):
        await b.transport.start(b.handlers)


async def test_a_silent_node_is_given_up_after_three_checks_by_both_ends(world: MemoryWorld) -> None:
    a, b = await world.member("a"), await world.member("b")
    closed: list[tuple[str, float]] = []

    async def never(_request: Request, link: InboundLink) -> bytes:
        link.on_close(lambda: closed.append(("b", now_s(world))))
        await asyncio.Event().wait()
        raise AssertionError

    b.handlers.by_action["never"] = never
    waiting = a.send_soon(b, action="never")
    waiting.add_done_callback(lambda _: closed.append(("a", now_s(world))))
    await until(world.clock, lambda: b.handlers.received, "the request did not arrive")
    world.network.hold("a-id", "b-id")
    world.network.hold("b-id", "a-id")
    with pytest.raises(NodeDisconnected):
        await waiting
    await until(world.clock, lambda: len(closed) == 2, "b did not notice", limit_s=60)
    # Everything came at 0 s. The end that opened the link has heard nothing for a second at 1 s, asks, waits for 10 s,
    # and does so twice more. The end that was opened begins anew at 2 s, because of the request, and waits for 2 s
    # where the other waits for one, so that normally it hears the other's checks and has no need to ask.
    assert closed == [("a", 33.0), ("b", 38.0)]
    await world.clock.close()


async def never(_request: Request, _link: InboundLink) -> bytes:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_link_costs_one_check_and_its_answer_a_second_while_somebody_waits_on_it(world: MemoryWorld) -> None:
    a, b = await world.member("a"), await world.member("b")
    b.handlers.by_action["never"] = never
    waiting = a.send_soon(b, action="never")
    await world.clock.sleep(1)
    before = a.transport.lamport.time
    await world.clock.sleep(100)
    # A check sent, received, answered, and the answer received: four ticks.
    assert 4 * 98 <= a.transport.lamport.time - before <= 4 * 101
    assert not b.handlers.links[0].is_closed
    assert not waiting.done()
    waiting.cancel()
    await world.clock.close()


async def test_an_idle_link_costs_nothing_and_is_looked_at_again_for_the_next_who_waits(world: MemoryWorld) -> None:
    a, b = await world.member("a"), await world.member("b")
    b.handlers.by_action["never"] = never
    await a.send(b)
    before = a.transport.lamport.time
    await world.clock.sleep(50)
    assert a.transport.lamport.time == before

    world.network.hold("a-id", "b-id")
    begin = now_s(world)
    with pytest.raises(NodeDisconnected):
        await a.send(b, action="never", timeout_s=None)
    # Three times an interval and a check.
    assert now_s(world) - begin == pytest.approx(33)


async def test_a_node_that_answers_one_of_three_checks_is_kept(world: MemoryWorld) -> None:
    a, b = await world.member("a"), await world.member("b")
    b.handlers.by_action["never"] = never
    waiting = a.send_soon(b, action="never")
    await world.clock.sleep(1)
    for _ in range(3):
        world.network.hold("b-id", "a-id")
        await world.clock.sleep(25)
        world.network.release("b-id", "a-id")
        await world.clock.sleep(5)
    await a.send(b)
    assert not waiting.done()
    waiting.cancel()
    assert len(b.handlers.links) == 1
    await world.clock.close()


async def test_who_asks_without_reading_the_answers_is_cut_off(
    world: MemoryWorld, caplog: pytest.LogCaptureFixture
) -> None:
    settings = TransportSettings(queue_bytes=1_000_000, max_inbound_requests=0)
    a, b = await world.member("a"), await world.member("b", settings=settings)
    stream = a.transport._open_stream(b.node)
    await stream.write(frames.handshake_frame(1, identity_of(a), "b-id"))
    # The rejection names the action, so the answers are as large as the questions.
    asking = Request("x" * 100_000, b"")

    async def ask() -> None:
        for number in range(1000):
            await stream.write(frames.request_frame(1, number, asking))

    with pytest.raises(StreamBroken):
        await ask()
    await stream.close()
    assert "closed: it asks and does not read the answers" in caplog.text


async def test_answers_that_wait_for_room_are_dropped_with_their_link(world: MemoryWorld) -> None:
    a, b = await world.member("a"), await world.member("b", settings=TransportSettings(queue_bytes=100_000))
    await a.send(b)
    world.network.hold("b-id", "a-id")
    waiting = [a.send_soon(b, bytes(1_000_000)) for _ in range(10)]
    await until(world.clock, lambda: len(b.handlers.received) == 11, "the requests did not arrive")
    a.transport.disconnect("b-id")
    await asyncio.gather(*waiting, return_exceptions=True)
    await until(world.clock, lambda: not left_tasks(), "answers still wait for room")


async def test_the_end_of_a_stream_is_held_with_what_came_before_it(world: MemoryWorld) -> None:
    a, b = await world.member("a"), await world.member("b")
    await a.send(b)
    world.network.hold("a-id", "b-id")
    a.transport.disconnect("b-id")
    await world.clock.sleep(1)
    assert not b.handlers.links[0].is_closed
    world.network.release("a-id", "b-id")
    await until(world.clock, lambda: b.handlers.links[0].is_closed, "the link stayed open")


def test_the_same_story_leaves_the_same_trace_twice() -> None:
    def play() -> list[tuple[float, str, str, bytes]]:
        world, trace = MemoryWorld(), []

        async def story() -> None:
            world.network.latency_s = 0.01
            members = [await world.member(name) for name in "abcde"]

            async def pass_on(request: Request, link: InboundLink) -> bytes:
                trace.append((now_s(world), link.node_id, request.action, request.payload))
                await world.clock.sleep(0.001 * len(request.payload))
                to = members[(request.payload[-1] * 7 + len(request.payload)) % 5]
                if len(request.payload) < 6:
                    await members[request.payload[-1] % 5].send(to, request.payload + request.payload[-1:], "pass on")
                return b""

            for member in members:
                member.handlers.by_action["pass on"] = pass_on
            await asyncio.gather(*(a.send(b, bytes([n]), "pass on") for n, a in enumerate(members) for b in members))

        world.run(story())
        return trace

    first = play()
    assert len(first) == 25 * 6
    assert play() == first


def test_a_virtual_loop_on_which_nothing_can_happen_any_more_says_so() -> None:
    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    with (
        pytest.raises(RuntimeError, match="would wait for ever"),
        asyncio.Runner(loop_factory=VirtualTimeLoop) as runner,
    ):
        runner.run(wait_for_ever())
