"""Proves that settings are read under OpenSearch's names, and that wrong ones are explained."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskfan.cluster.config import NodeConfig, Options, cluster_config, read_config, read_config_file
from taskfan.cluster.errors import ConfigError
from taskfan.cluster.settings import SETTINGS
from taskfan.node.coordination.settings import CoordinationSettings


def nodes_of(**options: Any) -> tuple[NodeConfig, ...]:
    return cluster_config(Options(**options)).nodes


def test_three_nodes_are_the_default_with_the_ports_people_expect() -> None:
    nodes = nodes_of()
    assert [(node.name, node.http_port, node.transport_port) for node in nodes] == [
        ("opensearch-node1", 9200, 9300),
        ("opensearch-node2", 9201, 9301),
        ("opensearch-node3", 9202, 9302),
    ]
    assert {node.host for node in nodes} == {"127.0.0.1"}
    assert nodes[0].roles == ("cluster_manager", "data", "ingest", "remote_cluster_client")


def test_above_a_hundred_nodes_transport_ports_begin_where_http_ports_do_not_reach() -> None:
    assert nodes_of(nodes=100)[99].transport_port == 9399
    assert nodes_of(nodes=101)[0].transport_port == 10300


def test_coordinating_only_nodes_come_on_top_and_have_no_roles() -> None:
    assert [node.roles == () for node in nodes_of(nodes=2, coordinating_only=1)] == [False, False, True]


def test_an_offset_moves_every_port_and_any_port_leaves_them_to_the_system() -> None:
    moved = nodes_of(nodes=2, port_offset=100)[1]
    assert (moved.http_port, moved.transport_port) == (9301, 9401)
    free = nodes_of(nodes=2, any_port=True)[1]
    assert (free.http_port, free.transport_port) == (0, 0)
    named = nodes_of(nodes=1, port_offset=100, config={"nodes": [{"http.port": 9280, "transport.port": 0}]})[0]
    assert (named.http_port, named.transport_port) == (9380, 0)


def test_how_members_check_and_elect_has_the_names_and_the_defaults_of_opensearch() -> None:
    defaults = {
        "cluster.fault_detection.follower_check.interval": 1,
        "cluster.fault_detection.follower_check.timeout": 10,
        "cluster.fault_detection.follower_check.retry_count": 3,
        "cluster.fault_detection.leader_check.interval": 1,
        "cluster.fault_detection.leader_check.timeout": 10,
        "cluster.fault_detection.leader_check.retry_count": 3,
        "cluster.publish.timeout": 30,
        "cluster.follower_lag.timeout": 90,
        "cluster.election.initial_timeout": 0.1,
        "cluster.election.back_off_time": 0.1,
        "cluster.election.max_timeout": 10,
        "cluster.election.duration": 0.5,
        "cluster.join.timeout": 60,
        "discovery.find_peers_interval": 1,
        "discovery.request_peers_timeout": 3,
        "cluster.auto_shrink_voting_configuration": True,
        "transport.connect_timeout": 30,
    }
    assert {name: SETTINGS[name].default for name in defaults} == defaults
    # Nothing said is the same as all of them.
    assert nodes_of()[0].coordination == CoordinationSettings()


def test_a_config_file_sets_the_whole_cluster_and_single_nodes(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yml"
    path.write_text(
        """
        cluster:
          cluster.name: demo
          http.max_content_length: 10mb
          cluster.fault_detection.follower_check: {interval: 500ms, retry_count: 2}
        nodes:
          - node.name: search-1
            node.attr.zone: a
            http.port: 9250
          - node: {name: front, roles: []}
            http.max_content_length: 1kb
        """
    )
    config = cluster_config(Options(config=read_config_file(str(path)), time_scale=0.1))
    first, front = config.nodes
    assert config.name == "demo"
    assert (first.name, first.attributes["zone"], first.http_port) == ("search-1", "a", 9250)
    assert first.max_content_bytes == 10 << 20
    assert first.coordination.follower_check_interval_ms == pytest.approx(50)
    assert first.coordination.follower_check_retry_count == 2
    assert (front.name, front.roles, front.http_port, front.max_content_bytes) == ("front", (), 9201, 1024)


def test_options_come_before_the_file() -> None:
    config = cluster_config(Options(name="said", config={"cluster": {"cluster.name": "written"}}))
    assert config.name == "said"


def test_more_nodes_than_listed_are_ordinary_ones() -> None:
    nodes = nodes_of(nodes=3, config={"nodes": [{"node.name": "a"}]})
    assert [node.name for node in nodes] == ["a", "opensearch-node2", "opensearch-node3"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"config": {"nodes": [{"node.nmae": "x"}]}},
            "nodes[0] of config: unknown setting [node.nmae]. Did you mean [node.name]?",
        ),
        ({"config": {"clusters": {}}}, "config: unknown field [clusters]; it has `cluster` and `nodes`."),
        ({"config": {"nodes": {}, "cluster": []}}, "`cluster` is a map of settings"),
        ({"config": {"nodes": ["a"]}}, "`nodes` is a list with a map of settings"),
        (
            {"config": {"nodes": [{"node.roles": ["dta"]}]}},
            "nodes[0] of config: [node.roles] names [dta], which is no role. Did you mean [data]?",
        ),
        ({"config": {"nodes": [{"node.roles": [True]}]}}, "[] only coordinates; not [[true]]."),
        ({"config": {"nodes": [{"node.name": ["x"]}]}}, "the first a letter or digit; not [[x]]."),
        ({"config": {"cluster": {"node.name": "x"}}}, "`cluster` of config: [node.name] belongs under `nodes`"),
        ({"config": {"cluster": {"http.port": 9250}}}, "`cluster` of config: [http.port] belongs under `nodes`"),
        ({"config": {"nodes": [{"http.port": 1, "http": {"port": 1}}]}}, "[http.port] is set twice, with dots and as"),
        (
            {"config": {"nodes": [{"http.port": 65000}]}, "port_offset": 1000},
            "nodes[0] of config: [http.port] would be 66000 with its offset",
        ),
        ({"config": {"nodes": [{"http.port": "9200-9300"}]}}, "[http.port] is one port from 1 to 65535"),
        (
            {"config": {"nodes": [{"taskfan.time_scale": 1}]}},
            "nodes[0] of config: [taskfan.time_scale] belongs under `cluster`.",
        ),
        ({"config": {"nodes": [{}, {}, {}]}, "nodes": 2}, "config lists 3 nodes, more than the 2 asked for"),
        ({"settings": {"http.max_content_length": 5}}, "a size with its unit, below 2gb, such as 100mb; not [5]"),
        ({"settings": {"transport.connect_timeout": "5"}}, "a time with its unit, such as 1s or 500ms; not [5]"),
        ({"settings": {"cluster.fault_detection.follower_check.retry_count": 0}}, "a number from 1 on"),
        ({"time_scale": 0.0}, "a factor from 0.0001 to 1000"),
        ({"name": "a/b"}, "[cluster.name] is up to 100 letters, digits"),
        ({"name": ".."}, "[cluster.name] is up to 100 letters, digits"),
        ({"nodes": 0}, "A cluster has 1 to 1000 nodes; not 0."),
        ({"nodes": -1, "config": {"nodes": [{}]}}, "A cluster has 1 to 1000 nodes; not -1."),
        ({"nodes": 0, "coordinating_only": 2}, "1 to 1000 nodes, beside those that only coordinate; not 0."),
        ({"nodes": 999, "coordinating_only": 2}, "A cluster has 1 to 1000 nodes; not 1001."),
        ({"nodes": 2, "coordinating_only": -1}, "The nodes that only coordinate are 0 or more; not -1."),
        ({"nodes": "3"}, "[nodes] is a whole number; not ['3']."),
        ({"nodes": 2.0}, "[nodes] is a whole number; not [2.0]."),
        ({"nodes": True}, "[nodes] is a whole number; not [True]."),
        ({"port_offset": None}, "[port_offset] is a whole number; not [None]."),
        ({"nodes": 2, "node_name": "same"}, "nodes[0] and nodes[1] are both named [same]: names are unique."),
        ({"nodes": 2, "node_name": "{x}"}, "node_name [{x}] is no template"),
        (
            {"nodes": 2, "http_port": 9299},
            "and [opensearch-node2] would both get port 9300: set --http-port and --transport-port further apart",
        ),
        ({"nodes": 2, "http_port": 9300}, "[opensearch-node1] would get port 9300 for HTTP and for transport: set"),
        ({"nodes": 1, "http_port": 65535, "port_offset": 1}, "[opensearch-node1] would get port 65536"),
        ({"nodes": 1, "config": {"nodes": [{"node.roles": []}]}}, "No node may become cluster manager"),
    ],
    ids=lambda value: "" if isinstance(value, Mapping) else re.sub(r"\W+", "-", str(value))[:40],
)
def test_what_cannot_be_meant_is_named_with_a_remedy(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        nodes_of(**options)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a: [", "is no YAML"),
        ("- a", "it has the two fields `cluster` and `nodes`"),
        (None, "Cannot read"),
        ("cluster:\n  a: 1\n  b: 2\n  a: 3\n", "cluster.yml: line 4: [a] stands there again, after line 2"),
        ("nodes: [{a: 1, a: 1}]", "line 1: [a] stands there again"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(content: str | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "cluster.yml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=re.escape(says)) as raised:
        read_config_file(str(path))
    assert str(path) in str(raised.value)


def test_what_is_merged_into_a_map_may_be_said_again_there() -> None:
    text = "x: &x {a: 1, b: 1}\ny: &y {<<: *x, a: 2}\nz: {<<: *y}\n"
    read = read_config(text, "text")
    assert (read["x"], read["y"]) == ({"a": 1, "b": 1}, {"a": 2, "b": 1})


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yml"
    path.write_text("")
    assert read_config_file(str(path)) == {}


README = Path(__file__).parents[2] / "cluster" / "README.md"


def test_the_readme_of_the_room_tells_of_every_setting() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| [^|]* \| [^|]*\| (.*) \|$", README.read_text(), re.M)
    told = {name: what for name, what in rows if name != "node.attr.NAME"}
    assert told == {name: setting.help for name, setting in SETTINGS.items()}


def test_the_example_in_the_readme_of_the_room_is_a_config() -> None:
    readme = README.read_text()
    example = re.search(r"```yaml\n(.*?)```", readme, re.S)
    assert example is not None
    assert len(nodes_of(config=yaml.safe_load(example[1]))) == 3
