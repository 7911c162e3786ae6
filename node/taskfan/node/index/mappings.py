"""The mapping of an index: which fields there are, of which type, and how new ones come to be. Pure.

A mapping is the JSON object a client reads, kept as it is shown; `FieldTypes` is what searches need of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import msgspec

from taskfan.node.errors import IllegalArgument
from taskfan.node.index import dates
from taskfan.node.index.errors import MapperParsing, StrictDynamicMapping
from taskfan.node.index.field_values import FIELD_TYPES, check_value
from taskfan.node.index.field_values import java_text as _java_text

TEXT_WITH_KEYWORD: Mapping[str, Any] = {
    "type": "text",
    "fields": {"keyword": {"type": "keyword", "ignore_above": 256}},
}
_SLASHED_DATE: Mapping[str, Any] = {
    "type": "date",
    "format": "yyyy/MM/dd HH:mm:ss||yyyy/MM/dd||epoch_millis",
    "print_format": "yyyy/MM/dd HH:mm:ss",
}
_ROOT_PARAMETERS = {
    *("dynamic", "properties", "_meta", "_source", "_routing", "_data_stream_timestamp", "date_detection"),
    *("numeric_detection", "dynamic_templates", "dynamic_date_formats"),
}
_FIELD_PARAMETERS = {
    *("type", "fields", "ignore_above", "index", "store", "doc_values", "norms", "boost", "null_value", "format"),
    *("analyzer", "search_analyzer", "copy_to", "coerce", "ignore_malformed", "scaling_factor", "similarity", "meta"),
    *("fielddata", "index_options", "normalizer", "print_format", "eager_global_ordinals", "path", "locale"),
    *("split_queries_on_whitespace", "term_vector", "index_prefixes", "index_phrases", "position_increment_gap"),
}
_METADATA_FIELDS = {"_id", "_index", "_routing", "_source", "_type", "_seq_no", "_version", "_field_names", "_ignored"}
# A mapping may not grow without end. Source: `index.mapping.total_fields.limit`, `index.mapping.depth.limit`.
MAX_FIELDS, MAX_DEPTH = 1000, 20


class FieldType(msgspec.Struct, frozen=True):
    """One searchable field. `path` is where its values are in a document, which for a sub-field is its parent's."""

    name: str
    path: tuple[str, ...]
    type: str
    ignore_above: int | None = None


class FieldTypes:
    """The searchable fields of a mapping, by their full names."""

    def __init__(self, mapping: Mapping[str, Any]) -> None:
        self._mapping = mapping

    @cached_property
    def _fields(self) -> dict[str, FieldType]:
        return {field.name: field for field in _fields_of(self._mapping.get("properties", {}), ())}

    def get(self, name: str) -> FieldType | None:
        """The field of that name, or None."""
        return self._fields.get(name)

    def under(self, name: str) -> list[FieldType]:
        """The fields of an object, at any depth."""
        return [field for field in self._fields.values() if field.name.startswith(f"{name}.")]


def _fields_of(properties: Mapping[str, Any], parents: tuple[str, ...]) -> Iterator[FieldType]:
    for name, field in properties.items():
        path = (*parents, name)
        if "properties" in field or field.get("type") in (None, "object", "nested"):
            yield from _fields_of(field.get("properties", {}), path)
            continue
        full_name = ".".join(path)
        yield FieldType(full_name, path, field["type"], field.get("ignore_above"))
        for sub_name, sub_field in field.get("fields", {}).items():
            yield FieldType(f"{full_name}.{sub_name}", path, sub_field["type"], sub_field.get("ignore_above"))


