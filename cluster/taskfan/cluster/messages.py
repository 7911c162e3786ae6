"""What supervisor, fork server, members, command line and Python say to one another."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from taskfan.cluster.config import ClusterConfig, NodeConfig
from taskfan.cluster.errors import ClusterError
from taskfan.node.discovery_node import DiscoveryNode

# Raised with every change that an older side would misread.
PROTOCOL_VERSION = 1


class Problem(msgspec.Struct, tag="problem"):
    """A ClusterError on its way."""

    message: str
    log: str | None = None
    last_lines: list[str] = []
    exit_status: int = 1

    @classmethod
    def of(cls, error: ClusterError, *, log_stays: bool = True) -> Problem:
        """The message that brings this error."""
        return cls(error.message, error.log if log_stays else None, error.last_lines, error.exit_status)


# ---------------------------------------------------------------------- whoever starts a cluster, and its supervisor


class Launch(msgspec.Struct, tag="launch"):
    """The first message to a supervisor. It ends with whoever sent this, until it is released."""

    config: ClusterConfig
    # None is a directory of its own, removed at the end.
    directory: str | None
    owner_pid: int
    version: int = PROTOCOL_VERSION


class Release(msgspec.Struct, tag="release"):
    """The supervisor is to outlive whoever started it, and to end with this process instead; 0 is none."""

    ends_with: int = 0


class Progress(msgspec.Struct, tag="progress"):
    """How far the start is. Of links, which only a mesh opens then, `done` are there `of` so many."""

    step: Literal["loaded", "bound", "serving", "linking", "linked", "ready"]
    done: int = 0
    of: int = 0


# ---------------------------------------------------------------------- command line or Python, and the supervisor

NodeState = Literal["starting", "running", "paused", "stopped", "ended"]
Verb = Literal[
    "status",
    "ready",
    "down",
    "start",
    "stop",
    "restart",
    "kill",
    "pause",
    "resume",
    "add",
    "remove",
    "journal_on",
    "journal_off",
    "journal_flush",
]


class Command(msgspec.Struct, tag="command"):
    """One order; answered by a ClusterStatus or a Problem when it is done. `down` is answered by the end of the
    connection, which is the end of the supervisor.
    """

    verb: Verb
    # Name or id of a node, for the verbs that mean one; of several that are removed, with commas. A node that is added
    # may have none: it gets the next one.
    node: str = ""
    # Its own settings: add.
    settings: dict[str, Any] = {}
    version: int = PROTOCOL_VERSION


class NodeStatus(msgspec.Struct):
    """One node as the supervisor sees it. `pid` is 0 when there is no process."""

    name: str
    id: str
    state: NodeState
    pid: int
    url: str
    transport_address: str
    roles: list[str]
    is_manager: bool
    log: str
    # Why there is no process, when that was not asked for.
    reason: str = ""
    # Whether the cluster manager has this process in its cluster state; of a cluster without one nobody is.
    in_cluster: bool = False


class ClusterStatus(msgspec.Struct, tag="status"):
    """The cluster as the supervisor sees it."""

    name: str
    cluster_uuid: str
    supervisor_pid: int
    directory: str
    # Whether the directory goes when the cluster does.
    temporary: bool
    # Version of the newest cluster state that a member has told of.
    version: int
    nodes: list[NodeStatus]
    # Seconds from the start of the supervisor until the cluster was ready.
    started_in_s: float = 0.0
    # The control API over HTTP, and the file with its token.
    control_url: str = ""
    control_token_file: str = ""
    # Names of the nodes whose votes elect a manager; the id of one that was removed.
    voters: list[str] = []
    # Ids of the faults that are set.
    faults: list[str] = []


FaultVerb = Literal["add", "shape", "change", "remove", "reset", "heal", "list", "hits"]


class FaultCommand(msgspec.Struct, tag="fault"):
    """An order about faults; answered by FaultReports or a Problem. Which fields count depends on the verb."""

    verb: FaultVerb
    # Id of a fault: change, remove, hits.
    fault: str = ""
    # What people call it: add, shape.
    name: str = ""
    # As people write them, checked by the supervisor: add.
    rules: list[dict[str, Any]] = []
    # The fields that change, or the arguments of a shape.
    values: dict[str, Any] = {}
    shape: str = ""
    # What happens to the links of a shape.
    link: dict[str, Any] = {}
    version: int = PROTOCOL_VERSION


class FaultInfo(msgspec.Struct):
    """A fault that is set."""

    id: str
    name: str
    rules: list[dict[str, Any]]
    set_at_ms: int


class FaultReport(msgspec.Struct):
    """A fault and what it did: how many messages and links it spoiled, and the first of them in the order of time."""

    fault: FaultInfo
    hit_count: int = 0
    hits: list[dict[str, Any]] = []


class FaultReports(msgspec.Struct, tag="fault_reports"):
    """The answer to a FaultCommand: the faults it was about."""

    reports: list[FaultReport]


# ---------------------------------------------------------------------- whoever starts many clusters, and a template


class MakeSupervisor(msgspec.Struct, tag="make_supervisor"):
    """Fork a supervisor, as if whoever asks had executed it. The socket to its owner and the descriptor that it writes
    its errors to travel with this message.

    Args:
        environment: NAME=value, each ended by a zero byte: neither needs to be text.
    """

    name: str
    run_id: str
    directory: bytes
    environment: bytes


class SupervisorMade(msgspec.Struct, tag="supervisor_made"):
    """It has its process; a descriptor of that travels with this message."""

    pid: int


# ---------------------------------------------------------------------- supervisor and fork server


class Serve(msgspec.Struct, tag="serve"):
    """The first message: serve the cluster of this directory. The directory's lock travels with it."""

    directory: str
    temporary: bool


