"""One random history of a cluster, from one seed: what is done to it, and that it comes together at the end.

    python -m tests.node.coordination.random_network SEED

plays it again, and shows what was done.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable

from tests.node.coordination.simulation import Simulation

# In this virtual time a healed cluster must be whole. The longest wait is for a follower that lost a commit: it is
# taken out after `cluster.follower_lag.timeout`, 90 s, then joins anew; the rest is for checks and elections.
CONVERGENCE_MS = 180_000


class RandomNetwork:
    """Draws what happens to a simulation; `log` says what it was."""

    def __init__(self, seed: int, log: Callable[[str], None] = lambda line: None) -> None:
        self.random = random.Random(f"history {seed}")
        self.simulation = Simulation(
            seed, self.random.choice([1, 2, 3, 3, 4, 5, 5, 7]), self.random.choice([0, 0, 1, 2])
        )
        self.log = log

    def play(self, disturbances: int = 12) -> None:
        """Start, disturb, heal, and come together.

        Raises:
            AssertionError: something happened that must not.
        """
        simulation = self.simulation
        simulation.start(*self._some())
        for _ in range(disturbances):
            what = self.random.choice(self._DISTURBANCES)
            what(self)
            self._pass_time()
        self.log(f"{simulation.now_ms:.0f} ms: heal")
        simulation.heal()
        healed_ms = simulation.now_ms
        whole = simulation.run_until(simulation.is_whole, CONVERGENCE_MS)
        self.log(f"{simulation.now_ms:.0f} ms: whole {simulation.now_ms - healed_ms:.0f} ms later")
        assert whole, f"not whole {CONVERGENCE_MS} ms after it was healed:\n{simulation.describe()}"

    def _pass_time(self) -> None:
        duration_ms = self.random.choice([10, 100, 1_000, 5_000, 40_000]) * self.random.random()
        self.simulation.run_for(duration_ms)

    def _some(self) -> list[str]:
        names = list(self.simulation.members)
        return self.random.sample(names, self.random.randint(1, len(names)))

    def _one(self) -> str:
        return self.random.choice(list(self.simulation.members))

    def _say(self, what: str) -> None:
        self.log(f"{self.simulation.now_ms:.0f} ms: {what}")

    def _lossy(self) -> None:
        network = self.simulation.network
        network.loss = self.random.choice([0.0, 0.05, 0.3, 0.7])
        network.doubling = self.random.choice([0.0, 0.1, 0.5])
        network.max_delay_ms = self.random.choice([1.0, 50.0, 500.0, 20_000.0])
        self._say(f"loss {network.loss}, doubling {network.doubling}, delay up to {network.max_delay_ms} ms")

    def _silence(self) -> None:
        group = self._some()
        self._say(f"silence around {group}")
        self.simulation.silence(group, [name for name in self.simulation.members if name not in group])

    def _cut(self) -> None:
        group = self._some()
        self._say(f"cut off {group}")
        self.simulation.cut(group, [name for name in self.simulation.members if name not in group])

    def _one_way(self) -> None:
        pair = self._one(), self._one()
        self._say(f"nothing gets from {pair[0]} to {pair[1]}")
        self.simulation.network.silent[pair] = None

    def _join_up(self) -> None:
        self._say("all links are back")
        self.simulation.network.silent.clear()
        self.simulation.network.cut.clear()

    def _close_link(self) -> None:
        pair = self._one(), self._one()
        self._say(f"the link from {pair[0]} to {pair[1]} closes")
        self.simulation.close_link(*pair)

    def _kill(self) -> None:
        for name in self._some()[:3]:
            self._say(f"kill {name}")
            self.simulation.kill(name)

    def _start(self) -> None:
        for name in self._some():
            if self.simulation.members[name].coordinator is None:
                self._say(f"start {name}")
                self.simulation.start(name)

    def _restart(self) -> None:
        name = self._one()
        self._say(f"restart {name}")
        self.simulation.kill(name)
        self.simulation.start(name)

    def _restarts_during_elections(self) -> None:
        self.simulation.network.max_delay_ms = self.random.choice([20.0, 200.0])
        for name in self.random.choices(list(self.simulation.members), k=12):
            self._say(f"restart {name}")
            self.simulation.kill(name)
            self.simulation.start(name)
            self.simulation.run_for(self.random.random() * 200)

    def _pause(self) -> None:
        name = self._one()
        self._say(f"pause {name}")
        self.simulation.pause(name)

    def _resume(self) -> None:
        for name in self._some():
            self._say(f"resume {name}")
            self.simulation.resume(name)

    _DISTURBANCES = (
        *(_lossy, _lossy, _silence, _cut, _one_way, _join_up, _join_up, _close_link),
        *(_kill, _start, _start, _restart, _restarts_during_elections, _pause, _resume, _resume),
    )


def reproduce_with(seed: int) -> str:
    """The line to paste."""
    return f"REPRODUCE WITH: python -m tests.node.coordination.random_network {seed}"


if __name__ == "__main__":
    RandomNetwork(int(sys.argv[1]), print).play()
