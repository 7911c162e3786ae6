"""Settings of the whole cluster: persistent and transient ones, read, checked and changed. Pure.

Source: OpenSearch `ClusterUpdateSettingsRequest`, `SettingsUpdater`, `ClusterSettings`.

Differs: only `search.cancel_after_time_interval` has an effect; the other groups are accepted and given back.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from taskfan.node.errors import IllegalArgument, ValidationFailed
from taskfan.node.index.errors import BodyUnreadable
from taskfan.node.index.x_content import read_body
from taskfan.node.time_value import parse_time_ns

CANCEL_AFTER = "search.cancel_after_time_interval"
_ACCEPTED = ("action.", "cluster.", "indices.", "logger.", "search.", "task_resource_tracking.", "script.")
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
        BodyUnreadable: it is no object of the two kinds.
        ValidationFailed: it changes nothing.
        IllegalArgument: a setting is unknown, or its value does not do.
    """
    body = read_body(raw).value if raw.strip() else {}
    kinds: dict[str, dict[str, str | None]] = {"persistent": {}, "transient": {}}
    for name, given in body.items() if isinstance(body, dict) else ():
        if name not in kinds or not isinstance(given, dict):
            raise BodyUnreadable(f"unknown key [{name}] for cluster settings")
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
    if not name.startswith(_ACCEPTED) and "*" not in name:
        raise IllegalArgument(f"{kind} setting [{name}], not recognized")
    if name == CANCEL_AFTER and value is not None:
        parse_time_ns(value, name)
