"""Proves that ports are taken for good, and that an error says who has them."""

from __future__ import annotations

import errno
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from taskfan.cluster.config import NODES_BETWEEN_PORTS, Options, cluster_config
from taskfan.cluster.errors import ClusterError
from taskfan.cluster.ports import FIRST_PORT, LAST_PORT, OFFSET_STEP, bind, cannot_bind, free_offset, holder_of
from taskfan.cluster.state_directory import RunRecord, StateDirectory
from tests.cluster.commands import process_of
from tests.cluster.processes import ON_LINUX


def test_a_taken_port_is_named_with_the_process_that_has_it() -> None:
    with bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        holder = holder_of(port)
        assert holder is not None
        assert holder[0] == os.getpid()
        says = f"Port {port} is taken by process {os.getpid()} ({holder[1]}): stop that, or choose other ports"
        with pytest.raises(ClusterError, match=re.escape(says)):
            bind("127.0.0.1", port)


def test_the_offset_that_is_advised_is_free_for_a_whole_cluster() -> None:
    config = cluster_config(Options(nodes=NODES_BETWEEN_PORTS))
    ports = [config.control_port, *(port for node in config.nodes for port in (node.http_port, node.transport_port))]
    assert (min(ports), max(ports)) == (FIRST_PORT, LAST_PORT)
    assert LAST_PORT - FIRST_PORT < OFFSET_STEP

    advised = free_offset("127.0.0.1")
    assert advised is not None
    # The transport port of its first node.
    with bind("127.0.0.1", 9300 + advised):
        assert free_offset("127.0.0.1") not in (advised, None)


def test_a_port_is_free_again_when_its_socket_is_closed() -> None:
    sock = bind("127.0.0.1", 0)
    port = sock.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)):
        sock.close()
    bind("127.0.0.1", port).close()
    assert holder_of(port) is None


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ClusterError, match=r"Cannot listen on 192\.0\.2\.1:9200"):
        bind("192.0.2.1", 9200)
    with pytest.raises(ClusterError, match=r"network\.host \[no such host\] is no address"):
        bind("no such host", 9200)


def test_a_port_of_the_administrator_is_named_as_such() -> None:
    error = OSError(errno.EACCES, os.strerror(errno.EACCES))
    assert "choose one from 1024 on" in str(cannot_bind("127.0.0.1", 80, error))


@ON_LINUX
@pytest.mark.parametrize("is_named", [True, False], ids=["of a command", "of a program"])
def test_a_port_of_another_cluster_is_named_with_that(
    is_named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    listens = "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); "
    # As the command of a supervisor is.
    command = [sys.executable, "-c", f"{listens}sys.stdin.read()", "taskfan.cluster.supervisor", "other one", "5", "ab"]
    with process_of(command, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        if is_named:
            directory = StateDirectory.named("other one")
            directory.prepare()
            directory.write_running(RunRecord(process.pid, "socket"))
        with pytest.raises(ClusterError) as raised:
            bind("127.0.0.1", port)
    says = f"Port {port} is taken by cluster [other one] (process {process.pid})"
    remedy = ": stop it with `taskfan down --name 'other" if is_named else " of another program: end that, or choose"
    assert str(raised.value).startswith(says + remedy)


@ON_LINUX
def test_the_command_of_who_has_a_port_is_told_in_one_line() -> None:
    listens = "import socket, sys\ns = socket.create_server(('127.0.0.1', 0))\nprint(s.getsockname()[1], flush=True)\n"
    with process_of([sys.executable, "-c", f"{listens}sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        holder = holder_of(int(process.stdout.readline()))
    assert holder is not None
    assert "\n" not in holder[1]
    assert " -c import socket, sys s = socket" in holder[1]
