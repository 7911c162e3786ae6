"""One copy of a shard keeps versions and sequence numbers, and shows a search only what was refreshed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskfan.node.errors import IllegalArgument, TaskfanError, ValidationFailed
from taskfan.node.index.documents import (
    CopyCounts,
    Document,
    OpType,
    Result,
    VersionType,
    WriteRequest,
    get_answer,
    write_answer,
)
from taskfan.node.index.errors import ClusterBlocked, VersionConflict
from taskfan.node.index.shard import TOMBSTONES_KEPT_MS, ShardLimits
from tests.node.index.builders import NOW_MS, UUID, deleting, indexing, shard

COPIES = CopyCounts(1, 1)


def test_a_document_is_created_updated_deleted_and_created_again() -> None:
    copy = shard()
    results = [
        copy.index(indexing("2", {"a": "x"})),
        copy.index(indexing("2", {"a": "y"})),
        copy.delete(deleting("2"), NOW_MS),
        copy.delete(deleting("2"), NOW_MS),
        copy.index(indexing("2", {"a": "again"})),
    ]

    found = [(done.result.value, done.document.version, done.document.seq_no) for done in results]
    assert found == [("created", 1, 0), ("updated", 2, 1), ("deleted", 3, 2), ("not_found", 4, 3), ("created", 5, 4)]


def test_a_deletion_of_nothing_is_the_first_version() -> None:
    done = shard().delete(deleting("77"), NOW_MS)

    assert write_answer("d1", done, COPIES) == {
        "_index": "d1",
        "_id": "77",
        "_version": 1,
        "result": "not_found",
        "_shards": {"total": 1, "successful": 1, "failed": 0},
        "_seq_no": 0,
        "_primary_term": 1,
    }
    assert done.result.http_status == 404


def test_the_answer_to_a_write_has_the_keys_in_the_order_of_a_real_one() -> None:
    done = shard().index(indexing("1", {"n": 1}))

    answer = write_answer("golden-src", done, COPIES, forced_refresh=True)
    assert list(answer.items()) == [
        ("_index", "golden-src"),
        ("_id", "1"),
        ("_version", 1),
        ("result", "created"),
        ("forced_refresh", True),
        ("_shards", {"total": 1, "successful": 1, "failed": 0}),
        ("_seq_no", 0),
        ("_primary_term", 1),
    ]


def test_the_answer_to_a_get_says_what_is_there() -> None:
    document = Document("1", b"{}", 1, 1, 1, routing="r1")

    assert get_answer("golden-src", "9", None) == {"_index": "golden-src", "_id": "9", "found": False}
    assert list(get_answer("d1", "1", document, {"a": "routed"}).items()) == [
        ("_index", "d1"),
        ("_id", "1"),
        ("_version", 1),
        ("_seq_no", 1),
        ("_primary_term", 1),
        ("_routing", "r1"),
        ("found", True),
        ("_source", {"a": "routed"}),
    ]


@pytest.mark.parametrize(
    ("request_", "explanation"),
    [
        (WriteRequest(OpType.CREATE, "i", "1", b"{}"), "document already exists (current version [2])"),
        (
            indexing("1", if_seq_no=5, if_primary_term=1),
            "required seqNo [5], primary term [1]. current document has seqNo [1] and primary term [1]",
        ),
        (
            indexing("9", if_seq_no=1, if_primary_term=1),
            "required seqNo [1], primary term [1]. but no document was found",
        ),
        (
            indexing("1", version=2, version_type=VersionType.EXTERNAL),
            "current version [2] is higher or equal to the one provided [2]",
        ),
        (
            indexing("1", version=1, version_type=VersionType.EXTERNAL_GTE),
            "current version [2] is higher than the one provided [1]",
        ),
    ],
)
def test_a_write_that_expects_another_state_conflicts(request_: WriteRequest, explanation: str) -> None:
    copy = shard()
    copy.index(indexing("1"))
    copy.index(indexing("1"))

    with pytest.raises(VersionConflict) as caught:
        copy.index(request_)

    assert caught.value.http_status == 409
    assert caught.value.to_object() == {
        "type": "version_conflict_engine_exception",
        "reason": f"[{request_.id}]: version conflict, {explanation}",
        "index": "golden-dest",
        "shard": "0",
        "index_uuid": UUID,
    }
    assert copy.max_seq_no == 1


def test_an_external_version_is_taken_as_it_is() -> None:
    copy = shard()
    copy.index(indexing("1"))

    assert copy.index(indexing("1", version=5, version_type=VersionType.EXTERNAL)).document.version == 5
    assert copy.index(indexing("1", version=5, version_type=VersionType.EXTERNAL_GTE)).document.version == 5
    assert copy.index(indexing("1")).document.version == 6


@pytest.mark.parametrize(
    ("request_", "fault"),
    [
        (indexing("1", if_seq_no=1), "ifSeqNo is set, but primary term is [0]"),
        (
            indexing("1", version=5),
            "internal versioning can not be used for optimistic concurrency control. Please use `if_seq_no` and "
            "`if_primary_term` instead",
        ),
        (
            WriteRequest(OpType.CREATE, "i", "1", version=3, version_type=VersionType.EXTERNAL),
            "create operations only support internal versioning. use index instead",
        ),
        (WriteRequest(OpType.INDEX, "", "1"), "index is missing"),
        (WriteRequest(OpType.DELETE, "i", None), "id is missing"),
        (indexing("x" * 513), f"id [{'x' * 513}] is too long, must be no longer than 512 bytes but was: 513"),
    ],
)
def test_a_write_that_contradicts_itself_is_refused(request_: WriteRequest, fault: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        request_.validate()

    assert caught.value.reason == f"Validation Failed: 1: {fault};"


def test_a_search_sees_a_write_only_after_a_refresh_and_a_get_at_once() -> None:
    copy = shard()
    copy.index(indexing("1", {"n": 1}))

    assert copy.get("1") is not None
    assert list(copy.visible) == []
    assert copy.needs_refresh
    assert copy.refresh(NOW_MS)
    assert [document.id for document in copy.visible] == ["1"]
    assert not copy.refresh(NOW_MS)


def test_what_a_search_was_given_does_not_change() -> None:
    copy = shard()
    copy.index(indexing("1", {"n": 1}))
    copy.refresh(NOW_MS)
    seen = copy.visible
    copy.index(indexing("1", {"n": 2}))
    copy.delete(deleting("1"), NOW_MS)
    copy.refresh(NOW_MS)

    assert [document.source for document in seen] == [b'{"n": 1}']
    assert (copy.document_count, copy.deleted_count) == (0, 2)


def test_documents_lie_in_the_order_of_their_last_write() -> None:
    copy = shard()
    for document_id in ("1", "2", "3", "1"):
        copy.index(indexing(document_id))
    copy.refresh(NOW_MS)

    assert [document.id for document in copy.visible] == ["2", "3", "1"]


def test_an_old_deletion_is_forgotten_and_the_versions_begin_anew() -> None:
    copy = shard()
    copy.index(indexing("1"))
    copy.delete(deleting("1"), NOW_MS)
    copy.refresh(NOW_MS + TOMBSTONES_KEPT_MS + 1)

    assert copy.index(indexing("1")).document.version == 1


def test_a_full_shard_takes_no_more() -> None:
    few = shard(ShardLimits(max_documents=1))
    few.index(indexing("1"))
    few.index(indexing("1"))
    with pytest.raises(IllegalArgument, match=r"number of documents in the index cannot exceed 1"):
        few.index(indexing("2"))

    small = shard(ShardLimits(max_bytes=20))
    small.index(indexing("1", {"a": 1}))
    with pytest.raises(ClusterBlocked) as caught:
        small.index(indexing("1", {"a": "x" * 20}))
    assert caught.value.http_status == 429
    assert small.size_in_bytes == len('{"a": 1}') + 1


def test_a_replica_takes_writes_in_any_order_and_ends_like_the_primary() -> None:
    primary, replica = shard(), shard()
    states = [
        primary.index(indexing("1", {"n": 1})).document,
        primary.index(indexing("2", {"n": 1})).document,
        primary.index(indexing("1", {"n": 2})).document,
        primary.delete(deleting("2"), NOW_MS).document,
    ]
    for state in [states[3], states[2], states[1], states[0]]:
        replica.apply(state)

    assert replica.all_operations() == primary.all_operations()
    assert replica.size_in_bytes == primary.size_in_bytes
    assert not replica.apply(states[0])


WRITES = st.lists(
    st.tuples(st.sampled_from(["index", "create", "delete"]), st.sampled_from("abcde"), st.integers(0, 9))
)


@given(WRITES, st.randoms(use_true_random=False))
def test_any_writes_leave_what_a_dictionary_would_hold(writes: list[tuple[str, str, int]], random: object) -> None:
    copy, replica, model = shard(), shard(), dict[str, bytes]()
    states = []
    for verb, document_id, number in writes:
        request = WriteRequest(OpType(verb), "i", document_id, b'{"n":%d}' % number)
        try:
            done = copy.delete(request, NOW_MS) if verb == "delete" else copy.index(request)
        except TaskfanError:
            assert verb == "create"
            assert document_id in model
            continue
        states.append(done.document)
        existed = model.pop(document_id, None) is not None
        if verb != "delete":
            model[document_id] = request.source
        expected = {True: Result.UPDATED, False: Result.CREATED} if verb != "delete" else {
            True: Result.DELETED, False: Result.NOT_FOUND
        }  # fmt: skip
        assert done.result is expected[existed]
    copy.refresh(NOW_MS)
    random.shuffle(states)  # type: ignore[attr-defined]
    replica.apply_all(states)
    replica.refresh(NOW_MS)

    assert {document.id: document.source for document in copy.visible} == model
    assert copy.size_in_bytes == sum(len(key) + len(source) for key, source in model.items())
    assert list(replica.visible) == list(copy.visible)
    assert copy.max_seq_no == len(states) - 1
