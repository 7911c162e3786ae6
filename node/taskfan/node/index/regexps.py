"""Regular expressions of a `regexp` query: what they match, and how much work it is to compile them. Pure.

Lucene turns a regular expression into a deterministic automaton, at a cost that may grow exponentially with its
length. Here that automaton is built only to count the work; matching runs on the nondeterministic one, whose cost is
that of the text times that of the expression. Source: Lucene `RegExp`, `Operations.determinize`.

Differs: of Lucene's operators `.` `?` `*` `+` `{}` `|` `()` `[]` `"…"` and escapes are known; the work that is counted
is near Lucene's, not equal to it; and beyond `MAX_WORK` every expression is too complex, whatever the request allows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import msgspec

from taskfan.node.errors import IllegalArgument
from taskfan.node.index.errors import TooComplexToDeterminize

DEFAULT_MAX_DETERMINIZED_STATES = 10_000
MAX_REPEAT = 1000
MAX_WORK = 1_000_000
# How long one unit of work takes a real node: 32 times 278,529 of them took it some 2.8 s.
WORK_UNIT_NS = 315
_ANY = ((0, 0x10FFFF),)
Ranges = tuple[tuple[int, int], ...]


class _Node(msgspec.Struct, frozen=True):
    """One part of an expression. `kind` is chars, concat, union or repeat (of `parts[0]`, `least` to `most` times)."""

    kind: str
    parts: tuple[_Node, ...] = ()
    ranges: Ranges = ()
    least: int = 0
    most: int | None = None


class _Parser(msgspec.Struct):
    text: str
    at: int = 0

    def parse(self) -> _Node:
        """The whole expression."""
        node = self.union()
        if self.at < len(self.text):
            raise IllegalArgument(f"end-of-string expected at position {self.at}")
        return node

    def union(self) -> _Node:
        parts = [self.concatenation()]
        while self.eat("|"):
            parts.append(self.concatenation())
        if all(part.kind == "chars" for part in parts):
            # One of several characters is a class of them.
            return _Node("chars", ranges=tuple(found for part in parts for found in part.ranges))
        return _Node("union", tuple(parts))

    def concatenation(self) -> _Node:
        parts = []
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            parts.append(self.repeated())
        return parts[0] if len(parts) == 1 else _Node("concat", tuple(parts))

    def repeated(self) -> _Node:
        node = self.simple()
        while self.at < len(self.text) and self.text[self.at] in "?*+{":
            operator = self.text[self.at]
            self.at += 1
            least, most = {"?": (0, 1), "*": (0, None), "+": (1, None)}.get(operator) or self.bounds()
            node = _Node("repeat", (node,), least=least, most=most)
        return node

    def bounds(self) -> tuple[int, int | None]:
        start = self.at
        found = re.compile(r"(\d+)(,(\d*))?\}").match(self.text, self.at)
        if found is None:
            raise IllegalArgument(f"integer expected at position {start}")
        self.at = found.end()
        least = int(found[1])
        most = least if found[2] is None else int(found[3]) if found[3] else None
        if most is not None and least > most:
            raise IllegalArgument(f"invalid repetition range(out of order): {least}..{most}")
        if max(least, most or 0) > MAX_REPEAT:
            raise IllegalArgument(f"invalid repetition range: more than {MAX_REPEAT}")
        return least, most

    def simple(self) -> _Node:
        if self.eat("."):
            return _Node("chars", ranges=_ANY)
        if self.eat("("):
            inner = _Node("concat") if self.text[self.at : self.at + 1] == ")" else self.union()
            self.expect(")")
            return inner
        if self.eat("["):
            return self.char_class()
        if self.eat('"'):
            end = self.text.find('"', self.at)
            if end < 0:
                raise IllegalArgument(f"expected '\"' at position {len(self.text)}")
            quoted, self.at = self.text[self.at : end], end + 1
            return _Node("concat", tuple(map(_char, quoted)))
        return _char(self.char())

    def char_class(self) -> _Node:
        negated = self.eat("^")
        ranges: list[tuple[int, int]] = []
        while self.text[self.at : self.at + 1] != "]" or not ranges:
            first = last = self.char()
            if self.text[self.at : self.at + 1] == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                last = self.char()
            if first > last:
                raise IllegalArgument(f"invalid range: from ({ord(first)}) cannot be > to ({ord(last)})")
            ranges.append((ord(first), ord(last)))
        self.expect("]")
        return _Node("chars", ranges=_complement(ranges) if negated else tuple(ranges))

    def char(self) -> str:
        self.eat("\\")
        if self.at >= len(self.text):
            raise IllegalArgument("unexpected end-of-string")
        self.at += 1
        return self.text[self.at - 1]

    def eat(self, character: str) -> bool:
        found = self.text.startswith(character, self.at)
        self.at += found
        return found

    def expect(self, character: str) -> None:
        if not self.eat(character):
            raise IllegalArgument(f"expected '{character}' at position {self.at}")


def _char(character: str) -> _Node:
    return _Node("chars", ranges=((ord(character), ord(character)),))


def _complement(ranges: list[tuple[int, int]]) -> Ranges:
    left, found = 0, []
    for first, last in sorted(ranges):
        if first > left:
            found.append((left, first - 1))
        left = max(left, last + 1)
    return (*found, (left, 0x10FFFF)) if left <= 0x10FFFF else tuple(found)


class _Positions(msgspec.Struct):
    """Glushkov's automaton: one state for each character of the expression, state 0 is the start.

    Repeats are unrolled, as Lucene does: `x{14}` has fourteen states.
    """

    ranges: list[Ranges]
    follow: list[int]
    limit: int

    def build(self, node: _Node) -> tuple[bool, int, int]:
        """Whether it may be empty, and the sets of first and last states, as bits."""
        match node.kind:
            case "chars":
                if len(self.ranges) > self.limit:
                    raise TooComplexToDeterminize(f"Determinizing needs more than {self.limit} states")
                self.ranges.append(node.ranges)
                self.follow.append(0)
                state = 1 << len(self.ranges) - 1
                return False, state, state
            case "concat":
                return self._sequence(self.build(part) for part in node.parts)
            case "union":
                empty, first, last = False, 0, 0
                for part in node.parts:
                    may, begin, end = self.build(part)
                    empty, first, last = empty or may, first | begin, last | end
                return empty, first, last
        return self._repeat(node)

    def _repeat(self, node: _Node) -> tuple[bool, int, int]:
        (inner,) = node.parts
        required = self._sequence(self.build(inner) for _ in range(node.least))
        if node.most is None:
            _, first, last = self.build(inner)
            self._connect(last, first)
            return self._sequence(iter([required, (True, first, last)]))
        optional = (self.build(inner) for _ in range(node.most - node.least))
        return self._sequence(iter([required, self._sequence((True, first, last) for _, first, last in optional)]))

    def _sequence(self, parts: Iterator[tuple[bool, int, int]]) -> tuple[bool, int, int]:
        empty, first, last = True, 0, 0
        for may, begin, end in parts:
            self._connect(last, begin)
            first, last = first | (begin if empty else 0), end | (last if may else 0)
            empty = empty and may
        return empty, first, last

    def _connect(self, last: int, first: int) -> None:
        for state in _bits(last):
            self.follow[state] |= first


def _bits(states: int) -> Iterator[int]:
    while states:
        lowest = states & -states
        yield lowest.bit_length() - 1
        states ^= lowest


class CompiledRegexp(msgspec.Struct, frozen=True):
    """A regular expression that can be matched against whole values.

    `work_units` is what its compilation costs: states of the nondeterministic automaton that were looked at while the
    deterministic one was built, as Lucene counts its effort. The shell turns them into time.
    """

    ranges: tuple[Ranges, ...]
    follow: tuple[int, ...]
    accepting: int
    work_units: int

    def matches(self, text: str) -> bool:
        """Whether the expression matches all of the text."""
        states = 1
        for character in text:
            reached, point = 0, ord(character)
            for state in _bits(states):
                reached |= self.follow[state]
            states = sum(1 << state for state in _bits(reached) if _holds(self.ranges[state], point))
            if not states:
                return False
        return states & self.accepting != 0


@lru_cache(maxsize=256)
def compile_regexp(text: str, max_determinized_states: int = DEFAULT_MAX_DETERMINIZED_STATES) -> CompiledRegexp:
    """Compile a regular expression.

    Raises:
        IllegalArgument: it is none, in Lucene's words.
        TooComplexToDeterminize: its deterministic form costs more than `max_determinized_states` allow.
    """
    node = _Parser(text).parse() if text else _Node("concat")
    positions = _Positions([()], [0], limit=20_000)
    empty, first, last = positions.build(node)
    positions.follow[0] = first
    work = _determinizing_work(positions, max_determinized_states)
    return CompiledRegexp(tuple(positions.ranges), tuple(positions.follow), last | empty, work)


def _determinizing_work(positions: _Positions, limit: int) -> int:
    """How many states are looked at until all sets of states that can be reached are known."""
    points = sorted({point for ranges in positions.ranges for first, last in ranges for point in (first, last + 1)})
    takes = [
        sum(1 << state for state, ranges in enumerate(positions.ranges) if _holds(ranges, point)) for point in points
    ]
    # Lucene allows ten times the number, for it counts the states of each set.
    most = min(limit * 10, MAX_WORK)
    tables = _follow_tables(positions.follow)
    seen, waiting, work = {1}, [1], 0
    while waiting:
        states = waiting.pop()
        work += states.bit_count()
        if work > most:
            count, edges = len(positions.ranges), sum(follow.bit_count() for follow in positions.follow)
            raise TooComplexToDeterminize(
                f"Determinizing automaton with {count} states and {edges} transitions "
                f"would require more than {limit} effort."
            )
        reached = 0
        for table in tables:
            reached |= table[states & 0xFF]
            states >>= 8
        for taken in takes:
            following = reached & taken
            if following and following not in seen:
                seen.add(following)
                waiting.append(following)
    return work


def _follow_tables(follow: list[int]) -> list[list[int]]:
    """For every eight states, what follows each set of them: so that a set takes one look for every eight."""
    tables = []
    for start in range(0, len(follow), 8):
        table = [0]
        for following in follow[start : start + 8]:
            table += [known | following for known in table]
        tables.append(table)
    return tables


def _holds(ranges: Ranges, point: int) -> bool:
    return any(first <= point <= last for first, last in ranges)
