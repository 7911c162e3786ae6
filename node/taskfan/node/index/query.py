"""Queries: the ones that are known here, as values. Pure.

Source: OpenSearch `QueryBuilder` and its classes.
"""

from __future__ import annotations

from typing import Any

import msgspec

from taskfan.node.index.regexps import DEFAULT_MAX_DETERMINIZED_STATES


class MatchAll(msgspec.Struct, frozen=True):
    """Every document."""


class MatchNone(msgspec.Struct, frozen=True):
    """No document."""


class Match(msgspec.Struct, frozen=True):
    """Documents with one, or with all, or with so many, of the words of `text`."""

    field: str
    text: str
    operator: str = "OR"
    minimum_should_match: str | None = None


class Terms(msgspec.Struct, frozen=True):
    """Documents that hold one of these values. `single` is a `term` query."""

    field: str
    values: tuple[Any, ...]
    single: bool = False


class Ids(msgspec.Struct, frozen=True):
    """Documents with one of these ids."""

    values: tuple[str, ...]


class Range(msgspec.Struct, frozen=True):
    """Documents with a value between two; None is no bound."""

    field: str
    lower: Any = None
    upper: Any = None
    include_lower: bool = True
    include_upper: bool = True


class Exists(msgspec.Struct, frozen=True):
    """Documents that have a value there at all."""

    field: str


class Regexp(msgspec.Struct, frozen=True):
    """Documents with a value that matches a regular expression as a whole."""

    field: str
    value: str
    max_determinized_states: int = DEFAULT_MAX_DETERMINIZED_STATES
    case_insensitive: bool = False


class Bool(msgspec.Struct, frozen=True):
    """Several queries together."""

    must: tuple[Query, ...] = ()
    filter: tuple[Query, ...] = ()
    must_not: tuple[Query, ...] = ()
    should: tuple[Query, ...] = ()
    minimum_should_match: str | None = None


Query = MatchAll | MatchNone | Match | Terms | Ids | Range | Exists | Regexp | Bool


def to_object(query: Query) -> dict[str, Any]:
    """A query as OpenSearch writes it in the description of a search. Source: `doXContent` of each builder."""
    match query:
        case MatchAll():
            return {"match_all": {"boost": 1.0}}
        case MatchNone():
            return {"match_none": {"boost": 1.0}}
        case Match():
            return {"match": {query.field: _match_object(query)}}
        case Terms(name, values, True):
            return {"term": {name: {"value": values[0], "boost": 1.0}}}
        case Terms(name, values):
            return {"terms": {name: list(values), "boost": 1.0}}
        case Ids(values):
            return {"ids": {"values": sorted(values), "boost": 1.0}}
        case Range(name, lower, upper, include_lower, include_upper):
            bounds = {"from": lower, "to": upper, "include_lower": include_lower, "include_upper": include_upper}
            return {"range": {name: {**bounds, "boost": 1.0}}}
        case Exists(name):
            return {"exists": {"field": name, "boost": 1.0}}
        case Regexp(name, value, states):
            shown = {"value": value, "flags_value": 255, "max_determinized_states": states, "boost": 1.0}
            return {"regexp": {name: shown}}
    return {"bool": _bool_object(query)}


def _match_object(query: Match) -> dict[str, Any]:
    shown: dict[str, Any] = {"query": query.text, "operator": query.operator, "prefix_length": 0, "max_expansions": 50}
    if query.minimum_should_match is not None:
        shown["minimum_should_match"] = query.minimum_should_match
    rest = {"fuzzy_transpositions": True, "lenient": False, "zero_terms_query": "NONE"}
    return {**shown, **rest, "auto_generate_synonyms_phrase_query": True, "boost": 1.0}


def _bool_object(query: Bool) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, clauses in (
        ("must", query.must),
        ("filter", query.filter),
        ("must_not", query.must_not),
        ("should", query.should),
    ):
        if clauses:
            shown[name] = [to_object(clause) for clause in clauses]
    shown["adjust_pure_negative"] = True
    if query.minimum_should_match is not None:
        shown["minimum_should_match"] = query.minimum_should_match
    return {**shown, "boost": 1.0}
