"""The quickest client that is still honest: raw sockets, kept alive, one request in flight on each.

An `Ask` is one request to one server, sent again and again. What is an answer depends on who is asked: HTTP, a frame
with its length before it (the floor), or the bytes that were sent (an echo).
"""

from __future__ import annotations

import re
import selectors
import socket
import struct
import time
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

LIMIT_S = 60.0
# Requests before those that are timed, on each new connection.
WARM_UP = 3
Answer = Literal["http", "frame", "echo"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, where it goes, and how its answer is told from the next."""

    host: str
    port: int
    request: bytes
    answer: Answer = "http"


def http_ask(url: str, path: str, method: str = "GET", body: bytes = b"") -> Ask:
    """A request over HTTP, with a JSON body if one is given."""
    where = urllib.parse.urlsplit(url)
    assert where.hostname is not None
    about_body = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    if method == "POST" and not body:
        about_body = "Content-Length: 0\r\n"
    head = f"{method} {path} HTTP/1.1\r\nHost: {where.netloc}\r\n{about_body}\r\n"
    return Ask(where.hostname, where.port or 80, head.encode() + body)


class Connection:
    """One connection that sends the same request again and again."""

    def __init__(self, ask: Ask) -> None:
        self.socket = socket.create_connection((ask.host, ask.port), timeout=LIMIT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The kernel's limit of time: with one of Python's own each read would be two calls of the kernel.
        self.socket.settimeout(None)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(LIMIT_S), 0))
        self._request = ask.request
        # Bytes of a whole answer by its beginning, -1 while that is not known.
        self._size: Callable[[bytes], int] = _SIZES.get(ask.answer, lambda _: len(ask.request))
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._begin(keep=False)

    def _begin(self, *, keep: bool) -> None:
        self._head, self._received, self._expected = b"", 0, -1
        self._kept: list[bytes] | None = [] if keep else None

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    def ask(self) -> bytes:
        """One request and its answer, head included."""
        self.send(keep=True)
        while not self.read_some():
            pass
        return self.answer()

    def exchange(self) -> None:
        """The same, but nobody reads the answer."""
        self.send()
        while not self.read_some():
            pass

    def send(self, *, keep: bool = False) -> None:
        """Only the request; `read_some` tells when its answer is whole, which is there afterwards if it is kept."""
        self._begin(keep=keep)
        self.socket.sendall(self._request)

    def answer(self) -> bytes:
        """The answer that was kept."""
        return b"".join(self._kept or ())

    def read_some(self) -> bool:
        """Read what is there. Returns whether the answer is whole."""
        try:
            count = self.socket.recv_into(self._buffer)
        except BlockingIOError:
            came = f"{self._received} bytes of its answer came"
            raise TimeoutError(f"{self._request[:80]!r}: {came}, and then nothing for {LIMIT_S:g} s") from None
        if not count:
            raise ConnectionError("the server closed the connection")
        self._received += count
        if self._kept is not None:
            self._kept.append(bytes(self._buffer[:count]))
        if self._expected < 0:
            self._head += self._buffer[: min(count, _HEAD_BYTES)]
            self._expected = self._size(self._head)
        return self._received == self._expected


def _http_size(received: bytes) -> int:
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return -1
    length = _CONTENT_LENGTH.search(received, 0, end)
    if length is None or not received.startswith(b"HTTP/1.1 200"):
        raise ConnectionError(received.decode(errors="replace"))
    return end + 4 + int(length[1])


def _frame_size(received: bytes) -> int:
    return 4 + int.from_bytes(received[:4], "big") if len(received) >= 4 else -1


_SIZES: dict[Answer, Callable[[bytes], int]] = {"http": _http_size, "frame": _frame_size}
_CONTENT_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_READ_BYTES, _HEAD_BYTES = 1 << 18, 1 << 12


@dataclass(frozen=True, slots=True)
class Block:
    """What one client saw in one go: how long each request took, and what it spent itself."""

    latencies_ms: list[float]
    client_cpu_s: float


def latencies(ask: Ask, *, requests: int, seconds: float) -> Block:
    """Requests one after the other on one connection, until there are so many or the time is over; three at least."""
    with Connection(ask) as connection:
        for _ in range(WARM_UP):
            connection.exchange()
        samples: list[float] = []
        began_cpu_s, end_ns = time.process_time(), time.perf_counter_ns() + int(seconds * 1e9)
        now_ns = time.perf_counter_ns()
        while len(samples) < 3 or (len(samples) < requests and now_ns < end_ns):
            begun_ns = now_ns
            connection.exchange()
            now_ns = time.perf_counter_ns()
            samples.append((now_ns - begun_ns) / 1e6)
        return Block(samples, time.process_time() - began_cpu_s)


def answers_per_second(ask: Ask, *, connections: int, seconds: float) -> float:
    """Answers a second with so many connections, each with one request in flight."""
    opened = [Connection(ask) for _ in range(connections)]
    selector = _watch(opened)
    answered, begun = 0, time.perf_counter()
    # At least one turn of all, however long that takes.
    while answered < connections or time.perf_counter() - begun < seconds:
        for key, _ in selector.select(LIMIT_S):
            if key.data.read_some():
                answered += 1
                key.data.send()
    took_s = time.perf_counter() - begun
    # What is still asked for must not be work for whoever is measured next.
    while selector.get_map():
        for key, _ in selector.select(LIMIT_S):
            if key.data.read_some():
                selector.unregister(key.fileobj)
    selector.close()
    for connection in opened:
        connection.socket.close()
    return answered / took_s


def ask_all(asks: Sequence[Ask]) -> tuple[float, list[bytes]]:
    """Send all at once, each on a connection of its own. Returns seconds until the last answer, and the answers."""
    opened = [Connection(ask) for ask in asks]
    begun = time.perf_counter()
    selector = _watch(opened, keep=True)
    missing = len(opened)
    while missing:
        for key, _ in selector.select(LIMIT_S):
            if key.data.read_some():
                selector.unregister(key.fileobj)
                missing -= 1
    took_s = time.perf_counter() - begun
    selector.close()
    answers = [connection.answer() for connection in opened]
    for connection in opened:
        connection.socket.close()
    return took_s, answers


def repeat(ask: Ask, *, times: int, connections: int) -> None:
    """Send a request so many times in all, over some connections."""
    opened = [Connection(ask) for _ in range(min(connections, times))]
    selector = _watch(opened)
    sent, answered = len(opened), 0
    while answered < times:
        for key, _ in selector.select(LIMIT_S):
            if key.data.read_some():
                answered += 1
                if sent < times:
                    sent += 1
                    key.data.send()
    selector.close()
    for connection in opened:
        connection.socket.close()


def until_gone(cancel: Ask, look: Ask) -> tuple[float, float]:
    """Cancel, then look until there is no such task. Returns ms until it was answered, and until none is left."""
    with Connection(cancel) as cancelling, Connection(look) as looking:
        looking.exchange()
        begun = time.perf_counter()
        cancelling.exchange()
        answered_ms = 1000 * (time.perf_counter() - begun)
        while b'"tasks":[]' not in looking.ask():
            if time.perf_counter() - begun > LIMIT_S:
                raise TimeoutError(f"cancelled tasks still run after {LIMIT_S:g} s")
        return answered_ms, 1000 * (time.perf_counter() - begun)


def _watch(opened: Sequence[Connection], *, keep: bool = False) -> selectors.BaseSelector:
    """Send the request of each, and tell when there is something to read."""
    selector = selectors.DefaultSelector()
    for connection in opened:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        connection.send(keep=keep)
    return selector
