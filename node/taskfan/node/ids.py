"""Node ids, task ids, and their text. Pure."""

from __future__ import annotations

import base64

import msgspec

from taskfan.node.errors import IllegalArgument, NumberFormat
from taskfan.v1 import task_pb2 as pb

NODE_ID_LENGTH = 22


class TaskId(msgspec.Struct, frozen=True, order=True, gc=False):
    """One task of the whole cluster. `UNSET` stands for no task; so does any id with number -1.

    Source: OpenSearch `TaskId`.
    """

    node_id: str
    number: int

    @property
    def is_set(self) -> bool:
        """Whether this names a task. As in OpenSearch, only the number counts."""
        return self.number != -1

    def __str__(self) -> str:
        return f"{self.node_id}:{self.number}" if self.is_set else "unset"

    def to_wire(self) -> pb.TaskId:
        """The message that carries this id."""
        return pb.TaskId(node_id=self.node_id, number=self.number)

    @staticmethod
    def from_wire(message: pb.TaskId) -> TaskId:
        """The id a message carries; a message that was never set carries none."""
        node_id, number = message.node_id, message.number
        return TaskId(node_id, number) if number or node_id else UNSET


UNSET = TaskId("", -1)


def node_id_from_bytes(random_bytes: bytes) -> str:
    """A node id, 22 characters of URL-safe base64, from 16 random bytes. Source: `UUIDs.randomBase64UUID`."""
    assert len(random_bytes) == 16
    return base64.urlsafe_b64encode(random_bytes).decode().rstrip("=")


def parse_task_id(text: str | None) -> TaskId:
    """Read `nodeId:number`; a missing or empty text and `unset` give `UNSET`.

    Raises:
        IllegalArgument: `malformed task id <text>`, with the number format error as its cause
            when there is a colon but no number after the first one.

    Source: OpenSearch `TaskId(String)`.
    """
    if not text or text == "unset":
        return UNSET
    node_id, colon, digits = text.partition(":")
    if not colon:
        raise IllegalArgument(f"malformed task id {text}")
    number = parse_long(digits)
    if number is None:
        raise IllegalArgument(f"malformed task id {text}", cause=NumberFormat(f'For input string: "{digits}"'))
    return TaskId(node_id, number)


def is_task_id(text: str) -> bool:
    """Whether a text names a task."""
    try:
        return parse_task_id(text).is_set
    except IllegalArgument:
        return False


def parse_long(text: str) -> int | None:
    """A signed 64-bit decimal as Java reads it, or None.

    One sign, then digits of any script, but no blanks and no underscores as Python's `int` would take.
    Source: Java `Long.parseLong`, which reads UTF-16: digits beyond the first 65,536 characters are none to it.
    """
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not digits.isdecimal() or max(digits) > "\uffff":
        return None
    number = 0
    for digit in digits:
        number = number * 10 + int(digit)
        # Digit by digit, for thousands of them must not cost more than their length.
        if number > 2**63:
            return None
    number = -number if text[0] == "-" else number
    return number if number < 2**63 else None
