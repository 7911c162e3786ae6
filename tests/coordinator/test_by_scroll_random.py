"""Random sequences of bulks, reindexes, cancels and deletions leave the documents of a plain dict, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.coordinator.index_cluster import IndexCluster, play
from tests.coordinator.rest_cluster import ask

IDS = st.integers(0, 12).map(str)
Step = tuple[Any, ...]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("bulk"), st.lists(st.tuples(IDS, st.integers(0, 9)), min_size=1, max_size=8)),
        st.tuples(st.just("delete"), st.lists(IDS, min_size=1, max_size=4)),
        st.tuples(st.just("reindex"), st.integers(1, 3), st.integers(1, 5)),
        st.tuples(
            st.just("cancelled reindex"),
            st.integers(1, 3),
            st.sampled_from(["unthrottled", "throttled"]),
            st.integers(0, 60),
        ),
        st.tuples(st.just("cancelled slice"), st.integers(0, 60)),
        st.tuples(st.just("delete by query"), st.integers(0, 9), st.integers(1, 2)),
        st.tuples(st.just("update by query"), st.integers(0, 9)),
    ),
    max_size=8,
)


@dataclass
class Model:
    """What the two indices should hold, and the story that makes it so."""

    cluster: IndexCluster
    src: dict[str, int] = field(default_factory=dict)
    dest: dict[str, int] = field(default_factory=dict)
    asked: int = 0

    async def ask(self, target: str, body: Any = None) -> Any:
        """By a node in turn; the answer's body."""
        self.asked += 1
        answer = await ask(self.cluster, "POST", target, body, on="abc"[self.asked % 3])
        assert answer.status == 200, answer.json
        return answer.json

    async def play(self, step: Step) -> None:
        match step:
            case "bulk", writes:
                lines = b"".join(b'{"index":{"_id":"%b"}}\n{"n":%d}\n' % (key.encode(), n) for key, n in writes)
                assert not (await self.ask("/src/_bulk?refresh=true", lines))["errors"]
                self.src.update(writes)
            case "delete", ids:
                lines = b"".join(b'{"delete":{"_id":"%b"}}\n' % key.encode() for key in ids)
                await self.ask("/src/_bulk?refresh=true", lines)
                self.src = {key: n for key, n in self.src.items() if key not in ids}
            case "reindex", slices, size:
                answer = await self.ask(f"/_reindex?slices={slices}&refresh=true", reindex_body(size))
                assert answer["created"] + answer["updated"] == answer["total"] == len(self.src)
                self.dest.update(self.src)
            case "cancelled reindex", slices, kind, after_ms:
                rate = "10" if kind == "throttled" else "-1"
                target = f"/_reindex?wait_for_completion=false&slices={slices}&requests_per_second={rate}"
                await self.cancelled(target, after_ms, "task")
            case "cancelled slice", after_ms:
                target = "/_reindex?wait_for_completion=false&slices=2&requests_per_second=10"
                await self.cancelled(target, after_ms, "slice")
            case "delete by query", n, slices:
                by_number = {"query": {"term": {"n": n}}}
                answer = await self.ask(f"/src/_delete_by_query?refresh=true&slices={slices}", by_number)
                assert answer["deleted"] == sum(found == n for found in self.src.values())
                self.src = {key: found for key, found in self.src.items() if found != n}
            case "update by query", n:
                body: dict[str, Any] = {"query": {"term": {"n": n}}, "script": {"source": "ctx._source.n += 1"}}
                await self.ask("/src/_update_by_query?refresh=true", body)
                self.src = {key: found + (found == n) for key, found in self.src.items()}

    async def cancelled(self, target: str, after_ms: int, what: str) -> None:
        """Start a reindex, cancel it or one of its slices a while later, and wait for its end."""
        task = (await self.ask(target, reindex_body(1)))["task"]
        await self.cluster.clock.sleep(after_ms / 1000)
        if what == "task":
            await self.ask(f"/_tasks/{task}/_cancel")
        else:
            children = [found for found in self.cluster.tasks() if str(found.parent) == task and found.cancellable]
            for child in children[:1]:
                await self.ask(f"/_tasks/{child.id}/_cancel")
        await self.cluster.until(lambda: all(str(found.id) != task for found in self.cluster.tasks()))
        copied = actual(self.cluster, "dest")
        # Each document is either as it was or as it is in the source: none is lost, none is made up.
        assert self.dest.keys() <= copied.keys() <= self.dest.keys() | self.src.keys()
        assert all(n in (self.dest.get(key), self.src.get(key)) for key, n in copied.items())
        self.dest = copied


def reindex_body(size: int) -> dict[str, Any]:
    return {"source": {"index": "src", "size": size}, "dest": {"index": "dest"}}


def actual(cluster: IndexCluster, index: str) -> dict[str, int]:
    return {key: json.loads(source)["n"] for key, source in cluster.documents(index).items()}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, st.integers(1, 4), st.integers(0, 1))
# Its first search is cancelled between its phases.
@example([("bulk", [("1", 0)]), ("cancelled reindex", 1, "unthrottled", 0)], 2, 1)
def test_any_sequence_leaves_the_documents_of_a_model_and_no_task_scroll_or_ban(
    steps: list[Step], shards: int, replicas: int
) -> None:
    async def story(cluster: IndexCluster) -> None:
        for index in ("src", "dest"):
            await cluster.create(index, number_of_shards=shards, number_of_replicas=replicas)
        model = Model(cluster)
        for step in steps:
            await model.play(step)
            assert actual(cluster, "src") == model.src, step
            assert actual(cluster, "dest") == model.dest, step
        await cluster.clock.sleep(1)
        assert cluster.tasks() == []
        assert [len(node.readers) for node in cluster.nodes.values()] == [0, 0, 0]
        assert [dict(node.registry.bans) for node in cluster.nodes.values()] == [{}, {}, {}]

    play(story)
