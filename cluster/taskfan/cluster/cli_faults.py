"""`taskfan fault`, `partition` and `heal`: faults on purpose, for people."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click

from taskfan.cluster.cli_options import JSON, NAME

if TYPE_CHECKING:
    from taskfan.cluster.messages import FaultCommand, FaultReport

KINDS = ("drop", "fail", "delay", "refuse", "disconnect", "duplicate", "reorder", "cut", "blackhole", "slow")
SHAPES = ("isolate", "halves", "bridge", "ring", "one_way", "by_attribute")
LINK_KINDS = ("cut", "blackhole", "slow")


def _ask(name: str, command: FaultCommand) -> list[FaultReport]:
    from taskfan.cluster.errors import ClusterError
    from taskfan.cluster.launch import Control

    try:
        return Control.connect(name).ask_faults(command)
    except ClusterError as error:
        error.args = (_with_options(error.message),)
        error.message = _with_options(error.message)
        raise


def _with_options(message: str) -> str:
    """Fields of rules and shapes as the options that they are here; those behind a noun are values."""
    context = click.get_current_context()
    options = [option for parameter in context.command.params for option in parameter.opts]

    def shown(found: re.Match[str]) -> str:
        option = f"--{re.sub('[._]', '-', found[1])}"
        return option if option in options else found[0]

    return re.sub(r"(?<!kind )(?<!shape )(?<!named )(?<!id )\[([a-z_.]+)]", shown, message)


def _json(values: Any) -> None:
    import msgspec

    click.echo(json.dumps(msgspec.to_builtins(values), indent=2))


def _hits(count: int) -> str:
    return f"{count} hit{'s' * (count != 1)}"


@click.group()
def fault() -> None:
    """Lose, delay, refuse and spoil messages between nodes.

    \b
    Example:
      taskfan fault add drop --to opensearch-node2 --action '*lists[n]' --on reply --first 2
      taskfan fault list
      taskfan fault reset
    """


@fault.command()
@click.argument("kind", type=click.Choice(KINDS), metavar="KIND")
@click.option("--on", type=click.Choice(["request", "reply"]), help="Which message.  [default: request]")
@click.option("--from", "from_", help="Who asks: names, ids, patterns, zone:a; with commas.  [default: *]")
@click.option("--to", help="Who is asked.  [default: *]")
@click.option("--action", help="Patterns of actions; '-internal:*' takes some out again.  [default: *]")
@click.option("--task-id", help="The task that the request is about.")
@click.option("--parent-task-id", help="The task on whose behalf it is sent.")
@click.option("--opaque-id", help="Its X-Opaque-Id.")
@click.option("--description", help="Pattern of the description of the task that it starts.")
@click.option("--after", type=int, help="Leave so many messages of each pair of nodes alone;")
@click.option("--every", type=int, help="then every so many-th;")
@click.option("--first", type=int, help="of these the first so many;")
@click.option("--probability", type=float, help="each of these with this chance;")
@click.option("--budget", type=int, help="at most so many in all.")
@click.option("--between", nargs=2, metavar="TIME TIME", help="Only from this time to that, from now on.")
@click.option("--delay", help="Of `delay`: a time value such as 200ms.")
@click.option("--jitter", help="Of `delay`: so much more or less.")
@click.option("--distribution", type=click.Choice(["uniform", "normal", "exponential"]), help="Of `delay`.")
@click.option("--how", type=click.Choice(["rejected", "not_connected"]), help="Of `refuse`.  [default: rejected]")
@click.option("--bandwidth", help="Of `slow`: bytes a second, such as 64kb.")
@click.option("--error-type", help="Of `fail`: type of the error.")
@click.option("--error-reason", help="Of `fail`: its reason.")
@click.option("--error-status", type=int, help="Of `fail`: its REST status.")
@click.option("--at-once", is_flag=True, help="Of `fail` on reply: while it still runs.")
@click.option("--seed", type=click.IntRange(min=0), help="Of probability and jitter.")
@click.option("--fault-name", default="", help="What to call it.")
@NAME
@JSON
def add(name: str, as_json: bool, fault_name: str, **options: Any) -> None:
    """Set a fault of one rule, and print its id.

    \b
    KIND of a message:
      drop        it is lost, and whoever asked waits
      fail        whoever asked sees an error instead
      delay       it comes later
      refuse      rejected as by a full pool, or not connected
      disconnect  it closes its link
      duplicate   the reply comes twice
      reorder     the next one overtakes it
    KIND of a link:
      cut         closed, and none opens
      blackhole   nothing passes, and nobody is told
      slow        so many bytes a second

    \b
    Example:
      taskfan fault add drop --to opensearch-node2 --action '*lists[n]' --on reply --first 2
      taskfan fault add delay --delay 200ms --jitter 50ms --to zone:b
      taskfan fault add fail --action '*tasks/ban' --error-type io_exception
    """
    from taskfan.cluster.messages import FaultCommand

    error = {key: options.pop(f"error_{key}") for key in ("type", "reason", "status")}
    rule = {key.rstrip("_"): value for key, value in options.items() if value not in (None, False)}
    if any(value is not None for value in error.values()):
        rule["error"] = {key: value for key, value in error.items() if value is not None}
    [report] = _ask(name, FaultCommand("add", name=fault_name, rules=[rule]))
    if as_json:
        _json(report)
    else:
        click.echo(report.fault.id)


@fault.command(name="list")
@NAME
@JSON
def list_(name: str, as_json: bool) -> None:
    """Show the faults that are set, and how many messages and links each has spoiled.

    \b
    Example:
      taskfan fault list
    """
    from taskfan.cluster.cli_output import table
    from taskfan.cluster.messages import FaultCommand

    reports = _ask(name, FaultCommand("list"))
    if as_json:
        # Hits are told by `fault hits`: an empty list here would look like none.
        _json([{"fault": report.fault, "hit_count": report.hit_count} for report in reports])
    elif not reports:
        click.echo("No fault is set.")
    else:
        rows = [row for report in reports for row in _rows(report)]
        click.echo(table(("ID", "NAME", "HITS", "RULE"), rows))


def _rows(report: FaultReport) -> list[tuple[str, str, str, str]]:
    """One line for each rule; the fault itself on the first."""
    rules = [", ".join(f"{key}={_shown(value)}" for key, value in rule.items()) for rule in report.fault.rules]
    rest = [("", "", "", rule) for rule in rules[1:]]
    return [(report.fault.id, report.fault.name, str(report.hit_count), rules[0]), *rest]


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


@fault.command()
@click.argument("fault_id", metavar="FAULT")
@NAME
@JSON
def hits(fault_id: str, name: str, as_json: bool) -> None:
    """Show what a fault has spoiled.

    \b
    Example:
      taskfan fault hits fault-1
    """
    from taskfan.cluster.messages import FaultCommand

    [report] = _ask(name, FaultCommand("hits", fault=fault_id))
    if as_json:
        _json(report)
        return
    click.echo(f"{_hits(report.hit_count)}.")
    for hit in report.hits:
        what = f"{hit['on']} of {hit['action']}" if hit["action"] else "link"
        behalf = f" for {hit['parent_task_id']}" if hit["parent_task_id"] else ""
        click.echo(f"{hit['kind']}  {hit['from']} -> {hit['to']}  {what}{behalf}")


@fault.command()
@click.argument("fault_ids", metavar="FAULT…", nargs=-1, required=True)
@NAME
def rm(fault_ids: tuple[str, ...], name: str) -> None:
    """Remove faults.

    \b
    Example:
      taskfan fault rm fault-1
    """
    from taskfan.cluster.messages import FaultCommand

    for fault_id in fault_ids:
        [report] = _ask(name, FaultCommand("remove", fault=fault_id))
        click.echo(f"Fault [{fault_id}] is removed after {_hits(report.hit_count)}.")


@fault.command()
@NAME
def reset(name: str) -> None:
    """Remove all faults. Paused nodes stay paused: see `taskfan heal`.

    \b
    Example:
      taskfan fault reset
    """
    from taskfan.cluster.messages import FaultCommand

    _ask(name, FaultCommand("reset"))
    click.echo("No fault is set.")


@click.command()
@click.argument("shape", type=click.Choice(SHAPES), metavar="SHAPE")
@click.option("--nodes", help="isolate, halves, bridge: which nodes.")
@click.option("--from", "from_", help="one_way: who does not reach the others;")
@click.option("--to", help="one_way: whom.  [default: *]")
@click.option("--attribute", help="by_attribute: the attribute, such as zone.")
@click.option("--kind", type=click.Choice(LINK_KINDS), default="cut", show_default=True, help="What happens to links.")
@click.option("--bandwidth", help="Of `slow`: bytes a second, such as 64kb.")
@NAME
def partition(shape: str, name: str, kind: str, bandwidth: str | None, **options: Any) -> None:
    """Keep nodes from reaching one another, and print the id of the fault.

    \b
    SHAPE:
      isolate       these nodes and the others do not reach each other
      halves        the same, by default the first half and the second
      bridge        two halves apart, and nodes that reach both
      ring          each node reaches its two neighbours only
      one_way       some do not reach others, who do reach them
      by_attribute  nodes whose attribute differs are apart

    \b
    Example:
      taskfan partition isolate --nodes opensearch-node3
      taskfan partition by_attribute --attribute zone --kind blackhole
      taskfan heal
    """
    from taskfan.cluster.messages import FaultCommand

    values = {key.rstrip("_"): value for key, value in options.items() if value is not None}
    link = {"kind": kind} | ({} if bandwidth is None else {"bandwidth": bandwidth})
    [report] = _ask(name, FaultCommand("shape", shape=shape, values=values, link=link))
    click.echo(report.fault.id)


@click.command()
@NAME
def heal(name: str) -> None:
    """Remove all faults, let paused nodes go on, and wait until every node reaches every other.

    \b
    Example:
      taskfan heal
    """
    from taskfan.cluster.cluster import Cluster

    with Cluster.attach(name) as cluster:
        cluster.faults.heal()
    click.echo(f"Cluster [{name}] is whole.")
