"""The settings of a cluster and its nodes, under OpenSearch's names: from options, from a file, checked whole."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from taskfan.cluster.errors import ConfigError
from taskfan.node.cluster_state import DEFAULT_ATTRIBUTES, DEFAULT_ROLES

DEFAULT_NODES = 3
MOST_NODES = 1000
HTTP_PORT, TRANSPORT_PORT, CONTROL_PORT = 9200, 9300, 9199
# Above this many nodes HTTP ports from 9200 on would reach 9300, so transport ports begin higher.
NODES_BETWEEN_PORTS, HIGH_TRANSPORT_PORT = 100, 10300
ANY_PORT = 0
KNOWN_ROLES = ("cluster_manager", "master", "data", "ingest", "remote_cluster_client", "search", "warm", "ml")


class NodeConfig(msgspec.Struct, frozen=True):
    """The settings of one node, all of them. Ports are 0 where the system is to choose."""

    name: str
    roles: tuple[str, ...]
    attributes: dict[str, str]
    host: str
    http_port: int
    transport_port: int
    max_content_bytes: int
    max_header_bytes: int
    max_initial_line_bytes: int
    connect_timeout_s: float
    check_interval_s: float
    check_timeout_s: float
    check_retry_count: int
    time_scale: float
    # What was said, not what follows from it: `GET /_nodes` shows it.
    explicit: dict[str, str]


class ClusterConfig(msgspec.Struct, frozen=True):
    """A cluster to start."""

    name: str
    nodes: tuple[NodeConfig, ...]
    # Of the control API; 0 where the system is to choose.
    control_port: int = 0


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: how it is read, its value when nobody says, and whether it is the whole cluster's."""

    read: Callable[[object], Any]
    default: Any
    help: str
    of_cluster: bool = False


def _text(value: object) -> str:
    if not isinstance(value, str | int | float) or not str(value).strip():
        raise ValueError("a text that is not empty")
    return str(value)


def _file_name(value: object) -> str:
    # Names become file names, and OpenSearch allows no colon in a cluster's.
    if not isinstance(value, str) or not re.fullmatch(r"[^\W_.-][\w.@ -]{0,99}", value):
        raise ValueError("up to 100 letters, digits, '-', '_' and '.', the first a letter or digit")
    return value


def _roles(value: object) -> tuple[str, ...]:
    roles = value.split(",") if isinstance(value, str) else value
    if not isinstance(roles, Sequence) or not all(isinstance(role, str) for role in roles):
        raise ValueError("a list of roles, such as [cluster_manager, data]; [] only coordinates")
    names = sorted({role.strip() for role in roles if role.strip()})
    for name in names:
        if name not in KNOWN_ROLES:
            raise ValueError(f"a list of roles; [{name}] is none. {_did_you_mean(name, KNOWN_ROLES)}")
    return tuple(names)


def _port(value: object) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,5}", str(value)) or int(str(value)) > 65535:
        raise ValueError("one port from 1 to 65535, or 0 for any that is free")
    return int(str(value))


def _count(value: object) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,6}", str(value)) or int(str(value)) < 1:
        raise ValueError("a number from 1 on")
    return int(str(value))


_SECONDS = {"nanos": 1e-9, "micros": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"b": 1, "k": 1 << 10, "kb": 1 << 10, "m": 1 << 20, "mb": 1 << 20, "g": 1 << 30, "gb": 1 << 30}


def _time_s(value: object) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(nanos|micros|ms|s|m|h|d)", str(value).strip().lower())
    if match is None or float(match[1]) <= 0:
        raise ValueError("a time with its unit, such as 1s or 500ms")
    return float(match[1]) * _SECONDS[match[2]]


def _bytes(value: object) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(b|kb?|mb?|gb?)", str(value).strip().lower())
    if match is None or not 1 <= float(match[1]) * _BYTES[match[2]] < 1 << 31:
        raise ValueError("a size with its unit, below 2gb, such as 100mb")
    return int(float(match[1]) * _BYTES[match[2]])


def _scale(value: object) -> float:
    try:
        scale = float(str(value))
    except ValueError:
        scale = 0.0
    if not 0.0001 <= scale <= 1000:
        raise ValueError("a factor from 0.0001 to 1000; 0.1 makes checks ten times as frequent")
    return scale


