"""A cluster of pure coordinators on a network that loses, delays, doubles and cuts, all drawn from one seed."""

from __future__ import annotations

import dataclasses
import heapq
import random
from collections.abc import Callable, Iterable

import msgspec.structs

from taskfan.node.cluster_state import DEFAULT_ROLES, DiscoveryNode
from taskfan.node.coordination import messages as m
from taskfan.node.coordination.coordinator import Coordinator
from taskfan.node.coordination.effects import Apply, CancelTimer, Effect, Failure, Persist, Send, SetTimer, Timer
from taskfan.node.coordination.modes import Mode
from taskfan.node.coordination.settings import CoordinationSettings
from taskfan.node.coordination.state import Persisted
from tests.node.coordination.invariants import Invariants


@dataclasses.dataclass(slots=True)
class Member:
    """One node: its process while it lives, and what it leaves to the next."""

    node: DiscoveryNode
    coordinator: Coordinator | None = None
    persisted: Persisted | None = None
    processes: int = 0
    # The event that each set timer waits for; an older one is of no effect.
    timers: dict[Timer, int] = dataclasses.field(default_factory=dict)
    # What happens to a paused node is kept until it goes on.
    kept: list[Callable[[], None]] | None = None


@dataclasses.dataclass(slots=True)
class Network:
    """What happens to messages now. Times in milliseconds."""

    min_delay_ms: float = 0.2
    max_delay_ms: float = 2.0
    loss: float = 0.0
    doubling: float = 0.0
    # Ordered pairs between which everything vanishes, and those whose links are refused.
    silent: dict[tuple[str, str], None] = dataclasses.field(default_factory=dict)
    cut: dict[tuple[str, str], None] = dataclasses.field(default_factory=dict)


