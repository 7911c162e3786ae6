"""What a supervisor does from the first member to the last: it listens to its owner and to commands, and ends when it
should.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import signal
import socket
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from taskfan.cluster.async_channel import Channel
from taskfan.cluster.channel import ChannelClosed
from taskfan.cluster.control_server import LOOPBACK, ControlServer
from taskfan.cluster.errors import ClusterError
from taskfan.cluster.event_loop import new_event_loop
from taskfan.cluster.fork_server import ForkServer
from taskfan.cluster.messages import (
    PROTOCOL_VERSION,
    ClusterStatus,
    Command,
    FaultCommand,
    FaultReports,
    Launch,
    Problem,
    Progress,
    Release,
)
from taskfan.cluster.orders import Orders
from taskfan.cluster.ports import bind
from taskfan.cluster.running_cluster import RunningCluster
from taskfan.cluster.state_directory import RunRecord, StateDirectory
from taskfan.cluster.supervisor_log import note

STOP_LIMIT_S = 12.0
DIRECTORY_INTERVAL_S = 2.0


def supervise(launch: Launch, owner: socket.socket, fork_server: ForkServer, began_s: float) -> int:
    """Run the cluster to its end, with a fork server that was not told anything yet. Returns the exit status.

    Raises:
        ClusterError: nothing came of it; the fork server is still there.
    """
    directory = _take_directory(launch)
    try:
        fork_server.serve(directory)
        loop = new_event_loop()
        asyncio.set_event_loop(loop)
        supervisor = _Supervisor(launch, directory)
        status = loop.run_until_complete(supervisor.run(fork_server, owner, began_s))
        if directory.is_new and supervisor.leaves_nothing_to_read:
            directory.forget()
        return status
    finally:
        directory.clean_run()
        directory.remove_if_temporary()


def _take_directory(launch: Launch) -> StateDirectory:
    directory = StateDirectory.make_temporary() if launch.directory is None else StateDirectory(Path(launch.directory))
    directory.prepare()
    directory.lock()
    directory.forget_journals()
    directory.forget_logs_but([node.name for node in launch.config.nodes])
    directory.write_supervisor_log()
    return directory


class _Supervisor:
    """The part on the event loop: listens to the owner and to commands, and ends when it should."""

    def __init__(self, launch: Launch, directory: StateDirectory) -> None:
        self._launch = launch
        self._directory = directory
        self._stopping = asyncio.Event()
        self._problem: ClusterError | None = None
        self._is_ready = False
        self._waiting_for_end: list[Channel] = []
        self._serving: dict[asyncio.Task[None], None] = {}

    @property
    def leaves_nothing_to_read(self) -> bool:
        """Whether nothing ever ran, and no error names a log that tells why."""
        return not self._is_ready and (self._problem is None or self._problem.log is None)

    async def run(self, fork_server: ForkServer, owner: socket.socket, began_s: float) -> int:
        """From the first member to the last. Returns the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop, f"{number.name} came")
        note(f"started: cluster [{self._launch.config.name}], process {os.getpid()}")
        self._cluster = RunningCluster(self._launch.config, self._directory, fork_server)
        self._orders = Orders(self._cluster)
        self._control = ControlServer(self._orders, self._directory)
        self._owner = await Channel.open(owner)
        parts = (self._start(began_s), self._watch_owner(), self._watch_fork_server(), self._watch_directory())
        work = [asyncio.create_task(part) for part in parts]
        await self._stopping.wait()
        # Whatever goes wrong from here on: the fork server ends the rest when this process is gone.
        faulthandler.dump_traceback_later(STOP_LIMIT_S, exit=True)
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        self._control.close()
        await self._cluster.stop()
        if self._problem is not None:
            self._owner.send(Problem.of(self._problem, log_stays=not self._directory.temporary))
        await self._owner.close()
        faulthandler.cancel_dump_traceback_later()
        return 0 if self._problem is None else 1

    async def _start(self, began_s: float) -> None:
        try:
            self._owner.send(Progress("loaded"))
            control = bind(LOOPBACK, self._launch.config.control_port)
            self._cluster.control_port = control.getsockname()[1]
            await self._cluster.start(self._owner.send, began_s)
            await self._control.start(control)
            path = self._directory.socket_path
            # Serves until the process ends; waiting for its connections to close would be waiting for their clients.
            loop = asyncio.get_running_loop()
            self._server = await loop.create_unix_server(lambda: Channel(self._accept), path)
            self._directory.write_running(RunRecord(os.getpid(), path))
            self._is_ready = True
            note(f"ready after {self._cluster.started_in_s:.2f} s, nodes: {len(self._cluster.members)}")
            self._owner.send(self._cluster.status())
        except ClusterError as error:
            self._end_with(error)
        except Exception as error:
            traceback.print_exc()
            log = str(self._directory.supervisor_log)
            self._end_with(ClusterError(f"A bug in the supervisor: {type(error).__name__}: {error}.", log=log))

    def _stop(self, why: str) -> None:
        """End it, as somebody wants."""
        if not self._stopping.is_set():
            note(f"stopping: {why}")
        self._stopping.set()

    def _end_with(self, problem: ClusterError) -> None:
        """End it, as nobody wanted."""
        if not self._stopping.is_set():
            note(f"{'ended' if self._is_ready else 'failed to start'}: {problem.message}", is_error=True)
        self._problem = problem
        self._stopping.set()

    async def _watch_fork_server(self) -> None:
        await self._cluster.lost.wait()
        log = str(self._directory.supervisor_log)
        self._end_with(ClusterError("The process that makes members was ended: start the cluster anew.", log=log))

    async def _watch_directory(self) -> None:
        """End the cluster when its directory is removed: without it nobody could find it any more, to stop it."""
        # There is no event of it that every system tells.
        while self._directory.is_locked_here():  # noqa: ASYNC110
            await asyncio.sleep(DIRECTORY_INTERVAL_S)
        self._end_with(ClusterError(f"The directory {self._directory.path} was removed, so the cluster has ended."))

    # ------------------------------------------------------------------ the owner

    async def _watch_owner(self) -> None:
        """End the cluster with whoever started it, unless that says that it is to stay."""
        ends_with = 0
        try:
            with _end_of_process(self._launch.owner_pid, partial(self._stop, "the process that started it has ended")):
                ends_with = (await self._owner.receive(Release)).ends_with
        except ChannelClosed:
            self._stop("whoever started it has let go")
        if ends_with:
            with _end_of_process(ends_with, partial(self._stop, f"process {ends_with}, with which it ends, has ended")):
                await self._stopping.wait()

    # ------------------------------------------------------------------ commands

    def _accept(self, channel: Channel) -> None:
        task = asyncio.create_task(self._serve(channel))
        self._serving[task] = None
        task.add_done_callback(self._serving.pop)

    async def _serve(self, channel: Channel) -> None:
        # Its end is the end of this coroutine; at the end of the supervisor both go with the process.
        with contextlib.suppress(ChannelClosed):
            while True:
                # Whoever connects may also wait: there are few, all of this user.
                command = await channel.receive(Command | FaultCommand)
                if command.verb == "down":
                    # Answered by the end of the connection, when all is gone.
                    self._waiting_for_end.append(channel)
                    self._stop("as it was told")
                    return
                channel.send(await self._answer(command))
        await channel.close()

    async def _answer(self, command: Command | FaultCommand) -> ClusterStatus | FaultReports | Problem:
        try:
            if command.version != PROTOCOL_VERSION:
                raise ClusterError("The cluster was started by another version of taskfan: stop it with that one.")
            if isinstance(command, FaultCommand):
                return await self._orders.carry_out_fault(command)
            return await self._orders.carry_out(command)
        except ClusterError as error:
            return Problem.of(error)
        except Exception as error:
            traceback.print_exc()
            return Problem.of(ClusterError(f"A bug in the supervisor: {type(error).__name__}: {error}."))


@contextlib.contextmanager
def _end_of_process(pid: int, callback: Callable[[], None]) -> Iterator[None]:
    """Within the block, call back when that process ends, where the system tells. Its socket tells as well, but for
    one that was forked meanwhile and holds it too.
    """
    if not hasattr(os, "pidfd_open"):
        yield
        return
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        callback()
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, callback)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
