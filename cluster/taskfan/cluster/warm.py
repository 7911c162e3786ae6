"""Quick starts for a process that starts many clusters: it keeps one template, which forks their supervisors."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from array import array
from collections.abc import Iterator

from taskfan.cluster.channel import ChannelClosed, decode, encode
from taskfan.cluster.messages import MakeSupervisor, SupervisorMade
from taskfan.cluster.spawn import Spawned, can_fork, environment, execute

TEMPLATE = "taskfan.cluster.template"
# Supervisors write their commands over this, and the longest name of a cluster has 400 bytes.
_LINE = "loads what the clusters of its parent process are made of, and forks them; it ends with it".ljust(500)
# A template loads in a fifth of a second; one that takes so long is not waited for any more.
_ANSWER_LIMIT_S = 20.0
# What a process reads as it begins: with another value it would be another one. What it reads later is told to it.
_READ_AT_START = ("PYTHON", "MALLOC_", "GLIBC_", "LD_", "LC_", "LANG", "TZ", "TASKFAN_FORK")


class _Process:
    """A process that was forked elsewhere: known by a descriptor, so that its id cannot come to mean another one."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._descriptor = descriptor

    def __del__(self) -> None:
        os.close(self._descriptor)

    def wait(self, timeout: float | None = None) -> int:
        """Return when it has ended; what its exit status was, its parent knows. Raises subprocess.TimeoutExpired."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        if not poll.poll(None if timeout is None else 1000 * timeout):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        self.returncode = 0
        return 0

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)


class _Template:
    """The process that forks supervisors for this one. It loads while this one goes on."""

    def __init__(self) -> None:
        self.began_with = _read_at_start()
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = execute([TEMPLATE, str(theirs.fileno()), _LINE], theirs)

    def supervisor(self, name: str) -> Spawned:
        """One for a cluster of this name. Raises OSError or ChannelClosed: the template is of no use any more."""
        return Spawned.by(name, lambda run_id, theirs, errors: self._make(name, run_id, theirs, errors))

    def _make(self, name: str, run_id: str, theirs: socket.socket, errors: int) -> _Process:
        variables = (os.fsencode(f"{variable}={value}\0") for variable, value in environment().items())
        line = encode(MakeSupervisor(name, run_id, os.getcwdb(), b"".join(variables)))
        self._socket.settimeout(_ANSWER_LIMIT_S)
        # Of a template that has ended a program is to hear by an error, also one that lets SIGPIPE end it.
        # `socket.send_fds` takes no notice of its flags.
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [theirs.fileno(), errors]))
        sent = self._socket.sendmsg([line], [rights], socket.MSG_NOSIGNAL)
        self._socket.sendall(line[sent:], socket.MSG_NOSIGNAL)
        answer, descriptors, _, _ = socket.recv_fds(self._socket, 1 << 12, 1)
        return _Process(decode(answer, SupervisorMade).pid, *descriptors)

    def end(self) -> None:
        """End it, and return when it is gone; what it made goes on."""
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def forget(self) -> None:
        """In a fork of its owner: it is not this process's to use or to end."""
        self._socket.close()
        self._process.returncode = 0


def _read_at_start() -> tuple[object, ...]:
    read = {name: value for name, value in environment().items() if name.startswith(_READ_AT_START)}
    return sys.executable, sorted(read.items())


class _Warmth:
    """What this process keeps for its next clusters."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._template: _Template | None = None
        self._blocks = 0
        self._asked = 0

    def supervisor(self, name: str) -> Spawned | None:
        """One from the template; None where there is to be none, or none can be had."""
        with self._lock:
            self._asked += 1
            if self._blocks == 0 and self._asked == 1:
                return None
            try:
                template = self._current()
                return None if template is None else template.supervisor(name)
            except (OSError, ChannelClosed):
                # One that begins anew does without, or can say what is wrong.
                self._end()
                return None
            except BaseException:
                # An answer may still come, which would be taken for the next one's.
                self._end()
                raise

    def enter(self) -> None:
        """A block begins that wants it warm."""
        with self._lock:
            self._blocks += 1
            self._current()

    def leave(self) -> None:
        """Such a block ends."""
        with self._lock:
            self._blocks -= 1
            if self._blocks == 0:
                self._end()

    def end(self) -> None:
        """Keep nothing any more."""
        with self._lock:
            self._end()

    def forget(self) -> None:
        """In a fork, where the lock may be another thread's that is not there."""
        self._lock = threading.Lock()
        if self._template is not None:
            self._template.forget()
            self._template = None

    def _current(self) -> _Template | None:
        if self._template is not None and self._template.began_with != _read_at_start():
            self._end()
        if self._template is None and can_fork():
            self._template = _Template()
        return self._template

    def _end(self) -> None:
        template, self._template = self._template, None
        if template is not None:
            template.end()


_warmth = _Warmth()


def warm_supervisor(name: str) -> Spawned | None:
    """A supervisor that has loaded, for a cluster of this name: from the second cluster of a process on, or within
    `keep_warm`. None where one has to begin anew.
    """
    return _warmth.supervisor(name)


@contextlib.contextmanager
def keep_warm() -> Iterator[None]:
    """Within the block clusters start quickly, from the first one on that is wanted a fifth of a second after it began.

    What makes them quick is by itself loaded for the second cluster of a process, so that one that starts a single one
    pays nothing. Whoever knows that there will be more says so:

        with keep_warm():
            for nodes in (3, 5, 10):
                with Cluster(nodes=nodes) as cluster:
                    ...

    It is a process of some 40 MB that waits: it ends with the block, with this process however that ends, and when
    it was not needed for five minutes. Where forking is not safe (macOS) the block changes nothing.
    """
    warmth = _warmth
    warmth.enter()
    try:
        yield
    finally:
        warmth.leave()


def _after_fork() -> None:
    global _warmth
    _warmth.forget()
    _warmth = _Warmth()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(lambda: _warmth.end())
