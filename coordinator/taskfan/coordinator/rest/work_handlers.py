"""Handlers of `/_taskfan`: simulated work, and what a node holds."""

from __future__ import annotations

import msgspec

from taskfan.coordinator.rest.messages import Answer, RestRequest
from taskfan.coordinator.rest.parameters import Parameter, boolean
from taskfan.coordinator.work import render_result, render_started, start_work
from taskfan.node.errors import IllegalArgument
from taskfan.node.ids import parse_long
from taskfan.node.node import Node


def _seed(value: str | None) -> int | None:
    seed = None if value is None else parse_long(value)
    if value is not None and (seed is None or seed < 0):
        raise IllegalArgument(f"Failed to parse long parameter [seed] with value [{value}]")
    return seed


WORK_PARAMETERS: tuple[Parameter, ...] = (boolean("wait_for_completion", default=True), Parameter("seed", _seed))


async def work(node: Node, request: RestRequest) -> Answer:
    """`POST /_taskfan/work`: start a plan, and wait for its end unless told not to.

    A client that goes away while it waits cancels the work.
    """
    began_ns = node.clock.monotonic_ns()
    if request.body is None:
        raise IllegalArgument("request body is required: a plan")
    started = await start_work(node, request.body, headers=request.headers, seed=request.parameters["seed"])
    if not request.parameters["wait_for_completion"]:
        return Answer([render_started(started)])
    with request.client.cancels(node, started.task):
        response = await started.result()
    return Answer([render_result(started, response, (node.clock.monotonic_ns() - began_ns) // 1_000_000)])


async def held(node: Node, request: RestRequest) -> Answer:
    """`GET /_taskfan/held`: what this node alone holds now, without a task of its own: a node at rest holds nothing.

    Tasks by action, bans with their reasons, children that were sent and not answered yet, and readers of searches.
    """
    registry = node.registry
    counts = {str(parent): counts for parent, counts in registry.child_counts.items()}
    return Answer(
        [
            msgspec.json.encode(
                {
                    "node": node.local.id,
                    "tasks": {str(task.id): task.action for task in registry},
                    "bans": {str(parent): reason for parent, reason in registry.bans.items()},
                    "child_counts": counts,
                    "search_contexts": len(node.readers),
                }
            )
        ]
    )
