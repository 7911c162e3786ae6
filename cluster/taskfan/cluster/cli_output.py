"""How the command line shows nodes, tasks and logs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from taskfan.cluster.messages import ClusterStatus

if TYPE_CHECKING:
    from rich.tree import Tree

FOLLOW_INTERVAL_S = 0.2


def status_json(status: ClusterStatus, **more: Any) -> str:
    """For programs: the fields of ClusterStatus, the URL of the first node, and `more`."""
    values = msgspec.to_builtins(status)
    values.pop("type")
    return msgspec.json.format(msgspec.json.encode({**more, "url": status.nodes[0].url, **values})).decode()


def node_table(status: ClusterStatus) -> str:
    """One line for each node."""
    rows = [
        (
            f"{'*' if node.is_manager else ' '} {node.name}",
            node.state,
            "yes" if node.in_cluster else "no",
            str(node.pid or "-"),
            node.url,
            node.transport_address,
            ", ".join(node.roles) or "coordinating only",
            node.reason,
        )
        for node in status.nodes
    ]
    return table(("  NODE", "STATE", "IN CLUSTER", "PID", "URL", "TRANSPORT", "ROLES", ""), rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their longest cell."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows))
    return "\n".join(line.rstrip() for line in lines)


def task_tree(tasks: Mapping[str, Mapping[str, Any]], node_names: Mapping[str, str]) -> Tree:
    """Tasks under their parents, from an answer with `group_by=parents`."""
    from rich.tree import Tree

    root = Tree("tasks", hide_root=True)
    _add_tasks(root, tasks.values(), node_names)
    return root


def _add_tasks(tree: Tree, tasks: Iterable[Mapping[str, Any]], node_names: Mapping[str, str]) -> None:
    from rich.text import Text

    for task in tasks:
        node = node_names.get(task["node"], task["node"])
        line = Text.assemble(
            (task["action"], "bold"),
            (f"  {task['node']}:{task['id']}", "cyan"),
            f"  {node}  {_running_time(task['running_time_in_nanos'])}",
            ("  cancelled", "red") if task.get("cancelled") else "",
            (f"  {task['description']}", "dim") if task.get("description") else "",
            overflow="fold",
        )
        _add_tasks(tree.add(line), task.get("children", ()), node_names)


def _running_time(nanos: int) -> str:
    seconds = nanos / 1e9
    if seconds < 1:
        return f"{seconds * 1e3:.1f}ms"
    return f"{seconds:.1f}s" if seconds < 60 else f"{int(seconds // 60)}m{int(seconds % 60)}s"


def in_order(logs: Iterable[Sequence[str]]) -> list[str]:
    """Lines of several logs by their times; those without one, such as of a traceback, stay behind their own."""
    timed: list[tuple[str, int, str]] = []
    for number, log in enumerate(logs):
        time_text = ""
        for line in log:
            time_text = _time_of(line) or time_text
            timed.append((time_text, number, line))
    return [line for _, _, line in sorted(timed, key=lambda entry: entry[:2])]


def _time_of(line: str) -> str:
    """As text: such times are in order when their texts are."""
    found = re.match(r"\[(\d{4}-\d\d-\d\dT[\d:,]+)\]", line)
    return found[1] if found else ""


def follow_logs(ends: dict[Path, int], show: Callable[[str], object]) -> None:
    """Show what is appended to these files beyond these sizes, until interrupted."""
    rest = dict.fromkeys(ends, "")
    while True:
        new: list[list[str]] = []
        for path in ends:
            size = path.stat().st_size if path.exists() else 0
            # A log that was set aside begins anew.
            start = ends[path] if size >= ends[path] else 0
            if size == start:
                continue
            with path.open("rb") as file:
                file.seek(start)
                text = rest[path] + file.read(size - start).decode(errors="replace")
            *lines, rest[path] = text.split("\n")
            ends[path] = size
            new.append(lines)
        for line in in_order(new):
            show(line)
        time.sleep(FOLLOW_INTERVAL_S)
