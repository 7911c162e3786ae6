"""One process of the cluster: a node, a coordinator and a REST front, put together."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import logging
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from taskfan.cluster.async_channel import Channel
from taskfan.cluster.channel import ChannelClosed
from taskfan.cluster.fault_messages import MOST_HITS_TOLD, AskHits, FaultsSet, HitsTold, SetFaults
from taskfan.cluster.fork_server import BLOCKED_SIGNALS
from taskfan.cluster.machine import LocalMachine
from taskfan.cluster.member_loop import new_member_loop
from taskfan.cluster.member_transport import make_transport
from taskfan.cluster.mesh import Mesh
from taskfan.cluster.messages import Bound, CannotStart, Holds, Join, JournalTold, MemberSpec, TellJournal
from taskfan.coordinator import ACTIONS as COORDINATING_ACTIONS
from taskfan.coordinator.http.messages import HttpSettings
from taskfan.coordinator.rest.server import RestServer
from taskfan.node.actions import ACTIONS as NODE_ACTIONS
from taskfan.node.clock import Clock, SystemClock
from taskfan.node.coordination.coordinator import Coordinator
from taskfan.node.coordination.store import FileStore, MemoryStore, StateStore
from taskfan.node.faults.faulty_transport import FaultyTransport
from taskfan.node.file_journal import FileJournal
from taskfan.node.http2_transport import Http2Transport
from taskfan.node.lamport import LamportClock
from taskfan.node.membership import Membership
from taskfan.node.node import Node
from taskfan.node.rpc import Method

if TYPE_CHECKING:
    from taskfan.node.grpc_transport import GrpcTransport

log = logging.getLogger("taskfan.member")


class LogForm(logging.Formatter):
    """A line as OpenSearch writes it. Made before the first fork: a member only says its name."""

    def __init__(self) -> None:
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%S")
        self.node_name = "supervisor"
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        """The line, and below it a traceback, if there is one."""
        return super().format(record) if record.exc_info else self.formatMessage(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The line, but for a traceback."""
        when = f"{self.formatTime(record, self.datefmt)},{int(record.msecs):03d}"
        return f"[{when}][{record.levelname:5}][{record.name}] [{self.node_name}] {record.getMessage()}"


log_form = LogForm()


def log_to(stream: TextIO) -> None:
    """Log to this stream only."""
    # What no line shows need not be found out for each.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    handler = logging.StreamHandler(stream)
    handler.setFormatter(log_form)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


ACTIONS = (*NODE_ACTIONS, *COORDINATING_ACTIONS)
_ACTIONS_BY_NAME = {action.name: action for action in ACTIONS}

# Gives the transport of a member, bound, and its port.
MakeTransport = Callable[[MemberSpec, Clock, FileJournal], "tuple[Http2Transport | GrpcTransport, int]"]
# A member that does not end by itself in this time is killed by whoever asked it to.
GRACE_S = 2.0
# A member makes little garbage in cycles: collections may be rare, and each copies pages shared with the others.
GC_THRESHOLDS = (50_000, 50, 100)


def main(node_name: str, control: socket.socket, http: socket.socket) -> int:
    """Run a member on its two sockets until it is told to stop. Returns the exit status of the process."""
    log_form.node_name = node_name
    gc.enable()
    gc.set_threshold(*GC_THRESHOLDS)
    # Not `asyncio.run`: what that does besides costs each member half a megabyte, and the process ends with this.
    return new_member_loop().run_until_complete(_run(control, http))


async def _run(control: socket.socket, http: socket.socket) -> int:
    member = Member(http, make_transport)
    # The fork server blocks what ends a process, so that a stop that comes before this is not lost.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, member.stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED_SIGNALS)
    return await member.run(control)


