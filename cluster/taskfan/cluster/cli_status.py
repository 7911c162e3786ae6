"""`taskfan status`: one cluster with its nodes, or all clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from taskfan.cluster.cli_options import JSON, NAME, named

if TYPE_CHECKING:
    from taskfan.cluster.messages import ClusterStatus


@click.command()
@click.option("--all", "show_all", is_flag=True, help="All clusters of this user, those that do not run as well.")
@NAME
@JSON
def status(name: str, show_all: bool, as_json: bool) -> None:
    """Show the nodes of a cluster and what they do, or all clusters.

    IN CLUSTER says what the cluster manager thinks: a node that runs and does not reach it is not in the cluster.

    \b
    Example:
      taskfan status
      taskfan status --all
      taskfan status --json | jq -r '.nodes[].url'
    """
    from taskfan.cluster.cli_output import node_table, status_json
    from taskfan.cluster.launch import Control

    if show_all:
        _show_all(as_json)
        return
    now = Control.connect(name).ask("status")
    if as_json:
        click.echo(status_json(now))
        return
    click.echo(f"{_head(now)}\n\n{node_table(now)}")
    if remarks := _remarks(now):
        click.echo("\n" + "\n".join(remarks))


def _head(now: ClusterStatus) -> str:
    running = sum(node.state == "running" for node in now.nodes)
    inside = sum(node.in_cluster for node in now.nodes)
    # What is not so as everybody expects.
    differs = "" if inside == running else f", {inside} {'is' if inside == 1 else 'are'} in the cluster"
    manager = "* is the cluster manager" if any(node.is_manager for node in now.nodes) else "no cluster manager"
    return f"Cluster [{now.name}]: {running} of {len(now.nodes)} nodes run{differs}; {manager}."


def _remarks(now: ClusterStatus) -> list[str]:
    """What a person should know who wonders about the table."""
    remarks = []
    if not any(node.is_manager for node in now.nodes):
        remarks.append(_no_manager(now))
    if count := len(now.faults):
        are, of = ("1 fault is" if count == 1 else f"{count} faults are"), named(now.name)
        remarks.append(f"{are} set: see `taskfan fault list{of}`; `taskfan heal{of}` removes all.")
    return remarks


def _no_manager(now: ClusterStatus) -> str:
    """Why there is none, as far as that shows in who may vote."""
    states = {node.name: node.state for node in now.nodes}
    running = [name for name in now.voters if states.get(name) == "running"]
    what = f"No cluster manager: {len(running)} of {len(now.voters)} voters run{'s' * (len(running) == 1)}"
    if 2 * len(running) > len(now.voters):
        return f"{what}, but they do not reach one another, or have not elected one yet."
    for state, verb in (("paused", "resume"), ("stopped", "start"), ("ended", "start")):
        if names := [name for name in now.voters if states.get(name) == state]:
            return f"{what}; `taskfan {verb} {' '.join(names)}{named(now.name)}`."
    return f"{what}."


def _show_all(as_json: bool) -> None:
    import json

    from taskfan.cluster.cli_output import table

    rows = _all_clusters()
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif rows:
        cells = [[str(row[column] or "-") for column in ("name", "state", "nodes", "url")] for row in rows]
        click.echo(table(("NAME", "STATE", "NODES", "URL"), cells))
    else:
        click.echo("There is no cluster: start one with `taskfan up`.", err=True)


def _all_clusters() -> list[dict[str, str | int]]:
    """Of each its name, what it does, its directory, and of one that runs its nodes and URL."""
    from taskfan.cluster.errors import ClusterError
    from taskfan.cluster.launch import Control
    from taskfan.cluster.state_directory import StateDirectory, known_clusters
    from taskfan.cluster.supervisor_log import unexpected_end

    rows: list[dict[str, str | int]] = []
    for name in known_clusters():
        directory = StateDirectory.named(name)
        row: dict[str, str | int] = {"name": name, "directory": str(directory.path), "nodes": 0, "url": ""}
        control = Control.find(name)
        if control is None:
            end = unexpected_end(directory.supervisor_log)
            rows.append({**row, "state": f"ended unexpectedly {end}" if end else "stopped"})
            continue
        try:
            now = control.ask("status")
            rows.append({**row, "state": "running", "nodes": len(now.nodes), "url": now.nodes[0].url})
        except ClusterError:
            rows.append({**row, "state": "does not answer"})
        finally:
            control.close()
    return rows
