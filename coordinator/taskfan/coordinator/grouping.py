"""An answer as the parts of a JSON body, grouped by nodes, by parents or not at all. Pure.

The tasks of a node come joined as the grouping needs them, and are passed on as they are: nothing is parsed. Only trees
are taken apart, line by line, and put together anew.
Source: OpenSearch `ListTasksResponse`, `BaseTasksResponse`, `TaskGroup`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import msgspec

from taskfan.coordinator.merge import TasksAnswer
from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.failures import NodeFailure, TaskFailure
from taskfan.v1 import actions_pb2 as pb

GroupBy = Literal["nodes", "parents", "none"]
GROUPINGS: tuple[str, ...] = get_args(GroupBy)
# What the nodes have to be asked for.
FORMS: Mapping[str, pb.TaskRendering.Form.ValueType] = {
    "nodes": pb.TaskRendering.FORM_KEYED,
    "parents": pb.TaskRendering.FORM_LINES,
    "none": pb.TaskRendering.FORM_LISTED,
}

_encode = msgspec.json.Encoder().encode


def render(answer: TasksAnswer, group_by: GroupBy, state: ClusterState) -> list[bytes]:
    """The whole body, in parts: failures first, if there are any, then the tasks.

    Args:
        answer: of nodes that were asked for the form of this grouping: see `FORMS`.
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
        yield tasks.bodies
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


def _ungrouped(answer: TasksAnswer) -> Iterator[bytes]:
    separator = b'"tasks":['
    for _, tasks in answer.nodes:
        if tasks.numbers:
            yield separator
            yield tasks.bodies
            separator = b","
    yield b'"tasks":[]}' if separator == b'"tasks":[' else b"]}"


class Trees(msgspec.Struct, frozen=True):
    """Tasks by their place in an answer: those on top, and the children of each that has any."""

    top: Sequence[int]
    children: Mapping[int, Sequence[int]]

    @classmethod
    def of(cls, ids: Sequence[Hashable], parents: Sequence[Hashable]) -> Trees:
        """Tasks by their ids and those of their parents. One whose parent is not among them is on top.

        Source: OpenSearch `ListTasksResponse.buildTaskGroups`.
        """
        places = dict(zip(ids, range(len(ids)), strict=True))
        top: list[int] = []
        children: dict[int, list[int]] = {}
        for place, parent in enumerate(map(places.get, parents)):
            if parent is None:
                top.append(place)
            elif parent in children:
                children[parent].append(place)
            else:
                children[parent] = [place]
        return cls(top, children)


def _by_parents(answer: TasksAnswer) -> Iterator[bytes]:
    lines: list[bytes] = []
    for _, tasks in answer.nodes:
        if tasks.numbers:
            lines += tasks.bodies.split(b"\n")
    keys, parents, bodies = lines[::3], lines[1::3], lines[2::3]
    trees = Trees.of(keys, parents)
    # One part for all, for they are many and small.
    yield b'"tasks":{' + b",".join([keys[top] + _tree(top, trees, bodies) for top in trees.top]) + b"}}"


def _tree(top: int, trees: Trees, bodies: Sequence[bytes]) -> bytes:
    """A task with its children before its closing brace, and so on. Not recursive: trees can be deep."""
    if top not in trees.children:
        return bodies[top]
    parts: list[bytes] = []
    todo: list[int | bytes] = [top]
    while todo:
        item = todo.pop()
        if isinstance(item, bytes):
            parts.append(item)
        elif (children := trees.children.get(item)) is None:
            parts.append(bodies[item])
        else:
            parts += bodies[item][:-1], b',"children":['
            if trees.children.keys().isdisjoint(children):
                parts += b",".join([bodies[child] for child in children]), b"]}"
            else:
                todo.append(b"]}")
                todo += _with_commas(children)
    return b"".join(parts)


def _with_commas(children: Sequence[int]) -> list[int | bytes]:
    """From the last to the first."""
    items: list[int | bytes] = [b","] * (2 * len(children) - 1)
    items[::2] = reversed(children)
    return items
