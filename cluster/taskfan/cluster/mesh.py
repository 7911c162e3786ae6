"""A member's part in a mesh: it opens its links to all other nodes at once, not each when it is first needed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from taskfan.cluster.messages import Linked
from taskfan.node.clock import Clock, TimerHandle
from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.link_transport import LinkTransport

# More would only wait for the same cores.
AT_ONCE = 32
# From one report to the next: a hundred members have a hundred links each.
REPORT_INTERVAL_S = 0.2


class Mesh:
    """Keeps a link to every node of the cluster state; one that has closed is opened again with the next state.

    Args:
        local_id: the node's own, which needs no link.
        tell: told how far it is, soon after that has changed.

    Source: OpenSearch `NodeConnectionsService`, which connects to all nodes of each cluster state. Differs: there every
    node does so; here those of a mesh, for most clusters need few of their links.
    """

    def __init__(self, local_id: str, transport: LinkTransport, clock: Clock, tell: Callable[[Linked], None]) -> None:
        self._local_id, self._transport, self._clock, self._tell = local_id, transport, clock, tell
        self._version = 0
        # Nodes by ephemeral id: to be linked, those to which no attempt is under way yet, and those under way.
        self._missing: dict[str, DiscoveryNode] = {}
        self._waiting: deque[str] = deque()
        self._under_way: dict[str, None] = {}
        self._open: dict[str, None] = {}
        self._failed: dict[str, str] = {}
        self._report: TimerHandle | None = None
        transport.on_link_closed(lambda _, ephemeral_id: self._open.pop(ephemeral_id, None))

    def take(self, state: ClusterState) -> None:
        """Open what links this state's nodes need that are not there."""
        self._version, self._failed = state.version, {}
        others = {node.ephemeral_id: node for node in self._after_this(state)}
        self._open = {node: None for node in self._open if node in others}
        self._missing = {name: node for name, node in others.items() if name not in self._open}
        self._waiting = deque(name for name in self._missing if name not in self._under_way)
        self._go_on()
        self._report_soon()

    def _after_this(self, state: ClusterState) -> list[DiscoveryNode]:
        """The others, beginning after this node: not all are to begin with the same one."""
        ids = [node.id for node in state.nodes]
        here = ids.index(self._local_id) if self._local_id in ids else 0
        return [*state.nodes[here + 1 :], *(node for node in state.nodes[:here] if node.id != self._local_id)]

    def _go_on(self) -> None:
        while self._waiting and len(self._under_way) < AT_ONCE:
            name = self._waiting.popleft()
            self._under_way[name] = None
            self._transport.connect(self._missing[name], partial(self._connected, name))

    def _connected(self, name: str, problem: str) -> None:
        del self._under_way[name]
        if self._missing.pop(name, None) is not None:
            if problem:
                self._failed[name] = problem
            else:
                self._open[name] = None
        self._go_on()
        self._report_soon()

    def _report_soon(self) -> None:
        if self._report is None:
            wait_s = REPORT_INTERVAL_S if self._missing else 0
            self._report = self._clock.call_later(wait_s, self._report_now)
        elif not self._missing:
            # The last one is waited for.
            self._report.cancel()
            self._report_now()

    def _report_now(self) -> None:
        self._report = None
        self._tell(Linked(self._version, frozenset(self._missing), self._failed))

    def close(self) -> None:
        """Tell no more."""
        if self._report is not None:
            self._report.cancel()
