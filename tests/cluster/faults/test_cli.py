"""Proves `taskfan fault`, `partition` and `heal` on a cluster that was started from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskfan.cluster import Cluster

TASKFAN = str(Path(sys.executable).with_name("taskfan"))
NAME = "faults-cli"


def taskfan(*words: str, status: int = 0) -> str:
    """What it says: on success what it prints, otherwise its error."""
    done = subprocess.run([TASKFAN, *words, "--name", NAME], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr
    return (done.stderr if status else done.stdout).strip()


@pytest.fixture(scope="module", autouse=True)
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        taskfan("up", "-n", "3", "--any-port")
        try:
            yield
        finally:
            taskfan("down")


def test_a_fault_is_added_listed_seen_and_removed() -> None:
    words = [
        "--to",
        "*2",
        "--action",
        "*lists[n]",
        "--first",
        "1",
        "--error-type",
        "io_exception",
        "--fault-name",
        "mine",
    ]
    fault = taskfan("fault", "add", "fail", *words)
    assert fault == "fault-1"
    with Cluster.attach(NAME) as cluster:
        causes = [failure["caused_by"]["type"] for failure in cluster.list_tasks()["node_failures"]]
    assert causes == ["io_exception"]
    head, row = taskfan("fault", "list").splitlines()
    assert head.split() == ["ID", "NAME", "HITS", "RULE"]
    assert row.split()[:4] == [fault, "mine", "1", "kind=fail,"]
    [listed] = json.loads(taskfan("fault", "list", "--json"))
    assert (listed["hit_count"], "hits" in listed) == (1, False)
    first, *hits = taskfan("fault", "hits", fault).splitlines()
    assert (first, len(hits)) == ("1 hit.", 1)
    assert "opensearch-node2  request of cluster:monitor/tasks/lists[n] for " in hits[0]
    assert taskfan("fault", "rm", fault) == f"Fault [{fault}] is removed after 1 hit."
    assert taskfan("fault", "list") == "No fault is set."


def test_every_field_of_a_rule_can_be_said() -> None:
    words = [
        "--on",
        "reply",
        "--from",
        "opensearch-node1",
        "--task-id",
        "a:1",
        "--parent-task-id",
        "b:*",
        "--opaque-id",
        "me",
    ]
    words += ["--description", "x*", "--after", "1", "--every", "2", "--first", "3", "--probability", "0.5"]
    words += ["--budget", "4", "--between", "1s", "2s", "--delay", "1ms", "--jitter", "1ms", "--seed", "9"]
    told = json.loads(taskfan("fault", "add", "delay", *words, "--distribution", "normal", "--json"))
    assert told["fault"]["rules"] == [
        {
            **{"kind": "delay", "on": "reply", "from": "opensearch-node1", "task_id": "a:1", "parent_task_id": "b:*"},
            **{"opaque_id": "me", "description": "x*", "after": 1, "every": 2, "first": 3, "probability": 0.5},
            **{"budget": 4, "between": ["1s", "2s"], "delay": "1ms", "jitter": "1ms", "distribution": "normal"},
            "seed": 9,
        }
    ]
    assert taskfan("fault", "reset") == "No fault is set."


def test_what_cannot_be_meant_is_refused_with_its_field() -> None:
    assert "--to [nobody] matches no node" in taskfan("fault", "add", "drop", "--to", "nobody", status=2)
    assert "--delay is missing: kind [delay] needs it" in taskfan("fault", "add", "delay", status=2)
    assert "--attribute is missing" in taskfan("partition", "by_attribute", status=2)
    status = taskfan("fault", "add", "fail", "--error-status", "200", status=2)
    assert "--error-status is a status from 400 to 599" in status
    refused = taskfan("fault", "add", "drop", "--task-id", "x", status=2)
    assert "--task-id is a task id such as oTUltX4IQMOUUVeiohTt8A:464, or a pattern with *; not [x]." in refused
    assert "No fault has the id [fault-99]" in taskfan("fault", "rm", "fault-99", status=1)


def test_a_partition_parts_and_heal_heals() -> None:
    taskfan("partition", "isolate", "--nodes", "opensearch-node3")
    with Cluster.attach(NAME) as cluster:
        third = cluster.nodes[2]
        cluster.nodes[1].pause()
        answer = cluster.list_tasks(node=cluster.nodes[0], timeout="500ms")
        assert third.id not in answer["nodes"]
    assert taskfan("heal") == f"Cluster [{NAME}] is whole."
    with Cluster.attach(NAME) as cluster:
        assert len(cluster.list_tasks()["nodes"]) == 3
        assert cluster.faults.all() == []
