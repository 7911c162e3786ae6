"""Proves what a user's test run shows of faults: one that never struck fails its test, with a line to paste."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # The options of the run that runs this are none of the inner one.
    for name in ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TASKFAN_SEED", "482")


def test_a_fault_that_never_struck_fails_its_test_and_a_seed_is_taken_from_the_environment(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_inner="""
        import pytest

        @pytest.mark.nodes(2)
        def test_idle(opensearch_cluster):
            with opensearch_cluster.faults.drop("no:such", probability=0.5):
                pass

        def test_wrong(opensearch_cluster):
            assert opensearch_cluster.faults.seed == 482
            with opensearch_cluster.faults.fail("*lists[n]", to="*2"):
                assert "node_failures" not in opensearch_cluster.list_tasks()

        def test_right(opensearch_cluster):
            with opensearch_cluster.faults.fail("*lists[n]", to="*2", error={"type": "io_exception"}) as fault:
                [failure] = opensearch_cluster.list_tasks()["node_failures"]
            assert failure["caused_by"]["type"] == "io_exception"
            assert fault.hit_count == 1
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*FaultNeverFired: The fault fault-1 (kind=drop, action=no:such, probability=0.5, *) spoiled nothing.*",
            "*REPRODUCE WITH: TASKFAN_SEED=482 pytest *test_inner.py::test_idle",
            "*REPRODUCE WITH: TASKFAN_SEED=482 pytest *test_inner.py::test_wrong",
        ]
    )


def test_what_a_test_forgets_or_asserts_too_late_fails_it_with_a_line_to_paste_where_pytest_runs(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = pytester.mkdir("inner")
    pytester.makeini("[pytest]")
    (inner / "test_inner.py").write_text(
        """
import pytest
from taskfan.cluster import ClusterError

pytestmark = pytest.mark.nodes(2)

def test_forgets_to_set(opensearch_cluster):
    opensearch_cluster.faults.drop("*lists[n]", to="*2")
    opensearch_cluster.faults.pause("opensearch-node2")

def test_misspells(opensearch_cluster):
    with pytest.raises(ClusterError, match=r"\\[acton\\] is no field .* Did you mean \\[action\\]"):
        opensearch_cluster.faults.drop(to="*2", acton="x")
    with pytest.raises(ClusterError, match=r"\\[rules\\[1\\].on\\] .* It is one of request, reply"):
        opensearch_cluster.faults.rules([{"kind": "drop"}, {"kind": "drop", "on": "answer"}])

def test_asserts_after_the_block(opensearch_cluster):
    with opensearch_cluster.faults.fail("*lists[n]", to="*2") as fault:
        opensearch_cluster.list_tasks(node="opensearch-node1")
    assert fault.hit_count == 77
"""
    )
    monkeypatch.chdir(inner)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(
        [
            "a fault (kind=drop, action=[*]lists[[]n[]], to=[*]2) was made and never set: use it in a `with` block*",
            "a condition of opensearch-node2 was made and never set: *",
            "*assert 1 == 77",
            "*REPRODUCE WITH: TASKFAN_SEED=482 pytest test_inner.py::test_asserts_after_the_block",
        ]
    )


def test_a_fault_that_is_set_without_a_block_has_to_strike_as_well(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_inner="""
        import pytest
        from taskfan.cluster import Cluster

        pytestmark = pytest.mark.nodes(nodes=2)

        def test_own(opensearch_cluster):
            opensearch_cluster.faults.drop("*lists[n]").set()

        def test_shared(opensearch_cluster_proc):
            opensearch_cluster_proc.faults.drop("*lists[n]").set()
            opensearch_cluster_proc.faults.fail("no:such", may_not_fire=True).set()

        def test_strikes(opensearch_cluster):
            opensearch_cluster.faults.fail("*lists[n]").set()
            opensearch_cluster.list_tasks()

        def test_undone(opensearch_cluster):
            opensearch_cluster.faults.fail("*lists[n]").set()
            opensearch_cluster.faults.reset()

        @pytest.fixture(scope="module")
        def spoiled():
            with Cluster(nodes=2) as cluster:
                cluster.faults.fail("*tasks/ban").set()
                yield cluster

        def test_of_a_longer_fixture(spoiled):
            spoiled.list_tasks()
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=2, passed=3)
    result.stdout.fnmatch_lines(
        [
            "The fault fault-1 (kind=drop, action=[*]lists[[]n[]]) spoiled nothing. If that may be, say *",
            "REPRODUCE WITH: TASKFAN_SEED=482 pytest test_inner.py::test_own",
            "The fault fault-1 (kind=drop, action=[*]lists[[]n[]]) spoiled nothing. *",
            "REPRODUCE WITH: TASKFAN_SEED=482 pytest test_inner.py::test_shared",
        ]
    )


def test_the_journal_beside_a_failure_ends_with_what_the_test_did(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_inner="""
        import pytest

        @pytest.mark.nodes(time_scale=0.05, journal=True)
        def test_fails(opensearch_cluster):
            with opensearch_cluster.faults.drop("*lists[n]", to="*2", on="reply") as fault:
                opensearch_cluster.list_tasks(node="opensearch-node1", timeout="1s")
            assert fault.hit_count == 77
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    _, _, after = result.stdout.str().partition(" journal of taskfan ")
    lines = after.splitlines()[1:]
    assert "earlier entries and checks that went well: `cluster.journal()` has all" in lines[0]
    shown = [line for line in lines[1:] if "  opensearch-node" in line]
    assert 10 < len(shown) <= 60
    assert [line for line in shown if "dropped by fault fault-1" in line]
    assert not [line for line in shown if "fault_detection" in line]
    spoiled = "\n".join(shown).partition("obeys fault-1")[2]
    assert spoiled.count("cluster:monitor/tasks/lists\n") == 2, "begin and end of the list of the test, and no other"
