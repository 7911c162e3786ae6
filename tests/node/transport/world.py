"""A few members with nothing but a transport each: what the contract tests play on, for every implementation."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, ClassVar

import msgspec.structs
import uvloop

from taskfan.node.clock import Clock, SystemClock, VirtualClock, VirtualTimeLoop
from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.faults.decide import NumberedRule
from taskfan.node.faults.faulty_transport import FaultyTransport
from taskfan.node.faults.rule import FaultRule
from taskfan.node.frames import Identity
from taskfan.node.grpc_transport import GrpcTransport
from taskfan.node.http2_transport import Http2Transport
from taskfan.node.link_transport import FrameStream, LinkTransport
from taskfan.node.memory_transport import MemoryNetwork
from taskfan.node.transport import Answered, InboundLink, Request, Transport, TransportSettings
from taskfan.node.waiting import tell

# No story is longer than this, in the time of its clock.
LIMIT_S = 120.0
CLUSTER = "contract"
# What all implementations derive from keeps the protocol: the type checker says so here.
KEEPS_THE_PROTOCOL: type[Transport] = LinkTransport
SocketTransport = GrpcTransport | Http2Transport
# By the names that the setting `transport.type` has for them.
SOCKET_TRANSPORTS: dict[str, type[SocketTransport]] = {"grpcio": GrpcTransport, "http2": Http2Transport}
Handler = Callable[[Request, InboundLink], Awaitable[bytes]]


class Handlers:
    """Receives requests and keeps them; answers by action, and what has no handler by its own payload."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.by_action: dict[str, Handler] = {}
        self.received: list[Request] = []
        self.links: list[InboundLink] = []

    def receive(self, request: Request, link: InboundLink, answered: Answered) -> None:
        """Answer a request."""
        self.received.append(request)
        if link not in self.links:
            self.links.append(link)
        handler = self.by_action.get(request.action)
        if handler is None:
            answered(request.payload)
        else:
            self._clock.begin(tell(partial(handler, request, link), answered, request.action), request.action)


@dataclasses.dataclass(eq=False)
class Member:
    """One member: its transport, what it received, and how others know it."""

    node: DiscoveryNode
    transport: LinkTransport
    clock: Clock

    def __post_init__(self) -> None:
        self.handlers = Handlers(self.clock)

    async def send(self, to: Member, payload: bytes = b"", action: str = "echo", timeout_s: float | None = 30) -> bytes:
        """Send a request and give its reply."""
        return await self.transport.send(to.node, Request(action, payload), timeout_s=timeout_s)

    def send_soon(self, to: Member, payload: bytes = b"", action: str = "echo") -> asyncio.Task[Any]:
        """Send a request without a limit, and give the task that waits for its reply."""
        return asyncio.create_task(self.transport.send(to.node, Request(action, payload)))


class World:
    """Members over one implementation, on one loop. Closes what it made, and finds what was left."""

    clock: Clock

    def __init__(self) -> None:
        self._errors: list[object] = []
        self._members: list[Member] = []

    def run(self, story: Coroutine[Any, Any, None]) -> None:
        """Play a story, to its end and within its limit. Fails when it leaves a task, or an error nobody saw."""
        with asyncio.Runner(loop_factory=self._new_loop) as runner:
            runner.get_loop().set_exception_handler(lambda _loop, context: self._note_of_loop(context))
            runner.run(self._play(story))
        assert self._errors == [], self._errors

    async def member(
        self,
        name: str,
        *,
        cluster: str = CLUSTER,
        settings: TransportSettings | None = None,
        at: Member | None = None,
        serve: Callable[[FrameStream], Awaitable[None]] | None = None,
        start: bool = True,
    ) -> Member:
        """A member that listens.

        Args:
            at: takes the address of this one, which has ended, in a new incarnation.
            serve: plays the other side of the links that are opened to it, instead of the transport.
        """
        identity = Identity(cluster, f"{name}-id", f"incarnation-{len(self._members)}")
        address, transport = self._make(identity, settings, at.node.transport_address if at else None)
        member = Member(a_node(name, address, identity.incarnation_id), transport, self.clock)
        self._members.append(member)
        if serve is not None:
            setattr(transport, "serve", serve)  # noqa: B010
        if start:
            await transport.start(member.handlers)
        return member

    async def kill(self, member: Member) -> None:
        """End it without a word to the others."""
        raise NotImplementedError

    def _new_loop(self) -> asyncio.AbstractEventLoop:
        raise NotImplementedError

    def _begin(self) -> None:
        """On the loop, before anything else."""
        raise NotImplementedError

    def _make(
        self, identity: Identity, settings: TransportSettings | None, address: str | None
    ) -> tuple[str, LinkTransport]:
        """A transport at this address, or at a new one, and where it is."""
        raise NotImplementedError

    def _note_of_loop(self, context: dict[str, Any]) -> None:
        # grpcio has one queue for all loops of a process, and tells the loop of a former story of its calls' ends.
        if "PollerCompletionQueue._handle_events" not in context["message"]:
            self._errors.append(context)

    def _note(self, name: str, error: BaseException) -> None:
        self._errors.append((name, error))

    async def _play(self, story: Coroutine[Any, Any, None]) -> None:
        self._begin()
        try:
            async with self.clock.timeout(LIMIT_S):
                await story
        finally:
            for member in self._members:
                await member.transport.close()
            await until(self.clock, lambda: not left_tasks(), f"tasks were left: {left_tasks()}")


