"""A cluster to start, or a node to add: from options, from a file, checked whole."""

from __future__ import annotations

import os.path
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from taskfan.cluster.errors import ConfigError
from taskfan.cluster.settings import ATTRIBUTE_PREFIX, COORDINATION_TIMES, SETTINGS, file_name, read_settings
from taskfan.node.coordination.settings import CoordinationSettings
from taskfan.node.discovery_node import DEFAULT_ATTRIBUTES, DiscoveryNode

DEFAULT_NODES = 3
MOST_NODES = 1000
HTTP_PORT, TRANSPORT_PORT, CONTROL_PORT = 9200, 9300, 9199
# Above this many nodes HTTP ports from 9200 on would reach 9300, so transport ports begin higher.
NODES_BETWEEN_PORTS, HIGH_TRANSPORT_PORT = 100, 10300
ANY_PORT = 0
A_CONFIG = "it has the two fields `cluster` and `nodes`"
A_PLAN = "it is a map with the fields of a task, such as `action` and `children`"
# Of the nodes that may be manager, so many vote first; the others vote as soon as they have joined.
MOST_INITIAL = 3


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
    transport_type: str
    local_sockets: bool
    connect_timeout_s: float
    # As they count: scaled already.
    coordination: CoordinationSettings
    # What was said, not what follows from it: `GET /_nodes` shows it.
    explicit: dict[str, str]
    mesh: bool
    journal: bool
    journal_max_bytes: int

    @property
    def is_cluster_manager_eligible(self) -> bool:
        """May become the cluster manager (`master` is the role's old name)."""
        return "cluster_manager" in self.roles or "master" in self.roles

    def discovery_node(self, node_id: str, ephemeral_id: str, http_port: int, transport_port: int) -> DiscoveryNode:
        """How the others are to know it, on the ports that it has."""
        return DiscoveryNode(
            id=node_id,
            name=self.name,
            ephemeral_id=ephemeral_id,
            host=self.host,
            transport_address=_address(self.host, transport_port),
            http_address=_address(self.host, http_port),
            roles=self.roles,
            attributes=self.attributes,
        )


class Options(msgspec.Struct, frozen=True):
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
    mesh: bool | None = None
    journal: bool | None = None
    settings: Mapping[str, object] | None = None
    config: Mapping[str, object] | None = None
    config_name: str = "config"


class ClusterConfig(msgspec.Struct, frozen=True):
    """A cluster to start."""

    name: str
    nodes: tuple[NodeConfig, ...]
    # Names of those who vote first; the first one is to be the manager.
    initial_cluster_manager_nodes: tuple[str, ...] = ()
    # What nodes that are added later are made from.
    options: Options = Options()
    # Of the control API; 0 where the system is to choose.
    control_port: int = 0


def cluster_config(options: Options) -> ClusterConfig:
    """The whole cluster, checked. Raises ConfigError, which names the field and the remedy."""
    _check_numbers(options)
    of_cluster, of_nodes = _sections(options)
    shared = _shared(options, of_cluster)
    each = [read_settings(given, f"nodes[{number}] of {options.config_name}") for number, given in enumerate(of_nodes)]
    for number, values in enumerate(each):
        if mine := [name for name in values if name in SETTINGS and SETTINGS[name].of_cluster]:
            raise ConfigError(f"nodes[{number}] of {options.config_name}: [{mine[0]}] belongs under `cluster`.")
        _move_ports(values, options.port_offset, f"nodes[{number}] of {options.config_name}")
    each += [{}] * (_node_count(options, len(each)) - len(each))
    each += [{"node.roles": ()}] * options.coordinating_only
    nodes = tuple(_node(number, {**shared, **values}, options, len(each)) for number, values in enumerate(each))
    _check_nodes(nodes)
    name = shared.get("cluster.name", SETTINGS["cluster.name"].default)
    # Who chooses the ports of nodes does not think of this one: it is not to collide with another cluster's.
    chosen = options.http_port is not None or any("http.port" in values for values in each)
    control_port = ANY_PORT if options.any_port or chosen else CONTROL_PORT + options.port_offset
    return ClusterConfig(name, nodes, _initial(shared, nodes), options, control_port=control_port)


def added_node(
    config: ClusterConfig, nodes: Sequence[NodeConfig], name: str, settings: Mapping[str, object]
) -> NodeConfig:
    """One node more for a cluster that has these. Raises ConfigError, which names the field and the remedy.

    Args:
        name: empty for the next one by the cluster's template.
        settings: its own, such as `node.roles`; beside them those of the whole cluster count.
    """
    options = config.options
    values = read_settings(settings, f"[{name}]" if name else "the new node")
    if mine := [name for name in values if name in SETTINGS and SETTINGS[name].of_cluster]:
        raise ConfigError(f"[{mine[0]}] belongs to the whole cluster: it is set when that starts.")
    values = {**_shared(options, _sections(options)[0]), **values}
    if name:
        values["node.name"] = _file_name_or_error(name)
    for number in range(len(config.nodes) + len(nodes) + 1):
        # Numbers of nodes that were removed are given again.
        node = _node(number, values, options, len(config.nodes))
        try:
            _check_nodes([*nodes, node])
        except ConfigError as error:
            refusal = error
        else:
            return node
    raise refusal


