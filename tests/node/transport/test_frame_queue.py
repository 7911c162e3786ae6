"""Who goes first in the queue of a link, what fits into it, and what comes out of its fragments."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from taskfan.node import frames
from taskfan.node.frame_queue import FrameQueue
from taskfan.node.transport import MAX_FRAME_BYTES
from taskfan.v1 import transport_pb2 as pb

MB = 1 << 20


def taken(queue: FrameQueue) -> list[bytes]:
    out = []
    while (frame := queue.take()) is not None:
        out.append(frame)
    return out


def a_frame(size: int, mark: bytes = b"x") -> bytes:
    """A whole frame with about that many bytes of payload."""
    return frames.reply_frame(0, 1, mark * size)


def short(frame: bytes) -> str:
    """How the tests below write a frame: a small one is its text, a fragment the number of its message."""
    parsed = pb.Frame.FromString(frame)
    if parsed.HasField("fragment"):
        return f"{parsed.fragment.message_id}{'.' if parsed.fragment.last else ''}"
    return parsed.reply.payload.decode()


def test_urgent_frames_go_first_and_the_rest_in_order() -> None:
    queue = FrameQueue(MB)
    for text, urgent in (("a", False), ("b", False), ("ban", True), ("c", False), ("unban", True)):
        queue.put(a_frame(1, text.encode()), urgent=urgent)
    assert [short(frame) for frame in taken(queue)] == ["ban", "unban", "a", "b", "c"]


def test_a_small_frame_waits_for_one_fragment_at_most_and_large_ones_take_turns() -> None:
    queue = FrameQueue(100 * MB)
    queue.put(a_frame(3 * MB))
    queue.put(a_frame(2 * MB))
    for text in "abc":
        queue.put(a_frame(1, text.encode()))
    assert [short(frame) for frame in taken(queue)] == ["a", "1", "b", "2", "c", "1", "2", "1", "2.", "1."]


def test_small_frames_without_end_do_not_stop_a_large_one() -> None:
    queue = FrameQueue(100 * MB)
    queue.put(a_frame(2 * MB))
    out = []
    for _ in range(6):
        queue.put(a_frame(1, b"a"))
        out.append(short(queue.take() or b""))
    assert out == ["a", "1", "a", "1", "a", "1."]


def test_no_fragment_is_larger_than_a_frame_may_be() -> None:
    queue = FrameQueue(100 * MB)
    queue.put(a_frame(5 * MB))
    assert max(len(frame) for frame in taken(queue)) <= MAX_FRAME_BYTES


def test_a_frame_fits_within_the_limit_an_urgent_one_within_twice_that_and_one_always_when_nothing_waits() -> None:
    queue = FrameQueue(100)
    assert queue.has_room(5000)
    queue.put(bytes(60))
    assert (queue.has_room(40), queue.has_room(41)) == (True, False)
    assert (queue.has_room(140, urgent=True), queue.has_room(141, urgent=True)) == (True, False)
    taken(queue)
    assert queue.waiting_bytes == 0
    assert queue.has_room(5000)


def test_the_bytes_of_a_large_frame_wait_until_its_last_fragment_is_taken() -> None:
    queue = FrameQueue(100 * MB)
    frame = a_frame(2 * MB)
    queue.put(frame)
    sizes = [queue.waiting_bytes]
    while queue.take() is not None:
        sizes.append(queue.waiting_bytes)
    assert sizes == [len(frame)] * 3 + [0]


def test_who_stands_in_line_is_let_in_in_order_and_not_overtaken() -> None:
    queue, let_in = FrameQueue(100), list[str]()
    queue.put(bytes(90))
    queue.put_when_room(bytes(80), lambda: let_in.append("first"))
    queue.put_when_room(bytes(5), lambda: let_in.append("second"))
    assert let_in == []
    assert not queue.has_room(5)
    assert len(queue.take() or b"") == 90
    assert let_in == ["first", "second"]
    assert [len(frame) for frame in taken(queue)] == [80, 5]


def test_who_stands_in_line_is_told_when_all_is_forgotten() -> None:
    queue, told = FrameQueue(100), list[str]()
    queue.put(bytes(90))
    queue.put_when_room(bytes(80), lambda: told.append("first"))
    queue.clear()
    assert told == ["first"]
    assert queue.take() is None
    assert queue.waiting_bytes == 0


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4 * MB), st.booleans()), max_size=8))
def test_whatever_is_put_comes_out_whole(sizes: list[tuple[int, bool]]) -> None:
    queue, reassembly = FrameQueue(100 * MB), frames.Reassembly(200 * MB)
    put = [(a_frame(size, b"%x" % number), urgent) for number, (size, urgent) in enumerate(sizes)]
    for frame, urgent in put:
        queue.put(frame, urgent=urgent)
    out: list[bytes | None] = []
    for frame in taken(queue):
        parsed, _content = frames.parse(frame)
        out.append(reassembly.add(parsed.fragment) if parsed.HasField("fragment") else frame)
    assert sorted(frame for frame in out if frame is not None) == sorted(frame for frame, _ in put)
    assert queue.waiting_bytes == 0