class MemoryWorld(World):
    """Members in a `MemoryNetwork`, on virtual time."""

    network: MemoryNetwork

    def _new_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualTimeLoop()

    def _begin(self) -> None:
        self.clock = VirtualClock(on_error=self._note)
        self.network = MemoryNetwork(self.clock)

    def _make(
        self, identity: Identity, settings: TransportSettings | None, address: str | None
    ) -> tuple[str, LinkTransport]:
        address = address or f"127.0.0.1:{9300 + len(self._members)}"
        node = a_node(identity.node_id.removesuffix("-id"), address, identity.incarnation_id)
        return address, self.network.transport(node, identity.cluster_name, settings)

    async def kill(self, member: Member) -> None:
        """End it without a word to the others."""
        self.network.kill(member.node.id)


class SocketWorld(World):
    """Members that speak gRPC on one machine, on the loop that real members run on.

    Each takes the next of `kinds` in turn; a member in a process of its own is of the last kind.
    """

    kinds: ClassVar[tuple[str, ...]]
    local_sockets = True

    def _new_loop(self) -> asyncio.AbstractEventLoop:
        return uvloop.new_event_loop()

    def _begin(self) -> None:
        self.clock = SystemClock(on_error=self._note)

    def _make(
        self, identity: Identity, settings: TransportSettings | None, address: str | None
    ) -> tuple[str, LinkTransport]:
        kind = SOCKET_TRANSPORTS[self.kinds[len(self._members) % len(self.kinds)]]
        settings = msgspec.structs.replace(settings or TransportSettings(), local_sockets=self.local_sockets)
        transport = kind(identity.node_id, identity.incarnation_id, identity.cluster_name, self.clock, settings)
        port = transport.bind("127.0.0.1", int(address.rpartition(":")[2]) if address else 0)
        return f"127.0.0.1:{port}", transport

    async def kill(self, member: Member) -> None:
        """End it. Over a socket, the end of a transport looks the same as that of its process."""
        await member.transport.close()


class GrpcWorld(SocketWorld):
    """All members use the library grpcio."""

    kinds = ("grpcio",)


class Http2World(SocketWorld):
    """All members use our own HTTP/2."""

    kinds = ("http2",)


class Http2OverTcpWorld(Http2World):
    """The same, as members of different machines would."""

    local_sockets = False


class GrpcToHttp2World(SocketWorld):
    """The first member uses grpcio, the second our own, and so on."""

    kinds = ("grpcio", "http2")


class Http2ToGrpcWorld(SocketWorld):
    """The first member uses our own HTTP/2, the second grpcio, and so on."""

    kinds = ("http2", "grpcio")


def obey_idle_rules(name: str, address: str, transport: LinkTransport) -> None:
    """Have its requests go the way of spoiled ones, by rules that look at each and strike none."""
    faulty = FaultyTransport(transport)
    faulty.introduce(a_node(name, address, transport.local.incarnation_id))
    rules = [
        FaultRule(kind="drop", after=1 << 30),
        FaultRule(kind="drop", on="reply", after=1 << 30),
        FaultRule(kind="reorder", after=1 << 30),
    ]
    faulty.set_rules([NumberedRule("idle", number, rule) for number, rule in enumerate(rules)])
    setattr(transport, "send", faulty.send)  # noqa: B010


class FaultyMemoryWorld(MemoryWorld):
    """The same under fault rules that strike nothing: all is as without them."""

    def _make(
        self, identity: Identity, settings: TransportSettings | None, address: str | None
    ) -> tuple[str, LinkTransport]:
        address, transport = super()._make(identity, settings, address)
        obey_idle_rules(identity.node_id.removesuffix("-id"), address, transport)
        return address, transport


class FaultyHttp2World(Http2World):
    """The same between processes."""

    def _make(
        self, identity: Identity, settings: TransportSettings | None, address: str | None
    ) -> tuple[str, LinkTransport]:
        address, transport = super()._make(identity, settings, address)
        obey_idle_rules(identity.node_id.removesuffix("-id"), address, transport)
        return address, transport


def a_node(name: str, address: str, incarnation: str) -> DiscoveryNode:
    """How the cluster state would show a member of that name."""
    return DiscoveryNode(f"{name}-id", name, incarnation, "127.0.0.1", address, "")


def identity_of(member: Member, **changes: str) -> Identity:
    """Who a member says it is, but for these changes."""
    return msgspec.structs.replace(member.transport.local, **changes)


def left_tasks() -> list[asyncio.Task[Any]]:
    """The tasks of this loop that have not ended, but for the one that asks."""
    current = asyncio.current_task()
    return sorted((task for task in asyncio.all_tasks() if task is not current), key=lambda task: task.get_name())


async def until(clock: Clock, condition: Callable[[], object], what: str, limit_s: float = 10.0) -> None:
    """Wait for a condition, with a limit."""
    deadline_ns = clock.monotonic_ns() + int(limit_s * 1e9)
    while not condition():
        assert clock.monotonic_ns() < deadline_ns, what
        await clock.sleep(0.002)