class Member:
    """One node, its part in the cluster, its transport and its REST front."""

    def __init__(self, http: socket.socket, make_transport: MakeTransport) -> None:
        self._http = http
        self._make_transport = make_transport
        self._stopping: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.clock = SystemClock(on_error=_log_error)
        self._membership: Membership | None = None
        self._rest: RestServer | None = None
        self._mesh: Mesh | None = None

    def stop(self) -> None:
        """Have `run` end by itself, soon."""
        if not self._stopping.done():
            self._stopping.set_result(None)

    async def run(self, control: socket.socket) -> int:
        """From the first word of the supervisor to the last, or to `stop`. Returns the exit status."""
        channel = await Channel.open(control)
        self.spec = await channel.receive(MemberSpec)
        log.info("starting, pid %d, seed %d", os.getpid(), self.spec.seed)
        try:
            self.transport, port = self._make_transport(self.spec, self.clock, self._make_journal())
        except OSError as error:
            channel.send(CannotStart(str(error), self.spec.transport_port))
            await channel.close()
            return 1
        try:
            self._make_node(port)
        except (OSError, ValueError) as error:
            channel.send(CannotStart(str(error)))
            await channel.close()
            return 1
        follower = asyncio.get_running_loop().create_task(self._follow(channel, port))
        follower.add_done_callback(lambda _: self.stop())
        try:
            await self._stopping
            if follower.done():
                follower.result()
        finally:
            await self._close()
        log.info("stopped")
        return 0

    def _make_journal(self) -> FileJournal:
        spec = self.spec
        max_bytes = spec.node.journal_max_bytes
        self.journal = FileJournal(
            spec.journal_path,
            spec.node.name,
            spec.node_id,
            spec.ephemeral_id,
            self.clock,
            LamportClock(),
            max_bytes,
        )
        self.journal.switch(spec.journal)
        return self.journal

    def _make_node(self, transport_port: int) -> None:
        """Before the transport takes links, so that whoever asks finds everything in place.

        Raises:
            ValueError, OSError: what its last process left to it cannot be read.
        """
        spec = self.spec
        local = spec.node.discovery_node(spec.node_id, spec.ephemeral_id, spec.http_port, transport_port)
        store: StateStore = FileStore(spec.state_path) if spec.state_path else MemoryStore()
        self._coordinator = Coordinator(local, spec.cluster_name, spec.node.coordination, store.load())
        self.faults = FaultyTransport(self.transport, _ACTIONS_BY_NAME)
        self.faults.introduce(local)
        machine = LocalMachine(spec.node)
        state = self._coordinator.applied
        self.node = Node(local, state, self.clock, self.faults, machine, self.journal, actions=_ACTIONS_BY_NAME)
        chance = random.Random(spec.seed)
        self._membership = Membership(self.node, self._coordinator, self.faults, chance, store)

    async def _follow(self, channel: Channel, transport_port: int) -> None:
        """Serve, and do what the supervisor says; returns when that says no more."""
        await self._serve()
        # From here on others can reach it, and whoever is elected first finds everybody there.
        channel.send(Bound(transport_port))
        self.clock.spawn(self._tell(channel), "telling the supervisor")
        with contextlib.suppress(ChannelClosed):
            while True:
                self._obey(channel, await channel.receive(Join | SetFaults | AskHits | TellJournal))

    def _obey(self, channel: Channel, order: Join | SetFaults | AskHits | TellJournal) -> None:
        """Do what the supervisor says. On its own, so that nothing holds the nodes it named while it says no more."""
        match order:
            case Join(seeds, initial, cluster_uuid, expected_nodes):
                assert self._membership is not None
                self._membership.start(seeds, initial, cluster_uuid, expected_nodes)
            case TellJournal(number, on):
                if on is not None:
                    self.journal.switch(on)
                self.journal.flush()
                channel.send(JournalTold(number, self.journal.problem))
            case SetFaults(version, rules):
                self.faults.set_rules(rules)
                channel.send(FaultsSet(version))
            case AskHits(number, fault):
                states = [state for state in self.faults.states() if state.numbered.fault == fault]
                hits = [hit for state in states for hit in state.hits][:MOST_HITS_TOLD]
                channel.send(HitsTold(number, fault, sum(state.hit_count for state in states), hits))

    async def _tell(self, channel: Channel) -> None:
        """Tell the supervisor what this node knows of the cluster, again whenever that changes."""
        state = self.node.cluster_state
        if self.spec.node.mesh:
            self._mesh = Mesh(self.node.local.id, self.transport, self.clock, channel.send)
        while True:
            processes = frozenset(node.ephemeral_id for node in state)
            voters = self._coordinator.core.accepted.voters
            channel.send(Holds(state.term, state.version, state.manager_id or "", processes, voters))
            if self._mesh is not None:
                self._mesh.take(state)
            state = await self.node.newer_cluster_state(state)

    async def _serve(self) -> None:
        self.transport.add_services(self._services)
        await self.faults.start(self.node)
        self._rest = RestServer(self.node, self._http_settings())
        await self._rest.start(self._http)
        # What was made by now lives as long as the process.
        gc.freeze()
        local = self.node.local
        log.info("serving http %s, transport %s", local.http_address, local.transport_address)

    def _services(self) -> dict[str, Method]:
        # Most members are never asked for them: they are imported and made for the first call.
        from taskfan.cluster.grpc_services import methods_of_node

        return methods_of_node(self.node)

    def _http_settings(self) -> HttpSettings:
        node = self.spec.node
        return HttpSettings(
            max_content_bytes=node.max_content_bytes,
            max_header_bytes=node.max_header_bytes,
            max_line_bytes=node.max_initial_line_bytes,
            close_timeout_s=GRACE_S / 2,
        )

    async def _close(self) -> None:
        if self._membership is not None:
            # First: what else ends here must not look like trouble of others to it.
            self._membership.close()
        if self._mesh is not None:
            self._mesh.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                if self._rest is not None:
                    await self._rest.close()
                await self.faults.close()
                self.node.close()
                await self.clock.close()
        self.journal.switch(False)


def _log_error(what: str, error: BaseException) -> None:
    log.error("%s failed", what, exc_info=error)


if __name__ == "__main__":
    # Where forking is not safe: name, control socket, HTTP socket, and the run it belongs to.
    log_to(sys.stderr)
    faulthandler.enable(all_threads=False)
    exit_status = main(sys.argv[1], *(socket.socket(fileno=int(number)) for number in sys.argv[2:4]))
    os._exit(exit_status)
