"""Makes members quickly: a process with everything imported that forks, signals and reaps on request.

It is forked from the supervisor, which has loaded all of it, while that has one thread and no object of gRPC: a process
with a live one cannot fork safely. When the supervisor goes, in whatever way, it kills every member and removes what
was temporary.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import os
import select
import signal
import socket
import sys
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from taskfan.cluster.async_channel import Channel
from taskfan.cluster.channel import ChannelClosed, decode, encode
from taskfan.cluster.errors import ClusterError
from taskfan.cluster.messages import Ended, Fork, Forked, Paused, Report, Resumed, Serve, Signal
from taskfan.cluster.spawn import can_fork
from taskfan.cluster.state_directory import StateDirectory
from taskfan.cluster.supervisor_log import note

CAN_FORK = can_fork()
# What a member does with its name, its control socket and its HTTP socket; gives its exit status.
MemberMain = Callable[[str, socket.socket, socket.socket], int]
# The member lets them through when it can answer them.
BLOCKED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Two travel with each Fork; a message is never read together with the next one's.
MAX_DESCRIPTORS = 8


def start_fork_server(also_close: Sequence[socket.socket], member_main: MemberMain | None) -> tuple[int, socket.socket]:
    """Fork it. Returns its process id, and the socket to send it Serve, then Fork and Signal.

    Args:
        also_close: sockets of the supervisor that neither the fork server nor a member is to keep open.
        member_main: what members do; None where they are executed.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for sock in (ours, *also_close):
                sock.close()
            _name_process("taskfan-fork")
            status = _ForkServer(theirs, member_main).run()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    theirs.close()
    return pid, ours


def load_member() -> MemberMain:
    """Import all that members need, and make what they can share."""
    from taskfan.cluster.member import main
    from taskfan.cluster.warm_up import warm_up

    warm_up()
    # Here and not in each of them: they share its stack for signals, and say where they crashed in their own logs.
    faulthandler.enable(all_threads=False)
    # What is alive now stays for good: no collection is to touch, and so copy, its pages in a member. What is garbage
    # stays too, for a hole in shared pages is soon filled by a page of one's own.
    gc.freeze()
    return main


class _ForkServer:
    """The process itself: one thread, no event loop, nothing that a fork could break."""

    def __init__(self, channel: socket.socket, member_main: MemberMain | None) -> None:
        self._channel = channel
        # Known with the first message.
        self._directory: StateDirectory | None = None
        self._member_main = member_main
        self._received = b""
        self._descriptors: deque[int] = deque()
        self._pids: dict[int, int] = {}
        self._numbers: dict[int, int] = {}
        self._woken, self._waker = socket.socketpair()
        self._end_with_parent = _make_end_with_parent()

    def run(self) -> int:
        self._watch_children()
        # Unlike a selector it is nothing that a member would have to close.
        poll = select.poll()
        for sock in (self._channel, self._woken):
            poll.register(sock, select.POLLIN)
        try:
            while True:
                ready = [descriptor for descriptor, _ in poll.poll()]
                if self._woken.fileno() in ready:
                    self._woken.recv(4096)
                    self._reap()
                if self._channel.fileno() in ready and not self._read():
                    return 0
        finally:
            self._kill_all()
            if self._directory is not None:
                self._directory.clean_run()
                self._directory.remove_if_temporary()

    def _watch_children(self) -> None:
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Who wants this process gone ends its supervisor. Blocked, not ignored: a member that is stopped before it is
        # ready to take the signal takes it then.
        signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_SIGNALS)

    def _read(self) -> bool:
        """Do what the supervisor says. Returns whether it is still there."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._channel, 1 << 16, MAX_DESCRIPTORS)
        except OSError:
            return False
        self._descriptors.extend(descriptors)
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            match decode(line, Serve | Fork | Signal):
                case Serve() as serve:
                    self._serve(serve)
                case Fork() as fork:
                    self._fork(fork)
                case Signal(number, signal_number):
                    # Not reaped yet, so the process id cannot be somebody else's.
                    if number in self._pids:
                        os.kill(self._pids[number], signal_number)
        return bool(data)

    def _serve(self, serve: Serve) -> None:
        os.setsid()
        self._directory = StateDirectory(Path(serve.directory), temporary=serve.temporary)
        self._directory.hold(self._descriptors.popleft())
        self._directory.write_supervisor_log()

    def _fork(self, fork: Fork) -> None:
        control, http = (socket.socket(fileno=self._descriptors.popleft()) for _ in range(2))
        is_forked = self._member_main is not None
        pid = self._forked(fork, control, http) if is_forked else _executed(fork, control, http)
        control.close()
        http.close()
        self._pids[fork.number], self._numbers[pid] = pid, fork.number
        self._tell(encode(Forked(fork.number, pid)))

    def _forked(self, fork: Fork, control: socket.socket, http: socket.socket) -> int:
        pid = os.fork()
        if pid == 0:
            self._become_member(fork, control, http)
        return pid

    def _become_member(self, fork: Fork, control: socket.socket, http: socket.socket) -> None:
        status = 1
        try:
            self._shed()
            os.setsid()
            log = _open_log(fork.log)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.close(log)
            _name_process(fork.name[-15:])
            self._end_with_parent()
            assert self._member_main is not None
            status = self._member_main(fork.name, control, http)
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            # Nothing of the fork server's is to run at exit.
            os._exit(status)

    def _shed(self) -> None:
        """Let go of all that is the fork server's."""
        # The handler of SIGCHLD stays: a member has no children, and `signal.signal` would make 100 KiB its own.
        signal.set_wakeup_fd(-1)
        for sock in (self._channel, self._woken, self._waker):
            sock.close()
        for descriptor in self._descriptors:
            os.close(descriptor)
        if self._directory is not None:
            self._directory.unlock()

    def _reap(self) -> None:
        while self._numbers:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            if pid == 0:
                return
            number = self._numbers.get(pid)
            if number is None:
                continue
            if os.WIFSTOPPED(status):
                self._tell(encode(Paused(number)))
            elif os.WIFCONTINUED(status):
                self._tell(encode(Resumed(number)))
            else:
                del self._pids[number], self._numbers[pid]
                self._tell(encode(Ended(number, os.waitstatus_to_exitcode(status))))

    def _tell(self, line: bytes) -> None:
        # A supervisor that is gone is noticed where its words are read.
        with contextlib.suppress(OSError):
            self._channel.sendall(line)

    def _kill_all(self) -> None:
        signal.set_wakeup_fd(-1)
        if self._numbers and self._directory is not None:
            note(f"ended: the supervisor is gone, and with it {len(self._numbers)} nodes", is_error=True)
        for pid in list(self._numbers):
            os.kill(pid, signal.SIGKILL)
        for pid in list(self._numbers):
            os.waitpid(pid, 0)


