"""Proves which clusters come from a template, that they are as those that begin anew, and when a template is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskfan.cluster import Cluster, keep_warm, warm
from taskfan.cluster.leaks import commands
from taskfan.cluster.spawn import can_fork
from tests.cluster.processes import is_alive, parent_of, processes_of, wait_until

pytestmark = pytest.mark.skipif(not can_fork(), reason="clusters are only forked where that is safe")
pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process that has not started a cluster."""
    # What tests before this one kept would be counted; those after it have it made again.
    warm._warmth.end()
    warmth = warm._Warmth()
    monkeypatch.setattr(warm, "_warmth", warmth)
    yield
    warmth.end()


def templates(parent: int) -> list[int]:
    """The templates that this process keeps."""
    return [pid for pid, command in commands() if warm.TEMPLATE in command and parent_of(pid) == parent]


def the_template(parent: int) -> int:
    """The one that it keeps; its command is to be read a moment after it was started."""
    wait_until(lambda: templates(parent), "a template is there")
    (template,) = templates(parent)
    return template


def start_and_stop() -> int:
    """Which process made the supervisor of a cluster that is gone again."""
    with Cluster(nodes=1) as cluster:
        return parent_of(cluster.status().supervisor_pid)


def test_from_the_second_cluster_of_a_process_on_one_template_makes_them() -> None:
    assert start_and_stop() == os.getpid()
    assert templates(os.getpid()) == []
    second, third = start_and_stop(), start_and_stop()
    assert [second] == [third] == templates(os.getpid())


def test_within_keep_warm_the_first_cluster_is_forked_too_and_afterwards_nothing_is_kept() -> None:
    with keep_warm():
        template = the_template(os.getpid())
        with keep_warm():
            assert start_and_stop() == template
        assert start_and_stop() == template
    assert not is_alive(template)
    assert templates(os.getpid()) == []


def test_a_cluster_outlives_the_template_that_made_it_and_ends_without_a_trace() -> None:
    with keep_warm():
        cluster = Cluster(nodes=2, name="forked").start()
    with cluster:
        # Supervisor, fork server and two members, all under the cluster's name as if it had been executed.
        assert len(processes_of("forked")) == 4
        assert len(cluster.list_tasks()["nodes"]) == 2
        cluster.nodes[0].restart()
    assert processes_of("forked") == []
    assert not cluster.is_running


def test_clusters_of_one_template_run_side_by_side_with_ids_of_their_own() -> None:
    with keep_warm(), Cluster(nodes=1) as one, Cluster(nodes=1) as other:
        assert one.url != other.url
        assert one.nodes[0].id != other.nodes[0].id
        assert one.directory != other.directory


def test_a_supervisor_is_where_its_owner_is_with_the_environment_that_has_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with keep_warm():
        template = the_template(os.getpid())
        start_and_stop()
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr("tempfile.tempdir", None)
        monkeypatch.chdir(tmp_path)
        with Cluster(nodes=1) as cluster:
            supervisor = cluster.status().supervisor_pid
            assert parent_of(supervisor) == template
            assert cluster.directory.parent == tmp_path
            assert Path(f"/proc/{supervisor}/cwd").resolve() == tmp_path


def test_a_variable_that_an_interpreter_reads_as_it_begins_makes_another_template(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with keep_warm():
        before = the_template(os.getpid())
        monkeypatch.setenv("PYTHONUTF8", "1")
        (after,) = {start_and_stop(), start_and_stop()}
        assert templates(os.getpid()) == [after]
        assert after != before
        monkeypatch.setenv("TASKFAN_FORK", "0")
        assert start_and_stop() == os.getpid()
        assert templates(os.getpid()) == []


def test_without_a_template_that_answers_a_cluster_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    with keep_warm():
        killed = the_template(os.getpid())
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: not is_alive(killed), "it has ended")
        assert start_and_stop() == os.getpid()
        silent = start_and_stop()
        assert silent not in (killed, os.getpid())
        os.kill(silent, signal.SIGSTOP)
        monkeypatch.setattr(warm, "_ANSWER_LIMIT_S", 0.1)
        assert start_and_stop() == os.getpid()
        assert not is_alive(silent)


