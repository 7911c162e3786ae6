"""`taskfan tasks`, `cancel` and `work`: the tasks API for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import click

from taskfan.cluster.cli_options import NAME_VARIABLE, usual_name

# Not from the environment: an address that is said counts more than what is set there.
NAME = click.option("--name", help=f"Name of the cluster.  [env: {NAME_VARIABLE}; default: taskfan]")
URL = click.option("--url", envvar="OPENSEARCH_URL", help="A node to ask, instead of --name. [env: OPENSEARCH_URL]")
JSON = click.option("--json", "as_json", is_flag=True, help="Print the answer itself.")
ACTIONS = click.option("--actions", help="Action filter, such as '*search*'.")
NODES = click.option("--nodes", help="Node filter, such as opensearch-node1 or data:true.")
# Beyond the limit that the nodes were given.
PATIENCE_S = 10.0
PARENT = click.option("--parent", "parent_task_id", help="Only children of this task.")


def _url(name: str | None, url: str | None) -> str:
    """Where to ask: --url, or the cluster of --name. Raises ClusterError when that does not run."""
    if url and not name:
        return url.rstrip("/")
    from taskfan.cluster.cluster import Cluster

    with Cluster.attach(name or usual_name()) as cluster:
        states = {node.state for node in cluster.status().nodes}
        if states.isdisjoint({"running", "starting"}):
            raise click.ClickException(
                f"No node of cluster [{cluster.name}] runs: see `taskfan status`; `taskfan start` and `resume` help."
            )
        return cluster.url


def _seconds(timeout: str) -> float:
    from taskfan.cluster.settings import time_s

    try:
        return time_s(timeout)
    except ValueError as error:
        raise click.BadParameter(f"it is {error}; not [{timeout}].", param_hint="--timeout") from None


@click.command()
@NAME
@URL
@ACTIONS
@NODES
@PARENT
@click.option("--detailed", is_flag=True, help="With descriptions.")
@click.option("--timeout", default="5s", show_default=True, help="How long each node may take to answer.")
@JSON
def tasks(name: str | None, url: str | None, timeout: str, as_json: bool, **parameters: Any) -> None:
    """List tasks as a tree. When a node does not answer in time, shows the rest and exits 1.

    \b
    Example:
      taskfan tasks --actions '*search*' --detailed
    """
    from taskfan.cluster.rest_client import ask

    limit_s = _seconds(timeout) + PATIENCE_S
    where = _url(name, url)
    parameters |= {"detailed": parameters["detailed"] or None, "timeout": timeout, "group_by": "parents"}
    answer = ask(where, "GET", "/_tasks", parameters, timeout_s=limit_s)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        from rich.console import Console

        from taskfan.cluster.cli_output import task_tree

        # From the node's own cluster state, so that one that does not answer is not asked.
        state = ask(where, "GET", "/_cluster/state/nodes", {"local": True}, timeout_s=limit_s)
        names = {node_id: node["name"] for node_id, node in state["nodes"].items()}
        console = Console(highlight=False)
        if not console.is_terminal:
            # For `grep`: one task, one line.
            console.width = 1000
        if answer.get("tasks"):
            console.print(task_tree(answer["tasks"], names))
        else:
            _say_nothing_matches(where, parameters["nodes"], limit_s)
    _report_failures(answer)


def _say_nothing_matches(url: str, nodes: str | None, limit_s: float) -> None:
    """Say what it was that did not match: a node filter that means no node is the likelier mistake."""
    from urllib.parse import quote

    from taskfan.cluster.rest_client import ask

    if nodes and not ask(url, "GET", f"/_nodes/{quote(nodes, safe=',:')}", timeout_s=limit_s)["_nodes"]["total"]:
        click.echo(f"No node matches [{nodes}].", err=True)
    else:
        click.echo("No task matches.", err=True)


@click.command()
@click.argument("task_id", required=False)
@NAME
@URL
@ACTIONS
@NODES
@PARENT
@click.option("--wait", is_flag=True, help="Wait until the tasks have ended.")
@click.option("--timeout", help="How long to wait for the answer.  [default: 10s, with --wait 1h]")
@JSON
def cancel(
    task_id: str | None,
    name: str | None,
    url: str | None,
    wait: bool,
    timeout: str | None,
    as_json: bool,
    **parameters: Any,
) -> None:
    """Cancel TASK_ID, or the tasks that match, and print their ids. Exits 1 when one could not be cancelled.

    OpenSearch sets a cancel no limit: one that meets a node that stands still goes on after --timeout.

    \b
    Example:
      taskfan cancel --actions '*search*'
      taskfan cancel oTUltX4IQMOUUVeiohTt8A:464
    """
    from taskfan.cluster.rest_client import NoAnswerInTime, ask

    if task_id is None and not any(parameters.values()):
        raise click.UsageError("Say which tasks: TASK_ID, --actions, --nodes or --parent. --actions '*' means all.")
    path = "/_tasks/_cancel" if task_id is None else f"/_tasks/{task_id}/_cancel"
    parameters["wait_for_completion"] = wait or None
    limit_s, where = _seconds(timeout or ("1h" if wait else "10s")), _url(name, url)
    try:
        answer = ask(where, "POST", path, parameters, timeout_s=limit_s)
    except NoAnswerInTime as error:
        raise click.ClickException(
            f"{error} The cancel goes on: what can be reached is told, and `taskfan tasks` shows what is cancelled."
        ) from None
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif not _print_cancelled(answer):
        _say_nothing_matches(where, parameters["nodes"], limit_s)
    _report_failures(answer)


def _print_cancelled(answer: dict[str, Any]) -> bool:
    """Print the ids, and return whether there was anything to tell."""
    ids = [f"{node_id}:{task['id']}" for node_id, node in answer["nodes"].items() for task in node["tasks"].values()]
    for task_id in ids:
        click.echo(task_id)
    return bool(ids or answer.get("node_failures") or answer.get("task_failures"))


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
@click.argument("plan", required=False)
@NAME
@URL
@click.option("--wait", is_flag=True, help="Wait until the work has ended, and print its answer.")
@click.option("--seed", type=click.IntRange(min=0), help="Of the times drawn, for a plan that names none.")
@click.option("--list", "list_plans", is_flag=True, help="Show the plans that ship with taskfan.")
@click.option("--show", is_flag=True, help="Print the text of PLAN instead of starting it, to copy and change.")
def work(
    plan: str | None, name: str | None, url: str | None, wait: bool, seed: int | None, list_plans: bool, show: bool
) -> None:
    """Start simulated work from a PLAN, and print the id of its task.

    PLAN is a file in YAML or JSON, - for standard input, or the name of a plan that ships with taskfan:
    search_fan_out, bulk_with_replicas, reindex or stubborn_children.

    With --wait the work is cancelled when its client goes away, so by Ctrl-C as well, which prints its id.

    \b
    Examples:
      taskfan work search_fan_out
      taskfan work --show search_fan_out > my_plan.yaml
      taskfan work my_plan.yaml --wait
    """
    if list_plans:
        _list_plans()
        return
    if plan is None:
        raise click.UsageError("Say which PLAN; --list shows those that ship with taskfan.")
    if show:
        from taskfan.cluster.config import read_plan_text

        click.echo(read_plan_text(plan), nl=False)
        return
    from taskfan.cluster.errors import ConfigError
    from taskfan.cluster.rest_client import RequestFailed, ask

    body = dict(_read_plan(plan))
    url, parameters = _url(name, url), {"wait_for_completion": wait, "seed": seed}
    try:
        if wait:
            click.echo(json.dumps(_wait_for_work(url, parameters, body), indent=2))
        else:
            click.echo(ask(url, "POST", "/_taskfan/work", parameters, body, timeout_s=60)["task"])
    except RequestFailed as error:
        if error.type != "illegal_argument_exception":
            raise
        # Its reason begins with the path of the field.
        raise ConfigError(f"{'standard input' if plan == '-' else plan}: {error.reason}") from None


def _list_plans() -> None:
    from taskfan.cluster.cli_output import table
    from taskfan.coordinator.example_plans import example_names, what_example_shows

    rows = [(name, what_example_shows(name)) for name in example_names()]
    click.echo(table(("PLAN", "WHAT IT SHOWS"), rows))


def _wait_for_work(url: str, parameters: dict[str, Any], body: dict[str, object]) -> Any:
    """The answer of work that is waited for; an interrupt tells its id, while that can still be asked for."""
    import os
    from concurrent.futures import Future
    from threading import Thread

    from taskfan.cluster.rest_client import ask

    opaque_id, answer = f"taskfan-work-{os.urandom(6).hex()}", Future[Any]()

    def wait() -> None:
        try:
            told = ask(url, "POST", "/_taskfan/work", parameters, body, opaque_id=opaque_id, timeout_s=24 * 3600)
        except BaseException as error:
            answer.set_exception(error)
        else:
            answer.set_result(told)

    # Its connection lasts while the id is looked for, and ends with this process, and with it the work.
    Thread(target=wait, daemon=True).start()
    try:
        return answer.result()
    except KeyboardInterrupt:
        what = " ".join(["The work", *_begun_by(url, opaque_id)])
        click.echo(f"{what} is cancelled with its client; without --wait it goes on.", err=True)
        raise


def _begun_by(url: str, opaque_id: str) -> list[str]:
    """The id of the task without a parent that a request with this header began; nothing when it is not found."""
    from taskfan.cluster.errors import ClusterError
    from taskfan.cluster.rest_client import ask

    try:
        listed = ask(url, "GET", "/_tasks", {"group_by": "none", "timeout": "2s"}, timeout_s=5)["tasks"]
    except ClusterError:
        return []
    mine = [task for task in listed if task["headers"].get("X-Opaque-Id") == opaque_id]
    return [f"{task['node']}:{task['id']}" for task in mine if "parent_task_id" not in task]


def _read_plan(plan: str) -> Mapping[str, object]:
    from taskfan.cluster.config import A_PLAN, read_config, read_plan

    return read_config(sys.stdin.read(), "standard input", A_PLAN) if plan == "-" else read_plan(plan)
