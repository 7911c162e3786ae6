"""Proves what is on disk: private, locked once, short enough for sockets, and clear errors when it cannot be."""

from __future__ import annotations

import errno
import io
import os
import pwd
import re
import subprocess
import sys
from pathlib import Path

import pytest

from taskfan.cluster.control_server import ControlServer
from taskfan.cluster.errors import ClusterError, ConfigError
from taskfan.cluster.state_directory import (
    MAX_LOG_BYTES,
    ClusterRecord,
    NodeRecord,
    RunRecord,
    StateDirectory,
    last_lines,
    running_clusters,
    state_root,
)
from taskfan.cluster.supervisor_log import note, unexpected_end


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDirectory:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    made = StateDirectory.named("demo")
    made.prepare()
    return made


def test_only_its_owner_may_look_into_it(directory: StateDirectory, tmp_path: Path) -> None:
    assert directory.path == tmp_path / "taskfan" / "demo"
    assert directory.path.stat().st_mode & 0o777 == 0o700


def test_a_second_supervisor_is_told_that_the_name_is_taken(directory: StateDirectory) -> None:
    directory.lock()
    directory.write_running(RunRecord(os.getpid(), directory.socket_path))
    with pytest.raises(ClusterError, match=rf"Cluster \[demo\] runs already \(supervisor: process {os.getpid()}\)"):
        StateDirectory.named("demo").lock()
    assert running_clusters() == ["demo"]
    directory.unlock()


def test_a_lock_ends_with_its_process_and_what_that_left_is_cleaned_up(directory: StateDirectory) -> None:
    code = (
        "import os; from taskfan.cluster.state_directory import *; d = StateDirectory.named('demo'); d.lock();"
        "d.write_running(RunRecord(os.getpid(), d.socket_path)); open(d.socket_path, 'w'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False, timeout=30)
    assert directory.running() is not None
    assert running_clusters() == []

    directory.lock()

    assert directory.running() is None
    assert not os.path.exists(directory.socket_path)
    directory.unlock()


def test_ids_and_ports_are_read_back(directory: StateDirectory) -> None:
    assert directory.read_cluster() is None
    record = ClusterRecord("uuid", {"node1": NodeRecord("id", 9200, 9300)})
    directory.write_cluster(record)
    assert directory.read_cluster() == record
    assert sorted(path.name for path in directory.path.iterdir()) == ["cluster.json", "logs", "nodes"]


def test_damaged_records_count_as_gone(directory: StateDirectory) -> None:
    (directory.path / "cluster.json").write_text("{")
    assert directory.read_cluster() is None


def test_a_path_too_long_for_a_socket_gets_a_short_private_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Path("/tmp") / f"t{os.getpid()}-run"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    directories = [StateDirectory(tmp_path / ("d" * 120) / name) for name in ("a", "b")]
    long = [directory.socket_path for directory in directories]
    assert Path(long[0]).parent == runtime / "taskfan"
    assert long[0] != long[1]
    assert max(len(path) for path in long) <= 100
    assert Path(long[0]).parent.stat().st_mode & 0o777 == 0o700
    Path(long[0]).touch()
    for directory in directories:
        directory.clean_run()
    assert not Path(long[0]).parent.exists()
    runtime.rmdir()


def test_a_short_place_that_others_can_write_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = Path("/tmp") / f"t{os.getpid()}"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
    (short / "taskfan").mkdir(parents=True)
    (short / "taskfan").chmod(0o777)
    try:
        with pytest.raises(ClusterError, match="is not a private directory of yours"):
            _ = StateDirectory(tmp_path / ("d" * 120)).socket_path
    finally:
        (short / "taskfan").rmdir()
        short.rmdir()


def test_a_place_that_cannot_be_written_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not even an administrator makes directories there.
    monkeypatch.setenv("XDG_STATE_HOME", "/proc")
    with pytest.raises(ClusterError, match=r"Cannot write to the state directory /proc/taskfan/demo: .*XDG_STATE_HOME"):
        StateDirectory.named("demo").prepare()


def test_a_full_disk_is_an_error_that_says_what_to_do(
    directory: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: object) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ClusterError, match=re.escape("No space left on device. Make room there")):
        directory.write_cluster(ClusterRecord("uuid", {}))
    assert sorted(path.name for path in directory.path.iterdir()) == ["logs", "nodes"]


