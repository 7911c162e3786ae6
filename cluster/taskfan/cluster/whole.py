"""Whether a cluster is whole: every running node reaches every other, and all agree on who is there; making it so."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from taskfan.cluster.errors import ClusterError
from taskfan.cluster.messages import FaultCommand
from taskfan.cluster.rest_client import ask

if TYPE_CHECKING:
    from taskfan.cluster.cluster import Cluster
    from taskfan.cluster.cluster_node import ClusterNode

# A node that was thought lost is found again by then: three failed checks, an election, and a join.
TIMEOUT_S = 90.0
# From one look to the next; each look asks every node.
INTERVAL_S = 0.05
LISTS = "cluster:monitor/tasks/lists*"
# By which journals know what is asked here.
OPAQUE_ID = "taskfan:whole"


def wait_until_whole(cluster: Cluster, timeout_s: float = TIMEOUT_S) -> None:
    """Return when it is. Nodes that are stopped or paused are left out.

    Raises:
        ClusterError: it was not in time; says what is missing where.
    """
    deadline_s = time.monotonic() + timeout_s
    while (missing := what_is_missing(cluster)) is not None:
        if time.monotonic() > deadline_s:
            raise ClusterError(f"The cluster is not whole again after {timeout_s:g} s: {missing}.")
        time.sleep(INTERVAL_S)


def recover(cluster: Cluster) -> None:
    """Undo what was done to a cluster: see `Cluster.recover`."""
    states = {node.id: node.state for node in cluster.status().nodes}
    # Who is slow to join again is waited for below.
    with contextlib.suppress(ClusterError):
        cluster.ask_faults(FaultCommand("heal"))
    for node in cluster.nodes:
        if states[node.id] not in ("running", "paused"):
            with contextlib.suppress(ClusterError):
                node.start()
    if cluster.has_faults or set(states.values()) != {"running"}:
        wait_until_whole(cluster)
    ended = [node.name for node in cluster.status().nodes if node.state != "running"]
    if ended:
        raise ClusterError(f"The cluster did not recover: {', '.join(ended)} could not be started.")
    cluster.cancel_tasks(actions="*")


def what_is_missing(cluster: Cluster) -> str | None:
    """One reason why it is not whole; None when it is."""
    states = {node.name: node.state for node in cluster.status().nodes}
    running = [node for node in cluster.nodes if states[node.name] == "running"]
    for node in running:
        try:
            missing = _missing_at(node, running, everyone=len(running) == len(cluster.nodes))
        except ClusterError as error:
            missing = str(error)
        if missing is not None:
            return missing
    return None


def _missing_at(node: ClusterNode, running: list[ClusterNode], *, everyone: bool) -> str | None:
    state = ask(node.url, "GET", "/_cluster/state/nodes,cluster_manager_node", {"local": True}, opaque_id=OPAQUE_ID)
    if state.get("cluster_manager_node") not in state["nodes"]:
        return f"{node.name} knows no cluster manager"
    for other in running:
        if other.id not in state["nodes"]:
            return f"{node.name} does not know {other.name}"
    wanted = None if everyone else ",".join(other.id for other in running)
    parameters = {"actions": LISTS, "nodes": wanted, "timeout": "5s"}
    answer = ask(node.url, "GET", "/_tasks", parameters, opaque_id=OPAQUE_ID)
    for other in running:
        if other.id not in answer["nodes"]:
            failures = [failure["caused_by"]["reason"] for failure in answer.get("node_failures", ())]
            return f"{node.name} does not reach {other.name}: {'; '.join(failures) or 'no answer'}"
    return None
