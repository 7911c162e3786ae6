"""Settings of the whole cluster: persistent and transient ones, read, checked and changed. Pure.

Source: OpenSearch `ClusterUpdateSettingsRequest`, `SettingsUpdater`, `ClusterSettings`.

Differs: only `search.cancel_after_time_interval` has an effect; the other groups are accepted and given back.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from taskfan.node.errors import IllegalArgument, NumberFormat, ValidationFailed
from taskfan.node.ids import parse_long
from taskfan.node.index.errors import SettingsFailed
from taskfan.node.index.java_maps import class_cast
from taskfan.node.index.x_content import read_body
from taskfan.node.time_value import parse_time_ns

CANCEL_AFTER = "search.cancel_after_time_interval"
_ACCEPTED = ("action.", "cluster.", "indices.", "logger.", "search.", "task_resource_tracking.", "script.")
# What a node is started with.
_OF_NODES = ("cluster.name", "cluster.initial_", "node.", "path.", "http.", "transport.", "network.", "discovery.")
# A new value, or None to go back to the default.
Changes = Mapping[str, str | None]


class ClusterSettings(msgspec.Struct, frozen=True):
    """What is set. A transient setting counts before a persistent one."""

    persistent: dict[str, str] = {}
    transient: dict[str, str] = {}

    def get(self, name: str) -> str | None:
        """The value of a setting, or None."""
        return self.transient.get(name, self.persistent.get(name))

    def time_ms(self, name: str) -> int | None:
        """The value of a setting that is a time, in milliseconds, or None; -1 stays that."""
        value = self.get(name)
        if value is None:
            return None
        nanos = parse_time_ns(value, name)
        return nanos if nanos < 0 else nanos // 1_000_000

    def changed(self, changes: SettingsChange) -> ClusterSettings:
        """The settings after a change; the same object if it changes nothing."""
        after = replace(
            self,
            persistent=_changed(self.persistent, changes.persistent),
            transient=_changed(self.transient, changes.transient),
        )
        return self if after == self else after


class SettingsChange(msgspec.Struct, frozen=True):
    """What a request changes. Names may have wildcards where the value is None."""

    persistent: dict[str, str | None] = {}
    transient: dict[str, str | None] = {}


def _changed(settings: dict[str, str], changes: Changes) -> dict[str, str]:
    after = dict(settings)
    for name, value in changes.items():
        if value is not None:
            after[name] = value
            continue
        for found in [found for found in after if fnmatch.fnmatchcase(found, name)]:
            del after[found]
    return after


def read_settings(raw: bytes) -> SettingsChange:
    """The body of a change.

    Raises:
        BodyUnreadable: there is none.
        ValidationFailed: it changes nothing; what is of neither kind does not count.
        SettingsFailed: a setting is unknown, or cannot be changed while nodes run.
        IllegalArgument: a value does not do.
    """
    body = read_body(raw).value
    kinds: dict[str, dict[str, str | None]] = {"persistent": {}, "transient": {}}
    for name, given in body.items() if isinstance(body, dict) else ():
        if name not in kinds:
            continue
        if not isinstance(given, dict):
            raise class_cast(given, "java.util.Map")
        _flatten(kinds[name], "", given)
    if not any(kinds.values()):
        raise ValidationFailed("no settings to update")
    for kind in ("transient", "persistent"):
        for name, value in kinds[kind].items():
            _check(kind, name, value)
    return SettingsChange(**kinds)


def _flatten(flat: dict[str, str | None], prefix: str, given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if isinstance(value, dict):
            _flatten(flat, f"{prefix}{name}.", value)
        elif isinstance(value, bool):
            flat[prefix + name] = "true" if value else "false"
        elif isinstance(value, list):
            flat[prefix + name] = ",".join(map(str, value))
        else:
            flat[prefix + name] = None if value is None else str(value)


def _check(kind: str, name: str, value: str | None) -> None:
    if name.startswith(_OF_NODES) and "*" not in name:
        raise SettingsFailed(f"{kind} setting [{name}], not dynamically updateable")
    if not name.startswith(_ACCEPTED) and "*" not in name:
        raise SettingsFailed(f"{kind} setting [{name}], not recognized")
    if value is not None and name in _CHECKS:
        _CHECKS[name](value, name)


def _check_count(value: str, name: str) -> None:
    number = parse_long(value)
    if number is None:
        cause = NumberFormat(f'For input string: "{value}"')
        raise IllegalArgument(f"Failed to parse value [{value}] for setting [{name}]", cause=cause)
    if number < 1:
        raise IllegalArgument(f"Failed to parse value [{value}] for setting [{name}] must be >= 1")


def _check_flag(value: str, name: str) -> None:
    if value not in ("true", "false"):
        raise IllegalArgument(f"Failed to parse value [{value}] as only [true] or [false] are allowed.")


_CHECKS: Mapping[str, Callable[[str, str], object]] = {
    CANCEL_AFTER: parse_time_ns,
    "search.default_search_timeout": parse_time_ns,
    "cluster.max_shards_per_node": _check_count,
    "task_resource_tracking.enabled": _check_flag,
}
