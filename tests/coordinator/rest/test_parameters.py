"""What a URL says, and what OpenSearch answers when it says it wrongly."""

from __future__ import annotations

import contextlib
import urllib.parse
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskfan.coordinator.rest.parameters import (
    GROUP_BY,
    Parameter,
    boolean,
    comma_list,
    decode,
    parse_boolean,
    parse_query,
    parse_time_ms,
    read_parameters,
    similarity,
    split_commas,
    task_id,
    time_ms,
)
from taskfan.node.errors import TaskfanError
from taskfan.node.ids import UNSET, TaskId


def refusal(*arguments: Any, of: Any) -> tuple[str | None, str | None]:
    """The reason of what is raised, and that of its cause."""
    with pytest.raises(TaskfanError) as raised:
        of(*arguments)
    assert raised.value.kind == "illegal_argument_exception"
    return raised.value.reason, raised.value.cause.reason if raised.value.cause else None


# ---------------------------------------------------------------------- decoding


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("", {}),
        ("a", {"a": ""}),
        ("a=", {"a": ""}),
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("a=1;b=2", {"a": "1", "b": "2"}),
        ("a=1&a=2", {"a": "2"}),
        ("&&a&&", {"a": ""}),
        ("=a", {"a": ""}),
        ("a=b=c", {"a": "b=c"}),
        ("a==b", {"a": "=b"}),
        ("a=x+y", {"a": "x y"}),
        ("a=x%2By", {"a": "x+y"}),
        ("a%3D=%26", {"a=": "&"}),
        ("a=%25", {"a": "%"}),
        ("a=%%", {"a": "%"}),
        ("a=%C3%A9", {"a": "é"}),
        ("a=1#b=2", {"a": "1"}),
        # Bytes beyond ASCII are characters of their own, until an escape makes the whole value UTF-8.
        ("a=\xc3\xa9", {"a": "Ã©"}),
        ("a=\xc3\xa9+", {"a": "é "}),
        ("a=%ff", {"a": "\ufffd"}),
    ],
)
def test_a_query_is_decoded_as_opensearch_does_it(query: str, parameters: dict[str, str]) -> None:
    assert parse_query(query) == parameters


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a%", "unterminated escape sequence at end of string: a%"),
        ("a%4", "partial escape sequence at end of string: a%4"),
        ("a%zz", "invalid escape sequence `%zz' at index 1 of: a%zz"),
        ("%%%4", "partial escape sequence at end of string: %%%4"),
        ("%41%4x", "invalid escape sequence `%4x' at index 3 of: %41%4x"),
    ],
)
def test_a_broken_escape_is_told_with_its_place(text: str, reason: str) -> None:
    assert refusal(text, of=lambda broken: decode(broken, plus_is_blank=True)) == (reason, None)


def test_a_plus_in_a_path_is_a_plus() -> None:
    assert decode("a+b%2Bc", plus_is_blank=False) == "a+b+c"


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_what_a_client_encodes_is_read_back(parameters: dict[str, str]) -> None:
    assert parse_query(urllib.parse.urlencode(parameters)) == parameters


@given(st.text(alphabet=st.characters(max_codepoint=255)))
def test_any_query_is_read_or_refused(query: str) -> None:
    with contextlib.suppress(TaskfanError):
        assert all(isinstance(value, str) for value in parse_query(query).values())


# ---------------------------------------------------------------------- values


@pytest.mark.parametrize(("text", "value"), [(None, False), ("", True), ("true", True), ("false", False)])
def test_a_bare_boolean_is_true(text: str | None, value: bool) -> None:
    assert parse_boolean(text, False) is value


@pytest.mark.parametrize("text", ["yes", "TRUE", "1", " true", "on"])
def test_no_other_text_is_a_boolean(text: str) -> None:
    reason = f"Failed to parse value [{text}] as only [true] or [false] are allowed."
    assert refusal(text, False, of=parse_boolean) == (reason, None)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        (None, None),
        ("1s", 1000),
        ("10S", 10_000),
        ("5 s", 5000),
        (" 5ms ", 5),
        ("1m", 60_000),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
        ("1500micros", 1),
        ("999999nanos", 0),
        ("+3s", 3000),
        ("-1s", -1000),
        ("-1", -1),
        ("-01", -1),
        ("0", 0),
        ("000", 0),
        ("0ms", 0),
        ("9223372036854775807d", 2**63 - 1),
    ],
)
def test_a_time_has_a_unit_unless_it_is_none_or_nothing(text: str | None, milliseconds: int | None) -> None:
    assert parse_time_ms(text, "timeout") == milliseconds


@pytest.mark.parametrize("text", ["5", "", "5M", "1m ", "1w", "s5", "-2", "1", "nano"])
def test_a_time_without_a_unit_is_refused(text: str) -> None:
    reason = f"failed to parse setting [timeout] with value [{text}] as a time value: unit is missing or unrecognized"
    assert refusal(text, "timeout", of=parse_time_ms) == (reason, None)


