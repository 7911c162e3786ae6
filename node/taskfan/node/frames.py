"""What travels on a link: frames as bytes, their fragments, and the handshake. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterator
from sys import intern

import msgspec
from google.protobuf.message import DecodeError

from taskfan.node.errors import TaskfanError
from taskfan.node.ids import TaskId
from taskfan.node.task import NO_HEADERS
from taskfan.node.transport import MAX_FRAME_BYTES, PROTOCOL_VERSION, Request
from taskfan.v1 import transport_pb2 as pb

# Frames of these go before others: a cancel must not wait behind the work it is to stop.
URGENT_ACTIONS = ("internal:admin/tasks/ban", "cluster:admin/tasks/cancel")
# What a fragment adds to its piece: numbers and lengths, generously.
_FRAGMENT_OVERHEAD_BYTES = 64
# What keeping a piece costs beside its bytes, so that tiny pieces meet the bound too.
_PIECE_COST_BYTES = 256
# A failure takes this number when it refuses the link.
HANDSHAKE_ID = 0


class MalformedFrame(Exception):
    """Bytes that no transport of this version sends; the link they came on is of no more use."""


class HandshakeRefused(Exception):
    """The other side is not who was meant, or does not want this link. Its text says what differs."""


class Identity(msgspec.Struct, frozen=True):
    """Who one end of a link is."""

    cluster_name: str
    node_id: str
    # New in each process, so that a restarted node is told from its former self.
    incarnation_id: str

    def __str__(self) -> str:
        return f"node [{self.node_id}] of cluster [{self.cluster_name}]"


def is_urgent(action: str) -> bool:
    """Whether requests of this action and their answers go first."""
    return action.startswith(URGENT_ACTIONS)


def parse(data: bytes) -> tuple[pb.Frame, str]:
    """The frame that these bytes are, and which content it has.

    Raises:
        MalformedFrame: they are none, or one whose content is unknown here.
    """
    try:
        frame = pb.Frame.FromString(data)
    except DecodeError as error:
        raise MalformedFrame(f"not a frame: {error}") from None
    content = frame.WhichOneof("content")
    if content is None:
        raise MalformedFrame("a frame without content that is known here")
    return frame, content


def lamport_time_of(data: bytes) -> int:
    """When its sender sent this frame. Raises MalformedFrame."""
    return parse(data)[0].lamport_time


def request_frame(lamport_time: int, request_id: int, request: Request) -> bytes:
    """A request, on its way."""
    frame = pb.Frame()
    frame.lamport_time, message = lamport_time, frame.request
    message.request_id, message.action, message.payload = request_id, request.action, request.payload
    if request.handler:
        message.handler = request.handler
    if (parent := request.parent).is_set:
        message.parent_task_id.node_id, message.parent_task_id.number = parent.node_id, parent.number
    for name, value in request.headers.items():
        message.headers.add(name=name, value=value)
    return frame.SerializeToString()


def request_of(message: pb.Request) -> Request:
    """The request that a message carries."""
    headers = message.headers
    return Request(
        # Kept as long as the task, and shared by all that have it.
        intern(message.action),
        message.payload,
        message.handler,
        TaskId.from_wire(message.parent_task_id),
        {header.name: header.value for header in headers} if headers else NO_HEADERS,
    )


def reply_frame(lamport_time: int, request_id: int, payload: bytes) -> bytes:
    """The answer to a request."""
    frame = pb.Frame()
    frame.lamport_time, reply = lamport_time, frame.reply
    reply.request_id, reply.payload = request_id, payload
    return frame.SerializeToString()


def failure_frame(lamport_time: int, request_id: int, error: TaskfanError) -> bytes:
    """The failure of a request, as the node that asked will see it."""
    failure = pb.Failure(request_id=request_id, error=error.crossed().to_wire())
    return pb.Frame(lamport_time=lamport_time, failure=failure).SerializeToString()


def error_of(message: pb.Failure) -> TaskfanError:
    """The error that a failure carries.

    Raises:
        MalformedFrame: it says what no version of this protocol says.
    """
    try:
        return TaskfanError.from_wire(message.error)
    except (ValueError, LookupError) as error:
        raise MalformedFrame(f"not an error: {error!r}") from None


def check_frame(lamport_time: int, number: int) -> bytes:
    """Asks whether the other side is still there."""
    return pb.Frame(lamport_time=lamport_time, check=number).SerializeToString()


def check_reply_frame(lamport_time: int, number: int) -> bytes:
    """Says so."""
    return pb.Frame(lamport_time=lamport_time, check_reply=number).SerializeToString()


def handshake_frame(lamport_time: int, identity: Identity, to_node_id: str = "") -> bytes:
    """The first frame each way. The one who opened the link says whom it means."""
    handshake = pb.Handshake(
        cluster_name=identity.cluster_name,
        node_id=identity.node_id,
        incarnation_id=identity.incarnation_id,
        protocol_version=PROTOCOL_VERSION,
        to_node_id=to_node_id,
    )
    return pb.Frame(lamport_time=lamport_time, handshake=handshake).SerializeToString()


def greeted_by(data: bytes, local: Identity) -> Identity:
    """Who opened this link, from its first frame.

    Raises:
        HandshakeRefused: it is not for this node.
        MalformedFrame: it is no handshake.
    """
    greeting = _handshake_of(*parse(data), local)
    if greeting.to_node_id != local.node_id:
        raise HandshakeRefused(f"handshake failed: node [{greeting.to_node_id}] was meant, this is {local}")
    if greeting.node_id == local.node_id and greeting.incarnation_id != local.incarnation_id:
        raise HandshakeRefused(f"handshake failed: two processes have the node id [{local.node_id}]")
    return Identity(greeting.cluster_name, greeting.node_id, greeting.incarnation_id)


def answered_by(data: bytes, local: Identity, to_node_id: str) -> Identity:
    """Who answers at the other end of a link that was opened here, from the first frame that came back.

    Raises:
        HandshakeRefused: the other side refused, or is another node.
        MalformedFrame: it is neither handshake nor refusal.
    """
    frame, content = parse(data)
    if content == "failure":
        raise HandshakeRefused(error_of(frame.failure).reason or "handshake failed")
    answer = _handshake_of(frame, content, local)
    if answer.node_id != to_node_id:
        raise HandshakeRefused(f"handshake failed: node [{to_node_id}] was meant, [{answer.node_id}] answered")
    return Identity(answer.cluster_name, answer.node_id, answer.incarnation_id)


def _handshake_of(frame: pb.Frame, content: str, local: Identity) -> pb.Handshake:
    """The handshake of a frame, once version and cluster are those of this side."""
    if content != "handshake":
        raise MalformedFrame(f"[{content}] before the handshake")
    remote = frame.handshake
    if remote.protocol_version != PROTOCOL_VERSION:
        raise HandshakeRefused(
            f"handshake failed: protocol version [{remote.protocol_version}] of node [{remote.node_id}]"
            f" does not match version [{PROTOCOL_VERSION}] of {local}"
        )
    if remote.cluster_name != local.cluster_name:
        raise HandshakeRefused(
            f"handshake failed: cluster name [{remote.cluster_name}] of node [{remote.node_id}] does not match {local}"
        )
    return remote


def fragments(frame: bytes, message_id: int) -> Iterator[bytes]:
    """The frames that carry one which is too large to travel whole. Made one by one, as they are written."""
    step = MAX_FRAME_BYTES - _FRAGMENT_OVERHEAD_BYTES
    for start in range(0, len(frame), step):
        fragment = pb.Fragment(
            message_id=message_id, piece=frame[start : start + step], last=start + step >= len(frame)
        )
        yield pb.Frame(fragment=fragment).SerializeToString()


class Reassembly:
    """The frames of one link that have arrived in part. `limit_bytes` is for all of them together."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._cost_bytes = 0
        self._pieces: dict[int, list[bytes]] = {}

    def add(self, fragment: pb.Fragment) -> bytes | None:
        """Keep a piece. Gives the whole frame once it is complete.

        Raises:
            MalformedFrame: more is under way than any sender may have; nothing more is kept then.
        """
        pieces = self._pieces.setdefault(fragment.message_id, [])
        pieces.append(fragment.piece)
        self._cost_bytes += len(fragment.piece) + _PIECE_COST_BYTES
        if self._cost_bytes > self._limit_bytes:
            self._pieces.clear()
            raise MalformedFrame(f"more than [{self._limit_bytes}] bytes of incomplete frames")
        if not fragment.last:
            return None
        del self._pieces[fragment.message_id]
        self._cost_bytes -= sum(map(len, pieces)) + _PIECE_COST_BYTES * len(pieces)
        return b"".join(pieces)
