"""The part of a transport that all implementations share: opening, accepting, carrying and closing links."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from taskfan.node import frames
from taskfan.node.clock import Clock
from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.errors import NodeNotConnected, TaskfanError, TransportError
from taskfan.node.frames import HandshakeRefused, Identity, MalformedFrame
from taskfan.node.journal import NO_JOURNAL, Journal
from taskfan.node.lamport import LamportClock
from taskfan.node.link import LinkContext, LinkEnd, SendingEnd, Waiting
from taskfan.node.receiving_end import ReceivingEnd
from taskfan.node.transport import (
    NOT_ASKED,
    Answered,
    Asked,
    Receiver,
    Request,
    TransportSettings,
    wait_for_answer,
)

_log = logging.getLogger(__name__)


class StreamBroken(Exception):
    """Nothing more can be written to, or read from, a stream. Its text says why, for the log."""


class FrameStream(Protocol):
    """What carries the frames of one link; all that implementations differ in."""

    async def read(self) -> bytes | None:
        """The next frame; None when the other side has ended the stream.

        Raises:
            StreamBroken: it ended otherwise.
        """

    async def write(self, frame: bytes) -> None:
        """Hand over a frame, and wait until another one may follow.

        Raises:
            StreamBroken: the stream has ended, or could not be opened.
        """

    async def close(self) -> None:
        """End it. What was written is still delivered if the other side reads it. Twice is fine."""


# Puts a request on a link, and says who is told its answer.
Put = Callable[[SendingEnd, int, Request, Answered], Waiting]


class LinkTransport:
    """A `Transport` over streams of frames. Subclasses open streams, and hand those that come in to `serve`."""

    def __init__(
        self,
        local: Identity,
        clock: Clock,
        settings: TransportSettings,
        lamport: LamportClock | None = None,
        journal: Journal = NO_JOURNAL,
    ) -> None:
        self.local, self.clock, self.settings = local, clock, settings
        self.lamport = lamport or LamportClock()
        self.journal = journal
        self._context = LinkContext(local, clock, settings, self.lamport, journal)
        self._receiver: Receiver | None = None
        self._is_closed = False
        # One counter for all links: request ids tell requests of a node apart in logs, as in OpenSearch.
        self._request_ids = itertools.count(1)
        # Open links by id and address of the other node, and what carries them. A node that comes back elsewhere
        # is another place to reach: who still knows the old one cannot close the new one's link.
        self._sending: dict[tuple[str, str], SendingEnd] = {}
        self._receiving: dict[ReceivingEnd, None] = {}
        self._carriers: dict[SendingEnd, asyncio.Task[object]] = {}
        self._link_listeners: list[Callable[[str, str], None]] = []
        # Who waits for a link that is being opened.
        self._connecting: dict[SendingEnd, list[Callable[[str], None]]] = {}
        # Asked before a stream is opened: it may wait, within the limit of the opening, or raise StreamBroken.
        self.before_opening: Callable[[DiscoveryNode], Awaitable[None]] | None = None

    async def start(self, receiver: Receiver) -> None:
        """Begin to accept links."""
        assert self._receiver is None, "a transport starts once"
        self._receiver = receiver
        await self._listen()

    def ask(
        self,
        to: DiscoveryNode,
        request: Request,
        answered: Answered,
        *,
        timeout_s: float | None = None,
        put: Put = SendingEnd.put,
    ) -> Asked:
        """Bring a request: see `Transport.ask`. `put` may be another way than a link's own to put it there."""
        try:
            link = self._link_to(to)
            request_id = self.new_request_id()
            waiting = put(link, request_id, request, answered)
        except TaskfanError as error:
            answered(error)
            return NOT_ASKED
        if timeout_s is not None:
            link.limit(request_id, timeout_s)
        return waiting

    async def send(self, to: DiscoveryNode, request: Request, *, timeout_s: float | None = None) -> bytes:
        """Bring a request and wait for its reply: see `Transport.send`."""
        return await wait_for_answer(self.ask, to, request, timeout_s)

    def new_request_id(self) -> int:
        """A number that no other request from here has."""
        return next(self._request_ids)

    def connect(self, to: DiscoveryNode, tell: Callable[[str], None]) -> None:
        """Open the link to a node, if there is none yet. `tell` is called once, perhaps before this returns: with
        nothing when the link is open, else with what it failed for.
        """
        try:
            link = self._link_to(to)
        except NodeNotConnected as error:
            tell(str(error))
            return
        if link.is_open:
            tell("")
        else:
            self._connecting.setdefault(link, []).append(tell)

    def disconnect(self, node_id: str) -> None:
        """Close the link to a node, as when it left the cluster state."""
        for link in list(self._sending.values()):
            if link.node_id == node_id:
                self.end_link(link, "disconnected from here")

    async def close(self) -> None:
        """Close all links and accept no more; requests that wait fail with NodeDisconnected."""
        self._is_closed = True
        for sending in list(self._sending.values()):
            self.end_link(sending, "the transport closes")
        for receiving in list(self._receiving):
            receiving.close("the transport closes")
        await self._stop_listening()
        for carrier in list(self._carriers.values()):
            await ended(carrier)

    def on_link_closed(self, listener: Callable[[str, str], None]) -> None:
        """Call it when a link from here has closed or could not be opened: with the other node's id and incarnation."""
        self._link_listeners.append(listener)

    async def _listen(self) -> None:
        """Let others open links."""
        raise NotImplementedError

    async def _stop_listening(self) -> None:
        """Let nobody open a link any more, and end what is being opened."""
        raise NotImplementedError

    def _open_stream(self, to: DiscoveryNode) -> FrameStream:
        """A stream to another member. Whether it can be opened shows when it is used.

        Raises:
            StreamBroken: it is known already that it cannot.
        """
        raise NotImplementedError

    async def serve(self, stream: FrameStream) -> None:
        """Carry a link that another member opened; returns when it has ended."""
        try:
            link = await self._accept(stream)
            if link is not None:
                self._receiving[link] = None
                try:
                    await self._carry(link, stream)
                finally:
                    del self._receiving[link]
        except (StreamBroken, TimeoutError, MalformedFrame) as error:
            _log.info("%s: no handshake on a new link: %s", self.local, error or type(error).__name__)
        finally:
            await stream.close()

    def _link_to(self, to: DiscoveryNode) -> SendingEnd:
        """The link to a node; a new one, which opens meanwhile, when there is none."""
        link = self._sending.get((to.id, to.transport_address))
        if link is not None and not link.is_closed:
            return link
        if self._is_closed:
            raise NodeNotConnected(to.name, to.transport_address, "transport is closed")
        self._sending[to.id, to.transport_address] = link = SendingEnd(self._context, to)
        self._carriers[link] = carrier = self.clock.spawn(self._open_and_carry(link), f"link {link}")
        carrier.add_done_callback(lambda _: self._carriers.pop(link))
        return link

    def sending_links(self) -> list[SendingEnd]:
        """The links that were opened from here, or are being opened."""
        return list(self._sending.values())

    def end_link(self, link: SendingEnd, reason: str) -> None:
        """Close one of them."""
        if not link.is_closed:
            link.close(reason)
            self._tell_connected(link, reason)
            # It may still be waiting for the handshake.
            self._carriers[link].cancel()

    async def _open_and_carry(self, link: SendingEnd) -> None:
        stream = None
        try:
            async with self.clock.timeout(self.settings.connect_timeout_s):
                if self.before_opening is not None:
                    await self.before_opening(link.to)
                stream = self._open_stream(link.to)
                remote = await self._greet(stream, link)
            self._meet(remote)
            self._tell_connected(link, "")
            await self._carry(link, stream)
        except StreamBroken as error:
            _log.info("%s: no link %s: %s", self.local, link, error)
            link.refuse("Node not connected")
        except TimeoutError:
            link.refuse(f"connect_timeout[{self.settings.connect_timeout_s:g}s]")
        except (HandshakeRefused, MalformedFrame) as error:
            link.refuse(str(error))
        finally:
            link.close("its carrier was stopped")
            self._tell_connected(link, link.not_connected or "the link was closed")
            place = (link.to.id, link.to.transport_address)
            if self._sending.get(place) is link:
                del self._sending[place]
            if not self._is_closed:
                for listener in self._link_listeners:
                    listener(link.node_id, link.incarnation_id or link.to.ephemeral_id)
            if stream is not None:
                await stream.close()

    def _tell_connected(self, link: SendingEnd, problem: str) -> None:
        for tell in self._connecting.pop(link, ()):
            tell(problem)

    async def _greet(self, stream: FrameStream, link: SendingEnd) -> Identity:
        await stream.write(frames.handshake_frame(link.number, self.local, link.node_id))
        answer = await stream.read()
        if answer is None:
            raise StreamBroken("ended before the handshake")
        remote = frames.answered_by(answer, self.local, link.node_id)
        self.lamport.observe(frames.lamport_time_of(answer))
        link.incarnation_id = remote.incarnation_id
        return remote

    async def _accept(self, stream: FrameStream) -> ReceivingEnd | None:
        """The handshake from the other side: a link, or a refusal and None."""
        assert self._receiver is not None
        async with self.clock.timeout(self.settings.connect_timeout_s):
            greeting = await stream.read()
            if greeting is None:
                return None
            try:
                opener = frames.greeted_by(greeting, self.local)
            except HandshakeRefused as error:
                _log.warning("%s: a link was refused: %s", self.local, error)
                refusal = TransportError(str(error))
                await stream.write(frames.failure_frame(self.lamport.tick(), frames.HANDSHAKE_ID, refusal))
                return None
            number = frames.lamport_time_of(greeting)
            self.lamport.observe(number)
            await stream.write(frames.handshake_frame(self.lamport.tick(), self.local))
        self._meet(opener)
        self._supersede(opener, number)
        return ReceivingEnd(self._context, opener, number, self._receiver)

    def _meet(self, remote: Identity) -> None:
        """Close what links there are with a former process of this node."""
        links: tuple[LinkEnd, ...] = (*self._sending.values(), *self._receiving)
        # Of a mesh there are many, and this looks at all of them for each that is opened.
        for link in [link for link in links if link.node_id == remote.node_id]:
            if link.incarnation_id not in ("", remote.incarnation_id):
                link.close("the node was restarted")

    def _supersede(self, opener: Identity, number: int) -> None:
        """Close the links that this process opened before; it keeps no two, so it has let go of them.

        What they still bring, a ban perhaps, would come after what the new one brings, its removal perhaps.

        Raises:
            StreamBroken: it has opened a newer one already.
        """
        for link in list(self._receiving):
            if link.node_id == opener.node_id and not link.is_closed:
                if link.number > number:
                    raise StreamBroken(f"node [{opener.node_id}] has opened a newer link")
                link.close("the other side has opened a new one")

    async def _carry(self, link: LinkEnd, stream: FrameStream) -> None:
        """Carry frames both ways until the link closes or the stream ends."""
        reader = self.clock.spawn(_read_all(link, stream), f"read {link}")
        writer = self.clock.spawn(_write_all(link, stream), f"write {link}")
        link.watch()
        try:
            await link.ended
        finally:
            link.close("its carrier was stopped")
            for task in (reader, writer):
                task.cancel()
                await ended(task)


async def ended(task: asyncio.Task[object]) -> None:
    """Wait for the end of a task. What it raised is the clock's to report."""
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task


async def _read_all(link: LinkEnd, stream: FrameStream) -> None:
    try:
        while (frame := await stream.read()) is not None:
            link.receive(frame)
        link.close("ended by the other side")
    except StreamBroken as error:
        link.close(f"broken: {error}")
    finally:
        link.close("its reader was stopped")


async def _write_all(link: LinkEnd, stream: FrameStream) -> None:
    put = asyncio.Event()
    link.frame_put = put.set
    try:
        while not link.is_closed:
            if (frame := link.queue.take()) is not None:
                await stream.write(frame)
            else:
                put.clear()
                await put.wait()
    except StreamBroken as error:
        link.close(f"broken: {error}")
    finally:
        link.close("its writer was stopped")
