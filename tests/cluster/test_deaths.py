"""Proves that nothing outlives what it belongs to, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import msgspec
import pytest

from taskfan.cluster import Cluster, ClusterError
from taskfan.cluster.channel import BlockingChannel
from taskfan.cluster.cluster import footprints
from taskfan.cluster.leaks import Footprint
from taskfan.cluster.messages import Release
from tests.cluster.processes import ON_LINUX, is_alive, parent_of, wait_until


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Two nodes, the second one paused."""
    with Cluster(nodes=2) as cluster:
        cluster.nodes[1].pause()
        yield cluster


def fork_server_of(cluster: Cluster) -> int:
    return parent_of(cluster.nodes[0].pid)


def test_members_end_with_a_killed_supervisor_and_so_does_its_directory(cluster: Cluster) -> None:
    footprint, directory = footprints[-1], cluster.directory
    os.kill(cluster.supervisor_pid, signal.SIGKILL)
    wait_until(lambda: not footprint.processes(), "all processes end")
    wait_until(lambda: not directory.exists(), "the directory is removed")
    with pytest.raises(ClusterError, match="The supervisor ended"):
        cluster.status()


def test_a_supervisor_that_is_told_to_end_takes_all_with_it(cluster: Cluster) -> None:
    footprint = footprints[-1]
    os.kill(cluster.supervisor_pid, signal.SIGTERM)
    wait_until(lambda: not footprint.left_over(), "all is gone")


@ON_LINUX
def test_members_end_with_a_killed_fork_server_and_so_does_the_supervisor(cluster: Cluster) -> None:
    footprint = footprints[-1]
    os.kill(fork_server_of(cluster), signal.SIGKILL)
    wait_until(lambda: not footprint.left_over(), "all is gone")


@ON_LINUX
def test_members_end_when_supervisor_and_fork_server_are_killed_at_once(cluster: Cluster) -> None:
    footprint = footprints[-1]
    fork_server = fork_server_of(cluster)
    os.kill(cluster.supervisor_pid, signal.SIGSTOP)
    os.kill(fork_server, signal.SIGKILL)
    os.kill(cluster.supervisor_pid, signal.SIGKILL)
    wait_until(lambda: not footprint.processes(), "all processes end")
    # Nobody was left to do it.
    for path in sorted(cluster.directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    cluster.directory.rmdir()


OWNER = """
import os, sys
from taskfan.cluster import Cluster
from taskfan.cluster.channel import BlockingChannel
from taskfan.cluster.cluster import footprints
cluster = Cluster(nodes=2).start()
cluster.nodes[1].pause()
{more}
print(footprints[-1].run_id, cluster.directory, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def owner() -> Iterator[Callable[[str], tuple[subprocess.Popen[str], Footprint]]]:
    """Starts a process that has a cluster."""
    started: list[subprocess.Popen[str]] = []

    def start(more: str = "") -> tuple[subprocess.Popen[str], Footprint]:
        command = [sys.executable, "-c", OWNER.format(more=more)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        run_id, directory = process.stdout.readline().split()
        return process, Footprint(run_id, directory)

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=20)


Owner = Callable[[str], tuple[subprocess.Popen[str], Footprint]]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_cluster_ends_with_the_process_that_started_it(number: signal.Signals, owner: Owner) -> None:
    process, footprint = owner("")
    assert len(footprint.processes()) == 4
    process.send_signal(number)
    process.wait(20)
    wait_until(lambda: not footprint.left_over(), "all is gone")


def test_a_process_that_forgets_its_cluster_leaves_none(owner: Owner) -> None:
    process, footprint = owner("")
    process.communicate("", timeout=20)
    wait_until(lambda: not footprint.left_over(), "all is gone")


@ON_LINUX
def test_a_cluster_ends_with_its_owner_though_a_fork_of_that_lives_on(owner: Owner) -> None:
    process, footprint = owner("pid = os.fork()\nif pid == 0:\n    os.close(1); os.read(0, 1); os._exit(0)\nprint")
    process.kill()
    process.wait(20)
    wait_until(lambda: not footprint.left_over(), "all is gone")


def test_a_fork_of_the_owner_that_ends_ends_no_cluster(cluster: Cluster) -> None:
    pid = os.fork()
    if pid == 0:
        cluster.stop()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert is_alive(cluster.supervisor_pid)
    assert cluster.nodes[0].state == "running"


def test_an_interrupt_just_when_a_cluster_is_let_go_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    send = BlockingChannel.send

    def interrupted(channel: BlockingChannel, message: msgspec.Struct, **limits: float) -> None:
        send(channel, message, **limits)
        if isinstance(message, Release):
            raise KeyboardInterrupt

    monkeypatch.setattr(BlockingChannel, "send", interrupted)
    with pytest.raises(KeyboardInterrupt), Cluster(nodes=1) as cluster:
        cluster.release()
    assert footprints[-1].left_over() == []
