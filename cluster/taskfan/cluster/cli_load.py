"""`taskfan load`: work at a rate, for people and programs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from taskfan.cluster.cli_options import usual_name
from taskfan.cluster.cli_tasks import NAME, URL

if TYPE_CHECKING:
    from taskfan.cluster.load_run import Watch
    from taskfan.cluster.load_summary import Summary


@click.command()
@click.argument("profile", default="mixed")
@NAME
@URL
@click.option("--seconds", type=click.FloatRange(0.1, 3600), default=10, show_default=True, help="How long to send.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of what is drawn, and when.")
@click.option("--keep", is_flag=True, help="Leave the indices that it made.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def load(profile: str, name: str | None, url: str | None, seconds: float, seed: int, keep: bool, as_json: bool) -> None:
    """Make work at a rate: searches, bulks, reindexes and simulated plans. Exits 1 when some of it failed.

    PROFILE is a YAML file, or the name of a profile that ships with taskfan: mixed or writes. Ctrl-C ends it
    early, with the summary. Latencies begin when an operation was due; what was due while too many were in flight
    is counted as not sent.

    \b
    Examples:
      taskfan load --seconds 30
      taskfan load my_profile.yaml --seed 7 --json
    """
    from taskfan.cluster.load_profile import load_profile
    from taskfan.cluster.load_run import LoadRun

    checked = load_profile(profile)
    run = LoadRun(_urls(name, url), checked, seed)
    try:
        run.prepare()
        with _progress(seconds) as watch:
            summary = run.run(seconds, watch)
        # Before anything is deleted, which may fail while nodes are away.
        click.echo(json.dumps(summary.to_object(), indent=2) if as_json else summary.to_text())
    finally:
        for left in [] if keep else run.clean_up():
            click.echo(f"May be left: index {left}", err=True)
    click.get_current_context().exit(1 if summary.errors else 0)


def _urls(name: str | None, url: str | None) -> list[str]:
    """Where to ask: --url, or all nodes that run of the cluster of --name. Raises ClusterError."""
    if url and not name:
        return [url.rstrip("/")]
    from taskfan.cluster.errors import ClusterError
    from taskfan.cluster.launch import Control

    status = Control.connect(name or usual_name()).ask("status")
    urls = [node.url for node in status.nodes if node.state == "running"]
    if still := [node.name for node in status.nodes if node.state == "paused" and node.in_cluster]:
        # Nothing is wrong with half a minute of silence, but nobody likes it.
        names = ", ".join(still)
        click.echo(f"Paused: {names}. What is to be on all nodes waits until the cluster gives that up.", err=True)
    if not urls:
        raise ClusterError(f"No node of cluster [{status.name}] runs: see `taskfan status`.")
    return urls


@contextlib.contextmanager
def _progress(seconds: float) -> Iterator[Watch]:
    """A bar with what is done, in flight and wrong; nothing where no person looks on."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda now_s, summary, in_flight: None
        return
    columns = (BarColumn(40), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=seconds)

        def watch(now_s: float, summary: Summary, in_flight: int) -> None:
            text = f"{summary.done} done, {in_flight} in flight, {summary.errors} errors"
            progress.update(bar, completed=now_s, description=text)

        yield watch
