"""Starts simulated work: checks the whole plan, finds its nodes, and runs its first task on this node."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

import msgspec

from taskfan.coordinator.node_filter import resolve
from taskfan.node.action import wake
from taskfan.node.actions.work import request_of
from taskfan.node.errors import TaskfanError
from taskfan.node.node import Node
from taskfan.node.task import Task
from taskfan.node.work_check import plan_work
from taskfan.node.work_plan import WORK_ACTION
from taskfan.v1 import actions_pb2 as pb

# Of a plan that names none: the same plan takes the same time, until somebody asks for another seed.
DEFAULT_SEED = 0


class StartedWork(msgspec.Struct, frozen=True):
    """Work that runs: its first task, which can be cancelled, and how it will end."""

    task: Task
    seed: int
    _ended: asyncio.Future[pb.WorkResponse | TaskfanError]

    async def result(self) -> pb.WorkResponse:
        """Wait for the end. May be asked for any number of times, or never.

        Raises:
            TaskCancelled: the first task was cancelled, and stopped.
            TaskfanError: it failed, as its plan says.
        """
        # Who waits may give up; the work goes on.
        outcome = await asyncio.shield(self._ended)
        if isinstance(outcome, TaskfanError):
            raise outcome
        return outcome


async def start_work(node: Node, plan: object, *, headers: Mapping[str, str], seed: int | None = None) -> StartedWork:
    """Start work on this node; returns when its first task is registered.

    Args:
        plan: objects, lists and values, as JSON or YAML gave them; see `taskfan.node.work_plan.TaskPlan`.
        headers: of the request, inherited by every task.
        seed: for a plan that names none.

    Raises:
        IllegalArgument: the plan is wrong, and the message names the field; or the headers are too large.
            Nothing was started.
    """
    first, own_seed = plan_work(plan, lambda items: _node_ids(node, items))
    seed = DEFAULT_SEED if seed is None else seed
    seed = seed if own_seed is None else own_seed
    ended: asyncio.Future[pb.WorkResponse | TaskfanError] = asyncio.get_running_loop().create_future()
    # An error as a value: many may ask for it, or nobody.
    answered = partial(wake, ended)
    task = node.begin(first.action, request_of(first, seed), answered, headers=headers, handler=WORK_ACTION)
    return StartedWork(task, seed, ended)


def _node_ids(node: Node, items: Sequence[str]) -> list[str]:
    return [found.id for found in resolve(items, node.cluster_state, node.local.id)]


def render_started(work: StartedWork) -> bytes:
    """The answer to who does not wait: `{"task":"node:1"}`, as a reindex gives it."""
    return msgspec.json.encode({"task": str(work.task.id)})


def render_result(work: StartedWork, response: pb.WorkResponse, took_ms: int) -> bytes:
    """The answer to who waits for the end.

    `completed`, `failed` and `cancelled` count tasks; `failures` are the first ten, in the order of the plan.
    """
    failures = [
        {
            "path": failure.path,
            "action": failure.action,
            "node": failure.node_id,
            "reason": TaskfanError.from_wire(failure.error).to_object(),
        }
        for failure in response.failures
    ]
    return msgspec.json.encode(
        {
            "took": took_ms,
            "task": str(work.task.id),
            "seed": work.seed,
            "completed": response.completed,
            "failed": response.failed,
            "cancelled": response.cancelled,
            "failures": failures,
        }
    )
