"""Random trees, cancels, losses and departures on four nodes: whatever happens, what `Watch` asserts holds."""

from __future__ import annotations

from typing import TypeVar

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from taskfan.node.task import Task, TaskTraits
from tests.node.fake_network import CANCELLABLE, LEAF, PLAIN, FakeNetwork, Request

# Mostly tasks that are cancelled with their children: only those make trees to cancel.
TRAITS = st.sampled_from([CANCELLABLE, CANCELLABLE, CANCELLABLE, LEAF, PLAIN])
# Picks one of what there is, whatever its number: so a failing example can be made smaller.
INDEX = st.integers(0, 30)

Thing = TypeVar("Thing")


def pick(index: int, things: list[Thing]) -> Thing:
    return things[index % len(things)]


class CancellationMachine(RuleBasedStateMachine):
    """Every step that a network can take, in any order; at the end all that can still happen does."""

    network: FakeNetwork

    @initialize()
    def begin(self) -> None:
        self.network = FakeNetwork("A", "B", "C", "D")
        self.count = 0
        self.network.start("t0", "A")
        for node in ("B", "C"):
            self.network.send(self.name(), "t0", node)

    def name(self) -> str:
        self.count += 1
        return f"t{self.count}"

    @property
    def nodes(self) -> list[str]:
        return list(self.network.registries)

    @property
    def tasks(self) -> list[tuple[str, Task]]:
        """Tasks of living nodes; also some that have ended, for who is late must not do harm."""
        return [(name, task) for name, task in self.network.tasks.items() if task.id.node_id in self.nodes]

    @property
    def cancellable(self) -> list[str]:
        return [name for name, task in self.tasks if task.cancellable]

    @property
    def spoilable(self) -> list[Request]:
        return [request for request in self.network.movable if request.sender != request.to]

    @rule(index=INDEX, traits=TRAITS)
    def start(self, index: int, traits: TaskTraits) -> None:
        self.network.start(self.name(), pick(index, self.nodes), traits)

    @precondition(lambda self: self.tasks)
    @rule(index=INDEX, to=INDEX, traits=TRAITS)
    def send(self, index: int, to: int, traits: TaskTraits) -> None:
        self.network.send(self.name(), pick(index, self.tasks)[0], pick(to, self.nodes), traits)

    @precondition(lambda self: self.network.movable)
    @rule(indices=st.lists(INDEX, min_size=1, max_size=6))
    def deliver(self, indices: list[int]) -> None:
        for index in indices:
            if self.network.movable:
                self.network.deliver(pick(index, self.network.movable))
                self.network.watch.check()

    @precondition(lambda self: self.cancellable)
    @rule(index=INDEX, wait=st.booleans())
    def cancel(self, index: int, wait: bool) -> None:
        self.network.cancel(pick(index, self.cancellable), self.name(), wait=wait, reason=f"reason {self.count}")

    @precondition(lambda self: self.network.running)
    @rule(index=INDEX)
    def end(self, index: int) -> None:
        self.network.end(pick(index, self.network.running))

    @precondition(lambda self: self.spoilable)
    @rule(index=INDEX)
    def lose(self, index: int) -> None:
        self.network.lose(pick(index, self.spoilable))

    @precondition(lambda self: self.spoilable)
    @rule(index=INDEX)
    def refuse(self, index: int) -> None:
        self.network.refuse(pick(index, self.spoilable))

    @precondition(lambda self: any(r.open and r.kind == "child" for r in self.network.requests))
    @rule(index=INDEX)
    def give_up(self, index: int) -> None:
        self.network.give_up(pick(index, [r.about for r in self.network.requests if r.open and r.kind == "child"]))

    @rule(sender=INDEX, to=INDEX)
    def close(self, sender: int, to: int) -> None:
        a, b = pick(sender, self.nodes), pick(to, self.nodes)
        if a != b:
            self.network.close(a, b)

    @rule(node=INDEX, by=INDEX)
    def leave_or_come_back(self, node: int, by: int) -> None:
        a, b = pick(node, self.nodes), pick(by, self.nodes)
        if a != b and a in self.network.known[b]:
            self.network.forget(a, by=b)
        elif a != b:
            self.network.remember(a, by=b)

    @precondition(lambda self: len(self.nodes) > 2)
    @rule(index=st.integers(0, 30))
    def kill(self, index: int) -> None:
        # Seldom: with few nodes left, little can happen.
        if index == 30:
            self.network.kill(self.nodes[-1])

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "network"):
            self.network.watch.check()

    def teardown(self) -> None:
        if hasattr(self, "network"):
            self.network.settle()


# Derandomized: the same examples each time, so that a failure is never chance.
TestCancellation = CancellationMachine.TestCase
TestCancellation.settings = settings(
    max_examples=120,
    stateful_step_count=60,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
