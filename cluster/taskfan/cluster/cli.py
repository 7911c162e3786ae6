"""`taskfan`: what people type to start, watch and stop clusters."""

from __future__ import annotations

import contextlib
import errno
import shlex
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from taskfan.cluster.cli_faults import fault, heal, partition
from taskfan.cluster.cli_journal import journal
from taskfan.cluster.cli_load import load
from taskfan.cluster.cli_nodes import NODE_COMMANDS
from taskfan.cluster.cli_options import JSON, NAME, NAME_VARIABLE, named, program
from taskfan.cluster.cli_status import status
from taskfan.cluster.cli_tasks import cancel, tasks, work

if TYPE_CHECKING:
    from taskfan.cluster.messages import ClusterStatus, Progress

_AS_PROGRAM = object()
# Fewer are open before anybody could read how far they are.
_MANY_LINKS = 500
_ERASE_LINE = f"\r{' ' * 50}\r"
INTERRUPTED = 128 + signal.SIGINT


class _Group(click.Group):
    """Turns a ClusterError into a sentence and its exit status."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            # As of a program that the signal ended: whoever pressed the keys knows why.
            context.exit(INTERRUPTED)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            # Such as of `> /dev/full`; what the cluster itself writes is a ClusterError.
            click.echo(f"Error: Cannot write what was asked for: {error.strerror}.", err=True)
            context.exit(1)
        except Exception as error:
            # Imported when it is needed: it must not slow `--help`.
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
    Example:
      taskfan up -n 3
      curl 'localhost:9200/_tasks?pretty'
      taskfan down
    """


for command in (tasks, cancel, work, load, journal, fault, partition, heal, status, *NODE_COMMANDS):
    cli.add_command(command)


@cli.command()
@click.option("-n", "--nodes", type=int, help="How many nodes; 3 unless the config file says otherwise.")
@click.option("--coordinating-only", type=int, default=0, help="How many more nodes, without roles.")
@NAME
@click.option("--http-port", type=int, help="HTTP port of the first node.  [default: 9200]")
@click.option("--transport-port", type=int, help="Transport port of the first node.  [default: 9300]")
@click.option("--port-offset", type=int, default=0, help="Added to every port, those of --config too.")
@click.option("--any-port", is_flag=True, help="Let the system choose the ports that --config does not name.")
@click.option("--time-scale", type=float, help="Factor on the times of checks and elections; 0.1: ten times as quick.")
@click.option("--mesh", is_flag=True, default=None, help="Open all links between nodes first, not when each is needed.")
@click.option("--journal", is_flag=True, default=None, help="Nodes note what happens: see `taskfan journal`.")
@click.option("--foreground", is_flag=True, help="Stay, and stop the cluster with Ctrl-C.")
@click.option(
    "--ends-with",
    type=click.IntRange(min=1),
    envvar="TASKFAN_ENDS_WITH",
    help="Id of a process to end with, such as $$ in a script (Linux).  [env: TASKFAN_ENDS_WITH]",
)
@click.option("--config", type=click.Path(), help="YAML file: settings under `cluster`, a list of nodes under `nodes`.")
@JSON
def up(foreground: bool, as_json: bool, ends_with: int | None, **options: Any) -> None:
    """Start a cluster and wait until it is ready.

    \b
    Example:
      taskfan up -n 5
      taskfan up -n 3 --coordinating-only 1 --name second --port-offset 1000
      taskfan up --config cluster.yml
      taskfan up -n 50 --mesh

    \b
    A config file:
      cluster:
        http.max_content_length: 10mb
      nodes:
        - node.name: search-1
          node.attr.zone: a
        - node.name: front
          node.roles: []
    """
    try:
        _up(foreground, as_json, ends_with, options)
    except KeyboardInterrupt:
        click.echo("Interrupted: no cluster was started.", err=True)
        raise


def _up(foreground: bool, as_json: bool, ends_with: int | None, options: dict[str, Any]) -> None:
    began_s = time.monotonic()
    from taskfan.cluster.cluster import Cluster
    from taskfan.cluster.errors import ConfigError
    from taskfan.cluster.state_directory import is_alive

    if options["any_port"] and (_given("http_port") or _given("transport_port") or options["port_offset"]):
        raise click.UsageError("Either --any-port, or --http-port, --transport-port and --port-offset.")
    if ends_with and not is_alive(ends_with):
        raise ConfigError(f"--ends-with [{ends_with}]: there is no such process, with which the cluster could end.")
    # Unless it is said, a config file may name it; by that name it is then found.
    options["name"] = _given("name", also_by_environment=options["config"] is None)
    cluster = Cluster.kept(**options)
    with cluster.start(_show_links if sys.stderr.isatty() else None):
        # A reader that has seen enough, such as `head`, takes nothing back.
        with contextlib.suppress(BrokenPipeError):
            _print_up(cluster.status(), time.monotonic() - began_s, as_json, foreground)
        if not foreground:
            _end_interrupts()
            cluster.release(ends_with or 0)
        else:
            # That is the way to stop it, from the moment on in which it is said.
            with contextlib.suppress(KeyboardInterrupt):
                click.echo("Ctrl-C stops it.", err=True)
                cluster.wait_for_end()
    if foreground:
        click.echo(f"Cluster [{cluster.name}] is stopped.", err=True)


