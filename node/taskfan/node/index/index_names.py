"""Names of indices: which are allowed, and which indices a request means. Pure.

Source: OpenSearch `MetadataCreateIndexService.validateIndexOrAliasName`, `IndexNameExpressionResolver`.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from taskfan.node.errors import IllegalArgument, IndexNotFound
from taskfan.node.index.errors import InvalidIndexName
from taskfan.node.index.metadata import IndexMetadata, Indices

MAX_NAME_BYTES = 255
# In the order in which OpenSearch prints its set of them.
_INVALID_CHARACTERS = ' "*\\<|,>/?'
ResourceType = Literal["index_or_alias", "index_expression"]


def check_new_name(name: str) -> None:
    """Whether an index may be called so.

    Raises:
        InvalidIndexName: it may not, for the first reason OpenSearch finds.
    """
    if not name:
        raise InvalidIndexName(name, "must not be empty")
    if any(character in _INVALID_CHARACTERS for character in name):
        shown = ", ".join(_INVALID_CHARACTERS)
        raise InvalidIndexName(name, f"must not contain the following characters [{shown}]")
    for character in "#:":
        if character in name:
            raise InvalidIndexName(name, f"must not contain '{character}'")
    if name[:1] in ("_", "-", "+"):
        raise InvalidIndexName(name, "must not start with '_', '-', or '+'")
    length = len(name.encode())
    if length > MAX_NAME_BYTES:
        raise InvalidIndexName(name, f"index name is too long, ({length} > {MAX_NAME_BYTES})")
    if name in (".", ".."):
        raise InvalidIndexName(name, "must not be '.' or '..'")
    if name.lower() != name:
        raise InvalidIndexName(name, "must be lowercase")


class IndicesOptions(msgspec.Struct, frozen=True):
    """How names are read. The defaults are those of a search. Source: OpenSearch `IndicesOptions`."""

    ignore_unavailable: bool = False
    allow_no_indices: bool = True
    expand_open: bool = True
    expand_hidden: bool = False
    # Writes and single gets name one index and expand nothing.
    single: bool = False
    resource_type: ResourceType = "index_or_alias"

    @property
    def expands(self) -> bool:
        """Whether a wildcard means anything."""
        return self.expand_open

    @classmethod
    def from_parameters(
        cls, ignore_unavailable: bool | None, allow_no_indices: bool | None, expand_wildcards: str | None
    ) -> IndicesOptions:
        """The options that three URL parameters make of the defaults.

        Raises:
            IllegalArgument: `No valid expand wildcard value [x]`.
        """
        expand_open, expand_hidden = True, False
        for value in (expand_wildcards or "open").split(","):
            if value not in ("open", "closed", "hidden", "none", "all"):
                raise IllegalArgument(f"No valid expand wildcard value [{value}]")
        if expand_wildcards is not None:
            given = expand_wildcards.split(",")
            expand_open = "open" in given or "all" in given
            expand_hidden = "hidden" in given or "all" in given
        allow = True if allow_no_indices is None else allow_no_indices
        return cls(bool(ignore_unavailable), allow, expand_open, expand_hidden)


SEARCH_OPTIONS = IndicesOptions()
SINGLE_INDEX_OPTIONS = IndicesOptions(single=True, allow_no_indices=False, resource_type="index_expression")


def split_names(text: str | None) -> list[str]:
    """The names of a path or parameter: split at commas; empty ones at the end vanish, as Java's `split` has it."""
    names = (text or "").split(",")
    while names and not names[-1]:
        names.pop()
    return names


def resolve(indices: Indices, names: Sequence[str], options: IndicesOptions = SEARCH_OPTIONS) -> list[IndexMetadata]:
    """The indices that names, wildcards and exclusions mean, each once, in the order they were met; wildcards by name.

    No names, `_all` and `*` mean all that are not hidden.

    Raises:
        IndexNotFound: a name means nothing and may not, or nothing is left and that may not be.
        InvalidIndexName: a name begins with `_`.
        IllegalArgument: several names where one is allowed.
    """
    if options.single:
        return [_single(indices, names, options)]
    found: dict[str, IndexMetadata] = {}
    wildcard_seen = False
    for name in names or ["_all"]:
        matched, wildcard_seen = _resolve_one(indices, name, found, wildcard_seen, options)
        found.update({index.name: index for index in matched})
    if not found and not options.allow_no_indices:
        raise IndexNotFound(",".join(names) or "_all", "index_expression")
    return list(found.values())


def _resolve_one(
    indices: Indices, name: str, found: dict[str, IndexMetadata], wildcard_seen: bool, options: IndicesOptions
) -> tuple[list[IndexMetadata], bool]:
    # A minus excludes only after a wildcard, or with one of its own; else it is part of a name.
    excludes = name.startswith("-") and (wildcard_seen or "*" in name)
    pattern = name[1:] if excludes else name
    wildcard = "*" in pattern or pattern == "_all"
    if wildcard and not options.expands:
        return [], True
    if not wildcard:
        matched = _named(indices, pattern, options, excludes)
    else:
        matched = _expanded(indices, pattern, options)
        if not matched and not excludes and not options.allow_no_indices:
            raise IndexNotFound(name, options.resource_type)
    if excludes:
        for index in matched:
            found.pop(index.name, None)
        return [], True
    return matched, wildcard_seen or wildcard


def _named(indices: Indices, name: str, options: IndicesOptions, excludes: bool) -> list[IndexMetadata]:
    index = indices.get(name)
    if index is not None:
        return [index]
    if name.startswith("_"):
        raise InvalidIndexName(name, "must not start with '_'.")
    if not excludes and not options.ignore_unavailable:
        raise IndexNotFound(name, options.resource_type)
    return []


def _expanded(indices: Indices, pattern: str, options: IndicesOptions) -> list[IndexMetadata]:
    match_all = pattern in ("_all", "*")
    regex = re.compile(fnmatch.translate("*" if match_all else pattern.replace("[", "[[]").replace("?", "[?]")))
    matched = []
    for index in sorted(indices.metadata.values(), key=lambda index: index.name):
        names = [index.name, *index.aliases]
        if not any(regex.match(name) for name in names):
            continue
        # Hidden indices show to patterns that begin with a dot, as their names do.
        implied = pattern.startswith(".") and index.name.startswith(".")
        if not index.hidden or options.expand_hidden or implied:
            matched.append(index)
    return matched


def _single(indices: Indices, names: Sequence[str], options: IndicesOptions) -> IndexMetadata:
    name = ",".join(names)
    index = indices.get(name)
    if index is None:
        raise IndexNotFound(name, options.resource_type)
    return index


def to_auto_create(indices: Indices, name: str) -> bool:
    """Whether a write to this name makes an index of it first.

    Raises:
        InvalidIndexName: the name cannot be that of an index.

    Source: OpenSearch `AutoCreateIndex`, with its default of true.
    """
    if indices.get(name) is not None:
        return False
    check_new_name(name)
    return True
