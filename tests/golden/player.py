"""Plays scenarios against a cluster of three nodes and keeps what was said."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import pathlib
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from tests.golden.answers import capture, holds, tasks_in
from tests.golden.exchange import REQUEST_LIMIT_S, send
from tests.golden.scenarios import Json, Scenario, Step, fill

# Does start, kill, stop, pause or resume to the node of that name, and returns when it is done.
Driver = Callable[[str, str], None]
WORK = "/_tasks?group_by=none&actions=indices:*,cluster:monitor/health*,cluster:admin/*&timeout=2s"


def script_driver(path: pathlib.Path) -> Driver:
    """A driver that is a program with the arguments VERB NODE."""
    return lambda verb, node: void(subprocess.run([str(path), verb, node], check=True, timeout=180))


def void(_: object) -> None:
    """Drop a value nobody needs."""


@dataclasses.dataclass
class Node:
    """One node of the cluster under test, as its own tasks list names it."""

    label: str
    id: str
    name: str
    host: str
    transport: str
    http: str


class Unplayable(Exception):
    """A step of a setup had no effect: what the scenario needs is not there."""


class Player:
    """Plays scenarios, one after the other; `warnings` tells what went on but was no answer."""

    def __init__(self, urls: Sequence[str], driver: Driver | None = None) -> None:
        self.urls, self.driver = list(urls), driver
        self.nodes: list[Node] = []
        self.warnings: list[str] = []
        self._variables: dict[str, Json] = {}
        self._waiting: dict[str, tuple[dict[str, Json], concurrent.futures.Future[dict[str, Json]]]] = {}
        self._threads = concurrent.futures.ThreadPoolExecutor(32)
        self._default_node = "node1"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def play(self, scenario: Scenario) -> dict[str, Json]:
        """Play one scenario; the teardown runs whatever happened.

        Returns:
            `{"name", "nodes", "exchanges"}`, as a recording keeps it.
        """
        exchanges: list[dict[str, Json]] = []
        self._begin(scenario)
        try:
            for step in scenario.setup:
                self._step(step)
            keys = iter(scenario.planned())
            for step in scenario.steps:
                exchange = self._step(step)
                if exchange is not None:
                    modes = {k: step[k] for k in ("title", "compare", "why") if k in step}
                    exchanges.append({"step": next(keys)} | modes | exchange)
        finally:
            for step in scenario.teardown:
                self._step(step)
        return {"name": scenario.name, "nodes": [dataclasses.asdict(n) for n in self.nodes], "exchanges": exchanges}

    def can_set_up(self, scenario: Scenario) -> bool:
        """Whether every request of the setup has its effect; ends at the first that has none."""
        self._begin(scenario)
        try:
            for step in scenario.setup:
                exchange = self._step(step)
                if exchange and _is_refused(exchange):
                    return False
        finally:
            for step in scenario.teardown:
                # Waiting for an end is of no use where nothing could begin.
                self._step({key: value for key, value in step.items() if key != "until"})
        return True

    def settle(self, limit_s: float = 40) -> None:
        """Wait until no work of an earlier scenario is left, and all nodes are in."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            answers = [send(url, {"method": "GET", "path": "/_tasks?timeout=2s"}) for url in self.urls]
            all_in = all(len(_nodes_of(answer)) == len(self.urls) for answer in answers)
            left = send(self.urls[0], {"method": "GET", "path": WORK}).get("body") or {}
            if all_in and not left.get("tasks"):
                return
            time.sleep(0.1)
        self.warnings.append("the cluster did not settle")

    def _begin(self, scenario: Scenario) -> None:
        self._variables = {f"long_{size}": "x" * size for size in (1000, 5000, 9000, 20000)}
        self._waiting, self.nodes = {}, []
        self._default_node = scenario.node
        self.settle()
        self._learn_nodes(scenario.labels)

    def _learn_nodes(self, labels: str) -> None:
        """Ask each node for its own id and name through its tasks list."""
        self.nodes = [_own_node(f"node{number}", url) for number, url in enumerate(self.urls, 1)]
        if labels == "role":
            found = _nodes_of(send(self.urls[0], {"method": "GET", "path": "/_tasks?nodes=_cluster_manager"}))
            manager = next((n for n in self.nodes if n.id in found), self.nodes[0])
            others = [node for node in self.nodes if node is not manager]
            manager.label = "manager"
            for number, node in enumerate(others, 1):
                node.label = f"other{number}"
            self._default_node = "manager" if self._default_node == "node1" else self._default_node
        for node in self.nodes:
            self._variables |= {f"{node.label}.{k}": v for k, v in dataclasses.asdict(node).items()}

    def _relearn_nodes(self) -> None:
        """After a restart: remember the new id next to the old one, if there is one."""
        labels = {node.http: node.label for node in self.nodes}
        known = {node.id for node in self.nodes}
        for url in self.urls:
            node = _own_node("", url)
            label = labels[node.http]
            if node.id not in known:
                self.nodes.append(dataclasses.replace(node, label=label + "#2"))
            self._variables |= {f"{label}.{k}": v for k, v in dataclasses.asdict(node).items() if k != "label"}

    def _step(self, step: Step) -> dict[str, Json] | None:
        """Do one step; only a request that is answered now gives an exchange."""
        if "sleep_s" in step:
            time.sleep(step["sleep_s"])
        elif "driver" in step:
            if self.driver is None:
                raise Unplayable("it needs a driver")
            self.driver(*fill(step["driver"], self._variables))
        elif "learn_nodes" in step:
            self._relearn_nodes()
        elif "background" in step:
            do = fill(step["do"], self._variables)
            self._waiting[step["background"]] = do, self._threads.submit(self._send, do)
        elif "collect" in step:
            do, future = self._waiting.pop(step["collect"])
            return self._keep(step, do, future.result(REQUEST_LIMIT_S * 2), None)
        elif "do" in step:
            return self._ask(step)
        return None

    def _ask(self, step: Step) -> dict[str, Json]:
        """Send the request, again and again while `until` does not hold."""
        do = fill(step["do"], self._variables)
        condition = fill(step.get("until"), self._variables)
        deadline = time.monotonic() + step.get("until_s", 15)
        answer = self._send(do)
        while condition and not holds(condition, answer) and time.monotonic() < deadline:
            time.sleep(step.get("every_s", 0.05))
            answer = self._send(do)
        met = holds(condition, answer) if condition else None
        if met is False:
            self.warnings.append(f"gave up waiting on {do['path']}: {str(answer)[:300]}")
        return self._keep(step, do, answer, met)

    def _send(self, do: dict[str, Json]) -> dict[str, Json]:
        http = next(node.http for node in self.nodes if node.label == self._label(do))
        return send(f"http://{http}", do)

    def _keep(self, step: Step, do: dict[str, Json], answer: dict[str, Json], met: bool | None) -> dict[str, Json]:
        for name, spec in (step.get("capture") or {}).items():
            try:
                self._variables[name] = capture(fill(spec, self._variables), answer)
            except (LookupError, TypeError, ValueError) as missing:
                # A server that answers otherwise must differ in its exchanges, not stop the run.
                self.warnings.append(f"no {name} in {do['path']} ({missing!r})")
                self._variables[name] = "missing:1"
        extra = {} if met is None else {"until_met": met}
        return {"request": do | {"node": self._label(do)}} | extra | {"response": answer}

    def _label(self, do: dict[str, Json]) -> str:
        label = str(do.get("node", self._default_node))
        return f"node{label}" if label.isdigit() else label


def _nodes_of(answer: dict[str, Json]) -> dict[str, Json]:
    body = answer.get("body")
    return (body.get("nodes") or {}) if isinstance(body, dict) else {}


def _own_node(label: str, url: str) -> Node:
    nodes = _nodes_of(send(url, {"method": "GET", "path": "/_tasks?nodes=_local"}))
    # The node that was asked runs the list itself; the others, if an answer shows them, run its children.
    node_id = next(i for i, info in nodes.items() if len(nodes) == 1 or _has_a_root(info))
    name, host, transport = (nodes[node_id].get(key, "") for key in ("name", "host", "transport_address"))
    return Node(label, node_id, name, host, transport, urllib.parse.urlsplit(url).netloc)


def _has_a_root(info: dict[str, Json]) -> bool:
    return any("parent_task_id" not in task for task in tasks_in(info["tasks"]))


def _is_refused(exchange: dict[str, Json]) -> bool:
    """A setup may remove what is not there; anything else it asks for must be done."""
    status = exchange["response"]["status"]
    removes = exchange["request"]["method"] == "DELETE"
    return exchange.get("until_met") is False or status is None or (status >= 400 and not removes)
