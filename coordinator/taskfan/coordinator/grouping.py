"""An answer as the parts of a JSON body, grouped by nodes, by parents or not at all. Pure.

The tasks' own bytes are passed on as they came: nothing is parsed, and parts are never joined here.
Source: OpenSearch `ListTasksResponse`, `BaseTasksResponse`, `TaskGroup`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args

import msgspec

from taskfan.coordinator.merge import TasksAnswer
from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.failures import NodeFailure, TaskFailure
from taskfan.v1 import task_pb2

GroupBy = Literal["nodes", "parents", "none"]
GROUPINGS: tuple[str, ...] = get_args(GroupBy)

_encode = msgspec.json.Encoder().encode


def render(answer: TasksAnswer, group_by: GroupBy, state: ClusterState) -> list[bytes]:
    """The whole body, in parts: failures first, if there are any, then the tasks.

    Args:
        state: of the moment of rendering; a node that left meanwhile is shown without its name and addresses.
    """
    parts = [b"{"]
    if answer.task_failures:
        parts.append(b'"task_failures":' + _encode(list(map(task_failure_object, answer.task_failures))) + b",")
    if answer.node_failures:
        parts.append(b'"node_failures":' + _encode(list(map(node_failure_object, answer.node_failures))) + b",")
    if group_by == "nodes":
        parts += _by_nodes(answer, state)
    elif group_by == "parents":
        parts += _by_parents(answer)
    else:
        parts += _ungrouped(answer)
    return parts


def node_failure_object(failure: NodeFailure) -> dict[str, Any]:
    """One entry of `node_failures`. Source: `FailedNodeException`."""
    node_id = failure.node_id
    cause = failure.cause.to_object()
    return {
        "type": "failed_node_exception",
        "reason": f"Failed node [{node_id}]",
        "node_id": node_id,
        "caused_by": cause,
    }


def task_failure_object(failure: TaskFailure) -> dict[str, Any]:
    """One entry of `task_failures`. Source: `TaskOperationFailure`."""
    reason = failure.reason
    return {
        "task_id": failure.task_id.number,
        "node_id": failure.task_id.node_id,
        "status": reason.status_name,
        "reason": reason.to_object(),
    }


def _by_nodes(answer: TasksAnswer, state: ClusterState) -> Iterator[bytes]:
    separator = b'"nodes":{'
    for node_id, tasks in answer.nodes:
        if not tasks.numbers:
            continue
        yield separator + _encode(node_id) + b":{" + _node_head(state.get(node_id)) + b'"tasks":{'
        yield from _keyed(node_id, tasks)
        separator = b"}},"
    yield b'"nodes":{}}' if separator == b'"nodes":{' else b"}}}}"


def _node_head(node: DiscoveryNode | None) -> bytes:
    """What is shown of a node before its tasks. Here, unlike in `_nodes`, the ip has its port."""
    if node is None:
        return b""
    head: dict[str, Any] = {
        "name": node.name,
        "transport_address": node.transport_address,
        "host": node.host,
        "ip": node.transport_address,
        "roles": node.roles,
    }
    if node.attributes:
        head["attributes"] = node.attributes
    return _encode(head)[1:-1] + b","


def _keyed(node_id: str, tasks: task_pb2.RenderedTasks) -> Iterator[bytes]:
    key = b"%b:%%d" % _encode(node_id)[:-1].replace(b"%", b"%%") + b'":'
    separator = b""
    for number, body in zip(tasks.numbers, tasks.bodies, strict=True):
        yield separator + key % number
        yield body
        separator = b","


def _ungrouped(answer: TasksAnswer) -> Iterator[bytes]:
    separator = b'"tasks":['
    for _, tasks in answer.nodes:
        for body in tasks.bodies:
            yield separator
            yield body
            separator = b","
    yield b'"tasks":[]}' if separator == b'"tasks":[' else b"]}"


class TaskTree(msgspec.Struct, eq=False):
    """A task as it came, and the tasks of the answer whose parent it is."""

    task_id: str
    body: bytes
    children: list[TaskTree] = []


def task_trees(answer: TasksAnswer) -> list[TaskTree]:
    """The tasks of an answer as trees. One whose parent is not in the answer is on top.

    Source: OpenSearch `ListTasksResponse.buildTaskGroups`.
    """
    trees: dict[str, TaskTree] = {}
    parents: list[tuple[TaskTree, str]] = []
    for node_id, tasks in answer.nodes:
        for number, parent, body in zip(tasks.numbers, tasks.parents, tasks.bodies, strict=True):
            task_id = f"{node_id}:{number}"
            tree = trees[task_id] = TaskTree(task_id, body)
            parents.append((tree, parent))
    top: list[TaskTree] = []
    for tree, parent in parents:
        siblings = trees[parent].children if parent in trees else top
        siblings.append(tree)
    return top


def _by_parents(answer: TasksAnswer) -> Iterator[bytes]:
    separator = b'"tasks":{'
    for tree in task_trees(answer):
        yield separator + _encode(tree.task_id) + b":"
        yield from _tree_parts([tree])
        separator = b","
    yield b'"tasks":{}}' if separator == b'"tasks":{' else b"}}"


def _tree_parts(trees: Sequence[TaskTree]) -> Iterator[bytes]:
    """Trees one after the other, each with its children before its closing brace. Not recursive: trees can be deep."""
    todo: list[bytes | TaskTree] = [*reversed(_with_commas(trees))]
    while todo:
        item = todo.pop()
        if isinstance(item, bytes):
            yield item
        elif not item.children:
            yield item.body
        else:
            yield item.body[:-1]
            todo += [b"]}", *reversed(_with_commas(item.children)), b',"children":[']


def _with_commas(trees: Sequence[TaskTree]) -> list[bytes | TaskTree]:
    items: list[bytes | TaskTree] = []
    for tree in trees:
        items += [b",", tree] if items else [tree]
    return items
