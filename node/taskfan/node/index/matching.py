"""Queries put to documents: which of them match, and how high they score. Pure.

Differs: there is no scoring by rarity; every clause that scores gives 1, and those of a `bool` are added.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from taskfan.node.errors import IllegalArgument, NumberFormat, TaskfanError
from taskfan.node.index.documents import Document
from taskfan.node.index.errors import QueryShardFailed, ShardId
from taskfan.node.index.field_values import (
    NUMBERS,
    TEXTS,
    WHOLE_NUMBERS,
    comparable,
    java_text,
    values_at,
    words,
)
from taskfan.node.index.mappings import FieldType, FieldTypes
from taskfan.node.index.query import Bool, Exists, Ids, Match, MatchAll, MatchNone, Query, Range, Regexp, Terms
from taskfan.node.index.regexps import compile_regexp
from taskfan.node.index.x_content import read_document

_ID_FIELDS = ("_id", "_index", "_routing")


class Candidate:
    """A document that a search looks at; its source is read when a query first asks for it."""

    __slots__ = ("_source", "document")

    def __init__(self, document: Document) -> None:
        self.document = document
        self._source: dict[str, Any] | None = None

    @property
    def source(self) -> dict[str, Any]:
        """The source of the document."""
        if self._source is None:
            self._source = read_document(self.document.source or b"{}")
        return self._source


# The score of a document that matches, None for one that does not.
Matcher = Callable[[Candidate], float | None]


class Bound(msgspec.Struct):
    """A query bound to the fields of an index.

    `matches_all` lets a search take all documents without a look at any; `work_units` is what the query costs before
    it looks at any, in units of `regexps.WORK_UNIT_NS`.
    """

    matcher: Matcher
    work_units: int = 0
    matches_all: bool = False


def bind(query: Query, fields: FieldTypes, shard: ShardId) -> Bound:
    """Make a query ready for the documents of a shard.

    Raises:
        QueryShardFailed: the fields of the index do not allow it.
    """
    binder = _Binder(fields, shard)
    matcher = binder.bind(query)
    matches_all = isinstance(query, MatchAll) or (isinstance(query, Bool) and query == Bool())
    return Bound(matcher, binder.work_units, matches_all)


def _all(candidate: Candidate) -> float | None:
    return 1.0


def _none(candidate: Candidate) -> float | None:
    return None


class _Binder(msgspec.Struct):
    fields: FieldTypes
    shard: ShardId
    work_units: int = 0

    def bind(self, query: Query) -> Matcher:
        """The matcher of one query."""
        match query:
            case MatchAll():
                return _all
            case MatchNone():
                return _none
            case Ids(values):
                ids = frozenset(values)
                return lambda candidate: 1.0 if candidate.document.id in ids else None
            case Match():
                return self.match(query)
            case Terms():
                return self.terms(query)
            case Range():
                return self.range(query)
            case Exists():
                return self.exists(query)
            case Regexp():
                return self.regexp(query)
        return self.bool(query)

    def values(self, field: FieldType) -> Callable[[Candidate], Iterator[Any]]:
        """All values of a field, as they are compared."""
        path, kind, longest = field.path, field.type, field.ignore_above

        def found(candidate: Candidate) -> Iterator[Any]:
            for value in values_at(candidate.source, path):
                compared = comparable(kind, value)
                if longest is None or len(compared) <= longest:
                    yield compared

        return found

    def match(self, query: Match) -> Matcher:
        field = self.fields.get(query.field)
        if field is None or field.type != "text":
            # Without analysis, a match is a term query.
            return self.terms(Terms(query.field, (query.text,), single=True))
        wanted = list(dict.fromkeys(words(query.text)))
        least = len(wanted) if query.operator == "AND" else _least(query.minimum_should_match, len(wanted), 1)
        values = self.values(field)

        def matcher(candidate: Candidate) -> float | None:
            there = {word for value in values(candidate) for word in words(value)}
            hits = sum(word in there for word in wanted)
            return float(hits) if hits and hits >= least else None

        return matcher

    def terms(self, query: Terms) -> Matcher:
        if query.field in _ID_FIELDS:
            return self.metadata(query)
        field = self.fields.get(query.field)
        if field is None:
            return _none
        wanted = frozenset(self.term(field, value) for value in query.values)
        values = self.values(field)
        if field.type == "text":
            return lambda candidate: (
                1.0 if any(word in wanted for value in values(candidate) for word in words(value)) else None
            )
        return lambda candidate: 1.0 if any(value in wanted for value in values(candidate)) else None

    def metadata(self, query: Terms) -> Matcher:
        wanted = frozenset(map(java_text, query.values))
        match query.field:
            case "_id":
                return lambda candidate: 1.0 if candidate.document.id in wanted else None
            case "_routing":
                return lambda candidate: 1.0 if candidate.document.routing in wanted else None
        return _all if self.shard.index in wanted else _none

    def term(self, field: FieldType, value: Any) -> Any:
        """A value of a query, as the field compares it."""
        if field.type in NUMBERS and isinstance(value, str):
            found = comparable(field.type, value) if value else None
            if found is None:
                raise self.failed(NumberFormat.of(value))
            return found
        if field.type in WHOLE_NUMBERS and isinstance(value, float) and value != int(value):
            # No whole number equals it.
            return value
        if field.type in ("date", "date_nanos") and isinstance(value, str) and comparable(field.type, value) is None:
            raise self.failed(_bad_date(value))
        return comparable(field.type, value)

    def failed(self, cause: TaskfanError) -> QueryShardFailed:
        return QueryShardFailed(self.shard, f"failed to create query: {cause.reason}", cause=cause)

    def range(self, query: Range) -> Matcher:
        field = self.fields.get(query.field)
        if field is None:
            return _none
        lower = None if query.lower is None else self.term(field, query.lower)
        upper = None if query.upper is None else self.term(field, query.upper)
        values = self.values(field)

        def within(value: Any) -> bool:
            if lower is not None and (value < lower or (value == lower and not query.include_lower)):
                return False
            return upper is None or value < upper or (value == upper and query.include_upper)

        return lambda candidate: (
            1.0 if any(value is not None and within(value) for value in values(candidate)) else None
        )

    def exists(self, query: Exists) -> Matcher:
        field = self.fields.get(query.field)
        fields = self.fields.under(query.field) if field is None else [field]
        all_values = [self.values(found) for found in fields]
        return lambda candidate: 1.0 if any(True for values in all_values for _ in values(candidate)) else None

    def regexp(self, query: Regexp) -> Matcher:
        field = self.fields.get(query.field)
        if field is None:
            return _none
        if field.type not in TEXTS:
            raise QueryShardFailed(
                self.shard,
                f"Can only use regexp queries on keyword and text fields - not on [{field.name}] which is of type "
                f"[{field.type}]",
            )
        try:
            compiled = compile_regexp(query.value, query.max_determinized_states)
        except TaskfanError as error:
            raise self.failed(error) from None
        self.work_units += compiled.work_units
        values = self.values(field)
        if field.type == "text":
            return lambda candidate: (
                1.0 if any(compiled.matches(word) for value in values(candidate) for word in words(value)) else None
            )
        return lambda candidate: 1.0 if any(compiled.matches(value) for value in values(candidate)) else None

    def bool(self, query: Bool) -> Matcher:
        if query == Bool(minimum_should_match=query.minimum_should_match):
            return _all
        must, filters, must_not, should = (
            [self.bind(clause) for clause in clauses]
            for clauses in (query.must, query.filter, query.must_not, query.should)
        )
        needed = 0 if must or filters else 1
        least = _least(query.minimum_should_match, len(should), needed) if should else 0

        def matcher(candidate: Candidate) -> float | None:
            total = 0.0
            for clause in must:
                score = clause(candidate)
                if score is None:
                    return None
                total += score
            if any(clause(candidate) is None for clause in filters):
                return None
            if any(clause(candidate) is not None for clause in must_not):
                return None
            scores = [score for clause in should if (score := clause(candidate)) is not None]
            return total + sum(scores) if len(scores) >= least else None

        return matcher


def _bad_date(text: str) -> IllegalArgument:
    cause = TaskfanError("Failed to parse with all enclosed parsers")
    cause.kind = "date_time_parse_exception"
    return IllegalArgument(
        f"failed to parse date field [{text}] with format [strict_date_optional_time||epoch_millis]", cause=cause
    )


def _least(given: str | None, optional: int, default: int) -> int:
    """How many optional clauses must match. Source: OpenSearch `Queries.calculateMinShouldMatch`."""
    if given is None:
        return default
    found = re.fullmatch(r"(-?\d+)(%?)", given.strip())
    if found is None:
        raise IllegalArgument(f'For input string: "{given}"')
    number = int(found[1])
    if found[2]:
        number = optional * abs(number) // 100 * (1 if number >= 0 else -1)
        number = number if number >= 0 and not given.strip().startswith("-") else optional + number
    elif number < 0:
        number = optional + number
    return max(0, min(number, optional))