SETTINGS: Mapping[str, Setting] = {
    "cluster.name": Setting(_file_name, "taskfan", "Name of the cluster.", of_cluster=True),
    "node.name": Setting(_file_name, None, "Name of the node; opensearch-node1, opensearch-node2 … by itself."),
    "node.roles": Setting(_roles, DEFAULT_ROLES, "Roles of the node; [] only coordinates."),
    "network.host": Setting(_text, "127.0.0.1", "Address to bind, loopback unless told otherwise."),
    "http.port": Setting(_port, None, "HTTP port; 9200, 9201 … by itself."),
    "transport.port": Setting(_port, None, "Transport port; 9300, 9301 … by itself."),
    "http.max_content_length": Setting(_bytes, 100 << 20, "Largest request body."),
    "http.max_header_size": Setting(_bytes, 16 << 10, "All headers of a request together."),
    "http.max_initial_line_length": Setting(_bytes, 4 << 10, "Longest request line."),
    "transport.connect_timeout": Setting(_time_s, 30.0, "Limit for opening a link."),
    "cluster.fault_detection.follower_check.interval": Setting(_time_s, 1.0, "Pause between checks of a silent link."),
    "cluster.fault_detection.follower_check.timeout": Setting(_time_s, 10.0, "Limit for the answer to a check."),
    "cluster.fault_detection.follower_check.retry_count": Setting(_count, 3, "Failed checks that close a link."),
    "taskfan.time_scale": Setting(_scale, 1.0, "Factor on the times of checks.", of_cluster=True),
}
ATTRIBUTE_PREFIX = "node.attr."


def read_settings(given: Mapping[str, object], where: str) -> dict[str, Any]:
    """Check settings and read their values. Nested maps are joined with dots, as in opensearch.yml.

    Args:
        where: names the place for an error, such as `nodes[2] of demo.yml`.

    Raises:
        ConfigError: names the setting, and what to write instead.
    """
    values: dict[str, Any] = {}
    for name, value in _flatten(given).items():
        if name.startswith(ATTRIBUTE_PREFIX) and len(name) > len(ATTRIBUTE_PREFIX):
            read: Callable[[object], Any] = _text
        elif name in SETTINGS:
            read = SETTINGS[name].read
        else:
            raise ConfigError(f"{where}: unknown setting [{name}]. {_did_you_mean(name, [*SETTINGS, 'node.attr.*'])}")
        try:
            values[name] = read(value)
        except ValueError as error:
            raise ConfigError(f"{where}: [{name}] is {error}; not [{value}].") from None
    return values


