"""Random bulks over random shards leave what a plain dictionary holds, whatever nodes ask, and while a node is lost."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskfan.node.index.bulk import ItemDone
from taskfan.node.index.documents import OpType, WriteRequest
from tests.coordinator.index_cluster import IndexCluster, play

IDS = [str(number) for number in range(8)]


@dataclass(frozen=True)
class Step:
    """One bulk, asked of one node; its items go to either of two indices."""

    node: str
    items: list[tuple[str, str, str, int]]
    refresh: str


items = st.tuples(
    st.sampled_from(["index", "create", "delete", "update"]),
    st.sampled_from(["one", "two"]),
    st.sampled_from(IDS),
    st.integers(0, 99),
)
steps = st.builds(
    Step,
    node=st.sampled_from("abc"),
    items=st.lists(items, min_size=1, max_size=6),
    refresh=st.sampled_from(["false", "true", "wait_for"]),
)
shapes = st.tuples(st.integers(1, 4), st.integers(0, 2))


def request_of(item: tuple[str, str, str, int]) -> WriteRequest:
    op, index, document_id, value = item
    source = b'{"n":%d}' % value
    if op == "update":
        return WriteRequest(OpType.UPDATE, index, document_id, b'{"doc":%b,"doc_as_upsert":true}' % source)
    return WriteRequest(OpType(op), index, document_id, b"" if op == "delete" else source)


def expected_status(model: dict[tuple[str, str], int], item: tuple[str, str, str, int]) -> int:
    """What a client is told of one item, and the model after it."""
    op, index, document_id, value = item
    key = (index, document_id)
    was_there = key in model
    match op:
        case "delete":
            model.pop(key, None)
            return 200 if was_there else 404
        case "create" if was_there:
            return 409
        case _:
            model[key] = value
            return 200 if was_there else 201


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(one=shapes, two=shapes, sequence=st.lists(steps, max_size=6))
def test_any_sequence_of_bulks_equals_a_dictionary(
    one: tuple[int, int], two: tuple[int, int], sequence: list[Step]
) -> None:
    async def story(cluster: IndexCluster) -> None:
        for name, (shards, replicas) in (("one", one), ("two", two)):
            await cluster.create(name, number_of_shards=shards, number_of_replicas=replicas)
        model: dict[tuple[str, str], int] = {}
        for step in sequence:
            wanted = [expected_status(model, item) for item in step.items]
            result = await cluster.bulk(*map(request_of, step.items), on=step.node, refresh=step.refresh)
            assert [item.http_status for _, item in result.items] == wanted
        assert_equals(cluster, model)

    play(story)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lost=st.sampled_from("bc"), sequence=st.lists(steps, min_size=2, max_size=6), after_ms=st.integers(0, 6))
def test_what_was_acknowledged_outlives_a_node_when_each_shard_has_a_replica(
    lost: str, sequence: list[Step], after_ms: int
) -> None:
    async def story(cluster: IndexCluster) -> None:
        for name in ("one", "two"):
            await cluster.create(name, number_of_shards=2, number_of_replicas=1)
        # Only writes that come to the same however often they are tried.
        model: dict[tuple[str, str], int] = {}
        for place, step in enumerate(sequence):
            written = [("index", index, document_id, value) for _, index, document_id, value in step.items]
            asked = cluster.spawn(cluster.bulk(*map(request_of, written), on="a"))
            if place == 1:
                await cluster.clock.sleep(after_ms / 1000)
                await cluster.lose(lost)
            result = await asked
            assert all(isinstance(item, ItemDone) for _, item in result.items)
            model.update({(index, document_id): value for _, index, document_id, value in written})
        await cluster.until(lambda: all(copy.active for copy in cluster.state.indices.routing))
        assert_equals(cluster, model)

    play(story)


def assert_equals(cluster: IndexCluster, model: dict[tuple[str, str], int]) -> None:
    """Every primary has what the model has, each document in one shard only, and every replica what its primary has."""
    for name in ("one", "two"):
        wanted = {key[1]: b'{"n":%d}' % value for key, value in model.items() if key[0] == name}
        assert cluster.documents(name) == wanted
        metadata = cluster.state.indices.metadata[name]
        for shard in range(metadata.number_of_shards):
            copies = [
                cluster.nodes[copy.node_id or ""].shards.copy(metadata.shard(shard)).all_operations()
                for copy in cluster.state.indices.routing.active(name, shard)
            ]
            live = [[document for document in copy if not document.is_deleted] for copy in copies]
            assert all(copy == live[0] for copy in live)
