"""Where the time of one list goes, stage by stage, in all processes: `scripts/bench --profile`."""

from __future__ import annotations

import bisect
import tempfile
import time
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

from taskfan.cluster import Cluster
from tests.bench import traced_supervisor
from tests.bench.bench import Bench
from tests.bench.figures import Facts, Figure, at_share, number
from tests.bench.http_client import Ask, Connection, http_ask
from tests.bench.live_tasks import Load
from tests.bench.stages import DISPATCH, EXECUTE, FLUSH, HANDLER, HTTP_IN, LINK_IN, RECEIVE, REPLY, SEND, begin, end
from tests.bench.stand_in import started_by

NODES = 3
MOST_TASKS = 1000
PLACES = ASKING, WIRE, ASKED, CLIENT = "asking node", "wire", "each asked node", "client, all of it"


def profile(bench: Bench) -> list[Figure]:
    """Of three nodes, idle and with live tasks: the median of each stage, and what the noting itself costs."""
    figures = []
    requests = bench.sizes.profile_lists
    with (
        tempfile.TemporaryDirectory() as directory,
        started_by(traced_supervisor, NODES, {traced_supervisor.DIRECTORY: directory}) as cluster,
        Cluster(nodes=NODES) as plain,
    ):
        loads = [Load(each) for each in (cluster, plain)]
        for tasks in sorted({0, min(MOST_TASKS, bench.sizes.loads[-1])}):
            bench.say(f"profile, {tasks:,} live tasks")
            for load in loads:
                load.top_up(tasks)
            untraced, lists = (
                bench.client.run(timed, http_ask(each.url, "/_tasks"), requests) for each in (plain, cluster)
            )
            figures += _figures(tasks, lists, _Trace.of_all(Path(directory), cluster))
            figures += [_whole(tasks, "whole, stages noted", lists), _whole(tasks, "whole, none noted", untraced)]
    return figures


def timed(ask: Ask, requests: int) -> list[tuple[int, int]]:
    """When each of so many requests was sent, and when its answer was there (ns)."""
    with Connection(ask) as connection:
        times = []
        for _ in range(requests):
            sent_ns = time.perf_counter_ns()
            connection.exchange()
            times.append((sent_ns, time.perf_counter_ns()))
    return times


def _figures(tasks: int, lists: Sequence[tuple[int, int]], traces: Sequence[_Trace]) -> list[Figure]:
    found: dict[tuple[str, str], list[float]] = {}
    for sent_ns, answered_ns in lists:
        try:
            stages = [*_stages(traces, sent_ns, answered_ns)]
        except _Missing:
            # What was noted last is not written, and something else may have come between.
            continue
        for place, us in stages:
            found.setdefault(place, []).append(us)
    return [_figure(tasks, where, stage, samples) for (where, stage), samples in found.items()]


def _whole(tasks: int, stage: str, lists: Sequence[tuple[int, int]]) -> Figure:
    return _figure(tasks, CLIENT, stage, [(answered_ns - sent_ns) / 1000 for sent_ns, answered_ns in lists])


def _figure(tasks: int, where: str, stage: str, samples: Sequence[float]) -> Figure:
    """The median, with the middle half as its spread: what else the machine did lies beyond."""
    low, median, high = (at_share(samples, share) for share in (0.25, 0.5, 0.75))
    facts: Facts = {"what": "profile", "tasks": tasks, "where": where, "stage": stage}
    return Figure(f"profile, {tasks:,} tasks: {where}: {stage}", "µs", median, low, high, len(samples), facts=facts)


def profile_table(figures: Sequence[Figure]) -> str:
    """The stages in the order of time, in µs, in a column for each place; of those figures that are of a profile."""
    lines = []
    tasks: object = None
    for figure in figures:
        facts = figure.facts
        if facts.get("what") != "profile":
            continue
        if facts["tasks"] != tasks:
            tasks = facts["tasks"]
            lines += ["", f"| one list, {NODES} nodes, {tasks:,} live tasks | {' | '.join(PLACES)} |"]
            lines.append("| --- " * (len(PLACES) + 1) + "|")
        cells = [f"{number(figure.median)} µs" if place == facts["where"] else "" for place in PLACES]
        lines.append(f"| {facts['stage']} | {' | '.join(cells)} |")
    return "\n".join(lines[1:])


class _Missing(Exception):
    """A list that lacks something."""


