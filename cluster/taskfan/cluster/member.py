"""One process of the cluster: a node, a coordinator and a REST front, put together."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import TextIO

from taskfan.cluster.async_channel import Channel
from taskfan.cluster.channel import ChannelClosed
from taskfan.cluster.fault_messages import MOST_HITS_TOLD, AskHits, FaultsSet, HitsTold, SetFaults
from taskfan.cluster.fork_server import BLOCKED_SIGNALS
from taskfan.cluster.grpc_services import services_of
from taskfan.cluster.machine import LocalMachine
from taskfan.cluster.messages import Applied, Bound, CannotStart, MemberSpec, Publish
from taskfan.coordinator import ACTIONS as COORDINATING_ACTIONS
from taskfan.coordinator.rest.protocol import HttpSettings
from taskfan.coordinator.rest.server import RestServer
from taskfan.node.actions import ACTIONS as NODE_ACTIONS
from taskfan.node.clock import Clock, SystemClock
from taskfan.node.cluster_state import ClusterState
from taskfan.node.faults.faulty_transport import FaultyTransport
from taskfan.node.grpc_transport import GrpcTransport
from taskfan.node.memory_transport import MemoryTransport
from taskfan.node.node import Node
from taskfan.node.transport import TransportSettings

try:
    import uvloop
except ImportError:
    uvloop = None  # type: ignore[assignment]

log = logging.getLogger("taskfan.member")


class LogForm(logging.Formatter):
    """A line as OpenSearch writes it. Made before the first fork: a member only says its name."""

    def __init__(self) -> None:
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%S")
        self.node_name = "supervisor"
        self.converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The line, but for a traceback."""
        when = f"{self.formatTime(record, self.datefmt)},{int(record.msecs):03d}"
        return f"[{when}][{record.levelname:5}][{record.name}] [{self.node_name}] {record.getMessage()}"


log_form = LogForm()


def log_to(stream: TextIO) -> None:
    """Log to this stream only."""
    # What no line shows need not be found out for each.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(stream)
    handler.setFormatter(log_form)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


ACTIONS = (*NODE_ACTIONS, *COORDINATING_ACTIONS)
_ACTIONS_BY_NAME = {action.name: action for action in ACTIONS}

# Gives the transport of a member, bound, and its port.
MakeTransport = Callable[[MemberSpec, Clock], tuple[GrpcTransport | MemoryTransport, int]]
# A member that does not end by itself in this time is killed by whoever asked it to.
GRACE_S = 2.0
# A member makes little garbage in cycles: collections may be rare, and each copies pages shared with the others.
GC_THRESHOLDS = (50_000, 50, 100)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, or asyncio's own where that is not made for: it does the same, slower."""
    return asyncio.new_event_loop() if uvloop is None else uvloop.new_event_loop()


def main(node_name: str, control: socket.socket, http: socket.socket) -> int:
    """Run a member on its two sockets until it is told to stop. Returns the exit status of the process."""
    log_form.node_name = node_name
    faulthandler.enable(all_threads=False)
    gc.enable()
    gc.set_threshold(*GC_THRESHOLDS)
    # Not `asyncio.run`: what that does besides costs each member half a megabyte, and the process ends with this.
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(_run(control, http))


async def _run(control: socket.socket, http: socket.socket) -> int:
    member = Member(http, grpc_transport)
    # The fork server blocks what ends a process, so that a stop that comes before this is not lost.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, member.stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED_SIGNALS)
    return await member.run(control)


def grpc_transport(spec: MemberSpec, clock: Clock) -> tuple[GrpcTransport, int]:
    """The transport of a member, and its port. Raises OSError when the port cannot be had."""
    node = spec.node
    settings = TransportSettings(
        connect_timeout_s=node.connect_timeout_s,
        check_interval_s=node.check_interval_s,
        check_timeout_s=node.check_timeout_s,
        check_retry_count=node.check_retry_count,
    )
    transport = GrpcTransport(spec.node_id, spec.ephemeral_id, spec.cluster_name, clock, settings)
    return transport, transport.bind(node.host, spec.transport_port)


