"""The contract of a transport: requests, replies, failures and time limits."""

from __future__ import annotations

import asyncio

import pytest

from taskfan.node.errors import (
    IllegalArgument,
    NodeDisconnected,
    NodeNotConnected,
    ReceiveTimeout,
    Rejected,
    TaskfanError,
    TaskNotFound,
    ValidationFailed,
)
from taskfan.node.ids import UNSET, TaskId
from taskfan.node.transport import Answer, InboundLink, Request, TransportSettings
from tests.node.transport.world import World, until


async def test_a_request_arrives_whole_and_is_answered(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    request = Request(
        "indices:data/read[s]", b"payload", "work", TaskId("a-id", 7), {"X-Opaque-Id": "é", "b": "", "a": "1"}
    )

    assert await a.transport.send(b.node, request) == b"payload"

    assert b.handlers.received == [request]
    assert list(b.handlers.received[0].headers) == ["X-Opaque-Id", "b", "a"]
    assert b.handlers.links[0].node_id == "a-id"


async def test_a_request_of_nobody_has_an_unset_parent_and_no_handler(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    await a.send(b)
    assert b.handlers.received == [Request("echo", b"", "", UNSET, {})]


async def test_each_direction_has_a_link_of_its_own_and_all_requests_share_it(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    for _ in range(3):
        await asyncio.gather(a.send(b), b.send(a))
    assert [link.node_id for link in b.handlers.links] == ["a-id"]
    assert [link.node_id for link in a.handlers.links] == ["b-id"]


async def test_concurrent_first_requests_open_one_link(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    payloads = [b"%d" % number for number in range(50)]
    assert await asyncio.gather(*(a.send(b, payload) for payload in payloads)) == payloads
    assert len(b.handlers.links) == 1


async def test_requests_arrive_in_the_order_they_were_sent(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    payloads = [b"%d" % number for number in range(500)]
    await asyncio.gather(*(a.send(b, payload) for payload in payloads))
    assert [request.payload for request in b.handlers.received] == payloads


async def test_a_thousand_requests_wait_at_once_and_each_gets_its_own_answer(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    all_here = asyncio.Event()

    async def answer(request: Request, _link: InboundLink) -> bytes:
        if len(b.handlers.received) == 1000:
            all_here.set()
        await all_here.wait()
        return request.payload[::-1]

    b.handlers.by_action["wait"] = answer
    payloads = [b"%04d" % number for number in range(1000)]
    answers = await asyncio.gather(*(a.send(b, payload, "wait") for payload in payloads))
    assert answers == [payload[::-1] for payload in payloads]


async def test_a_slow_request_holds_up_no_other(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    go_on = asyncio.Event()

    async def slow(_request: Request, _link: InboundLink) -> bytes:
        await go_on.wait()
        return b"slow"

    b.handlers.by_action["slow"] = slow
    waiting = a.send_soon(b, action="slow")
    assert await a.send(b, b"quick") == b"quick"
    assert not waiting.done()
    go_on.set()
    assert await waiting == b"slow"


async def test_a_failure_arrives_as_it_was_raised(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    cause = IllegalArgument("malformed", metadata={"one": "1", "list": ["x", "y"], "empty": []})
    raised = TaskNotFound("b-id:9")
    raised.cause = cause

    async def fail(_request: Request, _link: InboundLink) -> bytes:
        raise raised

    b.handlers.by_action["fail"] = fail
    with pytest.raises(TaskfanError) as caught:
        await a.send(b, action="fail")
    assert caught.value.to_wire() == raised.to_wire()
    assert caught.value.cause is not None
    assert list(caught.value.cause.metadata) == ["one", "list", "empty"]


async def test_a_foreign_exception_gets_its_type_before_its_reason(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")

    async def fail(_request: Request, _link: InboundLink) -> bytes:
        raise ValidationFailed("source is missing")

    b.handlers.by_action["fail"] = fail
    with pytest.raises(
        TaskfanError, match=r"^action_request_validation_exception: Validation Failed: 1: source"
    ) as caught:
        await a.send(b, action="fail")
    assert (caught.value.kind, caught.value.http_status) == ("action_request_validation_exception", 400)


async def test_a_failure_without_a_reason_stays_one(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")

    async def fail(_request: Request, _link: InboundLink) -> bytes:
        raise TaskfanError(None)

    b.handlers.by_action["fail"] = fail
    with pytest.raises(TaskfanError) as caught:
        await a.send(b, action="fail")
    assert caught.value.reason is None


async def test_a_bug_is_logged_and_answered_and_the_link_lives_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = await world.member("a"), await world.member("b")

    async def fail(_request: Request, _link: InboundLink) -> bytes:
        raise ZeroDivisionError("by zero")

    b.handlers.by_action["fail"] = fail
    with pytest.raises(TaskfanError, match="ZeroDivisionError: by zero") as caught:
        await a.send(b, action="fail")
    assert caught.value.http_status == 500
    assert "ZeroDivisionError" in caplog.text
    assert await a.send(b, b"still there") == b"still there"
    assert len(b.handlers.links) == 1


async def test_a_request_whose_work_is_stopped_is_answered(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")

    async def stop(_request: Request, _link: InboundLink) -> bytes:
        raise asyncio.CancelledError

    b.handlers.by_action["stop"] = stop
    with pytest.raises(TaskfanError, match=r"\[stop\] was stopped"):
        await a.send(b, action="stop")


async def test_a_request_that_is_not_answered_in_time_fails_and_its_late_answer_is_dropped(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    go_on, answered = asyncio.Event(), asyncio.Event()

    async def slow(_request: Request, _link: InboundLink) -> bytes:
        await go_on.wait()
        answered.set()
        return b"late"

    b.handlers.by_action["slow"] = slow
    await a.send(b)
    with pytest.raises(ReceiveTimeout) as caught:
        await a.send(b, action="slow", timeout_s=0.1)
    address = b.node.transport_address
    assert caught.value.reason == f"[b][{address}][slow] request_id [2] timed out after [100ms]"
    go_on.set()
    await answered.wait()
    assert await a.send(b, b"next") == b"next"


@pytest.mark.parametrize("timeout_s", [0, -0.001])
async def test_a_limit_of_nothing_strikes_at_once_and_the_request_is_sent_all_the_same(
    world: World, timeout_s: float
) -> None:
    a, b = await world.member("a"), await world.member("b")
    with pytest.raises(ReceiveTimeout) as caught:
        await a.send(b, timeout_s=timeout_s)
    address = b.node.transport_address
    assert caught.value.reason == f"[b][{address}][echo] request_id [1] timed out after [0ms]"
    await until(world.clock, lambda: b.handlers.received, "the request did not arrive")


async def test_who_asks_may_stop_waiting(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    go_on = asyncio.Event()

    async def slow(_request: Request, _link: InboundLink) -> bytes:
        await go_on.wait()
        return b"late"

    b.handlers.by_action["slow"] = slow
    waiting = a.send_soon(b, action="slow")
    await until(world.clock, lambda: b.handlers.received, "the request did not arrive")
    waiting.cancel()
    await until(world.clock, waiting.done, "it waited on")
    # An answer that never comes must not be remembered for ever.
    assert [link._waiting for link in a.transport._sending.values()] == [{}]
    go_on.set()
    assert await a.send(b, b"next") == b"next"
    assert waiting.cancelled()


async def test_what_comes_of_a_request_is_told_once_to_who_asked(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    go_on, told = asyncio.Event(), list[Answer]()

    async def slow(_request: Request, _link: InboundLink) -> bytes:
        await go_on.wait()
        return b"late"

    b.handlers.by_action["slow"] = slow
    a.transport.ask(b.node, Request("slow", b""), told.append)
    a.transport.ask(b.node, Request("slow", b""), told.append, timeout_s=0.1)
    forgotten = a.transport.ask(b.node, Request("slow", b""), told.append)
    await until(world.clock, lambda: told, "the limit did not strike")
    assert isinstance(told[0], ReceiveTimeout)

    forgotten.forget()
    forgotten.forget()
    go_on.set()
    await until(world.clock, lambda: len(told) > 1, "the answer was not told")
    assert await a.send(b, b"all that was under way has come") == b"all that was under way has come"
    assert told[1:] == [b"late"]


async def test_a_request_that_cannot_be_sent_is_told_at_once(world: World) -> None:
    a, b = await world.member("a", settings=TransportSettings(max_message_bytes=100_000)), await world.member("b")
    told = list[Answer]()
    asked = a.transport.ask(b.node, Request("echo", bytes(200_000)), told.append)
    assert [type(answer) for answer in told] == [Rejected]
    asked.forget()

    await a.transport.close()
    a.transport.ask(b.node, Request("echo", b""), told.append)
    assert [type(answer) for answer in told] == [Rejected, NodeNotConnected]


async def test_all_that_wait_are_told_when_the_link_closes_and_may_ask_anew_at_once(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    end, told = asyncio.Event(), list[Answer]()

    async def until_the_end(_request: Request, _link: InboundLink) -> bytes:
        await end.wait()
        return b""

    def again(answer: Answer) -> None:
        told.append(answer)
        a.transport.ask(b.node, Request("echo", b"anew"), told.append)

    b.handlers.by_action["wait"] = until_the_end
    for _ in range(2):
        a.transport.ask(b.node, Request("wait", b""), again)
    await until(world.clock, lambda: len(b.handlers.received) == 2, "the requests did not arrive")
    a.transport.disconnect(b.node.id)
    assert [type(answer) for answer in told] == [NodeDisconnected] * 2
    await until(world.clock, lambda: len(told) == 4, "who asked anew was not answered")
    assert told[2:] == [b"anew"] * 2
    end.set()


async def test_who_fails_when_it_is_told_keeps_no_other_from_being_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = await world.member("a"), await world.member("b")
    end, told = asyncio.Event(), list[Answer]()

    async def until_the_end(_request: Request, _link: InboundLink) -> bytes:
        await end.wait()
        return b""

    def fails(answer: Answer) -> None:
        raise ZeroDivisionError

    b.handlers.by_action["wait"] = until_the_end
    a.transport.ask(b.node, Request("echo", b"1"), fails)
    a.transport.ask(b.node, Request("echo", b"2"), told.append)
    a.transport.ask(b.node, Request("wait", b""), fails)
    a.transport.ask(b.node, Request("wait", b""), told.append)
    await until(world.clock, lambda: told, "the answer was not told")
    assert a.transport.sending_links()[0].is_open
    a.transport.disconnect(b.node.id)
    assert told[0] == b"2"
    assert [type(answer) for answer in told[1:]] == [NodeDisconnected]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError] * 2
    end.set()


async def test_what_was_caused_has_the_higher_lamport_time(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    for _ in range(10):
        await a.send(b)
    before = b.transport.lamport.time
    await b.send(a)
    assert a.transport.lamport.time > before > 20