class _Trace:
    """What one process noted."""

    def __init__(self, notes: array[int]) -> None:
        self._what, self._times = notes[0::2], notes[1::2]

    @classmethod
    def of_all(cls, directory: Path, cluster: Cluster) -> list[_Trace]:
        """Of the nodes of a cluster, in their order."""
        traces = []
        for node in cluster.nodes:
            notes = array("q")
            notes.frombytes((directory / f"{node.pid}.trace").read_bytes())
            traces.append(cls(notes))
        return traces

    def all(self, what: int, after_ns: int, before_ns: int) -> list[int]:
        """When it happened between these times."""
        at, to = bisect.bisect_left(self._times, after_ns), bisect.bisect_right(self._times, before_ns)
        return [self._times[place] for place in range(at, to) if self._what[place] == what]

    def first(self, what: int, after_ns: int, before_ns: int) -> int:
        """When it happened first. Raises _Missing."""
        times = self.all(what, after_ns, before_ns)
        if not times:
            raise _Missing
        return times[0]


def _stages(traces: Sequence[_Trace], sent_ns: int, answered_ns: int) -> Iterator[tuple[tuple[str, str], float]]:
    """One list. What the asking node does follows one upon the other; what the others do happens meanwhile."""
    asking, others = traces[0], traces[1:]

    def first(function_end: int, after_ns: int) -> int:
        return asking.first(function_end, after_ns, answered_ns)

    http_in = first(begin(HTTP_IN), sent_ns)
    dispatch, execute = first(begin(DISPATCH), http_in), first(begin(EXECUTE), http_in)
    executed, dispatched = first(end(EXECUTE), execute), first(end(DISPATCH), execute)
    sends = asking.all(begin(SEND), execute, executed)
    handler, handled = first(begin(HANDLER), execute), first(end(HANDLER), execute)
    flushes = [first(begin(FLUSH), send) for send in sends]
    written = first(end(FLUSH), flushes[-1])
    replies = asking.all(begin(LINK_IN), written, executed)
    if len(sends) != len(others) or len(replies) != len(others):
        raise _Missing
    last = max(replies[-1], handled)
    points = (
        (WIRE, "request, from the client", sent_ns, http_in),
        (ASKING, "HTTP read", http_in, dispatch),
        (ASKING, "routed, parameters read", dispatch, execute),
        (ASKING, "task registered, nodes chosen", execute, sends[0]),
        (ASKING, "the others asked", sends[0], written),
        (ASKING, "own task registered", written, handler),
        (ASKING, "own tasks rendered", handler, handled),
        (ASKING, "waits for the last reply", handled, last),
        (ASKING, "last reply read, all merged, task ended", last, executed),
        (ASKING, "answer laid out", executed, dispatched),
        (WIRE, "answer written, to the client", dispatched, answered_ns),
    )
    yield from (((where, stage), (until - since) / 1000) for where, stage, since, until in points)
    done: list[int] = []
    for other, flush in zip(others, flushes, strict=True):
        yield from _of_asked(other, flush, answered_ns, done)
    for flush, reply in zip(sorted(done), replies, strict=True):
        yield (WIRE, "reply, until it is read"), (reply - flush) / 1000


def _of_asked(other: _Trace, asked_ns: int, until_ns: int, done: list[int]) -> Iterator[tuple[tuple[str, str], float]]:
    """One of the others; `done` gets when it began to write its reply."""
    link_in = other.first(begin(LINK_IN), asked_ns, until_ns)
    receive = other.first(begin(RECEIVE), link_in, until_ns)
    handler, handled = other.first(begin(HANDLER), receive, until_ns), other.first(end(HANDLER), receive, until_ns)
    reply = other.first(begin(REPLY), handled, until_ns)
    flush, flushed = other.first(begin(FLUSH), reply, until_ns), other.first(end(FLUSH), reply, until_ns)
    done.append(flush)
    points = (
        (WIRE, "request to a node, until it is read", asked_ns, link_in),
        (ASKED, "frame read", link_in, receive),
        (ASKED, "task registered", receive, handler),
        (ASKED, "tasks rendered", handler, handled),
        (ASKED, "task ended, reply packed", handled, reply),
        (ASKED, "reply put in a frame", reply, flush),
        (ASKED, "reply written", flush, flushed),
    )
    yield from (((where, stage), (until - since) / 1000) for where, stage, since, until in points)