def _file_name_or_error(name: str) -> str:
    try:
        return file_name(name)
    except ValueError as error:
        raise ConfigError(f"[node.name] is {error}; not [{name}].") from None


def _shared(options: Options, of_cluster: Mapping[str, object]) -> dict[str, Any]:
    """The settings of the whole cluster."""
    shared = _of_all(of_cluster, f"`cluster` of {options.config_name}")
    shared |= _of_all(options.settings or {}, "settings")
    return shared | read_settings(_named_options(options), "options")


def _of_all(given: Mapping[str, object], where: str) -> dict[str, Any]:
    """Settings that all nodes can have. Raises ConfigError."""
    values = read_settings(given, where)
    for name, value in values.items():
        # Of ports 0 is any that is free, which each node may have.
        if name in SETTINGS and SETTINGS[name].of_node and value != ANY_PORT:
            raise ConfigError(f"{where}: [{name}] belongs under `nodes`: no two nodes have the same.")
    return values


def _move_ports(values: dict[str, Any], offset: int, where: str) -> None:
    """Add the offset to the ports that a file names, as to all others. Raises ConfigError."""
    for name in ("http.port", "transport.port"):
        if values.get(name, ANY_PORT) != ANY_PORT:
            values[name] += offset
            if not 1 <= values[name] <= 65535:
                raise ConfigError(f"{where}: [{name}] would be {values[name]} with its offset: choose a lower one.")


def _initial(shared: Mapping[str, Any], nodes: Sequence[NodeConfig]) -> tuple[str, ...]:
    """Who votes first. Raises ConfigError."""
    eligible = [node.name for node in nodes if node.is_cluster_manager_eligible]
    names: tuple[str, ...] = shared.get("cluster.initial_cluster_manager_nodes") or tuple(eligible[:MOST_INITIAL])
    if wrong := [name for name in names if name not in eligible]:
        raise ConfigError(
            f"[cluster.initial_cluster_manager_nodes] names [{wrong[0]}], which is no node that may become cluster "
            f"manager: there are {', '.join(eligible[:10])}."
        )
    return names


def _named_options(options: Options) -> dict[str, object]:
    named = {
        "cluster.name": options.name,
        "taskfan.time_scale": options.time_scale,
        "taskfan.mesh": options.mesh,
        "taskfan.journal": options.journal,
    }
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
    if count < 1:
        beside = ", beside those that only coordinate" if options.coordinating_only else ""
        raise ConfigError(f"A cluster has 1 to {MOST_NODES} nodes{beside}; not {count}.")
    if count < listed:
        raise ConfigError(f"{options.config_name} lists {listed} nodes, more than the {count} asked for.")
    if options.coordinating_only < 0:
        raise ConfigError(f"The nodes that only coordinate are 0 or more; not {options.coordinating_only}.")
    if count + options.coordinating_only > MOST_NODES:
        raise ConfigError(f"A cluster has 1 to {MOST_NODES} nodes; not {count + options.coordinating_only}.")
    return count


def _check_numbers(options: Options) -> None:
    """Python lets anything through. Raises ConfigError, which names the argument."""
    for name in ("nodes", "coordinating_only", "http_port", "transport_port", "port_offset"):
        value = getattr(options, name)
        is_unsaid = value is None and name not in ("coordinating_only", "port_offset")
        if not is_unsaid and (not isinstance(value, int) or isinstance(value, bool)):
            raise ConfigError(f"[{name}] is a whole number; not [{value!r}].")


def _node(number: int, values: dict[str, Any], options: Options, count: int) -> NodeConfig:
    def value(name: str) -> Any:
        return values.get(name, SETTINGS[name].default)

    scale = value("taskfan.time_scale")
    attributes = {
        name.removeprefix(ATTRIBUTE_PREFIX): text for name, text in values.items() if name.startswith(ATTRIBUTE_PREFIX)
    }
    name = value("node.name") or _file_name_of(options.node_name, number + 1)
    http, transport = _ports(number, name, options, count)
    return NodeConfig(
        name=name,
        roles=value("node.roles"),
        attributes={**DEFAULT_ATTRIBUTES, **attributes},
        host=value("network.host"),
        http_port=values.get("http.port", http),
        transport_port=values.get("transport.port", transport),
        max_content_bytes=value("http.max_content_length"),
        max_header_bytes=value("http.max_header_size"),
        max_initial_line_bytes=value("http.max_initial_line_length"),
        transport_type=value("transport.type"),
        local_sockets=value("transport.local_sockets"),
        connect_timeout_s=value("transport.connect_timeout") * scale,
        coordination=_coordination(value, scale),
        mesh=value("taskfan.mesh"),
        journal=value("taskfan.journal"),
        journal_max_bytes=value("taskfan.journal_max_size"),
        explicit={name: _shown(setting) for name, setting in values.items()},
    )


