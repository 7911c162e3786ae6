"""The quickest client that is still honest: raw sockets, kept alive, one request in flight on each."""

from __future__ import annotations

import selectors
import socket
import time
import urllib.parse
from collections.abc import Iterator

LIMIT_S = 60.0


class Connection:
    """One kept-alive HTTP connection that sends the same request again and again, with a JSON body if one is given."""

    def __init__(self, url: str, path: str, body: bytes = b"") -> None:
        where = urllib.parse.urlsplit(url)
        assert where.hostname is not None
        self.socket = socket.create_connection((where.hostname, where.port or 80), timeout=LIMIT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        about_body = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        self.request = f"GET {path} HTTP/1.1\r\nHost: {where.netloc}\r\n{about_body}\r\n".encode() + body
        self._received = bytearray()
        self._missing = -1

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    def ask(self) -> bytes:
        """One request and its answer, head included."""
        self.socket.sendall(self.request)
        while not self.read_some():
            pass
        return bytes(self._received)

    def send(self) -> None:
        """Only the request; `read_some` tells when its answer is whole."""
        self.socket.sendall(self.request)

    def read_some(self) -> bool:
        """Read what is there. Returns whether the answer is whole."""
        if self._missing <= 0:
            self._received, self._missing = bytearray(), -1
        piece = self.socket.recv(1 << 20)
        if not piece:
            raise ConnectionError("the server closed the connection")
        self._received += piece
        if self._missing < 0:
            self._read_head()
        else:
            self._missing -= len(piece)
        return self._missing == 0

    def _read_head(self) -> None:
        head, blank, body = self._received.partition(b"\r\n\r\n")
        if not blank:
            return
        lines = bytes(head).lower().split(b"\r\n")
        if not lines[0].startswith(b"http/1.1 200"):
            raise ConnectionError(bytes(self._received).decode(errors="replace"))
        length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
        self._missing = length - len(body)


def latencies_ms(url: str, path: str, *, rounds: int, warm_up: int = 50, body: bytes = b"") -> list[float]:
    """How long each of `rounds` requests took, one after the other on one connection."""
    with Connection(url, path, body) as connection:
        for _ in range(warm_up):
            connection.ask()
        return list(_timed(connection, rounds))


def _timed(connection: Connection, rounds: int) -> Iterator[float]:
    for _ in range(rounds):
        begun_ns = time.perf_counter_ns()
        connection.ask()
        yield (time.perf_counter_ns() - begun_ns) / 1e6


def requests_per_second(url: str, path: str, *, connections: int, seconds: float) -> float:
    """Answers a second with so many connections, each with one request in flight."""
    selector = selectors.DefaultSelector()
    opened = [Connection(url, path) for _ in range(connections)]
    for connection in opened:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        connection.send()
    answered, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        for key, _ in selector.select(LIMIT_S):
            if key.data.read_some():
                answered += 1
                key.data.send()
    took_s = time.perf_counter() - begun
    selector.close()
    for connection in opened:
        connection.socket.close()
    return answered / took_s
