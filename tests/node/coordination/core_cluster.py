"""Safety cores with nothing around them: any message at any time, as often as chance wants, and any restart."""

from __future__ import annotations

import random
from collections.abc import Callable

from msgspec.structs import replace

from taskfan.node.cluster_state import ClusterState
from taskfan.node.coordination.messages import (
    AcceptedState,
    ApplyCommitRequest,
    CoordinationRejected,
    Join,
    PublishRequest,
    PublishResponse,
)
from taskfan.node.coordination.state import CoordinationState, Persisted
from taskfan.node.coordination.voting import VotingConfiguration
from tests.node.coordination.simulation import node_of

Message = tuple[str, Join | PublishRequest | PublishResponse | ApplyCommitRequest, str]


class CoreCluster:
    """Nodes n0, n1 … and the messages ever sent, of which any may arrive at any time.

    Each step is three numbers, so that a failing history can be made shorter by removing and lowering them.
    Source: OpenSearch's `CoordinationStateTestCluster`.
    """

    def __init__(self, nodes: int) -> None:
        self.nodes = [node_of(f"n{number}") for number in range(nodes)]
        nobody = AcceptedState(ClusterState("test", "_na_", 0, (), None, 0))
        first = VotingConfiguration.of(node.id for node in self.nodes[:3])
        self.cores = [CoordinationState(node, Persisted(0, nobody)) for node in self.nodes]
        for core in self.cores:
            core.set_initial_configuration(first)
        self.messages: list[Message] = []
        self.published: dict[tuple[int, int], AcceptedState] = {}
        self.previous: dict[tuple[int, int], tuple[int, int]] = {}
        self.leaders: dict[int, str] = {}
        self.line: dict[int, int] = {0: 0}
        self.values = 0

    def step(self, what: int, a: int, b: int) -> None:
        """One thing happens. What a node refuses does not."""
        kinds: list[Callable[[int, int], None]] = [self._deliver] * 10
        kinds += [self._start_join] * 4 + [self._publish] * 2
        if b % 50 == 0:
            kinds = [self._restart]
        try:
            kinds[what % len(kinds)](a, b)
        except CoordinationRejected:
            return

    def _start_join(self, a: int, b: int) -> None:
        core = self.cores[a % len(self.cores)]
        # Mostly the term that others are in already, and the vote for whom they vote: so elections are won.
        term = max(1, max(other.term for other in self.cores) + (b % 30 == 0))
        target = self.nodes[(a if b % 7 == 0 else term) % len(self.nodes)]
        self._send(target.id, core.handle_start_join(target.id, term), core.local.id)

    def _publish(self, a: int, b: int) -> None:
        core = self.cores[a % len(self.cores)]
        accepted = core.accepted
        self.values += 1
        voters = accepted.accepted_configuration
        if b % 3 == 0:
            members = [node.id for place, node in enumerate(self.nodes) if (b // 3) >> place & 1]
            voters = VotingConfiguration.of(members or voters.node_ids)
        cluster = replace(
            accepted.cluster,
            term=core.term,
            version=accepted.version + 1,
            cluster_uuid=f"value {self.values}",
            manager_id=core.local.id,
        )
        state = replace(accepted, cluster=cluster, accepted_configuration=voters)
        core.handle_client_value(state)
        place = (state.term, state.version)
        assert place not in self.published, f"two states of term and version {place}"
        self.published[place], self.previous[place] = state, (accepted.term, accepted.version)
        for node in self.nodes:
            self._send(node.id, PublishRequest(core.local, state), core.local.id)

    def _deliver(self, a: int, b: int) -> None:
        if not self.messages:
            return
        # The latest messages come more often: so histories go on.
        place = len(self.messages) - 1 - (a % min(len(self.messages), 12 if b % 4 else len(self.messages)))
        to, message, sender = self.messages[place]
        core = self.cores[int(to[1:])]
        match message:
            case Join():
                core.handle_join(message)
                if core.election_won:
                    known = self.leaders.setdefault(core.term, core.local.id)
                    assert known == core.local.id, f"{known} and {core.local.id} both lead in term {core.term}"
            case PublishRequest():
                self._send(sender, core.handle_publish_request(message), to)
            case PublishResponse():
                commit = core.handle_publish_response(self.nodes[int(sender[1:])], message)
                if commit is not None:
                    self._committed(commit.term, commit.version)
                    for node in self.nodes:
                        self._send(node.id, commit, to)
            case ApplyCommitRequest():
                core.handle_commit(message)
                accepted = core.accepted
                assert self.line.get(accepted.version) == accepted.term, f"{to} applies what is not committed"

    def _restart(self, a: int, b: int) -> None:
        core = self.cores[a % len(self.cores)]
        self.cores[a % len(self.cores)] = CoordinationState(core.local, Persisted(core.term, core.accepted))

    def _committed(self, term: int, version: int) -> None:
        while self.line.get(version) != term:
            assert version not in self.line, (
                f"version {version} is committed in term {self.line[version]} and in term {term}"
            )
            self.line[version] = term
            term, version = self.previous[term, version]

    def _send(
        self, to: str, message: Join | PublishRequest | PublishResponse | ApplyCommitRequest, sender: str
    ) -> None:
        self.messages.append((to, message, sender))


def random_core_history(seed: int, steps: int = 400) -> CoreCluster:
    """A cluster after so many random steps. Raises AssertionError when something happened that must not."""
    chance = random.Random(seed)
    cluster = CoreCluster(chance.choice([3, 3, 4, 5]))
    for _ in range(steps):
        cluster.step(chance.randrange(1 << 16), chance.randrange(1 << 16), chance.randrange(1 << 16))
    return cluster
