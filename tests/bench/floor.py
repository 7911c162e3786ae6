"""What no server can be quicker than: the same bytes with no work between, over plain TCP and through an echo in C.

`python -m tests.bench.floor NODES` is a front that asks NODES - 1 other processes and passes on what they send. Frames
are four bytes of length and as many bytes. A request says in its first four bytes how many the answer shall have, of
which each node makes its share; everything runs on uvloop, as the nodes do. It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

from tests.bench.http_client import Ask

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
# What a node is sent for a list is about as large.
NODE_REQUEST_BYTES = 100
START_LIMIT_S = 30.0


class Floor:
    """So many processes that do nothing but pass bytes, while a `with` block lasts."""

    def __init__(self, nodes: int) -> None:
        command = [sys.executable, "-m", "tests.bench.floor", str(nodes)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())

    def __enter__(self) -> Floor:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.communicate(timeout=START_LIMIT_S)

    def ask(self, like: Ask, answer_bytes: int) -> Ask:
        """A request as large as `like`, whose answer has so many bytes."""
        rest = max(len(like.request) - 8, 0)
        request = (4 + rest).to_bytes(4, "big") + (answer_bytes - 4).to_bytes(4, "big") + bytes(rest)
        return Ask(HOST, self._port, request, "frame")


class Echo:
    """One connection's worth of `cat`, which is C: it reads the socket and writes to it, and nothing else.

    The standard library has no echo in C; `cat` with a socket for input and output is one on every system. It stands
    for what a round trip costs the client and the kernel.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server((HOST, 0))
        # It outlives a connection, so each that comes gets its own.
        command = [sys.executable, "-c", _SERVE_CAT, str(self._listener.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[self._listener.fileno()], stdin=subprocess.PIPE)

    def __enter__(self) -> Echo:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._listener.close()

    def ask(self, size: int) -> Ask:
        """Send so many bytes, and get them back."""
        return Ask(HOST, self._listener.getsockname()[1], b"x" * size, "echo")


_SERVE_CAT = """
import os, socket, subprocess, sys
listener = socket.socket(fileno=int(sys.argv[1]))
while True:
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    subprocess.Popen(["cat"], stdin=connection, stdout=connection)
    connection.close()
"""


class _Frames(asyncio.Protocol):
    """Cuts what comes into frames, and gives each with its length as the pieces in which it came."""

    def __init__(self, on_frame: Callable[[_Frames, list[bytes]], None], on_end: Callable[[], None]) -> None:
        self._on_frame, self._on_end = on_frame, on_end
        self._pieces: list[bytes] = []
        self._missing = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._on_end()

    def data_received(self, data: bytes) -> None:
        while data:
            if self._missing < 0:
                # The beginning of a frame; one that is cut within its length is put together first.
                data = b"".join(self._pieces) + data
                self._pieces = []
                if len(data) < 4:
                    self._pieces = [data]
                    return
                self._missing = 4 + int.from_bytes(data[:4], "big")
            piece, data = data[: self._missing], data[self._missing :]
            self._pieces.append(piece)
            self._missing -= len(piece)
            if not self._missing:
                pieces, self._pieces, self._missing = self._pieces, [], -1
                self._on_frame(self, pieces)


class _Front:
    """Asks all the others for each request that comes, and answers when the last of them has."""

    def __init__(self) -> None:
        self.backs: list[tuple[_Frames, deque[_Answer]]] = []

    def asked(self, client: _Frames, pieces: list[bytes]) -> None:
        wanted = int.from_bytes(b"".join(pieces)[4:8], "big")
        share = wanted // (len(self.backs) + 1)
        own = wanted - share * len(self.backs)
        answer = _Answer(client, len(self.backs), wanted, [bytes(own)])
        request = NODE_REQUEST_BYTES.to_bytes(4, "big") + share.to_bytes(4, "big") + bytes(NODE_REQUEST_BYTES - 4)
        for back, waiting in self.backs:
            waiting.append(answer)
            back.transport.write(request)
        if not self.backs:
            answer.write()


class _Answer:
    """One answer that is put together."""

    def __init__(self, client: _Frames, missing: int, size: int, pieces: list[bytes]) -> None:
        self._client, self._missing = client, missing
        self._pieces = [size.to_bytes(4, "big"), *pieces]

    def add(self, pieces: list[bytes]) -> None:
        self._pieces += [pieces[0][4:], *pieces[1:]]
        self._missing -= 1
        if not self._missing:
            self.write()

    def write(self) -> None:
        # Whoever asked may have gone.
        if not self._client.transport.is_closing():
            self._client.transport.writelines(self._pieces)


def _answer(asker: _Frames, pieces: list[bytes]) -> None:
    """What one of the others does."""
    share = int.from_bytes(b"".join(pieces)[4:8], "big")
    asker.transport.writelines([share.to_bytes(4, "big"), bytes(share)])


def _replied(waiting: deque[_Answer], _: _Frames, pieces: list[bytes]) -> None:
    waiting.popleft().add(pieces)


def _nothing() -> None:
    """Nobody wants to know."""


def _end(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)


async def _run_back(listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    await loop.create_server(lambda: _Frames(_answer, partial(_end, ended)), sock=listener)
    await ended


async def _run_front(listener: socket.socket, ports: list[int]) -> None:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    front = _Front()
    for port in ports:
        waiting: deque[_Answer] = deque()

        replied = partial(_replied, waiting)
        _, back = await loop.create_connection(partial(_Frames, replied, _nothing), HOST, port)
        front.backs.append((back, waiting))
    await loop.create_server(lambda: _Frames(front.asked, _nothing), sock=listener)
    loop.add_reader(0, partial(_end, ended))
    print(listener.getsockname()[1], flush=True)
    await ended


def main() -> None:
    """Fork the others while there is no loop yet, then be the front."""
    import uvloop

    listeners = [socket.create_server((HOST, 0), backlog=128) for _ in range(int(sys.argv[1]) - 1)]
    for listener in listeners:
        if os.fork() == 0:
            uvloop.run(_run_back(listener))
            os._exit(0)
    front = socket.create_server((HOST, 0), backlog=128)
    uvloop.run(_run_front(front, [listener.getsockname()[1] for listener in listeners]))


if __name__ == "__main__":
    main()
