"""`taskfan`: what people type to start, watch and stop clusters."""

from __future__ import annotations

import contextlib
import errno
import signal
import time
from typing import TYPE_CHECKING, Any

import click

from taskfan.cluster.cli_faults import fault, heal, partition
from taskfan.cluster.cli_journal import journal
from taskfan.cluster.cli_load import load
from taskfan.cluster.cli_tasks import cancel, tasks, work

if TYPE_CHECKING:
    from taskfan.cluster.messages import ClusterStatus, Verb

NAME = click.option("--name", default="taskfan", show_default=True, help="Name of the cluster.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


_AS_PROGRAM = object()
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


cli.add_command(tasks)
cli.add_command(cancel)
cli.add_command(work)
cli.add_command(load)
cli.add_command(journal)
cli.add_command(fault)
cli.add_command(partition)
cli.add_command(heal)


@cli.command()
@click.option("-n", "--nodes", type=int, help="How many nodes; 3 unless the config file says otherwise.")
@click.option("--coordinating-only", type=int, default=0, help="How many more nodes, without roles.")
@NAME
@click.option("--http-port", type=int, help="HTTP port of the first node.  [default: 9200]")
@click.option("--transport-port", type=int, help="Transport port of the first node.  [default: 9300]")
@click.option("--port-offset", type=int, default=0, help="Added to every port.")
@click.option("--any-port", is_flag=True, help="Let the system choose all ports.")
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
    began_s = time.monotonic()
    from taskfan.cluster.cluster import Cluster

    if options["any_port"] and (_given("http_port") or _given("transport_port") or options["port_offset"]):
        raise click.UsageError("Either --any-port, or --http-port, --transport-port and --port-offset.")
    # Unless it is said, a config file may name it; by that name it is then found.
    options["name"] = _given("name")
    cluster = Cluster.kept(**options)
    with cluster.start():
        # A reader that has seen enough, such as `head`, takes nothing back.
        with contextlib.suppress(BrokenPipeError):
            _print_up(cluster.status(), time.monotonic() - began_s, as_json)
        if not foreground:
            _end_interrupts()
            cluster.release(ends_with or 0)
        else:
            # That is the way to stop it, from the moment on in which it is said.
            with contextlib.suppress(KeyboardInterrupt):
                click.echo("Ctrl-C stops it.", err=True)
                cluster.wait_for_end()


def _end_interrupts() -> None:
    """From here on a Ctrl-C is too late: it must not make a start that succeeded look like one that failed."""
    # Not in a program that only uses the commands.
    if click.get_current_context().find_root().obj is _AS_PROGRAM:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _given(parameter: str) -> Any:
    """The value of an option if it was said, so that a config file can decide otherwise."""
    context = click.get_current_context()
    source = context.get_parameter_source(parameter)
    return None if source is click.core.ParameterSource.DEFAULT else context.params[parameter]


def _print_up(status: ClusterStatus, took_s: float, as_json: bool) -> None:
    from taskfan.cluster.cli_output import node_table, status_json

    if as_json:
        click.echo(status_json(status, took_s=round(took_s, 3)))
        return
    count = len(status.nodes)
    click.echo(f"Cluster [{status.name}] is ready: {count} node{'s' * (count > 1)} in {took_s:.2f} s.\n")
    click.echo(node_table(status))
    click.echo(f"\nexport OPENSEARCH_URL={status.nodes[0].url}")


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
    from taskfan.cluster.launch import Control
    from taskfan.cluster.state_directory import StateDirectory

    control = Control.find(name)
    if control is None:
        click.echo(f"Cluster [{name}] does not run.")
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
@NAME
@JSON
def status(name: str, as_json: bool) -> None:
    """Show the nodes of a cluster and what they do.

    \b
    Example:
      taskfan status
      taskfan status --json | jq -r '.nodes[].url'
    """
    from taskfan.cluster.cli_output import node_table, status_json
    from taskfan.cluster.launch import Control

    now = Control.connect(name).ask("status")
    if as_json:
        click.echo(status_json(now))
        return
    running = sum(node.state == "running" for node in now.nodes)
    click.echo(f"Cluster [{now.name}]: {running} of {len(now.nodes)} nodes run; * is the cluster manager.\n")
    click.echo(node_table(now))


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
      taskfan logs -f
    """
    from taskfan.cluster.cli_output import follow_logs, in_order
    from taskfan.cluster.errors import ClusterError
    from taskfan.cluster.state_directory import StateDirectory, last_lines

    directory = StateDirectory.named(name)
    found = directory.all_logs() if node is None else [directory.find_log(node)]
    paths = [path for path in found if path is not None]
    if not paths:
        of = "" if node is None else f" of [{node}]"
        raise ClusterError(f"There is no log{of} in {directory.path}: see `taskfan status`.")
    ends = {path: path.stat().st_size for path in paths}
    for line in in_order([last_lines(path, lines) for path in paths]):
        click.echo(line)
    if follow:
        follow_logs(ends, click.echo)


@cli.command()
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


def _add_verb(verb: Verb, done: str, what: str) -> None:
    help_text = f"{what}\n\n\b\nExample:\n  taskfan {verb} opensearch-node2"

    @cli.command(name=verb, help=help_text)
    @click.argument("nodes", metavar="NODE…", nargs=-1, required=True)
    @NAME
    @JSON
    def command(nodes: tuple[str, ...], name: str, as_json: bool) -> None:
        from taskfan.cluster.cli_output import status_json
        from taskfan.cluster.launch import Control

        control = Control.connect(name)
        for node in nodes:
            known = {name: now.pid for now in control.ask("status").nodes for name in (now.name, now.id)}
            now = control.ask(verb, node)
            if not as_json:
                did_not_run = verb in ("kill", "stop") and known.get(node) == 0
                click.echo(f"Node [{node}] {'did not run' if did_not_run else f'is {done}'}.")
        if as_json:
            click.echo(status_json(now))


_add_verb("remove", "removed", "Stop nodes and forget them; others take their part.")
_add_verb("stop", "stopped", "Let nodes end by themselves. One that does not run is no error.")
_add_verb("start", "running", "Start stopped nodes again, with their old ids and ports.")
_add_verb("restart", "running", "Stop and start nodes; they keep their ids and ports.")
_add_verb("kill", "killed", "End nodes as a crash would (SIGKILL).")
_add_verb("pause", "paused", "Make nodes stand still (SIGSTOP): ports stay open, nothing answers.")
_add_verb("resume", "running", "Let paused nodes go on.")


def main() -> None:
    """Entry point of the command."""
    cli(prog_name="taskfan", obj=_AS_PROGRAM)


if __name__ == "__main__":
    main()
