"""One cluster as its supervisor has it: members start, stop, pause and end, and all learn who is there."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

from taskfan.cluster.channel import encode
from taskfan.cluster.config import ClusterConfig, NodeConfig, added_node
from taskfan.cluster.errors import ClusterError
from taskfan.cluster.fork_server import ForkServer
from taskfan.cluster.member_process import MemberProcess
from taskfan.cluster.membership import has_manager_to_be, newest, one_that_must_stay, voters_of, what_is_missing
from taskfan.cluster.mesh_links import wait_for_links
from taskfan.cluster.messages import ClusterStatus, Ended, Join, Progress, Report
from taskfan.cluster.readiness import NotReady, check_list, check_roots
from taskfan.cluster.state_directory import ClusterRecord, NodeRecord, StateDirectory
from taskfan.node.ids import node_id_from_bytes

# A start is measured in tenths of a second; this is for machines that do much else.
START_TIMEOUT_S, START_TIMEOUT_PER_NODE_S = 30.0, 0.3
# How long a member may take to end by itself before it is killed.
STOP_TIMEOUT_S = 4.0
# A signal reaches a process in microseconds, and the others notice in milliseconds; an election may come of it.
SIGNAL_TIMEOUT_S = 10.0
# Faults may keep members from what they would come to otherwise: nobody waits for that as for a cluster that is whole.
FAULTY_TIMEOUT_S = 3.0


class UnknownNode(ClusterError):
    """No node of the cluster has this name or id."""


class RunningCluster:
    """The members: their processes, and what they say of the cluster that they form.

    Changes that are asked for happen one after the other. What is not asked for, such as the end of a member,
    counts at once.
    """

    def __init__(self, config: ClusterConfig, directory: StateDirectory, fork_server: ForkServer) -> None:
        self.config = config
        self.directory = directory
        self.started_in_s = 0.0
        # Of the control API over HTTP, once there is one.
        self.control_port = 0
        # What tells a member the fault rules; nothing while there are none.
        self.faults_line = b""
        # Set when the fork server is gone, and with it all members.
        self.lost = asyncio.Event()
        self._fork_server = fork_server
        self._record = directory.read_cluster() or ClusterRecord(_new_id(), {})
        self._news = asyncio.Event()
        self.members = [self._member(node) for node in config.nodes]
        self._changes = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._by_number: dict[int, MemberProcess] = {}
        # Members whose end was asked for, by number.
        self._asked: dict[int, MemberProcess] = {}
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def _member(self, node: NodeConfig) -> MemberProcess:
        return MemberProcess(node, self._record_of(node.name), self.directory, self._news.set)

    def _record_of(self, name: str) -> NodeRecord:
        # Ports are kept for as long as the cluster runs, the id for good.
        known = self._record.nodes.get(name)
        record = self._record.nodes[name] = NodeRecord(_new_id() if known is None else known.id)
        return record

    def _spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks[task] = None
        task.add_done_callback(lambda task: self._tasks.pop(task))

    # ------------------------------------------------------------------ as a whole

    async def start(self, on_progress: Callable[[Progress], None], began_s: float) -> None:
        """Start every member and return when the cluster is ready.

        Args:
            began_s: monotonic time at which the start counts as begun.

        Raises:
            ClusterError: a port is taken, a member ended, or something took too long.
        """
        self._spawn(self._follow_fork_server())
        async with self._changes, self._limit("The start", self._start_timeout_s()):
            for member in self.members:
                member.take_http_port()
            initial = self.config.initial_cluster_manager_nodes
            await self._bring_up(self.members, initial, on_progress)
            await self._check_ready(self.members)
        self.started_in_s = time.monotonic() - began_s
        on_progress(Progress("ready"))

    async def stop(self) -> None:
        """Stop all members: by themselves if they can in time, else by force. Returns when no process is left."""
        for member in self.members:
            member.release_http_port()
        if self.lost.is_set():
            self._kill_orphans()
        elif self.started_in_s:
            # Of a start that came to nothing there is nothing to end in good order.
            await self._stop_members()
        await self._fork_server.close(timeout_s=STOP_TIMEOUT_S)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _stop_members(self) -> None:
        for member in self.members:
            if member.has_process:
                self._end(member, signal.SIGKILL if member.is_paused else signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await all_of(member.gone() for member in self.members)

    def _kill_orphans(self) -> None:
        """Without a fork server: Linux has killed them already, elsewhere one that is paused would live on."""
        for member in self.members:
            if member.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(member.pid, signal.SIGKILL)

    async def check_ready(self) -> None:
        """Return when every member that runs answers over its own ports. Raises ClusterError."""
        async with self._changes, self._limit("The cluster's answer", self._start_timeout_s()):
            await self._agreed()
            if not has_manager_to_be(self.members):
                raise ClusterError("The cluster has no manager: too few of the nodes that elect it run.")
            await self._check_ready([member for member in self.members if member.is_running])

    def status(self) -> ClusterStatus:
        """What is known now, without asking anybody."""
        known = newest(self.members)
        names = {member.id: member.name for member in self.members}
        return ClusterStatus(
            name=self.config.name,
            cluster_uuid=self._record.cluster_uuid,
            supervisor_pid=os.getpid(),
            directory=str(self.directory.path),
            temporary=self.directory.temporary,
            version=0 if known is None else known.version,
            started_in_s=self.started_in_s,
            control_url=f"http://127.0.0.1:{self.control_port}",
            control_token_file=str(self.directory.token_path),
            nodes=[member.status(known) for member in self.members],
            voters=[names.get(voter, voter) for voter in voters_of(self.members)],
        )

    # ------------------------------------------------------------------ one node

    def find(self, name: str) -> MemberProcess:
        """The member of that name or id. Raises ClusterError."""
        for member in self.members:
            if name in (member.name, member.record.id):
                return member
        names = ", ".join(member.name for member in self.members[:10])
        raise UnknownNode(f"No node is named [{name}]: there are {names}{' …' if len(self.members) > 10 else ''}.")

    async def add_node(self, name: str, settings: Mapping[str, object]) -> None:
        """Start a node more, and return when the cluster is ready with it.

        Args:
            name: empty for the next one by the cluster's template.

        Raises:
            ClusterError: it cannot be meant, or it did not start; nothing of it is left.
        """
        async with self._changes:
            config = added_node(self.config, [member.config for member in self.members], name, settings)
            member = self._member(config)
            self.members.append(member)
            try:
                await self._start_node(member)
            except BaseException:
                self._forget(member)
                raise

    async def remove_nodes(self, members: Sequence[MemberProcess]) -> None:
        """Stop nodes and forget them, their ids too, one after the other.

        Raises:
            ClusterError: the others could not do without one of them; then all stay.
        """
        async with self._changes:
            leaving = [member for member in members if member in self.members]
            if (needed := one_that_must_stay(leaving, self.members)) is not None:
                also = "" if len(leaving) == 1 else ", so all of them do"
                raise ClusterError(
                    f"Node [{needed.name}] has to stay{also}: the nodes that run without it are too few to elect a "
                    "manager. Start one that is stopped, or `taskfan add` one that can be manager, and try again; "
                    "`taskfan stop` stops a node without a question."
                )
            for member in leaving:
                await self._stop_node(member)
                self._forget(member)

    def _forget(self, member: MemberProcess) -> None:
        self.members.remove(member)
        member.let_go_of_ports()
        self._record.nodes.pop(member.name, None)
        with contextlib.suppress(OSError):
            self.directory.state_of(member.name).unlink()
        self.directory.write_cluster(self._record)

    async def start_node(self, member: MemberProcess) -> None:
        """Start a node that does not run, under its old id and ports, and return when the cluster is ready with it.

        Raises:
            ClusterError: it did not start; it is left stopped.
        """
        async with self._changes:
            await self._start_node(member)

    async def stop_node(self, member: MemberProcess) -> None:
        """Let a node end by itself, or end it when it does not in time; return when the others know."""
        async with self._changes:
            await self._stop_node(member)

    async def restart_node(self, member: MemberProcess) -> None:
        """Stop a node and start it again."""
        async with self._changes:
            await self._stop_node(member)
            await self._start_node(member)

    async def kill_node(self, member: MemberProcess) -> None:
        """End a node as a crash would; return when the others know."""
        async with self._changes, self._limit(f"The end of [{member.name}]", SIGNAL_TIMEOUT_S):
            if member.has_process:
                self._end(member, signal.SIGKILL)
                await member.gone()
                member.reason = "killed"
                await self._agreed()

    async def pause_node(self, member: MemberProcess) -> None:
        """Make a node stand still: its ports stay open, and nothing answers there. Raises ClusterError."""
        async with self._changes, self._limit(f"The pause of [{member.name}]", SIGNAL_TIMEOUT_S):
            self._need_process(member, "paused")
            member.signal(self._fork_server, signal.SIGSTOP)
            await member.until(lambda member: member.is_paused or not member.has_process)

    async def resume_node(self, member: MemberProcess) -> None:
        """Let a paused node go on; return when it knows what it missed. Raises ClusterError."""
        async with self._changes, self._limit(f"The resumption of [{member.name}]", SIGNAL_TIMEOUT_S):
            self._need_process(member, "resumed")
            member.signal(self._fork_server, signal.SIGCONT)
            await member.until(lambda member: not member.is_paused or not member.has_process)
            await self._agreed()

    def _need_process(self, member: MemberProcess, done_to: str) -> None:
        if not member.has_process:
            name = member.name
            raise ClusterError(f"Node [{name}] does not run, so it cannot be {done_to}: `taskfan start {name}` first.")

    async def _start_node(self, member: MemberProcess) -> None:
        if member.has_process:
            return
        async with self._limit(f"The start of [{member.name}]", self._start_timeout_s()):
            try:
                member.take_http_port()
                await self._bring_up([member], (), lambda _: None)
                await self._check_ready([member])
            except BaseException:
                member.release_http_port()
                if member.has_process:
                    self._end(member, signal.SIGKILL)
                raise

    async def _stop_node(self, member: MemberProcess) -> None:
        if not member.has_process:
            return
        async with self._limit(f"The stop of [{member.name}]", STOP_TIMEOUT_S + SIGNAL_TIMEOUT_S):
            self._end(member, signal.SIGTERM)
            # One that stands still could not end by itself.
            member.signal(self._fork_server, signal.SIGCONT)
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await member.gone()
            except TimeoutError:
                self._end(member, signal.SIGKILL)
                await member.gone()
            await self._agreed()

    # ------------------------------------------------------------------ how it is done

    def _start_timeout_s(self) -> float:
        return START_TIMEOUT_S + START_TIMEOUT_PER_NODE_S * len(self.members)

    async def _bring_up(
        self, members: Sequence[MemberProcess], initial: tuple[str, ...], on_progress: Callable[[Progress], None]
    ) -> None:
        """From ports that were taken to members that serve. `initial` are those who begin the cluster, if it is new."""
        for member in members:
            number = next(self._numbers)
            self._by_number[number] = member
            await member.start(number, self._fork_server, self.config.name)
            if self.faults_line:
                # Before its first cluster state, so that no message of its gets by.
                member.send_line(self.faults_line)
        await all_of(member.bound() for member in members)
        on_progress(Progress("bound"))
        self.directory.write_cluster(self._record)
        seeds = [member.discovery_node() for member in self.members if member.is_running or member in members]
        of_voters, of_others = map(encode, Join.of_all(seeds, initial, self._record.cluster_uuid))
        for member in members:
            member.join(of_others if {member.name, member.id}.isdisjoint(initial) else of_voters)
        # One that ends meanwhile is the better reason.
        await all_of([self._found_together(on_progress)], unless=[member.failed() for member in members])

    async def _found_together(self, on_progress: Callable[[Progress], None]) -> None:
        """Wait until all know who is there, and a mesh has its links. The caller bounds the wait."""
        await self._agreed()
        on_progress(Progress("serving"))
        if any(member.is_of_mesh for member in self.members):
            limit_s = FAULTY_TIMEOUT_S if self.faults_line else None
            await wait_for_links(self.members, self._news, on_progress, limit_s)

    async def _agreed(self) -> None:
        """Wait until all members that run know who is there, as far as they can. The caller bounds the wait."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAULTY_TIMEOUT_S if self.faults_line else None):
                while what_is_missing(self.members):
                    self._news.clear()
                    await self._news.wait()

    async def _check_ready(self, started: Sequence[MemberProcess]) -> None:
        """Each of these answers on its HTTP port, and a list through one member shows that each does on its other."""
        # Through one that is older, where there is one: its link to a new one goes over the transport port.
        older = [member for member in self.members if member.is_running and member not in started]
        asked = (older or list(started))[0]
        # One that cannot be taken in now, because nothing can change, has only to answer for itself.
        known = asked.holds.processes if asked.holds is not None else ()
        ids = [member.id for member in started if member.ephemeral_id in known]
        checks = [
            check_roots([(m.config.host, m.record.http_port, m.config.name) for m in started], self.config.name),
            check_list(asked.config.host, asked.record.http_port, ids, only_these=len(started) < len(self.members)),
        ]
        try:
            # One of them may end while it is waited for: that is the better reason.
            await all_of(checks, unless=[member.failed() for member in started])
        except NotReady as error:
            log = str(self.directory.supervisor_log)
            raise ClusterError(f"The cluster did not get ready: {error}.", log=log) from None

    def _end(self, member: MemberProcess, signal_number: int) -> None:
        self._asked[member.number] = member
        member.signal(self._fork_server, signal_number)

    async def _follow_fork_server(self) -> None:
        await self._fork_server.follow(self._on_report)
        self.lost.set()

    def _on_report(self, report: Report) -> None:
        member = self._by_number[report.number]
        member.reported(report, asked=report.number in self._asked)
        if isinstance(report, Ended):
            del self._by_number[report.number]
            self._asked.pop(report.number, None)
        self._spawn(member.settle())

    @contextlib.asynccontextmanager
    async def _limit(self, what: str, timeout_s: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(timeout_s):
                yield
        except TimeoutError:
            missing = what_is_missing(self.members)
            why = f": {missing}" if missing else ""
            log = str(self.directory.supervisor_log)
            raise ClusterError(f"{what} took longer than {timeout_s:g} s{why}.", log=log) from None


async def all_of(work: Iterable[Awaitable[Any]], *, unless: Iterable[Awaitable[Any]] = ()) -> None:
    """Wait for all of them. The first that fails ends the wait and the rest; so does the first of `unless`."""
    everything = asyncio.gather(*work)
    watchers = [asyncio.ensure_future(watcher) for watcher in unless]
    try:
        await asyncio.wait([everything, *watchers], return_when=asyncio.FIRST_COMPLETED)
        for future in (*(watcher for watcher in watchers if watcher.done()), everything):
            await future
    finally:
        for future in (everything, *watchers):
            future.cancel()
        await asyncio.gather(everything, *watchers, return_exceptions=True)


def _new_id() -> str:
    return node_id_from_bytes(os.urandom(16))