def checked_mapping(given: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping a client gave, as it will be shown: keys sorted as OpenSearch sorts them.

    Raises:
        MapperParsing: with the words of OpenSearch, about the mapping or a field.
    """
    unknown = {name: value for name, value in given.items() if name not in _ROOT_PARAMETERS}
    if unknown:
        raise MapperParsing("Root mapping definition has unsupported parameters: " + "".join(_java_entries(unknown)))
    mapping: dict[str, Any] = {}
    if "dynamic" in given:
        mapping["dynamic"] = _java_text(given["dynamic"])
    mapping |= {name: given[name] for name in sorted(given) if name not in ("dynamic", "properties", "_source")}
    if given.get("_source", {}) not in ({}, {"enabled": True}):
        mapping["_source"] = given["_source"]
    if given.get("properties"):
        mapping["properties"] = _checked_properties(given["properties"])
    return mapping


def failed_to_parse(error: MapperParsing) -> MapperParsing:
    """How the creation of an index words a fault of its mapping."""
    return MapperParsing(f"Failed to parse mapping [_doc]: {error.reason}", cause=error)


def _checked_properties(properties: Any) -> dict[str, Any]:
    if not isinstance(properties, dict):
        raise MapperParsing("Expected map for property [properties] on field [_doc] but got a class java.lang.String")
    return {name: _checked_field(name, properties[name]) for name in sorted(properties)}


def _checked_field(name: str, field: Any) -> dict[str, Any]:
    if not isinstance(field, dict):
        raise MapperParsing(f"Expected map for property [fields] on field [{name}] but got a {_java_text(field)}")
    if "properties" in field or field.get("type") in ("object", "nested"):
        shown = {key: _java_text(value) if key == "dynamic" else value for key, value in field.items()}
        if "properties" in field:
            shown["properties"] = _checked_properties(field["properties"])
        if shown.get("properties"):
            return {key: value for key, value in shown.items() if (key, value) != ("type", "object")}
        # An object without fields must say that it is one.
        return {"type": "object", **shown}
    if "type" not in field:
        raise MapperParsing(f"No type specified for field [{name}]")
    if field["type"] not in FIELD_TYPES:
        raise MapperParsing(f"No handler for type [{field['type']}] declared on field [{name}]")
    for parameter in field:
        if parameter not in _FIELD_PARAMETERS:
            raise MapperParsing(f"unknown parameter [{parameter}] on mapper [{name}] of type [{field['type']}]")
    sub_fields = {key: _checked_field(key, value) for key, value in field.get("fields", {}).items()}
    return {**field, "fields": sub_fields} if sub_fields else dict(field)


def merged(mapping: Mapping[str, Any], addition: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping with another put over it.

    Raises:
        IllegalArgument: a field would change its type.
    """
    properties = _merged_properties(mapping.get("properties", {}), addition.get("properties", {}), "")
    if sum(1 for _ in _fields_of(properties, ())) > MAX_FIELDS:
        raise IllegalArgument(f"Limit of total fields [{MAX_FIELDS}] has been exceeded")
    rest = {name: value for name, value in {**mapping, **addition}.items() if name != "properties"}
    return {**rest, "properties": properties} if properties else rest


def _merged_properties(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    together = {name: dict(field) for name, field in old.items()}
    for name, field in new.items():
        known = together.get(name)
        if known is None:
            together[name] = dict(field)
        elif "properties" in known or "properties" in field:
            _check_same_type(f"{prefix}{name}", known, field)
            inner = _merged_properties(known.get("properties", {}), field.get("properties", {}), f"{prefix}{name}.")
            together[name] = {**known, **field, "properties": inner}
        else:
            _check_same_type(f"{prefix}{name}", known, field)
            sub_fields = {**known.get("fields", {}), **field.get("fields", {})}
            together[name] = {**field, "fields": sub_fields} if sub_fields else dict(field)
    return dict(sorted(together.items()))


def _check_same_type(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    old_type, new_type = (field.get("type", "object") for field in (old, new))
    if old_type != new_type:
        raise IllegalArgument(f"mapper [{name}] cannot be changed from type [{old_type}] to [{new_type}]")


def mapping_update(mapping: Mapping[str, Any], source: Mapping[str, Any], document_id: str) -> dict[str, Any] | None:
    """What a document adds to the mapping, or None if it fits as it is.

    Raises:
        MapperParsing: a value does not suit the type of its field.
        StrictDynamicMapping: a field is new, and no new ones are allowed.

    Source: OpenSearch `DocumentParser.parseDocument`.
    """
    dynamic = mapping.get("dynamic", "true")
    properties = mapping.get("properties", {})
    found = _DocumentParser(document_id, mapping.get("date_detection", True)).walk(source, properties, dynamic, ())
    return {"properties": found} if found else None


class _DocumentParser(msgspec.Struct):
    document_id: str
    date_detection: bool

    def walk(
        self, source: Mapping[str, Any], properties: Mapping[str, Any], dynamic: str, parents: tuple[str, ...]
    ) -> dict[str, Any]:
        """The new fields of one object of a document, as properties."""
        new: dict[str, Any] = {}
        for name, value in source.items():
            if "." in name or not name or name[0] == "_":
                self._check_name(name, value, parents)
            if "." in name:
                head, rest = name.split(".", 1)
                name, value = head, {rest: value}
            field = properties.get(name)
            if field is None and name in new:
                field = new[name]
            found = self._field(name, value, field, dynamic, parents)
            if found:
                new[name] = found if name not in new else _merged_properties(new, {name: found}, "")[name]
        return new

    def _check_name(self, name: str, value: Any, parents: tuple[str, ...]) -> None:
        if name in _METADATA_FIELDS and not parents:
            cause = MapperParsing(
                f"Field [{name}] is a metadata field and cannot be added inside a document. "
                "Use the index API request parameters."
            )
            preview = f"in document with id '{self.document_id}'. Preview of field's value: '{_java_text(value)}'"
            raise MapperParsing(f"failed to parse field [{name}] of type [{name}] {preview}", cause=cause)
        if not name:
            raise MapperParsing("failed to parse", cause=IllegalArgument("field name cannot be an empty string"))
        if name[0] == "." or name[-1] == "." or ".." in name:
            ambiguous = f"object field starting or ending with a [.] makes object resolution ambiguous: [{name}]"
            raise MapperParsing("failed to parse", cause=IllegalArgument(ambiguous))

    def _field(
        self, name: str, value: Any, field: Mapping[str, Any] | None, dynamic: str, parents: tuple[str, ...]
    ) -> dict[str, Any] | None:
        if isinstance(value, list):
            return self._array(name, value, field, dynamic, parents)
        if field is not None:
            return self._known(name, value, field, dynamic, parents)
        if value is None or dynamic in ("false", "runtime"):
            return None
        if dynamic == "strict":
            within = ".".join(parents) or "_doc"
            raise StrictDynamicMapping(
                f"mapping set to strict, dynamic introduction of [{name}] within [{within}] is not allowed"
            )
        return self._dynamic(value, dynamic, (*parents, name))

    def _array(
        self, name: str, values: list[Any], field: Mapping[str, Any] | None, dynamic: str, parents: tuple[str, ...]
    ) -> dict[str, Any] | None:
        together: dict[str, Any] | None = None
        for value in values:
            known = field if together is None else {**(field or {}), **together}
            found = self._field(name, value, known, dynamic, parents)
            if found is not None:
                together = found if together is None else _merged_properties({name: together}, {name: found}, "")[name]
        return together

    def _known(
        self, name: str, value: Any, field: Mapping[str, Any], dynamic: str, parents: tuple[str, ...]
    ) -> dict[str, Any] | None:
        path = (*parents, name)
        if "properties" not in field and field.get("type") not in (None, "object", "nested"):
            check_value(".".join(path), field["type"], value, self.document_id)
            return None
        if value is None or field.get("enabled") in (False, "false"):
            # What is not enabled is kept, and never looked at.
            return None
        if not isinstance(value, dict):
            raise MapperParsing(
                f"object mapping for [{'.'.join(path)}] tried to parse field [{name}] as object, "
                "but found a concrete value"
            )
        inner = self.walk(value, field.get("properties", {}), field.get("dynamic", dynamic), path)
        # Only what is new; the type of a nested object must be repeated, for it is not the default one.
        kept = {"type": field["type"]} if "type" in field else {}
        return {**kept, "properties": inner} if inner else None

    def _dynamic(self, value: Any, dynamic: str, path: tuple[str, ...]) -> dict[str, Any]:
        if len(path) > MAX_DEPTH:
            raise IllegalArgument(
                f"Limit of mapping depth [{MAX_DEPTH}] has been exceeded due to object field [{path[0]}]"
            )
        match value:
            case dict():
                inner = self.walk(value, {}, dynamic, path)
                return {"properties": inner} if inner else {"type": "object"}
            case bool():
                return {"type": "boolean"}
            case int():
                # A number that no long holds is refused, as any value that its field cannot hold.
                check_value(".".join(path), "long", value, self.document_id)
                return {"type": "long"}
            case float():
                return {"type": "float"}
        return self._dynamic_text(value)

    def _dynamic_text(self, text: str) -> dict[str, Any]:
        kind = dates.detected(text) if self.date_detection else None
        if kind == "iso":
            return {"type": "date"}
        return dict(_SLASHED_DATE) if kind == "slashed" else dict(TEXT_WITH_KEYWORD)


def _java_entries(entries: Mapping[str, Any]) -> Iterator[str]:
    for name, value in entries.items():
        yield f" [{name} : {_java_text(value)}]"
