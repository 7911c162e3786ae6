"""Proves the control API over HTTP: who is let in, what each refusal says, and that faults and nodes obey it."""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from taskfan.cluster import Cluster

LISTS = "*lists[n]"


class Api:
    """A client of the control API of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        status = cluster.status()
        self.url, self.token_file = status.control_url, Path(status.control_token_file)
        self.host = urlsplit(self.url).netloc
        self.token = self.token_file.read_text()

    def ask(
        self, method: str, path: str, body: object = None, *, raw: bytes | None = None, **fields: str | None
    ) -> tuple[int, Any]:
        """Status and JSON of an answer. Header fields by their names; None leaves one out."""
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        data = raw if raw is not None else (None if body is None else json.dumps(body).encode())
        sent = {"host": self.host, "authorization": f"Bearer {self.token}"}
        sent |= {} if data is None else {"content-type": "application/json", "content-length": str(len(data))}
        given = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in {**sent, **given}.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(data)
        answer = connection.getresponse()
        told = json.loads(answer.read())
        connection.close()
        assert answer.headers["content-type"] == "application/json"
        return answer.status, told

    def refused(self, *args: Any, **more: Any) -> tuple[int, str, str]:
        """Status, type and reason of an error."""
        status, told = self.ask(*args, **more)
        assert told["status"] == status
        return status, told["error"]["type"], told["error"]["reason"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=3, time_scale=0.01) as cluster:
        yield cluster


@pytest.fixture
def api(cluster: Cluster) -> Api:
    made = Api(cluster)
    assert made.ask("DELETE", "/faults") == (200, {"faults": []})
    return made


def test_the_token_is_for_the_owner_only_and_goes_with_the_cluster(cluster: Cluster) -> None:
    with Cluster(nodes=1) as other:
        token_file = Path(other.status().control_token_file)
        status = token_file.stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o600, os.getuid())
        assert token_file.read_text() != Api(cluster).token
    assert not token_file.exists()


def test_it_listens_on_loopback_only(api: Api) -> None:
    assert urlsplit(api.url).hostname == "127.0.0.1"
    wanted = f"{urlsplit(api.url).port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    assert [row[1] for row in rows if row[1].endswith(f":{wanted}") and row[3] == "0A"] == [f"0100007F:{wanted}"]


@pytest.mark.parametrize("host", ["127.0.0.1", "evil.example", "127.0.0.1:1", "", None])
def test_a_foreign_host_is_refused(api: Api, host: str | None) -> None:
    status, kind, reason = api.refused("GET", "/faults", host=host)
    # Without any, HTTP itself takes it for malformed or for foreign.
    assert (status, kind) == (403, "foreign_host")
    assert f"[{host or ''}]" in reason
    assert api.host in reason


def test_its_own_names_are_taken(api: Api) -> None:
    port = urlsplit(api.url).port
    for host in (f"localhost:{port}", f"LOCALHOST:{port}", f"[::1]:{port}"):
        assert api.ask("GET", "/faults", host=host, origin=f"http://{host}")[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1"])
def test_a_foreign_origin_is_refused(api: Api, origin: str) -> None:
    status, kind, reason = api.refused("POST", "/heal", origin=origin)
    assert (status, kind) == (403, "foreign_origin")
    assert f"[{origin}]" in reason


@pytest.mark.parametrize(
    ("given", "why"),
    [(None, "missing"), ("Bearer no", "not this cluster's"), ("Basic abc", "not this cluster's"), ("Bearer ", "not")],
)
def test_without_its_token_nobody_is_let_in(api: Api, given: str | None, why: str) -> None:
    for method, path in (("GET", "/"), ("GET", "/nothing"), ("DELETE", "/faults"), ("GET", "/schema")):
        status, kind, reason = api.refused(method, path, authorization=given)
        assert (status, kind) == (401, "unauthorized")
        assert why in reason
        assert str(api.token_file) in reason


def test_what_is_no_request_is_refused_in_the_words_of_this_api(api: Api) -> None:
    address = urlsplit(api.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as sock:
        sock.sendall(b"POST /heal HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\ncache-control: no-store\r\ncontent-type: application/json\r\n")
    told = json.loads(body)
    assert (told["status"], told["error"]["type"]) == (400, "illegal_argument_exception")
    assert told["error"]["reason"].startswith("invalid HTTP request: Transfer-Encoding")


@pytest.mark.parametrize("field", ["Host", "Authorization", "Origin"])
def test_a_field_that_says_who_asks_comes_once(api: Api, field: str) -> None:
    values = {"Host": api.host, "Authorization": f"Bearer {api.token}", "Origin": f"http://{api.host}"}
    twice = "".join(f"{name}: {value}\r\n" * (1 + (name == field)) for name, value in values.items())
    address = urlsplit(api.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as sock:
        sock.sendall(f"GET /faults HTTP/1.1\r\n{twice}Connection: close\r\n\r\n".encode())
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 400")


def test_a_head_without_end_is_refused_before_it_is_large(api: Api) -> None:
    address = urlsplit(api.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as sock:
        sock.sendall(b"GET /faults HTTP/1.1\r\nHost: x\r\nx: ")
        sent = 0
        while not select.select([sock], [], [], 0)[0] and sent < 100 << 20:
            sent += sock.send(b"y" * 4096)
        assert sock.recv(65536).startswith(b"HTTP/1.1 4")
        assert sent < 100 << 20


@pytest.mark.parametrize("given", ["text/plain", "application/x-www-form-urlencoded", None, "application/jsonp"])
def test_only_json_is_taken(api: Api, given: str | None) -> None:
    status, kind, reason = api.refused("POST", "/faults", {"kind": "drop"}, content_type=given)
    assert (status, kind) == (415, "unsupported_media_type")
    assert "application/json" in reason
    assert api.ask("GET", "/faults")[1] == {"faults": []}


@pytest.mark.parametrize(
    ("method", "path", "raw", "status", "kind"),
    [
        ("POST", "/faults", b"{", 400, "parse_exception"),
        ("POST", "/faults", b"\xff", 400, "parse_exception"),
        ("POST", "/faults", b'{"a":' * 100_000, 400, "parse_exception"),
        ("POST", "/faults", b"[]", 400, "validation_exception"),
        ("POST", "/faults", b"{}", 400, "illegal_argument_exception"),
        ("POST", "/faults", b'{"rules": []}', 400, "illegal_argument_exception"),
        ("POST", "/faults", b" " * (3 << 19), 413, "too_large"),
        ("PUT", "/faults", None, 405, "method_not_allowed"),
        ("GET", "/fault", None, 404, "not_found"),
        ("GET", "/faults/", None, 404, "not_found"),
        ("GET", "/faults/nothing", None, 404, "resource_not_found_exception"),
        ("DELETE", "/faults/nothing", None, 404, "resource_not_found_exception"),
        ("POST", "/nodes/nobody/kill", None, 404, "resource_not_found_exception"),
        ("POST", "/nodes/nobody/full", None, 404, "resource_not_found_exception"),
        ("POST", "/nodes/opensearch-node2/resume", b'{"x": 1}', 400, "validation_exception"),
        ("DELETE", "/nodes/nobody", None, 404, "resource_not_found_exception"),
        ("GET", "/nodes", None, 405, "method_not_allowed"),
    ],
)
def test_what_cannot_be_done_is_refused(
    api: Api, method: str, path: str, raw: bytes | None, status: int, kind: str
) -> None:
    assert api.refused(method, path, raw=raw)[:2] == (status, kind)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/faults", {"kind": "drop", "to": "opensearch-node9"}, "to"),
        ("/faults", {"kind": "drop", "frist": 1}, "frist"),
        ("/faults", {"kind": "drop", "first": "1"}, "first"),
        ("/faults", {"rules": [{"kind": "drop"}], "note": "x"}, "note"),
        ("/faults", {"rules": [{"kind": "drop"}, {"kind": "drop", "to": "nobody"}]}, "rules[1].to"),
        ("/faults", {"shape": "star"}, "shape"),
        ("/faults", {"shape": "isolate"}, "nodes"),
        ("/partition", {"shape": "by_attribute", "attribute": "zone"}, "attribute"),
        ("/partition", {"shape": "ring", "bandwith": "1kb"}, "bandwith"),
        ("/partition", {"nodes": "x"}, "shape"),
        ("/nodes/opensearch-node2/slow", {}, "bandwidth"),
        ("/nodes", {"nam": "x"}, "nam"),
        ("/nodes", {"name": "opensearch-node2"}, "name"),
        ("/nodes", {"name": "a/b"}, "name"),
        ("/nodes", {"settings": {"node.role": []}}, "settings.node.role"),
        ("/nodes", {"settings": {"cluster.name": "other"}}, "settings.cluster.name"),
        ("/nodes", {"name": "x", "settings": {"node.roles": "cook"}}, "settings.node.roles"),
    ],
)
def test_an_error_names_the_field(api: Api, path: str, body: dict[str, Any], field: str) -> None:
    status, told = api.ask("POST", path, body)
    assert (status, told["error"]["field"]) == (400, field)
    assert api.ask("GET", "/faults")[1] == {"faults": []}


def test_a_fault_is_created_seen_changed_and_deleted(api: Api, cluster: Cluster) -> None:
    rule = {"kind": "fail", "to": "*2", "action": LISTS, "error": {"type": "io_exception"}}
    status, created = api.ask("POST", "/faults", {**rule, "name": "mine"})
    fault = created["fault"]
    assert (status, fault["name"], fault["rules"]) == (201, "mine", [rule])
    path = f"/faults/{fault['id']}"
    assert [f["caused_by"]["type"] for f in cluster.list_tasks()["node_failures"]] == ["io_exception"]

    [listed] = api.ask("GET", "/faults")[1]["faults"]
    assert (listed["hit_count"], "hits" in listed) == (1, False)
    assert "hits" not in api.ask("GET", path)[1]
    hits = api.ask("GET", f"{path}/hits")[1]["hits"]
    assert [(hit["fault"], hit["kind"], hit["to"]) for hit in hits] == [(fault["id"], "fail", "opensearch-node2")]

    changed = {"kind": "fail", "to": "*2", "action": LISTS, "first": 1}
    assert api.ask("PATCH", path, {"error": None, "first": 1})[1]["fault"]["rules"] == [changed]
    assert api.ask("PATCH", path, {"first": 0})[1]["error"]["field"] == "first"
    assert api.ask("PATCH", path, {"oops": 0})[1]["error"]["field"] == "oops"
    reason = api.ask("POST", "/faults", {"kind": "drop", "tow": "*"})[1]["error"]["reason"]
    assert reason.endswith("bandwidth, seed. Did you mean [to]?")
    assert [len(cluster.list_tasks().get("node_failures", [])) for _ in range(2)] == [1, 0]

    assert api.ask("DELETE", path)[1]["hit_count"] == 1
    assert api.ask("GET", path)[0] == 404


def test_shapes_and_conditions_are_faults_of_several_rules(api: Api, cluster: Cluster) -> None:
    status, created = api.ask("POST", "/partition", {"shape": "isolate", "nodes": "opensearch-node3"})
    assert (status, len(created["fault"]["rules"])) == (201, 3)
    assert api.ask("POST", "/faults", {"shape": "one_way", "from": "*1", "to": "*2", "kind": "blackhole"})[0] == 201
    for verb, body in (("disconnect", None), ("blackhole", None), ("slow", {"bandwidth": "1mb"}), ("full", None)):
        assert api.ask("POST", f"/nodes/opensearch-node2/{verb}", body)[0] == 201
    names = [report["fault"]["name"] for report in api.ask("GET", "/faults")[1]["faults"]]
    assert names == ["isolate", "one_way", "disconnect", "blackhole", "slow", "full"]
    status, told = api.ask("POST", "/heal")
    assert (status, [node["state"] for node in told["nodes"]]) == (200, ["running"] * 3)
    assert api.ask("GET", "/faults")[1] == {"faults": []}
    cluster.faults.heal()


def test_nodes_obey(api: Api, cluster: Cluster) -> None:
    def states() -> list[str]:
        return [node["state"] for node in api.ask("GET", "/cluster")[1]["nodes"]]

    path = "/nodes/opensearch-node2"
    for verb, state in (("pause", "paused"), ("resume", "running"), ("kill", "stopped"), ("start", "running")):
        assert api.ask("POST", f"{path}/{verb}")[0] == 200
        assert states() == ["running", state, "running"]
    assert api.ask("POST", "/cluster/ready")[0] == 200
    api.ask("POST", f"{path}/stop")
    assert api.refused("POST", f"{path}/pause")[:2] == (409, "cluster_error")
    api.ask("POST", f"{path}/start")
    cluster.faults.heal()


def test_nodes_are_added_and_removed(api: Api, cluster: Cluster) -> None:
    def names(told: Any) -> list[str]:
        return [node["name"] for node in told["nodes"]]

    before = names(api.ask("GET", "/cluster")[1])
    status, told = api.ask("POST", "/nodes", {"name": "data-1", "settings": {"node.roles": ["data"]}})
    assert (status, names(told)) == (201, [*before, "data-1"])
    assert [node["state"] for node in told["nodes"]] == ["running"] * 4
    assert len(cluster.list_tasks()["nodes"]) == 4
    status, told = api.ask("DELETE", "/nodes/data-1")
    assert (status, names(told)) == (200, before)
    assert api.refused("DELETE", "/nodes/data-1")[:2] == (404, "resource_not_found_exception")
    assert len(cluster.list_tasks()["nodes"]) == 3


def test_it_says_what_there_is_and_publishes_a_schema(api: Api) -> None:
    endpoints = api.ask("GET", "/")[1]["endpoints"]
    assert {"GET /faults", "POST /faults", "PATCH /faults/{fault}", "POST /nodes/{node}/pause"} <= set(endpoints)
    schema = api.ask("GET", "/schema")[1]
    assert set(schema["$defs"]["FaultRule"]["properties"]) >= {"kind", "from", "to", "on", "first", "between"}
    # Every reference leads somewhere.
    references = re.findall(r'"\$ref": "#/\$defs/(\w+)"', json.dumps(schema))
    assert references
    assert set(references) <= set(schema["$defs"])


def test_the_port_is_9199_with_the_offset_unless_ports_are_chosen() -> None:
    from taskfan.cluster.config import Options, cluster_config

    def port(**options: Any) -> int:
        return cluster_config(Options(**options)).control_port

    assert [port(), port(port_offset=100), port(any_port=True), port(http_port=9500)] == [9199, 9299, 0, 0]
    assert port(config={"nodes": [{"http.port": 9500}]}) == 0
