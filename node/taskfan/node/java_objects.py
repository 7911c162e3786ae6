"""What Java would print for a task: errors of OpenSearch name the classes of its objects. Pure.

Source: the `createTask` of OpenSearch's requests.
"""

from __future__ import annotations

from taskfan.node.task import Task

BY_SCROLL_TASK = "org.opensearch.index.reindex.BulkByScrollTask"
_REPLICATED = "org.opensearch.action.support.replication.ReplicationTask"
_SEARCH = "org.opensearch.action.search.SearchTask"
_CLASSES = {
    "indices:data/write/reindex": BY_SCROLL_TASK,
    "indices:data/write/update/byquery": BY_SCROLL_TASK,
    "indices:data/write/delete/byquery": BY_SCROLL_TASK,
    "indices:data/read/search": _SEARCH,
    "indices:data/read/scroll": _SEARCH,
    "indices:data/write/index": _REPLICATED,
    "indices:data/write/delete": _REPLICATED,
}


def java_class(task: Task) -> str:
    """The class of a task, with its package."""
    if task.action.startswith("indices:data/read/search["):
        return "org.opensearch.action.search.SearchShardTask"
    if task.action.startswith("indices:data/write/bulk["):
        return _REPLICATED
    plain = "org.opensearch.tasks.CancellableTask" if task.cancellable else "org.opensearch.tasks.Task"
    return _CLASSES.get(task.action, plain)


def java_object(task: Task) -> str:
    """What Java prints for an object without words of its own: its class and a number in hex."""
    # Java's number is a hash of 31 bits; this one is spread as wide, and always has eight digits.
    return f"{java_class(task)}@{0x10000000 + task.id.number * 0x9E3779B1 % 0x70000000:x}"