def _open_log(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _executed(fork: Fork, control: socket.socket, http: socket.socket) -> int:
    """A member as a process that begins anew: slower and larger, but safe where forking is not."""
    import subprocess

    command = [sys.executable, "-P", "-m", "taskfan.cluster.member", fork.name, str(control.fileno())]
    log = _open_log(fork.log)
    # The last word is the run's, as in the command of the supervisor.
    process = subprocess.Popen(
        [*command, str(http.fileno()), sys.argv[-1]],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=[control.fileno(), http.fileno()],
        start_new_session=True,
    )
    os.close(log)
    # Reaped with all others.
    process.returncode = 0
    return process.pid


def _name_process(name: str) -> None:
    """What `ps` and `top` show, where the system lets a process say so without more ado."""
    with contextlib.suppress(OSError):
        file = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(file, name.encode())
        finally:
            os.close(file)


def _make_end_with_parent() -> Callable[[], object]:
    """A call that asks the kernel to kill this process with the fork server, should that be killed itself.

    Linux only. Made before the first fork, for all members to share.
    """
    if sys.platform != "linux":
        return lambda: None
    import ctypes

    set_death_signal = 1
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(set_death_signal, signal.SIGKILL, 0, 0, 0)


class ForkServer:
    """The supervisor's side of it, on an event loop."""

    def __init__(self, pid: int, sock: socket.socket) -> None:
        self.pid = pid
        # Sent on past the event loop: only so can descriptors travel. The fork server always reads soon.
        sock.settimeout(10)
        self._socket = sock
        self._gone = asyncio.Event()

    def serve(self, directory: StateDirectory) -> None:
        """Have it serve the cluster of this directory, which this process has locked. Raises ClusterError."""
        self._send(Serve(str(directory.path), directory.temporary), [directory.held_lock])

    def fork(self, message: Fork, control: socket.socket, http: socket.socket) -> None:
        """Have a member made; its process id comes with Forked, its end with Ended.

        Raises:
            ClusterError: the fork server is gone.
        """
        self._send(message, [control.fileno(), http.fileno()])

    def _send(self, message: Serve | Fork, descriptors: list[int]) -> None:
        try:
            socket.send_fds(self._socket, [encode(message)], descriptors)
        except OSError as error:
            raise ClusterError(f"The process that makes members is gone ({error}): start the cluster anew.") from None

    def signal(self, number: int, signal_number: int) -> None:
        """Send a signal to a member, if it is still there."""
        # One that is gone has killed its members, or the system does.
        with contextlib.suppress(OSError):
            self._socket.sendall(encode(Signal(number, signal_number)))

    async def follow(self, on_report: Callable[[Report], None]) -> None:
        """Pass on what it reports; returns when it is gone."""
        # A duplicate, so that closing one does not close the other under it.
        channel = await Channel.open(self._socket.dup())
        try:
            while True:
                on_report(await channel.receive(Report))
        except ChannelClosed:
            self._gone.set()
        finally:
            await channel.close()

    async def close(self, *, timeout_s: float) -> None:
        """Let it kill what is left and end."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        try:
            async with asyncio.timeout(timeout_s):
                await self._gone.wait()
        except TimeoutError:
            os.kill(self.pid, signal.SIGKILL)
        # It is at its end: this waits for microseconds.
        os.waitpid(self.pid, 0)  # noqa: ASYNC222
        self._socket.close()

    def kill(self) -> None:
        """End it at once, if it is still there; the system then ends what members it made."""
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self._socket.close()
