"""Proves how commands and their clusters end: by Ctrl-C, from elsewhere, with their directory, or not at all."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from taskfan.cluster import Cluster, ClusterError, launch
from taskfan.cluster.state_directory import RunRecord, StateDirectory
from tests.cluster.commands import process_of, run
from tests.cluster.processes import ON_LINUX, parent_of, processes_of, wait_until

NAME = f"ends-{os.getpid()}"


@contextmanager
def in_the_foreground(name: str) -> Iterator[subprocess.Popen[str]]:
    """A command that has started a cluster of one node and stays."""
    command = [sys.executable, "-u", "-m", "taskfan.cluster.cli", "up", "-n", "1", "--any-port", "--foreground"]
    with process_of([*command, "--name", name], stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "Ctrl-C stops it.\n"
        yield process


def test_in_the_foreground_a_cluster_ends_with_ctrl_c(state_home: Path) -> None:
    name = f"{NAME}-foreground"
    with in_the_foreground(name) as process:
        assert len(processes_of(name)) == 3
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[1] == f"Cluster [{name}] is stopped.\n"
        assert process.returncode == 0
        assert processes_of(name) == []


def test_in_the_foreground_a_cluster_can_be_stopped_from_elsewhere(state_home: Path) -> None:
    name = f"{NAME}-elsewhere"
    with in_the_foreground(name) as process:
        forgotten = run("down", "--name", name, "--forget")
        process.communicate(timeout=20)
        assert process.returncode == 0
    directory = state_home / "taskfan" / name
    assert forgotten.output == f"Cluster [{name}] is stopped.\n{directory} is removed.\n"
    assert not directory.exists()


def test_a_cluster_whose_directory_is_removed_ends(state_home: Path) -> None:
    name = f"{NAME}-removed"
    assert run("up", "-n", "1", "--any-port", "--name", name).exit_code == 0
    shutil.rmtree(state_home / "taskfan" / name)
    wait_until(lambda: not processes_of(name), "all processes end")


@ON_LINUX
def test_a_cluster_ends_with_the_process_that_it_is_told_to_end_with(state_home: Path) -> None:
    name = f"{NAME}-ends-with"
    with process_of([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        up = run("up", "-n", "1", "--any-port", "--name", name, "--ends-with", str(process.pid))
        assert up.exit_code == 0
        assert len(processes_of(name)) == 3
        process.kill()
        wait_until(lambda: not processes_of(name), "all processes end")


def test_a_cluster_cannot_end_with_a_process_that_is_not_there(state_home: Path) -> None:
    with process_of([sys.executable, "-c", ""]) as process:
        process.wait(20)
        up = run("up", "-n", "1", "--any-port", "--name", f"{NAME}-typo", "--ends-with", str(process.pid))
    assert up.exit_code == 2
    assert f"--ends-with [{process.pid}]: there is no such process" in up.output
    assert processes_of(f"{NAME}-typo") == []


def test_in_the_foreground_a_killed_cluster_is_told_from_one_that_was_stopped(state_home: Path) -> None:
    name = f"{NAME}-killed"
    with in_the_foreground(name) as process:
        running = StateDirectory.named(name).running()
        assert running is not None
        os.kill(running.pid, signal.SIGKILL)
        errors = process.communicate(timeout=20)[1]
    assert (process.returncode, "stopped" in errors) == (1, False)
    assert "The supervisor ended, and the cluster with it" in errors


@ON_LINUX
def test_a_socket_in_a_short_place_goes_with_a_killed_supervisor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ("long" * 25)))
    name = f"{NAME}-short"
    assert run("up", "-n", "1", "--any-port", "--name", name).exit_code == 0
    running = StateDirectory.named(name).running()
    assert running is not None
    assert Path(running.socket).is_socket()
    os.kill(running.pid, signal.SIGKILL)
    wait_until(lambda: not processes_of(name), "all processes end")
    assert not Path(running.socket).exists()


def test_work_that_is_waited_for_is_cancelled_by_ctrl_c_which_prints_its_id(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text('{"action": "work:long", "duration": "until_cancelled", "children": [{"action": "work:child"}]}')
    with Cluster(nodes=2) as cluster:
        command = [sys.executable, "-m", "taskfan.cluster.cli", "work", str(plan), "--wait", "--url", cluster.url]
        with process_of(command, stderr=subprocess.PIPE) as process:
            wait_until(lambda: cluster.list_tasks(actions="work:long")["nodes"], "the work runs")
            [task] = cluster.list_tasks(actions="work:long", group_by="none")["tasks"]
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=30)
        told = f"The work {task['node']}:{task['id']} is cancelled with its client; without --wait it goes on.\n"
        assert (process.returncode, output, errors) == (130, "", told)
        wait_until(lambda: not cluster.list_tasks(actions="work:*")["nodes"], "the work ends")


def test_a_supervisor_that_stands_still_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "STATUS_TIMEOUT_S", 0.05)
    monkeypatch.setattr(launch, "END_TIMEOUT_S", 0.05)
    path = StateDirectory.make_temporary().path / "sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        control = launch.Control.connect_to(RunRecord(4321, str(path)))
        assert control is not None
        for ask in (lambda: control.ask("status"), control.down):
            with pytest.raises(ClusterError, match=r"\(process 4321\).*`kill -KILL 4321` ends it"):
                ask()
        control.close()
    shutil.rmtree(path.parent)


def test_ctrl_c_while_the_command_is_imported_says_nothing() -> None:
    code = (
        "import sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'click': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "from taskfan.cluster.__main__ import main; main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


# What can be seen of a start from outside, in the order in which it comes.
MOMENTS: dict[str, Callable[[Path, str], object]] = {
    "process": lambda directory, name: processes_of(name),
    "lock": lambda directory, name: (directory / "supervisor.lock").exists(),
    "first log": lambda directory, name: any((directory / "logs").glob("*.log")),
    "all logs": lambda directory, name: len(list((directory / "logs").glob("*.log"))) == 3,
    "state": lambda directory, name: (directory / "cluster.json").exists(),
    "socket": lambda directory, name: (directory / "control.sock").exists(),
    "ready": lambda directory, name: (directory / "supervisor.json").exists(),
}


@pytest.mark.parametrize("moment", ["at once", *MOMENTS])
def test_ctrl_c_leaves_a_whole_cluster_or_nothing(moment: str, state_home: Path) -> None:
    name = f"{NAME}-{moment.replace(' ', '-')}"
    directory = state_home / "taskfan" / name
    command = [sys.executable, "-m", "taskfan.cluster.cli", "up", "-n", "3", "--any-port", "--name", name]
    with process_of(command, stderr=subprocess.STDOUT) as process:
        if moment != "at once":
            wait_until(lambda: MOMENTS[moment](directory, name) or process.poll() is not None, moment)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    if process.returncode == 0:
        # Too late: it had said that the cluster is ready, and the cluster is.
        assert "is ready: 3 nodes" in output
        assert run("status", "--name", name).output.startswith(f"Cluster [{name}]: 3 of 3 nodes run")
        run("down", "--name", name)
    elif moment not in ("at once", "process"):
        # Before that it had not even begun.
        assert "Interrupted: no cluster was started.\n" in output
    wait_until(lambda: not processes_of(name), "all processes end")
    assert not (directory / "supervisor.json").exists()
    assert not (directory / "control.sock").exists()


@pytest.mark.parametrize("is_supervisor", [True, False])
@ON_LINUX
def test_a_cluster_that_nobody_stopped_says_afterwards_when_it_ended_and_where_to_look(
    is_supervisor: bool, state_home: Path
) -> None:
    name = f"{NAME}-{'supervisor' if is_supervisor else 'fork-server'}"
    up = json.loads(run("up", "-n", "1", "--any-port", "--name", name, "--json").output)
    os.kill(up["supervisor_pid"] if is_supervisor else parent_of(up["nodes"][0]["pid"]), signal.SIGKILL)
    wait_until(lambda: not processes_of(name), "all processes end")

    for command in ("status", "down"):
        said = run(command, "--name", name).output
        assert f"Cluster [{name}] does not run: it ended unexpectedly at 2" in said
        assert f"see `taskfan logs supervisor --name {name}`" in said
    log = run("logs", "supervisor", "--name", name).output
    words = [
        "started: cluster",
        "ready after ",
        "ended: the supervisor is gone" if is_supervisor else "ended: The pro",
    ]
    assert [word in line for word, line in zip(words, log.splitlines(), strict=True)] == [True, True, True]
