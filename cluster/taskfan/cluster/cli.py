"""`taskfan`: what people type."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from taskfan.cluster.cluster import Cluster
    from taskfan.cluster.messages import ClusterStatus

NAME = click.option("--name", default="taskfan", show_default=True, help="Name of the cluster.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


class _Group(click.Group):
    """Turns a ClusterError into a sentence and its exit status."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except click.ClickException:
            raise
        except Exception as error:
            from taskfan.cluster.errors import ClusterError

            if not isinstance(error, ClusterError):
                raise
            click.echo(f"Error: {error}", err=True)
            context.exit(error.exit_status)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="taskfan")
def cli() -> None:
    """A local cluster of real processes that answers OpenSearch's tasks API.

    \b
    taskfan up -n 3
    curl 'localhost:9200/_tasks?pretty'
    taskfan down
    """


@cli.command()
@click.option("-n", "--nodes", type=int, help="How many nodes; 3 unless the config file says otherwise.")
@click.option("--coordinating-only", type=int, default=0, help="How many more nodes, without roles.")
@NAME
@click.option("--http-port", type=int, help="HTTP port of the first node. [default: 9200]")
@click.option("--transport-port", type=int, help="Transport port of the first node. [default: 9300]")
@click.option("--port-offset", type=int, default=0, help="Added to every port.")
@click.option("--any-port", is_flag=True, help="Let the system choose all ports.")
@click.option("--foreground", is_flag=True, help="Stay, and stop the cluster with Ctrl-C.")
@click.option("--config", type=click.Path(dir_okay=False), help="YAML file with settings.")
@JSON
def up(foreground: bool, as_json: bool, **options: Any) -> None:
    """Start a cluster and wait until it is ready.

    \b
    taskfan up -n 5
    taskfan up -n 3 --name second --port-offset 100
    """
    from taskfan.cluster.cluster import Cluster
    from taskfan.cluster.state_directory import state_root

    began_s = time.monotonic()
    cluster = Cluster(**options, directory=state_root() / options["name"])
    cluster.start()
    try:
        _print_up(cluster.status(), time.monotonic() - began_s, as_json)
        if not foreground:
            cluster.release()
    finally:
        cluster.close()


def _print_up(status: ClusterStatus, took_s: float, as_json: bool) -> None:
    print(status, took_s)


@cli.command()
@NAME
def down(name: str) -> None:
    """Stop a cluster; nothing of it stays but its logs and node ids. Twice is fine."""
    from taskfan.cluster.launch import Control

    control = Control.find(name)
    if control is None:
        click.echo(f"Cluster [{name}] does not run.")
    else:
        control.down()
        click.echo(f"Cluster [{name}] is stopped.")


def main() -> None:
    """Entry point of the command."""
    cli(prog_name="taskfan")
