"""One random history of whole nodes over the transport in memory, from one seed: what strikes them, and that they heal.

    python -m tests.node.coordination.random_membership SEED

plays it again, and shows what was done.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable
from typing import Any

from taskfan.node.coordination import messages as m
from taskfan.node.coordination.coordinator import Coordinator
from taskfan.node.coordination.effects import Apply, Effect, Send
from taskfan.node.faults.decide import NumberedRule
from taskfan.node.faults.rule import read_rule
from taskfan.node.membership import Membership
from tests.node.coordination.invariants import Invariants
from tests.node.coordination.membership_cluster import MembershipCluster, play
from tests.node.coordination.random_network import CONVERGENCE_MS

LOOK_S = 0.05


class RandomMembership:
    """Draws what strikes a cluster; `log` says what it was."""

    def __init__(self, seed: int, log: Callable[[str], None] = lambda line: None) -> None:
        self.random, self.log = random.Random(f"membership {seed}"), log
        self.invariants = Invariants()
        self.steps = 0
        self.broken: AssertionError | None = None

    def play(self, strikes: int = 20) -> None:
        """Start, strike, heal, and come together.

        Raises:
            AssertionError: something happened that must not.
        """
        eligible, others = self.random.choice([1, 2, 3, 3, 4, 5]), self.random.choice([0, 0, 1])

        async def story(cluster: MembershipCluster) -> None:
            self.cluster = cluster
            await cluster.start(*self._some())
            for _ in range(strikes):
                await self.random.choice(self._STRIKES)(self)
                await cluster.clock.sleep(self.random.choice([0.01, 0.1, 1, 5, 40]) * self.random.random())
            await self._heal()

        cluster = MembershipCluster(eligible, others)
        cluster.make_membership = self._watched
        play(story, cluster)

    async def _heal(self) -> None:
        self._say("heal")
        self._check()
        self.cluster.set_rules([])
        self.cluster.release()
        await self._start()
        waited_s = 0.0
        while not self.cluster.is_whole():
            assert waited_s * 1000 < CONVERGENCE_MS, f"not whole:\n{self.cluster.describe()}"
            await self.cluster.clock.sleep(LOOK_S)
            waited_s += LOOK_S
        self._say(f"whole {waited_s:.2f} s later")
        self._check()

    def _check(self) -> None:
        if self.broken is not None:
            raise self.broken

    # ------------------------------------------------------------------ what must be true

    def _watched(self, *arguments: Any) -> Membership:
        history = self

        class Watched(Membership):
            """Each thing that its coordinator decides is looked at before it is done."""

            def _carry_out(self, effects: Iterable[Effect]) -> None:
                decided = list(effects)
                history._see(self._coordinator, decided)
                super()._carry_out(decided)

        membership = Watched(*arguments)
        self.invariants.watch(membership._coordinator.core)
        return membership

    def _see(self, coordinator: Coordinator, effects: list[Effect]) -> None:
        self.steps += 1
        try:
            self.invariants.seen(coordinator)
            for effect in effects:
                match effect:
                    case Apply(state):
                        self.invariants.applies(coordinator.local.id, state)
                    case Send(request=m.ApplyCommitRequest() as commit):
                        self.invariants.committed(commit.term, commit.version)
        except AssertionError as broken:
            # Who sent the request would be told, and nobody else.
            self.broken = self.broken or broken
            raise

    # ------------------------------------------------------------------ strikes

    def _some(self) -> list[str]:
        names = list(self.cluster.nodes)
        return self.random.sample(names, self.random.randint(1, len(names)))

    def _say(self, what: str) -> None:
        self.log(f"{self.cluster.clock.monotonic_ns() / 1e9:.3f} s: {what}")

    async def _rules(self) -> None:
        rules = [self._rule() for _ in range(self.random.randint(1, 4))]
        self._say(f"rules {rules}")
        self.cluster.set_rules([NumberedRule("random", n, read_rule(rule)) for n, rule in enumerate(rules)])

    def _rule(self) -> dict[str, Any]:
        chance = self.random
        kind = chance.choice(["drop", "drop", "delay", "delay", "fail", "disconnect", "duplicate", "reorder", "cut"])
        pair = {"from": chance.choice(["*", *self._some()]), "to": chance.choice(["*", *self._some()])}
        if kind == "cut":
            return {"kind": chance.choice(["cut", "blackhole"]), **pair}
        rule = {"kind": kind, **pair, "probability": chance.choice([0.05, 0.3, 0.7]), "seed": chance.randrange(100)}
        if kind not in ("duplicate",):
            rule["on"] = chance.choice(["request", "reply"])
        if kind == "delay":
            rule |= {"delay": chance.choice(["1ms", "50ms", "2s", "20s"]), "jitter": chance.choice(["0s", "50ms"])}
        return rule

    async def _join_up(self) -> None:
        self._say("no rules, no silence")
        self.cluster.set_rules([])
        self.cluster.release()

    async def _silence(self) -> None:
        group = self._some()
        self._say(f"silence around {group}")
        self.cluster.silence(group, [name for name in self.cluster.nodes if name not in group])

    async def _kill(self) -> None:
        for name in self._some()[:3]:
            if name in self.cluster.members:
                self._say(f"kill {name}")
                await self.cluster.kill(name)

    async def _start(self) -> None:
        for name in self.cluster.nodes:
            if name not in self.cluster.members:
                self._say(f"start {name}")
                await self.cluster.start(name)

    async def _restart(self) -> None:
        await self._kill()
        await self._start()

    _STRIKES = (_rules, _rules, _rules, _join_up, _silence, _kill, _start, _start, _restart)


def reproduce_with(seed: int) -> str:
    """The line to paste."""
    return f"REPRODUCE WITH: python -m tests.node.coordination.random_membership {seed}"


if __name__ == "__main__":
    RandomMembership(int(sys.argv[1]), print).play()
