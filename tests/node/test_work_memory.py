"""A live task of simulated work holds little: no coroutine, no task of asyncio, no timer of the loop, no copies."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc

from tests.node.work_cluster import WorkCluster, play

TASKS = 2_000
# Where it runs and where its parent waits for it, both in this process. About 1000 are needed.
MOST_BYTES = 1_300


def test_a_task_and_the_wait_for_it_take_about_a_kilobyte_and_no_task_of_asyncio() -> None:
    async def story(cluster: WorkCluster) -> None:
        async def live(copies: int) -> None:
            child = {
                "action": "b",
                "description": "c",
                "copies": copies,
                "duration": "until_cancelled",
                "nodes": ["n1"],
            }
            running = await cluster.work({"action": "a", "children": [child]})
            await cluster.until(lambda: len(cluster.nodes[1].registry) == copies)
            gc.collect()
            sizes.append((tracemalloc.get_traced_memory()[0], len(asyncio.all_tasks())))
            await cluster.cancel(running.task, wait=True)
            await cluster.to_the_end(running)
            cluster.events.clear()

        sizes: list[tuple[int, int]] = []
        tracemalloc.start()
        try:
            # The first one makes what is made once.
            for copies in (1, 1, TASKS):
                await live(copies)
        finally:
            tracemalloc.stop()
        (few_bytes, few_tasks), (many_bytes, many_tasks) = sizes[1:]
        assert many_tasks == few_tasks
        assert (many_bytes - few_bytes) / TASKS < MOST_BYTES

    play(story, nodes=2)
