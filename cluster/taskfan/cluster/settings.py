"""The settings of a cluster and its nodes, under OpenSearch's names: how each is read, and what it is unsaid."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from taskfan.cluster.errors import ConfigError
from taskfan.node.coordination.settings import CoordinationSettings
from taskfan.node.discovery_node import DEFAULT_ROLES

KNOWN_ROLES = ("cluster_manager", "master", "data", "ingest", "remote_cluster_client", "search", "warm", "ml")


class Setting(msgspec.Struct, frozen=True):
    """One setting: how it is read, its value when nobody says, and whether it is the whole cluster's, or one node's."""

    read: Callable[[object], Any]
    default: Any
    help: str
    of_cluster: bool = False
    of_node: bool = False


class _NoneOfThese(ValueError):
    """A word that is none of those there are; the text goes on after the setting's name."""


def _text(value: object) -> str:
    if not isinstance(value, str | int | float) or not str(value).strip():
        raise ValueError("a text that is not empty")
    return str(value)


def file_name(value: object) -> str:
    # Names become file names, and OpenSearch allows no colon in a cluster's.
    if not isinstance(value, str) or not re.fullmatch(r"[^\W_.-][\w.@ -]{0,99}", value):
        raise ValueError("up to 100 letters, digits, '-', '_', '.', '@' and spaces, the first a letter or digit")
    return value


def _roles(value: object) -> tuple[str, ...]:
    roles = value.split(",") if isinstance(value, str) else value
    if not isinstance(roles, Sequence) or not all(isinstance(role, str) for role in roles):
        raise ValueError("a list of roles, such as [cluster_manager, data]; [] only coordinates")
    names = sorted({role.strip() for role in roles if role.strip()})
    for name in names:
        if name not in KNOWN_ROLES:
            raise _NoneOfThese(f"names [{name}], which is no role. {_did_you_mean(name, KNOWN_ROLES)}")
    return tuple(names)


def _port(value: object) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,5}", str(value)) or int(str(value)) > 65535:
        raise ValueError("one port from 1 to 65535, or 0 for any that is free")
    return int(str(value))


def _transport_type(value: object) -> str:
    if value not in ("http2", "grpcio"):
        raise ValueError("http2 or grpcio")
    return str(value)


def _count(value: object) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,6}", str(value)) or int(str(value)) < 1:
        raise ValueError("a number from 1 on")
    return int(str(value))


def _flag(value: object) -> bool:
    if str(value).lower() not in ("true", "false"):
        raise ValueError("true or false")
    return str(value).lower() == "true"


def _names(value: object) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value
    if (
        not isinstance(names, Sequence)
        or not names
        or not all(isinstance(name, str) and name.strip() for name in names)
    ):
        raise ValueError("a list of names of nodes")
    return tuple(dict.fromkeys(name.strip() for name in names))


_SECONDS = {"nanos": 1e-9, "micros": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"b": 1, "k": 1 << 10, "kb": 1 << 10, "m": 1 << 20, "mb": 1 << 20, "g": 1 << 30, "gb": 1 << 30}


