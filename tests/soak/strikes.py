"""Random faults of a cluster: rules, shapes, and nodes that are paused, killed, stopped, restarted and added."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from taskfan.cluster import Cluster, ClusterError, ClusterNode
from taskfan.cluster.messages import FaultCommand

# So many nodes may be hit by verbs at a time: the others are still enough to elect a manager.
MOST_AWAY = 3
MOST_FAULTS, MOST_ADDED = 6, 2
# So many processes live as long as the soak, though they are paused and cut off: their memory shows what grows.
SURVIVORS = 2
ACTIONS = ["*", "*lists*", "*tasks/ban", "*tasks/cancel*", "*tasks/get*", "soak:*", "*bulk*", "*search*", "internal:*"]
LINK_KINDS: Sequence[dict[str, str]] = ({"kind": "cut"}, {"kind": "blackhole"}, {"kind": "slow", "bandwidth": "20kb"})


class Striker:
    """Strikes one cluster, as its chance has it. `did` are its strikes in words."""

    def __init__(self, cluster: Cluster, chance: random.Random) -> None:
        self._cluster, self._chance = cluster, chance
        self._faults: list[str] = []
        self.away: list[ClusterNode] = []
        self.added: list[ClusterNode] = []
        self.did: list[str] = []
        self.counts: Counter[str] = Counter()

    def strike(self) -> None:
        """Do one thing; that the cluster cannot bring it about under the other faults is no error."""
        deed = self._chance.choice(self._possible())
        try:
            told = deed()
        except ClusterError as error:
            told = f"{deed.__name__.strip('_')} failed: {error}"
        self.did.append(told)
        self.counts[deed.__name__.strip("_")] += 1

    def _possible(self) -> list[Callable[[], str]]:
        possible: list[Callable[[], str]] = []
        if len(self._faults) < MOST_FAULTS:
            possible += [self._message] * 5 + [self._link] * 2 + [self._shape] * 2
        if self._faults:
            possible += [self._remove_fault] * 3
        if len(self.away) < MOST_AWAY:
            possible += [self._pause, self._kill, self._stop, self._restart]
        if self.away:
            possible += [self._bring_back, self._bring_back]
        if len(self.added) < MOST_ADDED:
            possible += [self._add]
        return possible

    # ------------------------------------------------------------------ rules

    def _message(self) -> str:
        chance = self._chance
        kinds = ["drop", "drop", "fail", "delay", "refuse", "disconnect", "duplicate", "reorder"]
        rule: dict[str, Any] = {"kind": chance.choice(kinds), "to": self._some(), "from": self._some()}
        rule |= {"action": chance.choice(ACTIONS), "seed": chance.randrange(2**32)}
        rule |= {"probability": chance.choice([0.1, 0.5, 1.0]), "every": chance.randint(1, 3)}
        if rule["kind"] in ("drop", "fail", "delay", "disconnect", "reorder"):
            rule["on"] = chance.choice(["request", "reply"])
        if rule["kind"] == "fail" and rule["on"] == "reply":
            rule["at_once"] = chance.random() < 0.5
        if rule["kind"] == "delay":
            rule |= {"delay": chance.choice(["1ms", "50ms", "1s"]), "jitter": chance.choice(["0s", "20ms"])}
        return self._set(FaultCommand("add", rules=[rule]), f"{rule}")

    def _link(self) -> str:
        rule = {**self._chance.choice(LINK_KINDS), "from": self._some(), "to": self._some()}
        return self._set(FaultCommand("add", rules=[rule]), f"{rule}")

    def _shape(self) -> str:
        link = self._chance.choice(LINK_KINDS)
        shapes: list[tuple[str, dict[str, Any]]] = [
            ("isolate", {"nodes": self._names(self._chance.randint(1, 2))}),
            ("halves", {}),
            ("bridge", {"nodes": self._names(1)}),
            ("ring", {}),
            ("one_way", {"from": self._names(1), "to": self._names(2)}),
            ("by_attribute", {"attribute": "zone"}),
        ]
        shape, values = self._chance.choice(shapes)
        return self._set(FaultCommand("shape", shape=shape, values=values, link=dict(link)), f"{shape} {values} {link}")

    def _set(self, command: FaultCommand, told: str) -> str:
        [report] = self._cluster.ask_faults(command)
        self._faults.append(report.fault.id)
        return f"{report.fault.id}: {told}"

    def _remove_fault(self) -> str:
        fault = self._faults.pop(self._chance.randrange(len(self._faults)))
        [report] = self._cluster.ask_faults(FaultCommand("remove", fault=fault))
        return f"remove {fault} after {report.hit_count} hits"

    def _names(self, count: int) -> list[str]:
        return [node.name for node in self._chance.sample(self._cluster.nodes, count)]

    def _some(self) -> str | list[str]:
        return "*" if self._chance.random() < 0.4 else self._names(self._chance.randint(1, 3))

    # ------------------------------------------------------------------ nodes

    def _victim(self, *, may_end: bool) -> ClusterNode:
        own = [node for node in self._cluster.nodes if node not in self.added]
        mortal = own[:-SURVIVORS] if may_end else own
        return self._chance.choice([node for node in mortal if node not in self.away])

    def _pause(self) -> str:
        return self._take_away("pause", ClusterNode.pause)

    def _kill(self) -> str:
        return self._take_away("kill", ClusterNode.kill)

    def _stop(self) -> str:
        return self._take_away("stop", ClusterNode.stop)

    def _take_away(self, name: str, verb: Callable[[ClusterNode], None]) -> str:
        node = self._victim(may_end=verb is not ClusterNode.pause)
        self.away.append(node)
        verb(node)
        return f"{name} {node.name}"

    def _restart(self) -> str:
        node = self._victim(may_end=True)
        # It may not come back while faults strike; then it is started at the end.
        self.away.append(node)
        node.restart()
        self.away.remove(node)
        return f"restart {node.name}"

    def _bring_back(self) -> str:
        node = self.away.pop(self._chance.randrange(len(self.away)))
        bring_back(node)
        return f"bring back {node.name}"

    def _add(self) -> str:
        node = self._cluster.add(**{"node.attr.zone": self._chance.choice("abc")})
        self.added.append(node)
        return f"add {node.name}"


def bring_back(node: ClusterNode) -> None:
    """Let a node run again, if it does not. Raises ClusterError."""
    if node.state == "paused":
        node.resume()
    else:
        node.start()
