"""Starts a supervisor from a user's process, follows it until the cluster is ready, and speaks to one that runs."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any

from taskfan.cluster.channel import BlockingChannel, ChannelClosed
from taskfan.cluster.config import ClusterConfig
from taskfan.cluster.errors import LAST_LINES, ClusterError
from taskfan.cluster.messages import (
    ClusterStatus,
    Command,
    FaultCommand,
    FaultReport,
    FaultReports,
    Launch,
    Problem,
    Progress,
    Release,
    Verb,
)
from taskfan.cluster.spawn import SUPERVISOR, Spawned, spawned
from taskfan.cluster.state_directory import RunRecord, StateDirectory, running_clusters

# Beyond the supervisor's own limits, which come with a reason.
PATIENCE_S = 15.0
END_TIMEOUT_S = 15.0
COMMAND_TIMEOUT_S = 120.0
# Told without asking anybody, even on a machine that does much else.
STATUS_TIMEOUT_S = 10.0


_SUPERVISOR = SUPERVISOR


class Launched:
    """A supervisor this process started. It ends with this process, unless `release` is called."""

    def __init__(self, spawned: Spawned) -> None:
        self.run_id = spawned.run_id
        self._process = spawned.process
        self._channel = BlockingChannel(spawned.socket)
        self._errors = spawned.errors
        self._owner_pid = os.getpid()
        self._is_released = False

    @classmethod
    def start(cls, config: ClusterConfig, directory: str | None) -> Launched:
        """Start a supervisor.

        Args:
            directory: where a named cluster keeps its things; None is a directory of its own.
        """
        launched = cls(spawned(_SUPERVISOR, config.name))
        try:
            launched._channel.send(Launch(config, directory, os.getpid()))
        except ChannelClosed:
            # It ended at once; `wait_until_ready` says why.
            pass
        except BaseException:
            launched.stop()
            raise
        return launched

    def wait_until_ready(
        self, timeout_s: float, on_progress: Callable[[Progress], None] | None = None
    ) -> ClusterStatus:
        """Follow the start.

        Raises:
            ClusterError: it failed; nothing of it is left.
        """
        deadline_s = time.monotonic() + timeout_s
        try:
            while True:
                match self._receive(deadline_s):
                    case Progress() as progress:
                        if on_progress is not None:
                            on_progress(progress)
                    case ClusterStatus() as status:
                        return status
                    case Problem() as problem:
                        error = error_of(problem)
                        error.last_lines = error.last_lines or self._last_errors()
                        raise error
        except BaseException:
            # An interrupt too: the start is undone before anybody else has a say.
            self.stop()
            raise

    def _receive(self, deadline_s: float) -> Progress | ClusterStatus | Problem:
        try:
            message: Progress | ClusterStatus | Problem = self._channel.receive(
                Progress | ClusterStatus | Problem, timeout_s=max(deadline_s - time.monotonic(), 0)
            )
        except ChannelClosed:
            raise ClusterError("The supervisor ended while it started.", last_lines=self._last_errors()) from None
        except TimeoutError:
            raise ClusterError("The supervisor does not answer: the machine may be too busy. Try again.") from None
        return message

    def wait_for_end(self) -> None:
        """Return when the cluster has ended. Raises ClusterError when that was not asked for."""
        with contextlib.suppress(ChannelClosed):
            while True:
                with contextlib.suppress(TimeoutError):
                    raise error_of(self._channel.receive(Problem, timeout_s=3600))
        if self._process.wait(END_TIMEOUT_S):
            raise ClusterError("The supervisor ended, and the cluster with it: start it anew.")

    def release(self, ends_with: int = 0) -> None:
        """Let the cluster outlive this process, but not the one of that id, if one is given."""
        self._is_released = True
        self._channel.send(Release(ends_with))
        self._close()
        # It is nobody's child from now on that anybody would wait for.
        self._process.returncode = 0

    def stop(self) -> None:
        """End the cluster and wait until it is gone. Twice is fine."""
        if os.getpid() != self._owner_pid:
            # A fork of the owner: the cluster is not its own.
            return
        self._close()
        if self._is_released:
            # An interrupt came just then: the end of the connection says nothing any more.
            self._process.terminate()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            # The fork server then kills the members.
            self._process.kill()
            self._process.wait(END_TIMEOUT_S)

    def _last_errors(self) -> list[str]:
        """What it wrote before it had a log."""
        os.set_blocking(self._errors, False)
        with contextlib.suppress(BlockingIOError):
            return os.read(self._errors, 1 << 16).decode(errors="replace").splitlines()[-LAST_LINES:]
        return []

    def _close(self) -> None:
        self._channel.close()
        if self._errors >= 0:
            os.close(self._errors)
            self._errors = -1


class Control:
    """A connection to a supervisor that runs."""

    def __init__(self, channel: BlockingChannel, pid: int) -> None:
        self._channel = channel
        self._pid = pid

    @classmethod
    def find(cls, name: str) -> Control | None:
        """Reach the supervisor of a named cluster; None when it does not run."""
        running = StateDirectory.named(name).running()
        return None if running is None else cls.connect_to(running)

    @classmethod
    def connect(cls, name: str) -> Control:
        """Reach the supervisor of a named cluster. Raises ClusterError when it does not run."""
        control = cls.find(name)
        if control is None:
            raise ClusterError(does_not_run(name))
        return control

    @classmethod
    def connect_to(cls, running: RunRecord) -> Control | None:
        """Reach a supervisor by what it wrote of itself; None when nobody listens."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(5)
        try:
            sock.connect(running.socket)
        except OSError:
            sock.close()
            return None
        return cls(BlockingChannel(sock), running.pid)

    def ask(
        self,
        verb: Verb,
        node: str = "",
        settings: Mapping[str, object] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> ClusterStatus:
        """Have something done, and return how the cluster then is. Raises ClusterError.

        Args:
            settings: of a node that is added.
            timeout_s: limit for the answer, by itself that of what is asked for.
        """
        if timeout_s is None:
            timeout_s = STATUS_TIMEOUT_S if verb == "status" else COMMAND_TIMEOUT_S
        command = Command(verb, node, dict(settings or {}))
        status: ClusterStatus = self._tell(command, ClusterStatus | Problem, timeout_s)
        return status

    def ask_faults(self, command: FaultCommand, *, timeout_s: float = COMMAND_TIMEOUT_S) -> list[FaultReport]:
        """Have something done about faults. Raises ClusterError; one that was refused has exit status 2."""
        answer: FaultReports = self._tell(command, FaultReports | Problem, timeout_s)
        return answer.reports

    def _tell(self, command: Command | FaultCommand, type: Any, timeout_s: float) -> Any:
        try:
            self._channel.send(command)
            answer = self._channel.receive(type, timeout_s=timeout_s)
        except ChannelClosed:
            raise ClusterError("The supervisor ended, and the cluster with it: start it anew.") from None
        except TimeoutError:
            raise self._stands_still(f"gave no answer to [{command.verb}] within {timeout_s:g} s") from None
        if isinstance(answer, Problem):
            raise error_of(answer)
        return answer

    def down(self) -> None:
        """End the cluster; returns when it is gone. Raises ClusterError."""
        with contextlib.suppress(ChannelClosed):
            self._channel.send(Command("down"))
            try:
                self._channel.receive(ClusterStatus | Problem, timeout_s=END_TIMEOUT_S)
            except TimeoutError:
                raise self._stands_still(f"did not end the cluster within {END_TIMEOUT_S:g} s") from None

    def _stands_still(self, what: str) -> ClusterError:
        pid = self._pid
        return ClusterError(
            f"The supervisor (process {pid}) {what}. If it stands still, `kill -CONT {pid}` lets it go on; "
            f"`kill -KILL {pid}` ends it, and its nodes with it."
        )

    def close(self) -> None:
        """Let go. Twice is fine."""
        self._channel.close()


def does_not_run(name: str) -> str:
    """A sentence for whoever looks for a cluster that does not run: how it ended, and which ones do run."""
    from taskfan.cluster.supervisor_log import unexpected_end

    end = unexpected_end(StateDirectory.named(name).supervisor_log)
    why = f": it ended unexpectedly {end}, see `taskfan logs supervisor --name {name}`" if end else ""
    others = running_clusters()
    hint = f"running: {', '.join(others)}" if others else "start one with `taskfan up`"
    return f"Cluster [{name}] does not run{why} ({hint})."


def error_of(problem: Problem) -> ClusterError:
    """The error that travelled as this message."""
    error = ClusterError(problem.message, log=problem.log, last_lines=problem.last_lines)
    error.exit_status = problem.exit_status
    return error
