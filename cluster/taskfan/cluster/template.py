"""Loads all of a cluster's processes once, and forks supervisors: `python -m taskfan.cluster.template FD LINE`.

It is executed by a process that starts many clusters, one for all of them. FD is a socket to that process: each
MakeSupervisor there is answered by the supervisor itself. The end of that socket, or long silence, is the end of the
template, but not of what it made. LINE is there for supervisors to write over it: their command says what they are.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

from taskfan.cluster.channel import decode, encode
from taskfan.cluster.fork_server import MemberMain
from taskfan.cluster.messages import MakeSupervisor, SupervisorMade
from taskfan.cluster.spawn import SUPERVISOR
from taskfan.cluster.supervisor import end_process, load, raise_descriptor_limit, run

# Whoever asks again later starts another one.
IDLE_LIMIT_S = 300.0
# The rest of a message follows its beginning at once.
REST_LIMIT_S = 10.0
# Where in memory the command is: fields of /proc/self/stat, counted from the one after the name.
_COMMAND_FROM, _COMMAND_TO = 45, 46


def main() -> int:
    """Load, then fork a supervisor for each message until there are no more. Returns the exit status."""
    gc.disable()
    raise_descriptor_limit()
    asker = socket.socket(fileno=int(sys.argv[1]))
    member_main = load()
    # The system reaps what is made here: whoever asked has a descriptor of each.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while (asked := _next(asker)) is not None:
        message, descriptors = asked
        if os.fork() == 0:
            _become_supervisor(asker, message, descriptors, member_main)
        for descriptor in descriptors:
            os.close(descriptor)
    return 0


def _next(asker: socket.socket) -> tuple[MakeSupervisor, list[int]] | None:
    """What is asked for next; None when nothing will be."""
    received, descriptors = b"", list[int]()
    asker.settimeout(IDLE_LIMIT_S)
    while not received.endswith(b"\n"):
        try:
            data, more, _, _ = socket.recv_fds(asker, 1 << 16, 2)
        except OSError:
            return None
        if not data:
            return None
        received += data
        descriptors += more
        asker.settimeout(REST_LIMIT_S)
    return decode(received, MakeSupervisor), descriptors


def _become_supervisor(
    asker: socket.socket, message: MakeSupervisor, descriptors: list[int], member_main: MemberMain | None
) -> None:
    began_s, status = time.monotonic(), 1
    try:
        owner = _take_place(message, *descriptors)
        _answer(asker)
        asker.close()
        status = run(owner, member_main, began_s)
    except BaseException:
        traceback.print_exc()
        if asker.fileno() >= 0:
            # No answer will come: whoever asks is to know at once, and to do without a template.
            asker.shutdown(socket.SHUT_RDWR)
    finally:
        end_process(status)


def _take_place(message: MakeSupervisor, owner: int, errors: int) -> socket.socket:
    """Be as if whoever asks had executed this. Gives the socket to it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.dup2(errors, 2)
    os.close(errors)
    os.chdir(message.directory)
    _take_environment(message.environment)
    words = [*sys.orig_argv[:3], SUPERVISOR, message.name, str(owner), message.run_id]
    _take_command([os.fsencode(word) for word in words])
    return socket.socket(fileno=owner)


def _take_environment(environment: bytes) -> None:
    os.environb.clear()
    for variable in environment.split(b"\0")[:-1]:
        name, _, value = variable.partition(b"=")
        os.environb[name] = value


def _take_command(words: list[bytes]) -> None:
    """Have this command shown of the process; its last word shows which cluster it is part of.

    Raises:
        OSError: there is no room for it.
    """
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields[_COMMAND_FROM]), int(fields[_COMMAND_TO])
    command = b"\0".join(words).ljust(end - begin, b"\0")
    # The last byte ends the last word: without it, the system would show the environment too.
    if not begin or len(command) != end - begin or command[-1]:
        raise OSError("the command of a supervisor cannot be written here")
    ctypes.memmove(begin, command, len(command))


def _answer(asker: socket.socket) -> None:
    """Tell whoever asks, with a descriptor of this process: its id may be another's by the time it is read."""
    descriptor = os.pidfd_open(os.getpid())
    socket.send_fds(asker, [encode(SupervisorMade(os.getpid()))], [descriptor])
    os.close(descriptor)


if __name__ == "__main__":
    end_process(main())
