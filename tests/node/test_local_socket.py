"""Unix sockets beside TCP: who takes a name has it alone, and who asks gets its own user's member or nothing."""

from __future__ import annotations

import itertools
import os
import socket
import sys
from collections.abc import Iterator

import pytest

from taskfan.node import local_socket

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")

_numbers = itertools.count()


@pytest.fixture
def address() -> str:
    """An address that nobody else has."""
    return f"test-{os.getpid()}-{next(_numbers)}:9300"


@pytest.fixture
def listening(address: str) -> Iterator[socket.socket]:
    """Who listens for it."""
    sock = local_socket.listen(address, backlog=1)
    assert sock is not None
    with sock:
        yield sock


def test_what_is_written_at_one_end_is_read_at_the_other(address: str, listening: socket.socket) -> None:
    near = local_socket.connect(address)
    assert near is not None
    far, _ = listening.accept()
    with near, far:
        near.sendall(b"a word")
        assert far.recv(100) == b"a word"


def test_a_name_is_had_once(address: str, listening: socket.socket) -> None:
    with pytest.raises(OSError, match="in use"):
        local_socket.listen(address, backlog=1)


def test_a_name_is_free_again_when_its_socket_is_closed(address: str, listening: socket.socket) -> None:
    listening.close()
    assert local_socket.connect(address) is None
    again = local_socket.listen(address, backlog=1)
    assert again is not None
    again.close()


def test_nobody_listens(address: str) -> None:
    assert local_socket.connect(address) is None


def test_who_has_no_room_is_not_waited_for(address: str, listening: socket.socket) -> None:
    connected = []
    while (near := local_socket.connect(address)) is not None:
        connected.append(near)
        assert len(connected) < 100, "a backlog of one has no end"
    for near in connected:
        near.close()


def test_a_listener_of_another_user_is_passed_over(
    address: str, listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345 if os.geteuid() != 12345 else 12346)
    assert local_socket.connect(address) is None


def test_a_machine_without_such_names_has_none(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert local_socket.listen(address, backlog=1) is None
    assert local_socket.connect(address) is None
