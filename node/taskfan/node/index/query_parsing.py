"""Queries read from the body of a search, with OpenSearch's words for what is wrong with them. Pure.

Source: OpenSearch `AbstractQueryBuilder.parseInnerQueryBuilder` and the `fromXContent` of each query. Differs: the
queries that are not there are refused by an error that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import msgspec

from taskfan.node.errors import IllegalArgument, TaskfanError
from taskfan.node.index.errors import IllegalState, NamedObjectNotFound, NotSimulated, ParsingFailed, XContentParse
from taskfan.node.index.field_values import java_text
from taskfan.node.index.query import Bool, Exists, Ids, Match, MatchAll, MatchNone, Query, Range, Regexp, Terms
from taskfan.node.index.regexps import DEFAULT_MAX_DETERMINIZED_STATES
from taskfan.node.index.suggestions import did_you_mean
from taskfan.node.index.x_content import Body, Part, Path, Place, token_name

MAX_DEPTH = 30
MAX_CLAUSES = 1024
# What OpenSearch itself knows, for its advice on a name that nobody knows.
_OPENSEARCH_QUERIES = (
    *("match", "match_phrase", "match_phrase_prefix", "multi_match", "nested", "dis_max", "match_all", "query_string"),
    *("boosting", "bool", "term", "terms", "fuzzy", "regexp", "range", "prefix", "wildcard", "constant_score"),
    *("span_term", "span_not", "span_within", "span_containing", "span_near", "span_or", "more_like_this", "wrapper"),
    *("common", "span_multi", "function_score", "script_score", "simple_query_string", "template", "hybrid"),
    *(
        "geo_bounding_box",
        "geo_distance",
        "geo_polygon",
        "exists",
        "match_none",
        "terms_set",
        "ids",
        "distance_feature",
    ),
    *("intervals", "match_bool_prefix", "script", "type", "field_masking_span", "span_first", "geo_shape"),
)


class _EmptyClause(IllegalArgument):
    """A query without a name."""

    def __init__(self, place: Place) -> None:
        super().__init__(f"query malformed, empty clause found at [{place.line}:{place.column}]")
        self.place = place


class _At(msgspec.Struct, frozen=True):
    """A place in a body, and the value there."""

    body: Body
    path: Path
    value: Any
    depth: int = 0

    def inner(self, *steps: str | int) -> _At:
        value = self.value
        for step in steps:
            value = value[step]
        return _At(self.body, (*self.path, *steps), value, self.depth)


def parse_query(body: Body, path: Path, value: Any) -> Query:
    """The query at a place of a body.

    Raises:
        ParsingFailed, XContentParse, IllegalArgument: in the words of OpenSearch, with the place.
    """
    return _parse(_At(body, path, value))


def _parse(at: _At) -> Query:
    if not at.value:
        raise _EmptyClause(at.body.place(at.path, "end"))
    if at.depth > MAX_DEPTH:
        raise IllegalArgument(
            f"The nested depth of the query exceeds the maximum nested depth for bool queries set in [{MAX_DEPTH}]"
        )
    name = next(iter(at.value))
    inner = at.inner(name)
    if not isinstance(inner.value, dict):
        raise at.body.parsing_failed(f"[{name}] query malformed, no start_object after query name", inner.path)
    parser = _PARSERS.get(name)
    if parser is None:
        if name in _OPENSEARCH_QUERIES:
            raise NotSimulated(name, "a query", _PARSERS)
        cause = NamedObjectNotFound(f"unknown field [{name}]", *at.body.place(inner.path))
        advice = did_you_mean(name, _OPENSEARCH_QUERIES)
        raise at.body.parsing_failed(f"unknown query [{name}]{advice}", inner.path, cause=cause)
    query = parser(inner)
    if len(at.value) > 1:
        second = list(at.value)[1]
        message = f"[{name}] malformed query, expected [END_OBJECT] but found [FIELD_NAME]"
        raise at.body.parsing_failed(message, (*at.path, second), "key")
    return query


def _parse_match_all(at: _At) -> Query:
    _check_bare(at, "match_all")
    return MatchAll()


def _parse_match_none(at: _At) -> Query:
    _check_bare(at, "match_none")
    return MatchNone()


def _check_bare(at: _At, name: str) -> None:
    for key in at.value:
        if key not in ("boost", "_name"):
            cause = at.body.x_content_parse(f"[{name}] unknown field [{key}]", (*at.path, key), "key")
            raise at.body.parsing_failed(cause.reason or "", (*at.path, key), cause=cause)


def _one_field(at: _At, name: str) -> tuple[str, _At]:
    """The one field that a query like `{"term": {"field": …}}` is about."""
    fields = [key for key in at.value if key not in ("boost", "_name")]
    if not fields or not fields[0]:
        raise IllegalArgument("field name is null or empty")
    if len(fields) > 1:
        message = f"[{name}] query doesn't support multiple fields, found [{fields[0]}] and [{fields[1]}]"
        raise at.body.parsing_failed(message, (*at.path, fields[1]))
    return fields[0], at.inner(fields[0])


def _options(at: _At, name: str, known: Collection[str]) -> dict[str, Any]:
    """The long form of a query on a field; each option checked."""
    for key, value in at.value.items():
        if key not in known and key not in ("boost", "_name"):
            raise at.body.parsing_failed(f"[{name}] query does not support [{key}]", (*at.path, key))
        if isinstance(value, list | dict):
            message = f"[{name}] unknown token [{token_name(value)}] after [{key}]"
            raise at.body.parsing_failed(message, (*at.path, key))
    return dict(at.value)


def _parse_match(at: _At) -> Query:
    name, inner = _one_field(at, "match")
    if isinstance(inner.value, list):
        line, column = at.body.place(inner.path)
        raise IllegalState(f"Can't get text on a START_ARRAY at {line}:{column}")
    if inner.value is None:
        raise at.body.parsing_failed("No text specified for text query", at.path, "end")
    if not isinstance(inner.value, dict):
        return Match(name, java_text(inner.value))
    known = (
        *("query", "operator", "minimum_should_match", "analyzer", "lenient", "zero_terms_query", "prefix_length"),
        *("max_expansions", "fuzzy_transpositions", "auto_generate_synonyms_phrase_query", "fuzzy_rewrite"),
    )
    options = _options(inner, "match", known)
    if options.get("query") is None:
        raise at.body.parsing_failed("No text specified for text query", at.path, "end")
    operator = str(options.get("operator", "or")).upper()
    if operator not in ("OR", "AND"):
        raise IllegalArgument(f"No enum constant org.opensearch.index.query.Operator.{operator}")
    minimum = options.get("minimum_should_match")
    return Match(name, java_text(options["query"]), operator, None if minimum is None else str(minimum))


def _parse_term(at: _At) -> Query:
    name, inner = _one_field(at, "term")
    if inner.value is None:
        raise IllegalArgument("field name is null or empty")
    if isinstance(inner.value, list):
        raise at.body.parsing_failed("[term] query does not support array of values", inner.path)
    if not isinstance(inner.value, dict):
        return Terms(name, (_given(inner.value),), single=True)
    options = _options(inner, "term", ("value", "case_insensitive"))
    return Terms(name, (_given(options.get("value")),), single=True)


def _given(value: Any) -> Any:
    if value is None:
        raise IllegalArgument("value cannot be null")
    return value


def _parse_terms(at: _At) -> Query:
    fields = [key for key in at.value if key not in ("boost", "_name", "value_type")]
    if not fields:
        message = "[terms] query requires a field name, followed by array of terms or a document lookup specification"
        raise at.body.parsing_failed(message, at.path, "end")
    if len(fields) > 1:
        raise at.body.parsing_failed("[terms] query does not support multiple fields", (*at.path, fields[1]))
    name, inner = fields[0], at.inner(fields[0])
    if isinstance(inner.value, dict):
        raise at.body.parsing_failed("[terms] query does not support a terms lookup here", inner.path)
    if not isinstance(inner.value, list):
        raise at.body.parsing_failed(f"[terms] query does not support [{name}]", inner.path)
    if any(value is None for value in inner.value):
        raise IllegalArgument("No value specified for terms query")
    return Terms(name, tuple(inner.value))


def _parse_ids(at: _At) -> Query:
    for key in at.value:
        if key not in ("values", "boost", "_name"):
            cause = at.body.x_content_parse(f"[ids] unknown field [{key}]", (*at.path, key), "key")
            raise at.body.parsing_failed(cause.reason or "", (*at.path, key), cause=cause)
    values = at.value.get("values", [])
    return Ids(tuple(java_text(value) for value in (values if isinstance(values, list) else [values])))


def _parse_range(at: _At) -> Query:
    name, inner = _one_field(at, "range")
    if not isinstance(inner.value, dict):
        raise at.body.parsing_failed(f"[range] query does not support [{name}]", inner.path)
    known = (
        "gt",
        "gte",
        "lt",
        "lte",
        "from",
        "to",
        "include_lower",
        "include_upper",
        "time_zone",
        "format",
        "relation",
    )
    options = _options(inner, "range", known)
    lower = next((options[key] for key in ("gte", "gt", "from") if key in options), None)
    upper = next((options[key] for key in ("lte", "lt", "to") if key in options), None)
    include_lower = "gt" not in options and bool(options.get("include_lower", True))
    include_upper = "lt" not in options and bool(options.get("include_upper", True))
    return Range(name, lower, upper, include_lower, include_upper)


def _parse_exists(at: _At) -> Query:
    options = _options(at, "exists", ("field",))
    if "field" not in options:
        raise at.body.parsing_failed("[exists] must be provided with a [field]", at.path, "end")
    return Exists(str(options["field"]))


def _parse_regexp(at: _At) -> Query:
    name, inner = _one_field(at, "regexp")
    if isinstance(inner.value, list):
        raise at.body.parsing_failed("[regexp] query does not support array of values", inner.path)
    if not isinstance(inner.value, dict):
        return Regexp(name, java_text(inner.value))
    known = ("value", "flags", "flags_value", "max_determinized_states", "rewrite", "case_insensitive")
    options = _options(inner, "regexp", known)
    states = options.get("max_determinized_states", DEFAULT_MAX_DETERMINIZED_STATES)
    return Regexp(name, java_text(_given(options.get("value"))), int(states), bool(options.get("case_insensitive")))


def _parse_bool(at: _At) -> Query:
    clauses: dict[str, tuple[Query, ...]] = {}
    for key, value in at.value.items():
        if key in ("must", "should", "must_not", "filter", "mustNot"):
            clauses[{"mustNot": "must_not"}.get(key, key)] = _parse_clauses(at, key, value)
        elif key not in ("minimum_should_match", "adjust_pure_negative", "boost", "_name"):
            raise at.body.x_content_parse(f"[bool] unknown field [{key}]", (*at.path, key), "key")
    if sum(map(len, clauses.values())) > MAX_CLAUSES:
        raise IllegalArgument(f"maxClauseCount is set to {MAX_CLAUSES}")
    minimum = at.value.get("minimum_should_match")
    return Bool(**clauses, minimum_should_match=None if minimum is None else java_text(minimum))


def _parse_clauses(at: _At, key: str, value: Any) -> tuple[Query, ...]:
    if value is None:
        return ()
    places = [at.inner(key)] if isinstance(value, dict) else []
    if isinstance(value, list):
        places = [at.inner(key, place) for place in range(len(value))]
    elif not isinstance(value, dict):
        raise at.body.x_content_parse(
            f"[bool] {key} doesn't support values of type: {token_name(value)}", (*at.path, key)
        )
    found = []
    for number, place in enumerate(places):
        try:
            if not isinstance(place.value, dict):
                # The parser has gone on to what comes next.
                last = number + 1 == len(places)
                path = (*at.path, key) if last else places[number + 1].path
                part: Part = "end" if last else "value"
                raise at.body.parsing_failed("[_na] query malformed, must start with start_object", path, part)
            found.append(_parse(_At(place.body, place.path, place.value, at.depth + 1)))
        except TaskfanError as error:
            raise _in_clause(at.body, key, error, (*at.path, key)) from None
    return tuple(found)


def _in_clause(body: Body, key: str, error: TaskfanError, path: Path) -> XContentParse:
    """How `bool` passes on what was wrong inside of it: at the place where that was found."""
    if isinstance(error, _EmptyClause):
        place = error.place
    elif isinstance(error, ParsingFailed | XContentParse):
        place = Place(error.line, error.column)
    else:
        place = body.place(path)
    return XContentParse(f"[bool] failed to parse field [{key}]", *place, cause=error)


_PARSERS: Mapping[str, Callable[[_At], Query]] = {
    "match_all": _parse_match_all,
    "match_none": _parse_match_none,
    "match": _parse_match,
    "term": _parse_term,
    "terms": _parse_terms,
    "ids": _parse_ids,
    "range": _parse_range,
    "exists": _parse_exists,
    "regexp": _parse_regexp,
    "bool": _parse_bool,
}
