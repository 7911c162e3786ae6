"""Answers as bytes: heads, and bodies in pieces of a size that a socket likes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskfan.coordinator.http.messages import HttpResponse
from taskfan.coordinator.http.response_writer import JOINED_BYTES, ResponseWriter, pieces


@pytest.mark.parametrize(
    ("response", "closes", "head"),
    [
        (
            HttpResponse(200, "text/plain", []),
            False,
            b"HTTP/1.1 200 OK\r\nX-A: 1\r\ncontent-type: text/plain\r\ncontent-length: 7\r\n\r\n",
        ),
        (
            HttpResponse(404, "a/b", [], [(b"Allow", b"GET"), (b"X-B", b"2")]),
            True,
            b"HTTP/1.1 404 Not Found\r\nX-A: 1\r\ncontent-type: a/b\r\ncontent-length: 7\r\n"
            b"Allow: GET\r\nX-B: 2\r\nconnection: close\r\n\r\n",
        ),
    ],
)
def test_a_head_has_its_fields_once(response: HttpResponse, closes: bool, head: bytes) -> None:
    assert ResponseWriter([(b"X-A", b"1")]).head(response, 7, closes=closes) == head


parts = st.lists(st.integers(0, 3 * JOINED_BYTES).map(lambda size: b"%d" % (size % 7) * size), max_size=40)


@given(parts)
def test_pieces_are_the_parts_in_order_small_ones_joined_and_large_ones_as_they_are(given_parts: list[bytes]) -> None:
    written = [buffer for piece in pieces(b"head", given_parts) for buffer in piece]
    assert b"".join(written) == b"head" + b"".join(given_parts)
    large = [part for part in given_parts if len(part) >= JOINED_BYTES]
    # The very same bytes: nobody copied them.
    assert [id(part) for part in written if any(part is other for other in large)] == [id(part) for part in large]


@given(parts)
def test_no_piece_is_much_larger_than_a_socket_takes_at_once(given_parts: list[bytes]) -> None:
    sizes = [sum(map(len, piece)) for piece in pieces(b"head", given_parts)]
    assert all(size <= (256 << 10) + 3 * JOINED_BYTES for size in sizes)
