"""`taskfan add`, `remove`, `stop`, `start`, `restart`, `kill`, `pause` and `resume`: what is done to nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from taskfan.cluster.cli_options import JSON, NAME
from taskfan.cluster.patterns import matches

if TYPE_CHECKING:
    from taskfan.cluster.messages import NodeStatus, Verb


@click.command()
@click.argument("nodes", metavar="[NODE…]", nargs=-1)
@click.option("--roles", help="Roles, such as 'data,ingest'; '' only coordinates.")
@click.option("--setting", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of its own. Repeatable.")
@NAME
@JSON
def add(nodes: tuple[str, ...], roles: str | None, settings: tuple[str, ...], name: str, as_json: bool) -> None:
    """Add nodes to a cluster that runs: one with the next free name, or one for each NODE.

    \b
    Example:
      taskfan add
      taskfan add data-1 data-2 --roles data --setting node.attr.zone=b
    """
    from taskfan.cluster.cli_output import node_table, status_json
    from taskfan.cluster.errors import ConfigError
    from taskfan.cluster.launch import Control

    given: dict[str, object] = {} if roles is None else {"node.roles": roles}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--setting is NAME=VALUE, such as node.attr.zone=b; not [{setting}].")
        given[key] = value
    control = Control.connect(name)
    for node in nodes or ("",):
        now = control.ask("add", node, given)
        if not as_json:
            click.echo(f"Node [{now.nodes[-1].name}] is running.")
    click.echo(status_json(now) if as_json else f"\n{node_table(now)}")


def meant(patterns: Sequence[str], nodes: Sequence[NodeStatus]) -> list[NodeStatus]:
    """The nodes that these names, ids and patterns with `*` mean, each once, in the order in which they are named.

    Raises:
        ClusterError: one of them means no node.
    """
    from taskfan.cluster.errors import ClusterError

    found: dict[str, NodeStatus] = {}
    for pattern in (part for given in patterns for part in given.split(",")):
        here = [node for node in nodes if pattern in ("_all", node.id) or matches(pattern, node.name)]
        if not here:
            names = ", ".join(node.name for node in nodes[:10])
            what = "matches" if "*" in pattern else "is named"
            raise ClusterError(f"No node {what} [{pattern}]: there are {names}{' …' if len(nodes) > 10 else ''}.")
        found |= {node.id: node for node in here}
    return list(found.values())


def node_command(verb: Verb, done: str, what: str) -> click.Command:
    """The command that does this to nodes. Nothing is done when one of them cannot be meant."""
    example = f"\b\nExample:\n  taskfan {verb} opensearch-node2\n  taskfan {verb} 'data-*'"
    help_text = f"{what}\n\nNODE is a name, an id or a pattern with `*`.\n\n{example}"

    @click.command(name=verb, help=help_text)
    @click.argument("nodes", metavar="NODE…", nargs=-1, required=True)
    @NAME
    @JSON
    def command(nodes: tuple[str, ...], name: str, as_json: bool) -> None:
        from taskfan.cluster.cli_output import status_json
        from taskfan.cluster.launch import Control

        control = Control.connect(name)
        found = meant(nodes, control.ask("status").nodes)
        # Whether all may go is checked before one does.
        orders = [[node.id for node in found]] if verb == "remove" else [[node.id] for node in found]
        for ids in orders:
            now = control.ask(verb, ",".join(ids))
            if not as_json:
                _say([node for node in found if node.id in ids], verb, done)
        if as_json:
            click.echo(status_json(now))

    return command


def _say(nodes: Sequence[NodeStatus], verb: Verb, done: str) -> None:
    for node in nodes:
        did_not_run = verb in ("kill", "stop") and node.pid == 0
        click.echo(f"Node [{node.name}] {'did not run' if did_not_run else f'is {done}'}.")


NODE_COMMANDS = (
    add,
    node_command("remove", "removed", "Stop nodes and forget them; others take their part."),
    node_command("stop", "stopped", "Let nodes end by themselves. One that does not run is no error."),
    node_command("start", "running", "Start stopped nodes again, with their old ids and ports."),
    node_command("restart", "running", "Stop and start nodes; they keep their ids and ports."),
    node_command("kill", "killed", "End nodes as a crash would (SIGKILL)."),
    node_command("pause", "paused", "Make nodes stand still (SIGSTOP): ports stay open, nothing answers."),
    node_command("resume", "running", "Let paused nodes go on."),
)
