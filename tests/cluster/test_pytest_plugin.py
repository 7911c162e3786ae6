"""Proves the fixtures, the marker, logs beside failures, and that a leak fails the test that leaked."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # The options of the run that runs this are none of the inner one.
    for name in ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)


def test_loading_the_plugin_imports_nothing_else_of_taskfan() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import taskfan.cluster.pytest_plugin;"
        "print(sorted(set(sys.modules) - before))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert told.stdout == "['taskfan', 'taskfan.cluster', 'taskfan.cluster.pytest_plugin']\n"


def test_fixtures_give_clusters_of_the_wanted_size(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        SHARED = []

        @pytest.mark.nodes(2)
        def test_marker(opensearch_cluster):
            assert len(opensearch_cluster.list_tasks()["nodes"]) == 2

        def test_client(opensearch_client, opensearch_cluster):
            assert len(opensearch_client.tasks.list()["nodes"]) == len(opensearch_cluster.nodes) == 3

        def test_factory(opensearch_cluster_factory):
            one, two = opensearch_cluster_factory(1), opensearch_cluster_factory(nodes=1, name="other")
            assert one.url != two.url
            assert two.name == "other"

        @pytest.mark.parametrize("time", [1, 2])
        def test_shared(opensearch_cluster_proc, time):
            SHARED.append(opensearch_cluster_proc)
            assert opensearch_cluster_proc is SHARED[0]
            assert len(opensearch_cluster_proc.nodes) == 3
            # What the test before it left is not there any more.
            assert opensearch_cluster_proc.faults.all() == []
            assert [node.state for node in opensearch_cluster_proc.nodes] == ["running"] * 3
            assert opensearch_cluster_proc.list_tasks(actions="left")["nodes"] == {}
            opensearch_cluster_proc.start_work({"action": "left", "duration": "60s"}, node="opensearch-node1")
            opensearch_cluster_proc.faults.drop(action="*lists[n]", may_not_fire=True).set()
            opensearch_cluster_proc.nodes[1].pause()
            opensearch_cluster_proc.nodes[2].kill()

        @pytest.mark.nodes(1, time_scale=0.5, journal=True)
        def test_options(opensearch_cluster):
            opensearch_cluster.list_tasks()
            assert opensearch_cluster.journal().entries

        @pytest.mark.nodes(time_scale=0.5)
        def test_options_alone(opensearch_cluster):
            assert len(opensearch_cluster.nodes) == 3

        @pytest.mark.nodes(nodes=2)
        def test_number_by_name(opensearch_cluster):
            assert len(opensearch_cluster.nodes) == 2

        @pytest.mark.nodes("2")
        def test_wrong_marker(opensearch_cluster):
            pass
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--strict-markers")
    result.assert_outcomes(passed=8, errors=1)
    result.stdout.fnmatch_lines(["*the marker is written @pytest.mark.nodes(5), or nodes(5, time_scale=0.1)*"])


def test_a_failure_shows_the_logs_and_a_leak_fails_its_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from taskfan.cluster import Cluster

        KEPT = []

        @pytest.mark.nodes(1)
        def test_fails(opensearch_cluster):
            opensearch_cluster.switch_journal(True)
            assert opensearch_cluster.faults.all() == []
            opensearch_cluster.list_tasks()
            assert False

        def test_fails_inside_its_own_cluster():
            with Cluster(nodes=1, node_name="mine-{n}"):
                assert False

        def test_leaks():
            KEPT.append(Cluster(nodes=1, node_name="left-{n}").start())

        @pytest.fixture(scope="module")
        def long():
            with Cluster(nodes=1) as cluster:
                yield cluster

        def test_keeps_what_a_fixture_keeps(long):
            pass

        def test_uses_it_again(long):
            assert long.nodes[0].state == "running"
            assert KEPT[0].nodes
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-rA")
    result.assert_outcomes(failed=2, passed=3, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_leaks*",
            "a cluster of this test was not gone at its end:",
            "process * lives: * taskfan.cluster.supervisor taskfan *",
            "* log of opensearch-node1 *",
            "*serving http*",
            "* journal of taskfan *",
            "*cluster:monitor/tasks/lists*",
            "* log of mine-1 *",
            "*serving http*",
        ]
    )


def test_clusters_of_xdist_workers_do_not_meet(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(4))
        @pytest.mark.nodes(1)
        def test_alone(opensearch_cluster, number):
            assert len(opensearch_cluster.list_tasks()["nodes"]) == 1
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "2").assert_outcomes(passed=4)
