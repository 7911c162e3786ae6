"""Parameters that requests about indices and documents have in common. Pure.

Source: OpenSearch `IndicesOptions.fromRequest`, `WriteRequest.RefreshPolicy.parse`, `ActiveShardCount.parseString`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taskfan.coordinator.rest.parameters import Parameter, lenient_boolean, text
from taskfan.node.errors import IllegalArgument
from taskfan.node.index.active_shards import ActiveShardCount
from taskfan.node.index.documents import VersionType
from taskfan.node.index.index_names import IndicesOptions
from taskfan.node.index.source_filter import SourceFilter

INDICES_OPTIONS: tuple[Parameter, ...] = (
    text("expand_wildcards"),
    lenient_boolean("ignore_unavailable", False),
    lenient_boolean("allow_no_indices", True),
    lenient_boolean("ignore_throttled"),
)
SOURCE_PARAMETERS: tuple[Parameter, ...] = (text("_source"), text("_source_includes"), text("_source_excludes"))
DEFAULT_TIMEOUT_MS = 60_000


def indices_options(given: Mapping[str, Any]) -> IndicesOptions:
    """The options of a request that declares `INDICES_OPTIONS`. Raises IllegalArgument."""
    return IndicesOptions.from_parameters(
        given["ignore_unavailable"], given["allow_no_indices"], given["expand_wildcards"]
    )


def source_filter(given: Mapping[str, Any]) -> SourceFilter | None:
    """Which part of sources is to be shown; None when nothing is said."""
    return SourceFilter.from_parameters(given["_source"], given["_source_includes"], given["_source_excludes"])


def _refresh(value: str | None) -> str:
    if value in ("", "true"):
        return "true"
    if value in (None, "false", "wait_for"):
        return value or "false"
    raise IllegalArgument(f"Unknown value for refresh: [{value}].")


def _active_shards(value: str | None) -> str:
    ActiveShardCount.parse(value)
    return value or ""


def _version_type(value: str | None) -> VersionType:
    return VersionType.INTERNAL if value is None else VersionType.parse(value)


REFRESH = Parameter("refresh", _refresh)
WAIT_FOR_ACTIVE_SHARDS = Parameter("wait_for_active_shards", _active_shards)
VERSION_TYPE = Parameter("version_type", _version_type)
