"""What a connection tells whoever owns it. Pure."""

from __future__ import annotations

import msgspec

from taskfan.node.grpc_status import Status
from taskfan.node.http2.stream import Stream


class Called(msgspec.Struct, frozen=True):
    """The peer began a call of this method."""

    stream: Stream
    path: str


class Message(msgspec.Struct, frozen=True):
    """A message came, whole."""

    stream: Stream
    data: bytes


class HalfClosed(msgspec.Struct, frozen=True):
    """The caller will send no more, and waits for the rest of the answers."""

    stream: Stream


class Ended(msgspec.Struct, frozen=True):
    """A stream is over, and not because of a call from here: told exactly once for each such stream."""

    stream: Stream
    status: Status
    details: str


Event = Called | Message | HalfClosed | Ended
