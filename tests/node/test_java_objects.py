"""Errors name a task by its class in OpenSearch, as a real 3.8.0 did when tasks were rethrottled that cannot be."""

from __future__ import annotations

import pytest

from taskfan.node.java_objects import java_class, java_object
from taskfan.node.registry import TaskRegistry
from taskfan.node.task import TaskTraits


@pytest.mark.parametrize(
    ("action", "cancellable", "name"),
    [
        ("cluster:monitor/health", False, "org.opensearch.tasks.Task"),
        ("indices:data/write/bulk", False, "org.opensearch.tasks.Task"),
        ("indices:data/write/update", False, "org.opensearch.tasks.Task"),
        ("indices:data/write/update[s]", False, "org.opensearch.tasks.Task"),
        ("indices:data/write/bulk[s]", False, "org.opensearch.action.support.replication.ReplicationTask"),
        ("indices:data/write/index", False, "org.opensearch.action.support.replication.ReplicationTask"),
        ("indices:data/write/delete", False, "org.opensearch.action.support.replication.ReplicationTask"),
        ("indices:data/write/reindex", True, "org.opensearch.index.reindex.BulkByScrollTask"),
        ("indices:data/write/update/byquery", True, "org.opensearch.index.reindex.BulkByScrollTask"),
        ("indices:data/read/search", True, "org.opensearch.action.search.SearchTask"),
        ("indices:data/read/search[phase/query]", True, "org.opensearch.action.search.SearchShardTask"),
        ("demo", True, "org.opensearch.tasks.CancellableTask"),
    ],
)
def test_a_task_has_the_class_of_its_action(action: str, cancellable: bool, name: str) -> None:
    traits = TaskTraits("", cancellable=cancellable)
    task = TaskRegistry("n").register(action, type="transport", now_ms=0, now_ns=0, traits=traits)
    assert java_class(task) == name
    assert java_object(task).startswith(f"{name}@")
