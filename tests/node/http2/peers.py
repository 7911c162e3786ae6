"""The other side of a connection under test: frames by hand, and an owner that remembers what it was told."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from taskfan.node.http2 import headers, wire
from taskfan.node.http2.connection import Connection
from taskfan.node.http2.events import Called, Ended, Event, HalfClosed, Message
from taskfan.node.http2.stream import Stream

PATH = "/x.Y/Z"
REQUEST = headers.request(PATH, "here")
SETTINGS = wire.settings({})
OK = headers.block([(b"grpc-status", b"0")])


def message(data: bytes) -> bytes:
    """A message as it stands in the payload of DATA frames."""
    return wire.prefix(len(data)) + data


def opened(number: int = 1, block: bytes = REQUEST, flags: int = wire.END_HEADERS) -> bytes:
    """The frame that begins a call."""
    return wire.frame(wire.HEADERS, flags, number, block)


def data(number: int, payload: bytes, flags: int = 0) -> bytes:
    """A DATA frame."""
    return wire.frame(wire.DATA, flags, number, payload)


@dataclasses.dataclass(frozen=True)
class Frame:
    """One frame as it was written."""

    type: int
    flags: int
    number: int
    payload: bytes


def frames_in(output: bytes) -> Iterator[Frame]:
    """The frames that were written; a preface is skipped."""
    offset = len(wire.PREFACE) if output.startswith(wire.PREFACE) else 0
    while offset < len(output):
        high, low, type, flags, number = wire.HEAD.unpack_from(output, offset)
        begin, size = offset + wire.HEAD_BYTES, high << 8 | low
        assert begin + size <= len(output), "half a frame was written"
        yield Frame(type, flags, number, output[begin : begin + size])
        offset = begin + size


def written_by(connection: Connection) -> bytes:
    """All that it writes now."""
    return b"".join(connection.take_output())


class Owner:
    """Who uses a connection: echoes messages, and ends calls when it is asked to."""

    def __init__(self, *, is_server: bool, echoes: bool = True, ends_calls: bool = True) -> None:
        self.connection = Connection(is_server=is_server)
        self.echoes, self.ends_calls = echoes, ends_calls
        self.told: list[tuple[object, ...]] = []
        self.streams: list[Stream] = []
        self.ended_here: list[int] = []
        self.written = bytearray()

    def open(self, count: int) -> None:
        """Begin so many calls."""
        for _ in range(count):
            stream = self.connection.open(PATH, "there")
            assert stream is not None
            self.streams.append(stream)

    def receive(self, *pieces: bytes) -> None:
        """Take bytes as they come, and act on what they say."""
        for piece in pieces:
            self.act(self.connection.receive(piece))
            self.written += written_by(self.connection)

    def lost(self) -> None:
        """The socket is gone."""
        self.act(self.connection.lost("gone"))

    def act(self, events: Iterable[Event]) -> None:
        """Remember what happened."""
        for event in events:
            number = event.stream.number
            match event:
                case Called(stream, path):
                    self.streams.append(stream)
                    self.told.append(("called", number, path))
                case Message(stream, data):
                    self.told.append(("message", number, data))
                    if self.echoes and number not in self.ended_here:
                        self.connection.send(stream, data[:100])
                case HalfClosed(stream):
                    self.told.append(("half closed", number))
                    # By a fault that came right after, it may be over by now.
                    if self.ends_calls and not stream.is_over:
                        self.connection.finish(stream)
                        self.ended_here.append(number)
                case Ended(_, status, _):
                    self.told.append(("ended", number, status))

    def goaway_code(self) -> int | None:
        """The code of the GOAWAY that was written, if one was."""
        goaways = [frame for frame in frames_in(bytes(self.written)) if frame.type == wire.GOAWAY]
        assert len(goaways) <= 1
        return wire.number_in(goaways[0].payload, 4) if goaways else None

    def reset_code(self, number: int = 1) -> int | None:
        """The code of the RST_STREAM that was written for a stream, if one was."""
        resets = [f for f in frames_in(bytes(self.written)) if f.type == wire.RST_STREAM and f.number == number]
        assert len(resets) <= 1
        return wire.number_in(resets[0].payload) if resets else None

    def ends_of(self, number: int) -> int:
        """How often a stream ended: it was told, or was asked for."""
        return sum(told[:2] == ("ended", number) for told in self.told) + self.ended_here.count(number)


def server() -> Owner:
    """A server to which the client has said its first words."""
    owner = Owner(is_server=True)
    owner.receive(wire.PREFACE + SETTINGS)
    return owner


def client(calls: int = 1) -> Owner:
    """A client with calls, to which the server has said its first words."""
    owner = Owner(is_server=False, echoes=False)
    owner.open(calls)
    owner.receive(SETTINGS)
    return owner
