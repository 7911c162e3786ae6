"""The contract of a transport: large payloads, bounded queues, and who goes first."""

from __future__ import annotations

import asyncio

import pytest

from taskfan.node.errors import Rejected, TaskfanError
from taskfan.node.transport import MAX_FRAME_BYTES, InboundLink, Request, TransportSettings
from tests.node.transport.world import World, until

BAN = "internal:admin/tasks/ban"


@pytest.mark.parametrize("size", [0, 1, MAX_FRAME_BYTES - 20, MAX_FRAME_BYTES, MAX_FRAME_BYTES + 1, 8 << 20])
async def test_a_payload_of_any_size_goes_both_ways(world: World, size: int) -> None:
    a, b = await world.member("a"), await world.member("b")
    payload = (b"0123456789abcdef!" * (size // 17 + 1))[:size]
    assert await a.send(b, payload) == payload


async def test_large_payloads_go_at_the_same_time(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    payloads = [bytes([number]) * (3 << 20) for number in range(8)]
    answers = await asyncio.gather(*(a.send(b, payload) for payload in payloads), *(b.send(a, p) for p in payloads))
    assert answers == payloads * 2


async def test_long_headers_and_failures_need_several_frames_too(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")

    async def fail(request: Request, _link: InboundLink) -> bytes:
        raise TaskfanError(request.headers["long"])

    b.handlers.by_action["fail"] = fail
    text = "x" * (5 << 20)
    with pytest.raises(TaskfanError) as caught:
        await a.transport.send(b.node, Request("fail", b"", headers={"long": text}), timeout_s=30)
    assert caught.value.reason == text


async def test_a_small_request_overtakes_a_large_one_and_a_ban_overtakes_both(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    await a.send(b)
    tasks = [
        a.send_soon(b, b"x" * (8 << 20), "large"),
        a.send_soon(b, b"", "small 1"),
        a.send_soon(b, b"", "small 2"),
        a.send_soon(b, b"", BAN),
    ]
    await asyncio.gather(*tasks)
    assert [request.action for request in b.handlers.received[1:]] == [BAN, "small 1", "small 2", "large"]


async def test_a_small_answer_overtakes_a_large_one(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    asked = asyncio.Event()
    arrived: list[str] = []

    async def large(_request: Request, _link: InboundLink) -> bytes:
        await asked.wait()
        return b"x" * (8 << 20)

    async def small(_request: Request, _link: InboundLink) -> bytes:
        asked.set()
        await world.clock.sleep(0)
        await world.clock.sleep(0)
        return b""

    b.handlers.by_action |= {"large": large, "small": small}

    async def ask(action: str) -> None:
        await a.send(b, action=action)
        arrived.append(action)

    await asyncio.gather(ask("large"), ask("small"))
    assert arrived == ["small", "large"]


async def test_beyond_the_bound_of_a_queue_requests_are_rejected(world: World) -> None:
    a = await world.member("a", settings=TransportSettings(queue_bytes=100_000))
    b = await world.member("b")
    await a.send(b)
    outcomes = await asyncio.gather(*(a.send(b, bytes(30_000)) for _ in range(5)), return_exceptions=True)
    assert [type(outcome).__name__ for outcome in outcomes] == ["bytes"] * 3 + ["Rejected"] * 2
    assert str(outcomes[4]).startswith("rejected execution of [echo]: [900")
    assert await a.send(b, bytes(30_000)) == bytes(30_000)


async def test_a_full_queue_still_takes_a_ban(world: World) -> None:
    a = await world.member("a", settings=TransportSettings(queue_bytes=100_000))
    b = await world.member("b")
    await a.send(b)
    full = [a.send_soon(b, bytes(30_000)) for _ in range(4)]
    ban = a.send_soon(b, action=BAN)
    outcomes = await asyncio.gather(*full, ban, return_exceptions=True)
    assert [type(outcome).__name__ for outcome in outcomes] == ["bytes"] * 3 + ["Rejected", "bytes"]


async def test_what_is_larger_than_the_queue_goes_alone(world: World) -> None:
    a = await world.member("a", settings=TransportSettings(queue_bytes=10_000))
    b = await world.member("b", settings=TransportSettings(queue_bytes=10_000))
    assert await a.send(b, bytes(3 << 20)) == bytes(3 << 20)


async def test_beyond_the_bound_of_a_queue_answers_wait_and_all_arrive(world: World) -> None:
    a, b = await world.member("a"), await world.member("b", settings=TransportSettings(queue_bytes=100_000))

    async def answer(request: Request, _link: InboundLink) -> bytes:
        return request.payload + bytes(60_000)

    b.handlers.by_action["much"] = answer
    answers = await asyncio.gather(*(a.send(b, b"%02d" % number, "much") for number in range(40)))
    assert [answer[:2] for answer in answers] == [b"%02d" % number for number in range(40)]


async def test_a_message_above_the_limit_is_rejected_either_way(world: World) -> None:
    a = await world.member("a", settings=TransportSettings(max_message_bytes=200_000))
    b = await world.member("b", settings=TransportSettings(max_message_bytes=100_000))

    with pytest.raises(Rejected, match=r"rejected execution of \[echo\]: a request of \[2000\d\d\] bytes is too large"):
        await a.send(b, bytes(200_000))
    with pytest.raises(TaskfanError, match=r"rejected execution of \[echo\]: a reply of \[1500\d\d\] bytes") as caught:
        await a.send(b, bytes(150_000))
    assert (caught.value.kind, caught.value.http_status) == ("rejected_execution_exception", 429)


async def test_more_requests_than_may_run_at_once_are_rejected(world: World) -> None:
    a, b = await world.member("a"), await world.member("b", settings=TransportSettings(max_inbound_requests=2))
    go_on = asyncio.Event()

    async def wait(_request: Request, _link: InboundLink) -> bytes:
        await go_on.wait()
        return b""

    b.handlers.by_action["wait"] = wait
    waiting = [a.send_soon(b, action="wait") for _ in range(2)]
    await until(world.clock, lambda: len(b.handlers.received) == 2, "the requests did not arrive")
    with pytest.raises(TaskfanError, match=r"rejected execution of \[wait\]: \[2\] requests") as caught:
        await a.send(b, action="wait")
    assert caught.value.kind == "rejected_execution_exception"
    go_on.set()
    await asyncio.gather(*waiting)
    assert await a.send(b, b"room again") == b"room again"
