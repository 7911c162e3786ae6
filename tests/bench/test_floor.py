"""The floors answer with as many bytes as they are asked for, and end with whoever started them."""

from __future__ import annotations

import pytest

from tests.bench.floor import Echo, Floor
from tests.bench.http_client import Connection, answers_per_second, http_ask

ASK = http_ask("http://127.0.0.1:1", "/_tasks")


@pytest.mark.parametrize("nodes", [1, 2, 5])
@pytest.mark.parametrize("size", [8, 1001, 3_000_000])
def test_a_floor_answers_with_so_many_bytes(nodes: int, size: int) -> None:
    with Floor(nodes) as floor:
        ask = floor.ask(ASK, size)
        assert len(ask.request) == len(ASK.request)
        with Connection(ask) as connection:
            assert [len(connection.ask()) for _ in range(3)] == [size] * 3


def test_a_floor_serves_several_at_once() -> None:
    with Floor(3) as floor:
        assert answers_per_second(floor.ask(ASK, 1000), connections=4, seconds=0.05) > 0


def test_the_echo_gives_back_what_it_was_sent() -> None:
    with Echo() as echo, Connection(echo.ask(700)) as connection:
        assert connection.ask() == b"x" * 700
        assert connection.ask() == b"x" * 700
