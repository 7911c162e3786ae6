"""Ports: taking one, and who has it when it is taken."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shlex
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from taskfan.cluster.errors import ClusterError
from taskfan.cluster.state_directory import StateDirectory

_LISTENING = "0A"
_SUPERVISOR = "taskfan.cluster.supervisor"
# By itself a cluster takes ports from the first on, of up to a hundred nodes none beyond the last.
FIRST_PORT, LAST_PORT = 9199, 9399
# Two clusters whose offsets differ by this do not meet, unless one has more than a hundred nodes.
OFFSET_STEP = 1000
MOST_OFFSETS = 20


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to a port, 0 for any; not listening yet, so nobody can connect.

    Raises:
        ClusterError: the port is taken (and by whom), or cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ClusterError(f"network.host [{host}] is no address of this machine: {error.strerror}.") from None
    sock = socket.socket(family, kind, protocol)
    # A port whose connections are winding down is free; one that somebody listens on is not.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
        # A socket that is bound but does not listen keeps nobody off the port: two starts at once would both have it.
        sock.listen(1024)
    except OSError as error:
        sock.close()
        raise cannot_bind(host, port, error) from None
    return sock


def hold(host: str, port: int) -> socket.socket | None:
    """A socket that only keeps the system from giving this port to anybody; who asks for it by number gets it.

    Nobody can connect. None when somebody has the port already.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        return None
    return sock


def cannot_bind(host: str, port: int, error: OSError) -> ClusterError:
    """The error for a port that could not be had."""
    if error.errno == errno.EACCES:
        return ClusterError(f"Port {port} is for the administrator only: choose one from 1024 on.")
    if error.errno != errno.EADDRINUSE:
        return ClusterError(f"Cannot listen on {host}:{port}: {error.strerror}.")
    offset, holder = free_offset(host), holder_of(port)
    remedy = "--any-port" if offset is None else f"--port-offset {offset} or --any-port"
    return ClusterError(f"Port {port} is taken{_by(holder)}, or choose other ports with {remedy}.")


def free_offset(host: str) -> int | None:
    """The first offset with which no port of a cluster of up to a hundred nodes is taken now; None when none is."""
    for offset in range(OFFSET_STEP, OFFSET_STEP * (MOST_OFFSETS + 1), OFFSET_STEP):
        if all(_is_free(host, port + offset) for port in range(FIRST_PORT, LAST_PORT + 1)):
            return offset
    return None


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError:
            return False
    return True


def _by(holder: tuple[int, str] | None) -> str:
    """Who has it, and how that is ended."""
    if holder is None:
        return ": end what has it"
    pid, command = holder
    if cluster := _cluster_of(pid):
        by = f" by cluster [{cluster}] (process {pid})"
        # A cluster of a program has a name too, by which nobody finds it.
        if _is_found_by_name(cluster, pid):
            return f"{by}: stop it with `taskfan down --name {shlex.quote(cluster)}`"
        return f"{by} of another program: end that"
    return f" by process {pid} ({command}): stop that"


def _is_found_by_name(cluster: str, pid: int) -> bool:
    with contextlib.suppress(OSError, ClusterError):
        running = StateDirectory.named(cluster).running()
        # Supervisor and fork server lead a session each, members their own; all are below the supervisor.
        return running is not None and running.pid in _ancestors(pid)
    return False


def _ancestors(pid: int) -> Iterator[int]:
    """A process, its parent, the parent of that, and so on. Ends where the system tells no more."""
    with contextlib.suppress(OSError):
        while pid > 1:
            yield pid
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _cluster_of(pid: int) -> str:
    """The cluster to which a process belongs, by the command of its supervisor; empty when it belongs to none."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        words = _words(pid)
        return words[words.index(_SUPERVISOR) + 1]
    return ""


def holder_of(port: int) -> tuple[int, str] | None:
    """Process id and command of who listens on a port, if the system tells."""
    return _holder_by_proc(port) if os.path.isdir("/proc/net") else _holder_by_lsof(port)


def _holder_by_proc(port: int) -> tuple[int, str] | None:
    inodes = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _inodes(f"/proc/net/{table}", port)}
    if not inodes:
        return None
    for link in sorted(glob.glob("/proc/[0-9]*/fd/*")):
        # Processes end while one looks, and not all may be looked into.
        with contextlib.suppress(OSError):
            if os.readlink(link) in inodes:
                pid = int(link.split("/")[2])
                return pid, _command(pid)
    return None


def _inodes(table: str, port: int) -> list[str]:
    with contextlib.suppress(OSError), open(table) as file:
        rows = [line.split() for line in file.readlines()[1:]]
        return [row[9] for row in rows if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port]
    return []


def _words(pid: int) -> list[str]:
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return [word.decode(errors="replace") for word in file.read().split(b"\0") if word]


def _command(pid: int) -> str:
    # Of one line, whatever was given to an interpreter.
    command = " ".join(" ".join(_words(pid)).split())
    return command if len(command) <= 100 else f"{command[:97]}…"


def _holder_by_lsof(port: int) -> tuple[int, str] | None:
    asked = ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    fields = {line[0]: line[1:] for line in reversed(answer.splitlines()) if line}
    return (int(fields["p"]), fields.get("c", "?")) if "p" in fields else None