def time_s(value: object) -> float:
    """A time value in seconds. Raises ValueError, which says what one is."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(nanos|micros|ms|s|m|h|d)", str(value).strip().lower())
    if match is None or float(match[1]) <= 0:
        raise ValueError("a time with its unit, such as 1s or 500ms")
    return float(match[1]) * _SECONDS[match[2]]


def _bytes(value: object) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(b|kb?|mb?|gb?)", str(value).strip().lower())
    if match is None or not 1 <= float(match[1]) * _BYTES[match[2]] < 1 << 31:
        raise ValueError("a size with its unit, below 2gb, such as 100mb")
    return int(float(match[1]) * _BYTES[match[2]])


def _switch(value: object) -> bool:
    if str(value).lower() not in ("true", "false"):
        raise ValueError("true or false")
    return str(value).lower() == "true"


def _scale(value: object) -> float:
    try:
        scale = float(str(value))
    except ValueError:
        scale = 0.0
    if not 0.0001 <= scale <= 1000:
        raise ValueError("a factor from 0.0001 to 1000; 0.1 makes checks ten times as frequent")
    return scale


# Name of a setting: the field of CoordinationSettings (in milliseconds), the default in seconds, and what it is.
COORDINATION_TIMES: Mapping[str, tuple[str, float, str]] = {
    name: (field_name, getattr(CoordinationSettings(), field_name) / 1000, help)
    for name, field_name, help in (
        ("cluster.fault_detection.follower_check.interval", "follower_check_interval_ms", "Pause between checks."),
        ("cluster.fault_detection.follower_check.timeout", "follower_check_timeout_ms", "Limit for the answer to one."),
        ("cluster.fault_detection.leader_check.interval", "leader_check_interval_ms", "Pause between checks."),
        ("cluster.fault_detection.leader_check.timeout", "leader_check_timeout_ms", "Limit for the answer to one."),
        ("cluster.publish.timeout", "publish_timeout_ms", "Limit for bringing a cluster state to all nodes."),
        ("cluster.follower_lag.timeout", "follower_lag_timeout_ms", "How long a node may lack a cluster state."),
        ("cluster.election.initial_timeout", "election_initial_timeout_ms", "Limit of the wait before a first try."),
        ("cluster.election.back_off_time", "election_back_off_time_ms", "What each further try adds to that limit."),
        ("cluster.election.max_timeout", "election_max_timeout_ms", "The most that it grows to."),
        ("cluster.election.duration", "election_duration_ms", "What a try takes before the next one may begin."),
        ("cluster.join.timeout", "join_timeout_ms", "Limit for joining a manager."),
        ("discovery.find_peers_interval", "find_peers_interval_ms", "Pause between looks for a manager."),
        ("discovery.request_peers_timeout", "request_peers_timeout_ms", "Limit for the answer to one."),
    )
}

SETTINGS: Mapping[str, Setting] = {
    "cluster.name": Setting(file_name, "taskfan", "Name of the cluster.", of_cluster=True),
    "node.name": Setting(
        file_name, None, "Name of the node; opensearch-node1, opensearch-node2 … by itself.", of_node=True
    ),
    "node.roles": Setting(_roles, DEFAULT_ROLES, "Roles of the node; [] only coordinates."),
    "network.host": Setting(_text, "127.0.0.1", "Address to bind, loopback unless told otherwise."),
    "http.port": Setting(_port, None, "HTTP port; 9200, 9201 … by itself.", of_node=True),
    "transport.port": Setting(_port, None, "Transport port; 9300, 9301 … by itself.", of_node=True),
    "http.max_content_length": Setting(_bytes, 100 << 20, "Largest request body."),
    "http.max_header_size": Setting(_bytes, 16 << 10, "All headers of a request together."),
    "http.max_initial_line_length": Setting(_bytes, 4 << 10, "Longest request line."),
    "transport.type": Setting(
        _transport_type, "http2", "What links run on: http2 is our own, grpcio the library; they may be mixed."
    ),
    "transport.local_sockets": Setting(
        _flag, True, "Links between nodes of one machine by Unix sockets (Linux); false: by TCP, for a packet capture."
    ),
    "transport.connect_timeout": Setting(time_s, 30.0, "Limit for opening a link."),
    **{name: Setting(time_s, default_s, help) for name, (_, default_s, help) in COORDINATION_TIMES.items()},
    "cluster.fault_detection.follower_check.retry_count": Setting(_count, 3, "Failed checks that remove a follower."),
    "cluster.fault_detection.leader_check.retry_count": Setting(_count, 3, "Failed checks that end a manager's time."),
    "cluster.auto_shrink_voting_configuration": Setting(_flag, True, "Let fewer vote when voters have left."),
    "cluster.initial_cluster_manager_nodes": Setting(
        _names, None, "Who votes first; the first three eligible nodes by itself.", of_cluster=True
    ),
    "taskfan.mesh": Setting(
        _switch, False, "Whether the node opens its links to all others as it starts, not each when it is needed."
    ),
    "taskfan.journal": Setting(_switch, False, "Whether nodes note what happens to them; `taskfan journal` shows it."),
    "taskfan.journal_max_size": Setting(_bytes, 64 << 20, "Of a journal; one before it is kept beside it."),
    "taskfan.time_scale": Setting(_scale, 1.0, "Factor on the times of checks and elections.", of_cluster=True),
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
    for name, value in _flatten(given):
        if name in values:
            raise ConfigError(f"{where}: [{name}] is set twice, with dots and as a map: only one can be meant.")
        if name.startswith(ATTRIBUTE_PREFIX) and len(name) > len(ATTRIBUTE_PREFIX):
            read: Callable[[object], Any] = _text
        elif name in SETTINGS:
            read = SETTINGS[name].read
        else:
            raise ConfigError(f"{where}: unknown setting [{name}]. {_did_you_mean(name, [*SETTINGS, 'node.attr.*'])}")
        try:
            values[name] = read(value)
        except _NoneOfThese as error:
            raise ConfigError(f"{where}: [{name}] {error}") from None
        except ValueError as error:
            raise ConfigError(f"{where}: [{name}] is {error}; not [{written(value)}].") from None
    return values


def written(value: object) -> str:
    """A value as YAML has it, not as Python shows it."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _flatten(given: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in given.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean [{close[0]}]?" if close else f"Known are {', '.join(known)}."