@pytest.mark.parametrize(
    ("text", "reason", "cause"),
    [
        ("1.5s", "failed to parse [1.5s], fractional time values are not supported", 'For input string: "1.5"'),
        (".5h", "failed to parse [.5h], fractional time values are not supported", 'For input string: ".5"'),
        ("1e3ms", "failed to parse [1e3ms], fractional time values are not supported", 'For input string: "1e3"'),
        ("xs", "failed to parse [xs]", 'For input string: "x"'),
        ("s", "failed to parse [s]", 'For input string: ""'),
        ("1,5s", "failed to parse [1,5s]", 'For input string: "1,5"'),
        (
            "-2s",
            "failed to parse setting [timeout] with value [-2s] as a time value: negative durations are not supported",
            None,
        ),
        ("99999999999999999999s", None, 'For input string: "99999999999999999999"'),
    ],
)
def test_a_time_that_is_no_whole_number_is_refused(text: str, reason: str | None, cause: str | None) -> None:
    told, told_cause = refusal(text, "timeout", of=parse_time_ms)
    assert told == reason or reason is None
    assert told_cause == cause


@given(st.text())
def test_any_time_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(TaskfanError):
        assert isinstance(parse_time_ms(text, "timeout"), int)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        (None, []),
        ("", []),
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        (" a, b", [" a", " b"]),
        ("a,,b,,", ["a", "", "b"]),
        (",a", ["", "a"]),
        (",,", []),
    ],
)
def test_a_list_is_not_trimmed_but_at_its_end(text: str | None, items: list[str]) -> None:
    assert split_commas(text) == items


# ---------------------------------------------------------------------- declared parameters

DECLARED: tuple[Parameter, ...] = (
    boolean("detailed"),
    comma_list("nodes"),
    task_id("parent_task_id"),
    time_ms("timeout"),
    GROUP_BY,
)


def test_missing_parameters_have_their_defaults() -> None:
    assert read_parameters("/_tasks", {}, DECLARED) == {
        "detailed": False,
        "nodes": [],
        "parent_task_id": UNSET,
        "timeout": None,
        "group_by": "nodes",
    }


def test_given_parameters_are_values() -> None:
    query = {"detailed": "", "nodes": "a,b", "parent_task_id": "n:5", "timeout": "1s", "group_by": "none", "pretty": ""}
    assert read_parameters("/_tasks", query, DECLARED) == {
        "detailed": True,
        "nodes": ["a", "b"],
        "parent_task_id": TaskId("n", 5),
        "timeout": 1000,
        "group_by": "none",
    }


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"foo": "1"}, "parameter: [foo]"),
        ({"node": "a"}, "parameter: [node] -> did you mean [nodes]?"),
        ({"detaild": ""}, "parameter: [detaild] -> did you mean [detailed]?"),
        ({"foo": "1", "bar": "2"}, "parameters: [bar], [foo]"),
        (
            {"timeouts": "1s", "node_ids": "x"},
            "parameters: [node_ids] -> did you mean [nodes]?, [timeouts] -> did you mean [timeout]?",
        ),
        ({"prety": ""}, "parameter: [prety] -> did you mean [pretty]?"),
        ({"formats": ""}, "parameter: [formats] -> did you mean [format]?"),
    ],
)
def test_unknown_parameters_are_refused_with_those_that_are_like_them(query: dict[str, str], told: str) -> None:
    reason = f"request [/_tasks] contains unrecognized {told}"
    assert refusal("/_tasks", query, DECLARED, of=read_parameters) == (reason, None)


def test_several_that_are_alike_are_told_by_likeness_and_then_by_name() -> None:
    declared = [boolean("abcdef"), boolean("abcdex"), boolean("abcxyz")]
    reason, _ = refusal("/", {"abcdez": ""}, declared, of=read_parameters)
    assert reason is not None
    assert reason.endswith("[abcdez] -> did you mean any of [abcdef, abcdex, abcxyz]?")


@pytest.mark.parametrize(
    ("query", "begins"),
    [
        ({"timeout": "5", "detailed": "x"}, "Failed to parse value [x]"),
        ({"foo": "", "timeout": "5"}, "failed to parse setting [timeout]"),
        ({"foo": "", "group_by": "x"}, "request [/_tasks] contains unrecognized"),
        ({"group_by": ""}, "[group_by] must be one of [nodes], [parents] or [none] but was []"),
    ],
)
def test_the_first_wrong_parameter_in_declared_order_is_told(query: dict[str, str], begins: str) -> None:
    reason, _ = refusal("/_tasks", query, DECLARED, of=read_parameters)
    assert reason is not None
    assert reason.startswith(begins)


@pytest.mark.parametrize(
    ("one", "other", "value"), [("a", "a", 1), ("", "", 1), ("", "a", 0), ("abc", "abd", 2 / 3), ("abcd", "dcba", 0)]
)
def test_similarity_is_the_share_of_what_need_not_change(one: str, other: str, value: float) -> None:
    assert similarity(one, other) == pytest.approx(value)


@given(st.text(), st.text())
def test_similarity_is_symmetric_and_one_only_for_equal_texts(one: str, other: str) -> None:
    assert similarity(one, other) == similarity(other, one)
    assert 0 <= similarity(one, other) <= 1
    assert (similarity(one, other) == 1) is (one == other)
