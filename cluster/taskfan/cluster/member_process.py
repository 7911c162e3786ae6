"""The supervisor's view of one member: its process, its ports, and how far it has come."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from taskfan.cluster.async_channel import Channel
from taskfan.cluster.channel import ChannelClosed
from taskfan.cluster.config import ANY_PORT, NodeConfig
from taskfan.cluster.errors import ClusterError
from taskfan.cluster.fault_messages import FaultsSet, HitsTold
from taskfan.cluster.fork_server import ForkServer
from taskfan.cluster.messages import (
    Bound,
    CannotStart,
    Ended,
    Fork,
    Forked,
    Holds,
    JournalTold,
    Linked,
    MemberSpec,
    NodeState,
    NodeStatus,
    Paused,
    Report,
    Resumed,
)
from taskfan.cluster.ports import bind, cannot_bind, hold
from taskfan.cluster.state_directory import NodeRecord, StateDirectory, last_lines
from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.ids import node_id_from_bytes


class MemberProcess:
    """One member, through all its processes: it keeps its id and its ports.

    `reason` says why it ended, when nobody asked it to.
    """

    def __init__(
        self, config: NodeConfig, record: NodeRecord, directory: StateDirectory, on_news: Callable[[], None]
    ) -> None:
        self.config = config
        self.record = record
        self._phase: Literal["starting", "running", "stopped", "ended"] = "stopped"
        self.is_paused = False
        self.pid = 0
        self.reason = ""
        # What it said last of the cluster.
        self.holds: Holds | None = None
        # And of its links, if it is part of a mesh.
        self.linked: Linked | None = None
        self.faults_version = 0
        # Whether it keeps a journal, or will; and the last it was told of that.
        self.journal_on = config.journal
        self.journal_told = 0
        # Why it cannot be written, by what it was told last.
        self.journal_problem = ""
        self.journal_path = str(directory.journal_of(config.name))
        # What each of its processes, by number, told last of each fault.
        self.hits: dict[tuple[str, int], HitsTold] = {}
        self.log = str(directory.log_of(config.name))
        self._directory = directory
        self.ephemeral_id = ""
        self.number = -1
        self._channel: Channel | None = None
        self._reader: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._refusal: CannotStart | None = None
        self._is_bound = False
        self._changed = asyncio.Condition()
        self._on_news = on_news
        self._http: socket.socket | None = None
        # While it has no process: on the ports that the system chose, lest it gives them to somebody else.
        self._held: list[socket.socket] = []

    # ------------------------------------------------------------------ what it is

    @property
    def has_process(self) -> bool:
        """Whether one was made that has not ended."""
        return self._phase in ("starting", "running")

    @property
    def state(self) -> NodeState:
        """What it does now."""
        return "paused" if self.is_paused else self._phase

    @property
    def is_running(self) -> bool:
        """Whether it is to be part of the cluster, and can: it does not stand still."""
        return self._phase == "running" and not self.is_paused

    @property
    def is_cluster_manager_eligible(self) -> bool:
        return self.config.is_cluster_manager_eligible

    @property
    def is_of_mesh(self) -> bool:
        return self.config.mesh

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def id(self) -> str:
        """Of the node, in all its processes."""
        return self.record.id

    @property
    def url(self) -> str:
        return f"http://{self.discovery_node().http_address}"

    def discovery_node(self) -> DiscoveryNode:
        """How the others are to know it."""
        record = self.record
        return self.config.discovery_node(record.id, self.ephemeral_id, record.http_port, record.transport_port)

    def status(self, known: Holds | None) -> NodeStatus:
        """For whoever asks. `known` is the newest that members have told of the cluster."""
        node = self.discovery_node()
        manager_id = "" if known is None else known.manager_id
        return NodeStatus(
            name=node.name,
            id=node.id,
            state=self.state,
            pid=self.pid,
            url=self.url,
            transport_address=node.transport_address,
            roles=list(node.roles),
            is_manager=node.id == manager_id,
            log=self.log,
            reason=self.reason,
            in_cluster=known is not None and bool(manager_id) and self.ephemeral_id in known.processes,
        )

    # ------------------------------------------------------------------ starting

    def take_http_port(self) -> None:
        """Take the port before there is a process, so that it cannot be somebody else's by then.

        Raises:
            ClusterError: the port is taken.
        """
        self._http = bind(self.config.host, self.record.http_port or self.config.http_port)
        self.record.http_port = self._http.getsockname()[1]

    async def start(self, number: int, fork_server: ForkServer, cluster_name: str) -> None:
        """Have a process made, and tell it what to be."""
        assert self._http is not None, "its port is taken first"
        self._directory.limit_log(Path(self.log))
        ours, theirs = socket.socketpair()
        self.number, self._phase, self.pid, self.reason = number, "starting", 0, ""
        self.holds, self.linked, self._is_bound, self._refusal = None, None, False, None
        self.faults_version = 0
        self.ephemeral_id = node_id_from_bytes(os.urandom(16))
        try:
            fork_server.fork(Fork(number, self.config.name, self.log), theirs, self._http)
        finally:
            theirs.close()
            # Were it kept, clients of a killed member would wait instead of being refused.
            self.release_http_port()
        self._channel = await Channel.open(ours)
        self._reader = asyncio.create_task(self._read(self._channel))
        self._channel.send(
            MemberSpec(
                cluster_name,
                self.config,
                self.record.id,
                self.ephemeral_id,
                self.record.http_port,
                self.record.transport_port or self.config.transport_port,
                seed=int.from_bytes(os.urandom(6)),
                state_path=str(self._directory.state_of(self.config.name)),
                journal_path=self.journal_path,
                journal=self.journal_on,
            )
        )

    def release_http_port(self) -> None:
        """Let go of a port that was taken. Twice is fine."""
        if self._http is not None:
            self._http.close()
            self._http = None

    async def _read(self, channel: Channel) -> None:
        with contextlib.suppress(ChannelClosed):
            while True:
                match await channel.receive(Bound | Holds | Linked | CannotStart | FaultsSet | HitsTold | JournalTold):
                    case Bound(port):
                        self.record.transport_port, self._is_bound = port, True
                        self.let_go_of_ports()
                    case Holds() as holds:
                        self.holds = holds
                    case Linked() as linked:
                        self.linked = linked
                    case FaultsSet(version):
                        self.faults_version = version
                    case JournalTold(number, problem):
                        self.journal_told, self.journal_problem = number, problem
                    case HitsTold() as told:
                        self.hits[told.fault, self.number] = told
                    case CannotStart() as refusal:
                        self._refusal = refusal
                await self._tell()

    async def _tell(self) -> None:
        self._on_news()
        async with self._changed:
            self._changed.notify_all()

    async def bound(self) -> None:
        """Wait until it has its transport port. The caller bounds the wait. Raises ClusterError when it ends."""
        await self.until(lambda member: member._is_bound or not member.has_process)
        if not self._is_bound:
            raise self.failure()

    def join(self, line: bytes) -> None:
        """Send it Join, encoded: from here on its end is the end of a part of the cluster."""
        self._phase = "running"
        self.send_line(line)

    async def failed(self) -> None:
        """Wait until it ends, and raise ClusterError. The caller bounds the wait."""
        await self.gone()
        raise self.failure()

    def failure(self) -> ClusterError:
        """Why it has no process."""
        if self._refusal is not None and self._refusal.port:
            return cannot_bind(self.config.host, self._refusal.port, OSError(errno.EADDRINUSE, self._refusal.reason))
        reason = f"cannot start: {self._refusal.reason}" if self._refusal else self.reason or "has no process"
        return ClusterError(
            f"Node [{self.config.name}] {reason}.",
            log=self.log,
            last_lines=last_lines(self.log),
        )

    # ------------------------------------------------------------------ running and ending

    def send_line(self, line: bytes) -> None:
        """Send it an encoded message."""
        if self._channel is not None and self.has_process:
            self._channel.send_line(line)

    def signal(self, fork_server: ForkServer, signal_number: int) -> None:
        """Send its process a signal."""
        fork_server.signal(self.number, signal_number)

    def reported(self, report: Report, *, asked: bool) -> None:
        """Take over what the fork server says of its process. `asked`: its end was wanted."""
        match report:
            case Forked(_, pid):
                self.pid = pid
            case Paused():
                self.is_paused = True
            case Resumed():
                self.is_paused = False
            case Ended(_, status):
                self.pid, self.is_paused = 0, False
                self._phase, self.reason = ("stopped", "") if asked else ("ended", _describe(status))
                self._hold_ports()

    def _hold_ports(self) -> None:
        self.let_go_of_ports()
        config, record = self.config, self.record
        of_system = [(config.http_port, record.http_port), (config.transport_port, record.transport_port)]
        ports = [port for wanted, port in of_system if wanted == ANY_PORT and port]
        self._held += [sock for sock in (hold(config.host, port) for port in ports) if sock is not None]

    def let_go_of_ports(self) -> None:
        """Hold none any more: its process has them, or it will have no other. Twice is fine."""
        for sock in self._held:
            sock.close()
        self._held.clear()

    async def settle(self) -> None:
        """After a report: let those know who wait for it."""
        if not self.has_process and self._channel is not None:
            # What it said at last is still to be read; the end of its socket follows.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._reader
            channel, self._channel = self._channel, None
            await channel.close()
        await self._tell()

    async def until(self, condition: Callable[[MemberProcess], bool]) -> None:
        """Wait for something that reports change. The caller bounds the wait."""
        async with self._changed:
            await self._changed.wait_for(lambda: condition(self))

    async def gone(self) -> None:
        """Wait until it has no process. The caller bounds the wait."""
        await self.until(lambda member: not member.has_process)


def _describe(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with exit status {status}"
