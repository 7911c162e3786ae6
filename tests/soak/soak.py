"""Rounds of faults and work on seven nodes, each followed by the proof that nothing is left."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable
from functools import partial

from taskfan.cluster import Cluster, ClusterError, keep_warm
from taskfan.cluster.cluster import footprints
from taskfan.cluster.messages import FaultCommand
from taskfan.cluster.rest_client import ask
from taskfan.cluster.whole import wait_until_whole
from tests.soak import demands
from tests.soak.clients import BY_SCROLL, SOURCE, TARGETS, WORK_PREFIX, Clients, send
from tests.soak.demands import until_nothing
from tests.soak.strikes import Striker, bring_back

NODES, ROUND_S = 7, 6.0
# A node that stands still is out after a second and a half.
TIME_SCALE = 0.05
WHOLE_TIMEOUT_S = 45.0
JOURNAL_LINES = 60
CONFIG = {"nodes": [{"node.attr.zone": "abc"[number % 3]} for number in range(NODES)]}
# Checks and states go on all the time, and tell little of what went wrong.
NOISE = ("coordination", "discovery/", "state_applied", "(late)")


class SoakFailed(AssertionError):
    """Something is left, or the cluster did not become whole; says how to bring it about again."""


def soak(seconds: float, seed: int, say: Callable[[str], None]) -> None:
    """Soak for so many seconds, at least one round.

    Args:
        say: told how it goes, line by line.

    Raises:
        SoakFailed: something is wrong.
    """
    say(f"soak: {NODES} nodes, {seconds:g} s, seed {seed}")
    # The template that a process keeps for its clusters is not to begin in the midst of it: it is a descriptor more.
    with keep_warm():
        rounds = _soaked(seconds, seed, say)
    say(f"passed: {rounds} rounds, nothing is left")


def _soaked(seconds: float, seed: int, say: Callable[[str], None]) -> int:
    """How many rounds it took. Raises SoakFailed."""
    before = demands.descriptors(os.getpid())
    with Cluster(config=CONFIG, time_scale=TIME_SCALE, journal=True) as cluster:
        footprint = footprints[-1]
        run = _Soak(cluster, seed, say)
        ends_s = time.monotonic() + seconds
        rounds = 0
        try:
            while rounds == 0 or time.monotonic() < ends_s:
                rounds += 1
                run.round(rounds)
            run.check_memory()
        except (AssertionError, ClusterError) as error:
            raise SoakFailed(run.failure(f"round {rounds}: {error}", seconds)) from None
    left = footprint.left_over()
    left += [f"{more} file descriptors more here" for more in [demands.descriptors(os.getpid()) - before] if more > 0]
    if left:
        raise SoakFailed("\n".join([*left, _reproduce_with(seconds, seed)]))
    return rounds


def _reproduce_with(seconds: float, seed: int) -> str:
    return f"REPRODUCE WITH: scripts/soak --seconds {seconds:g} --seed {seed}"


class _Soak:
    def __init__(self, cluster: Cluster, seed: int, say: Callable[[str], None]) -> None:
        self._cluster, self._seed, self._say = cluster, seed, say
        self._own_ids = [node.id for node in cluster.nodes]
        wait_until_whole(cluster, WHOLE_TIMEOUT_S)
        self._descriptors = {name: demands.descriptors(pid) for name, pid in self._pids().items()}
        self._memory: dict[int, list[int]] = {}
        self._logs_read: dict[str, int] = {}
        self._did: list[str] = []

    def round(self, number: int) -> None:
        """Faults and work for some seconds; then all is healed, and nothing may be left."""
        striker, clients = self._storm(number)
        began_s = time.monotonic()
        self._heal(striker)
        healed_s = time.monotonic() - began_s
        lost_unbans = self._demand_nothing_left()
        grown = sum(series[-1] for series in self._memory.values() if series) >> 20
        done = ", ".join(f"{count} {what}" for what, count in sorted(clients.done.items()))
        self._say(
            f"round {number}: {len(striker.did)} strikes, requests: {done}; "
            f"whole after {healed_s:.1f} s, empty after {time.monotonic() - began_s:.1f} s, "
            f"{lost_unbans} lost unbans, {grown} MiB"
        )

    # ------------------------------------------------------------------ faults and work

    def _storm(self, number: int) -> tuple[Striker, Clients]:
        seed = f"{self._seed} {number}"
        chance = random.Random(f"{seed} strikes")
        for index in (SOURCE, *TARGETS):
            replicas = chance.randint(0, 2)
            body = {"settings": {"number_of_shards": chance.randint(1, 4), "number_of_replicas": replicas}}
            send(self._cluster.url, "PUT", f"/{index}", body)
        striker = Striker(self._cluster, chance)
        self._did = striker.did
        clients = Clients(self._cluster.urls, seed)
        ends_s = time.monotonic() + ROUND_S
        while time.monotonic() < ends_s:
            striker.strike()
            time.sleep(chance.uniform(0, 0.5))
        clients.end()
        return striker, clients

    def _heal(self, striker: Striker) -> None:
        cluster = self._cluster
        cluster.faults.reset()
        for node in striker.away:
            bring_back(node)
        # Also those whose addition or return failed.
        for node in cluster.nodes:
            if node.id not in self._own_ids:
                node.remove()
            elif node.state != "running":
                bring_back(node)
        wait_until_whole(cluster, WHOLE_TIMEOUT_S)
        self._close_all_links()
        for actions in (f"{WORK_PREFIX}*", BY_SCROLL):
            cluster.cancel_tasks(actions=actions)
        # Shards are in memory: an index all of whose copies were killed stays red, and who writes to it waits a minute.
        for index in (SOURCE, *TARGETS, ".tasks"):
            with contextlib.suppress(ClusterError):
                ask(cluster.url, "DELETE", f"/{index}", {"ignore_unavailable": True})

    def _close_all_links(self) -> None:
        """What waits for a message that was lost gives up when its link closes, and not before, as in OpenSearch."""
        cut = {"kind": "cut", "from": "*", "to": "*"}
        [report] = self._cluster.ask_faults(FaultCommand("add", rules=[cut]))
        self._cluster.ask_faults(FaultCommand("remove", fault=report.fault.id))
        wait_until_whole(self._cluster, WHOLE_TIMEOUT_S)

    # ------------------------------------------------------------------ what is demanded

    def _demand_nothing_left(self) -> int:
        cluster = self._cluster
        self._demand(until_nothing(lambda: demands.held_by_all(cluster)))
        lost_unbans = self._lift_lost_bans()
        wait_until_whole(cluster, WHOLE_TIMEOUT_S)
        ask(cluster.url, "GET", "/_cluster/health", {"wait_for_nodes": NODES, "timeout": "10s"})
        self._demand([f"fault {report.fault.id} is set" for report in cluster.faults.all()])
        self._demand([f"{node.name} is {node.state}" for node in cluster.nodes if node.state != "running"])
        self._demand(demands.processes_left(footprints[-1], NODES))
        self._demand(until_nothing(lambda: demands.too_many_descriptors(self._pids(), self._descriptors)))
        self._demand(demands.errors_logged(cluster, self._logs_read))
        pids = self._pids()
        self._memory = {pid: [*self._memory.get(pid, []), demands.private_bytes(pid)] for pid in pids.values()}
        sizes = {name: self._memory[pid][-1] for name, pid in pids.items()}
        self._demand([f"{name} holds {size} bytes" for name, size in sizes.items() if size > demands.MOST_BYTES])
        return lost_unbans

    def _lift_lost_bans(self) -> int:
        """Bans whose unban was lost stay until the parent's node leaves, as in OpenSearch: let it leave.

        Bans of parents that run, or of nodes that are no more, and bans whose unban arrived, are errors.
        """
        left = demands.bans(self._cluster)
        if not left:
            return 0
        self._demand(demands.unexplained(left, demands.journal_of_bans(self._cluster)))
        for parent_node in dict.fromkeys(parent.partition(":")[0] for _, parent in left):
            name = self._cluster.node(parent_node).name
            others = [node for node in self._cluster.nodes if node.name != name]
            with self._cluster.faults.disconnect(name):
                self._demand(until_nothing(partial(demands.who_knows, parent_node, others)))
        self._demand([f"{node.name} bans {parent}" for node, parent in demands.bans(self._cluster)])
        return len(left)

    def _demand(self, problems: list[str]) -> None:
        if problems:
            raise AssertionError("\n  ".join(["not as demanded:", *problems[:20]]))

    def check_memory(self) -> None:
        """Members and supervisor hold no more after many rounds than after a few."""
        grown = {pid: demands.growth_bytes(series) for pid, series in self._memory.items()}
        names = {pid: name for name, pid in self._pids().items()}
        told = ", ".join(f"{names[pid]} {count / 2**20:+.1f}" for pid, count in grown.items())
        self._say(f"growth in MiB: {told}")
        self._demand(
            [
                f"{names[pid]} grew by {count} bytes: {self._memory[pid]}"
                for pid, count in grown.items()
                if count > demands.MOST_GROWTH_BYTES
            ]
        )

    def _pids(self) -> dict[str, int]:
        pids = {node.name: node.pid for node in self._cluster.nodes}
        return {"supervisor": self._cluster.supervisor_pid, **pids}

    # ------------------------------------------------------------------ when it fails

    def failure(self, what: str, seconds: float) -> str:
        """All that helps to find out why."""
        lines = [what, "strikes of this round:", *(f"  {told}" for told in self._did)]
        with contextlib.suppress(ClusterError):
            journal = str(self._cluster.journal()).splitlines()
            told = [line for line in journal if not any(word in line for word in NOISE)]
            lines += ["the end of the journal:", *told[-JOURNAL_LINES:]]
        return "\n".join([*lines, _reproduce_with(seconds, self._seed)])
