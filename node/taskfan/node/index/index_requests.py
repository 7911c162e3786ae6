"""Making an index and looking at it: the body of its creation, and what a client is shown of it. Pure.

Source: OpenSearch `CreateIndexRequest`, `MetadataCreateIndexService`, `GetIndexResponse`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from taskfan.node.index.errors import BodyUnreadable, IndexAlreadyExists, MapperParsing, NotXContent
from taskfan.node.index.index_names import check_new_name
from taskfan.node.index.mappings import checked_mapping, failed_to_parse
from taskfan.node.index.metadata import TASKS_INDEX, IndexMetadata, Indices
from taskfan.node.index.settings import check_new, flatten, new_index_settings, shown, with_human
from taskfan.node.index.x_content import read_body
from taskfan.node.task_json import iso_time

OPENSEARCH_VERSION = "3.8.0"


class CreateIndexBody(msgspec.Struct, frozen=True):
    """The body of the creation of an index, checked but for what depends on the cluster."""

    settings: Mapping[str, str] = {}
    mapping: Mapping[str, Any] = {}
    aliases: Mapping[str, dict[str, Any]] = {}


def read_create_index(raw: bytes) -> CreateIndexBody:
    """The body as it came; an empty one makes an index of default settings.

    Raises:
        BodyUnreadable: a key is unknown, or is no object.
        NotXContent: it is no JSON object.
    """
    if not raw.strip():
        return CreateIndexBody()
    if not raw.lstrip().startswith(b"{"):
        raise NotXContent
    value = read_body(raw).value
    for name, given in value.items():
        if name not in ("settings", "mappings", "aliases"):
            raise BodyUnreadable(f"unknown key [{name}] for create index")
        if not isinstance(given, dict):
            raise BodyUnreadable(f"key [{name}] must be an object")
    return CreateIndexBody(flatten(value.get("settings", {})), value.get("mappings", {}), value.get("aliases", {}))


def new_index(
    indices: Indices, name: str, body: CreateIndexBody, *, uuid: str, now_ms: int, system: bool = False
) -> IndexMetadata:
    """The metadata of an index that is to be made; `allocation.create_index` gives it its shards.

    Args:
        uuid: 22 characters of URL-safe base64, random.
        system: made by the cluster itself; its name may be one that clients cannot give.

    Raises:
        InvalidIndexName, IndexAlreadyExists: the name.
        SettingsFailed, SettingsInvalid, IllegalArgument: the settings.
        MapperParsing: the mapping.
    """
    if not system:
        check_new_name(name)
    there = indices.get(name)
    if there is not None:
        raise IndexAlreadyExists(there.name, there.uuid)
    check_new(body.settings)
    try:
        mapping = checked_mapping(body.mapping)
    except MapperParsing as error:
        raise failed_to_parse(error) from None
    settings = new_index_settings(body.settings, name=name, uuid=uuid, now_ms=now_ms)
    aliases = {alias: dict(options) for alias, options in body.aliases.items()}
    return IndexMetadata(name, uuid, settings, mapping, aliases, system=system)


def index_object(index: IndexMetadata, *, human: bool = False, flat: bool = False) -> dict[str, Any]:
    """What `GET /{index}` shows of one index."""
    settings = with_human(index.settings, iso_time, OPENSEARCH_VERSION) if human else index.settings
    return {"aliases": index.aliases, "mappings": index.mapping, "settings": shown(settings, flat=flat)}


def created_answer(name: str, *, acknowledged: bool, shards_acknowledged: bool) -> dict[str, Any]:
    """The body of the answer to a creation."""
    return {"acknowledged": acknowledged, "shards_acknowledged": shards_acknowledged, "index": name}


def tasks_index_body() -> CreateIndexBody:
    """How `.tasks`, the index of stored results, is made on demand. Source: `TaskResultsService`, its mapping file."""
    keyword, long, boolean = {"type": "keyword"}, {"type": "long"}, {"type": "boolean"}
    opaque = {"type": "object", "enabled": False}
    task = {
        "action": keyword,
        "cancellable": boolean,
        "cancelled": boolean,
        "cancellation_time_millis": long,
        "description": {"type": "text"},
        "headers": opaque,
        "id": long,
        "node": keyword,
        "parent_task_id": keyword,
        "resource_stats": opaque,
        "running_time_in_nanos": long,
        "start_time_in_millis": long,
        "status": opaque,
        "type": keyword,
    }
    mapping = {
        "dynamic": "strict",
        "_meta": {"version": 5},
        "properties": {"completed": boolean, "task": {"properties": task}, "response": opaque, "error": opaque},
    }
    settings = {
        "index.number_of_shards": "1",
        "index.number_of_replicas": "0",
        "index.auto_expand_replicas": "0-1",
        "index.priority": "2147483647",
    }
    return CreateIndexBody(settings, mapping)


def new_tasks_index(indices: Indices, *, uuid: str, now_ms: int) -> IndexMetadata:
    """The metadata of `.tasks`."""
    return new_index(indices, TASKS_INDEX, tasks_index_body(), uuid=uuid, now_ms=now_ms, system=True)
