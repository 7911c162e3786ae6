"""Task ids as OpenSearch reads and writes them, and node ids."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskfan.node.errors import IllegalArgument
from taskfan.node.ids import NODE_ID_LENGTH, UNSET, TaskId, node_id_from_bytes, parse_long, parse_task_id
from taskfan.v1 import task_pb2 as pb

MAX, MIN = 2**63 - 1, -(2**63)


@pytest.mark.parametrize(
    ("text", "task_id", "shown"),
    [
        ("oTUltX4IQMOUUVeiohTt8A:124", TaskId("oTUltX4IQMOUUVeiohTt8A", 124), "oTUltX4IQMOUUVeiohTt8A:124"),
        (None, UNSET, "unset"),
        ("", UNSET, "unset"),
        ("unset", UNSET, "unset"),
        ("node:-1", TaskId("node", -1), "unset"),
        (":-1", UNSET, "unset"),
        (":5", TaskId("", 5), ":5"),
        ("node:+5", TaskId("node", 5), "node:5"),
        ("node:0", TaskId("node", 0), "node:0"),
        ("node:-0", TaskId("node", 0), "node:0"),
        ("node:-2", TaskId("node", -2), "node:-2"),
        ("node:007", TaskId("node", 7), "node:7"),
        (f"node:{MAX}", TaskId("node", MAX), f"node:{MAX}"),
        (f"node:{MIN}", TaskId("node", MIN), f"node:{MIN}"),
        ("node:" + "0" * 5_000 + "5", TaskId("node", 5), "node:5"),
        ("node:٣४", TaskId("node", 34), "node:34"),
        ("Unset:1", TaskId("Unset", 1), "Unset:1"),
    ],
)
def test_a_task_id_is_read_and_shown_as_opensearch_does(text: str | None, task_id: TaskId, shown: str) -> None:
    assert parse_task_id(text) == task_id
    assert str(parse_task_id(text)) == shown
    assert parse_task_id(text).is_set is (shown != "unset")


@pytest.mark.parametrize("text", ["abc", "-1", "_cancel", "UNSET", " "])
def test_a_text_without_a_colon_is_malformed(text: str) -> None:
    with pytest.raises(IllegalArgument) as error:
        parse_task_id(text)
    assert (error.value.reason, error.value.cause) == (f"malformed task id {text}", None)


@pytest.mark.parametrize(
    "digits",
    [
        *("", "x", "b:c", " 5", "5 ", "1_000", "1.0", "0x1", "+", "-", "+-5", "--5", "5-", "٣x", "²", "Ⅷ"),
        *(str(MAX + 1), str(MIN - 1), "9" * 10_000),
        # A digit to Python, but two halves of a surrogate pair to Java.
        "𝟏",
    ],
)
def test_what_is_no_signed_64_bit_number_is_malformed_and_says_why(digits: str) -> None:
    with pytest.raises(IllegalArgument) as error:
        parse_task_id(f"node:{digits}")
    assert error.value.reason == f"malformed task id node:{digits}"
    assert error.value.cause is not None
    assert error.value.cause.kind == "number_format_exception"
    assert error.value.cause.reason == f'For input string: "{digits}"'


@settings(derandomize=True, database=None)
@given(st.text(st.characters(exclude_characters=":")), st.integers(MIN, MAX).filter(lambda number: number != -1))
def test_what_a_task_id_shows_is_read_as_the_same(node_id: str, number: int) -> None:
    task_id = TaskId(node_id, number)
    assert parse_task_id(str(task_id)) == task_id


@settings(derandomize=True, database=None)
@given(st.text(st.characters(codec="ascii")) | st.from_regex(r"[+-]?[0-9_ ]{1,25}", fullmatch=True))
def test_a_number_is_what_java_would_read(text: str) -> None:
    digits = text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
    expected = int(text) if digits.isdigit() and digits.isascii() and MIN <= int(text) <= MAX else None
    assert parse_long(text) == expected


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        (TaskId("n", 5), TaskId("n", 5)),
        (TaskId("n", -1), TaskId("n", -1)),
        (TaskId("n", MAX), TaskId("n", MAX)),
        (UNSET, UNSET),
        (TaskId("", 5), TaskId("", 5)),
    ],
)
def test_a_task_id_is_carried_as_it_is(sent: TaskId, received: TaskId) -> None:
    assert TaskId.from_wire(sent.to_wire()) == received


def test_a_message_that_was_never_set_carries_no_task() -> None:
    assert TaskId.from_wire(pb.TaskId()) == UNSET


def test_a_node_id_is_22_characters_of_url_safe_base64() -> None:
    assert node_id_from_bytes(bytes(range(16))) == "AAECAwQFBgcICQoLDA0ODw"
    assert node_id_from_bytes(b"\xff\xef" * 8) == "_-__7__v_-__7__v_-__7w"
    assert len(node_id_from_bytes(b"\0" * 16)) == NODE_ID_LENGTH
