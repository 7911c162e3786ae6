"""How much is measured: everything, the quick form, and the least that still shows that each part works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Counts and times of one run.

    Attributes:
        cold: number of nodes → how often `taskfan up` and `down` are timed.
        warm: number of nodes → how often a start is timed from a supervisor that has loaded.
        added: how many nodes join a running cluster, one by one.
        meshes: numbers of nodes of which every one opens a link to every other.
        mesh_rounds: starts of each, in turn with starts that open none.
        loads: numbers of live tasks on three nodes.
        spread: numbers of nodes that an idle list goes over.
        connections: how many of them ask at once where answers a second are counted.
        blocks: rounds of whatever is measured in turn with something else.
        block_s, block_requests: a block ends with whichever comes first.
        memory_tasks: live tasks on a node, for the memory of one.
        memory_lists: lists before the memory after work is read.
        churn_tasks_per_s: tasks that start and end each second while lists are timed.
        cancels: tasks cancelled at once.
        registry_tasks: tasks that live while others are registered.
        batches: bulks of a thousand documents.
        idle_s: how long idle nodes are watched.
        profile_lists: lists whose way is followed.
    """

    name: str
    cold: Mapping[int, int]
    warm: Mapping[int, int]
    added: int
    meshes: tuple[int, ...]
    mesh_rounds: int
    loads: tuple[int, ...]
    spread: tuple[int, ...]
    connections: tuple[int, ...]
    blocks: int
    block_s: float
    block_requests: int
    memory_tasks: int
    memory_lists: int
    churn_tasks_per_s: int
    churn_s: float
    churn_rounds: int
    cancels: tuple[int, ...]
    cancel_rounds: int
    registry_tasks: int
    batches: int
    document_rounds: int
    idle_s: float
    profile_lists: int


WHOLE = Sizes(
    name="whole",
    cold={3: 9, 5: 9, 10: 5, 50: 5, 100: 5, 200: 3, 500: 2},
    warm={3: 9, 5: 9, 10: 5, 50: 3, 100: 3, 200: 3},
    added=5,
    meshes=(50, 100),
    mesh_rounds=3,
    loads=(0, 100, 1000, 5000, 50_000),
    spread=(5, 10, 50, 100, 200),
    connections=(1, 8, 64),
    blocks=5,
    block_s=0.2,
    block_requests=1500,
    memory_tasks=10_000,
    memory_lists=2000,
    churn_tasks_per_s=10_000,
    churn_s=5.0,
    churn_rounds=3,
    cancels=(1, 100, 1000),
    cancel_rounds=3,
    registry_tasks=100_000,
    batches=15,
    document_rounds=3,
    idle_s=10.0,
    profile_lists=3000,
)

QUICK = Sizes(
    name="quick",
    cold={3: 5, 5: 5, 100: 1},
    warm={3: 3, 5: 3},
    added=2,
    meshes=(50,),
    mesh_rounds=2,
    loads=(0, 1000, 5000),
    spread=(5, 20, 50),
    connections=(1, 8),
    blocks=3,
    block_s=0.1,
    block_requests=300,
    memory_tasks=10_000,
    memory_lists=300,
    churn_tasks_per_s=10_000,
    churn_s=3.0,
    churn_rounds=1,
    cancels=(1, 100),
    cancel_rounds=3,
    registry_tasks=100_000,
    batches=4,
    document_rounds=1,
    idle_s=2.0,
    profile_lists=600,
)

TINY = Sizes(
    name="tiny",
    cold={2: 1},
    warm={2: 1},
    added=1,
    meshes=(3,),
    mesh_rounds=1,
    loads=(0, 5),
    spread=(2, 3),
    connections=(1, 2),
    blocks=2,
    block_s=0.02,
    block_requests=5,
    memory_tasks=20,
    memory_lists=3,
    churn_tasks_per_s=60,
    churn_s=1.0,
    churn_rounds=1,
    cancels=(2,),
    cancel_rounds=1,
    registry_tasks=100,
    batches=1,
    document_rounds=1,
    idle_s=0.1,
    profile_lists=200,
)