class Member:
    """One node, its transport and its REST front, and the supervisor's word on what the cluster is."""

    def __init__(self, http: socket.socket, make_transport: MakeTransport) -> None:
        self._http = http
        self._make_transport = make_transport
        self._stopping = asyncio.Event()
        self.clock = SystemClock(on_error=_log_error)
        self._node: Node | None = None
        self._rest: RestServer | None = None

    def stop(self) -> None:
        """Have `run` end by itself, soon."""
        self._stopping.set()

    async def run(self, control: socket.socket) -> int:
        """From the first word of the supervisor to the last, or to `stop`. Returns the exit status."""
        channel = await Channel.open(control)
        self.spec = await channel.receive(MemberSpec)
        log.info("starting, pid %d", os.getpid())
        try:
            self.transport, port = self._make_transport(self.spec, self.clock)
        except OSError as error:
            channel.send(CannotStart(str(error), self.spec.transport_port))
            await channel.close()
            return 1
        self.faults = FaultyTransport(self.transport, _ACTIONS_BY_NAME)
        channel.send(Bound(port))
        follower = asyncio.ensure_future(self._follow(channel))
        stopper = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((follower, stopper), return_when=asyncio.FIRST_COMPLETED)
            if follower.done():
                follower.result()
        finally:
            await self._close()
        log.info("stopped")
        return 0

    async def _follow(self, channel: Channel) -> None:
        """Serve from the first cluster state on, do what is said; returns when nobody says more."""
        with contextlib.suppress(ChannelClosed):
            while True:
                match await channel.receive(Publish | SetFaults | AskHits):
                    case Publish(state):
                        if self._node is None:
                            await self._serve(state)
                        else:
                            self._node.apply_cluster_state(state)
                        channel.send(Applied(state.version))
                    case SetFaults(version, rules):
                        self.faults.set_rules(rules)
                        channel.send(FaultsSet(version))
                    case AskHits(number, fault):
                        states = [state for state in self.faults.states() if state.numbered.fault == fault]
                        hits = [hit for state in states for hit in state.hits][:MOST_HITS_TOLD]
                        channel.send(HitsTold(number, fault, sum(state.hit_count for state in states), hits))

    async def _serve(self, state: ClusterState) -> None:
        local = state.get(self.spec.node_id)
        assert local is not None, "a member is part of each state it is sent"
        self.faults.introduce(local)
        self._node = node = Node(local, state, self.clock, self.faults, LocalMachine(self.spec.node))
        for action in ACTIONS:
            node.add_action(action)
        services = await services_of(node)
        if isinstance(self.transport, GrpcTransport):
            self.transport.add_service(services)
        await self.faults.start(node)
        self._rest = RestServer(node, self._http_settings())
        await self._rest.start(self._http)
        # What was made by now lives as long as the process.
        gc.freeze()
        log.info("serving http %s, transport %s", local.http_address, local.transport_address)

    def _http_settings(self) -> HttpSettings:
        node = self.spec.node
        return HttpSettings(
            max_content_bytes=node.max_content_bytes,
            max_header_bytes=node.max_header_bytes,
            max_line_bytes=node.max_initial_line_bytes,
            close_timeout_s=GRACE_S / 2,
        )

    async def _close(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                if self._rest is not None:
                    await self._rest.close()
                await self.faults.close()
                await self.clock.close()


def _log_error(what: str, error: BaseException) -> None:
    log.error("%s failed", what, exc_info=error)


if __name__ == "__main__":
    # Where forking is not safe: name, control socket, HTTP socket, and the run it belongs to.
    log_to(sys.stderr)
    exit_status = main(sys.argv[1], *(socket.socket(fileno=int(number)) for number in sys.argv[2:4]))
    os._exit(exit_status)