def _show_links(progress: Progress) -> None:
    """Rewrite one line on a terminal while a large mesh opens its links."""
    if progress.step == "linking" and progress.of >= _MANY_LINKS:
        click.echo(f"\rLinks opened: {progress.done:,} of {progress.of:,}", nl=False, err=True)
    elif progress.step == "linked" and progress.of >= _MANY_LINKS:
        click.echo(_ERASE_LINE, nl=False, err=True)


def _end_interrupts() -> None:
    """From here on a Ctrl-C is too late: it must not make a start that succeeded look like one that failed."""
    # Not in a program that only uses the commands.
    if click.get_current_context().find_root().obj is _AS_PROGRAM:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _given(parameter: str, *, also_by_environment: bool = True) -> Any:
    """The value of an option if it was said, so that a config file can decide otherwise."""
    context, sources = click.get_current_context(), click.core.ParameterSource
    source = context.get_parameter_source(parameter)
    unsaid = source is sources.DEFAULT or (source is sources.ENVIRONMENT and not also_by_environment)
    return None if unsaid else context.params[parameter]


def _print_up(status: ClusterStatus, took_s: float, as_json: bool, foreground: bool) -> None:
    from taskfan.cluster.cli_output import node_table, status_json

    if as_json:
        click.echo(status_json(status, took_s=round(took_s, 3)))
        return
    count = len(status.nodes)
    click.echo(f"Cluster [{status.name}] is ready: {count} node{'s' * (count > 1)} in {took_s:.2f} s.\n")
    click.echo(f"{node_table(status)}\n")
    needed = named(status.name)
    if not foreground:
        click.echo(f"Stop it with: {program()} down{needed}")
    if needed:
        click.echo(f"Other commands need{needed} too, or first: export {NAME_VARIABLE}={shlex.quote(status.name)}")
    click.echo(f"export OPENSEARCH_URL={status.nodes[0].url}")


@cli.command()
@click.option("--forget", is_flag=True, help="Remove its directory as well: logs, journals and ids.")
@NAME
def down(name: str, forget: bool) -> None:
    """Stop a cluster. Only its logs and the ids of its nodes stay. Doing it twice is fine.

    \b
    Example:
      taskfan down
      taskfan down --name second --forget
    """
    from taskfan.cluster.launch import Control, does_not_run
    from taskfan.cluster.state_directory import StateDirectory

    control = Control.find(name)
    if control is None:
        click.echo(does_not_run(name))
    else:
        control.down()
        click.echo(f"Cluster [{name}] is stopped.")
    directory = StateDirectory.named(name)
    if forget and directory.path.exists():
        # One that starts just now is not to lose its directory.
        directory.lock()
        directory.forget()
        directory.unlock()
        click.echo(f"{directory.path} is removed.")


@cli.command()
@click.argument("node", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on; Ctrl-C ends it.")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=20, show_default=True, help="Lines of each log.")
@NAME
def logs(node: str | None, follow: bool, lines: int, name: str) -> None:
    """Show the logs of a cluster that runs or ran, by time: of NODE, of the `supervisor`, or of all.

    \b
    Example:
      taskfan logs opensearch-node2
      taskfan logs '*-node*'
      taskfan logs -f
    """
    from taskfan.cluster.cli_output import follow_logs, in_order
    from taskfan.cluster.errors import ClusterError
    from taskfan.cluster.state_directory import StateDirectory, last_lines

    directory = StateDirectory.named(name)
    paths = directory.find_logs(node or "*")
    if not paths:
        of = "" if node is None else f" of [{node}]"
        raise ClusterError(f"There is no log{of} in {directory.path}: see `taskfan status`.")
    ends = {path: path.stat().st_size for path in paths}
    for line in in_order([last_lines(path, lines) for path in paths]):
        click.echo(line)
    if follow:
        follow_logs(ends, click.echo)


def main() -> None:
    """Entry point of the command."""
    cli(prog_name="taskfan", obj=_AS_PROGRAM)


if __name__ == "__main__":
    main()
