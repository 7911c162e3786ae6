"""The bodies of reindex, update and delete by query. Pure.

Source: OpenSearch `RestReindexAction`, `ReindexRequest.PARSER`, `AbstractBulkByQueryRestHandler`, `Script.PARSER`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from taskfan.node.errors import IllegalArgument, TaskfanError
from taskfan.node.index.by_scroll_request import (
    DEFAULT_BATCH_SIZE,
    ByScrollRequest,
    Destination,
    Kind,
    parse_conflicts,
    with_max_docs_once,
)
from taskfan.node.index.documents import VersionType, parse_op_type
from taskfan.node.index.errors import XContentParse
from taskfan.node.index.java_maps import as_hash_map, class_cast
from taskfan.node.index.reindex_remote import read_remote
from taskfan.node.index.scripts import Script, parse_script
from taskfan.node.index.search_source import SearchSource, parse_search
from taskfan.node.index.source_filter import SourceFilter
from taskfan.node.index.x_content import Body, Path, Place, read_body, token_name, unknown_field, whole_number

_FIELD_TYPES: Mapping[str, tuple[type, ...]] = {
    "source": (dict,),
    "dest": (dict,),
    "max_docs": (int, float, str),
    "size": (int, float, str),
    "script": (dict,),
    "conflicts": (str,),
}
_DESTINATION_FIELDS = ("index", "routing", "op_type", "pipeline", "version_type")
_SCRIPT_FIELDS: Mapping[str, tuple[type, ...]] = {
    "source": (str, dict),
    "id": (str,),
    "lang": (str,),
    "params": (dict,),
    "options": (dict,),
}


def read_reindex(raw: bytes) -> ByScrollRequest:
    """The body of a reindex.

    Raises:
        BodyUnreadable: there is none.
        XContentParse: a field is unknown, or its value does not do; the cause says why.
    """
    body = read_body(raw)
    if not isinstance(body.value, dict):
        raise body.x_content_parse(f"[reindex] Expected START_OBJECT but was: {token_name(body.value)}", ())
    request = ByScrollRequest(Kind.REINDEX)
    for name, value in body.value.items():
        request = _with_field(request, body, name, value)
    return request


def _with_field(request: ByScrollRequest, body: Body, name: str, value: Any) -> ByScrollRequest:
    if name not in _FIELD_TYPES:
        raise unknown_field(body, "reindex", (name,), _FIELD_TYPES)
    _check_type(body, "reindex", (name,), value, _FIELD_TYPES[name])
    try:
        match name:
            case "source":
                return _with_source(request, value)
            case "dest":
                return replace(request, destination=_read_destination(body, value))
            case "script":
                return replace(request, script=_read_script(body, value))
            case "conflicts":
                return replace(request, abort_on_conflict=parse_conflicts(value))
        return with_max_docs_once(request, whole_number(body, (name,), value))
    except TaskfanError as error:
        place = _place_of_fault(body, name, error)
        raise XContentParse(f"[reindex] failed to parse field [{name}]", *place, cause=error) from None


def _check_type(body: Body, parser: str, path: Path, value: Any, types: tuple[type, ...]) -> None:
    if type(value) not in types:
        raise body.x_content_parse(f"[{parser}] {path[-1]} doesn't support values of type: {token_name(value)}", path)


def _place_of_fault(body: Body, name: str, error: TaskfanError) -> Place:
    """Where OpenSearch's parser stands when a field turns out wrong."""
    if name == "source":
        # The source is read as a whole before it is looked at.
        return body.place((name,), "end")
    if name not in ("dest", "script") or not isinstance(error, XContentParse):
        return body.place((name,), "end" if isinstance(body.value[name], dict) else "value")
    unknown = next((key for key in body.value[name] if f"unknown field [{key}]" in (error.reason or "")), None)
    return Place(error.line, error.column) if unknown is None else body.place((name, unknown))


# ------------------------------------------------------------------ source, destination, script


def _with_source(request: ByScrollRequest, given: Mapping[str, Any]) -> ByScrollRequest:
    source = as_hash_map(given)
    indices = _read_indices(source.pop("index", None))
    remote = read_remote(source.pop("remote", None))
    # What is left is a search of its own, and its faults are placed within it.
    search = parse_search(read_body(msgspec.json.encode(source)))
    return replace(request, indices=indices, source=_with_batch_size(search), remote=remote)