class Simulation:
    """Members, their network and their time. `steps` counts what happened to coordinators."""

    def __init__(
        self, seed: int, eligible: int = 3, others: int = 0, settings: CoordinationSettings | None = None
    ) -> None:
        self.random = random.Random(seed)
        self.settings = settings or CoordinationSettings()
        self.now_ms = 0.0
        self.steps = 0
        self.sent = 0
        self.network = Network()
        self.invariants = Invariants()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = 0
        self._settled: dict[tuple[str, str, int], None] = {}
        names = [f"n{number:02}" for number in range(1, eligible + others + 1)]
        self.members = {
            name: Member(node_of(name, DEFAULT_ROLES if place < eligible else ())) for place, name in enumerate(names)
        }
        self.initial = names[:eligible]

    # ------------------------------------------------------------------ time

    def after(self, delay_ms: float, event: Callable[[], None]) -> int:
        """Let this happen so much later."""
        self._numbers += 1
        heapq.heappush(self._events, (self.now_ms + delay_ms, self._numbers, event))
        return self._numbers

    def run_until(self, done: Callable[[], bool], limit_ms: float) -> bool:
        """Let time pass until that is true. Gives whether it became so within the limit."""
        end_ms = self.now_ms + limit_ms
        while not done():
            if not self._events or self._events[0][0] > end_ms:
                self.now_ms = end_ms
                return done()
            self.now_ms, _, event = heapq.heappop(self._events)
            event()
        return True

    def run_for(self, duration_ms: float) -> None:
        """Let so much time pass."""
        self.run_until(lambda: False, duration_ms)

    # ------------------------------------------------------------------ members

    def start(self, *names: str, told_of_voters_only: bool = False) -> None:
        """Start these, or all; each as a new process with what the last one kept.

        Args:
            told_of_voters_only: those who do not vote first, and of the others their number.
        """
        for name in names or self.members:
            member = self.members[name]
            member.processes += 1
            member.node = msgspec.structs.replace(member.node, ephemeral_id=f"{name}-{member.processes}")
            member.timers.clear()
            member.kept = None
            member.coordinator = Coordinator(member.node, "test", self.settings, member.persisted)
            self.invariants.watch(member.coordinator.core)
        seeds = [member.node for member in self.members.values()]
        voters = [node for node in seeds if node.name in self.initial]
        for name in names or self.members:
            told = voters if told_of_voters_only and name not in self.initial else seeds
            # `_do` calls it at once.
            self._do(
                self.members[name],
                lambda c: c.start(told, self.initial, f"uuid-{c.local.id}", len(seeds)),  # noqa: B023
            )

    def kill(self, name: str) -> None:
        """End the process: its links close, its memory is gone."""
        self.members[name].coordinator = None
        for other in self.members:
            self.close_link(other, name)

    def close_link(self, name: str, to: str) -> None:
        """Let a node see that its link to another one has closed."""
        if (name, to) not in self.network.silent and name != to:
            process = self.members[to].node.ephemeral_id
            self.after(self._delay_ms(), lambda: self._tell(name, lambda c: c.link_closed(to, process)))

    def pause(self, name: str) -> None:
        """Stop the process; its links stay."""
        if self.members[name].kept is None:
            self.members[name].kept = []

    def resume(self, name: str) -> None:
        """Let it go on: all that came meanwhile happens now."""
        kept, self.members[name].kept = self.members[name].kept or [], None
        for event in kept:
            self.after(0.0, event)

    def silence(self, a: Iterable[str], b: Iterable[str]) -> None:
        """Lose everything between these two groups, without a sign."""
        pairs = [(x, y) for x in a for y in b]
        self.network.silent |= dict.fromkeys([*pairs, *((y, x) for x, y in pairs)])

    def cut(self, a: Iterable[str], b: Iterable[str]) -> None:
        """Close all links between these two groups, and refuse new ones."""
        for x, y in [(x, y) for x in a for y in b]:
            self.network.cut |= dict.fromkeys([(x, y), (y, x)])
            self.close_link(x, y)
            self.close_link(y, x)

    def heal(self) -> None:
        """A faultless network, and everybody there."""
        self.network = Network()
        for name, member in self.members.items():
            self.resume(name)
            if member.coordinator is None:
                self.start(name)

    # ------------------------------------------------------------------ what can be seen

    def coordinators(self) -> list[Coordinator]:
        """Of those that live and are not paused."""
        return [c for o in self.members.values() if (c := o.coordinator) is not None and o.kept is None]

    def leaders(self) -> list[str]:
        """Who believes to lead."""
        return [c.local.id for c in self.coordinators() if c.mode is Mode.LEADER]

    def leader(self) -> Coordinator:
        """The one leader."""
        (leader,) = self.leaders()
        found = self.members[leader].coordinator
        assert found is not None
        return found

    def is_whole(self, *names: str) -> bool:
        """Whether these, or all, have one manager and one state, with all of them and nobody else in it."""
        wanted = list(names) or list(self.members)
        coordinators = [c for c in self.coordinators() if c.local.id in wanted]
        state = coordinators[0].applied if coordinators else None
        return (
            len(coordinators) == len(wanted)
            and state is not None
            and state.manager is not None
            and all(c.applied == state for c in coordinators)
            and sorted(n.ephemeral_id for n in state.nodes) == sorted(c.local.ephemeral_id for c in coordinators)
            and [c.local.id for c in coordinators if c.mode is Mode.LEADER] == [state.manager_id]
            and all(c.mode is not Mode.CANDIDATE for c in coordinators)
        )

    def describe(self) -> str:
        """Each member in a line."""
        return "\n".join(
            f"{name}{' (paused)' if o.kept is not None else ''}: {describe(o.coordinator)}"
            for name, o in self.members.items()
        )

    # ------------------------------------------------------------------ effects and messages

    def _tell(self, name: str, event: Callable[[Coordinator], list[Effect]], process: int | None = None) -> None:
        """Let something happen to a node, once it runs; to this process of it only, where one is given."""
        member = self.members[name]
        if member.kept is not None:
            member.kept.append(lambda: self._tell(name, event, process))
        elif member.coordinator is not None and process in (None, member.processes):
            self._do(member, event)

    def _do(self, member: Member, event: Callable[[Coordinator], list[Effect]]) -> None:
        coordinator = member.coordinator
        assert coordinator is not None
        self.steps += 1
        effects = event(coordinator)
        self.invariants.seen(coordinator)
        for effect in effects:
            self._carry_out(member, effect)

    def _carry_out(self, member: Member, effect: Effect) -> None:
        match effect:
            case Send():
                self._send(member, effect)
            case SetTimer(timer, min_ms, max_ms):
                name, process = member.node.id, member.processes
                wait_ms = self.random.uniform(min_ms, max_ms)
                member.timers[timer] = number = self._numbers + 1
                self.after(wait_ms, lambda: self._fire(name, process, timer, number))
            case CancelTimer(timer):
                member.timers.pop(timer, None)
            case Persist(term, accepted):
                member.persisted = Persisted(term, accepted)
            case Apply(state):
                self.invariants.applies(member.node.id, state)

    def _fire(self, name: str, process: int, timer: Timer, number: int) -> None:
        def fire(coordinator: Coordinator) -> list[Effect]:
            if self.members[name].timers.get(timer) != number:
                return []
            del self.members[name].timers[timer]
            return coordinator.timer_fired(timer)

        self._tell(name, fire, process)

    def _send(self, member: Member, sent: Send) -> None:
        self.sent += 1
        name, process, to = member.node.id, member.processes, sent.to.id
        if isinstance(sent.request, m.ApplyCommitRequest):
            self.invariants.committed(sent.request.term, sent.request.version)
        self.after(sent.timeout_ms, lambda: self._settle(name, process, sent, Failure.TIMED_OUT))
        if (name, to) in self.network.cut or (to not in self.members or self.members[to].coordinator is None):
            if (name, to) not in self.network.silent:
                self.after(self._delay_ms(), lambda: self._settle(name, process, sent, Failure.DISCONNECTED))
            return
        copies = 2 if self.random.random() < self.network.doubling else 1
        for _ in range(copies):
            if not self._is_lost(name, to):
                self.after(self._delay_ms(), lambda: self._tell(to, lambda c: self._receive(c, name, process, sent)))

    def _receive(self, coordinator: Coordinator, name: str, process: int, sent: Send) -> list[Effect]:
        outcome = coordinator.receive(sent.request)
        if not self._is_lost(coordinator.local.id, name):
            answer = Failure.REJECTED if isinstance(outcome.answer, m.CoordinationRejected) else outcome.answer
            self.after(self._delay_ms(), lambda: self._settle(name, process, sent, answer))
        return outcome.effects

    def _settle(self, name: str, process: int, sent: Send, answer: m.Answer | Failure) -> None:
        def settle(coordinator: Coordinator) -> list[Effect]:
            key = (name, coordinator.local.ephemeral_id, sent.number)
            if key in self._settled:
                return []
            self._settled[key] = None
            if isinstance(answer, Failure):
                return coordinator.failed(sent, answer)
            return coordinator.answered(sent, answer)

        self._tell(name, settle, process)

    def _is_lost(self, name: str, to: str) -> bool:
        network = self.network
        return (name, to) in network.silent or (name, to) in network.cut or self.random.random() < network.loss

    def _delay_ms(self) -> float:
        return self.random.uniform(self.network.min_delay_ms, self.network.max_delay_ms)


def node_of(name: str, roles: tuple[str, ...] = DEFAULT_ROLES) -> DiscoveryNode:
    """A node of that name, which is its id and address too."""
    return DiscoveryNode(name, name, f"{name}-0", "127.0.0.1", name, name, roles)


def describe(coordinator: Coordinator | None) -> str:
    """One coordinator in a line."""
    if coordinator is None:
        return "dead"
    core, applied = coordinator.core, coordinator.applied
    return (
        f"{coordinator.mode.name} of {coordinator.leader and coordinator.leader.id} in term {core.term},"
        f" accepted {core.accepted.term}/{core.accepted.version}"
        f" voters {core.accepted.voters}, applied {applied.term}/{applied.version}"
        f" manager {applied.manager_id} nodes {[node.ephemeral_id for node in applied.nodes]}"
    )
