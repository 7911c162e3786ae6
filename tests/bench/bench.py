"""What all measurements share: how much, by which client, and how two things are measured in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.bench.client_process import ClientProcess
from tests.bench.figures import Facts, Figure, at_share, of_latencies, of_samples
from tests.bench.http_client import Ask, Block, answers_per_second, latencies
from tests.bench.sizes import Sizes


@dataclass(slots=True)
class Bench:
    """One run.

    Attributes:
        against: the nodes of another server of the same API, the first of which is asked.
        say: tells whoever waits how far it is.
    """

    sizes: Sizes
    client: ClientProcess
    say: Callable[[str], None]
    against: tuple[str, ...] = ()

    def in_turn(self, asks: Mapping[str, Ask]) -> dict[str, list[Block]]:
        """Time all of them block by block in turn, in another order each time: what else the machine does meets all.

        A block before the first warms up what a process makes when it is first needed, and counts for nothing.
        """
        blocks: dict[str, list[Block]] = {name: [] for name in asks}
        for number in range(-1, self.sizes.blocks):
            for name in rotated(list(asks), number):
                requests, seconds = self.sizes.block_requests, self.sizes.block_s
                block = self.client.run(latencies, asks[name], requests=requests, seconds=seconds)
                if number >= 0:
                    blocks[name].append(block)
        return blocks

    def rates_in_turn(self, asks: Mapping[str, Ask], connections: int) -> dict[str, list[float]]:
        """The same of answers a second."""
        rates: dict[str, list[float]] = {name: [] for name in asks}
        for number in range(self.sizes.blocks):
            for name in rotated(list(asks), number):
                rate = self.client.run(
                    answers_per_second, asks[name], connections=connections, seconds=self.sizes.block_s
                )
                rates[name].append(rate)
        return rates


def rotated(names: list[str], by: int) -> list[str]:
    """The same, begun elsewhere."""
    at = by % len(names)
    return names[at:] + names[:at]


def latency_figures(name: str, blocks: Sequence[Block], facts: Facts) -> list[Figure]:
    """What blocks of one thing say."""
    return of_latencies(name, [block.latencies_ms for block in blocks], facts)


def p50s(blocks: Sequence[Block]) -> list[float]:
    """The p50 of each block, in ms."""
    return [at_share(block.latencies_ms, 0.5) for block in blocks]


def ratio(name: str, of: Sequence[float], by: Sequence[float], facts: Facts | None = None) -> Figure:
    """One thing in terms of another, round by round, so that what changes both hardly changes it."""
    return of_samples(name, "times", [one / other for one, other in zip(of, by, strict=True)], facts=facts)


def client_cost(name: str, blocks: Sequence[Block]) -> Figure:
    """The client's own processor time for a request."""
    each = [1e6 * block.client_cpu_s / len(block.latencies_ms) for block in blocks]
    return of_samples(name, "µs", each)