def _with_batch_size(search: SearchSource) -> SearchSource:
    return replace(search, size=DEFAULT_BATCH_SIZE) if search.size is None else search


def _read_indices(given: Any) -> tuple[str, ...]:
    if given is None:
        return ()
    if isinstance(given, list):
        return tuple(map(str, given))
    if not isinstance(given, str):
        raise IllegalArgument(f"Expected [index] to be a list or a string but was [{given}]")
    return tuple(given.rstrip(",").split(",")) if given.rstrip(",") else ()


def _read_destination(body: Body, given: Mapping[str, Any]) -> Destination:
    found: dict[str, Any] = {}
    for name, value in given.items():
        path: Path = ("dest", name)
        if name not in _DESTINATION_FIELDS:
            raise unknown_field(body, "dest", path, _DESTINATION_FIELDS)
        _check_type(body, "dest", path, value, (str,))
        try:
            readers = {"op_type": parse_op_type, "version_type": VersionType.parse}
            found[name] = readers[name](value) if name in readers else value
        except IllegalArgument as error:
            raise body.x_content_parse(f"[dest] failed to parse field [{name}]", path, cause=error) from None
    # A routing without a value is none.
    return Destination(**found | {"routing": found.get("routing") or None})


def _read_script(body: Body, given: Mapping[str, Any]) -> Script:
    for name, value in given.items():
        path: Path = ("script", name)
        if name not in _SCRIPT_FIELDS:
            raise unknown_field(body, "script", path, _SCRIPT_FIELDS)
        _check_type(body, "script", path, value, _SCRIPT_FIELDS[name])
        if {"source", "id"} <= given.keys() and name == [key for key in given if key in ("source", "id")][1]:
            cause = IllegalArgument("must only use one of [source, id] when specifying a script")
            raise body.x_content_parse(f"[script] failed to parse field [{name}]", path, cause=cause)
    if "source" not in given and "id" not in given:
        raise IllegalArgument("must specify either [source] for an inline script or [id] for a stored script")
    if "id" in given and "lang" in given:
        raise IllegalArgument("illegally specified <lang> for a stored script")
    return parse_script(given)


# ------------------------------------------------------------------ by query


def read_by_query(kind: Kind, indices: tuple[str, ...], raw: bytes) -> ByScrollRequest:
    """The body of an update or delete by query: that of a search, with `conflicts`, `max_docs` and `script`.

    Raises:
        ParsingFailed, XContentParse, IllegalArgument: in the words of OpenSearch.
    """
    request = ByScrollRequest(kind, indices)
    if kind is Kind.DELETE_BY_QUERY:
        request = replace(request, source=replace(request.source, fetch_source=SourceFilter(False)))
    if not raw.strip():
        return request
    given = read_body(raw).value
    # What is no object counts as an empty one.
    search = as_hash_map(given) if isinstance(given, dict) else {}
    request = _with_own_fields(request, search)
    # What is left is a search of its own, and its faults are placed within it.
    source = _with_batch_size(parse_search(read_body(msgspec.json.encode(search))))
    return replace(request, source=replace(source, fetch_source=source.fetch_source or request.source.fetch_source))


def _with_own_fields(request: ByScrollRequest, search: dict[str, Any]) -> ByScrollRequest:
    conflicts = search.pop("conflicts", None)
    if conflicts is not None:
        if not isinstance(conflicts, str):
            raise class_cast(conflicts, "java.lang.String")
        request = replace(request, abort_on_conflict=parse_conflicts(conflicts))
    if request.kind is Kind.UPDATE_BY_QUERY:
        script = search.pop("script", None)
        if script is not None:
            request = replace(request, script=parse_script(script))
    max_docs = search.pop("max_docs", None)
    if max_docs is None:
        return request
    if isinstance(max_docs, bool) or not isinstance(max_docs, int | float):
        raise class_cast(max_docs, "java.lang.Number")
    return with_max_docs_once(request, int(max_docs))
