"""A document lies on the shard where OpenSearch would put it, and a slice sees the part it would see."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskfan.node.index.document_ids import DocumentIds
from taskfan.node.index.murmur3 import hash_text, mix, murmur3_32
from taskfan.node.index.routing import (
    encode_id,
    id_in_slice,
    routing_num_shards,
    shard_of,
    slice_has_shard,
    slice_within_shard,
)


@pytest.mark.parametrize(
    ("data", "seed", "expected"),
    [
        # The vectors that go with the reference implementation.
        (b"", 0, 0),
        (b"", 1, 0x514E28B7),
        (b"", 0xFFFFFFFF, 0x81F16F39),
        (b"\xff\xff\xff\xff", 0, 0x76293B50),
        (b"!Ce\x87", 0, 0xF55B516B),
        (b"!Ce\x87", 0x5082EDEE, 0x2362F9DE),
        (b"!Ce", 0, 0x7E4A8634),
        (b"!C", 0, 0xA0F7B07A),
        (b"!", 0, 0x72661CF4),
        (b"aaaa", 0x9747B28C, 0x5A97808A),
        (b"Hello, world!", 0x9747B28C, 0x24884CBA),
        (b"The quick brown fox jumps over the lazy dog", 0x9747B28C, 0x2FA826CD),
    ],
)
def test_murmur3_gives_the_published_hashes(data: bytes, seed: int, expected: int) -> None:
    assert murmur3_32(data, seed) & 0xFFFFFFFF == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    # From OpenSearch's own Murmur3HashFunctionTests.
    [("hell", 0x5A0CB7C3), ("hello", 0xD7C31989), ("hello w", 0x22AB2984), ("hello wo", 0xDF0CA123)],
)
def test_a_text_is_hashed_as_utf_16(text: str, expected: int) -> None:
    assert hash_text(text) & 0xFFFFFFFF == expected


def test_documents_lie_on_the_shards_where_a_real_cluster_put_them() -> None:
    recorded = {"1": 2, "8": 2, "9": 2, "11": 2, "88": 1, "89": 0}

    assert {document_id: shard_of(document_id, 3) for document_id in recorded} == recorded


@pytest.mark.parametrize(("shards", "hashed_to"), [(1, 1024), (2, 1024), (3, 768), (5, 640), (513, 1026), (1024, 2048)])
def test_ids_are_hashed_to_more_shards_than_there_are(shards: int, hashed_to: int) -> None:
    assert routing_num_shards(shards) == hashed_to


@given(st.text(), st.integers(1, 40))
def test_every_text_has_a_shard(text: str, shards: int) -> None:
    assert 0 <= shard_of(text, shards) < shards


def test_slices_by_id_hold_what_they_hold_in_a_real_shard() -> None:
    recorded = [
        ["0", "2", "3", "abcd", "12", "123", "hello world"],
        ["1", "YsVbD6IBa0-1X7ABvmU-", "abc", "abcde"],
        ["ü", "__"],
    ]

    for slice_id, ids in enumerate(recorded):
        for document_id in ids:
            assert [id_in_slice(document_id, part, 3) for part in range(3)] == [part == slice_id for part in range(3)]


def test_numbers_are_stirred_as_in_a_real_slice_over_a_field() -> None:
    assert [mix(number) % 3 for number in range(6)] == [0, 2, 0, 2, 2, 2]


@pytest.mark.parametrize(
    ("document_id", "encoded"),
    [("12", "fe12"), ("123", "fe123f"), ("abcd", "69b71d"), ("_w", "fdff"), ("__8", "fdffff"), ("a b", "ff612062")],
)
def test_an_id_is_written_as_short_as_it_can_be(document_id: str, encoded: str) -> None:
    assert encode_id(document_id).hex() == encoded


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_ids_are_never_written_alike(one: str, other: str) -> None:
    assert (encode_id(one) == encode_id(other)) == (one == other)


@given(st.integers(2, 30), st.integers(1, 12), st.text(min_size=1))
def test_every_document_is_in_exactly_one_slice(slices: int, shards: int, document_id: str) -> None:
    shard = shard_of(document_id, shards)
    holders = 0
    for slice_id in range(slices):
        if slice_has_shard(slice_id, slices, shard, shards):
            part = slice_within_shard(slice_id, slices, shard, shards)
            holders += part is None or id_in_slice(document_id, *part)

    assert holders == 1


def test_drawn_ids_are_twenty_characters_and_differ() -> None:
    ids = DocumentIds(b"\1\2\3\4\5\6", sequence=0xFFFFF0)
    drawn = [ids.next(now_ms) for now_ms in [1_795_553_999_261, 1_795_553_999_000] * 20]

    assert len(set(drawn)) == 40
    assert {len(document_id) for document_id in drawn} == {20}
    assert drawn[0] == "8f9bD6IBAQIDBAUGuf-d"
    raw = base64.urlsafe_b64decode(drawn[0])
    assert int.from_bytes([raw[5], raw[4], raw[3], raw[2], raw[12], raw[14]]) == 1_795_553_999_261
