"""Random trees, cancels, losses and departures on four nodes: whatever happens, what `Watch` asserts holds."""

from __future__ import annotations

from typing import TypeVar

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from taskfan.node.task import Task, TaskTraits
from tests.node.fake_network import CANCELLABLE, LEAF, PLAIN, FakeNetwork, Request

# Mostly tasks that are cancelled with their children: only those make trees to cancel.
TRAITS = st.sampled_from([CANCELLABLE, CANCELLABLE, CANCELLABLE, CANCELLABLE, LEAF, PLAIN])
# Picks one of what there is, whatever its number: so a failing example can be made smaller.
INDEX = st.integers(0, 30)
# Parent, node and kind of children to send.
CHILDREN = st.lists(st.tuples(INDEX, INDEX, TRAITS), min_size=1, max_size=8)
TROUBLES = st.sampled_from(["lose", "lose", "refuse", "refuse", "close", "leave", "give up", "kill"])

Thing = TypeVar("Thing")


def pick(index: int, things: list[Thing]) -> Thing:
    return things[index % len(things)]


class CancellationMachine(RuleBasedStateMachine):
    """Every step that a network can take, in any order; at the end all that can still happen does."""

    def __init__(self) -> None:
        super().__init__()
        self.network = FakeNetwork("A", "B", "C", "D")
        self.count = 0
        self.network.start("t0", "A")

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

    @initialize(children=CHILDREN)
    def grow_a_tree(self, children: list[tuple[int, int, TaskTraits]]) -> None:
        for child in children:
            self.send([child])
            self.deliver_all()

    @rule(index=INDEX, traits=TRAITS)
    def start(self, index: int, traits: TaskTraits) -> None:
        self.network.start(self.name(), pick(index, self.nodes), traits)

    @precondition(lambda self: self.tasks)
    @rule(children=CHILDREN)
    def send(self, children: list[tuple[int, int, TaskTraits]]) -> None:
        for parent, to, traits in children:
            self.network.send(self.name(), pick(parent, self.tasks)[0], pick(to, self.nodes), traits)

    @precondition(lambda self: self.network.movable)
    @rule(indices=st.lists(INDEX, min_size=1, max_size=6))
    def deliver_some(self, indices: list[int]) -> None:
        for index in indices:
            if self.network.movable:
                self.network.deliver(pick(index, self.network.movable))
                self.network.watch.check()

    @precondition(lambda self: self.network.movable)
    @rule()
    def deliver_all(self) -> None:
        while self.network.movable:
            self.network.deliver(self.network.movable[0])

    @precondition(lambda self: self.cancellable)
    @rule(index=INDEX, wait=st.booleans())
    def cancel(self, index: int, wait: bool) -> None:
        self.network.cancel(pick(index, self.cancellable), self.name(), wait=wait, reason=f"reason {self.count}")

    @precondition(lambda self: self.network.running)
    @rule(index=INDEX)
    def end(self, index: int) -> None:
        self.network.end(pick(index, self.network.running))

    @rule(what=TROUBLES, index=INDEX, other=INDEX)
    def make_trouble(self, what: str, index: int, other: int) -> None:
        network, a, b = self.network, pick(index, self.nodes), pick(other, self.nodes)
        waited_for = [request.about for request in network.requests if request.open and request.kind == "child"]
        if what == "lose" and self.spoilable:
            network.lose(pick(index, self.spoilable))
        elif what == "refuse" and self.spoilable:
            network.refuse(pick(index, self.spoilable))
        elif what == "give up" and waited_for:
            network.give_up(pick(index, waited_for))
        elif what == "close" and a != b:
            network.close(a, b)
        elif what == "leave" and a != b and a in network.known[b]:
            network.forget(a, by=b)
        elif what == "leave" and a != b:
            network.remember(a, by=b)
        elif what == "kill" and len(self.nodes) > 2:
            network.kill(self.nodes[-1])

    @invariant()
    def what_was_promised_holds(self) -> None:
        self.network.watch.check()

    def teardown(self) -> None:
        self.network.settle()


# Derandomized: the same examples each time, so that a failure is never chance.
TestCancellation = CancellationMachine.TestCase
TestCancellation.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
