"""Which way a link of our own HTTP/2 takes: a local socket where both ends have one, and TCP where not."""

from __future__ import annotations

import socket
import sys

import pytest

from taskfan.node import local_socket
from tests.node.transport.world import Http2OverTcpWorld, Http2World, SocketWorld


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each try to connect locally went well, in order."""
    tries = []
    connect = local_socket.connect

    def note(address: str) -> socket.socket | None:
        near = connect(address)
        tries.append(near is not None)
        return near

    monkeypatch.setattr(local_socket, "connect", note)
    return tries


def play(world: SocketWorld) -> None:
    """One request from the first member to the second, and its answer."""

    async def story() -> None:
        first, second = await world.member("first"), await world.member("second")
        assert await first.send(second, b"hello") == b"hello"

    world.run(story())


def test_members_of_one_machine_use_it(tried: list[bool]) -> None:
    play(Http2World())
    assert tried == [sys.platform == "linux"]


def test_who_does_not_want_to_does_not_even_try(tried: list[bool]) -> None:
    play(Http2OverTcpWorld())
    assert tried == []


def test_a_member_that_has_none_is_reached_by_tcp(tried: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_socket, "listen", lambda address, backlog: None)
    play(Http2World())
    assert tried == [False]
