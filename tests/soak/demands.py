"""What is demanded of a cluster that was healed: nothing is held, no process or descriptor is left, no error logged."""

from __future__ import annotations

import os
import re
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from taskfan.cluster import Cluster, ClusterNode
from taskfan.cluster.journal_view import merge, names_of
from taskfan.cluster.leaks import Footprint
from taskfan.cluster.merged_journal import MergedJournal
from taskfan.cluster.rest_client import ask
from taskfan.cluster.state_directory import StateDirectory
from taskfan.node.file_journal import set_aside
from taskfan.node.journal import StateApplied, entry_of

# A healed cluster needs a few seconds at most: scrolls end by themselves, and so does work that ignores its cancel.
DEADLINE_S = 30.0
# A process takes some rounds until all is in memory that is made once, and some more tell whether it grows.
WARM_ROUNDS, LEAST_ROUNDS = 10, 12
MOST_GROWTH_BYTES, MOST_BYTES = 6 << 20, 40 << 20
MOST_DESCRIPTORS_MORE = 3
WORDS_OF_BANS = (b'"ban_of"', b'"link_closed"', b'"removed"', b'"journal_opened"')


def until_nothing(look: Callable[[], list[str]], deadline_s: float = DEADLINE_S) -> list[str]:
    """What is still found when the time is over; empty as soon as nothing is."""
    end_s = time.monotonic() + deadline_s
    while (found := look()) and time.monotonic() < end_s:
        time.sleep(0.05)
    return found


def held(node: ClusterNode) -> dict[str, Any]:
    """What a node alone holds."""
    answer: dict[str, Any] = ask(node.url, "GET", "/_taskfan/held")
    return answer


def held_by_all(cluster: Cluster) -> list[str]:
    """Tasks, child counts and search contexts, a sentence for each; bans are looked at on their own."""
    found = []
    for node in cluster.nodes:
        holds = held(node)
        found += [f"{node.name} runs {task} {action}" for task, action in holds["tasks"].items()]
        found += [f"{node.name} counts children of {parent}: {on}" for parent, on in holds["child_counts"].items()]
        if holds["search_contexts"]:
            found.append(f"{node.name} keeps {holds['search_contexts']} search contexts")
    return found


def bans(cluster: Cluster) -> list[tuple[ClusterNode, str]]:
    """Where a ban is, and of which parent."""
    return [(node, parent) for node in cluster.nodes for parent in held(node)["bans"]]


def journal_of_bans(cluster: Cluster) -> MergedJournal:
    """What nodes noted of bans, and what explains their fate; all they noted would take long to read."""
    cluster.command("journal_flush")
    journals = []
    for path in StateDirectory(cluster.directory).all_journals():
        parts = [part.read_bytes().splitlines() for part in (set_aside(path), path) if part.exists()]
        lines = [line for part in parts for line in part if any(word in line for word in WORDS_OF_BANS)]
        journals.append([entry_of(line) for line in lines])
    entries = list(merge(journals))
    return MergedJournal(entries, entries)


def unexplained(left: Sequence[tuple[ClusterNode, str]], journal: MergedJournal) -> list[str]:
    """Bans that should not have stayed: no fault spoiled a ban or an unban of that parent, and no link closed on one.

    Nor had the parent's node taken the other one for gone: such a node is told nothing, as in OpenSearch.
    """
    spoiled = {message.ban_of for message in journal.messages() if message.fate != "received" or message.hits}
    names = {node.id: node.name for node, _ in left}
    removals = {
        (entry.node, removed)
        for entry in journal
        if isinstance(entry.event, StateApplied)
        for removed in entry.event.removed
        if removed in names
    }
    asking = names_of(journal)
    return [
        f"{node.name} bans {parent}, whose unban nothing spoiled"
        for node, parent in left
        if parent not in spoiled and (asking.get(parent.partition(":")[0], ""), node.id) not in removals
    ]


def who_knows(node_id: str, nodes: Sequence[ClusterNode]) -> list[str]:
    """These nodes' cluster states still have that node."""
    states = {node.name: ask(node.url, "GET", "/_cluster/state/nodes", {"local": True}) for node in nodes}
    return [f"{name} still knows {node_id}" for name, state in states.items() if node_id in state["nodes"]]


def errors_logged(cluster: Cluster, seen: dict[str, int]) -> list[str]:
    """Errors and tracebacks in the nodes' logs since the last look, the first of each node."""
    found = []
    for node in cluster.nodes:
        text = Path(node.log_path).read_text(errors="replace")
        new, seen[node.id] = text[seen.get(node.id, 0) :], len(text)
        if match := re.search(r"^.*(\[ERROR|Traceback \(most).*(\n.*){0,30}", new, re.MULTILINE):
            found.append(f"{node.name} logged: {match[0]}")
    return found


def descriptors(pid: int) -> int:
    """How many file descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def too_many_descriptors(pids: dict[str, int], at_first: dict[str, int]) -> list[str]:
    """Processes with more of them than at first, by name; a new process is compared with the one before it."""
    counts = {name: descriptors(pid) for name, pid in pids.items()}
    return [
        f"{name} has {count} file descriptors, {at_first[name]} at first"
        for name, count in counts.items()
        if count > at_first[name] + MOST_DESCRIPTORS_MORE
    ]


def processes_left(footprint: Footprint, nodes: int) -> list[str]:
    """Supervisor, fork server and one process for each node is what there is to be."""
    there = footprint.processes()
    return [] if len(there) == nodes + 2 else [f"{len(there)} processes, not {nodes + 2}: {there}"]


def private_bytes(pid: int) -> int:
    """What a process alone holds in memory."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * sum(int(size) for size in re.findall(r"^Private_(?:Clean|Dirty): +(\d+)", text, re.MULTILINE))


def growth_bytes(series: list[int]) -> int:
    """From the first rounds that count to the last ones; 0 when there are too few to tell."""
    level = series[WARM_ROUNDS:]
    if len(level) < LEAST_ROUNDS:
        return 0
    third = len(level) // 3
    return round(statistics.median(level[-third:]) - statistics.median(level[:third]))
