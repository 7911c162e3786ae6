"""Clusters for tests: fixtures, the marker `nodes`, logs beside failures, and leaks as failures.

Loaded in every pytest run of its users, so it imports nothing else before a fixture is used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

    from taskfan.cluster.cluster import Cluster
    from taskfan.cluster.merged_journal import MergedJournal

DEFAULT_NODES = 3
# A test that names one of these starts a cluster of its own, or several.
_START_ONE = {"opensearch_cluster", "opensearch_cluster_factory"}
_SHOWN_NODES = 10
_SHOWN_EVENTS = 60
# Where `taskfan.cluster.faults` finds the running test, as pytest takes it from where it was started.
_TEST_VARIABLE = "TASKFAN_TEST"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "nodes(n, **options): how many nodes the fixture `opensearch_cluster` starts (3 unless said), or what else "
        "`Cluster` takes: @pytest.mark.nodes(5, time_scale=0.1, journal=True)",
    )


@pytest.fixture(scope="session")
def _opensearch_warm(request: pytest.FixtureRequest) -> Iterator[None]:
    """Quick starts, if this run has tests that start more than one cluster."""
    shared = sum("opensearch_cluster_proc" in names for names in map(_fixtures_of, request.session.items))
    own = sum(not _START_ONE.isdisjoint(names) for names in map(_fixtures_of, request.session.items))
    if own + min(shared, 1) < 2:
        yield
        return
    from taskfan.cluster.warm import keep_warm

    with keep_warm():
        yield


def _fixtures_of(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])


@pytest.fixture
def opensearch_cluster(request: pytest.FixtureRequest, _opensearch_warm: None) -> Iterator[Cluster]:
    """A cluster of this test alone, of as many nodes as `@pytest.mark.nodes(n)` says, 3 without."""
    with _started(**_options_of(request.node.get_closest_marker("nodes"))) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def opensearch_cluster_proc(_opensearch_warm: None) -> Iterator[Cluster]:
    """A cluster of 3 nodes for all tests of this process; under xdist each worker has its own.

    After each test it recovers: faults end, all nodes run, tasks are cancelled. Indices stay.
    """
    with _started(nodes=DEFAULT_NODES) as cluster:
        yield cluster


@pytest.fixture
def opensearch_cluster_factory(_opensearch_warm: None) -> Iterator[Callable[..., Cluster]]:
    """Call it with the arguments of `Cluster` for as many clusters as a test needs; they end with the test."""
    with ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(_started(*args, **options))


@pytest.fixture
def opensearch_client(opensearch_cluster: Cluster) -> Iterator[OpenSearch]:
    """A client of opensearch-py that knows all nodes of `opensearch_cluster`."""
    try:
        import opensearchpy
    except ImportError:
        pytest.fail("opensearch_client needs opensearch-py: pip install 'taskfan[clients]'", pytrace=False)
    client = opensearchpy.OpenSearch(hosts=opensearch_cluster.urls)
    yield client
    client.close()


def _options_of(marker: pytest.Mark | None) -> dict[str, Any]:
    if marker is None:
        return {"nodes": DEFAULT_NODES}
    if not marker.args:
        return dict(marker.kwargs)
    if len(marker.args) != 1 or not isinstance(marker.args[0], int) or "nodes" in marker.kwargs:
        raise pytest.UsageError("the marker is written @pytest.mark.nodes(5), or nodes(5, time_scale=0.1)")
    return {"nodes": marker.args[0], **marker.kwargs}


@contextmanager
def _started(*args: Any, **options: Any) -> Iterator[Cluster]:
    from taskfan.cluster.cluster import Cluster, footprints

    cluster = Cluster(*args, **options).start()
    footprint = footprints[-1]
    try:
        yield cluster
    finally:
        cluster.stop()
        footprints.remove(footprint)
        _fail_for(footprint.left_over())


def _fail_for(left_over: list[str]) -> None:
    if left_over:
        pytest.fail("a cluster of this test was not gone at its end:\n" + "\n".join(left_over), pytrace=False)


# ---------------------------------------------------------------------- clusters that a test starts by itself


def _cluster_module() -> Any:
    """The module of `Cluster`, if a test has imported it."""
    return sys.modules.get("taskfan.cluster.cluster")


def _hand_over(item: pytest.Item) -> None:
    """The shared cluster goes to the next test: without what this one did to it and did not take back."""
    cluster = getattr(item, "funcargs", {}).get("opensearch_cluster_proc")
    # One that the test has stopped has nothing any more.
    if cluster is not None and cluster.is_running:
        cluster.recover()


def _never_set() -> list[str]:
    """The faults that were made since the last call and never set."""
    scopes = sys.modules.get("taskfan.cluster.fault_scopes")
    if scopes is None:
        return []
    found, scopes.never_set[:] = list(scopes.never_set), []
    return found


def _in_force() -> list[Any]:
    """What faults of clusters that live are set."""
    return [scope for faults in _faults_in_use() for scope in faults.active]


def _never_struck(known: list[Any]) -> list[str]:
    """The faults that are set, but for those `known` before, and spoiled nothing; how to draw their chances again."""
    found = []
    for faults in _faults_in_use():
        # Of a cluster that does not answer any more nobody can tell.
        with suppress(Exception):
            if idle := faults.never_struck(known):
                found += [*idle, faults.reproduce_with()]
    return found


def _faults_in_use() -> list[Any]:
    module = _cluster_module()
    clusters = module.live_clusters.values() if module is not None else ()
    return [cluster.faults for cluster in clusters if cluster.has_faults]


def _as_typed(item: pytest.Item) -> str:
    """The id of a test with its path from where pytest was started, while `nodeid` has it from the root."""
    _, separator, inside = item.nodeid.partition("::")
    return os.path.relpath(item.path, item.config.invocation_params.dir) + separator + inside


def _note_seeds(error: BaseException) -> None:
    """Beside what went wrong: how the same chances are drawn again."""
    for cluster in _cluster_module().live_clusters.values():
        if cluster.has_faults:
            cluster.faults.note_in(error)


def _journals() -> Iterator[tuple[str, str]]:
    """What the nodes of clusters with faults noted: a heading and a table for each."""
    for cluster in _cluster_module().live_clusters.values():
        if not cluster.has_faults:
            continue
        # Beside a failure nothing else may fail.
        with suppress(Exception):
            if (journal := cluster.journal()).entries:
                yield f"journal of {cluster.name}", _end_of(journal)


def _end_of(journal: MergedJournal) -> str:
    """The last entries that tell more than that all was well, and where the others are."""
    from taskfan.cluster.whole import OPAQUE_ID

    lines = journal.without_routine(OPAQUE_ID).table().splitlines()[-_SHOWN_EVENTS:]
    rest = len(journal) - len(lines)
    head = [f"without {rest} earlier entries and checks that went well: `cluster.journal()` has all"] if rest else []
    return "\n".join([*head, *lines])


_of_call = pytest.StashKey[list[Any]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Note which clusters the test itself starts: those of fixtures may live longer. Its faults are set and strike."""
    module = _cluster_module()
    known = list(module.footprints) if module is not None else []
    _never_set()
    in_force = _in_force()
    os.environ[_TEST_VARIABLE] = _as_typed(item)
    try:
        result = yield
        if problems := _never_set() + _never_struck(in_force):
            pytest.fail("\n".join(problems), pytrace=False)
        return result
    except BaseException as error:
        if _cluster_module() is not None:
            _note_seeds(error)
        raise
    finally:
        del os.environ[_TEST_VARIABLE]
        module = _cluster_module()
        if module is not None:
            item.stash[_of_call] = [footprint for footprint in module.footprints if footprint not in known]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """After the fixtures are gone, nothing of what the test started may be left."""
    _hand_over(item)
    result = yield
    left_over: list[str] = []
    module = _cluster_module()
    for footprint in item.stash.get(_of_call, []):
        if footprint not in module.footprints:
            continue
        module.footprints.remove(footprint)
        left_over += footprint.left_over()
        if (cluster := module.live_clusters.get(footprint.run_id)) is not None:
            cluster.stop()
    _fail_for(left_over)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the last log lines of the nodes beside a failure."""
    report = yield
    module = _cluster_module()
    if module is not None and report.failed:
        logs = dict(module.last_words)
        for cluster in module.live_clusters.values():
            logs |= cluster.last_log_lines()
        report.sections += [(f"log of {name}", "\n".join(lines)) for name, lines in list(logs.items())[:_SHOWN_NODES]]
        report.sections += list(_journals())
    if module is not None and call.when == "teardown":
        module.last_words.clear()
    return report
