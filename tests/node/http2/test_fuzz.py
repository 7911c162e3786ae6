"""Random and broken traces, in both roles: nothing but faults of the peer comes of them, and each stream ends once."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from taskfan.node.http2 import headers, wire
from tests.node.http2.peers import OK, PATH, REQUEST, SETTINGS, Owner, data, message, opened

MANY = settings(max_examples=80, deadline=None)
STREAMS = st.integers(0, 3).map(lambda n: 2 * n + 1)
MESSAGES = st.lists(st.binary(max_size=40) | st.just(bytes(3000)), min_size=1, max_size=3)
INDEXED = b"\x83\x86\x44" + bytes((len(PATH),)) + PATH.encode() + b"\x5f\x10application/grpc"


@st.composite
def data_frames(draw: st.DrawFn, number: int) -> bytes:
    """Whole messages, cut into DATA frames at random, some padded."""
    payload = b"".join(map(message, draw(MESSAGES)))
    out = b""
    while payload:
        size = draw(st.sampled_from([1, 3, 5, 7, 1000, len(payload)]))
        piece, payload = payload[:size], payload[size:]
        padding = draw(st.sampled_from([None, 0, 5]))
        out += data(number, piece) if padding is None else data(number, bytes((padding,)) + piece + bytes(padding), 8)
    return out


@st.composite
def other_frame(draw: st.DrawFn) -> bytes:
    """A frame that may come at any time between others."""
    return draw(
        st.one_of(
            st.binary(min_size=8, max_size=8).map(lambda payload: wire.frame(wire.PING, 0, 0, payload)),
            st.integers(1, 1 << 16).map(lambda increment: wire.window_update(0, increment)),
            st.integers(0, 1 << 20).map(lambda window: wire.settings({wire.INITIAL_WINDOW_SIZE: window})),
            st.binary(max_size=9).map(lambda payload: wire.frame(77, 3, 1, payload)),
            st.just(wire.frame(wire.PRIORITY, 0, 1, bytes(5))),
        )
    )


@st.composite
def opening(draw: st.DrawFn, number: int) -> bytes:
    """The headers of a call: whole, in continuations, padded, with a priority, or from HPACK's tables."""
    block = draw(st.sampled_from([REQUEST, INDEXED]))
    match draw(st.integers(0, 2)):
        case 0:
            return opened(number, block)
        case 1:
            cut = draw(st.integers(0, len(block)))
            return opened(number, block[:cut], 0) + wire.frame(wire.CONTINUATION, 4, number, block[cut:])
        case _:
            return wire.frame(wire.HEADERS, 4 | 8 | 32, number, b"\3" + b"\0\0\0\0\x10" + block + bytes(3))


@st.composite
def calls_of_a_client(draw: st.DrawFn) -> list[bytes]:
    """What a client may send: calls, each with messages, ended or not; the frames of several mixed."""
    frames = [wire.PREFACE, SETTINGS]
    for number in range(1, 2 * draw(st.integers(1, 4)), 2):
        frames.append(draw(opening(number)))
        for _ in range(draw(st.integers(0, 3))):
            frames.append(draw(data_frames(draw(st.sampled_from(range(number, 0, -2))))))
            frames += draw(st.lists(other_frame(), max_size=2))
    for number in draw(st.permutations(range(1, 1 + 2 * sum(f[3:4] == b"\1" for f in frames[2:]), 2)))[:2]:
        frames.append(draw(st.sampled_from([data(number, b"", wire.END_STREAM), wire.rst_stream(number, wire.CANCEL)])))
    return frames


@st.composite
def answers_of_a_server(draw: st.DrawFn) -> list[bytes]:
    """What a server may send on the calls 1, 3, 5 and 7."""
    frames = [SETTINGS]
    numbers = draw(st.permutations([1, 3, 5, 7]))
    for number in numbers:
        if draw(st.booleans()):
            frames.append(wire.frame(wire.HEADERS, 4, number, headers.RESPONSE))
            frames += [draw(data_frames(number)) for _ in range(draw(st.integers(0, 3)))]
            frames += draw(st.lists(other_frame(), max_size=2))
            frames.append(wire.frame(wire.HEADERS, 5, number, OK))
        else:
            frames.append(
                draw(
                    st.sampled_from(
                        [
                            wire.rst_stream(number, wire.REFUSED_STREAM),
                            wire.frame(wire.HEADERS, 5, number, headers.block([(b":status", b"503")])),
                            wire.frame(wire.HEADERS, 5, number, headers.block([(b":status", b"200")]) + OK),
                        ]
                    )
                )
            )
    return frames


