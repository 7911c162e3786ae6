"""`taskfan tasks`, `cancel` and `work`: the tasks API for people."""

from __future__ import annotations

import json
import os.path
from typing import Any

import click

NAME = click.option("--name", help="Name of the cluster.  [default: taskfan]")
URL = click.option("--url", envvar="OPENSEARCH_URL", help="A node to ask, instead of --name. [env: OPENSEARCH_URL]")
JSON = click.option("--json", "as_json", is_flag=True, help="Print the answer itself.")
ACTIONS = click.option("--actions", help="Action filter, such as '*search*'.")
NODES = click.option("--nodes", help="Node filter, such as opensearch-node1 or data:true.")
PARENT = click.option("--parent", "parent_task_id", help="Only children of this task.")


def _url(name: str | None, url: str | None) -> str:
    """Where to ask: --url, or the cluster of --name. Raises ClusterError when that does not run."""
    if url and not name:
        return url.rstrip("/")
    from taskfan.cluster.cluster import Cluster

    with Cluster.attach(name or "taskfan") as cluster:
        return cluster.url


@click.command()
@NAME
@URL
@ACTIONS
@NODES
@PARENT
@click.option("--detailed", is_flag=True, help="With descriptions.")
@JSON
def tasks(name: str | None, url: str | None, as_json: bool, **parameters: Any) -> None:
    """List tasks as a tree. Exits 1 when a node did not answer.

    \b
    Example:
      taskfan tasks --actions '*search*' --detailed
    """
    from taskfan.cluster.rest_client import ask

    where = _url(name, url)
    parameters["detailed"] = parameters["detailed"] or None
    answer = ask(where, "GET", "/_tasks", {**parameters, "group_by": "parents"})
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        from rich.console import Console

        from taskfan.cluster.cli_output import task_tree

        names = {node_id: node["name"] for node_id, node in ask(where, "GET", "/_nodes")["nodes"].items()}
        console = Console(highlight=False)
        if not console.is_terminal:
            # For `grep`: one task, one line.
            console.width = 1000
        console.print(task_tree(answer.get("tasks", {}), names))
    _report_failures(answer)


@click.command()
@click.argument("task_id", required=False)
@NAME
@URL
@ACTIONS
@NODES
@PARENT
@click.option("--wait", is_flag=True, help="Wait until the tasks have ended.")
@JSON
def cancel(
    task_id: str | None, name: str | None, url: str | None, wait: bool, as_json: bool, **parameters: Any
) -> None:
    """Cancel TASK_ID, or the tasks that match, and print their ids. Exits 1 when one could not be cancelled.

    \b
    Example:
      taskfan cancel --actions '*search*'
      taskfan cancel oTUltX4IQMOUUVeiohTt8A:464
    """
    from taskfan.cluster.rest_client import ask

    if task_id is None and not any(parameters.values()):
        raise click.UsageError("Say which tasks: TASK_ID, --actions, --nodes or --parent. --actions '*' means all.")
    path = "/_tasks/_cancel" if task_id is None else f"/_tasks/{task_id}/_cancel"
    parameters["wait_for_completion"] = wait or None
    answer = ask(_url(name, url), "POST", path, parameters, timeout_s=3600 if wait else 60)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        for node_id, node in answer.get("nodes", {}).items():
            for task in node["tasks"].values():
                click.echo(f"{node_id}:{task['id']}")
    _report_failures(answer)


def _report_failures(answer: dict[str, Any]) -> None:
    failures = [*answer.get("node_failures", ()), *answer.get("task_failures", ())]
    for failure in failures:
        # Of a task's failure the exception is the `reason`, a node's failure is one itself.
        cause = failure["reason"] if isinstance(failure.get("reason"), dict) else failure
        while "caused_by" in cause:
            cause = cause["caused_by"]
        click.echo(f"Failure of node {failure.get('node_id')}: {cause.get('type')}: {cause.get('reason')}", err=True)
    if failures:
        click.get_current_context().exit(1)


@click.command()
@click.argument("plan")
@NAME
@URL
@click.option("--wait", is_flag=True, help="Wait until the work has ended, and print its answer.")
@click.option("--seed", type=click.IntRange(min=0), help="Of the times drawn, for a plan that names none.")
def work(plan: str, name: str | None, url: str | None, wait: bool, seed: int | None) -> None:
    """Start simulated work from a PLAN, and print the id of its task.

    PLAN is a file in YAML or JSON, or the name of a plan that ships with taskfan: search_fan_out,
    bulk_with_replicas, reindex or stubborn_children.

    \b
    Examples:
      taskfan work search_fan_out
      taskfan work my_plan.yaml --wait
    """
    from taskfan.cluster.config import read_config_file
    from taskfan.cluster.rest_client import ask

    body = dict(read_config_file(_plan_path(plan)))
    parameters = {"wait_for_completion": wait, "seed": seed}
    answer = ask(_url(name, url), "POST", "/_taskfan/work", parameters, body, timeout_s=24 * 3600 if wait else 60)
    click.echo(json.dumps(answer, indent=2) if wait else answer["task"])


def _plan_path(plan: str) -> str:
    """The file of a plan given by path, or by the name of an example."""
    if os.path.isfile(plan):
        return plan
    from taskfan.coordinator.example_plans import example_names, example_path

    example = example_path(plan)
    if example is None:
        known = ", ".join(example_names())
        raise click.UsageError(f"There is no file [{plan}], and no plan of that name ships with taskfan ({known}).")
    return str(example)
