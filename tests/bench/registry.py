"""What one task costs the registry of a node in which very many live."""

from __future__ import annotations

import gc
import time

from taskfan.node.ids import TaskId
from taskfan.node.registry import TaskRegistry
from taskfan.node.task import Task, TaskTraits
from tests.bench.bench import Bench
from tests.bench.figures import Figure, of_samples

ACTION, NODE, PARENT = "indices:data/write/reindex", "oTUltX4IQMOUUVeiohTt8A", "5er42UaB4Kml6mAUqrLhnQ"
TRAITS = TaskTraits("reindex from [books] to [copy]", cancellable=True)
ROUNDS, BLOCK = 9, 20_000


def register_name(tasks: int) -> str:
    """The figure's name."""
    return f"register and unregister a child task, {tasks:,} live tasks"


def registry(bench: Bench) -> list[Figure]:
    """Register and unregister, in the client's process: it does nothing else, and collects nothing meanwhile."""
    tasks = bench.sizes.registry_tasks
    return [of_samples(register_name(tasks), "µs", bench.client.run(register_us, tasks))]


def register_us(tasks: int) -> list[float]:
    """So many tasks live, a tenth of them children of others; each round registers and ends others one by one."""
    registry = TaskRegistry(NODE)
    for number in range(tasks):
        _register(registry, number % 10 + 1)
    gc.freeze()
    samples = []
    for _ in range(ROUNDS):
        begun_ns = time.perf_counter_ns()
        for _ in range(BLOCK):
            registry.unregister(_register(registry, 1))
        samples.append((time.perf_counter_ns() - begun_ns) / 1000 / BLOCK)
    gc.unfreeze()
    return samples


def _register(registry: TaskRegistry, parent: int) -> Task:
    return registry.register(ACTION, type="transport", now_ms=1, now_ns=1, traits=TRAITS, parent=TaskId(PARENT, parent))