def test_a_token_that_finds_no_room_is_such_an_error_too(
    directory: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(ClusterError, match=re.escape("No space left on device. Make room there")):
        ControlServer(None, directory)._write_token("token")  # type: ignore[arg-type]


def test_a_supervisor_whose_log_is_full_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sys, "stderr", Full())
    note("cluster [demo] started")


def test_a_log_that_grew_too_long_is_set_aside_once(directory: StateDirectory) -> None:
    path = directory.log_of("node1")
    for content in ("first", "second"):
        path.write_text(content)
        os.truncate(path, MAX_LOG_BYTES + 1)
        os.close(directory.open_log(path))
    assert path.stat().st_size == 0
    assert sorted(path.name for path in directory.logs.iterdir()) == ["node1.log", "node1.log.1"]


def test_a_run_keeps_the_logs_of_its_own_nodes_only(directory: StateDirectory) -> None:
    for name in ("node1.log", "node1.log.1", "gone.log", "gone.log.1"):
        (directory.logs / name).touch()
    directory.forget_logs_but(["node1", "node2"])
    assert sorted(path.name for path in directory.logs.iterdir()) == ["node1.log", "node1.log.1"]


def test_logs_are_found_by_names_and_by_nothing_else(directory: StateDirectory) -> None:
    directory.supervisor_log.touch()
    directory.log_of("node1").touch()
    assert directory.find_logs("node1") == [directory.log_of("node1")]
    assert directory.find_logs("supervisor") == [directory.supervisor_log]
    assert directory.find_logs("n*e1") == [directory.log_of("node1")]
    assert directory.find_logs("../supervisor") == []
    with pytest.raises(ConfigError, match=r"A cluster's name is .*; not \[\.\./demo\]"):
        StateDirectory.named("../demo")


def test_a_relative_state_home_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "here")
    assert StateDirectory.named("demo").path == Path.home() / ".local" / "state" / "taskfan" / "demo"


def test_a_directory_that_is_forgotten_is_not_locked_any_more(directory: StateDirectory) -> None:
    directory.lock()
    assert directory.is_locked_here()
    directory.forget()
    assert not directory.is_locked_here()
    # Somebody else begins it anew, whoever still holds the old lock.
    again = StateDirectory.named("demo")
    again.prepare()
    again.lock()
    assert again.is_new
    assert again.is_locked_here()
    assert not directory.is_locked_here()
    again.unlock()
    directory.unlock()


def test_the_end_of_a_log_is_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"line {number} {'x' * 50}\n" for number in range(1000)))
    assert [line.split()[1] for line in last_lines(path, 3)] == ["997", "998", "999"]
    assert last_lines(tmp_path / "missing") == []


def test_a_temporary_directory_goes_with_its_cluster() -> None:
    directory = StateDirectory.make_temporary()
    directory.prepare()
    directory.remove_if_temporary()
    directory.remove_if_temporary()
    assert not directory.path.exists()


def test_an_empty_home_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "")
    assert state_root() == Path(pwd.getpwuid(os.getuid()).pw_dir) / ".local" / "state" / "taskfan"


@pytest.mark.parametrize(
    ("lines", "end"),
    [
        ([], ""),
        (["started: x", "ready: x", "stopping: as it was told"], ""),
        (["started: x", "failed to start: a port"], ""),
        (["started: x", "failed to start: a port", "ended: gone, and with it 2 nodes"], ""),
        (["started: x", "ready: x", "ended: why"], "at 2026-01-02T03:04:07 UTC"),
        (["started: x", "stopping: x", "started: x"], "some time after 2026-01-02T03:04:07 UTC"),
    ],
    ids=lambda value: f"{len(value)}-lines" if isinstance(value, list) else "",
)
def test_the_log_of_a_supervisor_tells_whether_its_end_was_wanted(lines: list[str], end: str, tmp_path: Path) -> None:
    log = tmp_path / "supervisor.log"
    head = "[2026-01-02T03:04:{:02},678][INFO ][taskfan.supervisor] [supervisor] "
    log.write_text("".join(f"{head.format(5 + at)}{line}\nother words\n" for at, line in enumerate(lines)))
    assert unexpected_end(log) == end
