"""`taskfan journal`: what happened on all nodes, for people and for programs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from taskfan.cluster.cli_options import NAME

if TYPE_CHECKING:
    from taskfan.cluster.journal_view import Filter
    from taskfan.cluster.state_directory import StateDirectory

FOLLOW_INTERVAL_S = 0.2


@click.command()
@NAME
@click.option("--task", default="", help="This task, what descends from it, their messages and bans.")
@click.option("--action", default="", help="Actions, such as '*search*,*tasks/ban'.")
@click.option("--node", default="", help="Only what these nodes noted, such as 'opensearch-node1'.")
@click.option("--kind", default="", help="Kinds of events, such as 'request_*,fault_hit'.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on; Ctrl-C ends it.")
@click.option("--time", "with_time", is_flag=True, help="With the time of day (UTC).")
@click.option("--json", "as_json", is_flag=True, help="Print the lines as they are, JSON, for programs.")
@click.option("--diagram", "as_diagram", is_flag=True, help="Show --task as a sequence diagram.")
@click.option("--on/--off", "switch", default=None, help="Have all nodes, or --node, begin or cease to note.")
def journal(
    name: str,
    task: str,
    action: str,
    node: str,
    kind: str,
    follow: bool,
    with_time: bool,
    as_json: bool,
    as_diagram: bool,
    switch: bool | None,
) -> None:
    """Show what happened on all nodes, causes before what they caused.

    It is kept by nodes that were started with `taskfan up --journal`, or since `taskfan journal --on`.
    Of each message it says what became of it: received, dropped by a fault, refused, or its link closed.

    \b
    Example:
      taskfan up -n 3 --journal
      taskfan work search_fan_out
      taskfan journal --task oTUltX4IQMOUUVeiohTt8A:464 --diagram
      taskfan journal --kind 'fault_hit,ban_*' --follow
    """
    from taskfan.cluster.journal_files import read_journals
    from taskfan.cluster.journal_view import Filter
    from taskfan.cluster.state_directory import StateDirectory

    if as_diagram:
        _check_diagram(
            task, {"--action": action, "--node": node, "--kind": kind, "--follow": follow, "--json": as_json}
        )
    if switch is not None:
        _switch(name, switch, node)
        return
    directory = StateDirectory.named(name)
    _flush(name)
    _check_task(task)
    _check_kinds(kind)
    _check_nodes(node, directory)
    if follow:
        if not directory.all_journals():
            click.echo(f"{_nothing(name)} Waiting for it.", err=True)
        _follow(directory, Filter(task, action, node, kind), as_json, with_time)
        return
    merged = read_journals(directory.all_journals())
    if not merged.entries:
        raise _nothing(name)
    if as_diagram:
        drawn = merged.diagram(task, shutil.get_terminal_size((120, 24)).columns)
        click.echo(drawn or f"The journal knows nothing of task [{task}].", err=not drawn)
        return
    wanted = merged.only(task, action, node, kind)
    if not wanted.entries:
        click.echo("No entry matches.", err=True)
    elif as_json:
        from taskfan.node.journal import line_of

        for entry in wanted:
            click.echo(line_of(entry.lamport, entry.time_ms, entry.node, entry.event), nl=False)
    else:
        click.echo(wanted.table(with_time=with_time))


def _check_diagram(task: str, others: Mapping[str, object]) -> None:
    if not task:
        raise click.UsageError("Say of which task: --diagram needs --task.")
    if wrong := [option for option, value in others.items() if value]:
        raise click.UsageError(f"--diagram draws all of --task, once: it does not go with {' and '.join(wrong)}.")


def _check_task(task: str) -> None:
    """Raises ConfigError for what is no task id."""
    from taskfan.cluster.errors import ConfigError
    from taskfan.node.ids import is_task_id

    if task and not is_task_id(task):
        raise ConfigError(f"--task is a task id, which `taskfan tasks` shows beside its action; not [{task}].")


def _check_kinds(kind: str) -> None:
    """Raises ConfigError for a pattern that no event can ever match."""
    from taskfan.node.journal import KINDS

    _check_patterns(kind, KINDS, "--kind", "kind of event")


def _check_nodes(node: str, directory: StateDirectory) -> None:
    """Raises ConfigError for a pattern that matches none of the nodes that there are or were."""
    record = directory.read_cluster()
    known = {} if record is None else {name: about.id for name, about in record.nodes.items()}
    names = dict.fromkeys([*(path.stem for path in directory.all_journals()), *known])
    _check_patterns(node, tuple(names), "--node", "node", also=tuple(known.values()))


def _check_patterns(patterns: str, known: Sequence[str], option: str, what: str, also: Sequence[str] = ()) -> None:
    from taskfan.cluster.errors import ConfigError
    from taskfan.node.action_filter import action_pattern

    for pattern in filter(None, (part.strip() for part in patterns.split(","))):
        matches = action_pattern((pattern,))
        if known and not any(map(matches, (*known, *also))):
            raise ConfigError(f"{option}: no {what} is called [{pattern}]: there are {', '.join(known)}.")


def _switch(name: str, on: bool, node: str) -> None:
    """Have nodes begin or cease, and say which."""
    from taskfan.cluster.cli_nodes import meant
    from taskfan.cluster.launch import Control

    control = Control.connect(name)
    nodes = meant([node or "*"], control.ask("status").nodes)
    for node_id in [one.id for one in nodes] if node else [""]:
        control.ask("journal_on" if on else "journal_off", node_id)
    count = f"{len(nodes)} node{'s' * (len(nodes) != 1)}"
    click.echo(f"Journals are {'on' if on else 'off'}: {count}.")
    if late := [one.name for one in nodes if one.state != "running"]:
        click.echo(f"As soon as they run: {', '.join(late)}.")


def _flush(name: str) -> None:
    """Have all written, if it runs: what a cluster wrote can be read when it has ended, too."""
    from taskfan.cluster.launch import Control

    control = Control.find(name)
    if control is not None:
        control.ask("journal_flush")
        control.close()


def _nothing(name: str) -> Exception:
    from taskfan.cluster.errors import ClusterError

    return ClusterError(f"Cluster [{name}] has no journal: `taskfan journal --on` begins one.")


def _follow(directory: StateDirectory, wanted: Filter, as_json: bool, with_time: bool) -> None:
    """Print what is there and what comes, until interrupted. What comes at one look is in Lamport order."""
    from taskfan.cluster.journal_files import Tail
    from taskfan.cluster.journal_text import Texts, table_line
    from taskfan.cluster.journal_view import merge, names_of
    from taskfan.node.journal import line_of

    tails: dict[str, Tail] = {}
    names: dict[str, str] = {}
    texts = Texts(names)
    while True:
        for path in directory.all_journals():
            tails.setdefault(str(path), Tail(path))
        entries = list(merge([tail.read() for tail in tails.values()]))
        names.update(names_of(entries))
        width = max((len(name) for name in names.values()), default=0)
        for entry in entries:
            if not wanted.passes(entry):
                continue
            if as_json:
                click.echo(line_of(entry.lamport, entry.time_ms, entry.node, entry.event), nl=False)
            else:
                click.echo(table_line(entry, texts, width, with_time=with_time))
        time.sleep(FOLLOW_INTERVAL_S)