def _coordination(value: Callable[[str], Any], scale: float) -> CoordinationSettings:
    checks = "cluster.fault_detection"
    times_ms = {field_name: value(name) * 1000 for name, (field_name, _, _) in COORDINATION_TIMES.items()}
    return replace(
        CoordinationSettings(),
        follower_check_retry_count=value(f"{checks}.follower_check.retry_count"),
        leader_check_retry_count=value(f"{checks}.leader_check.retry_count"),
        auto_shrink_voting_configuration=value("cluster.auto_shrink_voting_configuration"),
        **times_ms,
    ).scaled(scale)


def _shown(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _file_name_of(template: str, number: int) -> str:
    try:
        return file_name(template.format(n=number))
    except (ValueError, KeyError, IndexError):
        raise ConfigError(f"node_name [{template}] is no template for names, such as node-{{n}}.") from None


def _ports(number: int, name: str, options: Options, count: int) -> tuple[int, int]:
    if options.any_port:
        return ANY_PORT, ANY_PORT
    low = TRANSPORT_PORT if count <= NODES_BETWEEN_PORTS else HIGH_TRANSPORT_PORT
    http = (options.http_port if options.http_port is not None else HTTP_PORT) + options.port_offset + number
    transport = (options.transport_port if options.transport_port is not None else low) + options.port_offset + number
    for port in (http, transport):
        if not 1 <= port <= 65535:
            raise ConfigError(f"[{name}] would get port {port}: choose lower ports, or --any-port.")
    return http, transport


def _check_nodes(nodes: Sequence[NodeConfig]) -> None:
    names: dict[str, int] = {}
    ports: dict[tuple[str, int], str] = {}
    for number, node in enumerate(nodes):
        if node.name in names:
            first = names[node.name]
            raise ConfigError(f"nodes[{first}] and nodes[{number}] are both named [{node.name}]: names are unique.")
        names[node.name] = number
        for port in (node.http_port, node.transport_port):
            if port != ANY_PORT and (node.host, port) in ports:
                other = ports[node.host, port]
                twice = f"[{other}] and [{node.name}] would both get port {port}"
                if other == node.name:
                    twice = f"[{node.name}] would get port {port} for HTTP and for transport"
                raise ConfigError(f"{twice}: set --http-port and --transport-port further apart, or --any-port.")
            ports[node.host, port] = node.name
    if not any(node.is_cluster_manager_eligible for node in nodes):
        raise ConfigError("No node may become cluster manager: give one of them the role cluster_manager.")


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def read_config_file(path: str) -> Mapping[str, object]:
    """Read a YAML file. Raises ConfigError, which says what is wrong with it and where."""
    return read_config(_read_text(path), path)


def _read_text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no YAML: {error}.") from None


def read_plan(plan: str) -> Mapping[str, object]:
    """Read a plan of simulated work: a file, or the name of one that ships with taskfan. Raises ConfigError."""
    return read_config(read_plan_text(plan), plan, A_PLAN)


def read_plan_text(plan: str) -> str:
    """The text of such a plan. Raises ConfigError."""
    # A pipe is as good as a file; of a directory the reading tells what it is.
    if os.path.exists(plan):
        return _read_text(plan)
    from taskfan.coordinator.example_plans import example_names, example_path

    example = example_path(plan)
    if example is None:
        known = ", ".join(example_names())
        raise ConfigError(f"There is no file [{plan}], and no plan of that name ships with taskfan ({known}).")
    return _read_text(str(example))


def read_config(text: str, path: str, wanted: str = A_CONFIG) -> Mapping[str, object]:
    """Read YAML that came from `path`. Raises ConfigError, which says what is wrong with it and where.

    Args:
        wanted: what it should be, for whoever wrote something else.
    """
    import yaml

    from taskfan.cluster.yaml_text import DuplicateKey, read_yaml

    try:
        config = read_yaml(text)
    except DuplicateKey as error:
        raise ConfigError(f"{path}: {error}.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {' '.join(str(error).split())}.") from None
    if config is None:
        return {}
    if not isinstance(config, Mapping):
        raise ConfigError(f"{path}: {wanted}.")
    return config
