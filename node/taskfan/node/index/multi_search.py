"""Several searches in one request: their newline-delimited bodies. Pure.

Source: OpenSearch `MultiSearchRequest.readMultiLineFormat`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from taskfan.node.errors import IllegalArgument, ValidationFailed
from taskfan.node.index.errors import BodyUnreadable
from taskfan.node.index.index_names import IndicesOptions
from taskfan.node.index.search_source import SearchSource, read_search
from taskfan.node.index.x_content import read_body

_METADATA = {
    *("index", "indices", "search_type", "ccs_minimize_roundtrips", "request_cache", "preference", "routing"),
    *("allow_partial_search_results", "expand_wildcards", "ignore_unavailable", "allow_no_indices"),
    *("ignore_throttled", "cancel_after_time_interval", "phase_took"),
}


class SearchItem(msgspec.Struct, frozen=True):
    """One search of several."""

    indices: tuple[str, ...]
    options: IndicesOptions
    source: SearchSource
    raw_source: bytes
    allow_partial: bool = True
    cancel_after: str | None = None


def parse_multi_search(raw: bytes, indices: Sequence[str], options: IndicesOptions) -> list[SearchItem]:
    """The searches of a body, with the indices of the URL for those that name none.

    Raises:
        BodyUnreadable: it is empty.
        IllegalArgument: a line of metadata has a key that means nothing, or the last newline is missing.
        ParsingFailed: one of the searches is none; then none is done.
        ValidationFailed: there is no search in it.
    """
    if not raw:
        raise BodyUnreadable("request body or source parameter is required")
    lines = raw.split(b"\n")
    if lines.pop():
        raise IllegalArgument("The msearch request must be terminated by a newline [\n]")
    if lines and not lines[0]:
        # An empty first line is passed over.
        del lines[0]
    items = []
    for number in range(0, len(lines), 2):
        given = _metadata(lines[number])
        # Metadata without a search after it is read, and forgotten.
        if number + 1 < len(lines):
            items.append(_item(given, lines[number + 1], indices, options))
    if not items:
        raise ValidationFailed("no requests added")
    return items


def _metadata(line: bytes) -> dict[str, Any]:
    value = read_body(line).value if line.strip() else {}
    # What is no object says nothing.
    given: dict[str, Any] = value if isinstance(value, dict) else {}
    for name in given:
        if name not in _METADATA:
            raise IllegalArgument(f"key [{name}] is not supported in the metadata section")
    return given


def _item(given: dict[str, Any], source: bytes, indices: Sequence[str], options: IndicesOptions) -> SearchItem:
    named = given.get("index", given.get("indices"))
    return SearchItem(
        tuple(indices) if named is None else _names(named),
        _options(given, options),
        read_search(source),
        source,
        allow_partial=bool(given.get("allow_partial_search_results", True)),
        cancel_after=given.get("cancel_after_time_interval"),
    )


def _names(given: Any) -> tuple[str, ...]:
    return tuple(map(str, given)) if isinstance(given, list) else tuple(str(given).split(","))


def _options(given: dict[str, Any], options: IndicesOptions) -> IndicesOptions:
    if not given.keys() & {"expand_wildcards", "ignore_unavailable", "allow_no_indices"}:
        return options
    expand = given.get("expand_wildcards")
    return IndicesOptions.from_parameters(
        bool(given.get("ignore_unavailable", options.ignore_unavailable)),
        bool(given.get("allow_no_indices", options.allow_no_indices)),
        ",".join(expand) if isinstance(expand, list) else expand,
    )
