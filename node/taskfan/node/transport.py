"""The `Transport` protocol: how members reach each other, and the rules every implementation shares."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import msgspec

from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.errors import TaskfanError
from taskfan.node.ids import UNSET, TaskId

# Both sides of a link must speak the same.
PROTOCOL_VERSION = 1
# A request or reply beyond this goes in several frames, under gRPC's limit of 4 MB a message,
# and so that nothing big delays something small for long.
MAX_FRAME_BYTES = 1 << 20


class Request(msgspec.Struct, frozen=True):
    """What travels to another node.

    `action` is what the task will be called; `handler` the registered action that runs it, empty when it is
    the same. `parent` is the task on whose behalf it is sent.
    """

    action: str
    payload: bytes
    handler: str = ""
    parent: TaskId = UNSET
    headers: Mapping[str, str] = {}


# What comes of a request: the payload of the reply, or why there is none.
Answer = bytes | TaskfanError
Answered = Callable[[Answer], object]


class Asked(Protocol):
    """A request that was sent."""

    def forget(self) -> None:
        """Nobody waits for its answer any more; a late one is dropped. Allowed at any time, twice too."""


class Ask(Protocol):
    """What sends a request: see `Transport.ask`."""

    def __call__(
        self, to: DiscoveryNode, request: Request, answered: Answered, *, timeout_s: float | None = None
    ) -> Asked: ...


class NotAsked:
    """A request that was turned away at once."""

    def forget(self) -> None:
        """Nothing is to come."""


NOT_ASKED = NotAsked()


class InboundLink(Protocol):
    """The link that brought a request. OpenSearch calls it a channel."""

    @property
    def node_id(self) -> str:
        """Who is at the other end."""

    @property
    def is_closed(self) -> bool:
        """Whether it has ended: the other side is gone, silent or has closed it."""

    def on_close(self, callback: Callable[[], None]) -> Callable[[], object]:
        """Call once when it ends (at once, if it has). Returns a call that takes this back."""


class Receiver(Protocol):
    """Who answers requests: the node."""

    def receive(self, request: Request, link: InboundLink, answered: Answered) -> None:
        """Run a request. What comes of it is told once, perhaps before this returns: the payload of the reply, or an
        error, which travels back as it is."""


class TransportSettings(msgspec.Struct, frozen=True):
    """Names and defaults are OpenSearch's where it has them; every wait has its limit here."""

    # transport.connect_timeout: opening a link, handshake included.
    connect_timeout_s: float = 30.0
    # cluster.fault_detection.follower_check.*: a link on which nothing came for an interval is checked.
    check_interval_s: float = 1.0
    check_timeout_s: float = 10.0
    check_retry_count: int = 3
    # Bytes of requests and replies that wait to be written on one link.
    queue_bytes: int = 64 << 20
    max_message_bytes: int = 512 << 20
    # Links to members of this machine need not go through TCP. Of our own HTTP/2 only.
    local_sockets: bool = True
    # Requests of one link that may run at once; beyond it they are rejected.
    max_inbound_requests: int = 100_000


class Transport(Protocol):
    """Brings requests to other nodes, over one link for each ordered pair of members.

    Guarantees: a request is answered at most once; requests on one link arrive in the order they were sent, but
    bans and cancels overtake, and what is larger than a frame is overtaken; a closed link fails all requests that
    wait on it, and tells the receiver's side through `InboundLink.on_close`. A link ends when its stream breaks,
    when the other side is silent too long for who waits on it, when that node connects anew, or on purpose.
    Nothing is retried: a new request opens a new link.
    """

    async def start(self, receiver: Receiver) -> None:
        """Begin to accept links."""

    def ask(self, to: DiscoveryNode, request: Request, answered: Answered, *, timeout_s: float | None = None) -> Asked:
        """Bring a request. What comes of it is told once, perhaps before this returns: the reply or an error.

        Args:
            timeout_s: limit for the answer, opening the link included; None waits until the link closes.
                Zero or less strikes at once, and the request is sent all the same.

        The errors:
            NodeNotConnected: no link could be opened; says what differs when the handshake was refused.
            NodeDisconnected: the link closed before the answer.
            ReceiveTimeout: no answer in time; a late one is dropped.
            Rejected: too much waits on that link already, or the request is too large for any.
            TaskfanError: what the other node raised, as it came over the wire.
        """

    async def send(self, to: DiscoveryNode, request: Request, *, timeout_s: float | None = None) -> bytes:
        """Bring a request and wait for its reply. Raises the errors of `ask`."""

    def disconnect(self, node_id: str) -> None:
        """Close the link to a node, as when it left the cluster state."""

    async def close(self) -> None:
        """Close all links and accept no more; requests that wait fail with NodeDisconnected."""


async def wait_for_answer(ask: Ask, to: DiscoveryNode, request: Request, timeout_s: float | None) -> bytes:
    """Ask, and wait for the reply. Raises what came instead."""
    reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    asked = ask(to, request, partial(settle, reply), timeout_s=timeout_s)
    try:
        return await reply
    finally:
        asked.forget()
        # They hold the error, which holds this frame: without this all would wait for the next gc.
        del reply, asked


def settle(waiting: asyncio.Future[Any], answer: Any | TaskfanError) -> None:
    """Give what was told to who waits for it, unless that gave up: an error is raised there."""
    if waiting.done():
        return
    if isinstance(answer, TaskfanError):
        waiting.set_exception(answer)
    else:
        waiting.set_result(answer)