class Fork(msgspec.Struct, tag="fork"):
    """Make a member. Its control socket and its HTTP socket travel with this message."""

    number: int
    name: str
    log: str


class Signal(msgspec.Struct, tag="signal"):
    """Send a signal to a member, if it is still there."""

    number: int
    signal: int


class Forked(msgspec.Struct, tag="forked"):
    """A member has its process."""

    number: int
    pid: int


class Ended(msgspec.Struct, tag="ended"):
    """A member has ended: exit status, or the negative number of the signal that ended it."""

    number: int
    status: int


class Paused(msgspec.Struct, tag="paused"):
    """A member stands still, by SIGSTOP."""

    number: int


class Resumed(msgspec.Struct, tag="resumed"):
    """A member goes on, by SIGCONT."""

    number: int


Report = Forked | Paused | Resumed | Ended

# ---------------------------------------------------------------------- supervisor and member


class MemberSpec(msgspec.Struct, tag="member"):
    """What a member is to be. The first message to it; it serves from then on, but is in no cluster yet.

    Args:
        seed: of what it draws by chance.
        state_path: where it keeps what its next process must know; empty keeps it nowhere.
        journal: whether it is to begin at once with its journal.
    """

    cluster_name: str
    node: NodeConfig
    node_id: str
    ephemeral_id: str
    http_port: int
    transport_port: int
    seed: int
    state_path: str
    journal_path: str = ""
    journal: bool = False


class Join(msgspec.Struct, tag="join"):
    """The member is to find its cluster, or to begin it: see `Coordinator.start`."""

    seeds: list[DiscoveryNode]
    initial_cluster_manager_nodes: tuple[str, ...]
    cluster_uuid: str
    expected_nodes: int = 0

    @classmethod
    def of_all(cls, nodes: list[DiscoveryNode], initial: tuple[str, ...], cluster_uuid: str) -> tuple[Join, Join]:
        """Of nodes that start together: what those are told who vote first, and all others.

        The manager that is elected finds the others, who are told of all by its first cluster state. Until then they
        need to know only who votes: to read who all are was a tenth of the start of each of 500.
        """
        everything = cls(nodes, initial, cluster_uuid, len(nodes))
        voters = [node for node in nodes if node.name in initial or node.id in initial]
        if not initial or len(voters) < len(initial):
            return everything, everything
        return everything, cls(voters, initial, cluster_uuid, len(nodes))


class TellJournal(msgspec.Struct, tag="tell_journal"):
    """Write what waits to be written to the journal, and with `on` begin or cease to note what happens."""

    number: int
    on: bool | None = None


class JournalTold(msgspec.Struct, tag="journal_told"):
    """That is done, or cannot be for this reason."""

    number: int
    problem: str = ""


class Bound(msgspec.Struct, tag="bound"):
    """The transport port of the member."""

    transport_port: int


class Holds(msgspec.Struct, tag="holds"):
    """The cluster as the member sees it; sent when that changes.

    Args:
        manager_id: empty when it knows of none.
        processes: the nodes, by ephemeral id.
        voters: ids of the nodes whose votes decide.
    """

    term: int
    version: int
    manager_id: str
    processes: frozenset[str]
    voters: tuple[str, ...]


class Linked(msgspec.Struct, tag="linked"):
    """How far a member of a mesh is with its links to all others; sent when that changes.

    Args:
        version: of the cluster state whose nodes are meant.
        missing: nodes, by ephemeral id, to which it has no link yet and may still have one.
        failed: why a link could not be opened, by the other's ephemeral id.
    """

    version: int
    missing: frozenset[str]
    failed: dict[str, str] = {}


class CannotStart(msgspec.Struct, tag="cannot_start"):
    """The member ends now, for this reason. `port` is one it could not have, or 0."""

    reason: str
    port: int = 0
