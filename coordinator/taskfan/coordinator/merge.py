"""Many nodes' answers to one. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from taskfan.node.failures import NodeFailure, TaskFailure
from taskfan.v1 import actions_pb2 as pb
from taskfan.v1 import task_pb2


class TasksAnswer(msgspec.Struct, frozen=True):
    """What a list, a cancel or a rethrottle brought together, in the order in which nodes were asked.

    `nodes` has each node that answered with its tasks, rendered where they live.
    """

    nodes: list[tuple[str, task_pb2.RenderedTasks]] = []
    task_failures: list[TaskFailure] = []
    node_failures: list[NodeFailure] = []


def merge(answers: Iterable[tuple[str, pb.NodeTasksResponse | NodeFailure]], asking_node_id: str) -> TasksAnswer:
    """One answer from those of the nodes, each given with its node's id.

    What failed for a task of another node than the one that asks has crossed the wire.

    Source: OpenSearch `TransportTasksAction.AsyncAction.finishHim`.
    """
    merged = TasksAnswer()
    for node_id, answer in answers:
        if isinstance(answer, NodeFailure):
            merged.node_failures.append(answer)
            continue
        merged.nodes.append((node_id, answer.tasks))
        for failure in map(TaskFailure.from_wire, answer.task_failures):
            reason = failure.reason if node_id == asking_node_id else failure.reason.crossed()
            merged.task_failures.append(TaskFailure(failure.task_id, reason))
    return merged
