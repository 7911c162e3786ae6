"""Which nodes there may be, and whom to ask for the manager next. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from taskfan.node.cluster_state import DiscoveryNode


class Peers:
    """The nodes a node knows of, by what it was given at the start, by cluster states, and by what others said.

    Differs: OpenSearch asks all eligible nodes in each round; here a few, and others in the next, because most
    of the time any of them can say who the manager is, and each one asked costs a link.
    Source: OpenSearch `PeerFinder`.
    """

    def __init__(self, local: DiscoveryNode) -> None:
        self._local = local
        # Given at the start: never forgotten.
        self._seeds: dict[str, None] = {}
        self._known: dict[str, DiscoveryNode] = {}
        self._asked_last = ""
        # How many nodes there are to be, this one included, as far as that was said.
        self.expected = 0

    def __iter__(self) -> Iterator[DiscoveryNode]:
        return iter(self._known.values())

    def __len__(self) -> int:
        """How many there are, or are to be."""
        return max(len(self._known), self.expected - 1)

    def get(self, node_id: str) -> DiscoveryNode | None:
        """The node of that id as far as it is known."""
        return self._known.get(node_id)

    def add_seeds(self, seeds: Iterable[DiscoveryNode]) -> None:
        """Know these for ever."""
        for node in seeds:
            self._seeds[node.id] = None
            self._known.setdefault(node.id, node)
        self._known.pop(self._local.id, None)

    def met(self, node: DiscoveryNode) -> None:
        """This node spoke for itself, or is in a cluster state: what is said of it is so now."""
        if node.id != self._local.id:
            self._known[node.id] = node

    def heard_of(self, nodes: Iterable[DiscoveryNode]) -> None:
        """Others know these; what this node knows of them is no worse."""
        for node in nodes:
            if node.id != self._local.id:
                self._known.setdefault(node.id, node)

    def unreachable(self, node_id: str, keep: Iterable[str]) -> None:
        """Forget a node unless it is a seed, or one of `keep`."""
        if node_id not in self._seeds and node_id not in keep:
            self._known.pop(node_id, None)

    def eligible(self) -> tuple[DiscoveryNode, ...]:
        """Those that may become the manager."""
        return tuple(node for node in self._known.values() if node.is_cluster_manager_eligible)

    def next_to_ask(self, count: int) -> list[DiscoveryNode]:
        """The next few eligible nodes, going round; of others only if there is no eligible one."""
        candidates = list(self.eligible()) or list(self._known.values())
        ids = [node.id for node in candidates]
        start = ids.index(self._asked_last) + 1 if self._asked_last in ids else 0
        chosen = [*candidates[start:], *candidates[:start]][:count]
        if chosen:
            self._asked_last = chosen[-1].id
        return chosen
