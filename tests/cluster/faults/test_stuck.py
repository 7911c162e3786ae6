"""Proves that each kind of stuck task is stuck as it says, and that the end of its block undoes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from taskfan.cluster import Cluster
from taskfan.cluster.rest_client import RequestFailed, ask
from tests.cluster.processes import wait_until


@pytest.fixture(scope="module")
def shared() -> Iterator[Cluster]:
    with Cluster(nodes=3, time_scale=0.1) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: Cluster) -> Iterator[Cluster]:
    yield shared
    assert shared.faults.all() == []
    assert [node.state for node in shared.nodes] == ["running"] * 3


def task_of(cluster: Cluster, task_id: str) -> dict[str, Any] | None:
    """The task as its node shows it; None when it does not run."""
    try:
        answer = ask(cluster.nodes[0].url, "GET", f"/_tasks/{task_id}")
    except RequestFailed as error:
        if error.status != 404:
            raise
        return None
    task: dict[str, Any] = answer["task"]
    return None if answer["completed"] else task


def is_cancelled(cluster: Cluster, task_id: str) -> bool | None:
    """Whether it runs and was cancelled; None when it does not run."""
    task = task_of(cluster, task_id)
    return None if task is None else task["cancelled"]


def test_a_task_that_ignores_its_cancel_is_cancelled_and_runs(cluster: Cluster) -> None:
    with cluster.faults.stuck.ignores_cancel(duration="1s") as stuck:
        assert is_cancelled(cluster, stuck.task_id) is True
    wait_until(lambda: task_of(cluster, stuck.task_id) is None, "its time is over")


def test_a_task_that_stops_late_is_cancelled_and_runs_for_a_while(cluster: Cluster) -> None:
    with cluster.faults.stuck.stops_late(after="1s") as stuck:
        assert is_cancelled(cluster, stuck.task_id) is True
    wait_until(lambda: task_of(cluster, stuck.task_id) is None, "it stops")


def test_after_a_lost_ban_the_child_knows_nothing_of_the_cancel(cluster: Cluster) -> None:
    with cluster.faults.stuck.lost_ban() as stuck:
        assert is_cancelled(cluster, stuck.parent_task_id) is True
        assert is_cancelled(cluster, stuck.task_id) is False
        assert stuck.fault is not None
        assert stuck.fault.hit_count == 1
    assert task_of(cluster, stuck.task_id) is task_of(cluster, stuck.parent_task_id) is None


def test_after_a_lost_unban_all_tasks_are_gone_and_the_ban_is_not(cluster: Cluster) -> None:
    asking, asked = cluster.nodes[1], cluster.nodes[0]
    with cluster.faults.stuck.lost_unban(asking, asked) as stuck:
        assert task_of(cluster, stuck.task_id) is task_of(cluster, stuck.parent_task_id) is None
        assert stuck.fault is not None
        [hit] = stuck.fault.hits
        assert (hit["from"], hit["to"], hit["action"]) == (asking.name, asked.name, "internal:admin/tasks/ban")


def test_a_child_outlives_its_parent(cluster: Cluster) -> None:
    with cluster.faults.stuck.child_outlives_parent() as stuck:
        child = task_of(cluster, stuck.task_id)
        assert child is not None
        assert (child["parent_task_id"], child["cancelled"]) == (stuck.parent_task_id, False)
        assert task_of(cluster, stuck.parent_task_id) is None
    assert task_of(cluster, stuck.task_id) is None


def test_an_orphan_runs_after_its_coordinator_died(cluster: Cluster) -> None:
    with cluster.faults.stuck.orphan(cluster.nodes[2], duration="3s") as stuck:
        assert cluster.nodes[2].state == "stopped"
        child = task_of(cluster, stuck.task_id)
        assert child is not None
        assert child["parent_task_id"] == stuck.parent_task_id
    wait_until(lambda: task_of(cluster, stuck.task_id) is None, "its time is over")