def _flatten(given: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in given.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean [{close[0]}]?" if close else f"Known are {', '.join(known)}."


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line and Python can say; each overrides a config file's."""

    nodes: int | None = None
    coordinating_only: int = 0
    name: str | None = None
    http_port: int | None = None
    transport_port: int | None = None
    port_offset: int = 0
    any_port: bool = False
    # {n} is the number of the node, from 1.
    node_name: str = "opensearch-node{n}"
    time_scale: float | None = None
    settings: Mapping[str, object] | None = None
    config: Mapping[str, object] | None = None
    config_name: str = "config"


def cluster_config(options: Options) -> ClusterConfig:
    """The whole cluster, checked. Raises ConfigError, which names the field and the remedy."""
    of_cluster, of_nodes = _sections(options)
    shared = read_settings(of_cluster, f"`cluster` of {options.config_name}")
    shared |= read_settings(options.settings or {}, "settings")
    shared |= read_settings(_named_options(options), "options")
    each = [
        read_settings(given, f"nodes[{number}] of {options.config_name}") for number, given in enumerate(of_nodes, 1)
    ]
    for number, values in enumerate(each, 1):
        if mine := [name for name in values if name in SETTINGS and SETTINGS[name].of_cluster]:
            raise ConfigError(f"nodes[{number}] of {options.config_name}: [{mine[0]}] belongs under `cluster`.")
    each += [{}] * (_node_count(options, len(each)) - len(each))
    each += [{"node.roles": ()}] * options.coordinating_only
    nodes = tuple(_node(number, {**shared, **values}, options, len(each)) for number, values in enumerate(each))
    _check_nodes(nodes)
    # Who chooses the ports of nodes does not think of this one: it is not to collide with another cluster's.
    chosen = options.http_port is not None or any("http.port" in values for values in each)
    return ClusterConfig(
        shared.get("cluster.name", SETTINGS["cluster.name"].default),
        nodes,
        ANY_PORT if options.any_port or chosen else CONTROL_PORT + options.port_offset,
    )


def _named_options(options: Options) -> dict[str, object]:
    named = {"cluster.name": options.name, "taskfan.time_scale": options.time_scale}
    return {name: value for name, value in named.items() if value is not None}


def _sections(options: Options) -> tuple[Mapping[str, object], list[Mapping[str, object]]]:
    config = options.config or {}
    for key in config:
        if key not in ("cluster", "nodes"):
            raise ConfigError(f"{options.config_name}: unknown field [{key}]; it has `cluster` and `nodes`.")
    # A field with nothing after it is None in YAML.
    of_cluster, of_nodes = (
        empty if config.get(name) is None else config[name] for name, empty in (("cluster", {}), ("nodes", []))
    )
    if not isinstance(of_cluster, Mapping):
        raise ConfigError(f"{options.config_name}: `cluster` is a map of settings.")
    if not isinstance(of_nodes, list) or not all(isinstance(node, Mapping) for node in of_nodes):
        raise ConfigError(f"{options.config_name}: `nodes` is a list with a map of settings for each node.")
    return of_cluster, of_nodes


def _node_count(options: Options, listed: int) -> int:
    count = options.nodes if options.nodes is not None else listed or DEFAULT_NODES
    if count < listed:
        raise ConfigError(f"{options.config_name} lists {listed} nodes, more than the {count} asked for.")
    if count < 1 or options.coordinating_only < 0 or count + options.coordinating_only > MOST_NODES:
        raise ConfigError(f"A cluster has 1 to {MOST_NODES} nodes, not {count + options.coordinating_only}.")
    return count


def _node(number: int, values: dict[str, Any], options: Options, count: int) -> NodeConfig:
    def value(name: str) -> Any:
        return values.get(name, SETTINGS[name].default)

    scale = value("taskfan.time_scale")
    attributes = {
        name.removeprefix(ATTRIBUTE_PREFIX): text for name, text in values.items() if name.startswith(ATTRIBUTE_PREFIX)
    }
    check = "cluster.fault_detection.follower_check"
    http, transport = _ports(number, options, count)
    return NodeConfig(
        name=value("node.name") or _file_name_of(options.node_name, number + 1),
        roles=value("node.roles"),
        attributes={**DEFAULT_ATTRIBUTES, **attributes},
        host=value("network.host"),
        http_port=values.get("http.port", http),
        transport_port=values.get("transport.port", transport),
        max_content_bytes=value("http.max_content_length"),
        max_header_bytes=value("http.max_header_size"),
        max_initial_line_bytes=value("http.max_initial_line_length"),
        connect_timeout_s=value("transport.connect_timeout") * scale,
        check_interval_s=value(f"{check}.interval") * scale,
        check_timeout_s=value(f"{check}.timeout") * scale,
        check_retry_count=value(f"{check}.retry_count"),
        time_scale=scale,
        explicit={name: _shown(setting) for name, setting in values.items()},
    )


def _shown(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _file_name_of(template: str, number: int) -> str:
    try:
        return _file_name(template.format(n=number))
    except (ValueError, KeyError, IndexError):
        raise ConfigError(f"node_name [{template}] is no template for names, such as node-{{n}}.") from None


def _ports(number: int, options: Options, count: int) -> tuple[int, int]:
    if options.any_port:
        return ANY_PORT, ANY_PORT
    low = TRANSPORT_PORT if count <= NODES_BETWEEN_PORTS else HIGH_TRANSPORT_PORT
    http = (options.http_port if options.http_port is not None else HTTP_PORT) + options.port_offset + number
    transport = (options.transport_port if options.transport_port is not None else low) + options.port_offset + number
    for port in (http, transport):
        if not 1 <= port <= 65535:
            raise ConfigError(f"Node {number + 1} would get port {port}: choose lower ports, or --any-port.")
    return http, transport


def _check_nodes(nodes: Sequence[NodeConfig]) -> None:
    names: dict[str, int] = {}
    ports: dict[tuple[str, int], str] = {}
    for number, node in enumerate(nodes, 1):
        if node.name in names:
            raise ConfigError(f"Nodes {names[node.name]} and {number} are both named [{node.name}]: names are unique.")
        names[node.name] = number
        for port in (node.http_port, node.transport_port):
            if port != ANY_PORT and (node.host, port) in ports:
                raise ConfigError(
                    f"[{ports[node.host, port]}] and [{node.name}] would both get port {port}: "
                    "set --http-port and --transport-port further apart, or --any-port."
                )
            ports[node.host, port] = node.name
    if not any(set(node.roles) & {"cluster_manager", "master"} for node in nodes):
        raise ConfigError("No node may become cluster manager: give one of them the role cluster_manager.")


def read_config_file(path: str) -> Mapping[str, object]:
    """Read a YAML file. Raises ConfigError, which says what is wrong with it and where."""
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            config = yaml.safe_load(file)
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no YAML: {' '.join(str(error).split())}.") from None
    if config is None:
        return {}
    if not isinstance(config, Mapping):
        raise ConfigError(f"{path}: it has the two fields `cluster` and `nodes`.")
    return config
