"""Proves that messages between processes arrive whole, and that what is no message ends a channel."""

from __future__ import annotations

import asyncio
import socket

import pytest

from taskfan.cluster.async_channel import Channel
from taskfan.cluster.channel import MAX_LINE_BYTES, BlockingChannel, ChannelClosed, encode
from taskfan.cluster.messages import Bound, Command, Paused, Progress


def test_messages_in_pieces_and_in_one_piece_arrive_alike() -> None:
    ours, theirs = socket.socketpair()
    channel = BlockingChannel(theirs)
    line = encode(Bound(1)) + encode(Paused(2))
    ours.sendall(line[:7])
    ours.sendall(line[7:])
    assert [channel.receive(Bound | Paused, timeout_s=5) for _ in range(2)] == [Bound(1), Paused(2)]
    ours.close()
    with pytest.raises(ChannelClosed):
        channel.receive(Bound, timeout_s=5)
    channel.close()


@pytest.mark.parametrize("line", [b"nonsense\n", b'{"type":"bound"}\n', b'{"type":"progress","step":"loaded"}\n'])
def test_what_is_no_message_of_that_kind_ends_the_channel(line: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(line)
        with pytest.raises(ChannelClosed, match="not a message of this version"):
            BlockingChannel(theirs).receive(Bound, timeout_s=5)


def test_an_answer_that_does_not_come_is_no_wait_without_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(TimeoutError):
        BlockingChannel(theirs).receive(Bound, timeout_s=0.01)


def test_a_line_beyond_the_limit_is_not_read_to_its_end() -> None:
    async def talk() -> None:
        ours, theirs = socket.socketpair()
        sender, receiver = await Channel.open(ours), await Channel.open(theirs)
        sender.send_line(b"x" * (MAX_LINE_BYTES + 2))
        with pytest.raises(ChannelClosed):
            await receiver.receive(Bound)
        await receiver.close()
        await sender.close()

    asyncio.run(talk())


def test_both_kinds_of_ends_understand_each_other() -> None:
    async def talk() -> list[object]:
        ours, theirs = socket.socketpair()
        blocking, channel = BlockingChannel(ours), await Channel.open(theirs)
        channel.send(Progress("loaded"))
        told = blocking.receive(Progress, timeout_s=5)
        blocking.send(Command("kill", "node1"))
        asked = await channel.receive(Command)
        await channel.close()
        # To one that is gone nothing is sent, and nothing breaks.
        channel.send(Progress("ready"))
        blocking.close()
        return [told, asked]

    assert asyncio.run(talk()) == [Progress("loaded"), Command("kill", "node1")]
