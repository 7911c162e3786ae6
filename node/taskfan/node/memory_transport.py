"""The transport inside one process: links over queues, in which tests can hold, delay and cut what is on its way."""

from __future__ import annotations

import asyncio
from collections import deque

from taskfan.node.clock import Clock
from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.frames import Identity
from taskfan.node.journal import NO_JOURNAL, Journal
from taskfan.node.lamport import LamportClock
from taskfan.node.link_transport import FrameStream, LinkTransport, StreamBroken, ended
from taskfan.node.transport import MAX_FRAME_BYTES, TransportSettings

# Bytes that may be on their way in one direction of a stream; its writer waits for room beyond it.
_WINDOW_BYTES = 2 * MAX_FRAME_BYTES


class MemoryNetwork:
    """Joins the transports of one process. Deterministic: what happens depends on its calls and the clock alone.

    `latency_s` is how long each frame is on its way.
    """

    def __init__(self, clock: Clock, latency_s: float = 0.0) -> None:
        self.clock = clock
        self.latency_s = latency_s
        self._listening: dict[str, MemoryTransport] = {}
        self._pipes: dict[_Pipe, None] = {}
        # Ordered pairs of node ids; dicts, because their order is that of the calls.
        self._held: dict[tuple[str, str], None] = {}
        self._cut: dict[tuple[str, str], None] = {}

    def transport(
        self,
        local: DiscoveryNode,
        cluster_name: str = "taskfan",
        settings: TransportSettings | None = None,
        lamport: LamportClock | None = None,
        clock: Clock | None = None,
        journal: Journal = NO_JOURNAL,
    ) -> MemoryTransport:
        """A transport for this node, reached at its transport address once it is started.

        Args:
            local: its `ephemeral_id` is the incarnation.
            clock: its own, when what the node started is to be stopped apart from the others.
        """
        identity = Identity(cluster_name, local.id, local.ephemeral_id)
        settings = settings or TransportSettings()
        clock = clock or self.clock
        return MemoryTransport(self, local.transport_address, identity, clock, settings, lamport, journal)

    def cut(self, a: str, b: str) -> None:
        """Break the streams between two nodes; new ones are refused until `heal`."""
        for pair in ((a, b), (b, a)):
            self._cut[pair] = None
            for pipe in self._between(*pair):
                pipe.break_off()

    def heal(self, a: str, b: str) -> None:
        """Let these two reach each other again."""
        self._cut.pop((a, b), None)
        self._cut.pop((b, a), None)

    def hold(self, sender: str, receiver: str) -> None:
        """Keep what this node writes to that one, ends of streams too, until `release`. Nobody is told."""
        self._held[sender, receiver] = None

    def release(self, sender: str, receiver: str) -> None:
        """Deliver what was held, in order."""
        self._held.pop((sender, receiver), None)
        for pipe in self._between(sender, receiver):
            pipe.changed.set()

    def kill(self, node_id: str) -> None:
        """The node's process is gone: its streams break at once at both ends, and nobody listens at its address."""
        for address, transport in list(self._listening.items()):
            if transport.local.node_id == node_id:
                del self._listening[address]
        for pipe in list(self._pipes):
            if node_id in (pipe.sender, pipe.receiver):
                pipe.break_off()

    def _between(self, sender: str, receiver: str) -> list[_Pipe]:
        return [pipe for pipe in self._pipes if (pipe.sender, pipe.receiver) == (sender, receiver)]

    def is_held(self, sender: str, receiver: str) -> bool:
        """Whether nothing is delivered from this node to that one now."""
        return (sender, receiver) in self._held

    def listen(self, address: str, transport: MemoryTransport) -> None:
        """Let others reach this transport.

        Raises:
            OSError: somebody else is reached there.
        """
        if address in self._listening:
            raise OSError(f"transport address [{address}] is in use")
        self._listening[address] = transport

    def stop_listening(self, address: str, transport: MemoryTransport) -> None:
        """Let nobody reach it any more."""
        if self._listening.get(address) is transport:
            del self._listening[address]

    def connect(self, sender: str, address: str) -> FrameStream:
        """A stream to whoever listens there, who serves the other end.

        Raises:
            StreamBroken: nobody does, or the two are cut off from each other.
        """
        transport = self._listening.get(address)
        if transport is None or (sender, transport.local.node_id) in self._cut:
            raise StreamBroken(f"connection to [{address}] refused")
        there, back = _Pipe(self, sender, transport.local.node_id), _Pipe(self, transport.local.node_id, sender)
        transport.accept(_MemoryStream(self, there, back))
        return _MemoryStream(self, back, there)

    def add(self, pipe: _Pipe) -> None:
        """A pipe that can be held and cut from now on."""
        self._pipes[pipe] = None

    def remove(self, pipe: _Pipe) -> None:
        """It has ended."""
        self._pipes.pop(pipe, None)


