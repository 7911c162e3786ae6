"""What large answers left free is given back, once for all that came in a second; small ones leave nothing."""

from __future__ import annotations

import asyncio

from taskfan.node.clock import VirtualClock, VirtualTimeLoop
from taskfan.node.machine import UnknownMachine
from taskfan.node.spare_memory import SpareMemory

MIB = 1 << 20


class CountingMachine(UnknownMachine):
    def __init__(self) -> None:
        self.given_back = 0

    def give_back_memory(self) -> None:
        self.given_back += 1


def test_memory_is_given_back_a_second_after_a_large_answer() -> None:
    async def story() -> None:
        clock, machine = VirtualClock(), CountingMachine()
        spare = SpareMemory(clock, machine)
        spare.answered(MIB - 1)
        await clock.sleep(2)
        assert machine.given_back == 0
        for _ in range(3):
            spare.answered(MIB)
        await clock.sleep(0.9)
        assert machine.given_back == 0
        await clock.sleep(0.2)
        assert machine.given_back == 1
        spare.answered(5 * MIB)
        await clock.sleep(1.1)
        assert machine.given_back == 2

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(story())