def cut(trace: bytes, cuts: list[int]) -> list[bytes]:
    """A trace in pieces."""
    places = sorted({place % (len(trace) + 1) for place in cuts})
    return [trace[a:b] for a, b in itertools.pairwise([0, *places, len(trace)]) if a < b]


def played(is_server: bool, pieces: list[bytes]) -> Owner:
    """A connection to which this came."""
    owner = Owner(is_server=is_server, echoes=is_server)
    if not is_server:
        owner.open(4)
    owner.receive(*pieces)
    return owner


CUTS = st.lists(st.integers(0, 1 << 20), max_size=40)


@MANY
@given(st.data(), st.booleans(), CUTS)
def test_however_a_trace_is_cut_the_same_is_told(choose: st.DataObject, is_server: bool, cuts: list[int]) -> None:
    trace = b"".join(choose.draw(calls_of_a_client() if is_server else answers_of_a_server()))
    whole, pieces = played(is_server, [trace]), played(is_server, cut(trace, cuts))
    assert pieces.told == whole.told
    assert whole.goaway_code() is None
    bytewise = played(is_server, [trace[i : i + 1] for i in range(len(trace))])
    assert bytewise.told == whole.told


@st.composite
def broken(draw: st.DrawFn, frames: list[bytes]) -> bytes:
    """A trace with a few bytes or frames that do not belong there, or are missing."""
    trace = bytearray(b"".join(frames))
    begin = 24 if trace.startswith(wire.PREFACE) else 0
    for _ in range(draw(st.integers(1, 5))):
        place = draw(st.integers(begin, len(trace)))
        match draw(st.integers(0, 4)):
            case 0:
                trace[place : place + 1] = draw(st.binary(max_size=1))
            case 1:
                del trace[place : place + draw(st.integers(1, 20))]
            case 2:
                trace[place:place] = draw(st.binary(max_size=20))
            case 3:
                at = len(b"".join(frames[: draw(st.integers(1, len(frames)))]))
                trace[at:at] = draw(any_frame())
            case _:
                trace += draw(any_frame())
    return bytes(trace)


@st.composite
def any_frame(draw: st.DrawFn) -> bytes:
    """Any frame of any type, flags, stream and payload, well-formed but for what it says."""
    number = draw(st.sampled_from([0, 1, 2, 3, 5, 7, 9, wire.LARGEST_STREAM]))
    payload = draw(st.binary(max_size=12) | st.sampled_from([bytes(4), bytes(5), bytes(8), REQUEST, OK]))
    return wire.frame(draw(st.integers(0, 11)), draw(st.integers(0, 255)), number, payload)


@settings(max_examples=400, deadline=None)
@given(st.data(), st.booleans(), CUTS)
def test_a_broken_trace_breaks_nothing_and_each_stream_ends_once(
    choose: st.DataObject, is_server: bool, cuts: list[int]
) -> None:
    frames = choose.draw(calls_of_a_client() if is_server else answers_of_a_server())
    owner = played(is_server, cut(choose.draw(broken(frames)), cuts))
    owner.lost()
    assert [owner.ends_of(stream.number) for stream in owner.streams] == [1] * len(owner.streams)
    assert len({stream.number for stream in owner.streams}) == len(owner.streams)
    assert owner.connection.streams == {}
    # Whole frames only, and nothing after the last word.
    assert owner.goaway_code() is None or bytes(owner.written).rfind(b"\7\0\0\0\0\0") > 0


@MANY
@given(st.binary(max_size=200), st.booleans(), CUTS)
def test_bytes_of_chance_break_nothing(trace: bytes, is_server: bool, cuts: list[int]) -> None:
    for begin in (b"", wire.PREFACE if is_server else b"", (wire.PREFACE if is_server else b"") + SETTINGS):
        owner = played(is_server, cut(begin + trace, cuts))
        owner.lost()
        assert [owner.ends_of(stream.number) for stream in owner.streams] == [1] * len(owner.streams)
