"""The settings of an index: read, checked, and given back. Pure.

Settings are kept flat, `index.number_of_shards` to `"1"`, all values as text, as OpenSearch keeps them.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from taskfan.node.errors import IllegalArgument, NumberFormat
from taskfan.node.ids import parse_long
from taskfan.node.index.errors import SettingsFailed, SettingsInvalid

Settings = Mapping[str, str]

NUMBER_OF_SHARDS = "index.number_of_shards"
NUMBER_OF_REPLICAS = "index.number_of_replicas"
AUTO_EXPAND_REPLICAS = "index.auto_expand_replicas"
REFRESH_INTERVAL = "index.refresh_interval"
TOTAL_SHARDS_PER_NODE = "index.routing.allocation.total_shards_per_node"
ALLOCATION_FILTERS = "index.routing.allocation."
MAX_RESULT_WINDOW = "index.max_result_window"
MAX_SLICES_PER_SCROLL = "index.max_slices_per_scroll"
MAX_REGEX_LENGTH = "index.max_regex_length"
HIDDEN = "index.hidden"
# What OpenSearch 3.8.0 calls itself in `index.version.created`.
VERSION_CREATED = "137297827"
# taskfan's own: how long work on a shard takes, in milliseconds, for each call and for each document of it.
COST_PER_CALL_MS = "index.taskfan.cost_per_call_ms"
COST_PER_DOCUMENT_MS = "index.taskfan.cost_per_document_ms"

DEFAULTS: Settings = MappingProxyType(
    {
        MAX_RESULT_WINDOW: "10000",
        MAX_SLICES_PER_SCROLL: "1024",
        MAX_REGEX_LENGTH: "1000",
        REFRESH_INTERVAL: "1s",
        TOTAL_SHARDS_PER_NODE: "-1",
        COST_PER_CALL_MS: "0",
        COST_PER_DOCUMENT_MS: "0",
    }
)
_PRIVATE = {
    "index.uuid",
    "index.creation_date",
    "index.provided_name",
    "index.version.created",
    "index.version.upgraded",
}
_STATIC = {NUMBER_OF_SHARDS, "index.number_of_routing_shards", "index.routing_partition_size", "index.codec"}
_INTEGERS = {
    NUMBER_OF_SHARDS: (1, 1024),
    NUMBER_OF_REPLICAS: (0, None),
    TOTAL_SHARDS_PER_NODE: (-1, None),
    MAX_RESULT_WINDOW: (1, None),
    MAX_SLICES_PER_SCROLL: (1, None),
    MAX_REGEX_LENGTH: (1, None),
    COST_PER_CALL_MS: (0, 600_000),
    COST_PER_DOCUMENT_MS: (0, 600_000),
    "index.number_of_routing_shards": (1, None),
    "index.priority": (0, None),
}
_TIMES = {REFRESH_INTERVAL, "index.search.idle.after", "index.gc_deletes", "index.unassigned.node_left.delayed_timeout"}
_BOOLEANS = {HIDDEN, "index.blocks.read_only", "index.blocks.write", "index.blocks.read", "index.blocks.metadata"}
# Accepted and given back, without any effect here.
_ACCEPTED = {
    AUTO_EXPAND_REPLICAS,
    *("index.codec", "index.routing_partition_size", "index.replication.type", "index.default_pipeline"),
    *("index.final_pipeline", "index.max_inner_result_window", "index.max_terms_count", "index.max_rescore_window"),
    *("index.blocks.read_only_allow_delete", "index.write.wait_for_active_shards", "index.query.default_field"),
    *("index.routing.allocation.enable", "index.routing.rebalance.enable", "index.shard.check_on_startup"),
}
_ACCEPTED_GROUPS = (
    *("index.routing.allocation.require.", "index.routing.allocation.include.", "index.routing.allocation.exclude."),
    *("index.translog.", "index.merge.", "index.mapping.", "index.analysis.", "index.sort.", "index.similarity."),
    *("index.search.slowlog.", "index.indexing.slowlog.", "index.soft_deletes.", "index.mapper.", "index.queries."),
    *("index.store.", "index.knn", "index.plugins."),
)
_TIME = re.compile(r"-?\d+(nanos|micros|ms|s|m|h|d)|-1|0")


def flatten(given: Mapping[str, Any]) -> dict[str, str]:
    """Settings as a client writes them, nested or dotted, with or without `index.`, as flat text.

    A null removes the setting, that is: it is left out.
    """
    flat: dict[str, str] = {}
    _flatten_into(flat, "", given)
    return {name if name.startswith("index.") else f"index.{name}": value for name, value in flat.items()}


def _flatten_into(flat: dict[str, str], prefix: str, given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if isinstance(value, dict):
            _flatten_into(flat, f"{prefix}{name}.", value)
        elif isinstance(value, bool):
            flat[prefix + name] = "true" if value else "false"
        elif isinstance(value, list):
            flat[prefix + name] = ",".join(map(str, value))
        elif value is not None:
            flat[prefix + name] = str(value)


def check_new(settings: Settings) -> None:
    """Check the settings of an index that is to be made.

    Raises:
        SettingsFailed: one is unknown.
        SettingsInvalid: one is not the client's to set.
        IllegalArgument: a value is not allowed.
    """
    for name in sorted(settings):
        _check_known(name)
    private = [name for name in sorted(settings) if name in _PRIVATE]
    if private:
        raise SettingsInvalid(*(f"private index setting [{name}] can not be set explicitly" for name in private))
    for name in sorted(settings):
        _check_value(name, settings[name])


def check_update(settings: Settings, indices: list[str]) -> None:
    """Check settings that are to change on indices that are there, each written `[name/uuid]`."""
    for name in sorted(settings):
        _check_known(name)
    static = [name for name in sorted(settings) if name in _STATIC or name in _PRIVATE]
    if static:
        raise IllegalArgument(
            f"Can't update non dynamic settings [[{', '.join(static)}]] for open indices [{', '.join(indices)}]"
        )
    for name in sorted(settings):
        _check_value(name, settings[name])


def _check_known(name: str) -> None:
    known = [*_INTEGERS, *_TIMES, *_BOOLEANS, *_ACCEPTED, *_PRIVATE]
    if name in known or name.startswith(_ACCEPTED_GROUPS):
        return
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.9)
    advice = (
        f"did you mean [{close[0]}]?"
        if close
        else "please check that any required plugins are installed, or check the breaking changes documentation for "
        "removed settings"
    )
    raise SettingsFailed(f"unknown setting [{name}] {advice}")


def _check_value(name: str, value: str) -> None:
    if name in _INTEGERS:
        _check_integer(name, value, *_INTEGERS[name])
    elif name in _TIMES and not _TIME.fullmatch(value.strip().lower()):
        raise IllegalArgument(
            f"failed to parse setting [{name}] with value [{value}] as a time value: unit is missing or unrecognized"
        )
    elif name in _BOOLEANS and value not in ("true", "false"):
        raise IllegalArgument(f"Failed to parse value [{value}] as only [true] or [false] are allowed.")
    elif name == AUTO_EXPAND_REPLICAS and not re.fullmatch(r"false|\d+-(\d+|all)", value):
        raise IllegalArgument(f"failed to parse [{name}] from value: [{value}] at index {value.find('-')}")


def _check_integer(name: str, value: str, lowest: int, highest: int | None) -> None:
    number = parse_long(value)
    if number is None:
        raise IllegalArgument(
            f"Failed to parse value [{value}] for setting [{name}]", cause=NumberFormat(f'For input string: "{value}"')
        )
    if number < lowest:
        raise IllegalArgument(f"Failed to parse value [{value}] for setting [{name}] must be >= {lowest}")
    if highest is not None and number > highest:
        raise IllegalArgument(f"Failed to parse value [{value}] for setting [{name}] must be <= {highest}")


def integer(settings: Settings, name: str) -> int:
    """The value of a checked integer setting, or its default."""
    return int(settings.get(name) or DEFAULTS[name])


def new_index_settings(given: Settings, *, name: str, uuid: str, now_ms: int) -> dict[str, str]:
    """All settings of a new index: those given and those every index has. Source: `MetadataCreateIndexService`."""
    return {
        "index.replication.type": "DOCUMENT",
        NUMBER_OF_SHARDS: "1",
        NUMBER_OF_REPLICAS: "1",
        **given,
        "index.provided_name": name,
        "index.creation_date": str(now_ms),
        "index.uuid": uuid,
        "index.version.created": VERSION_CREATED,
    }


def shown(settings: Settings, *, flat: bool = False, patterns: tuple[str, ...] = ()) -> dict[str, Any]:
    """Settings as a client reads them: nested, or flat and sorted; with patterns, only those that match one."""
    chosen = {
        name: value
        for name, value in settings.items()
        if not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    }
    if flat:
        return dict(sorted(chosen.items()))
    nested: dict[str, Any] = {}
    for name, value in chosen.items():
        *parents, last = name.split(".")
        _descend(nested, parents)[last] = value
    return nested


def _descend(nested: dict[str, Any], parents: list[str]) -> dict[str, Any]:
    for parent in parents:
        nested = nested.setdefault(parent, {})
    return nested


def with_human(settings: Settings, iso_time: Callable[[int], str], version: str) -> dict[str, str]:
    """The settings with the readable forms that `human` adds."""
    created = int(settings["index.creation_date"])
    readable = {"index.creation_date_string": iso_time(created), "index.version.created_string": version}
    return {**settings, **readable}
