"""The progress bars of the demo: how far each slice of a reindex is, read from the statuses of its tasks."""

import json
import time

from demo_curl import ask
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

LIMIT_S = 60
EVERY_S = 0.1


def watch(url: str, task: str, what: str, until: int) -> None:
    """Show the slices until so many documents are copied in all."""
    print(f"\n# Meanwhile, {what}: `status` of each child says how far it is.", flush=True)
    limit_s = time.monotonic() + LIMIT_S
    columns = (TextColumn("slice {task.description}"), BarColumn(40), MofNCompleteColumn())
    with Progress(*columns, console=Console(highlight=False)) as progress:
        bars = [progress.add_task(str(number), total=None) for number in range(2)]
        done = 0
        while done < until and time.monotonic() < limit_s:
            listed = json.loads(ask(f"{url}/_tasks?detailed&group_by=none&parent_task_id={task}"))["tasks"]
            statuses = [one["status"] for one in listed if "slice_id" in one.get("status", {})]
            for status in statuses:
                progress.update(bars[status["slice_id"]], completed=status["created"], total=status["total"])
            done = sum(status["created"] for status in statuses)
            time.sleep(EVERY_S)
