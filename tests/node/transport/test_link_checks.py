"""When a silent link is asked and given up, and which bytes it does not take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskfan.node import frames
from taskfan.node.errors import TaskfanError
from taskfan.node.frames import MalformedFrame, Reassembly
from taskfan.node.lamport import LamportClock
from taskfan.node.link_checks import LinkChecks, Verdict
from taskfan.v1 import transport_pb2 as pb


def test_silence_is_asked_three_times_and_then_given_up() -> None:
    checks = LinkChecks(1.0, 10.0, 3)
    looks = [checks.look() for _ in range(6)]
    assert looks == [(Verdict.CHECK, 10.0), (Verdict.LISTEN, 1.0)] * 2 + [(Verdict.CHECK, 10.0), (Verdict.GIVE_UP, 0.0)]


def test_anything_that_is_heard_begins_the_count_anew() -> None:
    checks = LinkChecks(1.0, 10.0, 2)
    for _ in range(5):
        assert checks.look() == (Verdict.CHECK, 10.0)
        assert checks.look() == (Verdict.LISTEN, 1.0)
        assert checks.look() == (Verdict.CHECK, 10.0)
        checks.heard = True
        assert checks.look() == (Verdict.LISTEN, 1.0)


def test_a_busy_link_is_never_asked() -> None:
    checks = LinkChecks(1.0, 10.0, 1)
    for _ in range(5):
        checks.heard = True
        assert checks.look() == (Verdict.LISTEN, 1.0)


def test_lamport_time_goes_past_what_is_received() -> None:
    lamport = LamportClock()
    assert [lamport.tick(), lamport.observe(10), lamport.tick(), lamport.observe(3)] == [1, 11, 12, 13]


def test_tiny_fragments_without_end_meet_the_bound() -> None:
    reassembly = Reassembly(10_000)
    for number in range(39):
        reassembly.add(pb.Fragment(message_id=number))
    with pytest.raises(MalformedFrame, match=r"more than \[10000\] bytes of incomplete frames"):
        reassembly.add(pb.Fragment(message_id=39))


def test_what_is_whole_no_longer_counts() -> None:
    reassembly = Reassembly(10_000)
    for number in range(1000):
        assert reassembly.add(pb.Fragment(message_id=number, piece=b"a" * 1000)) is None
        assert reassembly.add(pb.Fragment(message_id=number, piece=b"b", last=True)) == b"a" * 1000 + b"b"


@given(st.binary(max_size=200))
def test_no_bytes_are_more_than_malformed(data: bytes) -> None:
    try:
        frame, _content = frames.parse(data)
        if frame.HasField("failure"):
            assert isinstance(frames.error_of(frame.failure), TaskfanError)
    except MalformedFrame:
        pass