class MemoryTransport(LinkTransport):
    """One member's transport in a `MemoryNetwork`."""

    def __init__(
        self,
        network: MemoryNetwork,
        address: str,
        local: Identity,
        clock: Clock,
        settings: TransportSettings,
        lamport: LamportClock | None,
        journal: Journal,
    ) -> None:
        super().__init__(local, clock, settings, lamport, journal)
        self._network, self._address = network, address
        self._serving: dict[asyncio.Task[object], None] = {}

    def accept(self, stream: FrameStream) -> None:
        """Serve a stream that another member opened."""
        task = self.clock.spawn(self.serve(stream), f"serve at [{self._address}]")
        self._serving[task] = None
        task.add_done_callback(self._serving.pop)

    async def _listen(self) -> None:
        self._network.listen(self._address, self)

    async def _stop_listening(self) -> None:
        self._network.stop_listening(self._address, self)
        for task in list(self._serving):
            task.cancel()
            await ended(task)

    def _open_stream(self, to: DiscoveryNode) -> FrameStream:
        return self._network.connect(self.local.node_id, to.transport_address)


class _Pipe:
    """One direction of a stream: one writer, one reader."""

    def __init__(self, network: MemoryNetwork, sender: str, receiver: str) -> None:
        self.sender, self.receiver = sender, receiver
        self.changed, self._room = asyncio.Event(), asyncio.Event()
        self._network = network
        # Each with the time in nanoseconds at which it arrives.
        self._frames: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self._is_ended = self._is_broken = False
        network.add(self)

    async def read(self) -> bytes | None:
        """The next frame that has arrived; None after the last."""
        while True:
            if self._is_broken:
                raise StreamBroken("connection reset")
            if not self._network.is_held(self.sender, self.receiver):
                if self._frames and not (early_ns := self._frames[0][0] - self._network.clock.monotonic_ns()) > 0:
                    break
                if self._frames:
                    await self._network.clock.sleep(early_ns / 1e9)
                    continue
                if self._is_ended:
                    return None
            self.changed.clear()
            await self.changed.wait()
        frame = self._frames.popleft()[1]
        self._bytes -= len(frame)
        self._room.set()
        return frame

    async def write(self, frame: bytes) -> None:
        """Add a frame, once there is room."""
        while self._bytes >= _WINDOW_BYTES and not self._is_broken:
            self._room.clear()
            await self._room.wait()
        if self._is_broken or self._is_ended:
            raise StreamBroken("connection reset")
        self._bytes += len(frame)
        arrival_ns = self._network.clock.monotonic_ns() + round(self._network.latency_s * 1e9)
        self._frames.append((arrival_ns, frame))
        self.changed.set()

    def end(self) -> None:
        """Nothing more is written; what was is still read."""
        self._is_ended = True
        self.changed.set()
        self._room.set()

    def break_off(self) -> None:
        """What is on its way is lost, and both ends know."""
        self._is_broken = True
        self.changed.set()
        self._room.set()


class _MemoryStream:
    """One end of a stream."""

    def __init__(self, network: MemoryNetwork, incoming: _Pipe, outgoing: _Pipe) -> None:
        self._network, self._incoming, self._outgoing = network, incoming, outgoing

    async def read(self) -> bytes | None:
        """The next frame: see `FrameStream`."""
        return await self._incoming.read()

    async def write(self, frame: bytes) -> None:
        """Hand over a frame: see `FrameStream`."""
        await self._outgoing.write(frame)

    async def close(self) -> None:
        """End it: see `FrameStream`. What still comes in is thrown away."""
        self._outgoing.end()
        self._incoming.break_off()
        self._network.remove(self._incoming)
