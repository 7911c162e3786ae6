"""Looks at the machine from outside: processes of a cluster, and conditions that are to come true."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from taskfan.cluster.leaks import commands

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the kernel there tells of no other process's death")

# Far more than anything here takes; a condition that is not met by then never will be.
DEADLINE_S = 20.0


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Return as soon as the condition holds; fail when it does not in time."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"not in time: {what}"
        time.sleep(0.002)


def processes_of(cluster_name: str) -> list[int]:
    """Supervisor, fork server and members of every cluster of that name."""
    return [pid for pid, command in commands() if f"taskfan.cluster.supervisor {cluster_name} " in command]


def is_alive(pid: int) -> bool:
    """Whether it runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def parent_of(pid: int) -> int:
    """Which process made it, or took it over; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def refuses(url: str) -> bool:
    """Whether nobody listens there."""
    address = urlsplit(url)
    with socket.socket() as sock:
        sock.settimeout(5)
        return sock.connect_ex((address.hostname or "", address.port or 0)) != 0
