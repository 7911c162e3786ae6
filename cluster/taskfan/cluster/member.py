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

from taskfan.cluster.channel import Channel, ChannelClosed
from taskfan.cluster.grpc_services import services_of
from taskfan.cluster.machine import LocalMachine
from taskfan.cluster.messages import Applied, Bound, CannotStart, MemberSpec, Publish
from taskfan.coordinator import ACTIONS as COORDINATING_ACTIONS
from taskfan.coordinator.rest.protocol import HttpSettings
from taskfan.coordinator.rest.server import RestServer
from taskfan.node.actions import ACTIONS as NODE_ACTIONS
from taskfan.node.clock import SystemClock
from taskfan.node.cluster_state import ClusterState
from taskfan.node.grpc_transport import GrpcTransport
from taskfan.node.node import Node
from taskfan.node.transport import TransportSettings

log = logging.getLogger("taskfan.member")

# A member that does not end by itself in this time is killed by whoever asked it to.
GRACE_S = 2.0
# A member makes little garbage in cycles: collections may be rare, and each copies pages shared with the others.
GC_THRESHOLDS = (50_000, 50, 100)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, or asyncio's own where that is not made for: it does the same, slower."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def main(control: socket.socket, http: socket.socket) -> int:
    """Run a member on its two sockets until it is told to stop. Returns the exit status of the process."""
    faulthandler.enable(all_threads=False)
    gc.set_threshold(*GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_Member(http).run(control))


class _Member:
    """One node, its transport and its REST front, and the supervisor's word on what the cluster is."""

    def __init__(self, http: socket.socket) -> None:
        self._http = http
        self._stopping = asyncio.Event()
        self.clock = SystemClock(on_error=_log_error)
        self._node: Node | None = None
        self._rest: RestServer | None = None

    async def run(self, control: socket.socket) -> int:
        channel = await Channel.open(control)
        # From the first moment on: a stop may come before the node is up.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stopping.set)
        self.spec = await channel.receive(MemberSpec)
        _log_as(self.spec.node.name)
        try:
            self.transport = self._bind()
        except OSError as error:
            channel.send(CannotStart(str(error), self.spec.transport_port))
            await channel.close()
            return 1
        channel.send(Bound(self.port))
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

    def _bind(self) -> GrpcTransport:
        node = self.spec.node
        settings = TransportSettings(
            connect_timeout_s=node.connect_timeout_s,
            check_interval_s=node.check_interval_s,
            check_timeout_s=node.check_timeout_s,
            check_retry_count=node.check_retry_count,
        )
        transport = GrpcTransport(
            self.spec.node_id, self.spec.ephemeral_id, self.spec.cluster_name, self.clock, settings
        )
        self.port = transport.bind(node.host, self.spec.transport_port)
        return transport

    async def _follow(self, channel: Channel) -> None:
        """Serve from the first cluster state on, and take over each that follows; returns when nobody sends more."""
        with contextlib.suppress(ChannelClosed):
            while True:
                state = (await channel.receive(Publish)).state
                if self._node is None:
                    await self._serve(state)
                else:
                    self._node.apply_cluster_state(state)
                channel.send(Applied(state.version))

    async def _serve(self, state: ClusterState) -> None:
        local = state.get(self.spec.node_id)
        assert local is not None, "a member is part of each state it is sent"
        self._node = node = Node(local, state, self.clock, self.transport, LocalMachine(self.spec.node))
        for action in (*NODE_ACTIONS, *COORDINATING_ACTIONS):
            node.add_action(action)
        self.transport.add_service(await services_of(node))
        await self.transport.start(node)
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
                await self.transport.close()
                await self.clock.close()


def _log_error(what: str, error: BaseException) -> None:
    log.error("%s failed", what, exc_info=error)


def _log_as(node_name: str) -> None:
    """Log to standard error, which is the node's log, in OpenSearch's form."""
    handler = logging.StreamHandler(sys.stderr)
    form = logging.Formatter(f"[%(asctime)s,%(msecs)03d][%(levelname)-5s][%(name)s] [{node_name}] %(message)s")
    form.default_time_format = "%Y-%m-%dT%H:%M:%S"
    form.datefmt = "%Y-%m-%dT%H:%M:%S"
    form.converter = time.gmtime
    handler.setFormatter(form)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    log.info("starting, pid %d", os.getpid())