def test_a_template_that_cannot_make_a_supervisor_is_done_without_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # No room for the command of a supervisor; were it waited for, this would take longer than a test may.
    monkeypatch.setattr(warm, "_LINE", "")
    monkeypatch.setattr(warm, "_ANSWER_LIMIT_S", 10_000.0)
    with keep_warm():
        template = the_template(os.getpid())
        with Cluster(nodes=1, name="n" * 100) as cluster:
            assert parent_of(cluster.status().supervisor_pid) == os.getpid()
        assert not is_alive(template)


def test_the_longest_name_has_room_in_the_command() -> None:
    name = "ŋ" * 50 + "𐐀" * 50
    with keep_warm(), Cluster(nodes=1, name=name) as cluster:
        assert parent_of(cluster.status().supervisor_pid) != os.getpid()
        assert len(processes_of(name)) == 3


def test_a_fork_neither_uses_nor_ends_the_template_of_its_parent() -> None:
    with keep_warm():
        template = the_template(os.getpid())
        told, tell = os.pipe()
        child = os.fork()
        if child == 0:
            made_by = [start_and_stop(), start_and_stop()]
            os.write(tell, repr((made_by[0] == os.getpid(), made_by[1] in templates(os.getpid()))).encode())
            warm._warmth.end()
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(told, 100) == b"(True, True)"
        os.close(told)
        os.close(tell)
        assert start_and_stop() == template


OWNER = """
import os, sys
from taskfan.cluster import Cluster, keep_warm

with keep_warm():
    cluster = Cluster(nodes=1, name=sys.argv[1]).start()
    print(flush=True)
    if sys.argv[2] == "forks" and os.fork() == 0:
        sys.stdin.read()
        os._exit(0)
    sys.stdin.readline()
    if sys.argv[2] == "exits":
        os._exit(0)
"""


@pytest.mark.parametrize("how", ["is killed", "exits", "forks", "returns"])
def test_a_template_ends_with_its_owner_however_that_ends(how: str) -> None:
    name = "of-" + how.replace(" ", "-")
    with subprocess.Popen([sys.executable, "-c", OWNER, name, how], stdin=-1, stdout=-1) as owner:
        assert owner.stdin is not None
        assert owner.stdout is not None
        owner.stdout.readline()
        template = the_template(owner.pid)
        members = processes_of(name)
        assert len(members) == 3
        if how in ("is killed", "forks"):
            # One that was forked lives on, with copies of all that its parent had open.
            owner.kill()
        else:
            owner.stdin.write(b"\n")
            owner.stdin.flush()
        owner.wait(timeout=20)
        wait_until(lambda: not is_alive(template), f"the template of an owner that {how} ends")
        wait_until(lambda: not any(map(is_alive, members)), f"the cluster of an owner that {how} ends")


ENDS_BY_SIGPIPE = """
import os, signal
from taskfan.cluster import Cluster, keep_warm, warm

signal.signal(signal.SIGPIPE, signal.SIG_DFL)
with keep_warm():
    with Cluster(nodes=1):
        process = warm._warmth._template._process
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with Cluster(nodes=1):
        print("started")
"""


def test_a_program_that_a_broken_pipe_ends_goes_on_without_its_template() -> None:
    program = [sys.executable, "-c", ENDS_BY_SIGPIPE]
    told = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert (told.stdout, told.returncode) == ("started\n", 0)


def test_in_pytest_a_run_with_several_clusters_makes_all_of_them_from_one_template(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os
        from pathlib import Path
        import pytest

        MADE_BY = []

        def made_by(cluster):
            pid = cluster.status().supervisor_pid
            return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

        @pytest.mark.nodes(1)
        def test_one(opensearch_cluster):
            MADE_BY.append(made_by(opensearch_cluster))
            assert MADE_BY[0] != os.getpid()

        @pytest.mark.nodes(1)
        def test_other(opensearch_cluster):
            assert [made_by(opensearch_cluster)] == MADE_BY
        """
    )
    plain = ("-p", "no:cacheprovider", "-p", "no:xdist")
    pytester.runpytest_subprocess(*plain).assert_outcomes(passed=2)
    # A single one begins anew.
    pytester.runpytest_subprocess(*plain, "-k", "test_one").assert_outcomes(failed=1)
