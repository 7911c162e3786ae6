"""The player, against a small server that says what the story needs and remembers what it was asked."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.golden.answers import capture, holds
from tests.golden.player import Player, Unplayable
from tests.golden.scenarios import Scenario, Step

TASK = {"node": "node-a-0000", "id": 7, "action": "x", "children": [{"node": "node-b-0000", "id": 8, "action": "y"}]}


class FakeCluster:
    """Three servers of the few paths a player needs; `/count` counts up, `/refused` is a 501."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.servers = [self._serve(number) for number in (1, 2, 3)]
        self.urls = [f"http://127.0.0.1:{server.server_port}" for server in self.servers]

    def _serve(self, number: int) -> http.server.ThreadingHTTPServer:
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = fake.answer(number, self.command, self.path)
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_PUT(self) -> None:
                self.do_GET()

            def do_DELETE(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server

    def answer(self, number: int, method: str, path: str) -> tuple[int, dict[str, Any]]:
        if path == "/_tasks?nodes=_local":
            return 200, {"nodes": {f"id-of-node-{number}": {"name": f"node{number}", "tasks": {}}}}
        if path == "/_tasks?nodes=_cluster_manager":
            return 200, {"nodes": {"id-of-node-2": {}}}
        if path.startswith("/_tasks?"):
            return 200, {"nodes": {"a": {}, "b": {}, "c": {}}, "tasks": []}
        self.asked.append(f"{number} {method} {path}")
        return 501 if path == "/refused" else 200, {"count": len(self.asked), "task": "id-of-node-1:5"}


@pytest.fixture
def fake() -> Iterator[FakeCluster]:
    cluster = FakeCluster()
    yield cluster
    for server in cluster.servers:
        server.shutdown()
        server.server_close()


def request(path: str, method: str = "GET", node: object = 1, **more: Any) -> Step:
    return {"do": {"method": method, "path": path, "node": node}} | more


def scenario(*steps: Step, setup: tuple[Step, ...] = (), teardown: tuple[Step, ...] = (), **more: Any) -> Scenario:
    return Scenario("list", "story", list(setup), list(steps), list(teardown), **more)


def test_a_step_is_repeated_until_its_condition_holds_and_only_the_last_answer_kept(fake: FakeCluster) -> None:
    with Player(fake.urls) as player:
        played = player.play(scenario(request("/count", until={"pointer": "/count", "ge": 3}, every_s=0)))
    assert fake.asked == ["1 GET /count"] * 3
    assert [(e["step"], e["until_met"], e["response"]["body"]["count"]) for e in played["exchanges"]] == [
        ("1", True, 3)
    ]


def test_a_captured_value_stands_in_later_steps_and_a_missing_one_does_not_stop_the_run(fake: FakeCluster) -> None:
    with Player(fake.urls) as player:
        captured = request("/a", capture={"task": "/task", "other": "/nosuch"})
        player.play(scenario(request("/${task}/${other}"), setup=(captured,)))
    assert fake.asked == ["1 GET /a", "1 GET /id-of-node-1:5/missing:1"]
    assert "no other in /a" in player.warnings[0]


def test_a_background_request_is_an_exchange_when_it_is_collected(fake: FakeCluster) -> None:
    with Player(fake.urls) as player:
        steps = request("/slow", background="slow"), request("/quick", node=2), {"collect": "slow"}
        played = player.play(scenario(*steps))
    assert [e["request"]["path"] for e in played["exchanges"]] == ["/quick", "/slow"]


def test_nodes_are_called_by_their_roles_where_a_scenario_wants_it(fake: FakeCluster) -> None:
    with Player(fake.urls) as player:
        player.play(scenario(request("/a", node="manager"), request("/b", node="other2"), labels="role"))
    assert fake.asked == ["2 GET /a", "3 GET /b"]


def test_the_teardown_runs_when_a_step_fails(fake: FakeCluster) -> None:
    with Player(fake.urls) as player, pytest.raises(Unplayable, match="needs a driver"):
        player.play(scenario({"driver": ["kill", "node1"]}, teardown=(request("/clean"),)))
    assert fake.asked == ["1 GET /clean"]


def test_a_setup_that_is_refused_ends_at_once_and_one_that_works_is_told(fake: FakeCluster) -> None:
    with Player(fake.urls) as player:
        assert not player.can_set_up(scenario(setup=(request("/refused", "PUT"), request("/never"))))
        assert player.can_set_up(scenario(setup=(request("/refused", "DELETE"), request("/a", "PUT"))))
    assert fake.asked == ["1 PUT /refused", "1 DELETE /refused", "1 PUT /a"]


def test_a_server_that_is_gone_is_an_answer_too(fake: FakeCluster) -> None:
    with Player(fake.urls) as player:
        player.nodes = []
        player.play(scenario(request("/a")))
        fake.servers[2].shutdown()
        fake.servers[2].server_close()
        gone = player._send({"method": "GET", "path": "/a", "node": 3})
    assert gone == {"status": None, "error": "connection refused"}


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("/children/0/id", 8),
        ({"find": {"action": "y"}}, "node-b-0000:8"),
        ({"find": {"action": "x"}, "field": "id"}, 7),
        ({"regex": r'"id": (\d+)'}, "7"),
        ({"header": "x-opaque-id"}, "me"),
    ],
)
def test_values_are_captured_out_of_an_answer(spec: object, found: object) -> None:
    assert capture(spec, {"body": TASK, "headers": {"x-opaque-id": "me"}}) == found


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ({"tasks": 2}, True),
        ({"tasks": 1}, False),
        ({"pointer": "/id", "eq": 7}, True),
        ({"pointer": "/id", "ge": 8}, False),
        ({"pointer": "/children", "size": 1}, True),
        ({"pointer": "/nosuch", "exists": False}, True),
        ({"pointer": "/nosuch", "eq": 1}, False),
        ([{"status": 200}, {"pointer": "/id", "ne": 7}], False),
    ],
)
def test_conditions_hold_or_do_not(condition: object, met: bool) -> None:
    assert holds(condition, {"status": 200, "body": TASK}) is met
